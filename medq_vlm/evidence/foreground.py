"""Where the body is: a mask that shrugs off noise, borders and padding; all True where there is no background."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from medq_vlm import vocab
from medq_vlm.intensity import linear_quantiles, median

WORK_SIDE = 128  # the mask is found on block means of at most this size: that is what makes it robust to noise
CT_AIR_HU = -400.0
MIN_SHARE = 0.02  # body or background below this share: there is none


def foreground(
    pixels: np.ndarray,
    modality: str | None,
    unit: str = "value",
    valid: np.ndarray | None = None,
    inverted: bool = False,
) -> np.ndarray:
    """(H, W) bool, True on the body (tissue, lit field, sector), holes filled.

    pixels: (H, W) or (H, W, 3) in native units; valid: (H, W) bool, False on padding, which is never body.
    CT in HU: above -400 HU, table removed. Histopathology: darker than the glass. Otherwise: brighter than a dark
    region that touches the border (`inverted`: than a bright one). All of `valid` when there is no such background.
    """
    usable = np.ones(pixels.shape[:2], bool) if valid is None else np.asarray(valid, bool)
    grey = luminance(pixels)
    usable = usable & np.isfinite(grey)
    if not usable.any():
        return usable
    step = max(1, -(-max(grey.shape) // WORK_SIDE))
    small, part = _shrink(np.where(usable, grey, 0.0), usable, step)
    if unit == "HU":
        found = _tissue_ct(small, part)
    elif modality == "histopathology":
        found = _not_glass(small, part)
    else:
        found = _lit(-small if inverted else small, part, modality in vocab.OPTICAL)
    share = float(found.mean())
    if share < MIN_SHARE or share > 1.0 - MIN_SHARE:
        return usable
    full = np.repeat(np.repeat(found, step, 1), step, 0)[: grey.shape[0], : grey.shape[1]]
    return full & usable


def luminance(pixels: np.ndarray) -> np.ndarray:
    """(H, W) float32 of (H, W) or (H, W, 3): Rec. 601 weights, linear in the stored values."""
    if pixels.ndim == 3:
        return np.ascontiguousarray(np.asarray(pixels, np.float32) @ np.array([0.299, 0.587, 0.114], np.float32))
    return np.ascontiguousarray(pixels, np.float32)


def _shrink(image: np.ndarray, usable: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Means over step x step blocks of the usable pixels (the last block may be smaller), and where there are any."""
    total, count = (_row_sums(_row_sums(values, step).T, step).T for values in (image, usable))
    return total / np.maximum(count, 1.0), count > 0


def _row_sums(values: np.ndarray, step: int) -> np.ndarray:
    """Sums of each `step` rows of (H, W), the last maybe of fewer: float64 (H / step, W)."""
    total = values[::step].astype(np.float64)
    for k in range(1, step):
        part = values[k::step]
        total[: len(part)] += part
    return total


def _tissue_ct(small: np.ndarray, part: np.ndarray) -> np.ndarray:
    body = (small > CT_AIR_HU) & part
    body = ndimage.binary_opening(body, iterations=2) if min(body.shape) > 16 else body  # the table is thin
    return _large(ndimage.binary_fill_holes(body))


def _not_glass(small: np.ndarray, part: np.ndarray) -> np.ndarray:
    low, high = np.quantile(small[part], (0.01, 0.995))
    if high <= low:
        return part
    return (small < high - 0.12 * (high - low)) & part


def _lit(small: np.ndarray, part: np.ndarray, camera: bool) -> np.ndarray:
    values = small[part]
    low, high = linear_quantiles(values, (0.005, 0.99))
    if high - low <= 1e-12:
        return part
    scaled = np.clip((small - low) / (high - low), 0.0, 1.0)
    scaled[~part] = 0.0
    cut = otsu(scaled[part])
    if camera:
        # a camera's frame is black; tissue in the shade at the rim is not background
        scaled = np.clip(small / high, 0.0, 1.0) * part if high > 0 else scaled
        cut = min(cut, 0.12)
    dark = _touching_border((scaled < cut) & part, part)
    if dark.mean() < MIN_SHARE:
        return part
    # the modal level of the dark rim is the background; half-lit rims of the body must not raise it
    rim = scaled[dark]
    level, upper = linear_quantiles(rim, (0.3, 0.6))
    spread = 1.4826 * median(np.abs(rim[rim <= upper] - level))
    bright = median(scaled[(scaled >= cut) & part])
    if level > 0.35 * bright:
        return part  # a dark part of the picture, not a background
    threshold = level + max(4.0 * spread, 0.12 * (bright - level))
    body = (scaled > min(threshold, cut)) & part
    body = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(body, 2, mode="edge"), iterations=2)[2:-2, 2:-2])
    return _large(body)


def _touching_border(region: np.ndarray, part: np.ndarray) -> np.ndarray:
    """The components of `region` that reach the picture's border or its padding."""
    labels, _ = ndimage.label(region)
    rim = np.ones_like(region)
    rim[1:-1, 1:-1] = False
    rim |= ndimage.binary_dilation(~part)
    touched = np.unique(labels[rim & region])
    return np.isin(labels, touched[touched > 0])


def _large(region: np.ndarray) -> np.ndarray:
    """Components at least a twentieth as large as the largest."""
    labels, count = ndimage.label(region)
    if count == 0:
        return region
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return (sizes >= 0.05 * sizes.max())[labels] & (labels > 0)


def otsu(values: np.ndarray) -> float:
    """Threshold that splits values into two classes of largest between-class variance (Otsu, IEEE SMC 1979)."""
    flat = np.asarray(values).ravel()
    counts, edges = np.histogram(flat, 256)
    centres = 0.5 * (edges[:-1] + edges[1:])
    weight = np.cumsum(counts).astype(np.float64)
    moment = np.cumsum(counts * centres)
    above = weight[-1] - weight
    with np.errstate(divide="ignore", invalid="ignore"):
        between = weight * above * (moment / weight - (moment[-1] - moment) / above) ** 2
    between = np.nan_to_num(between, posinf=0.0)
    # a gap between the classes gives a plateau: its middle is the threshold
    best = np.flatnonzero(between >= between.max() * (1.0 - 1e-9))
    return float(edges[1:][best].mean())
