"""Mammograms: breast outline, power-law parenchyma, Cooper's ligaments, pectoral muscle, vessels, calcifications."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from medq_vlm.phantoms.chance import Chance
from medq_vlm.phantoms.common import sample, text_cover
from medq_vlm.phantoms.shapes import Grid, edge, fractal, lobes, smooth_field, tree
from medq_vlm.schema import ImageSample


def draw(c: Chance, size: int) -> ImageSample:
    """One cranio-caudal or oblique view, chest wall at the left or right edge."""
    ratio = c.choose((1.15, 1.25, 1.35))
    height, width = round(size * np.sqrt(ratio)), round(size / np.sqrt(ratio))
    g = Grid(c, (height, width), 0.02)
    half_x, half_y = width * g.px / 2, height * g.px / 2
    oblique = c.toss(0.6)
    deep, tall = c.between(1.1, 1.7), c.between(0.75, 1.05) * half_y
    cy = c.between(-0.05, 0.15) if oblique else c.between(-0.05, 0.05)
    rho = g.radius((slice(0, height), slice(0, width)), (-half_x, cy), (deep, tall), 0, lobes(c, 0.02), 2.1)
    inside = edge((rho - 1) * 0.8, 1.5 * g.px)
    depth = np.clip(1 - rho, 0, 1)
    thickness = np.clip(depth / 0.16, 0, 1) ** 0.5  # compressed to one thickness except at the rim
    glandular = np.clip(c.between(0.1, 0.9) + 0.35 * fractal(c, g.shape, 1.5, 200.0), 0, 1.6)
    cone = edge(rho - c.between(0.65, 0.8) + 0.08 * smooth_field(c, g.shape, 0.3 / g.px), 0.2)
    cone = cone * edge(-(g.x + half_x) / deep + 0.12, 0.2)
    ligaments = np.zeros(g.shape, np.float32)
    for wavelength in (60.0, 25.0, 12.0):
        field = smooth_field(c, g.shape, wavelength * size / 448)
        ligaments += np.exp(-np.abs(field) * 7) * (wavelength / 60) ** 0.3
    mu = (
        1.0 * thickness
        + 0.5 * glandular * cone * thickness
        + c.between(0.06, 0.14) * ligaments * thickness * (0.5 + cone)
    )
    vessels = []
    for _ in range(3):
        vessels += tree(c, (-half_x, c.between(-0.5, 0.5)), c.between(-0.4, 0.4), 0.5, 0.012, 2, 0.3, 0.15, 0.8)
    mu += 0.12 * gaussian_filter(g.strokes(vessels), 1.0) * thickness
    mu += 0.25 * edge(np.abs(rho - 0.99) - 0.008, 2 * g.px)  # skin line
    nipple = g.ellipse((-half_x + deep * 0.99, cy), (0.05, 0.05))
    mu[nipple[0]] += 0.3 * nipple[1]
    for _ in range(c.integer(0, 2)):
        mass = g.ellipse(
            (-half_x + deep * c.between(0.25, 0.7), cy + c.between(-0.35, 0.35) * tall),
            (c.between(0.03, 0.1),) * 2,
            0,
            lobes(c, 0.12),
            6.0,
        )
        mu[mass[0]] += c.between(0.1, 0.3) * mass[1]
    if c.toss(0.5):
        centre = (-half_x + deep * c.between(0.3, 0.7), cy + c.between(-0.3, 0.3))
        for _ in range(c.integer(4, 25)):
            spot = (centre[0] + 0.06 * float(c.normal()), centre[1] + 0.06 * float(c.normal()))
            r = c.between(0.4, 1.3) * g.px
            mask = g.ellipse(spot, (r * 1.3, r), c.between(0, 3))
            mu[mask[0]] += c.between(0.3, 0.8) * mask[1]
    mu *= inside
    if oblique:
        line = (g.x + half_x) / c.between(0.45, 0.8) + (g.y + half_y) / c.between(1.2, 2.0) - 1
        mu += inside * edge(line * 0.5, 8 * g.px) * (c.between(0.35, 0.6) + 0.03 * fractal(c, g.shape, 1.0))
    seen = gaussian_filter(mu, c.between(0.35, 0.6))
    seen += (
        c.between(0.008, 0.016) * gaussian_filter(c.noise.standard_normal(g.shape, np.float32), 0.4) * (0.3 + inside)
    )
    tone = np.clip((seen - c.between(0.1, 0.5) * inside) / c.between(1.4, 1.8), 0, 1.1) ** c.between(1.0, 1.5)
    side = c.choose(("L", "R"))
    if side == "R":
        tone = tone[:, ::-1]
    words = f"{side} {'MLO' if oblique else 'CC'}"
    label = text_cover(g.shape, [(0.78 if side == "L" else 0.05, 0.05, words)], max(9, size // 25))
    scale = c.choose((255.0, 1023.0, 4095.0, 16383.0))
    inverted = scale > 255 and c.toss(0.2)
    tone = np.clip(np.maximum(tone, label * 0.95), 0, 1)
    pixels = np.round((1 - tone if inverted else tone) * scale)
    kvp, mas, dx = c.choose((26, 28, 29, 31)), c.choose((60, 90, 110)), 240.0 / height
    view = "MLO" if oblique else "CC"
    fields: dict[str, str | float] = {"kvp": float(kvp), "exposure_mas": float(mas), "view": view}
    return sample(
        pixels, "mammography", "breast", fields, f"Mammogram, {view} view, {kvp} kVp, {mas} mAs", (None, dx, dx),
        view=view, inverted=inverted, bits=8 if scale == 255 else 12,
    )  # fmt: skip
