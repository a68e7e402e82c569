"""The clean images of training by split (eval/splits.py), with what is known about each."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from eval.splits import HELD_OUT_GROUPS, HELD_OUT_SOURCES, ONE_SUBJECT_SOURCES, last_slices, split_of
from medq_vlm import io, vocab
from medq_vlm.phantoms import phantom
from medq_vlm.schema import ImageSample

__all__ = ["HELD_OUT_GROUPS", "HELD_OUT_SOURCES", "split_of"]

TRAIN_LICENCES = ("permissive", "stated_upstream")
MODALITY_NAMES = {
    "CT": "ct", "MR": "mr", "XR": "xray", "US": "ultrasound", "PET": "pet", "fundus": "fundus",
    "endoscopy": "endoscopy", "histopathology": "histopathology", "microscopy": "histopathology",
}  # fmt: skip
ANATOMY_NAMES = {
    "abdomen": "abdomen", "brain": "head", "head": "head", "chest": "chest", "chest/upper abdomen": "chest",
    "infant hip": "hip", "colon (UC)": "gastrointestinal tract", "GI tract": "gastrointestinal tract",
    "retina": "retina", "retina (child)": "retina", "brain tumour H&E": "tissue section",
    "blood smear": "blood smear", "heart": "heart", "cervical cord": "spine", "head+cervical cord": "spine",
    "whole body": "whole body", "breast": "breast", "spine": "spine",
}  # fmt: skip
SLICES_PER_VOLUME = 14
FEWEST_OF_A_VOLUME = 12  # slices
SMALLEST_SIDE_PX = 64  # a crop of less is too small to be degraded


@dataclass(frozen=True)
class Content:
    """One clean slice with what is known about it."""

    sample: ImageSample  # one slice
    source: str  # folder, or "phantom"
    group: str  # subject
    split: str  # "train", "validation" or "held-out"


def read_manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def real_contents(folder: Path, splits: tuple[str, ...], around: int = 0) -> list[Content]:
    """Clean slices of the manifest in `folder`; volumes give SLICES_PER_VOLUME central slices.

    `around`: so many neighbours on either side come along with a slice of a volume (the slice lies in the middle).
    Only pristine and display_copy rows under a licence that allows training; held-out rows of any licence.
    """
    out: list[Content] = []
    rows = read_manifest(folder)
    paths = [row["path"] for row in rows]
    last = {source: last_slices(paths, source) for source in ONE_SUBJECT_SOURCES}
    for row in rows:
        source = row["path"].split("/")[0]
        group = row["group"]
        split = split_of(source, group)
        if source in ONE_SUBJECT_SOURCES:
            split = "validation" if row["path"] in last[source] else "train"
        usable = row["licence_class"] in TRAIN_LICENCES or split == "held-out"
        if split not in splits or not usable or row["reference_quality"] == "reader_study":
            continue
        for sample in io.read(folder / row["path"]):
            known = _labelled(sample, row)
            if min(known.pixels.shape[1:3]) >= SMALLEST_SIDE_PX:
                out.extend(Content(part, source, group, split) for part in _slices(known, around))
    return out


def _labelled(sample: ImageSample, row: dict[str, str]) -> ImageSample:
    return replace(
        sample,
        modality=sample.modality or MODALITY_NAMES[row["modality"]],
        anatomy=sample.anatomy or ANATOMY_NAMES.get(row["anatomy"]),
        path=row["path"],
    )


def _slices(sample: ImageSample, around: int = 0) -> list[ImageSample]:
    count = sample.slices
    if count <= 2 or count < 5 * around:
        chosen, around = list(range(count)), 0
    else:
        low, high = int(0.2 * count), int(np.ceil(0.8 * count)) - 1
        chosen = sorted({round(v) for v in np.linspace(low, high, min(SLICES_PER_VOLUME, count))})
    return [
        replace(
            sample,
            pixels=sample.pixels[i - around : i + around + 1],
            valid=None if sample.valid is None else sample.valid[i - around : i + around + 1],
        )
        for i in chosen
    ]


def real_volumes(folder: Path, split: str) -> Iterator[tuple[str, str, ImageSample]]:
    """(name, subject, series) of the manifest for one split: volume files, and each folder of slices of one subject.

    A folder of one subject trains: its end alone is too short for a volume to validate with.
    """
    rows = [row for row in read_manifest(folder) if row["licence_class"] in TRAIN_LICENCES]
    for source in ONE_SUBJECT_SOURCES if split == "train" else ():
        known = next((row for row in rows if row["path"].startswith(f"{source}/")), None)
        if known is not None:
            for sample in io.load(folder / source):
                yield source, source, _labelled(sample, known)
    for row in rows:
        if ".nii" in row["path"] and split_of(row["path"].split("/")[0], row["group"]) == split:
            for sample in io.read(folder / row["path"]):
                if sample.slices >= FEWEST_OF_A_VOLUME:
                    yield row["path"], row["group"], _labelled(sample, row)


def not_medical_pictures(folder: Path, split: str) -> list[Path]:
    """Photographs, pages and screenshots of `folder` for one split, by a hash of their names."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
    return [p for p in paths if split_of("not_medical", f"not_medical/{p.name}") == split]


def phantom_content(modality: str, seed: int) -> Content:
    """A procedural content; its seed decides the split as a subject's name does."""
    group = f"phantom/{modality}/{seed}"
    return Content(phantom(modality, seed), "phantom", group, split_of("phantom", group))


def by_modality(contents: list[Content]) -> dict[str, list[Content]]:
    return {m: [c for c in contents if c.sample.modality == m] for m in vocab.MODALITIES}
