"""Memory that a large piece of work leaves behind."""

import ctypes
import ctypes.util
import gc

_libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)


def give_back() -> None:
    """Collect what only refers to itself, and give free pages back to the system where the C library can."""
    gc.collect()
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
