"""Lossy coding: the real JPEG, JPEG 2000 and WebP coders, too few grey levels, thresholded wavelets.

Coders see an 8-bit picture of the display range; what they change is added back to the native values, so an image of
more bits, or of HU outside the range, keeps everything the coder did not touch.
"""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from medq_vlm.degrade.base import Params, uniform
from medq_vlm.degrade.filters import draw_range

_VARIANTS = ("jpeg", "jpeg", "jpeg", "jpeg2000", "webp", "grey_levels")


def draw(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Coder and its own setting for the strength."""
    variant = _VARIANTS[int(uniform(generator, 0, len(_VARIANTS)))]
    params: Params = {"variant": variant, **draw_range(modality, generator)}
    if variant == "jpeg":
        params["jpeg_quality"] = max(1, round(92 * (2 / 92) ** strength))
    elif variant == "webp":
        params["webp_quality"] = max(0, round(95 * (1 - strength) ** 1.5))
    elif variant == "jpeg2000":
        params["compression_ratio"] = round(8.0 * 100.0**strength, 2)
    else:
        params["grey_levels"] = max(3, round(128 * (3 / 128) ** strength))
    return params


def apply(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """Round trip through the coder (on the CPU), difference added back."""
    low, width = params["range_low"], params["range_width"]
    shown = ((image - low) / width).clamp(0, 1)
    if params["variant"] == "grey_levels":
        steps = params["grey_levels"] - 1
        return image + (torch.round(shown * steps) / steps - shown) * width
    eight = torch.round(shown * 255).byte().cpu().permute(0, 2, 3, 1).numpy()  # B H W C
    decoded = torch.from_numpy(np.stack([_round_trip(picture, params) for picture in eight])).permute(0, 3, 1, 2)
    change = decoded.float() - torch.from_numpy(eight).permute(0, 3, 1, 2).float()
    return image + change.to(image.device) * (width / 255)


def _round_trip(picture: np.ndarray, params: Params) -> np.ndarray:
    """(H, W, C) uint8 -> the same after coding and decoding."""
    grey = picture.shape[-1] == 1
    source = Image.fromarray(picture[..., 0] if grey else picture)
    stream = io.BytesIO()
    if params["variant"] == "jpeg":
        source.save(stream, "JPEG", quality=params["jpeg_quality"])
    elif params["variant"] == "webp":
        source.convert("RGB").save(stream, "WEBP", quality=params["webp_quality"], method=2)
    else:
        source.save(
            stream, "JPEG2000", quality_mode="rates", quality_layers=[params["compression_ratio"]], irreversible=True
        )
    stream.seek(0)
    with Image.open(stream) as opened:
        out = np.asarray(opened.convert("L" if grey else "RGB"))
    return out[..., None] if grey else out
