"""Noise and what stands above it. Lower noise, higher SNR and CNR are better."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from medq_vlm.evidence.filters import all_near, box_mean, picks
from medq_vlm.evidence.foreground import otsu
from medq_vlm.intensity import linear_quantiles, median

WINDOW = 7  # pixels: large enough for the correlation length of reconstructed CT noise, small enough to miss anatomy
SOFT_TISSUE_HU = (-150.0, 250.0)


def noise_sd(grey: np.ndarray, mask: np.ndarray, unit: str = "value") -> float:
    """Standard deviation of the noise in the unit of `grey` (H, W): the mode of the local SD over the body.

    sd(p) = SD of the 7 x 7 pixels about p; the noise is the most frequent sd, since anatomy only adds to it where it
    has edges (the "global noise level" of Christianson et al., AJR 2015). CT in HU looks at soft tissue only. Unlike a
    finest-scale wavelet estimate this holds for correlated noise. NaN without 100 pixels that are not constant.
    """
    if int(np.count_nonzero(mask)) < 100:
        return float("nan")
    body = grey.ravel()[picks(mask)]
    low, middle, high = linear_quantiles(body, (0.005, 0.5, 0.995))
    scale = high - low
    if scale <= 0:
        return float("nan")
    work = grey - np.float32(middle)
    work *= np.float32(1.0 / scale)  # float32 squares of 16-bit values would cancel
    mean = box_mean(work, WINDOW)
    inside = all_near(mask, WINDOW)
    if np.count_nonzero(inside) < 100:
        inside = mask
    if unit == "HU":
        soft = mean * scale + middle
        tissue = inside & (soft > SOFT_TISSUE_HU[0]) & (soft < SOFT_TISSUE_HU[1])
        if np.count_nonzero(tissue) > 0.05 * np.count_nonzero(inside):
            inside = tissue
    at = picks(inside, 40_000)
    level = mean.ravel()[at]
    del mean, inside  # a picture of 8000 x 8000 is 256 MB: none is kept longer than it is read
    square = box_mean(np.square(work, out=work), WINDOW).ravel()[at]
    n = WINDOW * WINDOW
    local = np.sqrt(np.maximum(square - level**2, 0) * (n / (n - 1)))
    local = local[local > 1e-5]  # padding and saturated patches have no noise to measure
    if local.size < 100:
        return float("nan")
    return mode(local) * scale


def mode(values: np.ndarray) -> float:
    """Most frequent of positive values: peak of a smoothed histogram over 0 to 2.5 medians, refined by a parabola."""
    top = 2.5 * median(values)
    counts, edges = np.histogram(values, 100, (0.0, top))
    smooth = ndimage.gaussian_filter1d(counts.astype(np.float64), 3.0, mode="constant")
    k = int(np.clip(smooth.argmax(), 1, 98))
    a, b, c = smooth[k - 1 : k + 2]
    shift = 0.5 * (a - c) / (a - 2 * b + c) if a - 2 * b + c < 0 else 0.0
    return float(edges[0] + (k + 0.5 + np.clip(shift, -1, 1)) * (edges[1] - edges[0]))


def snr(grey: np.ndarray, mask: np.ndarray, noise: float, unit: str = "value") -> float:
    """Median body signal over the noise SD; the signal of CT is counted from air (-1000 HU), else from zero.

    Single-image SNR as NEMA MS 1 method 4 defines it, with the noise taken in the body. NaN without noise.
    """
    if not noise > 0 or not mask.any():
        return float("nan")
    zero = -1000.0 if unit == "HU" else 0.0
    return (median(grey.ravel()[picks(mask, 50_000)]) - zero) / noise


def cnr(grey: np.ndarray, mask: np.ndarray, noise: float, unit: str = "value") -> float:
    """Contrast to noise: difference of the mean of the two main tissue classes over the noise SD.

    The classes are the two sides of the Otsu threshold of the body (CT: of its soft tissue), each trimmed to its
    inner half so that partial volume at the border between them does not count. NaN without two classes.
    """
    low, high = two_tissues(grey, mask, unit)
    if not noise > 0 or low.size < 30 or high.size < 30:
        return float("nan")
    return (_inner_mean(high) - _inner_mean(low)) / noise


def two_tissues(grey: np.ndarray, mask: np.ndarray, unit: str = "value") -> tuple[np.ndarray, np.ndarray]:
    """Sampled values of the darker and of the brighter class of the body (Otsu), both flat; maybe empty."""
    body = grey.ravel()[picks(mask, 50_000)]
    if unit == "HU":
        soft = body[(body > SOFT_TISSUE_HU[0]) & (body < SOFT_TISSUE_HU[1])]
        body = soft if soft.size > 0.05 * body.size else body
    if body.size < 60 or body.max() <= body.min():
        return body[:0], body[:0]
    low, high = linear_quantiles(body, (0.005, 0.995))  # one bright vessel must not set the split
    cut = otsu(np.clip(body, low, high))
    return body[body <= cut], body[body > cut]


def _inner_mean(values: np.ndarray) -> float:
    low, high = linear_quantiles(values, (0.25, 0.75))
    inner = values[(values >= low) & (values <= high)]
    return float(inner.mean())
