"""ImageSample -> the canonical plane every score is computed on.

One intensity contract: 0 is black and 1 the robust maximum; CT passes a fixed piecewise map of HU, never the
operator's window. One geometry contract: the box around the body, resampled to a fixed area, so that padding, a
crop to the body and the matrix size of the export leave the score alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from medq_vlm.config import ViewConfig
from medq_vlm.intensity import EXTREMES, linear_quantiles
from medq_vlm.schema import ImageSample

# HU knots and their grey: air and lung share the lowest quarter, soft tissue has most of the range.
HU_KNOTS = (-1000.0, -200.0, 300.0, 1500.0, 3000.0)
GREY_KNOTS = (0.0, 0.25, 0.85, 1.0, 1.05)
FOREGROUND_STEP = 0.06  # grey difference from the border that counts as body
MAX_ASPECT = 4.0  # a longer box is not stretched further
GREY_LIMITS = (-0.5, 1.5)


@dataclass(frozen=True)
class Canonical:
    """One slice ready for the statistics and the tower."""

    plane: np.ndarray  # float32 (h, w) or (h, w, 3), 0 black to 1 robust maximum
    mask: np.ndarray  # bool (h, w), True on the body
    box: tuple[int, int, int, int]  # x0, y0, x1, y1 of the plane in native pixels
    size: tuple[int, int]  # H, W of the native slice


def grey_map(sample: ImageSample, index: int) -> np.ndarray:
    """Native slice -> float32 (H, W) or (H, W, 3) under the intensity contract.

    Zero stays black where values are not negative, so that a lifted black level (haze, low contrast) stays visible;
    eight-bit pictures keep their full range, so that under- and overexposure stay visible.
    """
    pixels = np.nan_to_num(sample.pixels[index].astype(np.float32), posinf=0.0, neginf=0.0)
    if sample.unit == "HU":
        grey = np.interp(pixels, HU_KNOTS, GREY_KNOTS).astype(np.float32)
    else:
        valid = None if sample.valid is None else sample.valid[index]
        inside = pixels if valid is None or not valid.any() else pixels[valid]
        low, high = _range(inside, sample.bits)
        grey = (pixels - low) / max(high - low, 1e-6)
        if sample.inverted:
            np.subtract(1.0, grey, out=grey)
        np.clip(grey, *GREY_LIMITS, out=grey)
    if sample.valid is not None:
        grey[~sample.valid[index]] = 0.0
    return grey


def _range(values: np.ndarray, bits: int | None) -> tuple[float, float]:
    if bits is not None and bits <= 8:
        return 0.0, float(2**bits - 1) if values.max(initial=0) > 1 else 1.0
    sub = values.reshape(-1)[:: max(1, values.size // 200_000)]
    low, high = linear_quantiles(sub, EXTREMES) if sub.size else (0.0, 1.0)
    low = min(0.0, low)
    if high <= low:
        high = float(values.max(initial=1.0))
    return low, high


def body_box(grey: np.ndarray) -> tuple[tuple[int, int, int, int], np.ndarray]:
    """Box (x0, y0, x1, y1) around what differs from the border, and the mask (H, W) of it.

    Exactly constant borders go first (padding); then the smoothed image is compared with the level of the frame.
    """
    lum = grey.mean(-1) if grey.ndim == 3 else grey
    x0, y0, x1, y1 = _trim_constant(lum)
    inner = lum[y0:y1, x0:x1]
    h, w = inner.shape
    step = max(1, int(np.sqrt(h * w) / 256))  # the box needs no more than 256 px
    small = _block_means(_block_means(inner, step).T, step).T if step > 1 else inner
    smooth = ndimage.gaussian_filter(small, 0.012 * np.sqrt(small.size))
    frame = np.concatenate([smooth[0], smooth[-1], smooth[:, 0], smooth[:, -1]])
    mask = np.abs(smooth - np.median(frame)) > FOREGROUND_STEP
    rows = np.flatnonzero(mask.mean(1) > 0.03)
    cols = np.flatnonzero(mask.mean(0) > 0.03)
    full = np.zeros(lum.shape, bool)
    if mask.mean() < 0.03 or len(rows) < 8 or len(cols) < 8:
        full[y0:y1, x0:x1] = True
        return (x0, y0, x1, y1), full
    up = np.repeat(np.repeat(mask, step, 1), step, 0)[:h, :w]
    full[y0 : y0 + up.shape[0], x0 : x0 + up.shape[1]] = up
    margin = int(0.02 * np.sqrt(h * w))
    bx0, bx1 = cols[0] * step - margin, (cols[-1] + 1) * step + margin
    by0, by1 = rows[0] * step - margin, (rows[-1] + 1) * step + margin
    return (
        x0 + max(0, bx0), y0 + max(0, by0), x0 + min(w, bx1), y0 + min(h, by1),
    ), full  # fmt: skip


def _block_means(image: np.ndarray, step: int) -> np.ndarray:
    """Means of `step` rows about every `step`-th one of (H, W), mirrored at the border: (H / step, W)."""
    padded = np.pad(image, ((step // 2, step), (0, 0)), mode="symmetric")
    rows = -(-image.shape[0] // step)
    total = padded[: rows * step : step].copy()
    for k in range(1, step):
        total += padded[k : k + rows * step : step]
    return total * np.float32(1.0 / step)


def _trim_constant(lum: np.ndarray) -> tuple[int, int, int, int]:
    h, w = lum.shape
    rows = np.flatnonzero(np.ptp(lum, axis=1) > 1e-6)
    cols = np.flatnonzero(np.ptp(lum, axis=0) > 1e-6)
    if len(rows) < 8 or len(cols) < 8:
        return 0, 0, w, h
    return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1


def canonical(sample: ImageSample, index: int, config: ViewConfig) -> Canonical:
    """The canonical plane of one slice: intensity map, body box, resampling to the fixed area."""
    grey = grey_map(sample, index)
    box, mask = body_box(grey)
    x0, y0, x1, y1 = box
    h, w = y1 - y0, x1 - x0
    aspect = float(np.clip(h / w, 1 / MAX_ASPECT, MAX_ASPECT))
    height = max(32, round(config.canonical_px * np.sqrt(aspect)))
    width = max(32, round(config.canonical_px / np.sqrt(aspect)))
    plane = resize(grey[y0:y1, x0:x1], (height, width))
    small_mask = resize(mask[y0:y1, x0:x1].astype(np.float32), (height, width)) > 0.5
    return Canonical(plane, small_mask, box, (grey.shape[0], grey.shape[1]))


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bicubic, antialiased when shrinking; float32 (H, W) or (H, W, 3) -> the same with `size`."""
    tensor = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))
    tensor = tensor.permute(2, 0, 1) if image.ndim == 3 else tensor[None]
    out = F.interpolate(tensor[None], size=size, mode="bicubic", antialias=True, align_corners=False)[0]
    out = out.clamp(*GREY_LIMITS)
    return (out.permute(1, 2, 0) if image.ndim == 3 else out[0]).contiguous().numpy()


def channels(plane: torch.Tensor) -> torch.Tensor:
    """Planes (B, 1 or 3, H, W) -> tower input (B, 5, H, W): luminance, two chroma, two compressed band-pass channels.

    The band-pass channels carry noise and fine artefacts at a gain that a network trained from nothing can see.
    """
    if plane.shape[1] == 3:
        lum = plane.mean(1, keepdim=True)
        chroma = torch.cat([plane[:, 0:1] - lum, plane[:, 2:3] - lum], 1) * 2.0
    else:
        lum = plane
        chroma = torch.zeros_like(lum).repeat(1, 2, 1, 1)
    smooth = _binomial(lum, 1)
    smoother = _binomial(smooth, 2)
    fine, middle = lum - smooth, smooth - smoother
    bands = _asinh(torch.cat([fine, middle], 1) / 0.01) / 3.0
    return torch.cat([lum * 2.0 - 1.0, chroma, bands], 1)


def _asinh(x: torch.Tensor) -> torch.Tensor:
    """torch.asinh to the last bits, at a third of its time: that goes number by number, log1p by vectors."""
    size = x.abs()
    square = size * size
    return torch.log1p(size + square / (1.0 + (1.0 + square).sqrt())).copysign(x)


def _binomial(x: torch.Tensor, step: int) -> torch.Tensor:
    """Separable (1, 4, 6, 4, 1) / 16, `step` pixels between taps; by shifts: one-channel convolutions are slow."""
    x = F.pad(x, (2 * step,) * 4, mode="reflect")
    for dim in (2, 3):
        n = x.shape[dim] - 4 * step
        a, b, c, d, e = (x.narrow(dim, k * step, n) for k in range(5))
        x = (a + e).add_(b + d, alpha=4.0).add_(c, alpha=6.0).mul_(1.0 / 16.0)
    return x


def tile_origins(h: int, w: int, config: ViewConfig) -> list[tuple[int, int]]:
    """Top-left corners (y, x) of overlapping tiles that cover a plane of (h, w); the last ones end at the border."""
    return [
        (y, x)
        for y in _starts(h, config.tile_px, config.stride_px)
        for x in _starts(w, config.tile_px, config.stride_px)
    ]


def _starts(length: int, tile: int, stride: int) -> list[int]:
    if length <= tile:
        return [0]
    count = int(np.ceil((length - tile) / stride)) + 1
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]
