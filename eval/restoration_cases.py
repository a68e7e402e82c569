"""The restoration tasks, and pairs of a clean image and what a task's degradation made of it.

Held-out sources come first. A modality without any shows validation subjects, and one without real images phantoms;
every pair says which (`Pair.evidence`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, islice, zip_longest
from typing import Literal

import numpy as np
from scipy import ndimage

from eval.cases import Content, contents
from eval.manifest import Row, spread
from eval.splits import ONE_SUBJECT_SOURCES, Split, last_slices, split_of
from medq_vlm import vocab
from medq_vlm.degrade.sample import PICTURE_WINDOW_HU, degrade_sample
from medq_vlm.phantoms import phantom
from medq_vlm.schema import DegradationRecord, ImageSample, IngestError

Evidence = Literal["held-out", "validation", "phantom", "train", "manifest"]

LARGEST_PX = 512  # of a side: larger images show their centre, so that a run ends; resolution stays native
SMALLEST_PX = 64
AIR_HU = -1000.0
PHANTOM_SEED = 9_000_000  # phantoms from here on, those whose name validates


@dataclass(frozen=True)
class Task:
    """One thing the network must do."""

    name: str
    kind: str  # vocab.KIND_NAMES
    modalities: tuple[str, ...]  # vocab.MODALITIES


TASKS = (
    Task("CT low dose", "low_dose_noise", ("ct",)),
    Task("CT sparse view", "sparse_view", ("ct",)),
    Task("CT metal", "metal", ("ct",)),
    Task("MR undersampling", "undersampling", ("mr",)),
    Task("MR motion", "mr_motion", ("mr",)),
    Task("MR low resolution", "low_resolution", ("mr",)),
    Task("MR noise", "mr_noise", ("mr",)),
    Task("PET low count", "low_count_noise", ("pet",)),
    Task("X-ray mottle", "quantum_mottle", ("xray",)),
    Task("X-ray noise", "noise", ("xray",)),
    Task("X-ray underexposure", "underexposure", ("xray",)),
    Task("X-ray overexposure", "overexposure", ("xray",)),
    Task("optical defocus", "defocus", vocab.OPTICAL),
    Task("optical illumination", "uneven_illumination", vocab.OPTICAL),
)
TASK = {task.name: task for task in TASKS}


@dataclass(frozen=True)
class Pair:
    """A clean image and its degraded version; `record` holds what the simulation knows and a reader does not."""

    task: Task
    content: Content
    degraded: ImageSample
    record: DegradationRecord
    evidence: Evidence

    @property
    def clean(self) -> ImageSample:
        return self.content.sample


def pairs(
    rows: Sequence[Row], task: Task, evidence: Evidence, images: int, severities: Sequence[float], seed: int = 0
) -> Iterator[Pair]:
    """Up to `images` pairs of `task`; the severities (0 to 4) take turns. Unreadable files are left out."""
    for number, content in enumerate(islice(clean_contents(rows, task, evidence, seed), images)):
        # Sources take turns too: the shift keeps a source from meeting one severity alone.
        severity = severities[(number + number // len(severities)) % len(severities)]
        yield make_pair(task, content, evidence, severity, seed)


def make_pair(task: Task, content: Content, evidence: Evidence, severity: float, seed: int = 0) -> Pair:
    """The content degraded by the task; chance comes from `seed` and the names alone."""
    draw = zlib.crc32(f"{seed} {task.name} {content.name}".encode())
    degraded, record = degrade_sample(content.sample, task.kind, severity, draw % 2**31)
    return Pair(task, content, degraded, record, evidence)


def evidences(rows: Sequence[Row], task: Task) -> tuple[Evidence, ...]:
    """What a task can be shown on: held-out sources, and validation images of the modalities without such."""
    held = {row.modality for row in rows if split_of(row.source, row.group) == "held-out"}
    out: list[Evidence] = ["held-out"] if held & set(task.modalities) else []
    return (*out, "validation") if set(task.modalities) - held else tuple(out)


def clean_contents(rows: Sequence[Row], task: Task, evidence: Evidence, seed: int) -> Iterator[Content]:
    """Clean slices for a task, sources and subjects in turn; "validation" adds phantoms where there is no other."""
    of_task = [row for row in rows if row.modality in task.modalities]
    if evidence == "manifest":
        return _readable(spread(of_task, None, seed))
    if evidence == "phantom":
        return chain.from_iterable(zip(*(phantoms(modality) for modality in task.modalities), strict=False))
    split = splits(rows)
    real = [row for row in of_task if split[row.name] == evidence]
    if evidence != "validation":
        return _readable(spread(real, None, seed))
    held = {row.modality for row in of_task if split[row.name] == "held-out"}
    real = [row for row in real if row.modality not in held]
    without = [m for m in task.modalities if m not in held and m not in {row.modality for row in real}]
    few = ["pet"] if "pet" in task.modalities else []  # three slices of one subject validate
    made = (phantoms(modality) for modality in without or few)
    return _in_turn(_readable(spread(real, None, seed)), *made)


def tuning_contents(rows: Sequence[Row], task: Task, split: Split, seed: int) -> Iterator[Content]:
    """Clean slices of one side of the split, of every modality of the task; phantoms where there is no other."""
    sides = splits(rows)
    real = [row for row in rows if row.modality in task.modalities and sides[row.name] == split]
    without = [m for m in task.modalities if m not in {row.modality for row in rows}]
    return _in_turn(_readable(spread(real, None, seed)), *(phantoms(modality, split) for modality in without))


def splits(rows: Sequence[Row]) -> dict[str, Split]:
    """Manifest name -> side of the split."""
    names = [row.name for row in rows]
    last = {name for source in ONE_SUBJECT_SOURCES for name in last_slices(names, source)}
    out: dict[str, Split] = {row.name: split_of(row.source, row.group) for row in rows}
    for row in rows:
        if row.source in ONE_SUBJECT_SOURCES:
            out[row.name] = "validation" if row.name in last else "train"
    return out


def phantoms(modality: str, split: Split = "validation") -> Iterator[Content]:
    """Phantoms of one side of the split, without end."""
    for seed in count(PHANTOM_SEED):
        group = f"phantom/{modality}/{seed}"
        if split_of("phantom", group) == split:
            yield Content(group, "phantom", group, modality, cropped(phantom(modality, seed)))


def cropped(sample: ImageSample) -> ImageSample:
    """The centre of an image with a side above LARGEST_PX."""
    h, w = sample.pixels.shape[1:3]
    y, x = max(0, h - LARGEST_PX) // 2, max(0, w - LARGEST_PX) // 2
    cut = (slice(None), slice(y, y + LARGEST_PX), slice(x, x + LARGEST_PX))
    valid = None if sample.valid is None else sample.valid[cut]
    return replace(sample, pixels=np.ascontiguousarray(sample.pixels[cut]), valid=valid)


def _readable(rows: Sequence[Row]) -> Iterator[Content]:
    for row in rows:
        try:
            found = list(contents(row, 1))
        except IngestError:
            continue
        for content in found:
            if min(content.sample.pixels.shape[1:3]) >= SMALLEST_PX:
                yield replace(content, sample=_hounsfield(cropped(content.sample)))


def _hounsfield(sample: ImageSample) -> ImageSample:
    """A CT picture in the HU of the window it was probably saved with; the physics of CT need HU."""
    if sample.modality != "ct" or sample.unit == "HU" or sample.bits is None or sample.bits > 8:
        return sample
    centre, width = PICTURE_WINDOW_HU
    hu = (sample.pixels / 255.0 * width + (centre - width / 2)).astype(np.float32)
    regions, _ = ndimage.label(sample.pixels[0] == 0)
    edge = np.unique(np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]]))
    # Black up to the border is air: at the window's lower end it would stop every photon.
    hu[0][np.isin(regions, edge[edge > 0])] = AIR_HU
    return replace(sample, pixels=hu, unit="HU", bits=12)


def _in_turn(*streams: Iterator[Content]) -> Iterator[Content]:
    for group in zip_longest(*streams):
        yield from (content for content in group if content is not None)
