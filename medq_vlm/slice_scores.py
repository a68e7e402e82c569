"""What the scorer says of one slice, before slices become an Assessment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medq_vlm import vocab

BINS = np.linspace(0.0, 4.0, vocab.SCORE_BINS)
TASK = "finding faint lesions"  # of training/task_loss.py
DOUBT = 0.7  # probability of a medical image below which nothing is called good, unless the file names a modality ...
BEST_IN_DOUBT = 2.4  # ... but at best this
COUNTS = 0.5  # of the mean weight: a slice of less does not stand for its series
SETTLED = "called usable at best; a file that names its modality (DICOM) would settle it."
HELD_BACK = f"It is not certain that this is a medical image, so it is {SETTLED}"


@dataclass(frozen=True)
class SliceScores:
    """Everything the scorer says of one slice."""

    index: int
    score: float  # 0 to 4
    half_width: float  # of the 90 % interval, as calibrated: the ends of the scale do not cut it
    distribution: np.ndarray  # (21,)
    reject_probability: float
    severity: dict[str, float]  # kind: 0 to 4, kinds of the modality alone
    kind_probability: dict[str, float]  # kind: probability of mild or worse
    attributes: dict[str, float]  # 0 to 1, higher is better
    modality_probability: dict[str, float]  # from the pixels alone
    anatomy_probability: dict[str, float]
    modality: str  # told or recognised
    assessable: bool
    reason: str  # why not assessable
    box: tuple[int, int, int, int]  # x0, y0, x1, y1 around the body, native pixels
    body_share: float  # of the box that is body
    thumb: np.ndarray | None = None  # (t, t) small view of the slice, for the volume head
    queries: np.ndarray | None = None  # (Q, D) the scorer's learned query tokens, for the language model
    utility: float | None = None  # fitness for TASK, 0 to 1
    embed: np.ndarray | None = None  # (E,) what meets the text of a prompt
    undescribed: float | None = None  # score without the acquisition description
    demand: dict[str, float] | None = None  # attribute: how much more (above 1) the description asks of it than usual
    doubtful: bool = False  # it may be no medical image, and no file says what it is: `held_back`

    @property
    def interval(self) -> tuple[float, float]:
        return around(self.score, self.half_width)


def around(score: float, half_width: float) -> tuple[float, float]:
    """The interval around a score, on the scale."""
    return max(0.0, score - half_width), min(4.0, score + half_width)


def worst(scores: Sequence[float], weights: Sequence[float]) -> int:
    """Position of the worst slice that counts: the end of a series, nearly empty, would show nothing of the rest."""
    least = COUNTS * sum(weights) / len(weights)
    return min(range(len(scores)), key=lambda i: (weights[i] < least, scores[i]))


def held_back(distribution: np.ndarray) -> np.ndarray:
    """A distribution (21,) without what is better than usable: a photograph past the gate must not be called good."""
    return warp(distribution, np.minimum(BINS, BEST_IN_DOUBT))


def notes(scored: Sequence[SliceScores]) -> tuple[str, ...]:
    """A sentence where slices were held back: some of a volume leave the whole its own verdict."""
    count = sum(s.doubtful for s in scored)
    if 0 < count < len(scored):
        shows = "shows" if count == 1 else "show"
        return (f"It is not certain that {count} of {len(scored)} slices {shows} a medical image: each is {SETTLED}",)
    return (HELD_BACK,) if count else ()


def warp(distribution: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Move the mass of each bin to a new position and share it between the two bins around it; the mean is exact."""
    step = BINS[1]
    place = np.clip(positions, 0.0, 4.0) / step
    low = np.minimum(place.astype(int), len(BINS) - 2)
    share = place - low
    out = np.zeros(len(BINS))
    np.add.at(out, low, distribution * (1 - share))
    np.add.at(out, low + 1, distribution * share)
    return out


def rows(scored: Sequence[SliceScores], weights: np.ndarray) -> tuple[dict[str, float], ...]:
    """Index, score and weight of each slice."""
    pairs = zip(scored, weights, strict=True)
    return tuple({"index": s.index, "score": s.score, "weight": float(w)} for s, w in pairs)


def mean_attributes(scored: Sequence[SliceScores]) -> dict[str, float]:
    """Attribute: mean over slices, 0 to 1."""
    return {name: float(np.mean([s.attributes[name] for s in scored])) for name in vocab.ATTRIBUTES}


def worst_utility(scored: Sequence[SliceScores]) -> dict[str, str | float] | None:
    """Fitness for TASK of the worst slice: a lesion may lie on any."""
    fitness = [s.utility for s in scored if s.utility is not None]
    return {"task": TASK, "score": min(fitness)} if fitness else None
