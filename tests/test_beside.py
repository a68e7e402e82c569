"""Torch gives one core away while something is measured, and has it back afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from medq_vlm.beside import worker


@pytest.fixture
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("four_threads")
def test_torch_has_one_thread_less_until_the_last_worker_is_done() -> None:
    with worker() as pool:
        assert torch.get_num_threads() == 3
        with worker():
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == 3
        assert pool.submit(sum, (1, 2)).result() == 3
    assert torch.get_num_threads() == 4


@pytest.mark.usefixtures("four_threads")
def test_an_error_gives_the_thread_back() -> None:
    with pytest.raises(ValueError, match="bad image"), worker() as pool:
        pool.submit(_fail).result()
    assert torch.get_num_threads() == 4


def _fail() -> None:
    raise ValueError("bad image")
