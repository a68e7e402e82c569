"""Microscopy: sections, smears and cytology as stain densities by Beer and Lambert's law, and glowing nuclei."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from medq_vlm.phantoms.chance import Chance
from medq_vlm.phantoms.common import camera, sample, sides, stored
from medq_vlm.phantoms.generic import abstract
from medq_vlm.phantoms.shapes import Grid, band_noise, edge, fractal, lobes, smooth_field
from medq_vlm.schema import ImageSample

# optical density per unit of stain in R, G, B (Ruifrok and Johnston 2001)
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29], np.float32)
EOSIN = np.array([0.07, 0.99, 0.11], np.float32)


def _nucleus(
    c: Chance,
    g: Grid,
    h: np.ndarray,
    e: np.ndarray,
    at: tuple[float, float],
    r: float,
    long: float,
    turn: float,
    dark: float,
    chromatin: np.ndarray,
) -> None:
    where, cover = g.ellipse(at, (r * long, r / np.sqrt(long)), turn, lobes(c, 0.07), 1.6)
    inner = g.ellipse(at, (r * long * 0.86, r / np.sqrt(long) * 0.84), turn, None, 2.5)
    h[where] += cover * (dark * (0.85 + 0.3 * chromatin[where]) - h[where] * 0.7)
    h[inner[0]] -= inner[1] * dark * 0.22
    e[where] *= 1 - 0.5 * cover
    if r > 6 * g.px and c.toss(0.4):
        spot = (at[0] + c.between(-0.4, 0.4) * r, at[1] + c.between(-0.4, 0.4) * r)
        dot = g.ellipse(spot, (r * 0.22, r * 0.22), 0, None, 1.5)
        h[dot[0]] += dot[1] * dark * 0.5


def _tissue(c: Chance, g: Grid, h: np.ndarray, e: np.ndarray) -> None:
    """Stroma, sheets of cells, glands or fat, with red cells; h and e are stain amounts (H, W)."""
    shape = g.shape
    kind = c.choose(("sheet", "stroma", "gland", "mixed", "fat"))
    e += np.clip(
        c.between(0.35, 0.7) + 0.1 * fractal(c, shape, 0.9, 50.0) + 0.08 * band_noise(c, shape, c.between(4, 9), 0.5),
        0.05,
        2,
    )
    flow = smooth_field(c, shape, 0.8 / g.px) * 1.2 + c.between(0, 3)
    if kind in ("stroma", "mixed", "gland"):  # collagen: waves across the flow
        across = (-np.sin(flow) * g.x + np.cos(flow) * g.y) / g.px
        waves = np.sin(across / c.between(1.5, 4) + 3 * smooth_field(c, shape, 0.15 / g.px))
        e += 0.12 * waves
    gaps = edge(-band_noise(c, shape, c.between(20, 60), 0.5) + c.between(1.2, 2.4), 0.35)
    size_px = c.between(4.0, 12.0) * min(shape) / 448
    r, chromatin = size_px * g.px, band_noise(c, shape, max(3.0, size_px * 0.5), 0.5)
    dark = c.between(0.75, 1.3)
    half_x, half_y = shape[1] * g.px / 2, shape[0] * g.px / 2
    lumens = []
    if kind in ("gland", "mixed"):
        for _ in range(c.integer(2, 5)):
            at, size = (c.between(-half_x, half_x), c.between(-half_y, half_y)), c.between(0.15, 0.4)
            outline = lobes(c, 0.08)
            ring = g.ellipse(at, (size, size), 0, outline, 3.0)
            e[ring[0]] += ring[1] * (0.45 + 0.1 * chromatin[ring[0]] - e[ring[0]]) * 0.8
            lumens.append((at, size))
            hole = g.ellipse(at, (size - 5.5 * r, size - 5.5 * r), 0, outline, 2.0)
            if size > 6.5 * r:
                e[hole[0]] *= 1 - 0.92 * hole[1]
            count = int(2 * np.pi * size / (2.1 * r))
            for k in range(min(count, 90)):
                a = 2 * np.pi * k / count + c.between(-0.02, 0.02)
                rho = (
                    (size - 1.8 * r)
                    * (1 + c.between(-0.04, 0.04))
                    * (1 + float(np.real(outline @ np.exp(1j * a) ** np.arange(2, 2 + len(outline)))))
                )
                spot = (at[0] + rho * np.cos(a), at[1] + rho * np.sin(a))
                _nucleus(c, g, h, e, spot, r, c.between(1.1, 1.5), a, dark * c.between(0.8, 1.1), chromatin)
    if kind == "fat":
        for _ in range(c.integer(20, 50)):
            at, size = (c.between(-half_x, half_x), c.between(-half_y, half_y)), c.between(0.08, 0.2)
            cell = g.ellipse(at, (size, size * c.between(0.8, 1)), c.between(0, 3), lobes(c, 0.05), 2.0)
            e[cell[0]] *= 1 - cell[1]
    dense = {
        "sheet": c.integer(150, 420),
        "stroma": c.integer(60, 160),
        "gland": c.integer(50, 120),
        "mixed": c.integer(100, 250),
        "fat": c.integer(20, 60),
    }[kind]
    count = min(dense, int(0.35 * 4 * half_x * half_y / (np.pi * r * r)))
    xs, ys = c.many(-half_x, half_x, count), c.many(-half_y, half_y, count)
    sizes, darks = np.exp(0.25 * c.normal(count)), c.many(0.7, 1.2, count)
    for k in range(count):
        at = (float(xs[k]), float(ys[k]))
        if any(np.hypot(at[0] - q[0][0], at[1] - q[0][1]) < q[1] for q in lumens):
            continue
        row, column = (
            min(n - 1, max(0, int((v + s) / g.px)))
            for v, s, n in ((at[1], half_y, shape[0]), (at[0], half_x, shape[1]))
        )
        spindle = kind == "stroma" or (kind == "mixed" and k % 3 == 0)
        _nucleus(
            c,
            g,
            h,
            e,
            at,
            r * float(sizes[k]),
            2.2 if spindle else 1.0 + 0.3 * float(darks[k]),
            float(flow[row, column]),
            dark * float(darks[k]),
            chromatin,
        )
    e *= 1 - 0.85 * gaps * np.clip(1.2 - h, 0, 1)
    if c.toss(0.5):  # red cells
        centre = (c.between(-half_x, half_x), c.between(-half_y, half_y))
        for _ in range(c.integer(10, 50)):
            at = (centre[0] + 0.15 * float(c.normal()), centre[1] + 0.15 * float(c.normal()))
            cell = g.ellipse(at, (r * 0.75, r * 0.65), c.between(0, 3), None, 1.8)
            e[cell[0]] += cell[1] * (1.25 - e[cell[0]])
    if c.toss(0.3):  # the edge of the tissue and the bare slide
        line = g.x * np.cos(flow.mean()) + g.y * np.sin(flow.mean()) + 0.12 * smooth_field(c, shape, 0.3 / g.px)
        keep = edge(line - c.between(0.1, 0.7), 3 * g.px)
        e *= keep
        h *= keep


def _smear(c: Chance, g: Grid) -> np.ndarray:
    """Blood smear: overlapping red cells with central pallor, white cells with lobed nuclei, platelets.

    From a field of many small cells to a few large ones, from pale rose to dark or greyish red.
    """
    shape = g.shape
    density = np.zeros((*shape, 3), np.float32)
    r = float(np.exp(c.between(np.log(0.03), np.log(0.19))))
    red = np.array(
        c.choose(
            ((0.05, 0.13, 0.13), (0.06, 0.17, 0.15), (0.1, 0.16, 0.1), (0.05, 0.19, 0.2), (0.09, 0.14, 0.08),
             (0.12, 0.15, 0.12), (0.03, 0.2, 0.16))
        ), np.float32,
    ) * c.between(0.5, 1.6)  # fmt: skip
    half_x, half_y = shape[1] * g.px / 2, shape[0] * g.px / 2
    crowd, irregular = c.between(0.2, 1.3), c.between(0.01, 0.05)
    deepest, doughnut, rim = c.between(0.2, 0.95), c.between(0.3, 0.55), c.between(0.0, 0.5)
    flat = c.between(0.0, 0.5)  # where the smear is thick the pallor is lost
    for _ in range(min(900, int(crowd * 4 * half_x * half_y / (np.pi * r * r)))):
        at, size = (c.between(-half_x, half_x), c.between(-half_y, half_y)), r * c.between(0.86, 1.12)
        outline, turn, oval = lobes(c, irregular), c.between(0, 3), c.between(0.82, 1.0)
        where, cover = g.ellipse(at, (size, size * oval), turn, outline, 2.0)
        pallor = deepest * c.between(flat, 1.0)
        rho = g.radius(where, at, (size, size * oval), turn, outline, 2.0)
        # a biconcave disc: thickest near the rim, pale in the middle; defocus draws a darker line round it
        body = 1.0 - pallor * np.exp(-((rho / doughnut) ** 2)) + rim * np.exp(-(((rho - 0.93) / 0.07) ** 2))
        cell, under = (cover * body)[..., None] * red, density[where]
        density[where] = np.maximum(cell, under) + 0.5 * np.minimum(cell, under)
    grains = fractal(c, shape, 0.5, 10.0)
    violet = np.array([0.42, 0.56, 0.12], np.float32) * (1 + 0.2 * c.normal(3)) * c.between(0.6, 1.3)
    for _ in range(c.integer(0, 3) if r > 0.06 else c.integer(1, 9)):
        at, size = (c.between(-half_x, half_x), c.between(-half_y, half_y)), r * c.between(1.4, 2.2)
        where, cover = g.ellipse(at, (size, size * 0.95), 0, lobes(c, 0.04), 2.5)
        plasma = np.array([0.12, 0.2, 0.07], np.float32) * c.between(0.5, 1.1)
        density[where] += cover[..., None] * (plasma * (1 + 0.25 * grains[where])[..., None] - density[where])
        parts = c.choose((1, 2, 3, 4))
        for k in range(parts):
            a = c.between(0, 1) + k * 1.9
            spot = (at[0] + 0.38 * size * np.cos(a) * (parts > 1), at[1] + 0.38 * size * np.sin(a) * (parts > 1))
            s = size * (0.7 if parts == 1 else 0.4)
            lobe = g.ellipse(spot, (s, s * c.between(0.7, 1)), a, lobes(c, 0.08), 2.5)
            purple = violet * (1 + 0.12 * grains[lobe[0]])[..., None]
            density[lobe[0]] += lobe[1][..., None] * (purple - density[lobe[0]])
    for _ in range(c.integer(0, 12)):
        at, s = (c.between(-half_x, half_x), c.between(-half_y, half_y)), r * c.between(0.15, 0.3)
        where, cover = g.ellipse(at, (s, s * 0.8), c.between(0, 3), lobes(c, 0.1), 3.0)
        density[where] += cover[..., None] * np.array([0.2, 0.32, 0.1], np.float32)
    return density


def _cytology(c: Chance, g: Grid) -> np.ndarray:
    """Cells scraped or drawn off: wide thin cytoplasm, folded and overlapping, small dark nuclei, clean background."""
    shape = g.shape
    density = np.zeros((*shape, 3), np.float32)
    half_x, half_y = shape[1] * g.px / 2, shape[0] * g.px / 2
    r = float(np.exp(c.between(np.log(0.06), np.log(0.4))))
    tones = np.array(((0.22, 0.1, 0.08), (0.06, 0.2, 0.09), (0.16, 0.13, 0.05), (0.05, 0.12, 0.2)), np.float32)
    cold, warm = tones[c.integer(0, 3)], tones[c.integer(0, 3)]
    nucleus = np.array([0.5, 0.5, 0.25], np.float32) * (1 + 0.15 * c.normal(3)) * c.between(0.6, 1.3)
    share, small = c.between(0.1, 0.35), c.between(0.15, 0.3)
    grains, veil = fractal(c, shape, 0.6, 14.0), smooth_field(c, shape, 0.3 / g.px)
    clusters = c.many(-1.0, 1.0, 8).reshape(4, 2) * (half_x, half_y)
    gathered = c.between(0.0, 1.0)
    for _ in range(min(300, max(3, int(c.between(0.1, 0.9) * 4 * half_x * half_y / (np.pi * r * r))))):
        at = np.array([c.between(-half_x, half_x), c.between(-half_y, half_y)])
        at = at + gathered * 0.8 * (clusters[c.integer(0, 3)] - at)
        place, size, turn = (float(at[0]), float(at[1])), r * c.between(0.6, 1.2), c.between(0, 3)
        tint = (warm if c.toss(share) else cold) * c.between(0.5, 1.3)
        where, cover = g.ellipse(place, (size, size * c.between(0.6, 1.0)), turn, lobes(c, 0.07), 2.0, 2.4)
        density[where] += (cover * (1 + 0.12 * grains[where] + 0.15 * veil[where]))[..., None] * tint
        core = small * r * c.between(0.8, 1.3)
        spot = g.ellipse(place, (core, core * c.between(0.75, 1.0)), turn, lobes(c, 0.05), 1.8)
        density[spot[0]] += (spot[1] * (1 + 0.15 * grains[spot[0]]))[..., None] * nucleus
    for _ in range(c.integer(0, 40)):  # white cells and debris
        place, s = (c.between(-half_x, half_x), c.between(-half_y, half_y)), 0.5 * small * r * c.between(0.6, 1.4)
        where, cover = g.ellipse(place, (s, s * 0.8), c.between(0, 3), lobes(c, 0.1), 1.6)
        density[where] += cover[..., None] * nucleus * 0.8
    return density


def _fluorescence(c: Chance, g: Grid) -> np.ndarray:
    """Glowing nuclei, often in grey, on a dark field with a haze of what lies out of focus; (H, W, 3) 0 to 1."""
    shape = g.shape
    glow = np.zeros(shape, np.float32)
    half_x, half_y = shape[1] * g.px / 2, shape[0] * g.px / 2
    r = float(np.exp(c.between(np.log(0.02), np.log(0.16))))
    texture = fractal(c, shape, 0.8, 25.0)
    for _ in range(min(500, max(4, int(c.between(0.08, 0.5) * 4 * half_x * half_y / (np.pi * r * r))))):
        at, size = (c.between(-half_x, half_x), c.between(-half_y, half_y)), r * c.between(0.6, 1.25)
        where, cover = g.ellipse(at, (size, size * c.between(0.6, 1.0)), c.between(0, 3), lobes(c, 0.06), 2.5)
        level = c.between(0.25, 0.9) * cover * (1 + 0.12 * texture[where])
        glow[where] = np.maximum(glow[where], level)
    glow += c.between(0.02, 0.25) * gaussian_filter(glow, r / g.px) + c.between(0.01, 0.06)
    tint = c.choose(((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (0.12, 0.3, 1.0), (0.15, 1.0, 0.25)))
    return glow[..., None] * np.array(tint, np.float32)


def _seen(density: np.ndarray, light: np.ndarray) -> np.ndarray:
    """(H, W, 3) 0 to 1 of stain densities before a lamp (3,)."""
    return light * 10 ** (-np.clip(density, 0, 3))


def draw(c: Chance, size: int) -> ImageSample:
    """One 8-bit colour field of view; anatomy "tissue section", "blood smear" or none."""
    shape = sides(c, size, 1.35, 1.0)
    g = Grid(c, shape, 0.0)
    kind = c.choose(("section", "section", "section", "smear", "smear", "cytology", "fluorescence"))
    if kind == "fluorescence":
        rgb = _fluorescence(c, g)
    elif kind in ("smear", "cytology"):
        density = _smear(c, g) if kind == "smear" else _cytology(c, g)
        lamps = ((0.93, 0.91, 0.84), (0.9, 0.9, 0.93), (0.95, 0.93, 0.9), (0.86, 0.85, 0.8), (0.93, 0.88, 0.9))
        rgb = _seen(density, np.array(c.choose(lamps), np.float32) * c.between(0.85, 1.05))
    else:
        h, e = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        if c.toss(0.08):
            unit = abstract(c, shape)
            h += 0.9 * unit**2
            e += 0.5 + 0.3 * unit
        else:
            _tissue(c, g, h, e)
        turn_h, turn_e = (1 + 0.12 * c.normal(3) for _ in range(2))  # scanners and laboratories differ
        haem = HAEMATOXYLIN * turn_h * c.between(0.9, 1.4)
        eos = (EOSIN * c.between(0.5, 0.85) + np.array([0.08, 0, 0.08], np.float32)) * turn_e * c.between(0.7, 1.2)
        density = np.clip(h, 0, None)[..., None] * haem + np.clip(e, 0, None)[..., None] * eos
        rgb = _seen(density, np.array([0.96, 0.95, 0.97], np.float32))
    rgb *= 1 + (0.015 * smooth_field(c, shape, 0.9 / g.px))[..., None]
    loose = kind != "section"
    pixels = camera(c, rgb, c.between(0.4, 1.3 if loose else 0.65), c.between(0.003 if loose else 0.004, 0.009))
    if loose and c.toss(0.5):  # what cameras on microscopes store
        pixels = stored(pixels, c.integer(85, 96))
    power = c.choose((20, 40)) if kind != "smear" else 100
    spacing = 0.01 / power * 448 / size
    stain = {"section": "H&E", "smear": "Wright", "cytology": "Papanicolaou", "fluorescence": "DAPI"}[kind]
    fields: dict[str, str | float] = {"magnification": float(power), "stain": stain}
    anatomy = {"section": "tissue section", "smear": "blood smear"}.get(kind)
    sentence = {
        "section": "H&E tissue section", "smear": "Blood smear, Wright stain",
        "cytology": "Cytology, Papanicolaou stain", "fluorescence": "Fluorescence microscopy of cell nuclei",
    }[kind]  # fmt: skip
    return sample(pixels, "histopathology", anatomy, fields, f"{sentence}, {power}x", (None, spacing, spacing))
