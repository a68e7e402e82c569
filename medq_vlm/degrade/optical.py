"""Optical degradations over the whole view: focus, light, colour, haze (objects: optical_objects.py)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from medq_vlm.degrade import optical_objects
from medq_vlm.degrade.base import Degradation, Params, uniform
from medq_vlm.degrade.fields import blur, choose, grid, seed_from, smooth_field, soft_step
from medq_vlm.field_of_view import lit_area
from medq_vlm.schema import MedQError


def _draw_defocus(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Blur disk of up to 3.5 % of the shorter side in radius, over the whole view or more on one side."""
    return {
        "variant": choose(generator, "disk", "disk", "hexagon", "tilted"),
        "radius_px": 0.035 * strength * min(size),
        "side_deg": uniform(generator, 0.0, 360.0),
    }


def aperture(radius_px: float, hexagon: bool) -> torch.Tensor:
    """Image of a point (n, n) for an aperture whose blur has `radius_px`, with soft edges, sum 1."""
    half = math.ceil(radius_px) + 1
    at = torch.arange(-half, half + 1, dtype=torch.float32)
    y, x = at[:, None], at[None, :]
    if hexagon:
        slanted = torch.maximum((x * 0.5 + y * 0.866).abs(), (x * 0.5 - y * 0.866).abs())
        distance = torch.maximum(x.abs(), slanted) * 1.05  # the area of the disk
    else:
        distance = torch.hypot(y, x)
    disk = (radius_px + 0.5 - distance).clamp(0.0, 1.0)
    return disk / disk.sum()


def _convolve(image: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) with an odd (n, n) kernel, reflected edges, through the Fourier domain."""
    h, w = image.shape[-2:]
    pad = min(kernel.shape[-1] // 2, h - 1, w - 1)
    padded = F.pad(image, (pad, pad, pad, pad), mode="reflect")
    shape = padded.shape[-2:]
    point = torch.zeros(shape, device=image.device)
    n = kernel.shape[-1]
    point[:n, :n] = kernel.to(image.device)
    point = point.roll((-(n // 2), -(n // 2)), (0, 1))
    out = torch.fft.irfft2(torch.fft.rfft2(padded) * torch.fft.rfft2(point), s=shape)
    return out[..., pad : pad + h, pad : pad + w]


def _apply_defocus(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    kernel = aperture(params["radius_px"], params["variant"] == "hexagon")
    # The field stop lies in another plane and its edge stays sharp: only light from inside is spread.
    field = lit_area(image) if modality in ("fundus", "endoscopy") else torch.ones_like(image[:, :1])
    soft = _convolve(torch.cat((image * field, field), dim=1), kernel)
    soft = image + field * (soft[:, :-1] / soft[:, -1:].clamp_min(0.05) - image)
    if params["variant"] != "tilted":
        return soft
    # A tilted object: one side in focus, the other out of it.
    part = soft_step(_towards(image, params["side_deg"]) + 0.2, 1.2)
    return image + part * (soft - image)


def _towards(image: torch.Tensor, side_deg: float) -> torch.Tensor:
    """(H, W) from -1 on the far to 1 on the near edge in direction `side_deg`."""
    h, w = image.shape[-2:]
    y, x = grid(image)
    angle = math.radians(side_deg)
    return (2 * y / (h - 1) - 1) * math.sin(angle) + (2 * x / (w - 1) - 1) * math.cos(angle)


def _draw_illumination(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """The worst-lit place keeps down to 3 % of its light."""
    return {
        "variant": choose(generator, "vignette", "gradient", "half_dark", "patches", "hot_spot"),
        "least_light_fraction": 1 - 0.97 * strength,
        "side_deg": uniform(generator, 0.0, 360.0),
        "centre_y_fraction": uniform(generator, 0.35, 0.65),
        "centre_x_fraction": uniform(generator, 0.35, 0.65),
        "field_seed": seed_from(generator),
    }


def _apply_illumination(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    h, w = image.shape[-2:]
    y, x = grid(image)
    dy, dx = y / h - params["centre_y_fraction"], x / w - params["centre_x_fraction"]
    distance = torch.hypot(dy, dx) / 0.6
    side = _towards(image, params["side_deg"])
    variant = params["variant"]
    if variant == "vignette":
        light = 1 - soft_step(distance - 0.6, 0.9)
    elif variant == "gradient":
        light = soft_step(side, 2.4)
    elif variant == "half_dark":
        light = soft_step(side + 0.3 * smooth_field(params["field_seed"], image, 1.5), 0.7)
    elif variant == "patches":
        light = soft_step(smooth_field(params["field_seed"], image, 2.5), 2.5)
    else:
        light = torch.exp(-0.5 * (distance / 0.35) ** 2)
    least = params["least_light_fraction"]
    gain = least + (1 - least) * light
    if variant == "hot_spot":
        # The camera exposes for the mean: the spot burns out.
        gain = gain * (1 + 0.8 * (1 - least))
        return torch.minimum(image * gain, image.clamp_min(1.0))
    return image * gain


def _draw_cast(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Channel gains up to a factor of 4 apart."""
    hue = uniform(generator, 0.0, 2 * math.pi)
    octaves = [strength * math.cos(hue - 2 * math.pi * k / 3) for k in range(3)]
    return {
        "variant": choose(generator, "gain", "gain", "tint", "mixed"),
        "red_gain": 2 ** octaves[0],
        "green_gain": 2 ** octaves[1],
        "blue_gain": 2 ** octaves[2],
        "tint_fraction": 0.55 * strength,
        "turn_deg": 75.0 * strength * (1 if hue > math.pi else -1),
    }


def _apply_cast(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """White balance wrong (gain), a coloured film over the view (tint), colours turned (mixed)."""
    if image.shape[1] != 3:
        raise MedQError("'colour_cast' needs a colour image with three channels; this one is grey.")
    gain = torch.tensor([params["red_gain"], params["green_gain"], params["blue_gain"]], device=image.device)
    gain = gain[:, None, None]
    light = image.mean(dim=1, keepdim=True)
    if params["variant"] == "gain":
        changed = image * gain
    elif params["variant"] == "tint":
        share = params["tint_fraction"]
        changed = (1 - share) * image + share * light * gain**2
    else:
        changed = light + _turn_hue(image - light, params["turn_deg"])
        changed = changed * gain**0.4
    scale = light / changed.mean(dim=1, keepdim=True).clamp_min(1e-4)  # the exposure itself is right
    return torch.where(light > 0, (changed * scale.clamp_max(4.0)).clamp_min(0.0), image)


def _turn_hue(colour: torch.Tensor, angle_deg: float) -> torch.Tensor:
    """Rotate (B, 3, H, W) about the grey axis."""
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg)) / math.sqrt(3)
    third = (1 - c) / 3
    turn = [
        [c + third, third - s, third + s],
        [third + s, c + third, third - s],
        [third - s, third + s, c + third],
    ]
    return torch.einsum("ij,bjhw->bihw", torch.tensor(turn, device=colour.device), colour)


def _draw_haze(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Down to 8 % of the direct light through smoke, a clouded lens or a cataract."""
    return {
        "variant": choose(generator, "even", "uneven"),
        "direct_fraction": 1 - 0.92 * strength,
        "veil_level": uniform(generator, 0.45, 0.8),
        "veil_warmth": uniform(generator, -0.05, 0.2),  # red above blue: yellowed lens; below: smoke
        "forward_blur_px": 0.006 * strength * min(size) * uniform(generator, 0.3, 1.0),
        "field_seed": seed_from(generator),
    }


def _apply_haze(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """Koschmieder: direct light * t + veil * (1 - t); the forward-scattered part is blurred."""
    amount = 1 - params["direct_fraction"]
    thick = torch.full(image.shape[-2:], amount, device=image.device)
    if params["variant"] == "uneven":
        thick = amount * (0.4 + 0.6 * soft_step(smooth_field(params["field_seed"], image, 2.5), 3.0))
    thick = thick * lit_area(image)
    warmth = params["veil_warmth"] * torch.tensor([1.0, 0.2, -1.0], device=image.device)
    colour = params["veil_level"] * (1 + (warmth if image.shape[1] == 3 else warmth[:1] * 0))
    veil = 0.5 * colour[:, None, None] + 0.5 * blur(image, 0.12 * min(image.shape[-2:]))
    return (1 - thick) * blur(image, params["forward_blur_px"]) + thick * veil


DEGRADATIONS = (
    Degradation("defocus", _draw_defocus, _apply_defocus),
    Degradation("uneven_illumination", _draw_illumination, _apply_illumination),
    Degradation("colour_cast", _draw_cast, _apply_cast),
    Degradation("haze", _draw_haze, _apply_haze),
    *optical_objects.DEGRADATIONS,
)
