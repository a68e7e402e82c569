"""What every reader does last: no NaN leaves, grey pictures have one channel."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from medq_vlm.io.limits import problem
from medq_vlm.schema import ImageSample

LARGEST = 1e30  # squares and sums of more leave the range of 32-bit numbers
AIR_HU, AIR_SHARE = (-1040.0, -940.0), 0.05  # so much of a CT with air around it lies there, and of nothing else
LOWEST_HU, TOP_HU = -3072.0, 32767.0
FARTHEST_MM, SMALLEST_MM3 = 1e5, 1e-9  # a room; a voxel
READ_AS_CT = "The values look like Hounsfield units (air at about -1000), so the image is read as CT."


def as_float32(values: np.ndarray, name: str) -> np.ndarray:
    """`values` as float32. Raises IngestError 'unsupported' for what would overflow, or would become one value."""
    if values.dtype.kind == "b" or (values.dtype.kind in "iu" and values.dtype.itemsize < 4):
        return np.asarray(values, np.float32)
    low, high = values.min(), values.max()
    if not np.isfinite([float(low), float(high)]).all():
        finite = np.isfinite(values)
        low, high = np.min(values, initial=np.inf, where=finite), np.max(values, initial=-np.inf, where=finite)
    if low <= high and max(-float(low), float(high)) > LARGEST:
        raise problem("unsupported", name, f"its values reach beyond {LARGEST:g}", "divide them by a constant")
    if low < high and np.float32(high) - np.float32(low) < 1 / LARGEST:
        raise problem(
            "unsupported",
            name,
            "its values differ too little for 32-bit numbers",
            "subtract their mean, then scale them",
        )
    return np.asarray(values, np.float32)


def finish(sample: ImageSample, name: str) -> ImageSample:
    """`sample` with float32 pixels, non-finite ones set to the smallest finite value and marked invalid, and
    three equal channels made one. Raises IngestError 'corrupt' when no pixel is finite, and as `as_float32`."""
    pixels = np.ascontiguousarray(as_float32(sample.pixels, name))
    if pixels.ndim == 4 and is_grey(pixels):
        pixels = np.ascontiguousarray(pixels[..., 0])
    valid: np.ndarray | None = sample.valid
    finite = np.isfinite(pixels)
    if not finite.all():
        if not finite.any():
            raise problem("corrupt", name, "no pixel holds a number", "export the image again")
        pixels = np.where(finite, pixels, pixels[finite].min())
        whole = np.asarray(finite.all(axis=-1)) if pixels.ndim == 4 else finite
        valid = whole if valid is None else np.logical_and(valid, whole)
    sample = replace(sample, pixels=pixels, valid=valid)
    if sample.unit == "value" and sample.modality is None and looks_like_hounsfield(pixels):
        return replace(sample, unit="HU", modality="ct", modality_from="image", warnings=(*sample.warnings, READ_AS_CT))
    return sample


def told_grid(affine: np.ndarray) -> tuple[float, ...] | None:
    """ImageSample.grid of a (3, 4) affine; None of one that is no place in a room."""
    sound = np.isfinite(affine).all() and np.abs(affine).max() < FARTHEST_MM
    if not sound or abs(np.linalg.det(affine[:, :3])) < SMALLEST_MM3:
        return None
    return tuple(float(value) for value in affine.ravel())


def looks_like_hounsfield(pixels: np.ndarray) -> bool:
    """Whether grey (S, H, W) has the air and the range of CT in HU: NIfTI and arrays do not say what they hold."""
    if pixels.ndim != 3 or not LOWEST_HU <= pixels.min() <= AIR_HU[1] or not 0 < pixels.max() <= TOP_HU:
        return False
    return float(np.mean((pixels > AIR_HU[0]) & (pixels < AIR_HU[1]))) >= AIR_SHARE


def joined_hash(hashes: list[str]) -> str:
    """The sha256 of one file, or of the sorted sha256 of several: it does not depend on names or order."""
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(sorted(hashes)).encode()).hexdigest()


def is_grey(pixels: np.ndarray) -> bool:
    """True when the three channels of (S, H, W, 3) are equal everywhere."""
    return all(bool((one[..., 0] == one[..., 1]).all() and (one[..., 0] == one[..., 2]).all()) for one in pixels)
