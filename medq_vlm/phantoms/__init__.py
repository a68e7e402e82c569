"""Procedural phantoms: clean images of every modality made from a seed, and pictures that are not medical."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np

from medq_vlm.phantoms import (
    ct,
    dermoscopy,
    endoscopy,
    fundus,
    histopathology,
    mammography,
    mr,
    oct,
    pet,
    ultrasound,
    xray,
)  # fmt: skip
from medq_vlm.phantoms.chance import Chance
from medq_vlm.phantoms.not_medical import NOT_MEDICAL_KINDS, not_medical
from medq_vlm.schema import ImageSample, MedQError

__all__ = ["NOT_MEDICAL_KINDS", "VOLUME_MODALITIES", "not_medical", "phantom", "phantom_volume"]

SMALLEST = 64
VOLUME_MODALITIES = ("ct", "mr", "pet")


class Draw(Protocol):
    def __call__(self, c: Chance, size: int) -> ImageSample: ...


DRAW: dict[str, Draw] = {
    "ct": ct.draw, "mr": mr.draw, "xray": xray.draw, "mammography": mammography.draw, "ultrasound": ultrasound.draw,
    "pet": pet.draw, "fundus": fundus.draw, "endoscopy": endoscopy.draw, "histopathology": histopathology.draw,
    "oct": oct.draw, "dermoscopy": dermoscopy.draw,
}  # fmt: skip


def phantom(modality: str, seed: int, size: int = 448) -> ImageSample:
    """A clean image of diagnostic quality with its noise floor; the same seed gives the same pixels.

    Pixels are (1, H, W), or (1, H, W, 3) for colour, with sides about `size` and a random aspect. CT in HU, PET in
    Bq/mL-like numbers, MR and X-ray in arbitrary native ranges, the rest 0 to 255.
    Raises MedQError for an unknown modality or a size below 64.
    """
    _check(modality, tuple(DRAW), size)
    return DRAW[modality](Chance(seed), size)


def phantom_volume(modality: str, seed: int, slices: int, size: int = 448) -> ImageSample:
    """A stack (S, H, W) of one subject whose content changes smoothly; noise is fresh in each slice.

    Slice 0 is `phantom(modality, seed, size)`. Raises MedQError for a modality without volumes or no slices.
    """
    _check(modality, VOLUME_MODALITIES, size)
    if slices < 1:
        raise MedQError(f"A phantom volume needs at least one slice, not {slices}.")
    turn = min(0.8, 0.02 * slices)  # radians between the first and the last slice
    stack = [DRAW[modality](Chance(seed, turn * k / slices, k), size) for k in range(slices)]
    return replace(stack[0], pixels=np.concatenate([s.pixels for s in stack]))


def _check(modality: str, known: tuple[str, ...], size: int) -> None:
    if modality not in known:
        raise MedQError(f"There is no phantom of modality '{modality}'; choose one of: {', '.join(known)}.")
    if size < SMALLEST:
        raise MedQError(f"A phantom needs a size of at least {SMALLEST} pixels, not {size}.")
