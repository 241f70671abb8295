"""How often a connection is tried again before the failure is the whole download's."""

import random
from dataclasses import dataclass

from gallery.downloads.errors import DownloadError, Network, ServerFault, TooManyRequests


@dataclass(frozen=True)
class Patience:
    """Tries in a row that may bring next to nothing, and the seconds between them: doubled each time, with jitter.

    A server that asks for a longer wait than `longest` is left to whoever runs the download again.
    """

    tries: int = 4
    first: float = 0.5
    longest: float = 15.0
    #: A connection that brought this many bytes before it broke is followed by another at once.
    worth: int = 1 << 20

    def wait_after(self, error: DownloadError, failures: int) -> float | None:
        """Seconds until the next try; None when there should be none. `failures` counts this one, from 1."""
        passing = isinstance(error, Network | ServerFault | TooManyRequests) and error.retry
        asked = error.retry_after
        if not passing or failures >= self.tries or (asked or 0.0) > self.longest:
            return None
        grown = min(self.longest, self.first * 2.0 ** (failures - 1)) * random.uniform(0.5, 1.0)  # noqa: S311
        return max(grown, asked or 0.0)
