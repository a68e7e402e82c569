"""Where a degradation shows by itself in the pixels: metal, highlights, lost patches. No model is asked."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from medq_vlm.evidence.ct import METAL_HU
from medq_vlm.evidence.filters import flat_patches
from medq_vlm.evidence.optical import full_scale

Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in native pixels

MARGIN = 0.01  # of the image's longer side, around what is marked
LEAST_PX = 4


def place(kind: str, pixels: np.ndarray, mask: np.ndarray, unit: str) -> Box | None:
    """Box around what shows `kind` on a slice (H, W) or (H, W, 3), None where no measure tells.

    `mask` (H, W) is the body. Marks that are apart share one box.
    """
    colour = pixels.ndim == 3
    if kind == "metal" and unit == "HU":
        marks = ndimage.binary_opening(pixels > METAL_HU)
    elif kind == "specular" and colour:
        low, high = pixels.min(2), pixels.max(2)
        marks = ndimage.binary_opening((low > 0.9 * full_scale(pixels)) & (high - low < 0.15 * high))
    elif kind == "dropout":
        grey = pixels.mean(2) if colour else pixels
        marks = flat_patches(grey) & mask
    else:
        return None
    marks &= mask
    if int(marks.sum()) < LEAST_PX:
        return None
    rows, cols = np.flatnonzero(marks.any(1)), np.flatnonzero(marks.any(0))
    h, w = marks.shape
    margin = max(2, round(MARGIN * max(h, w)))
    return (
        max(0, int(cols[0]) - margin), max(0, int(rows[0]) - margin), min(w, int(cols[-1]) + 1 + margin),
        min(h, int(rows[-1]) + 1 + margin),
    )  # fmt: skip
