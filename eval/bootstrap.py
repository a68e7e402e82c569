"""Cluster bootstrap: intervals that respect that images of one subject or source are not independent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from medq_vlm.schema import MedQError

Statistic = Callable[[np.ndarray], float]  # row indices (with repeats) -> one number


@dataclass(frozen=True)
class Estimate:
    """A number with its percentile interval; `low` and `high` are NaN where one cluster allows none."""

    value: float
    low: float
    high: float
    n: int  # rows
    clusters: int  # independent units resampled


def estimate(
    statistic: Statistic,
    clusters: Sequence[str] | np.ndarray,
    seed: int = 0,
    draws: int = 500,
    level: float = 0.95,
) -> Estimate:
    """`statistic` of all rows, with a percentile interval from resampling whole clusters with replacement.

    Args:
        statistic: called with an index array; NaN in a draw (a kind that was not drawn) leaves that draw out.
        clusters: (N,) the cluster of each row, e.g. subject or source folder.
        level: coverage of the interval, 0 to 1.

    Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), section 3.8.
    Raises MedQError when there are no rows.
    """
    labels = np.asarray(clusters)
    if not len(labels):
        raise MedQError("There are no rows to estimate from.")
    _, which = np.unique(labels, return_inverse=True)
    members = [np.flatnonzero(which == c) for c in range(int(which.max()) + 1)]
    value = float(statistic(np.arange(len(labels))))
    low = high = float("nan")
    if len(members) > 1:
        rng = np.random.default_rng(seed)
        picks = rng.integers(0, len(members), size=(draws, len(members)))
        values = np.array([statistic(np.concatenate([members[c] for c in pick])) for pick in picks])
        values = values[np.isfinite(values)]
        if len(values):
            low, high = (float(v) for v in np.quantile(values, [(1 - level) / 2, (1 + level) / 2]))
    return Estimate(value, low, high, len(labels), len(members))
