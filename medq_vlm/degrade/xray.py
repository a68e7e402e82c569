"""Radiograph and mammogram degradations: mottle, scatter, grid lines, positioning, collimation, exposure.

Bones are white; greys stand for the logarithm of the transmitted photons (photons.py).
"""

from __future__ import annotations

import math

import torch

from medq_vlm.degrade import exposure
from medq_vlm.degrade.base import Degradation, Params, uniform
from medq_vlm.degrade.fields import Box, blur, choose, clip_box, grid, rotate, soft_step
from medq_vlm.degrade.photons import added_noise, grey_of, transmission


def _draw_mottle(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Dose down to 1/500; the scintillator spreads each photon's light over up to 1.2 pixels."""
    return {
        "dose_fraction": 500.0**-strength,
        "light_spread_px": uniform(generator, 0.0, 1.2),
        "edge_enhancement": uniform(generator, 0.0, 0.8),
    }


def _apply_mottle(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    noise = added_noise(image, params["dose_fraction"], generator)
    spread = params["light_spread_px"]
    if spread > 0:
        # The dose decides the SD, the spread only the grain.
        noise = blur(noise, spread) / _sd_left(spread)
    noise = noise + params["edge_enhancement"] * (noise - blur(noise, 2.0))
    return image + noise


def _sd_left(sd_px: float) -> float:
    """SD of white noise of SD 1 after `blur`: 1 / (2 sqrt(pi) sd_px) of a wide Gaussian, 1 without one.

    The blur's response is exp(-2 (pi sd_px f)^2) along each axis up to f = 1/2: the integral of its square.
    """
    return math.erf(math.pi * sd_px) / (2 * math.sqrt(math.pi) * sd_px)


def _draw_scatter(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Scatter-to-primary ratio up to 8, as through an obese abdomen without a grid."""
    return {
        "scatter_to_primary": 9.0**strength - 1.0,
        "scatter_width_px": uniform(generator, 0.08, 0.2) * min(size),
    }


def _apply_scatter(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """Scattered photons are a smooth veil on the transmitted ones; the exposure is set for the sum."""
    primary = transmission(image)
    ratio = params["scatter_to_primary"]
    total = (primary + ratio * blur(primary, params["scatter_width_px"])) / (1 + ratio)
    return grey_of(total) + image.clamp_max(0.0)


def _draw_grid(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Grid shadows of up to 0.3 of the grey range; cut-off of up to 0.5 at the sides."""
    return {
        "variant": choose(generator, "lines", "moire", "cutoff"),
        "line_amplitude": 0.3 * strength,
        "period_px": uniform(generator, 2.5, 10.0),
        "tilt_deg": float(choose(generator, "0", "90")) + uniform(generator, -2.0, 2.0),
        "moire_period_px": uniform(generator, 0.05, 0.2) * min(size),
        "duty": uniform(generator, 0.25, 0.6),
        "cutoff_side": uniform(generator, -1.0, 1.0),  # where the focus line meets the grid, 0 is the middle
        "cutoff_line_share": uniform(generator, 0.0, 0.4),  # 0: a moving grid, which leaves the shading alone
    }


def _apply_grid(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """Lead strips absorb photons: lighter lines; a misaligned grid absorbs more and more to the sides."""
    y, x = grid(image)
    h, w = image.shape[-2:]
    angle = math.radians(params["tilt_deg"])
    across = (x - w / 2) * math.cos(angle) + (y - h / 2) * math.sin(angle)
    phase = across / params["period_px"]
    strips = soft_step(torch.cos(2 * math.pi * phase) - math.cos(math.pi * params["duty"]), 0.8)
    shadow = strips - params["duty"]
    if params["variant"] == "moire":
        # The strips beat with the pixel rows: slow bands, bent by the cone of the beam.
        bend = 0.15 * ((y - h / 2) * math.cos(angle) - (x - w / 2) * math.sin(angle)) ** 2 / max(h, w)
        shadow = 0.25 * shadow + 0.5 * torch.cos(2 * math.pi * (across + bend) / params["moire_period_px"])
    veil = torch.zeros_like(shadow)
    if params["variant"] == "cutoff":
        reach = (across / (max(h, w) / 2) - params["cutoff_side"]).abs().clamp_max(1.5)
        veil, shadow = 1.2 * reach**1.5, params["cutoff_line_share"] * shadow
    return image + params["line_amplitude"] * (shadow + veil)


def _draw_rotation(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Turned by up to 40 degrees; the uncovered corners are black or carry the edge on."""
    side = 1.0 if uniform(generator, 0.0, 1.0) < 0.5 else -1.0
    return {"angle_deg": 40.0 * strength * side, "outside": choose(generator, "zeros", "zeros", "border")}


def _apply_rotation(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    return rotate(image, params["angle_deg"], params["outside"])


def _draw_collimation(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Shutters over one to three sides hide up to 0.65 of the area."""
    h, w = size
    order = torch.randperm(4, generator=generator).tolist()
    used = order[: 1 + int(uniform(generator, 0.0, 3.0))]
    share = [uniform(generator, 0.5, 1.0) if side in used else 0.0 for side in range(4)]
    hidden = 0.65 * strength
    # Equal visible share of each used side's axis, so that the whole visible area is 1 - hidden.
    cut = _cuts(share, hidden)
    x0, x1, y0, y1 = w * cut[0], w * (1 - cut[1]), h * cut[2], h * (1 - cut[3])
    params: Params = {
        "left_px": x0,
        "right_px": x1,
        "top_px": y0,
        "bottom_px": y1,
        "penumbra_px": uniform(generator, 1.0, 4.0),
        "tilt_deg": uniform(generator, -4.0, 4.0) if uniform(generator, 0.0, 1.0) < 0.4 else 0.0,
        "shutter_grey": float(choose(generator, "0", "0", "0", "1")),  # black, or unexposed film
    }
    if len(used) == 1 and strength > 0:
        params["box"] = _hidden_box(used[0], (x0, y0, x1, y1), params["tilt_deg"], size)
    return params


def _cuts(share: list[float], hidden: float) -> list[float]:
    """Cut fractions of left, right, top, bottom, as `share`, that hide the area fraction `hidden`."""
    low, high = 0.0, 1.0
    for _ in range(30):
        scale = (low + high) / 2
        seen = max(0.0, 1 - scale * (share[0] + share[1])) * max(0.0, 1 - scale * (share[2] + share[3]))
        low, high = (scale, high) if 1 - seen < hidden else (low, scale)
    return [low * part for part in share]


def _hidden_box(side: int, window: tuple[float, float, float, float], tilt_deg: float, size: tuple[int, int]) -> Box:
    h, w = size
    x0, y0, x1, y1 = window
    lean = math.tan(math.radians(abs(tilt_deg))) * max(h, w) / 2 + 4
    sides = ((0, 0, x0 + lean, h), (x1 - lean, 0, w, h), (0, 0, w, y0 + lean), (0, y1 - lean, w, h))
    left, top, right, bottom = sides[side]
    return clip_box(left, top, right, bottom, size)


def _apply_collimation(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    y, x = grid(image)
    h, w = image.shape[-2:]
    lean = math.tan(math.radians(params["tilt_deg"]))
    x, y = x + lean * (y - h / 2), y - lean * (x - w / 2)
    open_ = torch.ones_like(x)
    edge = params["penumbra_px"]
    if params["left_px"] > 0:
        open_ = open_ * soft_step(x - params["left_px"], edge)
    if params["right_px"] < w:
        open_ = open_ * soft_step(params["right_px"] - x, edge)
    if params["top_px"] > 0:
        open_ = open_ * soft_step(y - params["top_px"], edge)
    if params["bottom_px"] < h:
        open_ = open_ * soft_step(params["bottom_px"] - y, edge)
    return image * open_ + params["shutter_grey"] * (1 - open_)


DEGRADATIONS = (
    *exposure.DEGRADATIONS,
    Degradation("quantum_mottle", _draw_mottle, _apply_mottle),
    Degradation("scatter", _draw_scatter, _apply_scatter),
    Degradation("grid_lines", _draw_grid, _apply_grid),
    Degradation("rotation", _draw_rotation, _apply_rotation),
    Degradation("collimation", _draw_collimation, _apply_collimation),
)
