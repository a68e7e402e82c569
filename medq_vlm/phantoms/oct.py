"""Retinal OCT: layers of set reflectivity between smooth boundaries, fovea, choroid, vessel shadows, speckle."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from medq_vlm.phantoms.chance import Chance
from medq_vlm.phantoms.common import sample
from medq_vlm.phantoms.generic import abstract
from medq_vlm.phantoms.shapes import Grid, edge, fractal, lobes, smooth_field
from medq_vlm.schema import ImageSample

# name, thickness in units of the retina, reflectivity in dB; from vitreous to sclera
LAYERS = (
    ("nerve fibres", 0.13, 0.0), ("ganglion cells", 0.14, -9.0), ("inner plexiform", 0.12, -6.0),
    ("inner nuclear", 0.11, -13.0),
    ("outer plexiform", 0.07, -7.0), ("outer nuclear", 0.2, -17.0), ("external membrane", 0.02, -8.0),
    ("myoid", 0.05, -12.0),
    ("ellipsoid", 0.04, 0.0), ("interdigitation", 0.04, -6.0), ("pigment epithelium", 0.05, 3.0),
)  # fmt: skip


def draw(c: Chance, size: int) -> ImageSample:
    """One B-scan, 8 bits, grey."""
    ratio = c.choose((1.0, 1.25, 1.5))
    height, width = round(size / np.sqrt(ratio)), round(size * np.sqrt(ratio))
    g = Grid(c, (height, width), 0.0)
    half_x = width * g.px / 2
    x = np.linspace(-half_x, half_x, width)
    fovea = c.between(-0.4, 0.4) if c.toss(0.7) else 9.0
    dip = np.exp(-(((x - fovea) / c.between(0.22, 0.35)) ** 2))
    rim = np.exp(-((np.abs(x - fovea) - 0.55) ** 2) / 0.08)
    tilt, bow = c.between(-0.15, 0.15), c.between(-0.08, 0.2)
    wave = 0.03 * smooth_field(c, (8, width), 0.7 / g.px)[4]
    thick = c.between(0.38, 0.55)
    base = c.between(0.15, 0.35) + tilt * x + bow * x**2 + wave  # row of the pigment epithelium
    db = np.full(g.shape, -34.0, np.float32)
    detail = fractal(c, g.shape, 0.8, 30.0)
    scale = []
    for k, (_, share, _) in enumerate(LAYERS):
        inner = k < 5
        share_here = share * (1 - (0.93 if inner else 0.0) * dip + (0.25 if inner else 0.0) * rim)
        if k == 5:
            share_here = share_here * (1 + 0.5 * dip)
        scale.append(share_here * thick * c.between(0.85, 1.15))
    top = base - np.sum(scale, 0)
    edges = [top + np.sum(scale[:k], 0) for k in range(len(scale) + 1)]
    for (_, _, level), low, high in zip(LAYERS, edges[:-1], edges[1:], strict=True):
        band = g.polygon_band(low.astype(np.float32), high.astype(np.float32), 2.0)
        db += band * (level + c.between(-2, 2) - db)
    depth = (g.y - base[None]).astype(np.float32)
    below = edge(-depth, 2 * g.px)
    choroid = c.between(0.15, 0.35) + 0.04 * smooth_field(c, g.shape, 0.5 / g.px)
    db += below * (-8 - 14 * np.clip(depth / choroid, 0, 3) + 3 * detail - db)
    for _ in range(c.integer(25, 50)):  # choroidal vessels
        cx, cy = c.between(-half_x, half_x), c.between(0.05, 0.26)
        row = float(np.interp(cx, x, base)) + cy
        where, cover = g.ellipse(
            (cx, row), (c.between(0.02, 0.08), c.between(0.012, 0.03)), c.between(-0.3, 0.3), lobes(c, 0.1), 4.0
        )
        db[where] -= cover * c.between(4, 10)
    if c.toss(0.3):  # drusen, cysts or a membrane
        for _ in range(c.integer(1, 5)):
            cx = c.between(-0.8, 0.8) * half_x
            row = float(np.interp(cx, x, base)) - c.between(0.12, 0.6) * thick
            where, cover = g.ellipse((cx, row), (c.between(0.03, 0.1), c.between(0.02, 0.05)), 0, lobes(c, 0.08), 2.5)
            db[where] += cover * (-32 - db[where])
    if c.toss(0.4):
        line = top - c.between(0.04, 0.2) - 0.03 * smooth_field(c, (8, width), 0.8 / g.px)[4]
        db += 16 * np.exp(-(((g.y - line[None]) / (1.5 * g.px)) ** 2))
    for _ in range(c.integer(2, 7)):  # retinal vessels and their shadows
        cx = c.between(-half_x, half_x)
        row, w = float(np.interp(cx, x, top)) + 0.03, c.between(0.012, 0.03)
        where, cover = g.ellipse((cx, row), (w, w), 0, None, 3.0)
        db[where] += cover * 5
        db -= edge(np.abs(g.x - cx) - w * 0.7, 0.02) * edge(row - g.y, 0.02) * c.between(3, 8)
    if c.toss(0.1):
        db += -34 + 36 * abstract(c, g.shape) - db
    looks, strength = c.integer(3, 16), 10 ** (db / 10)
    power = np.zeros(g.shape, np.float32)
    for _ in range(min(looks, 8)):
        real, imaginary = (gaussian_filter(c.noise.standard_normal(g.shape, np.float32), (0.6, 0.8)) for _ in range(2))
        power += (real**2 + imaginary**2) * 2.5
    speckle = (power / min(looks, 8)) ** (1.0 if looks <= 8 else 0.7)  # more frames than are drawn: less contrast
    seen = 20 * np.log10(np.sqrt(strength * speckle) + 10 ** (c.between(-38, -30) / 20))
    tone = np.clip((seen + c.between(30, 36)) / c.between(34, 40), 0, 1) ** c.between(0.9, 1.3)
    pixels = np.round(gaussian_filter(tone, 0.45) * 255)
    width_mm = c.choose((6.0, 9.0))
    fields: dict[str, str | float] = {"scan_width_mm": width_mm, "frames_averaged": float(looks)}
    sentence = f"Macular OCT B-scan, {width_mm:.0f} mm wide, {looks} frames averaged"
    return sample(pixels, "oct", "retina", fields, sentence, (None, 2.0 / height, width_mm / width))
