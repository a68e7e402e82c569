"""Whether stated certainty can be believed: calibration of probabilities and coverage of intervals."""

from __future__ import annotations

import numpy as np


def expected_calibration_error(probability: np.ndarray, happened: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error, 0 to 1, lower is better.

    Args:
        probability: (N,) stated probability, 0 to 1.
        happened: (N,) bool.
        bins: equal-width bins of the stated probability.

    Source: Naeini, Cooper, Hauskrecht, AAAI 2015.
    """
    probability, happened = np.asarray(probability, dtype=float), np.asarray(happened, dtype=float)
    which = np.minimum((probability * bins).astype(int), bins - 1)
    gaps = [abs(float((probability - happened)[which == b].sum())) for b in range(bins)]
    return sum(gaps) / len(probability)


def coverage(low: np.ndarray, high: np.ndarray, quality: np.ndarray) -> float:
    """Share of qualities inside their stated interval, 0 to 1; right when equal to the stated level."""
    return float(np.mean((low <= quality) & (quality <= high)))
