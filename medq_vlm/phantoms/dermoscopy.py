"""Dermoscopy: skin with its furrows, a pigmented lesion with network, globules and colours, few hairs."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from medq_vlm.phantoms.chance import Chance
from medq_vlm.phantoms.common import camera, sample, sides
from medq_vlm.phantoms.generic import abstract
from medq_vlm.phantoms.shapes import Grid, band_noise, edge, fractal, lobes, smooth_field, wander
from medq_vlm.schema import ImageSample


def draw(c: Chance, size: int) -> ImageSample:
    """One 8-bit colour picture."""
    shape = sides(c, size, 1.4, 1.0)
    g = Grid(c, shape, 0.0)
    skin = np.array(
        c.choose(
            (
                (0.86, 0.66, 0.56),
                (0.9, 0.72, 0.66),
                (0.8, 0.58, 0.46),
                (0.66, 0.45, 0.34),
                (0.92, 0.7, 0.58),
                (0.45, 0.3, 0.22),
            )
        ),
        np.float32,
    )
    rgb = np.ones((*shape, 3), np.float32) * skin * (1 + 0.04 * c.normal(3))
    rgb *= (
        1
        + (0.05 * smooth_field(c, shape, 0.6 / g.px) + c.between(0.008, 0.02) * fractal(c, shape, 0.8, 40.0))[..., None]
    )
    furrows = np.abs(band_noise(c, shape, c.between(14, 34), 0.35))
    rgb *= 1 - (c.between(0.01, 0.05) * np.exp(-furrows * 5))[..., None] * np.array([0.7, 1, 1], np.float32)
    redness = np.clip(smooth_field(c, shape, 0.25 / g.px) - 0.6, 0, 2) * c.between(0, 0.08)
    rgb *= 1 - redness[..., None] * np.array([0.1, 1, 1], np.float32)
    at, r = (c.between(-0.15, 0.15), c.between(-0.15, 0.15)), c.between(0.3, 0.75)
    rough = 0.08 * smooth_field(c, shape, 0.2 / g.px) + 0.03 * smooth_field(c, shape, 0.06 / g.px)
    rho = (
        g.radius(
            (slice(0, shape[0]), slice(0, shape[1])),
            at,
            (r, r * c.between(0.65, 1)),
            c.between(0, 3),
            lobes(c, 0.08),
            2.0,
        )
        + rough
    )
    lesion = edge((rho - 1) * r, c.between(0.03, 0.25))
    pigment = np.clip(
        c.between(0.5, 1.0) + 0.25 * smooth_field(c, shape, 0.3 / g.px) + 0.06 * fractal(c, shape, 1.0, 30.0), 0.1, 2
    )
    kind = c.choose(("network", "globules", "smooth", "mixed"))
    if kind in ("network", "mixed"):  # dark meshes round pale holes
        mesh = band_noise(c, shape, c.between(9, 20) * size / 448, 0.3)
        patch = np.clip(0.6 + 0.5 * smooth_field(c, shape, 0.3 / g.px), 0, 1)
        pigment *= 1 + c.between(0.2, 0.5) * patch * (edge(mesh - 0.4, 1.2) - 0.5)
    density = lesion * pigment
    if kind in ("globules", "mixed"):
        for _ in range(c.integer(20, 120)):
            a, d, s = c.between(0, 6.3), r * np.sqrt(c.between(0, 1)) * 0.95, c.between(0.008, 0.028)
            where, cover = g.ellipse(
                (at[0] + d * np.cos(a), at[1] + d * np.sin(a)), (s, s * c.between(0.7, 1)), a, lobes(c, 0.08), 2.5
            )
            density[where] += cover * c.between(0.2, 0.6)
    brown = np.array(c.choose(((0.32, 0.55, 0.72), (0.42, 0.6, 0.7), (0.22, 0.5, 0.55))), np.float32) * c.between(
        0.7, 1.3
    )
    rgb *= np.exp(-density[..., None] * brown)
    if c.toss(0.3):  # blue-white veil
        veil = lesion * edge(-smooth_field(c, shape, 0.3 / g.px) + 0.3, 0.8) * 0.5
        rgb += veil[..., None] * (np.array([0.45, 0.5, 0.62], np.float32) - rgb)
    if c.toss(0.3):
        for _ in range(c.integer(5, 30)):
            start = (at[0] + c.between(-r, r), at[1] + c.between(-r, r))
            where, cover = g.stroke(wander(c, start, c.between(0, 6.3), 0.08, 5, 0.6), np.full(6, 0.004), 2.0)
            rgb[where] *= 1 - (0.25 * cover)[..., None] * np.array([0.2, 1, 0.9], np.float32)
    hairs = [
        (
            wander(c, (c.between(-1.2, 1.2), c.between(-1, 1)), c.between(0, 6.3), c.between(0.6, 1.6), 14, 0.06),
            np.full(15, c.between(0.0025, 0.006)),
        )
        for _ in range(c.integer(1, 8) if c.toss(0.35) else 0)
    ]
    if hairs:
        rgb *= 1 - gaussian_filter(g.strokes(hairs), 0.5)[..., None] * c.between(0.5, 0.85)
    if c.toss(0.1):
        rgb *= (0.55 + 0.5 * abstract(c, shape))[..., None]
    distance = np.hypot(g.x, g.y)
    rgb *= (1 - c.between(0.0, 0.12) * distance**2)[..., None] * c.between(0.9, 1.1)
    if c.toss(0.2):
        rgb *= edge(distance - c.between(1.0, 1.2), 4 * g.px)[..., None]
    pixels = camera(c, rgb, c.between(0.4, 0.7), c.between(0.004, 0.009))
    spacing = 15.0 / min(shape)
    light = c.choose(("polarised", "contact"))
    fields: dict[str, str | float] = {"light": light}
    return sample(pixels, "dermoscopy", "skin", fields, f"Dermoscopy, {light} light, 10x", (None, spacing, spacing))
