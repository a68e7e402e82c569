"""The kinds every modality can have, each in several implementations: a scorer is to learn the kind, not the code."""

from __future__ import annotations

import torch

from medq_vlm.degrade import compression, noise, sharpness
from medq_vlm.degrade.base import Degradation, Params, uniform
from medq_vlm.degrade.filters import draw_range

_CT_AIR_HU = -1024.0


# --- low contrast ---------------------------------------------------------------------------------------------


def _draw_contrast(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    return {
        "contrast_fraction": round(0.04**strength, 4),
        "towards": round(uniform(generator, 0.25, 0.6), 3),
        "variant": ("towards_level", "towards_mean")[int(uniform(generator, 0, 2))],
        **draw_range(modality, generator),
    }


def _contrast(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    level = torch.full_like(image[:, :1, :1, :1], params["range_low"] + params["towards"] * params["range_width"])
    if params["variant"] == "towards_mean":
        level = image.clamp(params["range_low"], params["range_low"] + params["range_width"]).mean((1, 2, 3), True)
    return level + (image - level) * params["contrast_fraction"]


# --- clipping -------------------------------------------------------------------------------------------------


def _draw_clipping(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    ends = ("high", "low", "both")[int(uniform(generator, 0, 3))]
    share = 0.9 * strength**1.5
    split = {"high": 0.0, "low": 1.0, "both": uniform(generator, 0.3, 0.7)}[ends]
    return {
        "ends": ends,
        "clipped_low_fraction": round(share * split, 4),
        "clipped_high_fraction": round(share * (1 - split), 4),
        "stretched": bool(uniform(generator, 0, 1) < 0.5),
    }


def _clip(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """Saturate the given fractions of the foreground pixels at the dark and the bright end.

    "stretched" spreads what is left over the range it had, as a picture saved with too narrow a window does (not CT:
    its values keep their meaning).
    """
    out = []
    for picture in image:
        grey = picture.mean(0)
        body = grey[grey > (-300.0 if modality == "ct" else 0.03)]
        if body.numel() < 16:
            out.append(picture)
            continue
        ends = torch.tensor([params["clipped_low_fraction"], 1 - params["clipped_high_fraction"]], device=image.device)
        step = max(1, body.numel() // 100_000)  # quantiles of a sample are enough
        low, high = torch.quantile(body[::step], ends)
        if params["clipped_low_fraction"] == 0:
            low = picture.amin()
        if params["clipped_high_fraction"] == 0:
            high = picture.amax()
        clipped = picture.clamp(float(low), float(high))
        if params["stretched"] and modality != "ct":
            black = float(low) if params["clipped_low_fraction"] else 0.0
            clipped = (clipped - black) / max(float(high) - black, 0.05) * float(picture.amax())
        out.append(clipped)
    return torch.stack(out)


# --- dropout --------------------------------------------------------------------------------------------------


def _draw_dropout(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    height, width = size
    variant = ("lines", "bands", "block", "side")[int(uniform(generator, 0, 4))]
    fraction = 0.6 * strength**1.3
    params: Params = {
        "variant": variant,
        "missing_fraction": round(fraction, 4),
        "along_x": bool(uniform(generator, 0, 1) < 0.5),
        "fill": round(uniform(generator, 0, 1) ** 3, 3) if uniform(generator, 0, 1) < 0.3 else 0.0,
    }
    if variant == "block":
        ratio = uniform(generator, 0.6, 1.6)
        tall = min(height, max(2, round(height * (fraction * ratio) ** 0.5)))
        wide = min(width, max(2, round(fraction * height * width / tall)))
        # Centred in the middle half: a block in the empty corner of the picture would be no loss.
        left = round(uniform(generator, 0.3, 0.7) * width - wide / 2)
        top = round(uniform(generator, 0.3, 0.7) * height - tall / 2)
        left, top = min(max(left, 0), width - wide), min(max(top, 0), height - tall)
        params["box"] = [left, top, left + wide, top + tall]
    elif variant == "side":
        edge = int(uniform(generator, 0, 4))
        tall, wide = max(2, round(height * fraction)), max(2, round(width * fraction))
        params["box"] = (
            [0, 0, wide, height], [width - wide, 0, width, height],
            [0, 0, width, tall], [0, height - tall, width, height],
        )[edge]  # fmt: skip
    return params


def _drop(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    height, width = image.shape[-2:]
    missing = torch.zeros(height, width, dtype=torch.bool)
    if "box" in params:
        x0, y0, x1, y1 = params["box"]
        missing[y0:y1, x0:x1] = True
    else:
        length = width if params["along_x"] else height
        thick = 1 if params["variant"] == "lines" else max(2, length // 24)
        groups = -(-length // thick)
        lost = torch.randperm(groups, generator=generator)[: max(1, round(params["missing_fraction"] * groups))]
        mask = torch.zeros(groups, dtype=torch.bool)
        mask[lost] = True
        mask = mask.repeat_interleave(thick)[:length]
        missing |= mask[None, :] if params["along_x"] else mask[:, None]
    fill = _CT_AIR_HU + params["fill"] * 1000 if modality == "ct" else 0.5 * params["fill"]
    return torch.where(missing.to(image.device), fill, image)


DEGRADATIONS = (
    Degradation("noise", noise.draw, noise.apply),
    Degradation("blur", sharpness.draw_blur, sharpness.apply_blur),
    Degradation("motion_blur", sharpness.draw_motion, sharpness.apply_motion),
    Degradation("low_resolution", sharpness.draw_resolution, sharpness.apply_resolution),
    Degradation("low_contrast", _draw_contrast, _contrast),
    Degradation("compression", compression.draw, compression.apply),
    Degradation("clipping", _draw_clipping, _clip),
    Degradation("dropout", _draw_dropout, _drop),
)
