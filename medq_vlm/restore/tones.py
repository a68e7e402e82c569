"""What a fault of light may change: grey levels as a whole, colours not at all, and detail nowhere.

The network proposes a restored image; of it these keep the part that undoes the fault. Where an exposure clipped an
image there is nothing left to find, and what the network shows there it has made up.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import isotonic_regression

OVEREXPOSURE, UNEVEN = "overexposure", "uneven_illumination"
LEAST_SHARE = 1 / 255  # of the range, added to both greys: black has no colour to keep
CLIPPED = "What is clipped stays without detail: only the grey levels were changed."


def nearest_curve(before: np.ndarray, after: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """`before` through the rising curve that comes nearest to `after` by least squares, for each channel its own.

    before, after: (H, W) or (H, W, 3); valid: (H, W), the pixels that count. Equal levels stay equal, so no detail can
    appear. Isotonic regression: Barlow et al., Statistical Inference under Order Restrictions, Wiley, 1972.
    """
    if before.ndim == 3:
        return np.stack([nearest_curve(before[..., c], after[..., c], valid) for c in range(before.shape[-1])], -1)
    inside = slice(None) if valid is None or not valid.any() else valid
    levels, at, counts = np.unique(before[inside], return_inverse=True, return_counts=True)
    sums = np.bincount(at.reshape(-1), weights=after[inside].reshape(-1), minlength=len(levels))
    curve = isotonic_regression(sums / counts, weights=counts).x
    return np.interp(before, levels, curve).astype(np.float32)


def one_light(before: np.ndarray, after: np.ndarray, span: float) -> np.ndarray:
    """Colours `before` (H, W, 3) with the lightness of `after`: uneven light is the same for all channels.

    span: of the image's range, in its unit.
    """
    least = LEAST_SHARE * span
    gain = (after.mean(-1, keepdims=True) + least) / (before.mean(-1, keepdims=True) + least)
    return (before * np.maximum(gain, 0)).astype(np.float32)
