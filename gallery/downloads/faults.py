"""Faults of this machine's disk, named as failures of a download."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gallery.downloads.errors import LocalFault, NoSpace, UnsafeName
from localai_admin.lib.paths import UnsafePath

_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def local_faults(name: str, missing: int | None = None, where: Path | None = None) -> Iterator[None]:
    """Turn OSError into NoSpace or LocalFault, and UnsafePath into UnsafeName.

    `name` is the file or folder it is about; `missing` how many bytes are still to come, where that is known; `where`
    the folder whose disk it is.
    """
    try:
        yield
    except UnsafePath as error:
        raise UnsafeName(str(error)) from None
    except OSError as error:
        if error.errno in _FULL:
            raise NoSpace(missing, str(where or "the models folder")) from None
        raise LocalFault(f"{name} cannot be written to: {error.strerror or error}.") from None
