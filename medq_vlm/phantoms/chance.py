"""Chance that can walk: the same draws for every slice of a volume, turned smoothly from slice to slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from scipy.special import ndtr

Item = TypeVar("Item")


class Chance:
    """Random numbers of one phantom.

    Two streams a and b of the same length feed every continuous draw as cos(angle) a + sin(angle) b (Gaussian), so
    a small step of `angle` moves every length, place and texture a little and keeps their distribution. Integers,
    choices and coin tosses come from a (`plan`) alone: one anatomy for all slices. `noise` is fresh
    for each slice, as the noise of an acquisition is. The number of draws must not depend on continuous draws.
    """

    def __init__(self, seed: int, angle: float = 0.0, slice_index: int = 0) -> None:
        a, b = np.random.default_rng(seed).spawn(2)
        self.plan, self._b, self.planngle = a, b, angle
        self.noise = np.random.default_rng([seed, 1 + slice_index])

    def normal(self, size: int | tuple[int, ...] | None = None) -> np.ndarray:
        """Standard normal draws (a 0-d array when `size` is None)."""
        first = np.asarray(self.plan.standard_normal(size, np.float32))
        if self.planngle == 0.0:
            return first
        second = np.asarray(self._b.standard_normal(size, np.float32))
        return np.cos(self.planngle, dtype=np.float32) * first + np.sin(self.planngle, dtype=np.float32) * second

    def between(self, low: float, high: float) -> float:
        """Uniform in (low, high)."""
        return low + (high - low) * float(ndtr(float(self.normal())))

    def many(self, low: float, high: float, count: int) -> np.ndarray:
        """`count` uniform numbers in (low, high)."""
        return low + (high - low) * ndtr(self.normal(count).astype(np.float64))

    def integer(self, low: int, high: int) -> int:
        """Integer in [low, high], the same for every slice."""
        return int(self.plan.integers(low, high + 1))

    def choose(self, items: Sequence[Item]) -> Item:
        """One of `items`, the same for every slice."""
        return items[int(self.plan.integers(len(items)))]

    def toss(self, probability: float) -> bool:
        """True with `probability`, the same for every slice."""
        return bool(self.plan.random() < probability)
