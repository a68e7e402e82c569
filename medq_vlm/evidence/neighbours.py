"""Neighbouring slices compared in their pixels: how far one lies beside the next, and how much the anatomy changes.

What no slice shows alone: missing slices make one step of the anatomy as large as several, a displaced slice lies
beside both neighbours, a corrupted one is unlike both while they are like each other. Every measure is taken against
its own series, for thin slices change little from one to the next and thick ones much. Higher is worse throughout,
but for the two likenesses.

Shift: phase correlation (Kuglin and Hines, Proc. IEEE Int. Conf. Cybernetics and Society 1975) with half of the
whitening, which stands noise better, on a band-passed plane under a Hann window; a parabola through the peak gives
fractions of a pixel. Change: 1 - Pearson's correlation at growing distance is a variogram (Matheron, Econ. Geol.
58:1246, 1963); read backwards it says how many slices a step is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from medq_vlm.evidence.foreground import luminance
from medq_vlm.intensity import robust_range

FEWEST = 5  # slices: fewer have no usual step to compare with
SIDE_PX = 128  # of the plane that is compared: a quarter of a pixel there is one of 512
HU_RANGE = (-1000.0, 1000.0)
FINE_PX, COARSE_PX = 1.0, 8.0  # sigma: noise below, shading above
FARTHEST = 0.12  # of the shorter side, that a slice is looked for beside its neighbour
REACH = 4  # steps to either side that say what is usual
LONGEST_LAG = 8
BLANK = 1e-3  # standard deviation of a plane in shares of the range: nothing to compare
MEASURES = (
    "step", "step against the usual", "likeness", "likeness against the usual", "gained by the step", "change",
    "missing", "beside both", "beside both against the usual", "unlike both",
)  # fmt: skip
OF_STEPS = 7  # the first of them belong to the step to the next slice, the rest to the slice


@dataclass(frozen=True)
class Neighbours:
    """What S slices are to their neighbours; a step leads from a slice to the next, the last slice has none."""

    table: np.ndarray  # (S, len(MEASURES)) float32, about 0 to 1, 0 where nothing can be said
    beside_px: np.ndarray  # (S,) how far a slice lies beside the line of its two neighbours, native pixels
    steps: np.ndarray  # (S - 1,) bool: the step was compared
    jumps_px: np.ndarray  # (S - 1, 2) rows and columns that a step lies beside the usual one, native pixels


def measure(pixels: np.ndarray, unit: str, bits: int | None = None, together: Sequence[bool] = ()) -> Neighbours:
    """Compare neighbours among pixels (S, H, W) or (S, H, W, 3) in native units.

    together: for each step, S - 1 of them, whether the two slices are neighbours in the patient; left out, all are.
    Blank slices and steps that are none stay without statement, and so do series of fewer than FEWEST slices.
    """
    count = len(pixels)
    nothing = Neighbours(
        np.zeros((count, len(MEASURES)), np.float32), np.zeros(count), np.zeros(max(0, count - 1), bool),
        np.zeros((max(0, count - 1), 2)),
    )  # fmt: skip
    if count < FEWEST or min(pixels.shape[1:3]) < 2 * FEWEST:
        return nothing
    planes, factor = _planes(pixels, unit, bits)
    seen = np.flatnonzero(planes.std((1, 2)) > BLANK)
    if len(seen) < FEWEST:
        return nothing
    steps = np.diff(seen) == 1
    if len(together):
        steps &= np.array([bool(together[i]) for i in seen[:-1]])
    table, beside, jumps = _table(planes[seen], steps)
    nothing.table[seen] = table
    nothing.beside_px[seen] = beside * factor
    nothing.steps[seen[:-1]] = steps
    nothing.jumps_px[seen[:-1]] = jumps * factor
    return nothing


def _planes(pixels: np.ndarray, unit: str, bits: int | None) -> tuple[np.ndarray, int]:
    """(S, h, w) float32, 0 to 1 of the range of the whole series, sides up to SIDE_PX; and native pixels of one."""
    grey = np.stack([luminance(np.nan_to_num(np.asarray(p, np.float32), posinf=0.0, neginf=0.0)) for p in pixels])
    low, high = HU_RANGE if unit == "HU" else robust_range(grey, bits)
    factor = int(np.ceil(max(grey.shape[1:]) / SIDE_PX))
    h, w = grey.shape[1] // factor, grey.shape[2] // factor
    blocks = np.clip((grey[:, : h * factor, : w * factor] - low) / (high - low), 0, 1)
    return blocks.reshape(-1, h, factor, w, factor).mean((2, 4)), factor  # S h f w f -> S h w


def _table(planes: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MEASURES of planes (S, h, w), how far each lies beside its neighbours (S,) and each step beside the usual one.

    Both in pixels of the planes, the last (S - 1, 2) rows and columns.
    """
    n = len(planes)
    smooth = ndimage.gaussian_filter(planes, (0, FINE_PX, FINE_PX))
    shift, like = _registered(smooth - ndimage.gaussian_filter(planes, (0, COARSE_PX, COARSE_PX)))
    drift = np.array([np.median(shift[max(0, k - REACH) : k + REACH + 1], axis=0) for k in range(n - 1)])
    off = np.where(steps[:, None], shift - drift, 0.0)  # (S - 1, 2): a steady drift is oblique anatomy
    step = np.hypot(*off.T)
    level = _level(smooth)
    usual_like = _usual(like)
    table = np.zeros((n, len(MEASURES)), np.float32)
    table[:-1, 0] = np.log2(1 + step) / 4
    table[:-1, 1] = _against(step, _usual(step) + 0.1)
    table[:-1, 2] = like
    table[:-1, 3] = np.clip(like / np.maximum(usual_like, 0.05), 0, 2) / 2
    table[:-1, 4] = _gained(planes, smooth, shift, drift, step)
    table[:-1, 5], table[:-1, 6] = _changes(level)
    table[:-1][~steps] = 0.0
    beside = np.zeros(n)
    beside[1:-1] = np.hypot(*(off[:-1] - off[1:]).T) / 2
    table[:, 7] = np.log2(1 + beside) / 4
    table[:, 8] = _against(beside, _usual(beside) + 0.1)
    both = np.minimum(np.diagonal(level, 1)[:-1], np.diagonal(level, 1)[1:])
    table[1:-1, 9] = _against(both, np.diagonal(level, 2) + 1e-5) * (steps[:-1] & steps[1:])
    return table, beside, off


def _registered(band: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each step of planes (S, h, w): where the next slice lies, (S - 1, 2) rows and columns, and its likeness.

    The likeness is the peak as a share of what a slice has with itself, 0 to 1.
    """
    n, h, w = band.shape
    window = np.sqrt(np.hanning(h + 2)[1:-1, None] * np.hanning(w + 2)[None, 1:-1])
    shift, like = np.zeros((n - 1, 2)), np.zeros(n - 1)
    ry, rx = (min(side // 2 - 2, max(4, int(FARTHEST * min(h, w)))) for side in (h, w))
    before = None
    for k in range(n):
        found = np.fft.rfft2(band[k] * window)
        size = np.abs(found)
        found /= np.sqrt(size + 1e-9 * float(size.max()) + 1e-12)
        own = float(np.fft.irfft2(np.abs(found) ** 2, s=(h, w))[0, 0])
        if before is not None:
            peaks = np.fft.fftshift(np.fft.irfft2(found * np.conj(before[0]), s=(h, w)))
            near = peaks[h // 2 - ry - 1 : h // 2 + ry + 2, w // 2 - rx - 1 : w // 2 + rx + 2]
            y, x = np.unravel_index(int(near[1:-1, 1:-1].argmax()), (2 * ry + 1, 2 * rx + 1))
            column, row = near[y : y + 3, x + 1], near[y + 1, x : x + 3]
            shift[k - 1] = y - ry + _vertex(column), x - rx + _vertex(row)
            like[k - 1] = near[y + 1, x + 1] / np.sqrt(own * before[1] + 1e-20)
        before = (found, own)
    return shift, np.clip(like, 0, 1)


def _vertex(three: np.ndarray) -> float:
    """Where the parabola through three neighbouring values has its top, -0.5 to 0.5 from the middle one."""
    bend = three[0] - 2 * three[1] + three[2]
    return 0.0 if bend >= 0 else float(np.clip(0.5 * (three[0] - three[2]) / bend, -0.5, 0.5))


def _gained(
    planes: np.ndarray, smooth: np.ndarray, shift: np.ndarray, drift: np.ndarray, step: np.ndarray
) -> np.ndarray:
    """Share of a step's change that goes when the next slice is moved back, 0 to 1: it was motion, not anatomy.

    Steps under a tenth of a pixel are not tried.
    """
    gained = np.zeros(len(step))
    margin = 2 + int(np.ceil(FARTHEST * min(planes.shape[1:]) / 2))
    inner = (
        (slice(margin, -margin), slice(margin, -margin)) if min(planes.shape[1:]) > 4 * margin else (slice(None),) * 2
    )
    for k in np.flatnonzero(step > 0.1):
        there = smooth[k][inner]
        usual, back = (
            _unlike(there, ndimage.shift(smooth[k + 1], -move, order=1, mode="nearest")[inner])
            for move in (drift[k], shift[k])
        )
        gained[k] = np.clip(1 - back / max(usual, 1e-6), 0, 1)
    return gained


def _unlike(one: np.ndarray, other: np.ndarray) -> float:
    """1 - Pearson's correlation of two planes."""
    a, b = one - one.mean(), other - other.mean()
    return 1 - float((a * b).sum()) / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-9)


def _level(smooth: np.ndarray) -> np.ndarray:
    """1 - Pearson's correlation of every pair of slices, (S, S): brightness and contrast of a slice do not count."""
    rows = smooth.reshape(len(smooth), -1)
    rows = rows - rows.mean(1, keepdims=True)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return np.clip(1 - rows @ rows.T, 0, 2)


def _usual(values: np.ndarray) -> np.ndarray:
    """Median of up to REACH values on either side, without the value itself; (N,) -> (N,)."""
    around = [
        np.concatenate([values[max(0, k - REACH) : k], values[k + 1 : k + 1 + REACH]]) for k in range(len(values))
    ]
    return np.array([np.median(near) for near in around])


def _against(values: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """How many doublings above the usual, in quarters: -0.5 to 1.5."""
    return np.clip(np.log2((values + 1e-6) / (usual + 1e-6)) / 4, -0.5, 1.5)


def _changes(level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each step: its change against the usual one beside it, and the slices that seem to be missing in it.

    Both hold for the step and for those from one slice before it or to one behind it, so that a single slice that is
    unlike its neighbours is no gap. The usual change is the larger of the two sides: anatomy may change faster on one.
    """
    n = len(level)
    far = min(LONGEST_LAG, n - 2)
    curve = np.maximum.accumulate([0.0, *(float(np.median(np.diagonal(level, lag))) for lag in range(1, far + 1))])
    curve = curve + 1e-6 * np.arange(far + 1)
    slope = max((curve[-1] - curve[-3]) / 2, 1e-6)
    single, double = np.diagonal(level, 1), np.diagonal(level, 2)
    change, missing = np.zeros(n - 1), np.zeros(n - 1)
    for k in range(n - 1):
        sides = [side for side in (single[max(0, k - REACH) : k], single[k + 1 : k + 1 + REACH]) if len(side)]
        usual = max(float(np.median(side)) for side in sides)
        pairs = [(a, b) for a in (k - 1, k) for b in (k + 1, k + 2) if a >= 0 and b < n]
        scaled = {(a, b): level[a, b] * curve[1] / max(usual, 1e-6) for a, b in pairs}
        lags = [
            (float(np.interp(d, curve, np.arange(far + 1))) if d <= curve[-1] else far + (d - curve[-1]) / slope)
            - (b - a)
            for (a, b), d in scaled.items()
        ]
        missing[k] = np.clip(min(lags), 0, LONGEST_LAG) / LONGEST_LAG
        ratios = [single[k] / max(usual, 1e-6)]
        for at, side in ((k - 1, double[max(0, k - 1 - REACH) : max(0, k - 1)]), (k, double[k + 1 : k + 1 + REACH])):
            if 0 <= at < n - 2:
                ratios.append(double[at] / max(float(np.median(side)) if len(side) else 1.5 * usual, usual, 1e-6))
        change[k] = np.clip(np.log2(max(min(ratios), 1e-3)) / 4, -0.5, 1.5)
    return change, missing
