"""How well named findings match what was done to the image: severity error, F1, average precision.

Matrices are (N images, K kinds) in the order of `vocab.KIND_NAMES` or any other fixed order. `valid` is True
where the kind can occur in the image's modality, and only those cells count.
"""

from __future__ import annotations

import numpy as np

MILD, MODERATE = 0.5, 1.5  # a severity at or above rounds to this word or worse (vocab.severity_word)


def severity_error(truth: np.ndarray, severity: np.ndarray, valid: np.ndarray) -> float:
    """Mean absolute difference of severities (0 to 4) over the kinds an image really has; lower is better.

    Absent kinds are left out: they are many, and a model that never finds anything would look good.
    NaN when no image has a kind.
    """
    present = valid & (truth > 0)
    return float(np.abs(truth - severity)[present].mean()) if present.any() else float("nan")


def f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """F1 of two boolean rows (N,), 0 to 1, higher is better; NaN when nothing is there or said."""
    hits = int((truth & predicted).sum())
    total = int(truth.sum()) + int(predicted.sum())
    return 2 * hits / total if total else float("nan")


def average_precision(truth: np.ndarray, ranking: np.ndarray) -> float:
    """Area under the precision-recall steps of `ranking` (N,) against boolean `truth` (N,), 0 to 1.

    Tied values enter together, so the order of rows cannot change the result. NaN without a positive.
    """
    positives = int(truth.sum())
    if not positives:
        return float("nan")
    order = np.argsort(-ranking, kind="stable")
    hits = np.cumsum(truth[order])
    last_of_tie = np.append(np.diff(ranking[order]) != 0, True)
    hits, seen = hits[last_of_tie], np.arange(1, len(order) + 1)[last_of_tie]
    return float(np.sum(np.diff(hits, prepend=0) / positives * hits / seen))


def kind_f1(truth: np.ndarray, said: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """F1 per kind, (K,), of boolean (N, K) matrices.

    NaN for a kind that no image shows, so that the mean is over kinds that were tested.
    """
    each = [f1(truth[rows, k], said[rows, k]) for k, rows in enumerate(valid.T)]
    return np.where((truth & valid).any(axis=0), each, np.nan)


def macro_f1(truth: np.ndarray, said: np.ndarray, valid: np.ndarray) -> float:
    """Mean of `kind_f1` over the kinds that occur; every kind weighs the same however rare."""
    values = kind_f1(truth, said, valid)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
