"""Ultrasound degradations on log-compressed B-mode images: speckle, gain, shadow, reverberation, attenuation.

A grey of 1 is the top of the displayed range, 0 lies DYNAMIC_RANGE_DB below it, linear in dB; depth
runs down the rows. The black surround of the scan sector stays black.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from medq_vlm.degrade.base import Degradation, Params, uniform
from medq_vlm.degrade.fields import (
    choose,
    clip_box,
    grid,
    join_boxes,
    normal,
    seed_from,
    smooth_field,
    soft_step,
)
from medq_vlm.field_of_view import lit_area

DYNAMIC_RANGE_DB = 60.0
FIELD_FLOOR = 0.015  # greys below belong to the black surround of the sector
LOG_RAYLEIGH_SD_DB = 5.57  # SD of a fully developed speckle in dB (Burckhardt, IEEE TSU 1978)


def _draw_speckle(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Speckle SD up to 16 dB, three times that of fully developed speckle."""
    return {
        "variant": choose(generator, "log_rayleigh", "log_rayleigh", "multiplicative"),
        "speckle_sd_db": 16.0 * strength,
        "axial_px": uniform(generator, 0.4, 1.2),
        "lateral_px": uniform(generator, 0.8, 2.5),
    }


def _apply_speckle(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """Interference of many scatterers: a complex Gaussian field of the beam's cell size, in dB."""
    real = _cell(normal(generator, image), params["axial_px"], params["lateral_px"])
    imaginary = _cell(normal(generator, image), params["axial_px"], params["lateral_px"])
    sd = params["speckle_sd_db"] / DYNAMIC_RANGE_DB
    if params["variant"] == "multiplicative":
        # On displayed greys, without the long dark tail of the logarithm.
        speckle = image * (1 + 2.5 * sd * (torch.hypot(real, imaginary) - 1.2533) / 0.6551)
        return torch.where(image > 0, speckle.clamp_min(0.0), image)
    level_db = 10 * torch.log10((real.square() + imaginary.square()).clamp_min(1e-6) / 2)
    field = (level_db + 2.507) / LOG_RAYLEIGH_SD_DB  # mean of the log of an exponential: -2.507 dB
    shown = (image / 0.08).clamp(0.0, 1.0)  # below the display threshold nothing is drawn
    return torch.where(image > 0, (image + sd * field * shown).clamp_min(0.0), image)


def _cell(noise: torch.Tensor, axial_px: float, lateral_px: float) -> torch.Tensor:
    """White noise blurred to the resolution cell, with the SD of 1 restored."""
    radius = 6
    at = torch.arange(-radius, radius + 1, device=noise.device, dtype=torch.float32)
    down, across = torch.exp(-0.5 * (at / axial_px) ** 2), torch.exp(-0.5 * (at / lateral_px) ** 2)
    down, across = down / down.square().sum().sqrt(), across / across.square().sum().sqrt()
    b, c, h, w = noise.shape
    flat = F.pad(noise.reshape(b * c, 1, h, w), (radius,) * 4, mode="reflect")
    flat = F.conv2d(F.conv2d(flat, down[None, None, :, None]), across[None, None, None, :])
    return flat.reshape(b, c, h, w)


def _draw_gain(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Receiver gain wrong by up to 36 dB, too high or too low: everywhere, along the depth or from side to side."""
    side = 1.0 if uniform(generator, 0.0, 1.0) < 0.5 else -1.0
    return {
        "gain_db": 36.0 * strength * side,
        "receiver_noise_db": -66.0 + uniform(generator, -6.0, 6.0),  # below the top of the range
        "variant": choose(generator, "even", "even", "depth", "lateral"),
        "turn_fraction": uniform(generator, 0.2, 0.8),  # where an uneven gain is right
    }


def _apply_gain(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """Add dB to the echoes; high gain saturates and lifts the receiver's noise out of the black."""
    change = params["gain_db"] / DYNAMIC_RANGE_DB * _gain_share(image, params)
    quieter = torch.where(image > 0, (image + change).clamp_min(0.0), image)
    noise = 1 + params["receiver_noise_db"] / DYNAMIC_RANGE_DB + change + 0.09 * normal(generator, image)
    louder = torch.maximum(image + change, noise)
    louder = torch.minimum(louder, image.clamp_min(1.0))  # the display ends at 1
    louder = image + lit_area(image, FIELD_FLOOR) * (louder - image).clamp_min(0.0)
    return torch.where(change > 0, louder, quieter)


def _gain_share(image: torch.Tensor, params: Params) -> torch.Tensor:
    """Share of the gain's error (H, W), from -1 to 1: time gain sliders out of line, a probe that lifts at one side."""
    y, x = grid(image)
    h, w = image.shape[-2:]
    if params["variant"] == "even":
        return torch.ones((h, w), device=image.device)
    at = (y / h if params["variant"] == "depth" else x / w) - params["turn_fraction"]
    return (2 * at).clamp(-1.0, 1.0).expand(h, w)


def _draw_shadow(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Up to three quarters of the width behind a reflector, darkened by up to 45 dB."""
    h, w = size
    y = uniform(generator, 0.12, 0.45) * h
    x = uniform(generator, 0.25, 0.75) * w
    width = (0.03 + 0.5 * strength) * w * uniform(generator, 0.7, 1.0)
    spread_deg = uniform(generator, 0.0, 25.0)  # 0: linear probe
    bottom = width / 2 + math.tan(math.radians(spread_deg / 2)) * (h - y) * min(1.0, 2 * width / w)
    return {
        "y_px": y,
        "x_px": x,
        "width_px": width,
        "bottom_width_px": 2 * bottom,
        "shadow_db": 45.0 * strength,
        "reflector_gain_db": 18.0 * strength * uniform(generator, 0.2, 1.0),
        "reflector_px": uniform(generator, 0.008, 0.02) * h + 1,
        "edge_fraction": uniform(generator, 0.1, 0.35),
        "box": clip_box(x - bottom - 0.1 * width - 2, y - 0.05 * h - 2, x + bottom + 0.1 * width + 2, h, size),
    }


def _apply_shadow(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """A bright reflector and the dark behind it."""
    y, x = grid(image)
    h = image.shape[-2]
    depth = (y - params["y_px"]) / max(1.0, h - params["y_px"])
    half = (params["width_px"] + depth.clamp_min(0) * (params["bottom_width_px"] - params["width_px"])) / 2
    offset = (x - params["x_px"]).abs()
    column = soft_step(half - offset, params["edge_fraction"] * params["width_px"] + 1)
    arch = 0.04 * h * (offset / half.clamp_min(1.0)).clamp_max(1.0) ** 2  # a curved surface, convex upwards
    below = y - params["y_px"] - arch
    behind = soft_step(below - params["reflector_px"], 2 * params["reflector_px"]) * column
    line = torch.exp(-0.5 * ((below - params["reflector_px"] / 2) / params["reflector_px"]) ** 2) * column
    line = torch.where(line > 0.01, line, 0.0)
    field = lit_area(image, FIELD_FLOOR)
    bright = params["reflector_gain_db"] / DYNAMIC_RANGE_DB * line * field * (1.2 - image).clamp(0.0, 1.0)
    dark = params["shadow_db"] / DYNAMIC_RANGE_DB * behind
    return torch.where(image > 0, (image + bright - dark).clamp_min(0.0), image)


def _draw_reverberation(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Echoes repeated at equal depths, up to the full brightness and over up to the full width."""
    h, w = size
    variant = choose(generator, "lines", "copies", "ring_down")
    wide = variant != "ring_down"
    count = 1 if wide else 1 + int(uniform(generator, 0.0, 3.999))
    grown = (0.4 + 0.6 * strength) * w
    tails = [
        {
            "x_px": (uniform(generator, 0.4, 0.6) if wide else uniform(generator, 0.15, 0.85)) * w,
            "width_px": (uniform(generator, 0.6, 1.0) if wide else uniform(generator, 0.08, 0.2)) * grown,
        }
        for _ in range(count)
    ]
    y = uniform(generator, 0.05, 0.25) * h
    margin = 2.0
    return {
        "variant": variant,
        "y_px": y,
        "tails": tails,
        "spacing_px": (uniform(generator, 0.06, 0.13) if wide else uniform(generator, 0.015, 0.03)) * h + 1,
        "echo_gain": strength,
        "decay_per_echo": (0.8 if wide else 0.95) + 0.04 * strength,
        "line_px": uniform(generator, 0.006, 0.014) * h + 0.6 if wide else 0.005 * h + 0.5,
        "curve_fraction": uniform(generator, -0.05, 0.05) if wide else 0.0,
        "texture_seed": seed_from(generator),
        "box": join_boxes(
            [
                clip_box(
                    tail["x_px"] - tail["width_px"] / 2 - margin,
                    y - 0.08 * h,
                    tail["x_px"] + tail["width_px"] / 2 + margin,
                    h,
                    size,
                )
                for tail in tails
            ]
        ),
    }


def _apply_reverberation(
    image: torch.Tensor, params: Params, modality: str, generator: torch.Generator
) -> torch.Tensor:
    """Sound bouncing between two surfaces: every echo again, one spacing deeper and weaker."""
    texture = (0.75 + 0.25 * smooth_field(params["texture_seed"], image, 16)).clamp(0.2, 1.2)
    if params["variant"] == "copies":
        texture = torch.full_like(texture, 0.8)  # the copied tissue has its own
    out = image
    for tail in params["tails"]:
        echo = params["echo_gain"] * _echoes(image, params, tail) * texture * lit_area(image, FIELD_FLOOR)
        # On a logarithmic scale the stronger echo dominates: dark tissue takes it on, bright tissue hardly.
        out = out + echo * (1.05 - out).clamp_min(0.0)
    return out


def _echoes(image: torch.Tensor, params: Params, tail: dict[str, float]) -> torch.Tensor:
    """Relative brightness (B, 1, H, W) or (H, W) of the repeated echoes in one column of the image."""
    y, x = grid(image)
    h = image.shape[-2]
    decay, spacing = params["decay_per_echo"], params["spacing_px"]
    offset = (x - tail["x_px"]) / (tail["width_px"] / 2)
    column = soft_step(0.8 - offset.abs(), 0.4)
    below = y - params["y_px"] - params["curve_fraction"] * h * offset.clamp(-1, 1) ** 2
    if params["variant"] == "copies":
        # The near tissue itself comes back below.
        echo = torch.zeros_like(image)
        for bounce in range(1, 1 + int((h - params["y_px"]) / (spacing * 2))):
            shift = round(2 * spacing * bounce)
            copy = torch.zeros_like(image)
            copy[..., shift:, :] = image[..., : h - shift, :]
            echo = torch.maximum(echo, decay**bounce * copy)
        return (1.5 * echo).clamp_max(1.0) * soft_step(below, 3.0) * column
    nearest = (below / spacing).round().clamp_min(0.0)
    line = torch.exp(-0.5 * ((below - nearest * spacing) / params["line_px"]) ** 2)
    if params["variant"] == "ring_down":
        line = 0.45 + 0.55 * line  # the echoes follow so closely that they merge
        line = line * soft_step(below, 2 * params["line_px"])
    return decay**nearest * line * column


def _draw_attenuation(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Up to 50 dB lost at the bottom, or time-gain sliders wrong by up to 40 dB."""
    return {
        "variant": choose(generator, "depth", "depth", "sliders"),
        "bottom_db": 50.0 * strength,
        "start_fraction": uniform(generator, 0.0, 0.3),
        "slider_db": 40.0 * strength,
        "slider_seed": seed_from(generator),
    }


def depth_gain_db(params: Params, h: int) -> torch.Tensor:
    """Change in dB of each row (H,)."""
    depth = torch.arange(h, dtype=torch.float32) / max(1, h - 1)
    if params["variant"] == "depth":
        start = params["start_fraction"]
        return -params["bottom_db"] * ((depth - start) / (1 - start)).clamp_min(0.0)
    # Eight sliders of the time-gain compensation, one far off.
    sliders = torch.randn(8, generator=torch.Generator().manual_seed(params["slider_seed"]))
    sliders = sliders - sliders.mean()
    sliders = sliders / sliders.abs().max()
    gain = F.interpolate(sliders[None, None], size=h, mode="linear", align_corners=True)[0, 0]
    return params["slider_db"] * gain


def _apply_attenuation(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """The far field fades, or bands are too bright and too dark."""
    change = (depth_gain_db(params, image.shape[-2]) / DYNAMIC_RANGE_DB).to(image.device)[:, None]
    changed = torch.minimum((image + change).clamp_min(0.0), image.clamp_min(1.0))
    return image + (changed - image) * lit_area(image, FIELD_FLOOR)


DEGRADATIONS = (
    Degradation("speckle", _draw_speckle, _apply_speckle),
    Degradation("gain", _draw_gain, _apply_gain),
    Degradation("shadow", _draw_shadow, _apply_shadow),
    Degradation("reverberation", _draw_reverberation, _apply_reverberation),
    Degradation("attenuation", _draw_attenuation, _apply_attenuation),
)
