"""One line of validation figures while training; eval/ holds the real evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from training.data import Shards
from training.losses import VALID


@dataclass(frozen=True)
class Figures:
    """SRCC of the score over all and over real images, ladder ordering, macro F1 at moderate or worse."""

    srcc: float
    real: float
    order: float
    f1: float

    @classmethod
    def of(cls, scores: np.ndarray, severities: np.ndarray, data: Shards, index: np.ndarray) -> Figures:
        """Figures of scores (N,) and severities (N, K) of the samples `index`."""
        lab = {key: value[index] for key, value in data.labels.items()}
        medical = lab["medical"]
        real = medical & (lab["source"] != "phantom")
        return cls(
            _srcc(scores, lab, medical), _srcc(scores, lab, real), _ordering(scores, lab), macro_f1(severities, lab)
        )

    def __str__(self) -> str:
        return f"srcc {self.srcc:.3f} real {self.real:.3f} order {self.order:.3f} f1 {self.f1:.3f}"


def _srcc(scores: np.ndarray, lab: dict[str, np.ndarray], mask: np.ndarray) -> float:
    return float(stats.spearmanr(scores[mask], lab["quality"][mask]).statistic) if mask.sum() > 10 else float("nan")


def _ordering(scores: np.ndarray, lab: dict[str, np.ndarray]) -> float:
    """Share of pairs within a quad, at least 0.5 apart in quality, in the right order."""
    quads, right, total = lab["quad"], 0, 0
    for quad in np.unique(quads[lab["medical"]]):
        rows = np.flatnonzero(quads == quad)
        q, s = lab["quality"][rows], scores[rows]
        apart = (q[:, None] - q[None, :]) > 0.5
        right += int((apart & (s[:, None] > s[None, :])).sum())
        total += int(apart.sum())
    return right / max(1, total)


def macro_f1(severities: np.ndarray, lab: dict[str, np.ndarray], threshold: float = 1.5) -> float:
    """Mean F1 over the kinds that occur, severity at `threshold` or above, within the modality's kinds."""
    keep = lab["modality"] >= 0
    valid = VALID.numpy()[lab["modality"][keep]]
    truth, said = lab["severities"][keep] >= threshold, (severities[keep] >= threshold) & valid
    scores = []
    for kind in range(truth.shape[1]):
        if truth[:, kind].sum() >= 3:
            hit = (truth[:, kind] & said[:, kind]).sum()
            scores.append(2 * hit / max(1, truth[:, kind].sum() + said[:, kind].sum()))
    return float(np.mean(scores)) if scores else float("nan")
