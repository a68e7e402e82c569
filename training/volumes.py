"""Clean volumes to train the volume head with, their faults, and the scorer's reading of each trial."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from eval.volume_faults import FEWEST_SLICES, content_of, make, trials, unbroken
from medq_vlm.encoder.preprocess import resize
from medq_vlm.phantoms import THICK, THIN, VOLUME_MODALITIES, phantom_volume
from medq_vlm.schema import ImageSample
from medq_vlm.stack import compared
from training.sources import real_volumes

LARGEST_PX = 288  # sides of a slice: volumes cost as much as all their slices
VALIDATE_ONE_IN = 4  # training subjects, beside the validation ones: those are too few series to judge with
BETWEEN = ("none", *("gap", "moved") * 4, "one slice", "some slices")  # trials of what lies between slices

Scored = Callable[[ImageSample, int], tuple[np.ndarray, np.ndarray]]  # (row, thumb) of one slice
Arrays = dict[str, np.ndarray]
Make = Callable[[np.random.Generator], ImageSample]


def contents(data: Sequence[Path], split: str, phantoms: int, most: int, parts: int) -> Iterator[tuple[str, Make]]:
    """Names of clean volumes and what makes them: real series of the manifests in `data`, then phantoms.

    Of a long series up to `parts` runs of up to `most` slices. One training subject in VALIDATE_ONE_IN validates here.
    """
    for folder in data:
        for of in ("train", "validation"):
            for name, subject, series in real_volumes(folder, of):
                sample = unbroken(series)
                here = "train" if of == "train" and zlib.crc32(subject.encode()) % VALIDATE_ONE_IN else "validation"
                if here != split or sample.slices < FEWEST_SLICES:
                    continue
                for part in range(max(1, min(parts, sample.slices // most))):
                    yield f"{name}#{part}", partial(_cut, sample, most)
    first = {"train": 8_000_000, "validation": 9_000_000}[split]
    for modality in VOLUME_MODALITIES:
        for number in range(phantoms):
            yield f"phantom/{modality}/{number}", partial(_phantom, modality, first + number, most)


def _phantom(modality: str, seed: int, most: int, rng: np.random.Generator) -> ImageSample:
    count, step = int(rng.integers(FEWEST_SLICES, most + 1)), float(np.exp(rng.uniform(np.log(THIN), np.log(THICK))))
    return phantom_volume(modality, seed, count, 224, step)


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


def read_slices(
    name: str, clean: ImageSample, faults: int, score: Scored, rng: np.random.Generator
) -> Iterator[Arrays]:
    """Trials of a volume as the scorer reads them: rows (S, WIDTH_IN), thumbs (S, t, t), stands_out (S,), label, clean.

    A slice that did not change is read once.
    """
    known: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for trial in trials(name, clean, faults, rng):
        read = []
        for i, origin in enumerate(trial.origin):
            if i in trial.changed:
                read.append(score(trial.volume, i))
                continue
            if origin not in known:
                known[origin] = score(trial.volume, i)
            read.append(known[origin])
        yield {
            "rows": np.stack([row for row, _ in read]), "thumbs": np.stack([small for _, small in read]),
            "stands_out": trial.stands_out, "label": np.array(trial.label), "clean": np.array(trial.fault == "none"),
        }  # fmt: skip


def measured_steps(name: str, clean: ImageSample, rng: np.random.Generator) -> Iterator[Arrays]:
    """Trials BETWEEN slices: beside (S, BESIDE_IN), gap and moved (S,), clean; no scorer is asked."""
    content = content_of(clean)
    for fault in BETWEEN:
        trial = make(name, clean, content, fault, rng)
        beside = compared(trial.volume, range(trial.volume.slices)).table
        yield {"beside": beside, "gap": trial.gap, "moved": trial.moved, "clean": np.array(fault == "none")}
