"""One thread beside torch's: what is measured with numpy runs while the towers look."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock

import torch


class _Spared:
    """Torch has a thread less as long as anyone needs a core, and all that it had when the last one is done."""

    def __init__(self) -> None:
        self._lock = Lock()  # torch's number of threads is one for the whole process
        self._users = 0
        self._threads = 0  # torch's own number, while there are users

    def __enter__(self) -> None:
        with self._lock:
            if not self._users:
                self._threads = torch.get_num_threads()
                torch.set_num_threads(max(1, self._threads - 1))
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                torch.set_num_threads(self._threads)


_SPARED = _Spared()


@contextmanager
def worker() -> Iterator[Executor]:
    """An executor of one thread with a core of its own.

    Torch's threads spin while they wait for one another. With one of them on every core, an image takes half as long
    again on two cores (eval/run_speed.py).
    """
    with _SPARED, ThreadPoolExecutor(1) as pool:
        yield pool
