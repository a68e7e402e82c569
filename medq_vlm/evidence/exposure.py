"""How the range of values is used: clipping, brightness, contrast, slow fields, voids."""

from __future__ import annotations

import numpy as np

from medq_vlm.evidence.filters import block_means, box_mean, picks
from medq_vlm.intensity import linear_quantiles, median


def clipped_fraction(grey: np.ndarray, mask: np.ndarray) -> float:
    """Share of body pixels that sit exactly at the largest or smallest value of the body, 0 to 1; lower is better.

    One pixel per end is what every image has, so those two do not count. Bushberg et al., The Essential Physics of
    Medical Imaging (detector saturation). Invariant to scale and offset. NaN without a body or for a constant one.
    """
    body = grey[mask]
    if body.size < 16:
        return float("nan")
    low, high = body.min(), body.max()
    if high <= low:
        return float("nan")
    ends = max(int(np.count_nonzero(body == low)) - 1, 0) + max(int(np.count_nonzero(body == high)) - 1, 0)
    return ends / body.size


def brightness(grey: np.ndarray, mask: np.ndarray, inverted: bool = False) -> float:
    """Median of the body within the image's own range, 0 (darkest shown) to 1; neither direction is better."""
    low, high = float(grey.min()), float(grey.max())
    if high <= low or not mask.any():
        return float("nan")
    value = (median(grey.ravel()[picks(mask, 50_000)]) - low) / (high - low)
    return 1.0 - value if inverted else value


def contrast_range(grey: np.ndarray, mask: np.ndarray, unit: str = "value") -> float:
    """Spread of the body: p95 - p5 in HU for CT; else Michelson (p95 - p5) / (p95 + p5), 0 to 1; higher is better.

    Michelson, Studies in Optics 1927, on percentiles. Signed values are counted from their 0.5 % quantile.
    """
    if not mask.any():
        return float("nan")
    body = grey.ravel()[picks(mask, 50_000)]
    floor, low, high = linear_quantiles(body, (0.005, 0.05, 0.95))
    if unit == "HU":
        return high - low
    zero = min(floor, 0.0)
    return (high - low) / (high + low - 2 * zero) if high + low > 2 * zero else float("nan")


def field_range(grey: np.ndarray, mask: np.ndarray) -> float:
    """Half-range of the slow brightness field over its middle: (max - min) / (max + min), 0 to 1; lower is better.

    The integral non-uniformity of NEMA MS 3 on a quadratic field of the log values, so a field of +-20 % reads 0.20.
    Tissue is constant by pieces, so most differences between near blocks are the field's own and those across tissue
    borders are outliers: the field is a robust fit to the differences (sparse gradients, Zheng and Gee, MICCAI 2007).
    Scale-free. NaN when the body fills less than 40 of 48 x 48 blocks or has no positive values.
    """
    means, share = block_means(np.maximum(grey, 0), mask.astype(np.float32), 48)
    use = (share > 0.8) & (means > 0)
    if int(use.sum()) < 40:
        return float("nan")
    typical = float(np.median(means[use]))
    use &= means > 0.1 * typical
    values = np.log(np.where(use, means, typical) / typical)
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    basis = np.stack([x, y, x * x, x * y, y * y], -1)
    rises, slopes = [], []
    for first, second in (
        (np.s_[2:, :], np.s_[:-2, :]),
        (np.s_[:, 2:], np.s_[:, :-2]),
    ):
        both = use[first] & use[second]
        rises.append((values[first] - values[second])[both])
        slopes.append((basis[first] - basis[second])[both])
    rise, slope = np.concatenate(rises), np.concatenate(slopes)
    if rise.size < 40:
        return float("nan")
    coef = np.zeros(5)
    weight = np.ones_like(rise)
    for _ in range(20):
        coef = np.linalg.lstsq(slope * weight[:, None], rise * weight, rcond=None)[0]
        miss = np.abs(rise - slope @ coef)
        scale = max(1.4826 * float(np.median(miss)), 1e-4)
        weight = 1.0 / (1.0 + (miss / (2.0 * scale)) ** 2)  # squared in the fit: far outliers count for nothing
    low, high = np.quantile((basis @ coef)[use], (0.005, 0.995))
    return float(np.tanh(0.5 * (high - low)))  # (e^h - e^l) / (e^h + e^l)


def void_share(grey: np.ndarray, mask: np.ndarray) -> float:
    """Share of the body darker than 15 % of its median level (counted from the image minimum), 0 to 1; lower is better.

    Read on 5 x 5 means, so that speckle and noise do not count: signal voids, shadows, lost patches, dark spots.
    """
    if not mask.any():
        return float("nan")
    smooth = box_mean(grey, 5)
    low = float(smooth.min())
    body = smooth[mask]
    del smooth
    level = median(body) - low
    body -= np.float32(low)
    return float(np.mean(body < 0.15 * level)) if level > 0 else float("nan")


def depth_falloff(grey: np.ndarray, mask: np.ndarray, inverted: bool = False) -> float:
    """Mean brightness of the deepest third of the body over that of the shallowest; about 1 is even.

    Depth runs down the rows, as ultrasound is shown. Without time-gain compensation it falls with attenuation
    (0.5 to 0.7 dB / cm / MHz in soft tissue, IEC 61391-1). NaN when a third is empty.
    """
    rows = np.flatnonzero(mask.any(1))
    if rows.size < 9:
        return float("nan")
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    third = (bottom - top) // 3
    level = grey - grey.min() if not inverted else grey.max() - grey
    shallow, deep = (
        level[top : top + third][mask[top : top + third]],
        level[bottom - third : bottom][mask[bottom - third : bottom]],
    )
    if shallow.size < 9 or deep.size < 9 or not float(shallow.mean()) > 0:
        return float("nan")
    return float(deep.mean()) / float(shallow.mean())


def speckle_index(grey: np.ndarray, mask: np.ndarray) -> float:
    """Median over the body of local SD / local mean in 7 x 7 windows; lower is smoother.

    Dewaele et al., J. Ultrasound Med. 1990; 0.52 for fully developed speckle of linear amplitude (Rayleigh), less after
    log compression. Scale-free. NaN without a body.
    """
    if not mask.any():
        return float("nan")
    work = grey - np.float32(min(0.0, float(grey.min())))
    scale = float(work.max())
    if scale <= 0:
        return float("nan")
    work = work * np.float32(1.0 / scale)
    mean = box_mean(work, 7)
    square = box_mean(work * work, 7)
    at = picks(mask & (mean > 0.05), 40_000)
    if at.size < 50:
        return float("nan")
    local = mean.ravel()[at]
    return median(np.sqrt(np.maximum(square.ravel()[at] - local**2, 0) * (49 / 48)) / local)
