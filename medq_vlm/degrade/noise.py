"""Image noise of unknown origin, in several textures of one standard deviation."""

from __future__ import annotations

import torch

from medq_vlm.degrade.base import Params, uniform
from medq_vlm.degrade.filters import gaussian_blur_xy

_VARIANTS = ("white", "white", "correlated", "signal_dependent", "salt_and_pepper", "lines", "multiplicative")
_CT_VARIANTS = ("white", "correlated", "correlated", "lines")
_SD_AT_1 = 0.45  # of the robust maximum
_SD_HU_AT_1 = 220.0


def draw(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """SD in HU for CT and as a fraction of the robust maximum elsewhere; texture and grain at random."""
    names = _CT_VARIANTS if modality == "ct" else _VARIANTS
    unit = (
        {"sd_hu": round(_SD_HU_AT_1 * strength**2, 4)}
        if modality == "ct"
        else {"sd_fraction": round(_SD_AT_1 * strength**2, 6)}
    )
    return {
        "variant": names[int(uniform(generator, 0, len(names)))],
        **unit,
        "grain_px": round(uniform(generator, 0.5, 1.3), 2),
        "grain_aspect": round(uniform(generator, 0.7, 1.4), 2),
        "per_channel": bool(uniform(generator, 0, 1) < 0.6),
    }


def apply(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """Add the noise; images that are not CT are cut off at black."""
    sd = params["sd_hu"] if modality == "ct" else params["sd_fraction"]
    channels = image.shape[1] if params["per_channel"] else 1
    shape = (image.shape[0], channels, *image.shape[2:])
    white = torch.randn(shape, generator=generator).to(image.device)
    variant = params["variant"]
    if variant == "correlated":
        aspect = params["grain_aspect"] ** 0.5
        white = gaussian_blur_xy(white, params["grain_px"] * aspect, params["grain_px"] / aspect)
        noise = sd * white / white.std()
    elif variant == "signal_dependent":
        # Poisson-like: variance in proportion to the signal, `sd` where the signal is a half.
        noise = sd * white * (2 * image.clamp(min=0.02)).sqrt()
    elif variant == "multiplicative":
        noise = sd * white * (2 * image.clamp(min=0.02))
    elif variant == "lines":
        noise = sd * (0.6 * white[:, :, :, :1] + 0.8 * white)  # rows share part of it: read-out noise
    elif variant == "salt_and_pepper":
        # A hit moves a pixel by about a half, so this share of hits has the variance of the other textures.
        share = min(0.5, 3 * sd**2)
        hit = torch.rand(shape, generator=generator).to(image.device) < share
        return torch.where(hit, (white > 0).to(image.dtype).expand_as(image), image)
    else:
        noise = sd * white
    return image + noise if modality == "ct" else (image + noise).clamp(min=0)
