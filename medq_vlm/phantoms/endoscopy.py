"""Endoscopy: a lit tube or wall of mucosa with folds, polyps, vessels and small wet highlights in a black frame."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from medq_vlm.phantoms.chance import Chance
from medq_vlm.phantoms.common import camera, sample, text_cover
from medq_vlm.phantoms.shapes import Grid, band_noise, edge, fractal, lobes, smooth_field, tree
from medq_vlm.schema import ImageSample


def _tube(c: Chance, g: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Depth (1 near, large far) and relief height of a view down the lumen with ring folds."""
    lumen = (c.between(-0.5, 0.5), c.between(-0.4, 0.4))
    dx, dy = g.x - lumen[0], g.y - lumen[1]
    bent = 1 + 0.25 * smooth_field(c, g.shape, 0.8 / g.px)
    r = np.hypot(dx, dy * c.between(0.8, 1.25)) * bent + 0.05
    depth = 1.0 / r
    phase = c.between(3.5, 6.5) * np.log(depth + 0.3) * 2 + 0.8 * smooth_field(c, g.shape, 0.5 / g.px)
    angle = np.arctan2(dy, dx)
    ridge = np.abs(np.sin(phase / 2 + c.between(0.2, 0.6) * np.cos(3 * angle + c.between(0, 6)))) ** c.between(2, 5)
    return depth, ridge * r * 0.16


def _wall(c: Chance, g: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Depth and relief of a wall seen at an angle with wide folds."""
    tilt = c.between(0, 6.3)
    depth = 1.3 + 0.6 * (g.x * np.cos(tilt) + g.y * np.sin(tilt)) + 0.25 * smooth_field(c, g.shape, 0.7 / g.px)
    folds = smooth_field(c, g.shape, c.between(0.3, 0.7) / g.px)
    return np.clip(depth, 0.7, 4), 0.14 * (1 - np.abs(np.tanh(folds * 1.3))) + 0.05 * folds


def draw(c: Chance, size: int) -> ImageSample:
    """One 8-bit colour frame with the black octagon or rounded border and screen letters of a video processor."""
    height, width = round(size * 0.93), round(size * 1.07 * c.choose((1.0, 1.0, 1.2)))
    g, shape = Grid(c, (height, width), 0.0), (height, width)
    depth, relief = _tube(c, g) if c.toss(0.55) else _wall(c, g)
    for _ in range(c.integer(0, 2)):  # polyps
        at, s = (c.between(-0.6, 0.6), c.between(-0.6, 0.6)), c.between(0.12, 0.4)
        where, dome = g.dome(at, (s, s * c.between(0.7, 1)), c.between(0, 3), 2.0, lobes(c, 0.08))
        relief[where] += dome * s * 0.55
    relief = gaussian_filter(relief, 1.5) + c.between(0.0006, 0.002) * fractal(c, shape, 1.3, 60.0)
    gy, gx = np.gradient(relief / g.px)
    lamp_x, lamp_y = c.between(-0.3, 0.3) - g.x, c.between(-0.3, 0.3) - g.y
    height_of_lamp = c.between(0.7, 1.3)
    # Lambert's law for a lamp at the tip of the scope, with the light that other walls send back
    toward = (-gx * lamp_x - gy * lamp_y + height_of_lamp) / np.sqrt(1 + gx**2 + gy**2)
    facing = np.clip(toward / np.sqrt(lamp_x**2 + lamp_y**2 + height_of_lamp**2), 0, 1)
    light = (0.22 + 0.9 * facing) / (0.3 + 0.7 * depth ** c.between(1.1, 1.7)) * c.between(1.3, 2.0)
    light = light / (0.55 + light) * 1.35  # automatic exposure and the knee of the camera
    base = c.choose(((0.86, 0.45, 0.36), (0.92, 0.55, 0.42), (0.8, 0.36, 0.24), (0.9, 0.62, 0.52), (0.85, 0.5, 0.25)))
    colour = np.ones((*shape, 3), np.float32) * np.array(base, np.float32)
    colour *= 1 + (0.08 * smooth_field(c, shape, 0.35 / g.px))[..., None] * np.array([0.3, 1.0, 1.0], np.float32)
    pits = band_noise(c, shape, c.between(5, 12), 0.4)
    colour *= 1 + (c.between(0.008, 0.03) * pits)[..., None] * np.array([0.5, 1.0, 1.0], np.float32)
    vessels: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(c.integer(2, 8)):
        start = (c.between(-1, 1), c.between(-1, 1))
        vessels += tree(c, start, c.between(0, 6.3), 0.2, c.between(0.004, 0.01), 4, 0.6, 0.25, 0.8)
    cover = gaussian_filter(g.strokes(vessels), 0.9)[..., None] * c.between(0.3, 0.8)
    colour *= 1 - cover * np.array([0.2, 0.5, 0.45], np.float32)
    if c.toss(0.25):  # bile or mucus
        film = edge(-smooth_field(c, shape, 0.3 / g.px) + 1.0, 0.5)[..., None] * 0.5
        colour += film * (np.array([0.75, 0.6, 0.15], np.float32) - colour)
    shade = light[..., None] ** np.array([0.85, 1.1, 1.15], np.float32)
    rgb = colour * shade * c.between(0.95, 1.2)
    wet = band_noise(c, shape, c.between(14, 40), 0.6) * 0.05
    shine = edge(-(facing + wet - c.between(1.03, 1.15)), 0.03) * edge(depth - 2.2, 0.3)
    rgb += gaussian_filter(shine, 0.6)[..., None] * 0.8
    half_x, half_y = width * g.px / 2, height * g.px / 2
    frame = c.choose(("octagon", "octagon", "round", "full"))
    if frame == "octagon":
        cut = c.between(0.25, 0.5)
        d = np.maximum.reduce(
            [
                np.abs(g.x) - half_x + 0.04,
                np.abs(g.y) - half_y + 0.02,
                (np.abs(g.x) + np.abs(g.y) - half_x - half_y + cut) / 1.414,
            ]
        )
        rgb = rgb * edge(d, 2 * g.px)[..., None]
    elif frame == "round":
        rgb = rgb * edge(np.hypot(g.x, g.y) - c.between(0.95, 1.12), 3 * g.px)[..., None]
    if c.toss(0.6):
        words = [
            (0.015, 0.1 + 0.05 * k, w)
            for k, w in enumerate(
                c.choose(
                    (
                        ("12/03/2014", "10:22:31", "CVP:12"),
                        ("Name:", "Sex: Age:", "D.O.B.:", "04/11/2013"),
                        ("PHYSICIAN:", "COMMENT:"),
                    )
                )
            )
        ]
        letters = text_cover(shape, words, max(8, size // 36))[..., None]
        rgb = rgb * (1 - letters) + letters * 0.95
    if c.toss(0.25):
        rows, columns = slice(round(height * 0.68), round(height * 0.97)), slice(0, round(width * 0.3))
        rgb[rows, columns] = np.array([0.08, 0.62, 0.5])
        loop = Grid(c, (rows.stop - rows.start, columns.stop), 0.0).strokes(
            [(np.cumsum(0.3 * c.normal((9, 2)), 0), np.full(9, 0.02))]
        )
        rgb[rows, columns] *= 1 - loop[..., None]
    pixels = camera(c, rgb, c.between(0.5, 0.8), c.between(0.005, 0.012))
    organ = c.choose(("colon", "stomach", "oesophagus", "duodenum"))
    fields: dict[str, str | float] = {"organ": organ, "light": "white"}
    return sample(pixels, "endoscopy", "gastrointestinal tract", fields, f"White-light endoscopy of the {organ}")
