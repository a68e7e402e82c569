"""Axial head: scalp, skull, folded cortex, white matter, deep nuclei, ventricles; or the level of the eyes."""

from __future__ import annotations

import numpy as np

from medq_vlm.phantoms.painter import Painter
from medq_vlm.phantoms.shapes import band_noise, edge, lobes, smooth_field


def _depth(p: Painter, radii: tuple[float, float], cy: float, shape: np.ndarray) -> np.ndarray:
    """(H, W) distance inside the brain surface, normalised units; negative outside."""
    g = p.grid
    rho = g.radius((slice(0, g.shape[0]), slice(0, g.shape[1])), (0.0, cy), radii, 0.0, shape, 2.15)
    return (1.0 - rho) * float(np.sqrt(radii[0] * radii[1]))


def head(p: Painter) -> None:
    """One axial slice; the palette says whether it is CT or which MR weighting."""
    c, g = p.chance, p.grid
    level = c.choose(("deep", "deep", "deep", "deep", "eyes", "eyes", "vertex", "vertex"))
    ry = c.between(0.5, 0.85) if level == "vertex" else c.between(0.74, 0.92)
    rx, cy, shape = ry * c.between(0.72, 0.9), c.between(-0.03, 0.03), lobes(c, 0.014, 3)
    scalp, skull = c.between(0.025, 0.06), c.between(0.025, 0.09)
    depth = _depth(p, (rx, ry), cy, shape)
    px = g.px

    def inside(amount: float, soft: float = 1.3) -> np.ndarray:
        return edge(amount - depth, soft * px)

    p.whole(inside(0.0), "skin")
    p.whole(inside(0.012), "fat")
    p.whole(inside(scalp * 0.6), "muscle")
    p.whole(inside(scalp * 0.75), "fat")
    p.whole(inside(scalp), "cortex")
    table = skull * c.between(0.22, 0.4)  # two tables of dense bone, diploe between them, uneven round the head
    uneven = 1 + 0.3 * smooth_field(c, g.shape, 0.3 / px)
    p.whole(inside(scalp + table) * (1 - inside(scalp + skull - table)) * np.clip(uneven, 0, 1), "marrow")
    within = inside(scalp + skull)
    p.whole(within, "csf")
    deep = depth - scalp - skull - c.between(0.004, 0.02)
    fold = band_noise(c, g.shape, c.between(0.13, 0.19) / px, 0.3)
    fold = fold + 0.35 * band_noise(c, g.shape, 0.07 / px, 0.3)
    gap = np.abs(g.x)  # the interhemispheric fissure
    sulcus_depth = c.between(0.16, 0.26)
    reach = np.clip(deep / sulcus_depth, 0, 1)
    middle = np.clip(gap / (sulcus_depth * 0.8), 0, 1)
    reach = np.minimum(reach, np.maximum(middle, edge(np.abs(g.y - cy) - 0.3 * ry, 0.1) * 0.9))
    atrophy = c.between(0.14, 0.3)
    # near the surface the zero lines of `fold` are sulci, wrapped in cortex; deeper the threshold closes them
    sulci = edge(np.abs(fold) - atrophy * (1 - reach**1.5) + 0.45 * reach**4, 0.12)
    cortex = edge(np.abs(fold) - c.between(0.72, 0.9) * (1 - reach**2) + 0.3 * reach**6, 0.14)
    brain = edge(-deep, 1.5 * px)
    ribbon = edge(deep - 0.035, 1.5 * px)
    grey = np.maximum(cortex, ribbon) * brain
    p.whole(brain, "white")
    p.whole(grey, "grey")
    p.whole(sulci * brain, "csf")
    fissure = edge(gap - c.between(0.006, 0.014), 1.5 * px) * edge(0.32 * ry - np.abs(g.y - cy), 0.05) * brain
    p.whole(fissure, "csf")
    if level != "vertex":  # above the ventricles there is nothing but cortex and white matter
        (_eyes if level == "eyes" else _deep_structures)(p, rx - scalp - skull, ry - scalp - skull, cy)
    if level == "deep" and c.toss(0.15):  # the frontal sinus
        at = (c.between(-0.1, 0.1), cy - ry + scalp + 0.5 * skull)
        p.fill(g.ellipse(at, (c.between(0.08, 0.2), 0.4 * skull), 0, lobes(c, 0.08)), "gas")


def _deep_structures(p: Painter, rx: float, ry: float, cy: float) -> None:
    c, g = p.chance, p.grid
    ventricle = float(np.exp(c.between(np.log(0.6), np.log(2.4))))  # a young brain to an old one
    for side in (-1, 1):
        for x, y, a, b, turn, tissue in (
            (0.42, 0.02, 0.09, 0.26, -0.25, "deep"),  # putamen
            (0.56, 0.0, 0.025, 0.28, -0.15, "grey"),  # insula
            (0.17, 0.16, 0.13, 0.18, 0.5, "deep"),  # thalamus
            (0.17, -0.2, 0.07, 0.13, 0.4, "deep"),  # caudate
        ):
            at = (side * x * rx, cy + y * ry)
            p.fill(g.ellipse(at, (a * rx, b * ry), -side * turn, lobes(c, 0.06), 3.0), tissue)
        front = np.array([[0.05, -0.1], [0.09, -0.2], [0.17, -0.3]]) * [side * rx, ry] + [0, cy]
        p.fill(g.stroke(front, np.array([0.014, 0.026, 0.016]) * ventricle), "csf")
        back = np.array([[0.1, 0.2], [0.24, 0.36], [0.24, 0.56]]) * [side * rx, ry] + [0, cy]
        p.fill(g.stroke(back, np.array([0.012, 0.03, 0.012]) * ventricle), "csf")
        plexus = (side * 0.24 * rx, cy + 0.38 * ry)
        p.fill(g.ellipse(plexus, (0.014, 0.022), 0, lobes(c, 0.15)), "plexus")
        sylvian = np.array([[0.62, -0.1], [0.72, 0.02], [0.9, -0.02]]) * [side * rx, ry] + [0, cy]
        p.fill(g.stroke(sylvian, np.array([0.008, 0.014, 0.016]) * ventricle), "csf")
    third = np.array([[0.0, -0.02], [0.0, 0.2]]) * ry + [0, cy]
    p.fill(g.stroke(third, np.array([0.006, 0.01]) * ventricle), "csf")
    if c.toss(0.25):  # a lesion
        at = (c.between(-0.5, 0.5) * rx, cy + c.between(-0.5, 0.5) * ry)
        p.fill(
            g.ellipse(at, (c.between(0.02, 0.09), c.between(0.02, 0.09)), 0, lobes(c, 0.15), 4.0),
            c.choose(("blood", "edema")),
        )


def _eyes(p: Painter, rx: float, ry: float, cy: float) -> None:
    """Orbits, sinuses, skull base, cerebellum and brain stem."""
    c, g = p.chance, p.grid
    p.fill(g.ellipse((0, cy - ry * 0.72), (rx * 0.85, ry * 0.4), 0, lobes(c, 0.05)), "muscle")
    for side in (-1, 1):
        orbit = (side * rx * 0.46, cy - ry * 0.75)
        p.fill(g.ellipse(orbit, (rx * 0.3, ry * 0.27), side * 0.3, lobes(c, 0.04)), "cortex")
        p.fill(g.ellipse(orbit, (rx * 0.27, ry * 0.25), side * 0.3, lobes(c, 0.04)), "fat")
        nerve = np.array([[0.42, -0.7], [0.2, -0.3]]) * [side * rx, ry] + [0, cy]
        p.fill(g.stroke(nerve, np.array([0.022, 0.018])), "muscle")
        for offset in (-0.17, 0.17):
            muscle = np.array([[0.46 + offset, -0.75], [0.3 + offset * 0.3, -0.45]]) * [side * rx, ry] + [0, cy]
            p.fill(g.stroke(muscle, np.array([0.014, 0.012])), "muscle")
        globe = (orbit[0], orbit[1] - ry * 0.06)
        p.fill(g.ellipse(globe, (rx * 0.18,) * 2), "muscle")
        p.fill(g.ellipse(globe, (rx * 0.165,) * 2), "csf")
        p.fill(g.ellipse((globe[0], globe[1] - rx * 0.11), (rx * 0.07, rx * 0.035)), "lens")
        ridge = np.array([[0.18, -0.02], [0.5, 0.06], [0.88, 0.16]]) * [side * rx, ry] + [0, cy]
        p.fill(g.stroke(ridge, np.array([0.03, 0.05, 0.08])), "cortex")
        for _ in range(14):
            at = (side * rx * c.between(0.55, 0.92), cy + ry * c.between(0.02, 0.26))
            p.fill(g.ellipse(at, (c.between(0.006, 0.02), 0.01), c.between(0, 3)), c.choose(("gas", "marrow")))
    for x in (-0.09, 0.09):
        for y in (-0.9, -0.74, -0.58):
            at = (x * rx, cy + y * ry)
            p.fill(g.ellipse(at, (rx * 0.085, ry * 0.085), 0, lobes(c, 0.08), square=2.6), "cortex")
            p.fill(g.ellipse(at, (rx * 0.073, ry * 0.072), 0, lobes(c, 0.08), square=2.6), "gas")
    p.fill(g.ellipse((0, cy - ry * 0.3), (rx * 0.14, ry * 0.1), 0, lobes(c, 0.08)), "cortex")
    p.fill(g.ellipse((0, cy - ry * 0.3), (rx * 0.12, ry * 0.08), 0, lobes(c, 0.08)), c.choose(("gas", "marrow")))
    p.fill(g.ellipse((0, cy - ry * 0.04), (rx * 0.22, ry * 0.18), 0, lobes(c, 0.06)), "csf")
    p.fill(g.ellipse((0, cy + ry * 0.02), (rx * 0.17, ry * 0.14), 0, lobes(c, 0.05)), "white")
    folia = np.sin((g.y - cy + 0.15 * np.abs(g.x)) * 90 + 3 * np.cos(g.x * 6))
    lower = (
        edge(0.35 * ry - (g.y - cy), 2 * g.px)
        * edge((g.y - cy) - 0.86 * ry, 2 * g.px)
        * edge(np.abs(g.x) - 0.66 * rx, 0.02)
    )
    p.whole(lower * (0.5 + 0.4 * folia), "grey")
    p.fill(g.ellipse((0, cy + ry * 0.24), (0.05, 0.035), 0, lobes(c, 0.1)), "csf")
