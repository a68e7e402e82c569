"""What loading frees goes back to the system, and what it keeps is not searched."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator

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


@pytest.fixture
def _searched() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("_searched")
@pytest.mark.parametrize("before", [True, False])
def test_garbage_is_looked_for_again_after_loading_as_before(before: bool) -> None:
    (gc.enable if before else gc.disable)()
    with pytest.raises(KeyError), memory.unsearched():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled() == before


@pytest.mark.usefixtures("_searched")
def test_what_was_loaded_is_not_searched_and_what_comes_later_is() -> None:
    with memory.unsearched():
        loaded: list[object] = []
    later: list[object] = []
    searched = {id(one) for one in gc.get_objects()}
    assert id(loaded) not in searched and id(later) in searched
