"""Things in the way of an optical image: reflections, bubbles, dust, stain, folds, instruments."""

from __future__ import annotations

import math

import torch

from medq_vlm.degrade.base import Degradation, Params, uniform
from medq_vlm.degrade.fields import (
    blur,
    choose,
    clip_box,
    ellipse,
    grid,
    join_boxes,
    seed_from,
    smooth_field,
    soft_step,
    warp,
)
from medq_vlm.field_of_view import lit_area

Blob = dict[str, float]


def _colour(image: torch.Tensor, rgb: tuple[float, float, float] | list[float]) -> torch.Tensor:
    """A colour (C, 1, 1) for an image of 1 (its luminance) or 3 channels."""
    values = torch.tensor(rgb, device=image.device)
    if image.shape[1] == 1:
        values = values.mean(dim=0, keepdim=True)
    return values[:, None, None]


def _draw_blobs(
    generator: torch.Generator, size: tuple[int, int], count: int, area_fraction: float, flatness: float
) -> list[Blob]:
    """`count` ellipses at random places that together cover about `area_fraction` of the image."""
    h, w = size
    weights = [uniform(generator, 0.15, 1.0) ** 2 for _ in range(count)]
    blobs = []
    for weight in weights:
        area = area_fraction * h * w * weight / sum(weights)
        ratio = uniform(generator, flatness, 1.0)
        radius = math.sqrt(area / (math.pi * ratio))
        blobs.append(
            {
                "y_px": uniform(generator, 0.15, 0.85) * h,
                "x_px": uniform(generator, 0.15, 0.85) * w,
                "radius_px": radius,
                "flat_radius_px": radius * ratio,
                "angle_deg": uniform(generator, 0.0, 180.0),
            }
        )
    return blobs


def _blobs_box(blobs: list[Blob], size: tuple[int, int], margin_px: float = 1.0) -> list[int]:
    return join_boxes(
        [
            clip_box(
                blob["x_px"] - blob["radius_px"] - margin_px,
                blob["y_px"] - blob["radius_px"] - margin_px,
                blob["x_px"] + blob["radius_px"] + margin_px,
                blob["y_px"] + blob["radius_px"] + margin_px,
                size,
            )
            for blob in blobs
        ]
    )


def _paint(image: torch.Tensor, blobs: list[Blob], rim_fraction: float) -> torch.Tensor:
    """Cover (H, W) 0 to 1 of all blobs together; the rim takes `rim_fraction` of the smaller radius."""
    cover = torch.zeros(image.shape[-2:], device=image.device)
    for blob in blobs:
        rim = max(1.0, rim_fraction * blob["flat_radius_px"])
        one = ellipse(
            image,
            blob["y_px"],
            blob["x_px"],
            blob["flat_radius_px"],
            blob["radius_px"],
            blob["angle_deg"],
            rim,
        )
        cover = torch.maximum(cover, one)
    return cover


def _draw_specular(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """3 to 24 highlights over up to 18 % of the image."""
    count = 3 + int(uniform(generator, 0.0, 1.0) ** 2 * 22)
    blobs = _draw_blobs(generator, size, count, 0.18 * strength, 0.25)
    return {
        "blobs": blobs,
        "rim_fraction": uniform(generator, 0.2, 0.9),
        "peak_level": uniform(generator, 1.0, 1.15),
        "box": _blobs_box(blobs, size),
    }


def _apply_specular(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """The lamp mirrored in a wet surface: white, soft at the rim."""
    cover = _paint(image, params["blobs"], params["rim_fraction"])
    return image + cover * (params["peak_level"] - image).clamp_min(0.0)


def _draw_bubble(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """1 to 7 bubbles over up to 45 % of the image."""
    count = 1 + int(uniform(generator, 0.0, 1.0) ** 2 * 6.99)
    blobs = _draw_blobs(generator, size, count, 0.45 * strength, 0.85)
    return {
        "blobs": blobs,
        "rim_darkness": uniform(generator, 0.5, 0.9),
        "magnification": uniform(generator, 0.55, 0.9),  # below 1: the view inside is enlarged
        "light_deg": uniform(generator, 0.0, 360.0),
        "opacity": min(1.0, 1.5 * strength**0.5),
        "box": _blobs_box(blobs, size),
    }


def _apply_bubble(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """A thin lens of air: dark rim, bent and washed-out view inside, a bright crescent towards the lamp."""
    out = image.clone()
    for blob in params["blobs"]:
        reach = blob["radius_px"] + 1
        box = (blob["x_px"] - reach, blob["y_px"] - reach, blob["x_px"] + reach, blob["y_px"] + reach)
        x0, y0, x1, y1 = clip_box(*box, (image.shape[-2], image.shape[-1]))
        near = out[..., y0:y1, x0:x1]
        if min(near.shape[-2:]) > 1:
            out[..., y0:y1, x0:x1] = _through_bubble(near, blob["y_px"] - y0, blob["x_px"] - x0, blob, params)
    return out


def _through_bubble(image: torch.Tensor, centre_y: float, centre_x: float, blob: Blob, params: Params) -> torch.Tensor:
    """The view (B, C, H, W) around one bubble, its centre in pixels of this view."""
    y, x = grid(image)
    light = math.radians(params["light_deg"])
    radius = max(blob["radius_px"], 1.0)
    dy, dx = y - centre_y, x - centre_x
    distance = torch.hypot(dy, dx) / radius
    inside = soft_step(1 - distance - 1 / radius, 2 / radius)
    squeeze = params["magnification"] + (1 - params["magnification"]) * distance.clamp_max(1.0) ** 2
    # Near the rim the view folds outwards, as through a strong lens.
    bent = warp(image, centre_y + dy * squeeze, centre_x + dx * squeeze)
    view = 0.8 * bent + 0.2 * bent.mean(dim=(-2, -1), keepdim=True)
    rim = torch.exp(-0.5 * ((distance - 0.93) / 0.045) ** 2)
    halo = torch.exp(-0.5 * ((distance - 0.8) / 0.06) ** 2)
    facing = (dy * math.sin(light) + dx * math.cos(light)) / (radius * distance.clamp_min(1e-3))
    view = view * (1 - params["rim_darkness"] * rim)
    view = view + 0.5 * halo * soft_step(facing - 0.4, 1.0) * (1.0 - view).clamp_min(0.0)
    return image + params["opacity"] * inside * (view - image)


def _draw_dark_spot(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """1 to 15 soft spots over up to 30 % of the image, taking up to all light."""
    count = 1 + int(uniform(generator, 0.0, 1.0) ** 1.5 * 14.99)
    blobs = _draw_blobs(generator, size, count, 0.30 * strength, 0.5)
    return {
        "blobs": blobs,
        "rim_fraction": uniform(generator, 0.4, 1.0),
        "absorbed_fraction": 0.97 * strength**0.4,
        "box": _blobs_box(blobs, size),
    }


def _apply_dark_spot(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """Dust on the optics is out of focus: a soft loss of light."""
    return image * (1 - params["absorbed_fraction"] * _paint(image, params["blobs"], params["rim_fraction"]))


STAINS = {  # light let through in red, green, blue
    "blood": [0.75, 0.12, 0.14],
    "precipitate": [0.22, 0.16, 0.12],
    "marker_blue": [0.12, 0.18, 0.6],
    "marker_green": [0.1, 0.45, 0.2],
    "eosin": [0.95, 0.45, 0.62],
}


def _draw_stain(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """1 to 5 irregular stains over up to 45 % of the image."""
    count = 1 + int(uniform(generator, 0.0, 1.0) ** 2 * 4.99)
    blobs = _draw_blobs(generator, size, count, 0.45 * strength, 0.5)
    return {
        "blobs": blobs,
        "colour": choose(generator, *STAINS),
        "density": 1.5 * strength**0.5,  # optical density relative to the colour in the table
        "raggedness": uniform(generator, 0.1, 0.4),
        "outline_seed": seed_from(generator),
        "box": _blobs_box(blobs, size, 2.0),
    }


def _apply_stain(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """Absorbing matter with a ragged outline and uneven density (Beer-Lambert)."""
    ragged = smooth_field(params["outline_seed"], image, 14)
    uneven = 1 + 0.2 * smooth_field(params["outline_seed"] + 1, image, 6).clamp(-2, 2)
    cover = torch.zeros_like(ragged)
    y, x = grid(image)
    for blob in params["blobs"]:
        radius = max(1.0, blob["radius_px"])
        angle = math.radians(blob["angle_deg"])
        dy, dx = y - blob["y_px"], x - blob["x_px"]
        u = (dx * math.cos(angle) + dy * math.sin(angle)) / radius
        v = (dy * math.cos(angle) - dx * math.sin(angle)) / max(1.0, blob["flat_radius_px"])
        depth = 1 - torch.hypot(u, v)
        # The outline is bitten inwards only, so that the box holds.
        cover = torch.maximum(
            cover, soft_step(depth - params["raggedness"] * (ragged.clamp(-1.5, 1.5) + 1.5) / 2, 0.08)
        )
    density = params["density"] * cover * uneven
    return image * _colour(image, STAINS[params["colour"]]) ** density


def _draw_fold(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """A band of doubled tissue across the view, up to a third of the shorter side wide."""
    h, w = size
    across = uniform(generator, 0.0, 1.0) < 0.5
    width = (0.01 + 0.33 * strength) * min(h, w)
    n = w if across else h
    other = h if across else w
    centre = uniform(generator, 0.3, 0.7) * other
    bend = uniform(generator, -0.12, 0.12) * other
    slope = uniform(generator, -0.25, 0.25) * other / n
    reach = abs(bend) + abs(slope) * n / 2 + width * 0.65 + 2
    box = (0.0, centre - reach, float(w), centre + reach) if across else (centre - reach, 0.0, centre + reach, float(h))
    return {
        "direction": "across" if across else "down",
        "centre_px": centre,
        "bend_px": bend,
        "slope": slope,
        "width_px": width,
        "layers": 1.8 * strength**0.7,  # extra tissue thickness
        "shift_px": uniform(generator, 0.04, 0.12) * min(h, w),
        "waviness_seed": seed_from(generator),
        "box": clip_box(*box, size),
    }


def _apply_fold(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """Densities of the layers add: the light through a fold is the product of the layers'."""
    upright = image if params["direction"] == "across" else image.transpose(-2, -1)
    x0, y0, x1, y1 = params["box"]
    first, last = (y0, y1) if params["direction"] == "across" else (x0, x1)
    out = upright.clone()
    near = upright[..., first:last, :]
    y, x = grid(near)
    y, w = y + first, upright.shape[-1]
    t = 2 * x / (w - 1) - 1
    wave = smooth_field(params["waviness_seed"], upright, 6)[first:last].clamp(-1.5, 1.5)
    wave = 0.1 * params["width_px"] * wave
    centre = params["centre_px"] + params["bend_px"] * (t * t) + params["slope"] * (x - w / 2)
    offset = (y - centre + wave) / (params["width_px"] / 2)
    band = soft_step(1 - offset.abs(), 0.12)
    crease = torch.exp(-0.5 * ((offset.abs() - 0.9) / 0.06) ** 2) * band
    # The tissue is folded back on itself: the next layer is its mirror image, slightly out of focus.
    layer = warp(upright, 2 * centre - y + params["shift_px"], x + 0 * y)
    layer = blur(layer, 1.0).clamp(0.02, 1.0)
    folded = near * (0.85 * layer) ** (params["layers"] * band) * (1 - 0.35 * crease)
    out[..., first:last, :] = torch.where(band > 0, folded, near)
    return out if params["direction"] == "across" else out.transpose(-2, -1)


def _draw_occlusion(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Up to 60 % of the view hidden by an instrument, a lid or finger, or hairs."""
    h, w = size
    shape = choose(
        generator,
        *{"dermoscopy": ("hairs", "hairs", "lid"), "endoscopy": ("instrument", "lid")}.get(
            modality, ("lid", "lid", "instrument")
        ),
    )
    side = int(uniform(generator, 0.0, 4.0))  # 0 left, 1 top, 2 right, 3 bottom
    red = uniform(generator, 0.2, 0.6)  # skin, mucosa or a dark lid, out of the light
    params: Params = {
        "shape": shape,
        "side_deg": (180.0, 270.0, 0.0, 90.0)[side] + uniform(generator, -20.0, 20.0),
        "hidden_fraction": 0.6 * strength,
        "offset_fraction": uniform(generator, -0.15, 0.15),
        "colour": [red, red * uniform(generator, 0.5, 0.8), red * uniform(generator, 0.35, 0.7)],
        "texture_seed": seed_from(generator),
    }
    if shape == "hairs":
        count = 2 + round(26 * strength)
        params["hairs"] = [
            {
                "angle_deg": uniform(generator, 0.0, 180.0),
                "offset_px": uniform(generator, -0.45, 0.45) * min(h, w),
                "bend": uniform(generator, -0.35, 0.35),
                "half_width_px": uniform(generator, 0.0015, 0.004) * min(h, w) * (1 + 2 * strength) + 0.3,
            }
            for _ in range(count)
        ]
        params["colour"] = [0.12 * c for c in params["colour"]]
        params["opacity"] = min(1.0, 3 * strength)
    return params


def _apply_occlusion(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    h, w = image.shape[-2:]
    y, x = grid(image)
    y, x = y - h / 2, x - w / 2
    if params["shape"] == "hairs":
        cover = torch.zeros((h, w), device=image.device)
        for hair in params["hairs"]:
            c, s = math.cos(math.radians(hair["angle_deg"])), math.sin(math.radians(hair["angle_deg"]))
            along, across = x * c + y * s, y * c - x * s
            off = across - hair["offset_px"] - hair["bend"] * along.square() / max(h, w)
            cover = torch.maximum(cover, soft_step(hair["half_width_px"] - off.abs(), 1.5))
        return image + params["opacity"] * cover * (_colour(image, params["colour"]) - image)
    angle = math.radians(params["side_deg"])
    towards = x * math.cos(angle) + y * math.sin(angle)  # grows to the side the object comes from
    across = y * math.cos(angle) - x * math.sin(angle) - params["offset_fraction"] * min(h, w)
    hidden = params["hidden_fraction"]
    if params["shape"] == "lid":
        # A blurred curved edge: an eyelid, a finger, the fold of a bowel wall.
        level = _level(towards + 0.25 * across.square() / max(h, w), hidden)
        cover = soft_step(level - 0.03 * min(h, w), 0.06 * min(h, w))
        body = _colour(image, params["colour"]) * (1 + 0.12 * smooth_field(params["texture_seed"], image, 4))
    else:
        half = max(0.5, 0.44 * hidden**0.75 * min(h, w))
        tip = towards + (0.05 + 0.5 * hidden) * max(h, w) * 0.5
        shaft = soft_step(half - across.abs(), 2.0) * soft_step(tip - 0.4 * across.square() / half, 3.0)
        cover = shaft
        metal = 0.25 + 0.6 * torch.exp(-0.5 * ((across / half + 0.3) / 0.18) ** 2)
        rings = 1 - 0.35 * soft_step(torch.cos(towards / half * 4) - 0.75, 0.2)
        body = metal * rings * torch.ones_like(_colour(image, params["colour"]))
    cover = cover * lit_area(image)
    return image + cover * (body - image)


def _level(height: torch.Tensor, fraction: float) -> torch.Tensor:
    """`height` minus its quantile, so that it is positive on `fraction` of the pixels."""
    coarse = height[::4, ::4].flatten()
    return height - torch.quantile(coarse, 1 - fraction)


DEGRADATIONS = (
    Degradation("specular", _draw_specular, _apply_specular),
    Degradation("bubble", _draw_bubble, _apply_bubble),
    Degradation("dark_spot", _draw_dark_spot, _apply_dark_spot),
    Degradation("stain", _draw_stain, _apply_stain),
    Degradation("fold", _draw_fold, _apply_fold),
    Degradation("occlusion", _draw_occlusion, _apply_occlusion),
)
