"""Artefacts that no training image has and no kind of medq_vlm/vocab.py names, each in four steps from faint to severe.

All work on native units: `span` is the distance of the 1st and the 99th percentile of the slice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from medq_vlm.schema import ImageSample

Slice = np.ndarray  # (H, W) or (H, W, 3), float
Artefact = Callable[[Slice, int, float, np.random.Generator], Slice]  # slice, step 0 to 3, span, chance
STEPS = 4


def posterised(pixels: Slice, step: int, span: float, rng: np.random.Generator) -> Slice:
    """Few grey levels, as of a display with too few bits: 24, 12, 6, 3 between black and white."""
    size = span / (24, 12, 6, 3)[step]
    return np.round(pixels / size) * size


def mosaic(pixels: Slice, step: int, span: float, rng: np.random.Generator) -> Slice:
    """Square patches of one value, as privacy filters and failed transfers leave them: 3, 5, 9, 17 px wide."""
    side = (3, 5, 9, 17)[step]
    h, w = pixels.shape[:2]
    rows, columns = np.arange(0, h, side), np.arange(0, w, side)
    total = np.add.reduceat(np.add.reduceat(pixels, rows, 0), columns, 1)
    count = np.add.reduceat(np.add.reduceat(np.ones((h, w)), rows, 0), columns, 1)
    mean = total / (count[..., None] if pixels.ndim == 3 else count)
    return np.repeat(np.repeat(mean, side, 0), side, 1)[:h, :w]


def impulses(pixels: Slice, step: int, span: float, rng: np.random.Generator) -> Slice:
    """Single pixels that are black or white, as of a defective detector: 0.5, 2, 6, 15 % of them."""
    chance = rng.random(pixels.shape[:2])
    share = (0.005, 0.02, 0.06, 0.15)[step]
    low, high = np.percentile(pixels, (1, 99))
    out = pixels.copy()
    out[chance < share / 2] = high
    out[(chance >= share / 2) & (chance < share)] = low
    return out


def moire(pixels: Slice, step: int, span: float, rng: np.random.Generator) -> Slice:
    """Two oblique gratings of nearly one frequency, multiplied: what a photographed screen shows."""
    h, w = pixels.shape[:2]
    rows, columns = np.mgrid[:h, :w]
    angle, cycles = rng.uniform(0.3, 1.2), rng.uniform(0.18, 0.3)
    along = np.cos(angle) * columns + np.sin(angle) * rows
    fringes = np.sin(2 * np.pi * cycles * along) * np.sin(2 * np.pi * (1.06 * cycles * along + 0.01 * rows))
    fringes *= (0.04, 0.1, 0.2, 0.4)[step] * span
    return pixels + (fringes[..., None] if pixels.ndim == 3 else fringes)


def jitter(pixels: Slice, step: int, span: float, rng: np.random.Generator) -> Slice:
    """Lines that are shifted along themselves, as of a scanner that lost its clock: 1, 2, 4, 8 px at most."""
    most = (1, 2, 4, 8)[step]
    shifts = np.round(rng.uniform(-1, 1, len(pixels)) * most).astype(int)
    return np.stack([np.roll(row, shift, 0) for row, shift in zip(pixels, shifts, strict=True)])


def double_exposure(pixels: Slice, step: int, span: float, rng: np.random.Generator) -> Slice:
    """The image turned by a right angle over itself, as of a cassette used twice: 12, 25, 38, 50 % of it."""
    share = (0.12, 0.25, 0.38, 0.5)[step]
    other = np.rot90(pixels)
    rows = np.linspace(0, len(other) - 1, pixels.shape[0]).astype(int)
    columns = np.linspace(0, other.shape[1] - 1, pixels.shape[1]).astype(int)
    return (1 - share) * pixels + share * other[rows][:, columns]


ARTEFACTS: dict[str, Artefact] = {
    "posterised": posterised, "mosaic": mosaic, "impulses": impulses, "moire": moire, "jitter": jitter,
    "double exposure": double_exposure,
}  # fmt: skip


def spoiled(sample: ImageSample, name: str, step: int, seed: int) -> ImageSample:
    """One slice with the artefact at `step` (0 to 3); the same seed gives the same places at every step."""
    pixels = sample.pixels[0].astype(np.float64)
    low, high = np.percentile(pixels, (1, 99))
    out = ARTEFACTS[name](pixels, step, max(float(high - low), 1e-6), np.random.default_rng(seed))
    if sample.bits is not None and sample.bits <= 8:
        out = np.clip(np.round(out), 0, 2**sample.bits - 1)
    return replace(sample, pixels=out[None].astype(np.float32))
