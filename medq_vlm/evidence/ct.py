"""Measures of CT images: rings, cupping, metal. All lower is better."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from medq_vlm.evidence.filters import box_mean, polar

METAL_HU = 2500.0  # above cortical bone and dense enamel's mean; implants saturate near 3071
SOFT_HU = (-150.0, 200.0)


def ring_amplitude(grey: np.ndarray, mask: np.ndarray) -> float:
    """RMS amplitude of rings about the picture's centre, in the unit of `grey`.

    Means over angle of the radial high-pass (9-pixel mean removed, outliers beyond 4 mean deviations clipped), with the
    share that independent pixels would leave subtracted:  A^2 = var(mean) - mean(var / n). NaN when fewer than
    16 circles have a quarter of their length in the body. Rings centre on the axis of rotation, which a cropped
    picture moves: the measure then reads low.
    """
    h, w = grey.shape
    if not mask.any():
        return float("nan")
    high = box_mean(grey, 9)
    np.subtract(grey, high, out=high)
    typical = 4.0 * float(np.abs(high[mask]).mean())
    np.clip(high, -typical, typical, out=high)
    high[~mask] = np.nan
    samples = polar(high, ((h - 1) / 2, (w - 1) / 2), max(8, min(h, w) // 2 - 2), 6, 256)
    known = np.isfinite(samples)
    # neighbouring angles of a small circle are the same pixel: count pixels, not samples
    length = 2 * np.pi * np.arange(6, 6 + samples.shape[0])
    number = np.minimum(known.mean(1) * length, known.sum(1))
    use = known.mean(1) > 0.25
    if int(use.sum()) < 16:
        return float("nan")
    filled = np.where(known, samples, 0)[use].astype(np.float64)
    count = known.sum(1)[use]
    mean = filled.sum(1) / count
    variance = np.square(filled).sum(1) / count - mean**2
    # reconstructed noise is correlated over about two pixels, so half the pixels are independent
    excess = float(np.mean(mean**2) - np.mean(variance / np.maximum(number[use] / 2, 1)))
    return max(excess, 0.0) ** 0.5


def cupping(grey: np.ndarray, mask: np.ndarray) -> float:
    """Soft tissue at the rim minus in the middle of the body, HU; positive for beam hardening or scatter.

    Medians over the outer and the inner third of the distance to the outline (AAPM report 233 reads the same from
    five regions of a water phantom). Anatomy moves it by tens of HU: fat lies outside, so clean bodies read low.
    NaN without enough soft tissue.
    """
    small, body = grey[::4, ::4], mask[::4, ::4]
    depth = ndimage.distance_transform_edt(np.pad(body, 1))[1:-1, 1:-1]
    deepest = float(depth.max()) if body.any() else 0.0
    soft = body & (small > SOFT_HU[0]) & (small < SOFT_HU[1]) & (depth > 2)
    rim, middle = soft & (depth < deepest / 3), soft & (depth > 2 * deepest / 3)
    if min(int(rim.sum()), int(middle.sum())) < 30:
        return float("nan")
    return float(np.median(small[rim]) - np.median(small[middle]))


def metal_share(grey: np.ndarray, mask: np.ndarray) -> float:
    """Share of the body above 2500 HU, 0 to 1. NaN without a body."""
    return float(np.mean(grey[mask] > METAL_HU)) if mask.any() else float("nan")
