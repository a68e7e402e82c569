"""Edge width, its dependence on direction, and overshoot beside edges. Lower is better for all."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from medq_vlm.evidence.filters import bilinear, binomial_blur, gradient, halve, quantiles, strips

RISE = 2.5631  # 10-90 % rise of a Gaussian edge in units of its sigma
FINE, COARSE = 2, 6  # binomial passes of the two scales: variances 1 and 3 pixels squared
MARGIN = 10
PIXEL_SIGMA = 0.3  # SD of a pixel's own width, 1 / sqrt(12): no edge of an image is sharper


class Edges(NamedTuple):
    """Strong edges: blur sigma in pixels, unit gradient direction (y, x), position (y, x); all (E,)."""

    sigma_px: np.ndarray
    ny: np.ndarray
    nx: np.ndarray
    y: np.ndarray
    x: np.ndarray


NO_EDGES = Edges(*(np.zeros(0, np.float32) for _ in Edges._fields))


def strong_edges(grey: np.ndarray, mask: np.ndarray) -> Edges:
    """Blur of the strongest edges of (H, W) inside `mask`, from the gradient at two scales.

    A step blurred by sigma has at its crest a gradient ~ 1 / sqrt(sigma^2 + a^2) after a further blur a, so with
    R = g_a / g_b:  sigma^2 = (b^2 - R^2 a^2) / (R^2 - 1)   (Zhuo and Sim, Pattern Recognition 2011).
    Wide blurs are measured on a halved image, where the two scales can tell them apart.
    """
    # a power of two changes no digit; the squares of far larger values would overflow
    scale = 0.5 ** int(np.frexp(float(max(grey.max(), -grey.min())))[1])
    found = _edges_at(grey, mask, scale)
    extra = 0.0
    for level in (1, 2, 3):
        if found.sigma_px.size < 20 or np.median(found.sigma_px) < 2.2 * 2 ** (level - 1) or min(grey.shape) < 96:
            break
        grey, mask, scale = halve(grey * np.float32(scale)), halve(mask.astype(np.float32)) > 0.99, 1.0
        extra += 0.25 * 4.0 ** (level - 1)  # variance of a two-pixel mean
        wide = _edges_at(grey, mask, scale)
        if wide.sigma_px.size < 20:
            break
        px = 2.0**level
        sigma = np.sqrt(np.maximum((wide.sigma_px * px) ** 2 - extra, 0.0))
        found = Edges(sigma, wide.ny, wide.nx, wide.y * px, wide.x * px)
    return found


def _edges_at(grey: np.ndarray, mask: np.ndarray, scale: float) -> Edges:
    """Edges of `scale` times the picture, found by strips: their height changes no edge."""
    h, w = grey.shape
    if min(h, w) < 2 * MARGIN + 4:
        return NO_EDGES
    slopes = lru_cache(maxsize=1)(partial(_slopes, grey, np.float32(scale)))  # a picture of one strip is filtered once
    parts = [(MARGIN + rows.start, MARGIN + rows.stop) for rows in strips(h - 2 * MARGIN, w)]
    cut = quantiles(np.concatenate([_sample(slopes(*rows), mask, rows) for rows in parts]), (0.9,))[0]
    least = max(cut, 1e-9 * (scale * float(max(grey.max(), -grey.min())) + 1e-30))
    found = [_crests(slopes(*rows), mask, least) for rows in parts]
    crest, y, x, ny, nx = (np.concatenate(each) for each in zip(*found, strict=True))
    if crest.size < 20:
        return NO_EDGES
    strong = np.flatnonzero(crest >= 0.4 * quantiles(crest, (0.98,))[0])
    strong = strong[:: max(1, strong.size // 3000)]
    y, x, ny, nx = y[strong], x[strong], ny[strong], nx[strong]
    ends = np.searchsorted(y, [last for _, last in parts])
    split = zip(parts, *(np.split(each, ends[:-1]) for each in (y, x, ny, nx)), strict=True)
    ratio2 = np.concatenate([_ratio(slopes(*rows), *edges) for rows, *edges in split if edges[0].size]) ** 2
    # the central difference is itself a two-pixel box: a third of a squared pixel along each axis
    box = (ny**4 + nx**4) / 3.0
    a2, b2 = 0.5 * FINE + box, 0.5 * COARSE + box
    ratio2 = np.clip(ratio2, 1.0 + 1e-3, b2 / a2)
    sigma = np.sqrt(np.maximum((b2 - ratio2 * a2) / (ratio2 - 1.0), PIXEL_SIGMA**2))
    return Edges(sigma, ny, nx, y.astype(np.float32), x.astype(np.float32))


class _Slopes(NamedTuple):
    """Gradient of a strip and the MARGIN rows above and below it, (R, W) each."""

    top: int  # row of the picture that is the first here
    fine: np.ndarray  # its length after FINE passes
    coarse: np.ndarray  # after COARSE ones
    cy: np.ndarray  # d/dy after COARSE ones
    cx: np.ndarray


def _slopes(grey: np.ndarray, scale: np.float32, first: int, last: int) -> _Slopes:
    """Slopes of `scale` times the rows `first` to `last`, at least MARGIN from the border: the filters reach 8 rows."""
    top = first - MARGIN
    blurred = binomial_blur(grey[top : last + MARGIN] * scale, FINE)
    fine = _slope(blurred)[0]
    return _Slopes(top, fine, *_slope(binomial_blur(blurred, COARSE - FINE)))


def _slope(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Length, d/dy and d/dx of the gradient, (H, W) each."""
    gy, gx = gradient(image)
    square = gy * gy
    square += gx * gx
    return np.sqrt(square, out=square), gy, gx  # np.hypot takes four times as long


def _sample(slopes: _Slopes, mask: np.ndarray, rows: tuple[int, int]) -> np.ndarray:
    """Length of the coarse gradient of every second pixel of every second row, 0 outside the mask; flat."""
    start = rows[0] + (rows[0] - MARGIN) % 2
    counts = mask[start : rows[1] : 2, MARGIN:-MARGIN:2]
    return (slopes.coarse[start - slopes.top : -MARGIN : 2, MARGIN:-MARGIN:2] * counts).ravel()


def _crests(slopes: _Slopes, mask: np.ndarray, least: float) -> tuple[np.ndarray, ...]:
    """Length, y, x and unit direction (y, x) of the gradient where it is highest across an edge of the strip."""
    rows, w = slopes.coarse.shape
    height, body = slopes.coarse.ravel(), mask[slopes.top : slopes.top + rows].ravel()
    inner, counts = (each.reshape(rows, w)[MARGIN:-MARGIN, MARGIN:-MARGIN] for each in (height, body))
    flat = np.flatnonzero((inner > least) & counts)
    y, x = flat // inner.shape[1] + MARGIN, flat % inner.shape[1] + MARGIN
    at = y * w + x
    crest = height[at]
    ny, nx = slopes.cy.ravel()[at] / crest, slopes.cx.ravel()[at] / crest
    step = np.rint(ny).astype(int) * w + np.rint(nx).astype(int)  # to the next pixel across the edge
    keep = (crest >= height[at + step]) & (crest >= height[at - step]) & body[at + 3 * step] & body[at - 3 * step]
    return crest[keep], y[keep] + slopes.top, x[keep], ny[keep], nx[keep]


def _ratio(slopes: _Slopes, y: np.ndarray, x: np.ndarray, ny: np.ndarray, nx: np.ndarray) -> np.ndarray:
    """Fine over coarse crest of edges of the strip."""
    fine, coarse = (_crest(size, slopes.top, y, x, ny, nx) for size in (slopes.fine, slopes.coarse))
    return fine / coarse


def _crest(size: np.ndarray, top: int, y: np.ndarray, x: np.ndarray, ny: np.ndarray, nx: np.ndarray) -> np.ndarray:
    """Height of the gradient crest between pixels: a Gaussian through three samples across the edge."""
    logs = [np.log(bilinear(size, y + k * ny - top, x + k * nx) + np.float32(1e-30)) for k in (-1.0, 0.0, 1.0)]
    bend = logs[0] - 2 * logs[1] + logs[2]
    shift = np.where(bend < -1e-6, (logs[0] - logs[2]) / np.minimum(2 * bend, -1e-6), 0.0)
    shift = np.clip(shift, -1.0, 1.0)
    return np.exp(logs[1] - 0.25 * (logs[0] - logs[2]) * shift)


def edge_width(edges: Edges, spacing: tuple[float, float] = (1.0, 1.0)) -> float:
    """Median 10-90 % rise of the strong edges: 2.563 sigma, in mm when `spacing` (row, column) is, else in pixels.

    NaN with fewer than 20 edges.
    """
    if edges.sigma_px.size < 20:
        return float("nan")
    # across an edge of pixel normal n one pixel measures 1 / |n / spacing|
    step = 1.0 / np.hypot(edges.ny / spacing[0], edges.nx / spacing[1])
    return RISE * float(np.median(edges.sigma_px * step))


def blur_anisotropy(edges: Edges) -> float:
    """Blur sigma in the most over that in the least blurred direction, 1 for none; four directions of the normal.

    Motion blurs the edges that it crosses and spares those that it runs along. NaN when two directions lack edges.
    """
    turn = np.arctan2(edges.ny, edges.nx) % np.pi
    sector = np.rint(turn / (np.pi / 4)).astype(int) % 4
    medians = [float(np.median(edges.sigma_px[sector == k])) for k in range(4) if np.sum(sector == k) >= 20]
    if len(medians) < 2:
        return float("nan")
    return (max(medians) + 0.3) / (min(medians) + 0.3)  # below a third of a pixel directions mean nothing


def edge_overshoot(grey: np.ndarray, edges: Edges) -> float:
    """Overshoot beside strong edges over the step height, the mean of both sides; 0.09 for a truncated spectrum.

    Read from the mean profile across all strong edges at 1 to 6 pixels, against the plateau at 7 to 12
    (Gibbs 1899; Wilbraham 1848 for 8.95 %). Unsharp masking raises it too. NaN with fewer than 20 edges.
    """
    if edges.sigma_px.size < 20:
        return float("nan")
    thin = slice(None, None, max(1, edges.y.size // 1000))
    y, x, ny, nx = (v[thin, None] for v in (edges.y, edges.x, edges.ny, edges.nx))
    offsets = np.arange(-12.0, 12.5, 0.5, dtype=np.float32)
    # linear interpolation would flatten the overshoot, and half a pixel of misalignment smear it
    smooth = ndimage.spline_filter(grey, 3, output=np.float32)
    seen = np.r_[:11, 23:26, 38:49]  # the two plateaus and the middle
    rough = bilinear(grey, y + ny * offsets[seen], x + nx * offsets[seen])
    middle = 0.5 * (rough[:, :11].mean(1) + rough[:, -11:].mean(1))
    slope = rough[:, 13] - rough[:, 11]  # over one pixel
    late = np.clip((middle - rough[:, 12]) / np.where(np.abs(slope) > 0, slope, 1.0), -1.0, 1.0)[:, None]
    place = np.stack([y + ny * (offsets + late), x + nx * (offsets + late)])
    profiles = ndimage.map_coordinates(smooth, place, order=3, prefilter=False, mode="nearest", output=np.float32)
    low, high = profiles[:, :11].mean(1), profiles[:, -11:].mean(1)
    step = high - low
    use = step > 0.5 * np.median(step)
    if int(use.sum()) < 20 or not np.median(step) > 0:
        return float("nan")
    mean = np.median((profiles[use] - low[use, None]) / step[use, None], axis=0)
    above = mean[26:37].max() - 1.0
    below = -mean[12:23].min()
    return float(max(0.0, 0.5 * (above + below)))
