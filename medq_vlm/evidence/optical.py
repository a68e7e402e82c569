"""Measures of colour images (H, W, 3) of any positive scale: specular reflections, colour cast, veil."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def specular_fraction(pixels: np.ndarray, mask: np.ndarray) -> float:
    """Share of the body in colourless highlights: all channels above 90 % of full scale and saturation below 0.15.

    Thresholds after Arnold et al., EURASIP J. Image Video Process. 2010. Full scale: see `full_scale`. Lower is better.
    """
    if not mask.any():
        return float("nan")
    body = pixels[mask]
    scale = full_scale(pixels)
    low, high = body.min(1), body.max(1)
    return float(np.mean((low > 0.9 * scale) & (high - low < 0.15 * high)))


def colour_cast(pixels: np.ndarray, mask: np.ndarray) -> float:
    """Largest deviation of a channel mean from the mean of the three, over that mean, 0 to 2; lower is more neutral.

    The grey-world measure (Buchsbaum, J. Franklin Inst. 1980). Tissue is red by nature: compare within a modality.
    """
    if not mask.any():
        return float("nan")
    means = pixels[mask].mean(0, dtype=np.float64)
    middle = float(means.mean())
    return float(np.abs(means - middle).max() / middle) if middle > 0 else float("nan")


def veil(pixels: np.ndarray, mask: np.ndarray) -> float:
    """Median of the dark channel (least channel, least of 15 x 15 pixels) over full scale, 0 to 1; lower is better.

    He, Sun, Tang, CVPR 2009: haze lifts the darkest values of every neighbourhood.
    """
    if not mask.any():
        return float("nan")
    dark = ndimage.minimum_filter(pixels.min(2)[::2, ::2], 7)
    inside = mask[::2, ::2]
    return float(np.median(dark[inside]) / full_scale(pixels)) if inside.any() else float("nan")


def full_scale(pixels: np.ndarray) -> float:
    """White of a colour image: 1, 255 or 65535, the least that holds its values."""
    top = float(pixels.max())
    return 1.0 if top <= 1.5 else 255.0 if top <= 255.5 else 65535.0
