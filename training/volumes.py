"""Clean volumes to train the volume head with, and the scorer's reading of each trial."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from eval.volume_faults import FEWEST_SLICES, Trial
from medq_vlm.encoder.preprocess import resize
from medq_vlm.phantoms import VOLUME_MODALITIES, phantom_volume
from medq_vlm.schema import ImageSample
from training.sources import real_volumes

LARGEST_PX = 288  # sides of a slice: volumes cost as much as all their slices


def contents(
    data: Path | None, split: str, phantoms: int, most: int, rng: np.random.Generator
) -> Iterator[tuple[str, ImageSample]]:
    """Clean volumes: real series of the manifest in `data` for one split, then phantoms; up to `most` slices."""
    if data is not None:
        for name, sample in real_volumes(data, split):
            for part in range(max(1, min(3, sample.slices // most))):
                yield f"{name}#{part}", _cut(sample, most, rng)
    first = {"train": 8_000_000, "validation": 9_000_000}[split]
    for modality in VOLUME_MODALITIES:
        for seed in range(phantoms):
            count = int(rng.integers(FEWEST_SLICES, most + 1))
            yield f"phantom/{modality}/{seed}", phantom_volume(modality, first + seed, count, 224)


def _cut(sample: ImageSample, most: int, rng: np.random.Generator) -> ImageSample:
    """A run of slices at a random place, reduced to LARGEST_PX."""
    count = min(sample.slices, int(rng.integers(FEWEST_SLICES, most + 1)))
    start = int(rng.integers(sample.slices - count + 1))
    pixels = sample.pixels[start : start + count]
    factor = min(1.0, LARGEST_PX / max(pixels.shape[1:3]))
    if factor < 1:
        size = (round(pixels.shape[1] * factor), round(pixels.shape[2] * factor))
        low, span = float(pixels.min()), max(float(np.ptp(pixels)), 1e-6)
        pixels = np.stack([resize((s - low) / span, size) * span + low for s in pixels])
    return replace(sample, pixels=np.ascontiguousarray(pixels, np.float32), valid=None)


Scored = Callable[[ImageSample, int], tuple[np.ndarray, np.ndarray]]  # (row, thumb) of one slice


def encoded(trials_of_one: Iterator[Trial], score: Scored) -> Iterator[tuple[Trial, np.ndarray, np.ndarray]]:
    """Trials of one volume with rows (S, WIDTH_IN) and thumbs (S, t, t); a slice that did not change is read once."""
    known: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for trial in trials_of_one:
        read = []
        for i, origin in enumerate(trial.origin):
            if i in trial.changed:
                read.append(score(trial.volume, i))
                continue
            if origin not in known:
                known[origin] = score(trial.volume, i)
            read.append(known[origin])
        yield trial, np.stack([row for row, _ in read]), np.stack([small for _, small in read])
