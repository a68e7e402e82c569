"""Array tools shared by the statistics and the measures: blur, quantiles, edge profiles, polar sampling."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from scipy import ndimage

STRIP_PX = 2048 * 2048  # of one copy of a picture; what works by strips holds few of a larger one whole
EDGE_OFFSETS = np.arange(-6.0, 6.25, 0.5, dtype=np.float32)  # pixels along the gradient


def binomial_blur(image: np.ndarray, passes: int = 3) -> np.ndarray:
    """(H, W) smoothed by `passes` cascades of [1 2 1] / 4 on both axes; sigma = sqrt(passes / 2) pixels.

    Written as sums of shifted arrays: four times faster than a generic convolution at these sizes.
    """
    h, w = image.shape
    padded = np.pad(image, passes, mode="symmetric")
    # on one long row: what a pixel meets of the next row or beyond the end falls into the margin, which is cut
    flat, spare = padded.ravel(), padded.flatten()
    for step in (padded.shape[1], 1):
        for _ in range(2 * passes):
            np.add(flat[step:], flat[:-step], out=spare[:-step])
            flat, spare = spare, flat
    return flat.reshape(padded.shape)[:h, :w] * padded.dtype.type(1.0 / 16.0**passes)


def strips(height: int, width: int, most_px: int = STRIP_PX) -> Iterator[slice]:
    """Rows of a picture from the first to the last in strips of at most `most_px` pixels, and of one row at least."""
    rows = max(1, most_px // max(1, width))
    for first in range(0, height, rows):
        yield slice(first, min(first + rows, height))


def box_mean(image: np.ndarray, size: int) -> np.ndarray:
    """Mean of the `size` x `size` pixels about each one of (H, W): ndimage.uniform_filter to the bit, in half its time.

    That goes down columns number by number through far memory; turning the picture costs less, strip by strip in turn.
    """
    out = np.empty(image.shape, image.dtype)
    for columns in strips(image.shape[1], image.shape[0]):
        out[:, columns] = ndimage.uniform_filter1d(np.ascontiguousarray(image[:, columns].T), size).T
    ndimage.uniform_filter1d(out, size, output=out)
    return out


def halve(image: np.ndarray) -> np.ndarray:
    """(H, W) -> (H // 2, W // 2), mean of each 2 x 2 block."""
    h, w = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    a = image[:h:2] + image[1:h:2]
    return (a[:, :w:2] + a[:, 1:w:2]) * np.float32(0.25)


def block_means(image: np.ndarray, weight: np.ndarray, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Weighted means of a `blocks` x `blocks` partition: (means, share of weight), each (blocks, blocks)."""
    rows = np.linspace(0, image.shape[0], blocks + 1).astype(int)[:-1]
    cols = np.linspace(0, image.shape[1], blocks + 1).astype(int)[:-1]
    total = np.add.reduceat(np.add.reduceat(image * weight, rows, 0), cols, 1).astype(np.float64)
    mass = np.add.reduceat(np.add.reduceat(weight, rows, 0), cols, 1).astype(np.float64)
    # fewer pixels than blocks: reduceat repeats the pixel, so a block has at least one
    area = np.outer(*(np.maximum(np.diff([*at, n]), 1) for at, n in zip((rows, cols), image.shape, strict=True)))
    return total / np.maximum(mass, 1e-6), mass / area


def sampled(values: np.ndarray, limit: int = 12_000) -> np.ndarray:
    """At most about `limit` of the flat values, evenly strided: enough for percentiles."""
    flat = values.ravel()
    return flat[:: max(1, flat.size // limit)]


def quantiles(values: np.ndarray, shares: tuple[float, ...]) -> list[float]:
    """Nearest-rank quantiles of flat values; sorting float32 once is far quicker than a general quantile."""
    ordered = np.sort(np.asarray(values, np.float32), axis=None)
    return [float(ordered[round(share * (ordered.size - 1))]) for share in shares]


def picks(mask: np.ndarray, limit: int = 12_000) -> np.ndarray:
    """Flat indices of at most about `limit` True pixels of (H, W), evenly strided."""
    flat = mask.ravel()
    step = max(1, int(np.count_nonzero(flat)) // limit)
    found, skip = [], 0
    for part in strips(flat.size, 1):  # an index takes eight bytes
        here = np.flatnonzero(flat[part])
        found.append(here[skip::step] + part.start)
        skip = (skip - here.size) % step
    return np.concatenate(found)


def flat_patches(image: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels of a 5 x 5 patch of one exact value, which may lie across the mirrored border.

    Comparing neighbours finds them at a tenth of the time that extrema of every patch take.
    """
    p = np.pad(image, 2, mode="symmetric")
    column = _joined(p[1:] == p[:-1], 4, np.logical_and)  # H W+4: five pixels below each other are one
    row = _joined((p[2:-2, 1:] == p[2:-2, :-1]).T, 4, np.logical_and).T  # H W: so are the five of the middle row
    same = _joined(column.T, 5, np.logical_and).T & row
    return _box(np.pad(same, 2), 5, np.logical_or)


def all_near(mask: np.ndarray, size: int) -> np.ndarray:
    """(H, W) bool: the `size` x `size` pixels about each one, `size` odd, lie in the picture and in the mask."""
    return _box(np.pad(mask, size // 2), size, np.logical_and)


def any_near(mask: np.ndarray, size: int) -> np.ndarray:
    """(H, W) bool: one of the `size` x `size` pixels about each one, `size` odd, lies in the mask."""
    return _box(np.pad(mask, size // 2), size, np.logical_or)


def _box(padded: np.ndarray, size: int, join: np.ufunc) -> np.ndarray:
    """`join` of the `size` x `size` values from each one on: both sides lose `size` - 1."""
    return _joined(_joined(padded, size, join).T, size, join).T


def _joined(values: np.ndarray, count: int, join: np.ufunc) -> np.ndarray:
    """`join` of each row (N, ...) with the `count` - 1 after it: (N - count + 1, ...)."""
    length = 1
    while length < count:  # rows that each stand for `length` are joined with those that go on from there
        step = min(length, count - length)
        values = join(values[step:], values[:-step])
        length += step
    return values


def gradient(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Central differences (d/dy, d/dx) of (H, W), each (H, W); zero on the one-pixel border."""
    gy, gx = np.zeros_like(image), np.zeros_like(image)
    np.subtract(image[2:, 1:-1], image[:-2, 1:-1], out=gy[1:-1, 1:-1])
    np.subtract(image[1:-1, 2:], image[1:-1, :-2], out=gx[1:-1, 1:-1])
    gy *= 0.5
    gx *= 0.5
    return gy, gx


def edge_profiles(
    image: np.ndarray,
    gy: np.ndarray,
    gx: np.ndarray,
    strength: np.ndarray,
    share: float = 0.03,
    limit: int = 1200,
) -> np.ndarray:
    """Intensity along the gradient through the strongest edges: (E, len(EDGE_OFFSETS)), dark to bright.

    gy, gx: smoothed gradient (H, W); strength: its magnitude, zero where edges do not count. The `share` of
    pixels with the largest strength is kept, at least 8 pixels from the border, thinned evenly to `limit`.
    E is 0 when the image has no edge.
    """
    h, w = image.shape
    margin = 8
    if min(h, w) < 2 * margin + 2:
        return np.zeros((0, EDGE_OFFSETS.size), np.float32)
    inner = strength[margin:-margin, margin:-margin]
    picked = sampled(inner)
    cut = quantiles(picked, (1.0 - share,))[0]
    flat = np.flatnonzero(inner.ravel() > max(cut, 1e-9))
    flat = flat[:: max(1, flat.size // limit)]
    y = flat // inner.shape[1] + margin
    x = flat % inner.shape[1] + margin
    norm = strength[y, x] + np.float32(1e-12)
    uy, ux = gy[y, x] / norm, gx[y, x] / norm
    return bilinear(image, y[:, None] + uy[:, None] * EDGE_OFFSETS, x[:, None] + ux[:, None] * EDGE_OFFSETS)


def bilinear(image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Values of (H, W) at fractional positions `y`, `x` (same shape as each other); clamped at the border."""
    h, w = image.shape
    y = np.clip(y, 0, h - 1.001)
    x = np.clip(x, 0, w - 1.001)
    y0, x0 = y.astype(np.int32), x.astype(np.int32)
    fy, fx = (y - y0).astype(np.float32), (x - x0).astype(np.float32)
    flat = image.ravel()
    at = y0 * w + x0
    top = flat[at] * (1 - fx) + flat[at + 1] * fx
    low = flat[at + w] * (1 - fx) + flat[at + w + 1] * fx
    return top * (1 - fy) + low * fy


@lru_cache(maxsize=16)
def _polar_offsets(radii: int, first: int, angles: int) -> tuple[np.ndarray, np.ndarray]:
    r = np.arange(first, first + radii, dtype=np.float32)[:, None]
    t = np.linspace(0.0, 2 * np.pi, angles, endpoint=False, dtype=np.float32)[None]
    return r * np.sin(t), r * np.cos(t)


def polar(image: np.ndarray, centre: tuple[float, float], radii: int, first: int, angles: int) -> np.ndarray:
    """Nearest samples on circles about `centre` (y, x): (radii, angles); NaN outside the image.

    Radius of row i is `first` + i pixels.
    """
    dy, dx = _polar_offsets(radii, first, angles)
    y = np.rint(dy + np.float32(centre[0])).astype(np.int32)
    x = np.rint(dx + np.float32(centre[1])).astype(np.int32)
    inside = (y >= 0) & (y < image.shape[0]) & (x >= 0) & (x < image.shape[1])
    out = np.full(y.shape, np.nan, np.float32)
    out[inside] = image[y[inside], x[inside]]
    return out


def log10p(value: float, floor: float = 1e-4) -> float:
    """log10 of a non-negative number with a floor, so that nothing is ever infinite."""
    return float(np.log10(max(float(value), 0.0) + floor))


def shared_part(weights: np.ndarray) -> float:
    """Entropy of non-negative weights over its maximum, 0 (one holds all) to 1 (all equal, or none)."""
    flat = np.asarray(weights, np.float64).ravel()
    total = flat.sum()
    if total <= 0 or flat.size < 2:
        return 1.0
    p = flat[flat > 0] / total
    return float(-(p * np.log(p)).sum() / np.log(flat.size))
