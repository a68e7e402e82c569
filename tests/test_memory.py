"""What loading frees goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

from medq_vlm import memory

# blocks of half a megabyte are freed between small ones that stay; a large block has taught glibc to keep such
PROGRAM = """
import ctypes, re, sys
from contextlib import nullcontext
from medq_vlm import memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
libc.free(libc.malloc(30 * 2**20))
with memory.tight() if sys.argv[1] == "tight" else nullcontext():
    blocks, small = [], []
    for _ in range(200):
        blocks.append(libc.malloc(2**19))
        libc.memset(blocks[-1], 1, 2**19)
        small.append(libc.malloc(10**5))
    for block in blocks:
        libc.free(block)
    print(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read()).group(1))
"""


@pytest.mark.skipif(memory._glibc() is None, reason="needs glibc")
def test_what_was_freed_inside_goes_back_at_once() -> None:
    kept, given = (
        int(subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True).stdout)
        for how in ("plain", "tight")
    )
    assert kept - given > 80 * 1024


def test_an_error_inside_comes_out() -> None:
    with pytest.raises(KeyError), memory.tight():
        raise KeyError
