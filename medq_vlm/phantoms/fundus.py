"""Colour fundus photographs: round field, optic disc, vessel arcades, macula, choroid, a range of pigments."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from medq_vlm.phantoms.chance import Chance
from medq_vlm.phantoms.common import camera, sample, sides
from medq_vlm.phantoms.generic import abstract
from medq_vlm.phantoms.shapes import Grid, blend, edge, fractal, lobes, smooth_field, tree
from medq_vlm.schema import ImageSample


def _arcades(c: Chance, disc: tuple[float, float], toward: float, width: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Vessel branches from the disc: four arcades that bow round the macula (on the side `toward`), with twigs."""
    branches = []
    for up in (-1, 1):
        for outward, scale in ((1, 1.0), (-1, 0.75)):
            w = width * scale * c.between(0.85, 1.1)
            heading = (0.0 if toward * outward > 0 else np.pi) + up * toward * outward * c.between(1.0, 1.35)
            steps = 22
            turn = -up * toward * outward * c.between(0.04, 0.075) * (1 if outward > 0 else 0.4)
            headings = heading + turn * np.arange(steps) + np.cumsum(c.normal(steps)) * 0.07
            moves = np.stack([np.cos(headings), np.sin(headings)], 1) * c.between(0.06, 0.08)
            points = np.concatenate([np.array([disc]), np.array(disc) + np.cumsum(moves, 0)])
            widths = np.linspace(w, w * 0.35, steps + 1)
            branches.append((points, widths))
            for k in range(2, steps, 3):
                side = 1 if (k // 3) % 2 else -1
                start_heading = float(headings[k]) + side * c.between(0.5, 1.0)
                start_width = float(widths[k]) * c.between(0.4, 0.7)
                branches += tree(c, points[k], start_heading, c.between(0.15, 0.3), start_width, 3, 0.5, 0.16, 0.75)
    return branches


def draw(c: Chance, size: int) -> ImageSample:
    """One retinal photograph, 8 bits, black outside the field."""
    height, width = sides(c, size, 1.3, 1.0)
    g = Grid(c, (height, width), 0.0)
    shape = (height, width)
    field_r = c.between(0.86, 1.02)
    r = np.hypot(g.x, g.y)
    tone = c.choose(("orange", "orange", "red", "brown", "pale"))
    base = {
        "orange": (0.85, 0.42, 0.17),
        "red": (0.8, 0.3, 0.16),
        "brown": (0.6, 0.3, 0.14),
        "pale": (0.92, 0.55, 0.3),
    }[tone]
    rgb = np.ones((*shape, 3), np.float32) * (np.array(base) * c.many(0.9, 1.1, 3)).astype(np.float32)
    side = 1 if c.toss(0.5) else -1
    centred = c.toss(0.35)
    disc = (side * (c.between(0.0, 0.1) if centred else c.between(0.5, 0.72)), c.between(-0.08, 0.08))
    macula = (disc[0] - side * c.between(0.62, 0.75), disc[1] + c.between(0.02, 0.1))
    shade = 1 + 0.12 * smooth_field(c, shape, 0.7 / g.px) - c.between(0.05, 0.3) * r**2
    rgb *= shade[..., None]
    choroid = fractal(c, shape, c.between(0.9, 1.4), 60.0)
    rgb *= 1 + (c.between(0.01, 0.05) * choroid)[..., None] * np.array([0.6, 1.0, 1.0], np.float32)
    if tone == "brown" or c.toss(0.3):  # tigroid: choroidal vessels show
        stripes = np.tanh(2 * smooth_field(c, shape, 0.12 / g.px))
        rgb *= 1 + (c.between(0.03, 0.1) * stripes)[..., None]
    fibre = np.sin(np.arctan2(g.y - disc[1], g.x - disc[0]) * 140 + 3 * smooth_field(c, shape, 0.15 / g.px))
    near = np.exp(-((np.hypot(g.x - disc[0], g.y - disc[1]) - 0.25) ** 2) / 0.05)
    rgb *= 1 + (0.02 * fibre * near)[..., None]
    spot = np.hypot(g.x - macula[0], g.y - macula[1])
    rgb *= 1 - (c.between(0.15, 0.45) * np.exp(-((spot / c.between(0.12, 0.2)) ** 2)))[..., None]
    rgb *= 1 - (0.25 * np.exp(-((spot / 0.04) ** 2)))[..., None]
    size_disc = c.between(0.12, 0.16)
    blend(
        rgb,
        g.ellipse(disc, (size_disc * 1.1, size_disc * 1.2), 0, lobes(c, 0.03), 8.0),
        np.array([0.95, 0.62, 0.3]),
        0.55,
    )
    blend(rgb, g.ellipse(disc, (size_disc, size_disc * 1.1), 0, lobes(c, 0.02), 4.0), np.array([1.0, 0.74, 0.42]), 0.9)
    blend(
        rgb,
        g.ellipse((disc[0] - side * 0.02, disc[1]), (size_disc * 0.45, size_disc * 0.5), 0, None, 8.0),
        np.array([1.0, 0.9, 0.64]),
        0.9,
    )
    for kind, w in (("vein", c.between(0.017, 0.024)), ("artery", c.between(0.012, 0.017))):
        cover = g.strokes(_arcades(c, disc, -side, w))
        dark = np.array([0.32, 0.55, 0.5]) if kind == "vein" else np.array([0.2, 0.42, 0.4])
        rgb *= 1 - np.minimum(gaussian_filter(cover, 0.7), 1)[..., None] * dark.astype(np.float32)
        if kind == "artery":  # the reflex along the middle
            rgb += (gaussian_filter(np.clip(cover - 0.7, 0, 1), 0.6) * 0.04)[..., None]
    for _ in range(c.integer(0, 20) if c.toss(0.3) else 0):  # drusen or small bleeds
        at, s = (c.between(-0.7, 0.7), c.between(-0.7, 0.7)), c.between(0.006, 0.02)
        colour = np.array([1.0, 0.8, 0.4]) if c.toss(0.6) else np.array([0.35, 0.06, 0.04])
        blend(rgb, g.ellipse(at, (s, s), 0, lobes(c, 0.1), 3.0), colour, 0.7)
    if c.toss(0.12):
        rgb = rgb * (0.5 + 0.6 * abstract(c, shape))[..., None]
    field = edge(r - field_r, 3 * g.px)
    if c.toss(0.4):
        field = field * edge(np.abs(g.y) - c.between(0.75, 0.95), 2 * g.px)
    rgb = rgb * field[..., None] * c.between(0.85, 1.1)
    pixels = camera(c, rgb, c.between(0.4, 0.7), c.between(0.004, 0.009))
    degrees = c.choose((30, 45, 50))
    fields: dict[str, str | float] = {"field_degrees": float(degrees)}
    return sample(pixels, "fundus", "retina", fields, f"Colour fundus photograph, {degrees} degree field")
