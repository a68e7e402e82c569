"""Degrade an ImageSample: native units to the intensity contract of base.py and back, slice by slice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from medq_vlm import degrade, vocab
from medq_vlm.intensity import robust_range
from medq_vlm.schema import DegradationRecord, ImageSample, MedQError

CT_AIR_HU = -1024.0
PICTURE_WINDOW_HU = (40.0, 400.0)  # centre and width assumed of a CT picture
SMALLEST_PX = 32  # the blur and mask widths of the degradations need this much image


@dataclass(frozen=True)
class Scale:
    """Native value = black + intensity * (white - black); white < black when small values are shown white."""

    black: float
    white: float


def intensity_scale(sample: ImageSample) -> Scale:
    """The native values of intensity 0 and 1 for `sample`; CT keeps HU.

    The rest goes by `robust_range` of the valid pixels. Raises MedQError when there are none.
    """
    if sample.modality == "ct":
        return Scale(0.0, 1.0)
    values = sample.pixels if sample.valid is None else sample.pixels[sample.valid]
    if values.size == 0:
        raise MedQError("The image has no valid pixels; there is nothing to degrade.")
    low, high = robust_range(values, sample.bits)
    return Scale(high, low) if sample.inverted else Scale(low, high)


def degrade_sample(sample: ImageSample, kind: str, severity: float, seed: int) -> tuple[ImageSample, DegradationRecord]:
    """`sample` with one degradation of calibrated `severity` (0 to 4; 0 gives the same pixels), and its record.

    All slices share the record's parameters (where an artefact lies, which lines are missing); noise differs
    from slice to slice. Native units, geometry, padding and header description are kept; pixels are float32.
    Raises MedQError when the modality is unknown, the kind does not occur in it, the image is smaller than 32
    pixels, or a colour degradation meets a grey image.
    """
    if sample.modality is None:
        raise MedQError(
            f"The modality of {sample.path or 'the image'} is unknown, so its degradations are too; "
            f"name it, one of: {', '.join(vocab.MODALITIES)}."
        )
    size = (int(sample.pixels.shape[1]), int(sample.pixels.shape[2]))
    if min(size) < SMALLEST_PX:
        raise MedQError(
            f"{sample.path or 'The image'} has {size[1]} x {size[0]} pixels; degradations need at least "
            f"{SMALLEST_PX} x {SMALLEST_PX}."
        )
    record = degrade.draw(kind, sample.modality, severity, seed, size)
    return apply_record(sample, record), record


def apply_record(sample: ImageSample, record: DegradationRecord) -> ImageSample:
    """`sample` degraded as `record` says; the same record gives the same pixels."""
    if record.strength == 0:
        return sample
    scale = intensity_scale(sample)
    generator = torch.Generator().manual_seed(record.seed + 1)  # as degrade.apply, running on over the slices
    pixels = np.empty(sample.pixels.shape, dtype=np.float32)
    for index in range(sample.slices):
        valid = None if sample.valid is None else sample.valid[index]
        pixels[index] = _degrade_slice(sample.pixels[index], valid, scale, record, generator)
    return replace(sample, pixels=_as_stored(pixels, sample))


def _as_stored(pixels: np.ndarray, sample: ImageSample) -> np.ndarray:
    """Round and clip as the file would: grey-level combs must not tell a simulated image from a stored one."""
    if not np.array_equal(sample.pixels, np.round(sample.pixels), equal_nan=True):
        return pixels
    eight = sample.bits is not None and sample.bits <= 8 and sample.pixels.max(initial=0) > 1
    return np.clip(np.round(pixels), 0, 2**sample.bits - 1) if eight and sample.bits else np.round(pixels)


def _degrade_slice(
    native: np.ndarray,
    valid: np.ndarray | None,
    scale: Scale,
    record: DegradationRecord,
    generator: torch.Generator,
) -> np.ndarray:
    """(H, W) or (H, W, 3) in native units, degraded; padding stays as it is."""
    span = scale.white - scale.black
    intensity = (native.astype(np.float32) - scale.black) / span
    if valid is not None:
        air = CT_AIR_HU if record.modality == "ct" else 0.0
        intensity[~valid] = air
    channels = intensity[None] if native.ndim == 2 else intensity.transpose(2, 0, 1)  # C H W
    before = torch.from_numpy(np.ascontiguousarray(channels))[None]
    coloured = record.modality in vocab.COLOUR or native.ndim == 2
    # A grey modality stored in colour (ultrasound with a coloured overlay): the light changes, the hue stays.
    source = before if coloured else before.mean(dim=1, keepdim=True)
    after = degrade.DEGRADATIONS[record.kind].apply(source, record.params, record.modality, generator)
    change = (after - source).expand_as(before)[0].numpy()  # unchanged pixels come back to the last bit
    change = change[0] if native.ndim == 2 else change.transpose(1, 2, 0)
    if valid is not None:
        change = np.where(valid if native.ndim == 2 else valid[..., None], change, 0.0)
    return native + change * span
