"""What every reader does last: no NaN leaves, grey pictures have one channel."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from medq_vlm.io.limits import problem
from medq_vlm.schema import ImageSample


def finish(sample: ImageSample, name: str) -> ImageSample:
    """`sample` with float32 pixels, non-finite ones set to the smallest finite value and marked invalid, and
    three equal channels made one. Raises IngestError 'corrupt' when no pixel is finite."""
    pixels = np.ascontiguousarray(sample.pixels, np.float32)
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
    return replace(sample, pixels=pixels, valid=valid)


def joined_hash(hashes: list[str]) -> str:
    """The sha256 of one file, or of the sorted sha256 of several: it does not depend on names or order."""
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(sorted(hashes)).encode()).hexdigest()


def is_grey(pixels: np.ndarray) -> bool:
    """True when the three channels of (S, H, W, 3) are equal everywhere."""
    return all(bool((one[..., 0] == one[..., 1]).all() and (one[..., 0] == one[..., 2]).all()) for one in pixels)
