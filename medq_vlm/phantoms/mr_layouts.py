"""MR views that are not axial trunks: sagittal and coronal head, sagittal spine, neck, short-axis heart, knee."""

from __future__ import annotations

import numpy as np

from medq_vlm.phantoms.painter import Painter
from medq_vlm.phantoms.shapes import band_noise, edge, lobes, smooth_field


def _cortex(p: Painter, brain: np.ndarray, depth: np.ndarray, fold_size: float) -> None:
    """White matter, folded cortex and sulci inside the coverage `brain`; `depth` is the distance from its surface."""
    c, g = p.chance, p.grid
    fold = band_noise(c, g.shape, fold_size / g.px, 0.3)
    reach = np.clip(depth / c.between(0.2, 0.3), 0, 1)
    p.whole(brain, "white")
    p.whole(brain * edge(np.abs(fold) - 0.8 * (1 - reach**2) + 0.3 * reach**6, 0.14), "grey")
    p.whole(brain * edge(depth - 0.03, 1.5 * g.px), "grey")
    p.whole(brain * edge(np.abs(fold) - c.between(0.15, 0.28) * (1 - reach**1.5) + 0.45 * reach**4, 0.12), "csf")


def _depth_in(
    p: Painter, centre: tuple[float, float], radii: tuple[float, float], turn: float, shape: np.ndarray
) -> np.ndarray:
    g = p.grid
    rho = g.radius((slice(0, g.shape[0]), slice(0, g.shape[1])), centre, radii, turn, shape, 2.1)
    return (1 - rho) * float(np.sqrt(radii[0] * radii[1]))


def sagittal_head(p: Painter) -> None:
    """Mid-sagittal head: face, brain, corpus callosum, brain stem, cerebellum, upper spine."""
    c, g = p.chance, p.grid
    at, radii, shape = (
        (c.between(0.0, 0.06), c.between(-0.25, -0.15)),
        (c.between(0.72, 0.8), c.between(0.6, 0.68)),
        lobes(c, 0.015, 3),
    )
    neck = np.array([[0.12, 0.3], [0.1, 0.7], [0.12, 1.3]])
    face = np.array([[-0.5, 0.1], [-0.55, 0.45], [-0.42, 0.72]])
    for grow, tissue in ((0.0, "skin"), (0.012, "fat"), (0.05, "muscle")):
        p.fill(g.ellipse(at, (radii[0] - grow, radii[1] - grow), 0, shape), tissue)
        p.fill(g.stroke(neck, np.array([0.5, 0.42, 0.46]) - grow), tissue)
        p.fill(g.stroke(face, np.array([0.26, 0.24, 0.2]) - grow), tissue)
        nose = np.array([[-0.68, 0.1], [-0.84, 0.3]])
        p.fill(g.stroke(nose, np.array([0.05, 0.08]) - grow * 0.8), tissue)
    for _ in range(10):
        spot = (c.between(-0.66, -0.2), c.between(0.2, 0.75))
        tissue = c.choose(("gas", "fat", "cortex", "marrow", "muscle"))
        p.fill(
            g.ellipse(spot, (c.between(0.03, 0.11), c.between(0.02, 0.06)), c.between(-0.4, 0.4), lobes(c, 0.15)),
            tissue,
        )
    p.fill(
        g.stroke(np.array([[-0.5, 0.22], [-0.2, 0.3], [-0.12, 0.6], [-0.14, 1.2]]), np.array([0.05, 0.05, 0.05, 0.04])),
        "gas",
    )
    p.fill(g.stroke(np.array([[-0.52, 0.5], [-0.3, 0.46], [-0.2, 0.62]]), np.array([0.08, 0.12, 0.07])), "muscle")
    depth = _depth_in(p, at, radii, 0, shape)
    p.whole(edge(0.05 - depth, 1.5 * g.px), "cortex")
    p.whole(edge(0.065 - depth, 1.5 * g.px) * edge(depth - 0.095, 1.5 * g.px), "marrow")
    p.whole(edge(0.11 - depth, 1.5 * g.px) * edge(g.y - 0.3, 0.1), "csf")
    lower = edge(g.y - (0.16 + 0.12 * g.x), 0.03)
    _cortex(p, edge(0.13 - depth, 1.5 * g.px) * lower, depth - 0.13, c.between(0.15, 0.2))
    x, y = at
    arc = np.array([[-0.3, 0.04], [-0.26, -0.12], [-0.05, -0.2], [0.18, -0.14], [0.27, 0.02]]) + np.array([x, y])
    p.fill(g.stroke(arc + np.array([0, 0.055]), np.array([0.03, 0.05, 0.05, 0.05, 0.03]) * c.between(0.6, 1.3)), "csf")
    p.fill(g.stroke(arc, np.array([0.045, 0.035, 0.03, 0.032, 0.05])), "white")
    p.fill(g.ellipse((x + 0.02, y + 0.05), (0.13, 0.09), 0, lobes(c, 0.05), 3), "deep")
    stem = np.array([[0.06, 0.1], [0.07, 0.28], [0.12, 0.46], [0.12, 1.3]]) + np.array([x, y])
    p.fill(g.stroke(stem, np.array([0.14, 0.18, 0.12, 0.11])), "csf")
    for k in range(6):
        spot = (float(stem[2, 0]) - 0.19, 0.4 + k * 0.17)
        p.fill(g.ellipse(spot, (0.085, 0.07), 0, square=3), "cortex")
        p.fill(g.ellipse(spot, (0.075, 0.06), 0, square=3), "marrow")
    p.fill(g.stroke(stem, np.array([0.07, 0.11, 0.065, 0.05])), "white")
    small, shape = (x + 0.36, y + 0.38), lobes(c, 0.05)
    p.fill(g.ellipse(small, (0.27, 0.22), 0.4, shape), "csf")
    cerebellum = p.full(g.ellipse(small, (0.25, 0.2), 0.4, shape))
    p.whole(cerebellum, "grey")
    angle, radius = np.arctan2(g.y - small[1], g.x - small[0] + 0.12), np.hypot(g.x - small[0] + 0.12, g.y - small[1])
    p.whole(cerebellum * edge(np.abs(np.sin(angle * 4.5 + 2 * radius)) * radius - 0.05 + 0.1 * radius, 0.04), "white")
    p.whole(cerebellum * edge(np.abs(np.sin(angle * 17 + radius * 8)) - 0.2, 0.25) * (radius > 0.12), "csf")


def coronal_head(p: Painter) -> None:
    """Coronal head: cerebrum with temporal lobes, ventricles, brain stem or neck below."""
    c, g = p.chance, p.grid
    cy, rx, ry, shape = c.between(-0.15, -0.05), c.between(0.68, 0.76), c.between(0.68, 0.76), lobes(c, 0.015, 3)
    neck = np.array([[0, 0.4], [0, 1.3]])
    for grow, tissue in ((0.0, "skin"), (0.012, "fat"), (0.05, "muscle")):
        p.fill(g.ellipse((0, cy), (rx - grow, ry - grow), 0, shape, square=2.2), tissue)
        p.fill(g.stroke(neck, np.array([0.5, 0.5]) - grow), tissue)
    limit = p.full(g.stroke(neck, np.array([0.42, 0.42])))
    p.streaks(limit, "fat", 0.18, 0.02, 0.9)
    p.fill(g.stroke(np.array([[0, 0.62], [0, 1.2]]), np.array([0.05, 0.05])), "gas")
    depth = _depth_in(p, (0, cy), (rx, ry), 0, shape)
    p.whole(edge(0.05 - depth, 1.5 * g.px), "cortex")
    p.whole(edge(0.065 - depth, 1.5 * g.px) * edge(depth - 0.09, 1.5 * g.px), "marrow")
    p.whole(edge(0.11 - depth, 1.5 * g.px), "csf")
    below = edge(g.y - cy - 0.34 - 0.1 * np.cos(g.x * 8), 0.02)
    _cortex(p, edge(0.12 - depth, 1.5 * g.px) * below, depth - 0.12, c.between(0.14, 0.2))
    gap = edge(np.abs(g.x) - 0.009, 1.5 * g.px) * edge(g.y - cy + 0.1, 0.05) * below
    p.whole(gap * edge(0.11 - depth, 1.5 * g.px), "csf")
    size = c.between(0.7, 1.5)
    for side in (-1, 1):
        p.fill(g.ellipse((side * 0.24, cy + 0.08), (0.07, 0.12), -side * 0.2, lobes(c, 0.05), 3), "deep")
        p.fill(g.ellipse((side * 0.1, cy + 0.12), (0.075, 0.08), 0, lobes(c, 0.05), 3), "deep")
        horn = np.array([[0.03, -0.08], [0.09, -0.05], [0.14, -0.07]]) * [side, 1] + np.array([0, cy])
        p.fill(g.stroke(horn, np.array([0.016, 0.03, 0.012]) * size), "csf")
        fissure = np.array([[0.36, 0.12], [0.46, 0.08], [0.6, 0.12]]) * [side, 1] + np.array([0, cy])
        p.fill(g.stroke(fissure, np.array([0.016, 0.02, 0.02])), "csf")
        p.fill(g.ellipse((side * 0.2, cy + 0.52), (0.24, 0.14), side * 0.2, lobes(c, 0.06)), "grey")
    p.fill(g.stroke(np.array([[0, 0.02], [0, 0.16]]) + np.array([0, cy]), np.array([0.008, 0.012]) * size), "csf")
    p.fill(g.ellipse((0, cy + 0.36), (0.14, 0.2), 0, lobes(c, 0.05)), "white")


def spine(p: Painter) -> None:
    """Sagittal spine: vertebrae and discs along a curve, sac with cord, spinous processes, fat and muscles."""
    c, g = p.chance, p.grid
    half = g.shape[0] * g.px / 2
    p.whole(np.ones(g.shape, np.float32), "muscle")
    front, back = c.between(-0.75, -0.55), c.between(0.62, 0.8)
    field = smooth_field(c, g.shape, 0.5 / g.px) * 0.05
    p.whole(edge(g.x - front + field, 0.06), c.choose(("fat", "lung", "bowel")))
    limit = edge(g.x - front - 0.1, 0.05)
    p.streaks(limit, "fat", 0.25, 0.05, 0.8)
    p.whole(edge(back - g.x - field, 2 * g.px), "fat")
    p.whole(edge(back + 0.16 - g.x - field, 2 * g.px), "skin")
    p.whole(edge(back + 0.18 - g.x - field, 2 * g.px), "air")
    p.streaks(edge(back - 0.3 - g.x, 0.1) * edge(g.x - back, 0.02), "fat", 0.3, 0.03, 0.8)
    count = c.integer(6, 10)
    height = 2 * half / count
    bow, phase, middle = c.between(-0.12, 0.12), c.between(0, 3), c.between(-0.2, -0.05)
    width = height * c.between(0.5, 0.65)

    def centre(y: float) -> float:
        return middle + bow * np.sin(y * 1.6 / half + phase)

    ys = np.linspace(-half - height, half + height, 24)
    sac = np.stack([np.array([centre(y) for y in ys]) + width + height * 0.22, ys], 1)
    size = height * c.between(0.14, 0.2)
    p.fill(g.stroke(sac, np.full(24, size + 0.025)), "fat")
    p.fill(g.stroke(sac, np.full(24, size)), "csf")
    end = c.integer(12, 24)
    p.fill(g.stroke(sac[:end], np.full(end, size * 0.5)), "cord")
    line = sac - np.array([size + 0.01, 0])
    p.fill(g.stroke(line, np.full(24, 0.008)), "cortex")
    for k in range(-1, count + 1):
        y = -half + (k + 0.5) * height + c.between(-0.01, 0.01)
        x, tilt = centre(y), bow * 1.6 / half * np.cos(y * 1.6 / half + phase)
        p.bone((x, y), (width, height * 0.4), -tilt, lobes(c, 0.012), 0.012, 5.0)
        at = (centre(y + height / 2), y + height / 2)
        p.fill(
            g.ellipse(at, (width * 0.98, height * 0.1), -tilt, lobes(c, 0.02), square=2.6),
            "ligament",
        )
        p.fill(g.ellipse(at, (width * 0.72, height * 0.075), -tilt, lobes(c, 0.05), 2.5), "disc", c.between(0.4, 1.0))
        tip = np.array([[x + width + height * 0.55, y + height * 0.25], [x + width + height * 1.0, y + height * 0.6]])
        p.fill(g.stroke(tip, np.array([0.16, 0.13]) * height), "cortex")
        p.fill(g.stroke(tip, np.array([0.12, 0.09]) * height), "marrow")


def neck(p: Painter) -> None:
    """Axial neck: muscles in fat septa, vertebra, cord in its sac, airway, vessels."""
    c, g = p.chance, p.grid
    rx, ry, shape = c.between(0.68, 0.82), c.between(0.62, 0.74), lobes(c, 0.03)
    for grow, tissue in ((0.0, "skin"), (0.014, "fat"), (0.06, "muscle")):
        p.fill(g.ellipse((0, 0), (rx - grow, ry - grow), 0, shape), tissue)
    inside = p.full(g.ellipse((0, 0), (rx - 0.06, ry - 0.06), 0, shape))
    p.streaks(inside, "fat", 0.3, 0.02, 0.8)
    p.streaks(inside, "fat", 0.12, 0.006, 0.6)
    y = c.between(-0.05, 0.05)
    p.fill(g.ellipse((0, y - 0.33), (0.13, 0.12), 0, lobes(c, 0.05)), "cartilage")
    p.fill(g.ellipse((0, y - 0.33), (0.1, 0.09), 0, lobes(c, 0.08)), "gas")
    for side in (-1, 1):
        p.fill(g.ellipse((side * 0.24, y - 0.3), (0.12, 0.15), 0, lobes(c, 0.08)), "spleen")
        for x, dy, r in ((0.34, -0.14, 0.055), (0.42, -0.2, 0.07), (0.17, 0.06, 0.03)):
            p.fill(g.ellipse((side * x, y + dy), (r, r * 0.85), 0, lobes(c, 0.06)), "blood")
        p.fill(
            g.stroke(
                np.array([[0.12, 0.1], [0.26, 0.16], [0.14, 0.32]]) * [side, 1] + np.array([0, y]),
                np.array([0.05, 0.06, 0.03]),
            ),
            "cortex",
        )
        p.fill(
            g.stroke(np.array([[0.12, 0.1], [0.26, 0.16]]) * [side, 1] + np.array([0, y]), np.array([0.02, 0.035])),
            "marrow",
        )
    p.bone((0, y), (0.17, 0.12), 0, lobes(c, 0.04), 0.014)
    p.fill(g.ellipse((0, y + 0.19), (0.14, 0.085), 0, lobes(c, 0.03)), "csf")
    p.fill(g.ellipse((0, y + 0.19), (0.085, 0.05), 0, lobes(c, 0.02)), "white")
    p.fill(g.stroke(np.array([[0, y + 0.3], [0, y + 0.46]]), np.array([0.04, 0.03])), "cortex")


def heart(p: Painter) -> None:
    """Short-axis heart: left ventricle ring with papillary muscles, right ventricle, lungs, chest wall, liver."""
    c, g = p.chance, p.grid
    p.whole(np.ones(g.shape, np.float32), "lung")
    wall = c.between(0.9, 1.15)
    field = smooth_field(c, g.shape, 0.7 / g.px) * 0.05
    r = np.hypot(g.x - 0.15, g.y - 0.05) + field
    p.whole(edge(wall - 0.14 - r, 2 * g.px), "muscle")
    p.whole(edge(wall - 0.04 - r, 2 * g.px), "fat")
    p.whole(edge(wall + c.between(0.06, 0.2) - r, 2 * g.px), "air")
    lung = edge(r - wall + 0.16, 2 * g.px)
    dots = np.stack([c.many(-1, 1, 60), c.many(-1, 1, 60)], 1)
    sizes = 0.004 + 0.018 * c.many(0, 1, 60) ** 3
    for at, size in zip(dots, sizes, strict=True):
        p.fill_inside(g.ellipse((at[0], at[1]), (size, size)), lung, "vessel")
    p.fill(g.ellipse((c.between(-0.5, -0.3), 0.75), (0.7, 0.42), 0.2, lobes(c, 0.06)), "liver")
    x, y, size = c.between(-0.1, 0.15), c.between(-0.1, 0.1), c.between(0.24, 0.34)
    p.fill(g.ellipse((x - size * 0.5, y), (size * 1.75, size * 1.3), 0.3, lobes(c, 0.05)), "fat")
    p.fill(g.ellipse((x - size * 1.05, y - size * 0.1), (size * 0.95, size * 0.95), 0.3, lobes(c, 0.08)), "heart")
    p.fill(g.ellipse((x - size * 1.05, y - size * 0.1), (size * 0.88, size * 0.88), 0.3, lobes(c, 0.1)), "blood")
    outer = lobes(c, 0.03)
    p.fill(g.ellipse((x, y), (size, size), 0, outer), "heart")
    cavity = size * c.between(0.5, 0.72)
    p.fill(g.ellipse((x, y), (cavity, cavity), 0, lobes(c, 0.06), 2.5), "blood")
    for a in (0.9, 3.6):
        spot = (x + cavity * 0.7 * np.cos(a), y + cavity * 0.7 * np.sin(a))
        p.fill(g.ellipse(spot, (cavity * 0.2, cavity * 0.15), a, lobes(c, 0.1), 2.5), "heart")
    p.fill(g.ellipse((x + size * 0.9, y + size * 1.5), (0.09, 0.09)), "blood")
    if c.toss(0.4):
        p.image *= edge(np.hypot(g.x, g.y) - c.between(0.75, 0.9), 2 * g.px)


def knee(p: Painter) -> None:
    """Sagittal knee: femur, tibia, patella, cartilage, menisci, ligaments, fat pad, muscles."""
    c, g = p.chance, p.grid
    left = edge(-0.72 - g.x + 0.06 * smooth_field(c, g.shape, 0.8 / g.px), 2 * g.px)
    right = edge(g.x - 0.74 + 0.06 * smooth_field(c, g.shape, 0.8 / g.px), 2 * g.px)
    p.whole(left * right, "fat")
    deep = edge(-0.3 - g.x, 0.1) * right * edge(g.x - 0.66, 0.02)
    p.whole(deep, "muscle")
    p.streaks(deep, "fat", 0.3, 0.02, 0.8)
    x, y = c.between(-0.08, 0.04), c.between(-0.2, -0.12)
    femur = np.array([[x - 0.02, -1.2], [x - 0.02, y - 0.3], [x + 0.06, y]])
    tibia = np.array([[x + 0.04, y + 0.52], [x + 0.02, 1.2]])
    shape = lobes(c, 0.04)
    p.fill(g.ellipse((x + 0.06, y), (0.42, 0.3), 0.2, shape), "cartilage")
    p.fill(g.ellipse((x + 0.04, y + 0.47), (0.42, 0.12), 0.05, square=3), "cartilage")
    p.fill(g.stroke(femur, np.array([0.2, 0.22, 0.3])), "cortex")
    p.fill(g.ellipse((x + 0.06, y - 0.03), (0.37, 0.27), 0.2, shape), "cortex")
    p.fill(g.stroke(femur, np.array([0.16, 0.19, 0.27])), "marrow")
    p.fill(g.ellipse((x + 0.06, y - 0.03), (0.355, 0.255), 0.2, shape), "marrow")
    p.fill(g.stroke(tibia, np.array([0.33, 0.2])), "cortex")
    p.fill(g.ellipse((x + 0.04, y + 0.53), (0.39, 0.13), 0.05, square=3), "cortex")
    p.fill(g.stroke(tibia, np.array([0.31, 0.16])), "marrow")
    p.fill(g.ellipse((x + 0.04, y + 0.54), (0.375, 0.12), 0.05, square=3), "marrow")
    gap = y + 0.33
    for side in (-1, 1):
        wedge = np.array([[side * 0.38, gap], [side * 0.2, gap + 0.02]]) + np.array([x + 0.04, 0])
        p.fill(g.stroke(wedge, np.array([0.055, 0.008])), "ligament")
    p.bone((x - 0.5, y - 0.12), (0.085, 0.2), c.between(-0.15, 0.15), lobes(c, 0.05), 0.014, 2.6)
    tendon = np.array([[x - 0.46, -1.2], [x - 0.53, y - 0.2], [x - 0.52, y + 0.2], [x - 0.3, y + 0.75]])
    p.fill(g.stroke(tendon, np.array([0.025, 0.03, 0.03, 0.025])), "ligament")
    cruciate = np.array([[x + 0.2, y + 0.1], [x - 0.05, gap + 0.1]])
    p.fill(g.stroke(cruciate, np.array([0.035, 0.025])), "ligament")
    p.fill(g.ellipse((x - 0.35, y + 0.1), (0.03, c.between(0.05, 0.15)), 0.1, lobes(c, 0.1)), "fluid")
    for k in range(3):
        vessel = np.array([[x + 0.5 + 0.06 * k, -1.2], [x + 0.5 + 0.05 * k, 0.1], [x + 0.46 + 0.08 * k, 1.2]])
        p.fill(g.stroke(vessel, np.full(3, c.between(0.012, 0.03))), "blood")
