"""The scan of Hugging Face repositories before a download, as the settings want it."""

from collections.abc import Sequence

from django.conf import settings

from gallery.downloads import safety
from gallery.downloads.errors import NotFound
from gallery.downloads.safety import Verdict
from gallery.downloads.specs import FileSpec
from gallery.downloads.transport import Downloader
from localai_admin.lib.net import shown

_MOST_SAID = 1000


def look(files: Sequence[FileSpec], transport: Downloader) -> tuple[Verdict, ...]:
    """A verdict for each repository; none when the scan is off. At most ten seconds, and no error."""
    if settings.HF_SCAN == "off":
        return ()

    def fetch(url: str) -> bytes:
        body = transport.fetch(url, limit=safety.MAX_ANSWER, seconds=safety.SECONDS).body
        if body is None:
            raise NotFound(f"{shown(url)} answered with nothing.")
        return body

    return safety.look(files, fetch, settings.HF_ENDPOINTS)


def refuse(files: Sequence[FileSpec], transport: Downloader) -> tuple[Verdict, ...]:
    """The verdicts; raises UnsafeFiles where the policy is to block and a repository is unsafe."""
    verdicts = look(files, transport)
    safety.refuse(verdicts, settings.HF_SCAN)
    return verdicts


def said(reason: str, verdicts: Sequence[Verdict]) -> str:
    """The reason, and what the scans could not rule out."""
    doubts = [verdict.sentence for verdict in verdicts if verdict.result != "safe"]
    return ". ".join([reason, *doubts])[:_MOST_SAID]
