"""Procedural phantoms: clean images of every modality made from a seed, and pictures that are not medical."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
from scipy import ndimage

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

__all__ = ["NOT_MEDICAL_KINDS", "THICK", "THIN", "VOLUME_MODALITIES", "not_medical", "phantom", "phantom_volume"]

SMALLEST = 64
VOLUME_MODALITIES = ("ct", "mr", "pet")
THIN, THICK = 0.05, 0.2  # anatomy from slice to slice, radians: slices that are hardly different, and plainly so
BEND, SWELL = 0.02, 0.15  # of the side: how far organs go, how much the frame changes


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


def phantom_volume(modality: str, seed: int, slices: int, size: int = 448, step: float = THIN) -> ImageSample:
    """A stack (S, H, W) of one subject whose anatomy changes smoothly; noise is fresh in each slice.

    step: how far the anatomy turns from slice to slice, radians, from THIN to THICK. Slice 0 is
    `phantom(modality, seed, size)`. Raises MedQError for a modality without volumes or no slices.
    """
    _check(modality, VOLUME_MODALITIES, size)
    if slices < 1:
        raise MedQError(f"A phantom volume needs at least one slice, not {slices}.")
    first = phantom(modality, seed, size)
    fields = _fields(np.random.default_rng([seed, slices]), first.pixels.shape[1:])
    stack = [first.pixels[0]]
    for k in range(1, slices):
        # not the walk of Chance: layouts with thresholds on a walking number jump from one anatomy to another
        plane = DRAW[modality](Chance(seed, 0.0, k), size).pixels[0]
        stack.append(_bent(plane, np.sin(step * k) * fields[0] + (1 - np.cos(step * k)) * fields[1]))
    return replace(first, pixels=np.stack(stack))


def _fields(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Two smooth displacements (2, 2, H, W) in pixels: the frame shrinks or grows, organs go their own ways."""
    side = min(shape)
    raw = ndimage.gaussian_filter(rng.standard_normal((2, 2, *shape)), (0, 0, 0.1 * side, 0.1 * side))
    own = BEND * side * raw / raw.std((2, 3), keepdims=True)
    at = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij"))
    return np.asarray(own + rng.uniform(-SWELL, SWELL, (2, 2, 1, 1)) * at)


def _bent(plane: np.ndarray, field: np.ndarray) -> np.ndarray:
    at = np.stack(np.meshgrid(*(np.arange(n) for n in plane.shape), indexing="ij")) + field
    bent = ndimage.map_coordinates(plane, at, order=3, mode="nearest")
    return np.clip(bent, plane.min(), plane.max()).astype(np.float32)


def _check(modality: str, known: tuple[str, ...], size: int) -> None:
    if modality not in known:
        raise MedQError(f"There is no phantom of modality '{modality}'; choose one of: {', '.join(known)}.")
    if size < SMALLEST:
        raise MedQError(f"A phantom needs a size of at least {SMALLEST} pixels, not {size}.")
