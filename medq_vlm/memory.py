"""Load something large without keeping what loading freed: half a gigabyte between the pieces that stay in use."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

MIB = 1024**2
TRIM, MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's mallopt(3)


@contextlib.contextmanager
def tight() -> Iterator[None]:
    """Inside, every larger block goes back to the system when it is freed; afterwards blocks are kept for reuse again.

    Only glibc has these knobs; anywhere else nothing happens. The last settings are where glibc's own rule ends up.
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


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
