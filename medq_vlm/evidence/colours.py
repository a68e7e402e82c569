"""Whether a picture has colours of its own, or is grey, perhaps under a tint."""

from __future__ import annotations

import numpy as np

SIDE = 128  # pixels of the shorter side that are looked at
APART = 0.06  # of full scale, that a channel may lie beside what its brightness tells
MANY = 0.1  # share of the picture: markers, rulers and a logo are less


def many_coloured(pixels: np.ndarray) -> bool:
    """Whether colours in a tenth of (H, W, 3) are more than brightness tells; False for (H, W).

    Each channel is fitted by a cubic of the mean of the three, so a tinted film, a sepia print and a single hue are
    grey. In seven radiographs saved in colour at most 0.2 % of the pixels are such, in most colour photographs a fifth.
    """
    if pixels.ndim != 3:
        return False
    step = max(1, min(pixels.shape[:2]) // SIDE)
    colours = pixels[::step, ::step].reshape(-1, 3).astype(np.float64)
    colours /= max(float(colours.max()), 1e-12)
    brightness = colours.mean(1)
    powers = np.vander(brightness, 4)
    apart = np.zeros(len(colours), bool)
    for _ in range(2):  # the second time without what a marker pulls aside
        tint = np.linalg.lstsq(powers[~apart], colours[~apart], rcond=None)[0]
        apart = np.abs(colours - powers @ tint).max(1) > APART
        if apart.all():
            break
    return float(apart.mean()) > MANY
