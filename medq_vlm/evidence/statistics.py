"""No-reference statistics that a small network turns into a quality score and degradation kinds.

They are the baseline that every learned tower must beat, and extra inputs of the shipped scorer.
"""

from __future__ import annotations

import numpy as np

from medq_vlm.evidence import stats_artifact, stats_layout, stats_scene, stats_spectrum
from medq_vlm.evidence.filters import binomial_blur, halve, picks
from medq_vlm.schema import MedQError

MIN_SIDE = 32  # smaller images are continued by mirroring
LIMIT = 12.0  # features are O(1); nothing beyond this reaches a network


def features(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(F,) float32 statistics in the order of FEATURE_NAMES; finite for any input, the same on every run.

    image: (H, W) or (H, W, 3), roughly 0 to 1 (a little outside is kept; NaN counts as 0). mask: (H, W) bool,
    True on the body; a mask with hardly a pixel counts as all True. Raises MedQError for other shapes.
    """
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or mask.shape != image.shape[:2]:
        raise MedQError(
            f"Statistics need an (H, W) or (H, W, 3) image and an (H, W) mask, not {image.shape} and {mask.shape}."
        )
    found = _collect(image, mask)
    values = np.array([found[name] for name in FEATURE_NAMES], np.float64)
    return np.clip(np.nan_to_num(values, posinf=LIMIT, neginf=-LIMIT), -LIMIT, LIMIT).astype(np.float32)


def _collect(image: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    image = np.clip(np.nan_to_num(np.asarray(image, np.float32)), -4.0, 8.0)
    mask = np.asarray(mask, bool)
    h, w = mask.shape
    if min(h, w) < MIN_SIDE:
        if min(h, w) == 0:
            raise MedQError(f"Statistics need at least one pixel, not an image of {h} x {w}.")
        grow = ((0, max(0, MIN_SIDE - h)), (0, max(0, MIN_SIDE - w)))
        image = np.pad(image, grow + ((0, 0),) * (image.ndim - 2), mode="symmetric")
        mask = np.pad(mask, grow, mode="symmetric")
    if np.count_nonzero(mask) < 0.005 * mask.size:
        mask = np.ones_like(mask)
    grey = image if image.ndim == 2 else image @ np.array([0.299, 0.587, 0.114], np.float32)
    grey = np.ascontiguousarray(grey)
    mu = binomial_blur(grey)
    at = picks(mask)  # sampled body pixels: enough for every percentile below
    quarter, share = halve(halve(grey)), halve(halve(mask.astype(np.float32)))
    edges, slope = stats_scene.edges(grey, mu, mask, at)
    return {
        **stats_scene.scene(grey, mu, mask, at),
        **stats_scene.wavelet(grey, mask),
        **stats_scene.noise(grey, mu, mask, slope),
        **edges,
        **stats_spectrum.spectrum(grey),
        **stats_layout.histogram(grey, mask, at),
        **stats_layout.illumination(quarter, share),
        **stats_layout.coverage(grey, mask, quarter, share),
        **stats_layout.colour(image, mask),
        **stats_artifact.background(grey, mask, at),
        **stats_artifact.blocks(grey),
        **stats_artifact.lines(grey, mu, mask, at),
        **stats_artifact.focus(grey, slope, at),
    }


# every input gives the same names in the same order, so the smallest one is asked once
FEATURE_NAMES: tuple[str, ...] = tuple(_collect(np.zeros((MIN_SIDE, MIN_SIDE)), np.ones((MIN_SIDE, MIN_SIDE), bool)))
