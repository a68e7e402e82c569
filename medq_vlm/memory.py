"""Load something large without keeping what loading freed, and without searching again and again what it keeps."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator

MIB = 1024**2
TRIM, MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's mallopt(3)


@contextlib.contextmanager
def tight() -> Iterator[None]:
    """Inside, every larger block goes back to the system when it is freed; afterwards blocks are kept for reuse again.

    Without it half a gigabyte lies between the pieces of the language model that stay in use. Only glibc has these
    knobs; anywhere else nothing happens. The last settings are where glibc's own rule ends up.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(MMAP, MIB // 4)
    try:
        yield
    finally:
        libc.mallopt(MMAP, 32 * MIB)
        libc.mallopt(TRIM, 64 * MIB)
        libc.malloc_trim(0)


@contextlib.contextmanager
def unsearched() -> Iterator[None]:
    """Inside, nobody looks for garbage; what is there at the end is never searched for any.

    Importing torch makes half a million objects that stay: searching them is a fifth of a cold start. For a program
    that loads once; in one that goes on loading, garbage that lies there at the end would stay with the rest.
    """
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # nanobind takes what is still frozen at the end for a leak, and says so
        if searching:
            gc.enable()


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
