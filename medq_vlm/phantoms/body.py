"""Axial trunk anatomy, painted with any palette: chest, abdomen, pelvis. Image left is the patient's right."""

from __future__ import annotations

import numpy as np

from medq_vlm.phantoms.painter import Painter
from medq_vlm.phantoms.shapes import edge, lobes, tree


def _outline(p: Painter, flat: float) -> tuple[float, float, float, np.ndarray]:
    """Skin, fat and muscle wall; returns the half axes and centre row of the muscle wall, and its coverage."""
    c, g = p.chance, p.grid
    rx = c.between(0.72, 0.92) * min(1.0, g.shape[1] / min(g.shape) * 1.0)
    ry = min(rx * flat * c.between(0.92, 1.12), 0.9)
    cy, shape, square = c.between(-0.06, 0.06), lobes(c, 0.02, 3), c.between(2.05, 2.6)
    p.fill(g.ellipse((0, cy), (rx, ry), 0, shape, square=square), "skin")
    skin = c.between(0.008, 0.014)
    body = p.full(g.ellipse((0, cy), (rx - skin, ry - skin), 0, shape, square=square))
    p.whole(body, "fat")
    p.streaks(body, "muscle", c.between(0.12, 0.25), 0.004, c.between(0.1, 0.4))
    fat = c.between(0.03, 0.14)
    wall = p.full(g.ellipse((0, cy), (rx - fat * 1.1, ry - fat), 0, shape, square=square))
    p.whole(wall, "muscle")
    p.streaks(wall, "fat", c.between(0.08, 0.16), 0.007, c.between(0.3, 0.8))
    return rx - fat * 1.1, ry - fat, cy, wall


def _spine(p: Painter, y: float, size: float) -> None:
    """Vertebral body, canal with cord, arch, transverse and spinous processes, back muscles beside them."""
    c, g = p.chance, p.grid
    for side in (-1, 1):
        centre = (side * size * 1.25, y + size * 1.55)
        p.fill(g.ellipse(centre, (size * 0.85, size * 0.8), side * 0.3, lobes(c, 0.06)), "muscle")
        root = np.array(
            [[side * size * 0.4, y + size], [side * size * c.between(1.1, 1.7), y + size * c.between(0.9, 1.5)]]
        )
        p.fill(g.stroke(root, np.array([0.2, 0.1]) * size), "cortex")
        p.fill(g.stroke(root, np.array([0.1, 0.02]) * size), "marrow")
    tip = np.array([[0.0, y + size * 1.5], [0.0, y + size * c.between(2.0, 2.7)]])
    p.fill(g.stroke(tip, np.array([0.2, 0.12]) * size), "cortex")
    p.fill(g.stroke(tip, np.array([0.09, 0.03]) * size), "marrow")
    for side in (-1, 1):
        arch = np.array([[side * size * 0.55, y + size * 0.5], [side * size * 0.55, y + size], [0, y + size * 1.6]])
        p.fill(g.stroke(arch, np.array([0.2, 0.2, 0.16]) * size), "cortex")
        p.fill(g.stroke(arch, np.array([0.09, 0.08, 0.05]) * size), "marrow")
    p.bone((0, y), (size, size * c.between(0.72, 0.88)), 0, lobes(c, 0.03), shell=0.1 * size)
    p.fill(g.ellipse((0, y + size * 1.08), (size * 0.42, size * 0.34)), "csf")
    p.fill(g.ellipse((0, y + size * 1.08), (size * 0.26, size * 0.2)), "cord")


def _ribs(p: Painter, rx: float, ry: float, cy: float, count: int, low: float, high: float) -> None:
    """Oblique cuts of ribs along the chest wall, from angle `low` to `high` on both sides (0 is lateral)."""
    c, g = p.chance, p.grid
    for side in (-1, 1):
        for k in range(count):
            a = low + (high - low) * (k + c.between(0.15, 0.85)) / count
            x, y = side * rx * np.cos(a), cy + ry * np.sin(a)
            along = np.arctan2(ry * np.cos(a), -side * rx * np.sin(a))
            long, thin = c.between(0.03, 0.11), c.between(0.017, 0.026)
            shape = lobes(c, 0.04)
            p.fill(g.ellipse((x, y), (long, thin), along, shape), "cortex")
            p.fill(g.ellipse((x, y), (long - 0.009, max(thin - 0.01, 0.004)), along, shape, 2.0), "marrow")


def chest(p: Painter) -> None:
    """Lungs with vessels and airways, mediastinum or heart, ribs, sternum, scapulae, spine."""
    c, g = p.chance, p.grid
    rx, ry, cy, _ = _outline(p, 0.66)
    if c.toss(0.4):  # breasts
        for side in (-1, 1):
            at = (side * rx * c.between(0.5, 0.6), cy - ry * c.between(0.9, 1.1))
            size = (c.between(0.16, 0.26), c.between(0.1, 0.2))
            p.fill(g.ellipse(at, size, 0, lobes(c, 0.05)), "skin")
            p.fill(g.ellipse(at, (size[0] - 0.012, size[1] - 0.012)), "fat")
            glands = p.full(g.ellipse(at, (size[0] * 0.6, size[1] * 0.6), 0, lobes(c, 0.15)))
            p.streaks(glands, "muscle", 0.07, 0.02, 0.9)
    cave_x, cave_y = rx * c.between(0.84, 0.9), ry * c.between(0.78, 0.86)
    upper = c.toss(0.5)
    p.fill(g.ellipse((0, cy), (cave_x + 0.03, cave_y + 0.03), square=2.2), "fat")
    p.fill(g.ellipse((0, cy), (cave_x + 0.012, cave_y + 0.012), square=2.2), "muscle")
    spine, spine_y = c.between(0.085, 0.11), cy + cave_y * c.between(0.72, 0.84)
    middle = c.between(0.12, 0.2)
    p.fill(g.ellipse((0, cy), (cave_x - 0.05, cave_y * 0.85), square=2.2), "fat")
    lungs = np.zeros(g.shape, np.float32)
    hila = []
    for side in (-1, 1):
        half = (cave_x - middle * 0.55) / 2
        at = (side * (cave_x - half), cy + c.between(-0.02, 0.05))
        mask = g.ellipse(
            at, (half, cave_y * c.between(0.9, 0.98)), -side * c.between(0.0, 0.15), lobes(c, 0.05), square=2.3
        )
        p.fill(mask, "lung")
        np.maximum(lungs[mask[0]], mask[1], out=lungs[mask[0]])
        hila.append((side * (middle + c.between(0.02, 0.06)), cy + c.between(-0.05, 0.1)))
    _lung_vessels(p, lungs, hila)
    if upper:
        _great_vessels(p, cy, middle, cave_y)
    else:
        _heart(p, cy, cave_x, cave_y)
    p.fill(g.ellipse((0, spine_y + 0.06), (spine * 2.3, spine * 1.6), 0, lobes(c, 0.04)), "muscle")
    aorta = (c.between(0.07, 0.12), spine_y - spine * c.between(0.7, 1.0))
    p.fill(g.ellipse(aorta, (c.between(0.05, 0.068),) * 2, 0, lobes(c, 0.01)), "blood")
    p.fill(g.ellipse((aorta[0] - 0.1, aorta[1] - 0.05), (0.032, 0.02), 0, lobes(c, 0.08)), "muscle")
    _spine(p, spine_y, spine)
    _ribs(p, cave_x + 0.035, cave_y + 0.03, cy, c.integer(4, 7), -1.1, 1.2)
    p.bone((c.between(-0.02, 0.02), cy - cave_y - 0.02), (c.between(0.06, 0.1), 0.025), 0, lobes(c, 0.05))
    if upper:
        for side in (-1, 1):
            blade = np.array([[0.62, 0.72], [0.84, 0.5], [0.93, 0.22]]) * [side * rx, ry] + [0, cy]
            p.fill(g.stroke(blade, np.array([0.022, 0.014, 0.03])), "cortex")
            p.fill(g.stroke(blade, np.array([0.01, 0.004, 0.018])), "marrow")


def _lung_vessels(p: Painter, lungs: np.ndarray, hila: list[tuple[float, float]]) -> None:
    c, g = p.chance, p.grid
    vessels, airways = [], []
    for hilum in hila:
        side = 1 if hilum[0] > 0 else -1
        for k in range(6):
            heading = (k - 2.5) * 0.55 + c.between(-0.2, 0.2)
            heading = heading if side > 0 else np.pi - heading
            vessels += tree(c, hilum, heading, 0.15, c.between(0.007, 0.013), 4, 0.5, 0.1, 0.8)
        airways += tree(c, hilum, c.between(-0.3, 0.3) + (np.pi if side < 0 else 0), 0.13, 0.014, 2)
    p.whole(g.strokes(vessels) * lungs, "vessel")
    p.whole(g.strokes([(points, widths + 0.005) for points, widths in airways]) * lungs, "muscle")
    p.whole(g.strokes([(points, widths - 0.001) for points, widths in airways]) * lungs, "gas")
    reach_x, reach_y = 0.75, 0.5
    xs, ys = c.many(-reach_x, reach_x, 90), c.many(-reach_y, reach_y, 90)
    sizes = 0.0035 + 0.009 * c.many(0, 1, 90) ** 3
    for x, y, size in zip(xs, ys, sizes, strict=True):  # vessels that cross the slice
        p.fill_inside(g.ellipse((x, y), (size, size * 0.9)), lungs, "vessel")
    p.streaks(lungs, "vessel", 0.35, 0.002, 0.25)  # fissures


def _great_vessels(p: Painter, cy: float, middle: float, cave_y: float) -> None:
    c, g = p.chance, p.grid
    p.fill(g.ellipse((0, cy), (middle * 1.1, cave_y * 0.8), 0, lobes(c, 0.08)), "fat")
    for x, y, r in (
        (-0.03, -0.2, 0.075),
        (-0.14, -0.13, 0.05),
        (0.06, -0.07, 0.065),
        (0.14, 0.02, 0.05),
        (-0.13, 0.03, 0.045),
    ):
        at = (x + c.between(-0.02, 0.02), cy + y + c.between(-0.02, 0.02))
        p.fill(g.ellipse(at, (r * c.between(0.9, 1.2), r), c.between(0, 3), lobes(c, 0.05)), "blood")
    at = (c.between(-0.03, 0.03), cy + 0.08)
    if c.toss(0.5):
        p.fill(g.ellipse(at, (0.052, 0.045)), "muscle")
        p.fill(g.ellipse(at, (0.045, 0.038), 0, lobes(c, 0.03)), "gas")
    else:
        for side in (-1, 1):
            at = (side * c.between(0.07, 0.1), cy + 0.08)
            p.fill(g.ellipse(at, (0.05, 0.036), side * 0.6), "muscle")
            p.fill(g.ellipse(at, (0.042, 0.028), side * 0.6), "gas")
    for _ in range(5):
        at = (c.between(-0.13, 0.13), cy + c.between(-0.25, 0.2))
        p.fill(g.ellipse(at, (c.between(0.008, 0.018), 0.01), c.between(0, 3)), "muscle")


def _heart(p: Painter, cy: float, cave_x: float, cave_y: float) -> None:
    c, g = p.chance, p.grid
    at, r = (c.between(0.06, 0.12), cy - cave_y * c.between(0.15, 0.3)), c.between(0.26, 0.33)
    shape = lobes(c, 0.05)
    p.fill(g.ellipse(at, (r * 1.2, r), -0.5, shape), "fat")
    p.fill(g.ellipse(at, (r * 1.12, r * 0.93), -0.5, shape), "heart")
    for x, y, rx, ry, turn in (
        (0.1, 0.0, 0.42, 0.24, -0.6),
        (-0.2, -0.18, 0.4, 0.26, -0.5),
        (-0.25, 0.3, 0.3, 0.22, 0.4),
        (0.08, 0.5, 0.35, 0.2, 0.2),
    ):
        centre = (at[0] + x * r * 1.3, at[1] + y * r * 1.3)
        p.fill(g.ellipse(centre, (rx * r, ry * r), turn, lobes(c, 0.08), 3.0), "blood")


def abdomen(p: Painter) -> None:
    """Liver, spleen, stomach, kidneys, bowel, great vessels, psoas and spine in fat."""
    c, g = p.chance, p.grid
    rx, ry, cy, _ = _outline(p, 0.7)
    ix, iy = rx * c.between(0.88, 0.93), ry * c.between(0.84, 0.9)
    cavity = p.full(g.ellipse((0, cy - 0.03), (ix, iy), square=2.2))
    p.whole(cavity, "fat")
    p.streaks(cavity, "muscle", 0.15, 0.005, 0.35)
    spine, spine_y = c.between(0.1, 0.125), cy + iy * c.between(0.55, 0.66)
    upper = c.toss(0.6)
    for side in (-1, 1):
        p.fill(
            g.ellipse((side * spine * 1.65, spine_y - 0.01), (spine * 0.62, spine * 0.8), side * 0.3, lobes(c, 0.06)),
            "muscle",
        )
        p.fill(
            g.ellipse((side * rx * 0.42, cy + ry * 0.86), (rx * 0.3, ry * 0.18), side * -0.15, lobes(c, 0.05)), "muscle"
        )
    _bowel(p, cavity, ix, iy, cy, c.integer(14, 24), upper)
    if upper:
        _upper_organs(p, cavity, ix, iy, cy)
        _ribs(p, rx * 0.97, ry * 0.95, cy, c.integer(3, 5), -0.5, 1.1)
    for side in (-1, 1):
        if upper or c.toss(0.5):
            _kidney(p, (side * c.between(0.36, 0.44) * ix / 0.7, spine_y - c.between(0.0, 0.1)), side)
    p.fill(g.ellipse((0.045, spine_y - spine * 1.25), (c.between(0.045, 0.06),) * 2), "blood")
    p.fill(g.ellipse((-0.085, spine_y - spine * 1.15), (0.06, c.between(0.035, 0.055)), 0.2, lobes(c, 0.06)), "blood")
    for _ in range(7):
        at = (c.between(-0.25, 0.25), spine_y - spine * c.between(1.4, 3.2))
        r = c.between(0.01, 0.028)
        p.fill(g.ellipse(at, (r * c.between(1, 2), r), c.between(0, 3), lobes(c, 0.05)), "blood")
    _spine(p, spine_y, spine)


def _upper_organs(p: Painter, cavity: np.ndarray, ix: float, iy: float, cy: float) -> None:
    c, g = p.chance, p.grid
    at, shape = (-ix * c.between(0.45, 0.55), cy - iy * c.between(0.1, 0.25)), lobes(c, 0.09)
    liver = g.ellipse(at, (ix * c.between(0.5, 0.62), iy * c.between(0.62, 0.75)), -0.35, shape)
    p.fill_inside(liver, cavity, "liver")
    inside = p.full(liver) * cavity
    for k in range(3):
        start = (at[0] + ix * 0.35, at[1] + iy * c.between(-0.1, 0.35))
        vessels = tree(c, start, np.pi + (k - 1) * 0.7, 0.2, 0.018, 4, 0.6, 0.2, 0.75)
        p.whole(g.strokes(vessels) * inside, "liver_vessel")
    for _ in range(c.integer(0, 3)):
        spot = (at[0] + c.between(-0.2, 0.2), at[1] + c.between(-0.25, 0.25))
        p.fill_inside(g.ellipse(spot, (c.between(0.015, 0.05),) * 2, 0, lobes(c, 0.1)), inside, "fluid")
    p.fill_inside(
        g.ellipse((ix * 0.75, cy + iy * c.between(0.1, 0.25)), (ix * 0.2, iy * 0.36), 0.35, lobes(c, 0.1)),
        cavity,
        "spleen",
    )
    stomach = (ix * c.between(0.35, 0.5), cy - iy * c.between(0.35, 0.5))
    size = (ix * c.between(0.22, 0.34), iy * c.between(0.22, 0.34))
    shape, turn = lobes(c, 0.08), c.between(-0.6, 0.3)
    p.fill_inside(g.ellipse(stomach, size, turn, shape), cavity, "bowel")
    inner = p.full(g.ellipse(stomach, (size[0] - 0.025, size[1] - 0.025), turn, shape)) * cavity
    p.whole(inner, "fluid")
    level = stomach[1] - size[1] * c.between(0.0, 0.8)
    p.whole(inner * edge(p.grid.y - level, 2 * p.grid.px), "gas")
    if c.toss(0.5):
        p.fill_inside(
            g.ellipse((at[0] + ix * 0.28, at[1] + iy * 0.35), (0.07, 0.05), 0.6, lobes(c, 0.04)), cavity, "fluid"
        )
    pancreas = np.array([[0.3, 0.02], [0.12, -0.12], [-0.05, -0.1], [-0.14, 0.0]]) + np.array(
        [0, cy + c.between(-0.05, 0.1)]
    )
    p.fill_inside(g.stroke(pancreas, np.array([0.035, 0.04, 0.035, 0.06])), cavity, "pancreas")


def _bowel(p: Painter, cavity: np.ndarray, ix: float, iy: float, cy: float, count: int, upper: bool) -> None:
    c, g = p.chance, p.grid
    for k in range(count):
        a, r = k * 2.4 + c.between(-0.3, 0.3), np.sqrt((k + 0.5) / count)
        at = (ix * 0.8 * r * np.cos(a), cy - iy * 0.2 + iy * 0.55 * r * np.sin(a))
        size = (c.between(0.05, 0.12), c.between(0.045, 0.09))
        shape, turn, content = lobes(c, 0.1), c.between(0, 3), c.choose(("fluid", "bowel", "gas", "stool", "bowel"))
        p.fill_inside(g.ellipse(at, size, turn, shape), cavity, "bowel")
        inner = (size[0] - 0.016, size[1] - 0.016)
        p.fill_inside(g.ellipse(at, inner, turn, shape, 2.0), cavity, content)
        if content == "stool":
            for _ in range(12):
                spot = (at[0] + c.between(-0.7, 0.7) * inner[0], at[1] + c.between(-0.7, 0.7) * inner[1])
                p.fill_inside(g.ellipse(spot, (c.between(0.004, 0.014), 0.007), c.between(0, 3)), cavity, "gas")


def _kidney(p: Painter, at: tuple[float, float], side: int) -> None:
    c, g = p.chance, p.grid
    r, shape, turn = c.between(0.11, 0.15), lobes(c, 0.04), side * c.between(0.2, 0.7)
    p.fill(g.ellipse(at, (r * 1.25, r * 1.4), turn, shape), "fat")
    p.fill(g.ellipse(at, (r * 0.85, r * 1.1), turn, shape), "kidney")
    for k in range(7):
        a = turn + k * 0.9
        spot = (at[0] + r * 0.48 * np.cos(a), at[1] + r * 0.62 * np.sin(a))
        p.fill(g.ellipse(spot, (r * 0.2, r * 0.16), a, lobes(c, 0.1), 3.0), "medulla")
    hilum = (at[0] - side * r * 0.45, at[1] - r * 0.1)
    p.fill(g.ellipse(hilum, (r * 0.45, r * 0.4), 0, lobes(c, 0.15)), "fat")
    p.fill(g.ellipse(hilum, (r * 0.2, r * 0.16), 0, lobes(c, 0.2)), "fluid")


def pelvis(p: Painter) -> None:
    """Iliac bones or femoral heads in their sockets, sacrum, bladder, rectum, gluteal muscles."""
    c, g = p.chance, p.grid
    rx, ry, cy, _ = _outline(p, 0.62)
    p.fill(g.ellipse((0, cy), (rx * 0.55, ry * 0.72), 0, lobes(c, 0.05)), "fat")
    for side in (-1, 1):
        for _ in range(9):
            at = (side * rx * c.between(0.3, 0.85), cy + ry * c.between(-0.6, 0.75))
            p.fill(
                g.ellipse(
                    at, (c.between(0.06, 0.16), c.between(0.04, 0.09)), side * c.between(0.2, 1.4), lobes(c, 0.08)
                ),
                "fat",
                0.9,
            )
            p.fill(
                g.ellipse(
                    at, (c.between(0.05, 0.15), c.between(0.035, 0.08)), side * c.between(0.2, 1.4), lobes(c, 0.08)
                ),
                "muscle",
            )
        vessel = (side * rx * c.between(0.3, 0.4), cy - ry * c.between(0.5, 0.62))
        p.fill(g.ellipse(vessel, (0.035, 0.033)), "blood")
        p.fill(g.ellipse((vessel[0] - side * 0.07, vessel[1] + 0.02), (0.04, 0.033)), "blood")
    if c.toss(0.6):
        for side in (-1, 1):
            head = (side * rx * c.between(0.54, 0.6), cy + c.between(-0.03, 0.05))
            r = c.between(0.105, 0.13)
            neck = np.array([head, (head[0] + side * r * 1.6, head[1] + r * c.between(0.2, 0.9))])
            p.bone(
                (head[0] - side * r * 0.75, head[1] - r * 0.2), (r * 0.75, r * 1.15), side * 0.4, lobes(c, 0.12), 0.02
            )
            p.bone((head[0] - side * r * 0.4, head[1] + r * 1.0), (r * 0.7, r * 0.4), side * 0.9, lobes(c, 0.1), 0.018)
            p.fill(g.ellipse(head, (r * 1.08, r * 1.08)), "cartilage")
            p.fill(g.stroke(neck, np.array([r * 0.7, r * 0.6])), "cortex")
            p.bone((float(neck[1, 0]), float(neck[1, 1])), (r * 0.65, r * 0.85), side * 0.3, lobes(c, 0.08))
            p.bone(head, (r, r), 0, lobes(c, 0.02))
            p.fill(g.stroke(neck, np.array([r * 0.55, r * 0.45])), "marrow")
        p.bone((0, cy + ry * 0.62), (0.07, 0.04), 0, lobes(c, 0.1))
    else:
        for side in (-1, 1):
            wing = np.array([[0.28, 0.45], [0.45, 0.1], [0.62, -0.3]]) * [side * rx, ry] + [0, cy]
            p.fill(g.stroke(wing, np.array([0.07, 0.035, 0.05])), "cortex")
            p.fill(g.stroke(wing, np.array([0.052, 0.02, 0.034])), "marrow")
        p.bone((0, cy + ry * 0.45), (0.22, 0.12), 0, lobes(c, 0.08), 0.016)
        for side in (-1, 1):
            p.fill(g.ellipse((side * 0.09, cy + ry * 0.47), (0.025, 0.018)), "fat")
    bladder, shape = (c.between(-0.03, 0.03), cy - ry * c.between(0.1, 0.25)), lobes(c, 0.06)
    size = (c.between(0.14, 0.24), c.between(0.1, 0.18))
    p.fill(g.ellipse(bladder, size, 0, shape), "muscle")
    p.fill(g.ellipse(bladder, (size[0] - 0.015, size[1] - 0.015), 0, shape), "urine")
    p.fill(g.ellipse((0, bladder[1] + size[1] + 0.1), (c.between(0.08, 0.13), 0.07), 0, lobes(c, 0.1)), "muscle")
    rectum = (c.between(-0.02, 0.02), cy + ry * 0.38)
    p.fill(g.ellipse(rectum, (0.07, 0.06), 0, lobes(c, 0.08)), "bowel")
    p.fill(g.ellipse(rectum, (0.045, 0.035), 0, lobes(c, 0.15)), c.choose(("gas", "stool", "fluid")))
