"""From clean images to test cases: severity ladders of single kinds, and compositions of two kinds.

A case is made at a step of the severity table; what is true of it is the severity its own loss shows
(eval/severity.py). Calibrated quality is 4 * prod(1 - severity_i / 4): 4 for the clean image, 0 for a severity of 4.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from eval import severity
from eval.fidelity import sample_loss
from eval.manifest import Row
from medq_vlm import io, vocab
from medq_vlm.degrade.sample import degrade_sample
from medq_vlm.schema import ImageSample

CLEAN_LADDER = ""  # the ladder name of the clean image, which is the first rung of every ladder
NEEDS_COLOUR = "colour_cast"  # the one kind a grey picture of a colour modality cannot show
STEPS = (1.0, 2.0, 3.0, 4.0)
SLICE_RANGE = (0.3, 0.7)  # of a volume's depth, where anatomy fills the slice


@dataclass(frozen=True)
class Content:
    """One clean slice."""

    name: str  # manifest name, with series and slice number where a file holds several
    source: str
    group: str
    modality: str
    sample: ImageSample  # one slice


@dataclass(frozen=True)
class Case:
    """One image to score, with what is true of it."""

    content: Content
    sample: ImageSample  # one slice
    ladder: str  # kind, CLEAN_LADDER, or "a + b" for a composition
    severities: dict[str, float]  # kind: calibrated severity 0 to 4 of this very image
    steps: dict[str, float]  # kind: severity 0 to 4 by the table, which the image was made with

    @property
    def quality(self) -> float:
        """Calibrated quality, 0 to 4, higher is better."""
        return quality(self.severities)

    @property
    def table_quality(self) -> float:
        """The same by the table's steps alone."""
        return quality(self.steps)


def quality(severities: dict[str, float]) -> float:
    """4 * prod(1 - severity_i / 4), 0 to 4."""
    return severity.quality(np.array(list(severities.values())))


def contents(row: Row, slices: int) -> Iterator[Content]:
    """The clean slices of one file: the image itself, or up to `slices` evenly spaced slices of a volume.

    A modality the file does not state is taken from the manifest, as a user would give it. Raises IngestError
    for a file that cannot be read.
    """
    for part, volume in enumerate(io.read(row.path)):
        for index in _slice_indices(volume.slices, slices):
            name = row.name if volume.slices == 1 and part == 0 else f"{row.name}#{part}.{index}"
            sample = replace(one_slice(volume, index), modality=row.modality)
            yield Content(name, row.source, row.group, row.modality, sample)


def one_slice(volume: ImageSample, index: int) -> ImageSample:
    """Slice `index` of a volume as an image of its own."""
    valid = None if volume.valid is None else volume.valid[index : index + 1]
    return replace(volume, pixels=volume.pixels[index : index + 1], valid=valid)


def pixels_only(sample: ImageSample) -> ImageSample:
    """The same pixels with everything withheld that a header says about modality, anatomy or acquisition."""
    return replace(
        sample, modality=None, anatomy=None, view=None, acquisition="", acquisition_fields={}, window=None,
        unit="value", warnings=(), path="",
    )  # fmt: skip


def clean_case(content: Content) -> Case:
    """The clean image itself: quality 4."""
    return Case(content, content.sample, CLEAN_LADDER, {}, {})


def degraded_cases(content: Content, seed: int, kinds: int, compositions: int) -> Iterator[Case]:
    """Ladders of severities 1 to 4, then compositions of two kinds.

    Args:
        kinds: how many kinds of the modality get a ladder, drawn by content; 0 for all of them.
        compositions: how many pairs of kinds with random severities 1 to 4.

    Chance comes from `seed` and the content's name, so a case does not depend on what else is evaluated.
    Within a ladder the nuisance (angles, places) stays the same and only the severity grows.
    """
    rng = np.random.default_rng([seed, zlib.crc32(content.name.encode())])
    possible = [kind for kind in vocab.kinds_for(content.modality) if content.sample.colour or kind != NEEDS_COLOUR]
    drawn = [possible[i] for i in rng.permutation(len(possible))][: kinds or None]
    for kind in drawn:
        nuisance = int(rng.integers(2**31))
        for step in STEPS:
            yield _case(content, kind, {kind: step}, [nuisance])
    for _ in range(compositions):
        first, second = (possible[i] for i in rng.permutation(len(possible))[:2])
        steps = {first: float(rng.choice(STEPS)), second: float(rng.choice(STEPS))}
        yield _case(content, f"{first} + {second}", steps, [int(rng.integers(2**31)) for _ in steps])


def _case(content: Content, ladder: str, steps: dict[str, float], seeds: list[int]) -> Case:
    """The content with the kinds of `steps` applied one after the other, each measured on what it was applied to."""
    sample, severities = content.sample, {}
    for (kind, step), seed in zip(steps.items(), seeds, strict=True):
        degraded, record = degrade_sample(sample, kind, step, seed)
        loss = sample_loss(sample, degraded, kind)
        severities[kind] = severity.measured(kind, content.modality, record.strength, loss, len(steps) == 1)
        sample = degraded
    return Case(content, sample, ladder, severities, steps)


def _slice_indices(depth: int, count: int) -> list[int]:
    if depth <= count:
        return list(range(depth))
    low, high = SLICE_RANGE
    places = np.linspace(low, high, count) if count > 1 else np.array([0.5])
    return sorted({int(place * (depth - 1)) for place in places})
