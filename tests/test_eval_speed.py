"""The measure of images a second."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from eval import run_speed
from eval.mediqa_type import GRID, PROMPTS, TransposedAttention, Windows


def test_ways_are_measured_in_turn_and_a_first_run_is_not_counted() -> None:
    order: list[str] = []
    ways: dict[str, tuple[int, Callable[[int], object]]] = {
        "a": (1, lambda i: order.append(f"a{i}")),
        "b": (2, lambda i: order.append(f"b{i}")),
    }
    spent = run_speed.measure(ways, 3)
    assert order == ["a0", "b0", "a0", "b0", "a1", "a2", "b2"]
    assert {name: len(seconds) for name, seconds in spent.items()} == {"a": 3, "b": 2}


def test_a_rate_is_of_all_images_together() -> None:
    found = run_speed.rate(np.array([0.1, 0.1, 0.2]))
    assert found.value == pytest.approx(7.5)
    assert 4.99 < found.low <= found.value <= found.high < 10.01


def test_the_stages_of_the_other_network_keep_their_shape_and_heed_the_prompt() -> None:
    torch.manual_seed(0)
    attend, windows = TransposedAttention(GRID * GRID).eval(), Windows(32).eval()
    x = torch.randn(2, 32, GRID, GRID)
    with torch.no_grad():
        assert attend(x.flatten(2)).shape == (2, 32, GRID * GRID)
        told = windows(x, torch.eye(PROMPTS)[:2])
        assert told.shape == x.shape
        assert not torch.allclose(told, windows(x, torch.eye(PROMPTS)[2:4]))
