"""Loss of detail without a physical model of its cause: blur, motion blur, low resolution."""

from __future__ import annotations

import math

import torch

from medq_vlm.degrade.base import Params, uniform
from medq_vlm.degrade.filters import convolve, gaussian_blur_xy, resize, size_scale

_BLURS = ("gaussian", "gaussian", "disk", "anisotropic", "glow")
_PATHS = ("line", "line", "curve", "shake", "double")
_DOWN_UP = (
    ("area", "bicubic"),
    ("area", "bilinear"),
    ("bicubic", "bicubic"),
    ("bicubic", "nearest"),
    ("nearest", "bilinear"),
    ("area", "nearest"),
)


# --- blur -----------------------------------------------------------------------------------------------------


def draw_blur(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Point spread of standard deviation sigma_px, whatever its shape."""
    return {
        "variant": _BLURS[int(uniform(generator, 0, len(_BLURS)))],
        "sigma_px": round(9.0 * strength**1.5 * size_scale(size), 4),
        "aspect": round(uniform(generator, 1.5, 2.5), 2),
        "along_x": bool(uniform(generator, 0, 1) < 0.5),
    }


def apply_blur(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """Blur; "glow" keeps a sharp share under a wide halo, "disk" is a defocused lens."""
    sigma = params["sigma_px"]
    if params["variant"] == "disk":
        return convolve(image, _disk(2 * sigma))  # a disk of radius r has SD r / 2 along each axis
    if params["variant"] == "anisotropic":
        root = math.sqrt(params["aspect"])
        wide, thin = sigma * root, sigma / root
        return gaussian_blur_xy(image, wide, thin) if params["along_x"] else gaussian_blur_xy(image, thin, wide)
    if params["variant"] == "glow":
        return 0.15 * image + 0.85 * gaussian_blur_xy(image, 1.1 * sigma, 1.1 * sigma)
    return gaussian_blur_xy(image, sigma, sigma)


def _disk(radius_px: float) -> torch.Tensor:
    half = max(1, math.ceil(radius_px + 0.5))
    place = torch.arange(-half, half + 1, dtype=torch.float32)
    distance = torch.sqrt(place[:, None] ** 2 + place[None, :] ** 2)
    kernel = (radius_px + 0.5 - distance).clamp(0, 1)  # the rim is shared with its neighbours
    return kernel / kernel.sum()


# --- motion blur ----------------------------------------------------------------------------------------------


def draw_motion(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """A path of motion_px during the exposure: straight, bent, shaken, or two exposures."""
    variant = _PATHS[int(uniform(generator, 0, len(_PATHS)))]
    share = {"line": 1.0, "curve": 1.2, "shake": 1.4, "double": 0.6}[variant]
    angle, bend, far = uniform(generator, 0, 180), uniform(generator, 60, 160), uniform(generator, 0, 1)
    return {
        "variant": variant,
        "motion_px": round(40.0 * strength**1.5 * share * size_scale(size), 3),
        "angle_deg": round(angle, 1),
        "bend_deg": round(bend, 1),
        # A double exposure: two places motion_px apart of half the light each, or farther and the second fainter.
        "reach": round(1 + 5 * far, 2),
        "second_fraction": round(0.5 * (1 - far + far * strength), 3),
    }


def apply_motion(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """Convolve with the path."""
    return convolve(image, _path_kernel(params, generator))


def _path_kernel(params: Params, generator: torch.Generator) -> torch.Tensor:
    """(K, K) kernel: time spent at each place of the path, spread over the four nearest pixels."""
    length = params["motion_px"]
    steps = max(8, math.ceil(8 * length))
    time = torch.linspace(-0.5, 0.5, steps)
    heading = torch.full((steps,), math.radians(params["angle_deg"]))
    if params["variant"] == "curve":
        heading = heading + math.radians(params["bend_deg"]) * time
    elif params["variant"] == "shake":
        turns = torch.randn(6, generator=generator)
        knot = ((time + 0.5) * 5).clamp(max=4.999)
        low = knot.long()
        heading = heading + 1.2 * (turns[low] + (knot - low) * (turns[low + 1] - turns[low]))
    if params["variant"] == "double":
        travel = torch.where(time < 0.5 - params["second_fraction"], 0.0, length * params["reach"])
        x, y = travel * torch.cos(heading), travel * torch.sin(heading)
    else:
        x = torch.cumsum(torch.cos(heading), 0) * length / steps
        y = torch.cumsum(torch.sin(heading), 0) * length / steps
        x, y = x - x.mean(), y - y.mean()
    half = max(1, math.ceil(float(torch.maximum(x.abs().max(), y.abs().max()))) + 1)
    side = 2 * half + 1
    kernel = torch.zeros(side * side)
    left, top = torch.floor(x), torch.floor(y)
    for dx in (0, 1):
        for dy in (0, 1):
            weight = (1 - (x - left - dx).abs()) * (1 - (y - top - dy).abs())
            kernel.index_add_(0, ((top + dy + half) * side + left + dx + half).long(), weight)
    return (kernel / kernel.sum()).reshape(side, side)


# --- low resolution -------------------------------------------------------------------------------------------


def draw_resolution(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Sampled `factor` times too coarsely and blown up again by one of six pairs of filters."""
    down, up = _DOWN_UP[int(uniform(generator, 0, len(_DOWN_UP)))]
    anisotropic = uniform(generator, 0, 1) < 0.25
    factor = 16.0**strength
    factor = 1 + (factor - 1) * size_scale(size)
    ratio = uniform(generator, 1.2, 1.8) if anisotropic else 1.0
    along_x = uniform(generator, 0, 1) < 0.5
    return {
        "factor_x": round(max(1.0, factor * (ratio if along_x else 1 / ratio)), 3),
        "factor_y": round(max(1.0, factor / (ratio if along_x else 1 / ratio)), 3),
        "down": down,
        "up": up,
    }


def apply_resolution(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """Down and up again; the grid stays."""
    height, width = image.shape[-2:]
    coarse = (max(4, round(height / params["factor_y"])), max(4, round(width / params["factor_x"])))
    return resize(resize(image, coarse, params["down"]), (height, width), params["up"])
