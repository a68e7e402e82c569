"""Abstract content on a 0 to 1 scale: the statistics of images without their anatomy, for variety."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from medq_vlm.phantoms.chance import Chance
from medq_vlm.phantoms.shapes import Grid, band_noise, blend, dead_leaves, edge, fractal, lobes, smooth_field, tree


def abstract(c: Chance, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) in about 0 to 1: smooth blobs, edges, sheets, vessels, leaves and fine texture mixed at random."""
    base = 0.5 + 0.2 * smooth_field(c, shape, c.between(0.2, 0.8) * min(shape))
    grid = Grid(c, shape, 0.04)
    for part in c.plan.permutation(6)[: c.integer(2, 4)]:
        if part == 0:
            leaves = dead_leaves(c, shape, c.integer(80, 250), 4.0, min(shape) / 4)
            base += (leaves - 0.5) * c.between(0.2, 0.7)
        elif part == 1:
            field = smooth_field(c, shape, c.between(0.1, 0.4) * min(shape))
            slope = np.hypot(*np.gradient(field)) + 1e-4
            base += c.between(-0.4, 0.4) * edge(-field / slope, 1.5)  # regions with crisp borders
        elif part == 2:
            base += c.between(0.03, 0.12) * fractal(c, shape, c.between(0.8, 1.6))
        elif part == 3:
            field = band_noise(c, shape, c.between(8, 40))
            base += c.between(0.05, 0.2) * np.tanh(field * c.between(1, 3))
        elif part == 4:
            for _ in range(c.integer(4, 14)):
                at, size = (c.between(-1, 1), c.between(-1, 1)), c.between(0.03, 0.3)
                mask = grid.ellipse(at, (size, size * c.between(0.4, 1)), c.between(0, 3), lobes(c, 0.1))
                blend(base, mask, c.between(0, 1), c.between(0.3, 1.0))
        else:
            for _ in range(3):
                start = (c.between(-0.9, 0.9), c.between(-0.9, 0.9))
                tone = c.between(-0.2, 1.2)
                cover = grid.strokes(tree(c, start, c.between(0, 6.3), 0.3, c.between(0.008, 0.03), 4))
                base += 0.7 * cover * (tone - base)
    if c.toss(0.4):  # a field of view with black surroundings
        mask = grid.ellipse(
            (0, 0), (c.between(0.7, 1.1), c.between(0.7, 1.1)), 0, lobes(c, 0.04), square=c.between(2, 4)
        )
        inside = np.zeros(shape, np.float32)
        inside[mask[0]] = mask[1]
        base = base * inside
    return np.clip(gaussian_filter(base, 0.6), -0.02, 1.2).astype(np.float32)
