"""How much of an image a degradation has taken, measured against the clean image: the pixel loss behind severities."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from eval import full_reference
from medq_vlm.degrade.sample import intensity_scale
from medq_vlm.schema import ImageSample

# (black, range) in HU: the soft-tissue range, where dose and streaks decide first.
CT_VIEW = (-200.0, 500.0)
OTHER_VIEW = (0.0, 1.0)
LARGEST_PX = 192  # the measures see the central part of a larger image
# These are somewhere or towards the border: the measures see the whole image, halved where it is large.
SOMEWHERE = frozenset(
    ("dropout", "metal", "susceptibility", "collimation", "scatter", "uneven_illumination", "shadow", "reverberation",
     "attenuation", "gain", "specular", "bubble", "dark_spot", "stain", "fold", "occlusion", "haze", "bias_field",
     "wraparound", "limited_angle", "ring", "beam_hardening")
)  # fmt: skip


def view(modality: str) -> tuple[float, float]:
    """Black and range the loss is measured in, in the unit of the intensity contract."""
    return CT_VIEW if modality == "ct" else OTHER_VIEW


def pixel_loss(clean: torch.Tensor, degraded: torch.Tensor, kind: str, modality: str) -> float:
    """Loss 0 to 1 of one image (1, C, H, W) under the intensity contract.

    One minus the mean of SSIM, HaarPSI and the root of VIF; the root, because VIF alone loses half its range to noise
    that a reader hardly sees.
    """
    low, width = view(modality)
    if modality == "ct":  # what a window does not show cannot be missed in it
        clean, degraded = clean.clamp(low, low + width), degraded.clamp(low, low + width)
    cut = _halved if kind in SOMEWHERE else _centre
    clean, degraded = cut(clean), cut(degraded)
    kept = [
        float(full_reference.ssim(clean, degraded, low, width).clamp(0, 1)),
        float(full_reference.haarpsi(clean, degraded, low, width).clamp(0, 1)),
        float(full_reference.vif(clean, degraded, low, width).clamp(0, 1)) ** 0.5,
    ]
    return 1.0 - float(np.mean(kept))


def sample_loss(clean: ImageSample, degraded: ImageSample, kind: str) -> float:
    """`pixel_loss` of the first slice of two samples of equal size, in the clean sample's scale."""
    scale = intensity_scale(clean)
    pair = []
    for sample in (clean, degraded):
        pixels = (sample.pixels[0].astype(np.float32) - scale.black) / (scale.white - scale.black)
        channels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        pair.append(torch.from_numpy(np.ascontiguousarray(channels))[None])
    return pixel_loss(pair[0], pair[1], kind, clean.modality or "")


def _centre(image: torch.Tensor) -> torch.Tensor:
    h, w = image.shape[-2:]
    y, x = max(0, h - LARGEST_PX) // 2, max(0, w - LARGEST_PX) // 2
    return image[..., y : y + LARGEST_PX, x : x + LARGEST_PX]


def _halved(image: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(image, 2) if min(image.shape[-2:]) > LARGEST_PX else image
