"""Volumes with faults that only a stack of slices can show, and what a reader would say of them.

A trial is one clean volume with some of its slices degraded, or with slices missing or displaced. The label of the
whole follows two rules of reading: slices that show much count more, and so do the worse ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.ndimage import shift

from eval.cases import one_slice
from eval.fidelity import sample_loss
from eval.severity import measured, quality
from medq_vlm import degrade, vocab
from medq_vlm.degrade.sample import apply_record
from medq_vlm.encoder.preprocess import grey_map
from medq_vlm.schema import ImageSample

FAULTS = ("none", "one slice", "one slice", "some slices", "all slices", "gap", "moved")
SEVERE = (2.8, 4.0)  # of the one bad slice
MOVED_PX = (1.0, 10.0)  # of a displaced slice
WORSE_COUNTS = 1.5  # quality steps for which a worse slice counts e times as much
FEWEST_SLICES = 8
POSITIONING = ("wraparound",)  # what a slice may show without being worse to look at


@dataclass(frozen=True)
class Trial:
    """One volume and what is true of it."""

    name: str
    fault: str
    volume: ImageSample
    changed: tuple[int, ...]  # slices whose pixels are not those of the clean volume
    origin: tuple[int, ...]  # slice of the clean volume that each slice shows
    quality: np.ndarray  # (S,) 0 to 4
    content: np.ndarray  # (S,) share of what the volume shows, sum 1
    stands_out: np.ndarray  # (S,) bool: one slice much worse than the rest
    gap: np.ndarray  # (S,) bool: slices are missing behind it
    moved: np.ndarray  # (S,) bool: displaced

    @property
    def label(self) -> float:
        """Quality 0 to 4 of the whole volume."""
        weight = self.content * np.exp(-self.quality / WORSE_COUNTS)
        return float((weight * self.quality).sum() / weight.sum())


def unbroken(series: ImageSample) -> ImageSample:
    """The longest run of slices without a break: what its header tells to be missing is no fault to find."""
    ends = [-1, *series.breaks, series.slices - 1]
    first, last = max(((a + 1, b + 1) for a, b in pairwise(ends)), key=lambda run: run[1] - run[0])
    valid = None if series.valid is None else series.valid[first:last]
    return replace(series, pixels=series.pixels[first:last], valid=valid, breaks=())


def trials(name: str, clean: ImageSample, count: int, rng: np.random.Generator) -> Iterator[Trial]:
    """The clean volume, then `count` faults of it."""
    content = content_of(clean)
    for k in range(count + 1):
        yield make(name, clean, content, FAULTS[0] if k == 0 else str(rng.choice(FAULTS[1:])), rng)


def make(name: str, clean: ImageSample, content: np.ndarray, fault: str, rng: np.random.Generator) -> Trial:
    """One trial of `fault`."""
    n = clean.slices
    qualities, nothing = np.full(n, 4.0), np.zeros(n, bool)
    origin = list(range(n))
    if fault in ("one slice", "some slices", "all slices"):
        where = _which(fault, n, rng)
        pixels = clean.pixels.copy()
        steps = rng.uniform(*SEVERE, len(where)) if fault == "one slice" else _levels(len(where), rng)
        kind = str(rng.choice([k for k in vocab.kinds_for(str(clean.modality)) if k not in POSITIONING]))
        seed = int(rng.integers(1 << 31))
        for i, step in zip(where, steps, strict=True):
            part = one_slice(clean, i)
            record = degrade.draw(kind, str(clean.modality), float(step), seed + i, pixels.shape[1:3])
            worse = apply_record(part, record)
            pixels[i] = worse.pixels[0]
            loss = sample_loss(part, worse, kind)
            qualities[i] = quality(np.array([measured(kind, str(clean.modality), record.strength, loss)]))
        stands = nothing.copy()
        if fault == "one slice" and qualities[where[0]] < 2.0:
            stands[where[0]] = True
        return Trial(
            name, fault, replace(clean, pixels=pixels), tuple(where), tuple(origin), qualities, content, stands,
            nothing, nothing,
        )  # fmt: skip
    gap, moved = nothing.copy(), nothing.copy()
    pixels = clean.pixels
    changed: tuple[int, ...] = ()
    if fault == "gap" and n >= FEWEST_SLICES:
        missing = int(rng.integers(2, max(3, n // 3)))
        start = int(rng.integers(1, n - missing))
        origin = [i for i in origin if not start <= i < start + missing]
        gap = np.zeros(len(origin), bool)
        gap[start - 1] = True
        pixels = pixels[origin]
    elif fault == "moved":
        first, last = sorted(int(v) for v in rng.integers(0, n, 2))
        last = min(last, first + n // 3)
        pixels, changed = pixels.copy(), tuple(range(first, last + 1))
        together = rng.random() < 0.5  # one movement for all of them, or a restless patient
        step = _step(rng)
        for i in changed:
            pixels[i] = shift(pixels[i], step if together else _step(rng), order=1, mode="nearest")
            moved[i] = True
    of = np.array(origin)
    return Trial(
        name, fault, replace(clean, pixels=pixels), changed, tuple(origin), qualities[of],
        content[of] / content[of].sum(), nothing[of], gap, moved[of],
    )  # fmt: skip


def _step(rng: np.random.Generator) -> np.ndarray:
    """A displacement in the plane, rows and columns, of MOVED_PX in any direction."""
    angle = rng.uniform(0, 2 * np.pi)
    return rng.uniform(*MOVED_PX) * np.array([np.sin(angle), np.cos(angle)])


def _which(fault: str, n: int, rng: np.random.Generator) -> list[int]:
    if fault == "all slices":
        return list(range(n))
    if fault == "one slice":
        return [int(rng.integers(n))]
    length = int(rng.integers(2, max(3, n // 2)))
    start = int(rng.integers(0, n - length + 1))
    return list(range(start, start + length))


def _levels(count: int, rng: np.random.Generator) -> np.ndarray:
    """Severities of neighbouring slices: about one level, as a slow movement or a fading coil gives."""
    return np.clip(rng.uniform(0.8, 3.6) + rng.normal(0, 0.3, count), 0.3, 4.0)


def content_of(clean: ImageSample) -> np.ndarray:
    """How much each slice shows: the energy of its edges, (S,), sum 1."""
    energy = [np.abs(np.diff(grey_map(clean, i), axis=0)).mean() for i in range(clean.slices)]
    return np.array(energy) / max(float(np.sum(energy)), 1e-9)
