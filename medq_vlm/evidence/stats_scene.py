"""Natural-scene statistics: normalised intensities, wavelet details, gradients, noise, edges.

Sources: Mittal et al., "No-reference image quality assessment in the spatial domain", IEEE TIP 2012 (MSCN and
products); Lasmar et al., ICIP 2009 (asymmetric fit); Immerkaer, CVIU 1996 (noise); Donoho 1995 (MAD of the
finest diagonal wavelet); Crete et al., SPIE 2007 (re-blur).
"""

from __future__ import annotations

from functools import cache
from math import lgamma

import numpy as np

from medq_vlm.evidence.filters import (
    EDGE_OFFSETS,
    binomial_blur,
    block_means,
    edge_profiles,
    gradient,
    halve,
    log10p,
    picks,
    quantiles,
    sampled,
    shared_part,
)

MSCN_FLOOR = 1.0 / 255.0  # of the intensity range: one grey level, as in the paper


@cache
def _shape_table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """alpha, r(alpha) = G(2/a)^2 / (G(1/a) G(3/a)) (increasing), and G(2/a) / sqrt(G(1/a) G(3/a))."""
    alpha = np.geomspace(0.2, 10.0, 400)
    g1, g2, g3 = (np.array([lgamma(k / a) for a in alpha]) for k in (1, 2, 3))
    return alpha, np.exp(2 * g2 - g1 - g3), np.exp(g2 - 0.5 * (g1 + g3))


def generalised_gaussian(mean_abs: float, mean_square: float) -> float:
    """Shape alpha of a zero-mean generalised Gaussian by moments (2 = Gaussian, 1 = Laplace), 0.2 to 10."""
    alpha, ratio, _ = _shape_table()
    return float(np.interp(mean_abs**2 / max(mean_square, 1e-12), ratio, alpha))


def asymmetric_gaussian(values: np.ndarray, count: int) -> tuple[float, float, float, float]:
    """Shape, mean, left and right SD of an asymmetric generalised Gaussian fitted by moments (Lasmar et al.).

    `values` may hold zeros for left-out pixels; `count` is the number that count.
    """
    flat = values.ravel()
    low = np.minimum(flat, 0)
    square = float(flat @ flat)
    square_low = float(low @ low)
    n_low = int(np.count_nonzero(flat < 0))  # numbers are counted twenty times slower than truth values
    n_high = max(count - n_low, 1)
    left = (square_low / max(n_low, 1)) ** 0.5
    right = (max(square - square_low, 0.0) / n_high) ** 0.5
    mean_abs = (float(flat.sum()) - 2.0 * float(low.sum())) / count
    ratio = mean_abs**2 / max(square / count, 1e-12)
    g = left / max(right, 1e-6)
    alpha, table, scale = _shape_table()
    shape = float(np.interp(ratio * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2, table, alpha))
    mean = (right - left) * float(np.interp(shape, alpha, scale))
    return shape, mean, left, right


def mscn(image: np.ndarray, mu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean-subtracted contrast-normalised (H, W) and the local SD (H, W); `mu` is the blurred image."""
    sd = binomial_blur(image * image)
    sd -= mu * mu
    np.sqrt(np.maximum(sd, 0, out=sd), out=sd)
    out = image - mu
    out /= sd + np.float32(MSCN_FLOOR)
    return out, sd


def scene(image: np.ndarray, mu: np.ndarray, mask: np.ndarray, at: np.ndarray) -> dict[str, float]:
    """MSCN fits at three scales and the distribution of the local SD.

    image, mu (H, W) float32; mask (H, W) bool; `at`: flat indices of sampled body pixels.
    """
    out: dict[str, float] = {}
    weight = mask
    for level in range(3):
        if level:
            image = halve(image)
            weight = halve(weight.astype(np.float32)) > 0.5
            mu = binomial_blur(image)
        count = max(int(np.count_nonzero(weight)), 1)
        norm, sd = mscn(image, mu)
        norm *= weight
        flat = norm.ravel()
        square = float(flat @ flat) / count
        out[f"mscn{level}_shape"] = np.log2(generalised_gaussian(float(np.abs(flat).sum()) / count, square))
        out[f"mscn{level}_sd"] = square**0.5
        cube = float((flat * flat) @ flat) / count
        out[f"mscn{level}_skew"] = cube / max(square, 1e-4) ** 1.5
        pairs = {"h": (norm[:, 1:], norm[:, :-1]), "v": (norm[1:], norm[:-1])}
        if level < 2:
            pairs |= {"d": (norm[1:, 1:], norm[:-1, :-1]), "e": (norm[1:, :-1], norm[:-1, 1:])}
        fits = {name: asymmetric_gaussian(a * b, count) for name, (a, b) in pairs.items()}
        if level < 2:  # the two diagonals are one: a picture and its mirror image have the same quality
            one, other = fits["d"], fits.pop("e")
            fits["d"] = (
                (one[0] + other[0]) / 2,
                (one[1] + other[1]) / 2,
                (one[2] + other[2]) / 2,
                (one[3] + other[3]) / 2,
            )
        for name, (shape, mean, left, right) in fits.items():
            out[f"mscn{level}_{name}_mean"] = mean
            if level < 2:
                out[f"mscn{level}_{name}_shape"] = np.log2(shape)
                out[f"mscn{level}_{name}_left"] = left
                out[f"mscn{level}_{name}_right"] = right
        if level == 0:
            local = sd.ravel()[at]
            p05, p25, p50, p75, p95 = quantiles(local, (0.05, 0.25, 0.5, 0.75, 0.95))
            out |= {
                f"local_sd_p{n}": log10p(v, 1e-3)
                for n, v in zip((5, 25, 50, 75, 95), (p05, p25, p50, p75, p95), strict=True)
            }
            out["local_sd_flat_share"] = float(np.mean(local < MSCN_FLOOR))
    return out


def wavelet(image: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Haar details at four levels: log mean magnitude, sparsity, and the MAD noise estimate."""
    out: dict[str, float] = {}
    low, weight = image, mask.astype(np.float32)
    for level in range(4):
        h, w = low.shape[0] // 2 * 2, low.shape[1] // 2 * 2
        top, bottom = low[:h:2, :w], low[1:h:2, :w]
        s, d = top + bottom, top - bottom
        weight = halve(weight)
        inside = weight > 0.75
        count = max(int(np.count_nonzero(inside)), 1)
        bands = {"v": d[:, ::2] + d[:, 1::2], "h": s[:, ::2] - s[:, 1::2], "d": d[:, ::2] - d[:, 1::2]}
        for name, band in bands.items():
            flat = (band * (inside * np.float32(0.5))).ravel()
            mean_abs = float(np.abs(flat).sum()) / count
            square = float(flat @ flat) / count
            out[f"haar{level}_{name}"] = log10p(mean_abs, 1e-4)
            if level < 3:
                out[f"haar{level}_{name}_sparse"] = mean_abs / max(square, 1e-10) ** 0.5
            if name == "d" and level < 3:
                mad = quantiles(np.abs(flat[picks(inside)]), (0.5,))[0] if count > 1 else 0.0
                out[f"haar{level}_mad"] = log10p(mad / 0.6745, 1e-4)
        low = (s[:, ::2] + s[:, 1::2]) * np.float32(0.25)
    return out


def noise(image: np.ndarray, mu: np.ndarray, mask: np.ndarray, slope: np.ndarray) -> dict[str, float]:
    """Noise level, where it sits and how it is coloured. `slope` (H, W): gradient magnitude of `mu`."""
    r = image[2:] + image[:-2]
    r -= 2 * image[1:-1]
    r = r[:, 2:] + r[:, :-2] - 2 * r[:, 1:-1]  # Immerkaer mask; SD of the result is 6 sigma for white noise
    r *= np.float32(1 / 6)
    inside = mask[1:-1, 1:-1]
    count = max(int(np.count_nonzero(inside)), 1)
    r *= inside
    size = np.abs(r)
    out = {"noise_immerkaer": log10p(1.2533 * float(size.sum()) / count)}
    at = picks(inside, 20_000)
    if at.size < 64:
        at = np.arange(r.size)
    values, level, edge = size.ravel()[at], mu[1:-1, 1:-1].ravel()[at], slope[1:-1, 1:-1].ravel()[at]
    flat = edge <= quantiles(edge, (0.4,))[0]
    values, level = values[flat], level[flat]
    p10, p50, p90, p99 = quantiles(values, (0.1, 0.5, 0.9, 0.99))
    out["noise_flat"] = log10p(p50 / 0.6745)
    out["noise_flat_tail"] = log10p(p90, 1e-3) - log10p(p50, 1e-3)
    out["noise_flat_spike"] = log10p(p99, 1e-3) - log10p(p90, 1e-3)
    out["noise_flat_floor"] = log10p(p10, 1e-3) - log10p(p50, 1e-3)
    thirds = quantiles(level, (0.25, 0.5, 0.75))
    part = np.searchsorted(thirds, level, side="right")
    local = [float(values[part == k].mean()) if np.any(part == k) else p50 for k in range(4)]
    out["noise_dark"] = log10p(local[0])
    out["noise_bright"] = log10p(local[3])
    out["noise_signal_slope"] = log10p(local[3]) - log10p(local[0])
    power = max(float(np.vdot(r, r)), 1e-12)
    out["noise_lag_h"] = float(np.vdot(r[:, 1:], r[:, :-1])) / power
    out["noise_lag_v"] = float(np.vdot(r[1:], r[:-1])) / power
    out["noise_lag2_h"] = float(np.vdot(r[:, 2:], r[:, :-2])) / power
    out["noise_lag2_v"] = float(np.vdot(r[2:], r[:-2])) / power
    blocks, share = block_means(size[::2, ::2], inside[::2, ::2].astype(np.float32), 12)
    good = blocks[share > 0.25]
    if good.size > 3:
        out["noise_place"] = log10p(float(np.quantile(good, 0.9))) - log10p(float(np.quantile(good, 0.1)))
    else:
        out["noise_place"] = 0.0
    return out


def edges(image: np.ndarray, mu: np.ndarray, mask: np.ndarray, at: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """Gradient distribution, orientation, re-blur ratios, and the mean profile of strong edges.

    Returns the features and the gradient magnitude (H, W) of `mu`.
    """
    fine_y, fine_x = gradient(image)
    gy, gx = gradient(mu)
    fine = np.sqrt(fine_y * fine_y + fine_x * fine_x)
    strength = np.sqrt(gy * gy + gx * gx)
    inside = fine.ravel()[at]
    p10, p50, p90, p99 = quantiles(inside, (0.1, 0.5, 0.9, 0.99))
    mean = float(inside.mean())
    out = {
        "grad_mean": log10p(mean),
        "grad_p10": log10p(p10),
        "grad_p50": log10p(p50),
        "grad_p90": log10p(p90),
        "grad_p99": log10p(p99),
        "grad_sparse": mean / max(float(np.square(inside).mean()) ** 0.5, 1e-8),
        "grad_log_sd": float(np.std(np.log10(inside + np.float32(1e-4)))),
    }
    masked = strength * mask
    energy = max(float(np.vdot(fine_y, fine_y) + np.vdot(fine_x, fine_x)), 1e-12)
    out["blur_keep1"] = float(np.vdot(gy, gy) + np.vdot(gx, gx)) / energy
    yy, xx, xy = float(np.vdot(gy, gy)), float(np.vdot(gx, gx)), float(np.vdot(gy, gx))
    total = max(yy + xx, 1e-12)
    out["grad_axis"] = (xx - yy) / total
    out["grad_oblique"] = 2 * xy / total
    pick = np.flatnonzero(masked.ravel() > quantiles(sampled(masked), (0.9,))[0])
    pick = pick[:: max(1, pick.size // 8000)]
    angle = np.arctan2(gy.ravel()[pick], gx.ravel()[pick]) % np.pi
    out["grad_direction_entropy"] = shared_part(np.histogram(angle, 18, (0.0, np.pi), weights=masked.ravel()[pick])[0])
    profiles = edge_profiles(image, gy, gx, masked)
    out |= _profile_features(profiles)
    return out, strength


def _profile_features(profiles: np.ndarray) -> dict[str, float]:
    names = ("edge_width", "edge_width_p25", "edge_overshoot", "edge_ripple", "edge_reblur", "edge_contrast")
    if profiles.shape[0] < 20:
        return dict.fromkeys(names, 0.0)
    middle = EDGE_OFFSETS.size // 2
    high = profiles[:, middle + 4 : middle + 9].max(1)  # +2 to +4 pixels
    low = profiles[:, middle - 8 : middle - 3].min(1)
    step = np.maximum(high - low, np.float32(1e-6))
    slope = (profiles[:, middle + 1] - profiles[:, middle - 1]).clip(1e-6)  # over one pixel
    width = np.minimum(step / slope, 20.0)
    plateau_high, plateau_low = profiles[:, -5:].mean(1), profiles[:, :5].mean(1)
    over = (high - np.maximum(plateau_high, profiles[:, middle])) + (np.minimum(plateau_low, profiles[:, middle]) - low)
    normed = (profiles - low[:, None]) / step[:, None]
    ripple = (
        np.abs(np.diff(normed[:, middle + 4 :], 2, axis=1)).mean()
        + np.abs(np.diff(normed[:, : middle - 3], 2, axis=1)).mean()
    )
    mean = normed.mean(0)
    return {
        "edge_width": float(np.log2(np.median(width))),
        "edge_width_p25": float(np.log2(np.quantile(width, 0.25))),
        "edge_overshoot": float(np.median(over / step)),
        "edge_ripple": log10p(float(ripple), 1e-3),
        "edge_reblur": float((mean[middle + 1] - mean[middle - 1]) / max(mean[middle + 6] - mean[middle - 6], 1e-3)),
        "edge_contrast": log10p(float(np.median(step)), 1e-3),
    }
