"""PET at low counts: fewer coincidences, more noise, in three reconstructions.

Images are linear activity, 0 = none, 1 = the robust maximum, (B, 1, H, W).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from medq_vlm import projection
from medq_vlm.degrade.base import Degradation, Params, uniform
from medq_vlm.degrade.filters import gaussian_blur

_VIEWS = 240  # PET sinograms are coarser than CT's


def _draw_low_count(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    variant = ("filtered_back_projection", "iterative", "image")[int(uniform(generator, 0, 3))]
    return {
        "variant": variant,
        # Counts in the whole slice; a clinical slice has some 1e5 to 1e6.
        "counts": round(3e7 * (1e4 / 3e7) ** strength * math.exp(uniform(generator, -0.1, 0.1)), 1),
        "filter_fwhm_px": round(uniform(generator, 1.5, 3.0), 2),
        "attenuation_peak": round(uniform(generator, 1.0, 3.0), 2),
    }


def _low_count(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    activity = image.mean(1, keepdim=True).clamp(min=0)
    if params["variant"] == "filtered_back_projection":
        noise = _sinogram_noise(activity, params, generator)
    else:
        noise = _image_noise(activity, params, generator)
    smooth = gaussian_blur(noise, params["filter_fwhm_px"] / 2.355)
    return (image + smooth).clamp(min=0)


def _image_noise(activity: torch.Tensor, params: Params, generator: torch.Generator) -> torch.Tensor:
    """Noise of a slice whose pixels share the counts: Poisson, or with SD growing as activity ("iterative").

    EM reconstruction makes noise about proportional to the activity (Barrett et al., Phys. Med. Biol. 39:833, 1994).
    """
    total = activity.sum((1, 2, 3), keepdim=True).clamp(min=1e-6)
    # Reconstruction amplifies pixel noise by about the square root of the pixels across the object.
    counts_per_unit = params["counts"] / total / math.sqrt(activity.shape[-1] * activity.shape[-2]) * 4
    if params["variant"] == "image":
        expected = (activity * counts_per_unit).cpu()
        return (torch.poisson(expected, generator=generator) - expected).to(activity.device) / counts_per_unit
    white = torch.randn(activity.shape, generator=generator).to(activity.device)
    mean = (activity**2).sum((1, 2, 3), keepdim=True) / total
    return white * gaussian_blur(activity, 2.0) / torch.sqrt(counts_per_unit * mean.clamp(min=1e-6))


def _sinogram_noise(activity: torch.Tensor, params: Params, generator: torch.Generator) -> torch.Tensor:
    """Back-projected Poisson noise of the sinogram, more where attenuation correction amplifies (long rays)."""
    height, width = activity.shape[-2:]
    side = projection.padded_side(height, width)
    geo = projection.geometry(side, _VIEWS, activity.device)
    top, left = (side - height) // 2, (side - width) // 2
    padded = F.pad(activity[:, 0], (left, side - width - left, top, side - height - top))
    line = projection.project(padded, geo).clamp(min=0)
    correction = 1 + (params["attenuation_peak"] - 1) * line / line.amax((1, 2), keepdim=True).clamp(min=1e-6)
    scale = params["counts"] / (line / correction).sum((1, 2), keepdim=True).clamp(min=1e-6)
    expected = (line / correction * scale).cpu()
    noisy = torch.poisson(expected, generator=generator)
    change = (noisy - expected).to(line.device) / scale * correction
    return projection.back_project(change, geo, cutoff=1.0)[:, None, top : top + height, left : left + width]


DEGRADATIONS = (Degradation("low_count_noise", _draw_low_count, _low_count),)
