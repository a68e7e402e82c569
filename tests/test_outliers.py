"""Slices that stand out from their neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from medq_vlm.outliers import falls, outliers


def test_one_bad_slice_is_found_and_its_neighbours_are_not() -> None:
    scores = 3.0 + 0.05 * np.random.default_rng(0).normal(size=50)
    scores[23] = 1.2
    assert outliers(scores).tolist() == [23]
    assert falls(scores)[23] == pytest.approx(1.8, abs=0.1)


@pytest.mark.parametrize("place", [0, 49])
def test_the_first_and_the_last_slice_count_too(place: int) -> None:
    scores = np.full(50, 3.0)
    scores[place] = 1.0
    assert outliers(scores).tolist() == [place]


def test_a_slow_change_and_a_noisy_stack_have_none() -> None:
    assert not len(outliers(np.linspace(3.8, 0.5, 40)))
    assert not len(outliers(2.0 + 0.5 * np.random.default_rng(1).normal(size=60).clip(-2, 2)))


def test_two_bad_slices_come_worst_first_and_few_slices_have_no_neighbours() -> None:
    scores = np.full(30, 3.0)
    scores[[7, 20]] = 2.0, 0.5
    assert outliers(scores).tolist() == [20, 7]
    assert not len(outliers(np.array([3.0, 0.0, 3.0])))
