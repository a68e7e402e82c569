"""Traces of lossy storage: block grids and too few grey levels."""

from __future__ import annotations

import numpy as np

from medq_vlm.evidence.filters import picks


def blockiness(grey: np.ndarray, period: int = 8) -> float:
    """Excess of the steps between neighbours across block borders over those inside blocks; 0 without blocks.

    B = mean |step| at the strongest of `period` phases / median over phases - 1, on steps compared with their own
    neighbours, the smaller of both axes (Wang, Sheikh, Bovik, ICIP 2002, for 8 x 8 JPEG blocks, at any phase).
    Scale- and offset-free; lower is better. NaN below 4 blocks a side.
    """
    if min(grey.shape) < 4 * period:
        return float("nan")
    found = []
    for axis in (0, 1):
        # median over lines: an edge of the anatomy crosses few of them, a block border all
        step = np.diff(grey, axis=axis)
        line = np.abs(step, out=step).mean(1 - axis) + 1e-12 * float(max(grey.max(), -grey.min()))
        excess = line[1:-1] - 0.5 * (line[:-2] + line[2:])
        typical = float(line.mean())
        if typical <= 0:
            return 0.0
        excess = np.clip(excess / typical, -1.0, 3.0)
        n = excess.size // period * period
        phases = np.median(excess[:n].reshape(-1, period), axis=0)
        found.append(float(phases.max() - np.median(phases)))
    return max(0.0, min(found))


def grey_levels(grey: np.ndarray, mask: np.ndarray) -> float:
    """Number of distinct values in the body, at most 4096 counted; 64 or fewer show as steps (posterisation)."""
    body = grey.ravel()[picks(mask, 100_000)]
    return float(min(np.unique(body).size, 4096)) if body.size else float("nan")
