"""What of the body is in the picture and how it lies there."""

from __future__ import annotations

import numpy as np

from medq_vlm.evidence.filters import block_means, flat_patches


def body_share(mask: np.ndarray) -> float:
    """Share of the picture that is body, 0 to 1; neither direction is better."""
    return float(mask.mean())


def cut_outline(mask: np.ndarray) -> float:
    """Share of the picture's four borders that body touches, 0 to 1; lower is better where the whole body is wanted."""
    touch = int(mask[0].sum()) + int(mask[-1].sum()) + int(mask[:, 0].sum()) + int(mask[:, -1].sum())
    return touch / (2 * (mask.shape[0] + mask.shape[1]))


def lost_fraction(grey: np.ndarray, mask: np.ndarray) -> float:
    """Share of the body in flat patches: 5 x 5 pixels and more of one exact value, 0 to 1; lower is better.

    Dropped lines and blocks, burnt-out and blacked-out areas; noise makes every live patch vary.
    """
    if not mask.any():
        return float("nan")
    return float(np.mean(flat_patches(grey)[mask]))


def tilt(mask: np.ndarray) -> float:
    """Angle between the body's long axis and the nearest picture axis, degrees, 0 to 45; lower is better.

    From second moments of the mask (Hu, IRE Trans. 1962). NaN for a body that is nearly round (axes within 10 %), that
    fills the picture, or that the border cuts over more than a tenth of the frame, which would set the axis.
    """
    small = mask[::2, ::2]
    y, x = np.nonzero(small)
    if y.size < 50 or cut_outline(mask) > 0.1:
        return float("nan")
    cov = np.cov(np.stack([y, x]).astype(np.float64))
    values, vectors = np.linalg.eigh(cov)
    if values[1] < 1.21 * values[0]:
        return float("nan")
    angle = np.degrees(np.arctan2(vectors[0, 1], vectors[1, 1])) % 90.0
    return float(min(angle, 90.0 - angle))


def asymmetry(grey: np.ndarray, mask: np.ndarray) -> float:
    """1 - correlation between the picture and its left-right mirror on 24 x 24 means, 0 (symmetric) to 2.

    The mirror axis may move by up to two blocks, so that off-centre is not asymmetric. Lower is better for paired
    anatomy. Scale- and offset-free. NaN for a constant picture.
    """
    means, share = block_means(grey, mask.astype(np.float32), 24)
    floor = float(means[share > 0.2].min()) if np.any(share > 0.2) else 0.0
    means = np.where(share > 0.2, means, floor)
    best = -1.0
    for move in (-2, -1, 0, 1, 2):
        rolled = np.roll(means, move, 1)
        a, b = rolled - rolled.mean(), rolled[:, ::-1] - rolled.mean()
        power = float((a * a).sum())
        if power <= 0:
            return float("nan")
        best = max(best, float((a * b).sum()) / power)
    return 1.0 - best
