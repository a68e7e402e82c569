"""Ultrasound phantoms: echo strength maps, fully developed speckle, log compression, linear or sector geometry."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates

from medq_vlm.phantoms.chance import Chance
from medq_vlm.phantoms.common import sample, sides, text_cover
from medq_vlm.phantoms.generic import abstract
from medq_vlm.phantoms.shapes import Grid, blend, edge, fractal, lobes, smooth_field
from medq_vlm.schema import ImageSample


def _layers(c: Chance, g: Grid, db: np.ndarray) -> None:
    """Skin, fat lobules, fascia lines, gland or muscle with its fibres, painted in dB of echo strength."""
    half = g.shape[0] * g.px / 2
    y = g.y + half + 0.05 * smooth_field(c, g.shape, 0.8 / g.px)
    depth = 0.0
    for k in range(c.integer(3, 6)):
        thick = c.between(0.04, 0.08) if k == 0 else c.between(0.12, 0.5)
        level, fibre = c.between(-30, -6) if k else c.between(-10, -3), c.between(4, 16)
        inside = edge(depth - y, 3 * g.px) * edge(y - depth - thick, 3 * g.px) if k < 5 else edge(depth - y, 3 * g.px)
        stretched = c.between(0.03, 0.12) / g.px
        lines = smooth_field(c, (g.shape[0], max(8, g.shape[1] // 5)), stretched)
        lines = np.repeat(lines, 6, axis=1)[:, : g.shape[1]]
        lines = np.pad(lines, ((0, 0), (0, g.shape[1] - lines.shape[1])), mode="edge")
        db += inside * (level + 24 + 0.3 * fibre * lines + c.between(2, 6) * fractal(c, g.shape, 1.0, 60.0))
        db += c.between(8, 20) * edge(np.abs(y - depth - thick) - 0.004, 3 * g.px)
        depth += thick
    below = edge(depth - y, 3 * g.px)
    db += below * (c.between(-26, -8) + 24)
    for _ in range(c.integer(6, 25)):  # short bright septa
        x0, y0, tilt = c.between(-1, 1), c.between(0.1, 1.6) - half, c.between(-0.35, 0.35)
        length = c.between(0.1, 0.5)
        line = np.array(
            [
                [x0, y0],
                [x0 + length / 2, y0 + tilt * length / 2 + c.between(-0.03, 0.03)],
                [x0 + length, y0 + tilt * length],
            ]
        )
        where, cover = g.stroke(line, np.full(3, c.between(0.002, 0.006)), 3.0)
        db[where] += cover * c.between(6, 18)


def _lesions(c: Chance, g: Grid, db: np.ndarray) -> None:
    """Cysts with enhancement behind, solid lesions, vessels, a bone surface with its natural shadow."""
    for _ in range(c.integer(0, 3)):
        at, size = (c.between(-0.7, 0.7), c.between(-0.5, 0.5)), c.between(0.06, 0.28)
        radii, shape, cyst = (size, size * c.between(0.5, 0.95)), lobes(c, 0.08), c.toss(0.5)
        mask = g.ellipse(at, radii, c.between(-0.3, 0.3), shape, 4.0)
        rim = g.ellipse(at, (radii[0] + 0.012, radii[1] + 0.012), 0, shape, 4.0)
        blend(db, rim, c.between(-6, 0), 0.4)
        blend(db, mask, -70.0 if cyst else c.between(-32, -14))
        behind = edge(np.abs(g.x - at[0]) - radii[0] * 0.8, 0.06) * edge(at[1] + radii[1] - g.y, 0.03)
        db += behind * (c.between(3, 7) if cyst else c.between(-5, 1))
    if c.toss(0.3):
        y = (
            c.between(0.0, 0.6)
            + 0.3 * np.abs(g.x - c.between(-0.5, 0.5)) ** 1.5
            + 0.03 * smooth_field(c, g.shape, 0.4 / g.px)
        )
        span = edge(np.abs(g.x - c.between(-0.5, 0.5)) - c.between(0.3, 0.9), 0.1)
        db += span * (22 * edge(np.abs(g.y - y) - 0.008, 5 * g.px) - 26 * edge(y + 0.02 - g.y, 0.05))


def _organ(c: Chance, g: Grid, db: np.ndarray) -> None:
    """A parenchymal organ (liver-like) with vessels, capsule, diaphragm and a kidney or bladder."""
    db += -14.0 + 24 + c.between(1.0, 3.0) * fractal(c, g.shape, 0.8, 60.0)
    half = g.shape[0] * g.px / 2
    wall = edge(g.y + half - c.between(0.1, 0.3) - 0.05 * smooth_field(c, g.shape, 0.6 / g.px), 0.03)
    db += wall * c.between(-4, 4)
    for _ in range(c.integer(4, 14)):
        at, r = (c.between(-0.9, 0.9), c.between(-0.6, 0.8)), c.between(0.012, 0.06)
        if c.toss(0.5):
            blend(db, g.ellipse(at, (r * 1.5, r * 1.5), 0, None, 5.0), 2.0, 0.7)
        blend(db, g.ellipse(at, (r * c.between(1, 2.5), r), c.between(-0.9, 0.9), lobes(c, 0.1), 4.0), -45.0)
    arc = np.abs(np.hypot(g.x - c.between(-0.2, 0.2), g.y + 0.3) - c.between(0.9, 1.2))
    db += c.between(8, 16) * edge(arc - 0.01, 4 * g.px) * edge(-g.y + 0.2, 0.2)
    if c.toss(0.6):
        at, shape = (c.between(-0.4, 0.4), c.between(0.0, 0.5)), lobes(c, 0.05)
        blend(db, g.ellipse(at, (0.38, 0.22), 0.3, shape, 5.0), -1.0)
        blend(db, g.ellipse(at, (0.36, 0.2), 0.3, shape, 5.0), c.between(-26, -18) + 24)
        blend(db, g.ellipse(at, (0.22, 0.09), 0.3, lobes(c, 0.15), 10.0), 16.0)


def _joint(c: Chance, g: Grid, db: np.ndarray) -> None:
    """Muscle in bundles over bright curved bone that shadows, the head of a joint as bone or as dotted cartilage."""
    half_x, half_y = g.shape[1] * g.px / 2, g.shape[0] * g.px / 2
    db += 24 + c.between(-22, -8) + c.between(1, 4) * fractal(c, g.shape, 0.9, 60.0)
    top = -half_y + c.between(0.1, 0.45) + 0.05 * smooth_field(c, g.shape, 1.0 / g.px)
    for _ in range(c.integer(1, 3)):  # compartments, each with its own direction of fibres, a fascia between two
        tilt, spacing = c.between(-0.4, 0.4), c.between(0.012, 0.04)
        across = g.y * np.cos(tilt) - g.x * np.sin(tilt) + 0.04 * smooth_field(c, g.shape, 1.0 / g.px)
        bundles = np.clip(np.sin(across / spacing + smooth_field(c, g.shape, 0.7 / g.px)), 0, 1) ** 2
        broken = np.clip(0.5 + 0.6 * smooth_field(c, g.shape, 0.25 / g.px), 0, 1.5)
        deeper = edge(top - g.y, 0.03)
        db += deeper * (c.between(-8, 8) + c.between(2, 11) * bundles * broken)
        db += deeper * c.between(1, 4) * smooth_field(c, g.shape, 0.4 / g.px)
        db += c.between(6, 16) * edge(np.abs(g.y - top) - c.between(0.004, 0.01), 3 * g.px)
        top = top + c.between(0.2, 0.6) + 0.06 * smooth_field(c, g.shape, 0.8 / g.px)
    at = (c.between(-0.5, 0.5) * half_x, c.between(-0.1, 0.6) * half_y)
    size, shape = c.between(0.2, 0.55), lobes(c, 0.04)
    cartilage, shaft = c.toss(0.5), c.toss(0.75)
    if cartilage:  # a child's: no shadow, dots of vessels, a thin rim where the beam meets it squarely
        where, cover = g.ellipse(at, (size, size * c.between(0.8, 1.05)), c.between(-0.5, 0.5), shape, 4.0)
        inner = c.between(-14, 2) + c.between(2, 7) * np.clip(smooth_field(c, g.shape, 0.05 / g.px)[where], 0, 3)
        db[where] += cover * (inner - db[where])
        rim = cover * (1 - cover) * 4 * np.abs(g.y[where] - at[1]) / size
        db[where] += c.between(6, 16) * np.clip(rim, 0, 1)
        if c.toss(0.5):  # the centre of ossification
            spot = (at[0] + 0.2 * size * float(c.normal()), at[1] + 0.15 * size * float(c.normal()))
            blend(db, g.ellipse(spot, (size * c.between(0.15, 0.4),) * 2, 0.0, lobes(c, 0.1), 6.0), c.between(10, 24))
    else:
        _bone(
            c, g, db, at[0], size, at[1] - size + size * (1 - np.sqrt(np.clip(1 - ((g.x - at[0]) / size) ** 2, 0, 1)))
        )
    if shaft:
        side = c.choose((-1.0, 1.0))
        middle, length = at[0] + side * (size * c.between(0.6, 1.2)), c.between(0.3, 0.9)
        slope, bow = c.between(-0.4, 0.4), c.between(-0.3, 0.3)
        line = at[1] - size * c.between(-0.6, 0.9) + slope * (g.x - middle) + bow * (g.x - middle) ** 2
        _bone(c, g, db, middle, length, line + 0.01 * smooth_field(c, g.shape, 0.1 / g.px))


def _bone(c: Chance, g: Grid, db: np.ndarray, middle: float, half: float, surface: np.ndarray) -> None:
    """A bright cortex along `surface` (H, W), y where it lies in each column, and the shadow under it, in place."""
    span = edge(np.abs(g.x - middle) - half * 0.95, c.between(0.02, 0.12))
    square = 1 / (1 + np.gradient(surface, g.px, axis=1) ** 2)  # echoes of a tilted surface miss the probe
    thick, below = c.between(0.008, 0.022), g.y - surface
    db += span * square * c.between(16, 30) * np.exp(-((below / thick) ** 2))
    shadow = gaussian_filter1d(span * edge(thick - below, 0.03), c.between(0.01, 0.05) / g.px, axis=1)
    db -= c.between(10, 30) * shadow * (1 + 0.15 * smooth_field(c, g.shape, 0.3 / g.px))
    if c.toss(0.4):  # the echo between bone and probe, once again and weak
        db += span * square * c.between(3, 9) * np.exp(-(((below - c.between(0.15, 0.4)) / thick) ** 2))


def _image(c: Chance, db: np.ndarray, axial_px: float, lateral_px: float, looks: int, range_db: float) -> np.ndarray:
    """B-mode 0 to 1 of an echo map in dB: circular Gaussian scattering through the pulse's spread, `looks` frames
    compounded (Wagner 1983: fully developed speckle), log compression over `range_db`."""
    amplitude = 10 ** (np.clip(db, -90, 40) / 20)
    power = np.zeros_like(amplitude)
    for _ in range(looks):
        parts = []
        for _part in range(2):
            field = c.noise.standard_normal(db.shape, np.float32) * amplitude
            field = gaussian_filter1d(gaussian_filter1d(field, axial_px, axis=0), lateral_px, axis=1)
            parts.append(field * np.sqrt(4 * np.pi * axial_px * lateral_px))
        power += np.hypot(*parts) / looks
    level = 20 * np.log10(power + 1e-5)
    # the operator's gain: few echoes but bone saturate, and the picture as a whole stays dark grey
    middle = np.percentile(level, 60)
    bright = max(min(np.percentile(level, 99.5), middle + 0.8 * range_db), middle + range_db * c.between(0.42, 0.7))
    return np.clip((level - bright) / range_db + 1, 0, 1)


def _to_sector(c: Chance, polar: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Scan conversion of (depth, angle) to a fan of (H, W), 0 outside."""
    height, width = shape
    spread, inner = c.between(0.5, 0.8), c.between(0.02, 0.35)
    y = np.linspace(inner * np.cos(spread), 1.0 + 0.02, height)[:, None]
    x = (np.arange(width) - width / 2 + 0.5)[None] * (y[1, 0] - y[0, 0])
    r, a = np.hypot(x, y), np.arctan2(x, y)
    rows = (r - inner) / (1 - inner) * (polar.shape[0] - 1)
    columns = (a / spread + 1) / 2 * (polar.shape[1] - 1)
    fan = map_coordinates(polar, np.stack([rows, columns]), order=1, mode="constant").astype(np.float32)
    return fan


def draw(c: Chance, size: int) -> ImageSample:
    """One B-mode frame of 8 bits, with the ticks and letters of a scanner's screen."""
    scene = c.choose(("layers", "layers", "organ", "heart", "joint", "joint", "abstract"))
    height, width = sides(c, size, 1.35, 1.2)
    g = Grid(c, (height, width), 0.03)
    db = np.full(g.shape, -24.0, np.float32)
    sector = scene in ("organ", "heart") and c.toss(0.85)
    if scene == "layers":
        _layers(c, g, db)
        _lesions(c, g, db)
    elif scene == "organ":
        _organ(c, g, db)
    elif scene == "joint":
        _joint(c, g, db)
    elif scene == "heart":
        db += -16 + 24 + c.between(1, 3) * fractal(c, g.shape, 1.0, 50.0)
        for _ in range(4):
            at = (c.between(-0.45, 0.45), c.between(-0.4, 0.5))
            blend(
                db,
                g.ellipse(at, (c.between(0.15, 0.35), c.between(0.2, 0.45)), c.between(-0.4, 0.4), lobes(c, 0.1), 6.0),
                -60.0,
            )
        for _ in range(5):
            line = np.cumsum(np.concatenate([c.normal((1, 2)) * 0.3, c.normal((4, 2)) * 0.12]), 0)
            where, cover = g.stroke(line, np.full(5, c.between(0.006, 0.015)), 4.0)
            db[where] = np.maximum(db[where], -60 + cover * c.between(50, 68))
    else:
        db += 24 - 40 + 40 * abstract(c, g.shape)
    half = g.shape[0] * g.px / 2
    db -= c.between(2, 9) * (g.y + half) / (2 * half)  # what is left after time-gain compensation
    db += c.between(4, 12) * np.exp(-(g.y + half) / 0.02)
    scale = size / 448
    axial_px = c.between(0.7, 2.4)  # probes and depths differ: fine grain to coarse blobs
    tone = _image(c, db, axial_px * scale, axial_px * c.between(1.3, 2.6) * scale, c.integer(1, 7), c.between(45, 75))
    if c.toss(0.6):  # speckle reduction of modern scanners
        tone = gaussian_filter(tone, c.between(0.3, 0.9))
    tone = np.clip((tone - c.between(0.0, 0.15)) / c.between(0.8, 0.95), 0, 1) ** c.between(0.9, 1.4)
    canvas = _to_sector(c, tone, (height, width)) if sector else tone
    if not sector and c.toss(0.4):
        pad = c.integer(8, 60)
        canvas = np.pad(canvas, ((pad // 3, pad // 3), (pad, pad)))
    canvas = _overlay(c, canvas, size)
    place, anatomy = {
        "layers": ("Breast", "breast"),
        "organ": ("Abdominal", "abdomen"),
        "heart": ("Cardiac", "heart"),
        "joint": ("Joint", c.choose(("hip", None))),
        "abstract": ("Soft-tissue", None),
    }[scene]
    mhz, depth_cm = (
        (c.choose((7.5, 10.0, 12.0)), c.choose((3, 4, 5)))
        if not sector
        else (c.choose((2.5, 3.5, 5.0)), c.choose((12, 15, 18)))
    )
    fields: dict[str, str | float] = {"frequency_mhz": mhz, "depth_cm": float(depth_cm)}
    dx = depth_cm * 10.0 / canvas.shape[0]
    sentence = f"{place} ultrasound, {'sector' if sector else 'linear'} probe, {mhz} MHz, {depth_cm} cm depth"
    return sample(np.round(canvas * 255), "ultrasound", anatomy, fields, sentence, (None, dx, dx), bits=8)


def _overlay(c: Chance, canvas: np.ndarray, size: int) -> np.ndarray:
    """Depth ticks, probe mark, a few letters, sometimes calipers."""
    height, width = canvas.shape
    out = canvas.copy()
    if c.toss(0.6):
        column = width - c.integer(4, 10) if c.toss(0.6) else c.integer(2, 8)
        for k in range(1, 10):
            row = k * height // 10
            out[row, max(0, column - (4 if k % 5 == 0 else 2)) : column] = 0.8
    if c.toss(0.6):
        words = [
            (c.between(0.0, 0.05), c.between(0.0, 0.04), c.choose(("P", "LOGIQ", "MI 0.9", "GE"))),
            (c.between(0.2, 0.6), 0.93, c.choose(("RT BREAST", "LIVER", "LT 3 O'CLOCK", "SAG", ""))),
        ]
        out = np.maximum(out, text_cover(canvas.shape, words, max(8, size // 32)) * 0.9)
    if c.toss(0.2):
        spots = c.plan.uniform(0.25, 0.7, (2, 2))
        marks = text_cover(canvas.shape, [(float(x), float(y), "+") for x, y in spots], max(9, size // 26))
        out = np.maximum(out, marks)
    return out
