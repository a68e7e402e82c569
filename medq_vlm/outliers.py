"""Slices that are much worse than their neighbours: one corrupted slice in fifty hardly moves a mean."""

from __future__ import annotations

import numpy as np

REACH = 4  # slices on each side that a slice is compared with
LEAST_FALL = 0.6  # of the score, below the neighbours' median
LEAST_DEVIATIONS = 4.0  # robust standard deviations of all slices about their neighbours
FEWEST = 5  # slices below which there are no neighbours to speak of


def falls(scores: np.ndarray) -> np.ndarray:
    """How far each slice lies below the median of its neighbours, in score; (S,), negative where it lies above."""
    return np.array([_middle(scores, i) - scores[i] for i in range(len(scores))])


def outliers(scores: np.ndarray) -> np.ndarray:
    """Indices of the slices whose fall is large in score and against the scatter of all falls, worst first.

    The scatter is the median absolute deviation scaled to a standard deviation (Hampel, JASA 69:383, 1974).
    """
    if len(scores) < FEWEST:
        return np.zeros(0, int)
    fall = falls(scores)
    scatter = 1.4826 * float(np.median(np.abs(fall - np.median(fall))))
    found = np.flatnonzero((fall >= LEAST_FALL) & (fall >= LEAST_DEVIATIONS * scatter))
    return found[np.argsort(-fall[found], kind="stable")]


def _middle(scores: np.ndarray, index: int) -> float:
    low, high = max(0, index - REACH), index + REACH + 1
    return float(np.median(np.concatenate([scores[low:index], scores[index + 1 : high]])))
