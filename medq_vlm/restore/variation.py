"""A second opinion against noise on radiographs: total variation, and the mean of it and of the network.

The network looks a few pixels round and keeps what it knows as detail; total variation knows nothing but averages as
far as the image is flat (Rudin, Osher & Fatemi, Physica D 60, 1992). They err differently, so the mean of the two errs
less than either (Perrone & Cooper, 1993). All that is asked of the noise is read from what the network took away.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import ndimage

from medq_vlm.restore.guidance import Guidance

MODALITY, KIND = "xray", "noise"  # mottle is smooth already: there the mean loses
SHARE = 0.5
WEAK, PLAIN = 0.04, 0.08  # SD of the noise in the network's range of 4: no share, full share; a clean image has no more
FARTHEST_SD = 3.0  # what the network moved farther is an impulse, not the tail of its noise: it stays moved
GRAIN = 4.0  # correlated noise looks like detail to total variation: up to so much stronger against it
ITERATIONS = 30
ROWS, MARGIN_PX = 1024, 2 * ITERATIONS  # strips, for memory; no iteration looks farther than two pixels


def second_opinion(guidance: Guidance) -> bool:
    """Whether noise on a radiograph is all that is treated."""
    return guidance.modality == MODALITY and guidance.treated == (KIND,)


def mean_change(plane: np.ndarray, change: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Change (H, W) of `plane` by the network -> the mean of it and of the change by total variation.

    valid: (H, W), True where there is an image. Where the network found little noise, it alone is right.
    """
    inside = np.ones(plane.shape, bool) if valid is None or not valid.any() else valid
    middle = np.median(change[inside])
    sd = 1.4826 * float(np.median(np.abs(change[inside] - middle)))  # robust: edges and impulses are rare
    share = SHARE * float(np.clip((sd - WEAK) / (PLAIN - WEAK), 0, 1))
    if share == 0:
        return change
    noise = np.clip(-change, -FARTHEST_SD * sd, FARTHEST_SD * sd)
    weight = sd * (1 + GRAIN * (1 - fineness(noise, inside)))
    flat = smoothed(plane + change + noise, weight)
    return np.asarray(change + share * (flat - plane - change), np.float32)


def fineness(noise: np.ndarray, inside: np.ndarray) -> float:
    """1 for white noise, towards 0 the more neighbours agree: the SD by second differences over the SD.

    Source: Immerkaer, Computer Vision and Image Understanding 64(2), 1996.
    """
    response = noise
    for axis in (0, 1):
        response = ndimage.convolve1d(response, (1.0, -2.0, 1.0), axis)
    fine = math.sqrt(math.pi / 2) / 6 * float(np.abs(response[inside]).mean())
    return min(1.0, fine / max(float(noise[inside].std()), 1e-9))


def smoothed(plane: np.ndarray, weight: float, iterations: int = ITERATIONS) -> np.ndarray:
    """(H, W) with a smaller total variation: argmin |x - plane|^2 / 2 + weight TV(x), strip by strip."""
    out = np.empty(plane.shape, np.float32)
    for y in range(0, len(plane), ROWS):
        top = max(0, y - MARGIN_PX)
        strip = torch.from_numpy(np.ascontiguousarray(plane[top : y + ROWS + MARGIN_PX], np.float32))
        out[y : y + ROWS] = _projected(strip, weight, iterations).numpy()[y - top : y - top + ROWS]
    return out


def _projected(image: torch.Tensor, weight: float, iterations: int) -> torch.Tensor:
    """Fast gradient projection on the dual (Beck & Teboulle, IEEE Trans. Image Process. 18:11, 2009)."""
    height, width = image.shape
    rows, columns = image.new_zeros(height + 1, width), image.new_zeros(height, width + 1)  # the dual, zero outside
    ahead_rows, ahead_columns = rows.clone(), columns.clone()
    length, momentum = torch.empty_like(image), 1.0
    for _ in range(iterations):
        now = image + weight * _divergence(ahead_rows, ahead_columns)
        down = ahead_rows[1:-1] + (now[1:] - now[:-1]) / (8 * weight)
        right = ahead_columns[:, 1:-1] + (now[:, 1:] - now[:, :-1]) / (8 * weight)
        length.zero_()
        length[:-1] += down.square()
        length[:, :-1] += right.square()
        length.sqrt_().clamp_(min=1)
        down /= length[:-1]
        right /= length[:, :-1]
        before, momentum = momentum, (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        go_on = (before - 1) / momentum
        ahead_rows[1:-1] = down + go_on * (down - rows[1:-1])
        ahead_columns[:, 1:-1] = right + go_on * (right - columns[:, 1:-1])
        rows[1:-1], columns[:, 1:-1] = down, right
    return image + weight * _divergence(rows, columns)


def _divergence(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    return rows[1:] - rows[:-1] + columns[:, 1:] - columns[:, :-1]
