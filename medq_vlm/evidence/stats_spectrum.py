"""Spectrum statistics: radial bands, slope, cut-off, direction, spikes; from one windowed real FFT.

By the projection-slice theorem streaks at one angle are a fan at one angle of the spectrum, and a missing
acquisition wedge is a dark one: the angular profile serves limited angle, sparse views and
undersampling alike.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import fft

from medq_vlm.evidence.filters import STRIP_PX, log10p, shared_part, strips

BANDS = 9
ANGLES = 36
RINGS = 48
KEPT_PX = STRIP_PX  # the maps of a larger image take too much memory to keep: 15 bytes a pixel


class _Maps(NamedTuple):
    band: np.ndarray  # (H * (W // 2 + 1),) log band, BANDS = outside
    ring: np.ndarray  # linear radius bin, RINGS = corner
    angle: np.ndarray  # direction bin, ANGLES = outside the mid to high disc
    band_count: np.ndarray  # (BANDS,) points of each bin
    ring_count: np.ndarray  # (RINGS + 1,)
    angle_count: np.ndarray  # (ANGLES,)
    row_high: np.ndarray  # |fy| > 0.375
    col_high: np.ndarray  # |fx| > 0.375
    core: np.ndarray  # both below
    axis_row: np.ndarray  # on the fx axis: structure that repeats along x
    axis_col: np.ndarray


@lru_cache(maxsize=24)
def _kept_maps(h: int, w: int) -> _Maps:
    return _maps(h, w)


def _maps(h: int, w: int) -> _Maps:
    index = np.intp if h * w <= KEPT_PX else np.uint8  # what counts fastest, or an eighth of the memory
    parts = zip(*(_rows(h, w, rows, index) for rows in strips(h, w)), strict=True)
    band, ring, angle, *places = (np.concatenate(part) for part in parts)
    band, ring, angle = band.ravel(), ring.ravel(), angle.ravel()
    return _Maps(
        band, ring, angle,
        _totals(band, BANDS + 1)[:BANDS], _totals(ring, RINGS + 1), _totals(angle, ANGLES + 1)[:ANGLES],
        *places,
    )  # fmt: skip


def _rows(h: int, w: int, rows: slice, index: type) -> tuple[np.ndarray, ...]:
    """The maps of (H, W) on some of the rows: band, ring and angle as `index`, and the five places."""
    fy = np.fft.fftfreq(h)[rows, None]
    fx = np.fft.rfftfreq(w)[None]
    radius = np.hypot(fy, fx)
    edges = np.geomspace(1 / 128, 0.5, BANDS + 1)
    band = np.searchsorted(edges, radius, side="right") - 1
    band[(band < 0) | (band >= BANDS)] = BANDS
    band = band.astype(index, copy=False)
    ring = np.minimum((radius * 2 * RINGS).astype(index), RINGS)
    turn = np.arctan2(fy, np.maximum(fx, 1e-9))  # -pi/2 to pi/2
    angle = np.minimum(((turn + np.pi / 2) / np.pi * ANGLES).astype(index), ANGLES - 1)
    # the two axes carry the frame of the picture and the outline of text: they are counted apart
    on_axis = (np.abs(fy) * h < 1.5) | (np.abs(fx) * w < 1.5)
    angle[(radius < 0.08) | (radius >= 0.5) | on_axis] = ANGLES
    high = (radius > 0.06) & (radius < 0.5)
    row_high = (np.abs(fy) > 0.375) & (np.abs(fx) < 0.25) & (np.abs(fx) * w > 1.5)
    col_high = (np.abs(fx) > 0.375) & (np.abs(fy) < 0.25) & (np.abs(fy) * h > 1.5)
    core = (radius > 0.25) & (np.abs(fy) < 0.375) & (np.abs(fx) < 0.375)
    axis_row = np.broadcast_to(np.abs(fy) * h < 1.5, radius.shape) & high
    axis_col = np.broadcast_to(np.abs(fx) * w < 1.5, radius.shape) & high
    return band, ring, angle, row_high, col_high, core, axis_row, axis_col


def _totals(index: np.ndarray, bins: int, weights: np.ndarray | None = None) -> np.ndarray:
    """np.bincount by blocks: it makes eight bytes of every index, and eight of every weight."""
    return np.sum(
        [np.bincount(index[b], None if weights is None else weights[b], bins) for b in strips(index.size, 1)], axis=0
    )


class Spectrum(NamedTuple):
    """Windowed power spectrum of (H, W), and the same with each ring of equal frequency brought to mean 1."""

    maps: _Maps
    power: np.ndarray  # (H, W // 2 + 1)
    ring_mean: np.ndarray  # (RINGS + 1,), linear radius; the last is the corner
    white: np.ndarray  # power over its ring's mean, flat
    fan: np.ndarray  # (ANGLES,) mean of `white` by direction, -90 to 90 degrees, the axes left out


def analyse(image: np.ndarray) -> Spectrum:
    """Spectrum of (H, W) float32 of range about 1; invariant to an offset."""
    return by_rings(power_of(image), image.shape[1])


def power_of(image: np.ndarray) -> np.ndarray:
    """Windowed power (h, w // 2 + 1) of (H, W) float32 of range about 1; h and w: H and W down to a multiple of 8."""
    h, w = image.shape[0] // 8 * 8, image.shape[1] // 8 * 8
    image = image[:h, :w]
    mean = np.float32(image.mean())
    down, across = (np.hanning(n + 2)[1:-1] for n in (h, w))
    field = np.empty((h, w // 2 + 1), np.complex64)
    for rows in strips(h, w):
        field[rows] = fft.rfft((image[rows] - mean) * np.outer(down[rows], across).astype(np.float32))
    field = fft.fft(field, axis=0, overwrite_x=True)
    power = np.empty(field.shape, np.float32)
    for rows in strips(h, w):
        power[rows] = field[rows].real ** 2 + field[rows].imag ** 2
    power *= np.float32(1.0 / (h * w))
    power += np.float32(1e-10)  # of the squared range: below every image, above float rounding
    return power


def by_rings(power: np.ndarray, width: int) -> Spectrum:
    """Spectrum of the `power_of` an image `width` pixels wide."""
    h, w = power.shape[0], width // 8 * 8
    maps = (_kept_maps if h * w <= KEPT_PX else _maps)(h, w)
    flat = power.ravel()
    filled = np.flatnonzero(maps.ring_count)  # small images leave rings empty
    ring_mean = _totals(maps.ring, RINGS + 1, flat)[filled] / maps.ring_count[filled]
    ring_mean = np.interp(np.arange(RINGS + 1), filled, ring_mean)
    white = np.empty(flat.size)
    for block in strips(flat.size, 1):
        np.divide(flat[block], ring_mean[maps.ring[block]], out=white[block])
    fan = _totals(maps.angle, ANGLES + 1, white)[:ANGLES] / np.maximum(maps.angle_count, 1)
    return Spectrum(maps, power, ring_mean, white, fan)


def spectrum(image: np.ndarray) -> dict[str, float]:
    """Features of the power spectrum of (H, W) float32; invariant to an offset."""
    maps, power, ring_mean, white, fan = analyse(image)
    flat = power.ravel()
    out: dict[str, float] = {}

    total = np.bincount(maps.band, flat, BANDS + 1)[:BANDS]
    count = maps.band_count
    known = count > 0
    level = np.full(BANDS, np.log10(total.sum() / max(count.sum(), 1) + 1e-10))
    level[known] = np.log10(total[known] / count[known])
    out |= {f"band{k}": float(level[k] - level[2:6].mean()) for k in range(BANDS)}
    out["band_level"] = float(level[2:6].mean())
    steps = np.arange(BANDS)[2:]
    slope, start = np.polyfit(steps, level[2:], 1)
    out["spectrum_slope"] = float(slope)
    out["spectrum_bend"] = float(np.polyfit(steps, level[2:], 2)[0])
    out["spectrum_misfit"] = float(np.std(level[2:] - slope * steps - start))

    profile = np.log10(ring_mean[:RINGS])
    drop = profile[4:-4] - profile[8:]  # fall over four rings: the wall of a zero-filled or resampled image
    out["cutoff_wall"] = float(drop[8:].max())
    floor = profile[-6:].min()
    out["cutoff_place"] = float(np.mean(profile[6:] > floor + 0.3))
    out["corner_level"] = float(np.log10(ring_mean[RINGS]) - profile[-8:].mean())
    cumulative = np.cumsum(ring_mean[3:RINGS] * maps.ring_count[3:RINGS])
    out["spectrum_half"] = float(np.searchsorted(cumulative, 0.5 * cumulative[-1]) / RINGS)
    out["spectrum_p95"] = float(np.searchsorted(cumulative, 0.95 * cumulative[-1]) / RINGS)

    out["fan_entropy"] = 10.0 * (1.0 - shared_part(fan))
    out["fan_peak"] = log10p(float(fan.max()) / max(float(np.median(fan)), 1e-6), 1e-2)
    wide = np.convolve(np.concatenate([fan, fan[:8]]), np.ones(8) / 8, "valid")
    out["fan_gap"] = log10p(float(wide.min()) / max(float(np.median(wide)), 1e-6), 1e-2)
    jag = np.abs(np.diff(np.log10(fan + 1e-6), 2))
    out["fan_jag"] = float(np.median(jag))
    out["fan_axis"] = log10p(float(fan[[0, 1, -2, -1]].mean() / max(float(fan.mean()), 1e-6)), 1e-2)
    out["fan_across"] = log10p(float(fan[[16, 17, 18, 19]].mean() / max(float(fan.mean()), 1e-6)), 1e-2)

    whitened = white.reshape(power.shape)
    mid = white[maps.angle < ANGLES]
    top = float(mid.max()) if mid.size else 0.0
    out["spike_peak"] = log10p(top, 1.0)
    out["spike_share"] = log10p(float(np.mean(mid > 12.0)) if mid.size else 0.0, 1e-5)  # e^-12 for a random field
    for name, place in (("x", maps.axis_row), ("y", maps.axis_col)):
        line = whitened[place]
        out[f"axis_{name}"] = log10p(float(line.mean()), 1e-2)
        out[f"axis_{name}_peak"] = log10p(float(line.max()) / max(float(np.median(line)), 1e-6), 1.0)
    core = float(power[maps.core].mean())
    rows, cols = float(power[maps.row_high].mean()), float(power[maps.col_high].mean())
    out["outer_rows"] = log10p(rows / core, 1e-4)
    out["outer_cols"] = log10p(cols / core, 1e-4)
    return out
