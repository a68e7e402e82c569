"""Statistics of exposure, illumination, coverage, symmetry and colour: the low frequencies of a picture."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from medq_vlm.evidence.filters import block_means, log10p, picks, quantiles, sampled, shared_part


def histogram(image: np.ndarray, mask: np.ndarray, at: np.ndarray) -> dict[str, float]:
    """Percentiles, contrast, entropy, clipping, posterisation of the masked intensities of (H, W)."""
    values = image.ravel()[picks(mask, 50_000)]
    some = np.sort(image.ravel()[at])
    p01, p05, p25, p50, p75, p95, p99 = (float(v) for v in some[((some.size - 1) * _QUANTILES).astype(int)])
    low, high = float(values.min()), float(values.max())
    spread = max(p99 - p01, 1e-6)
    mean, sd = float(some.mean()), float(some.std())
    centred = (some - mean) / max(sd, 1e-6)
    square = centred * centred
    counts = np.bincount(np.clip((values - p01) * (64 / spread), 0, 63).astype(np.uint8), minlength=64)
    # 64 bins and the coarse tolerances below: eight-bit storage by itself must not show, only posterisation
    inner = counts[1:-1].astype(np.float64)
    jump = np.abs(np.diff(inner, 2)).sum() / max(4.0 * inner.sum(), 1.0)
    # ties at the very end of the range are what clipping leaves; noise alone leaves single pixels
    return {
        "p01": p01,
        "p05": p05,
        "p25": p25,
        "p50": p50,
        "p75": p75,
        "p95": p95,
        "p99": p99,
        "spread": log10p(spread, 1e-3),
        "sd": log10p(sd, 1e-3),
        "contrast_rms": log10p(sd / max(abs(mean), 1e-3), 1e-3),
        "contrast_michelson": (p95 - p05) / max(abs(p95) + abs(p05), 1e-3),
        "skew": float(np.clip((square * centred).mean(), -8, 8)) / 2,
        "kurtosis": log10p(float((square * square).mean()), 0.1),
        "entropy": shared_part(counts),
        "levels": float(np.mean(inner > 0)),
        "comb": float(jump),
        "peak_bin": float(counts.max() / max(values.size, 1)) ** 0.5,
        "clip_low": float(np.mean(values <= low + 4e-3 * spread)) ** 0.5,
        "clip_high": float(np.mean(values >= high - 4e-3 * spread)) ** 0.5,
        "over_one": float(np.mean(some >= 0.98)) ** 0.5,
        "under_zero": float(np.mean(some <= 0.02)) ** 0.5,
        "top_gap": log10p((high - p99) / spread, 1e-2),
    }


SAME = 4e-3  # one grey level of eight bits: differences below it are none
_QUANTILES = np.array([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])


def illumination(quarter: np.ndarray, inside: np.ndarray) -> dict[str, float]:
    """Slow change of brightness over the picture: quadratic fit of block means, halves, centre to rim.

    quarter (h, w): the picture at a quarter of its size; inside (h, w): the body's share of each pixel.
    """
    means, share = block_means(quarter, inside, 16)
    use = share > 0.5
    names = (
        "light_range",
        "light_tilt",
        "light_dome",
        "light_rest",
        "light_lr",
        "light_tb",
        "light_rim",
        "light_dark_block",
    )
    if int(use.sum()) < 12:
        return dict.fromkeys(names, 0.0)
    y, x = np.mgrid[-1:1:16j, -1:1:16j]
    basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)[use]
    values = means[use]
    typical = max(float(np.median(np.abs(values))), 0.02)
    # Tukey-like second pass: anatomy is an outlier of the slow field
    weight = np.ones_like(values)
    fit = values
    coef = np.zeros(6)
    for _ in range(2):
        coef = np.linalg.lstsq(basis * weight[:, None], values * weight, rcond=None)[0]
        fit = basis @ coef
        rest = np.abs(values - fit)
        weight = 1.0 / (1.0 + rest / max(float(np.median(rest)), 1e-6))
    low, high = np.quantile(fit, (0.05, 0.95))
    rim = np.hypot(x, y)[use] > 0.8

    def ratio(a: np.ndarray, b: np.ndarray) -> float:
        if a.size == 0 or b.size == 0:
            return 0.0
        return float((a.mean() - b.mean()) / (abs(a.mean()) + abs(b.mean()) + 0.02))

    return {
        "light_range": float(np.clip((high - low) / typical, 0, 6)) ** 0.5,
        "light_tilt": float(np.clip(np.hypot(coef[1], coef[2]) / typical, 0, 4)),
        "light_dome": float(np.clip((coef[3] + coef[5]) / typical, -4, 4)),
        "light_rest": log10p(float(np.std(values - fit)) / typical, 1e-2),
        "light_lr": ratio(values[x[use] < 0], values[x[use] > 0]),
        "light_tb": ratio(values[y[use] < 0], values[y[use] > 0]),
        "light_rim": ratio(values[rim], values[~rim]),
        "light_dark_block": float(np.mean(values < 0.3 * np.median(values))),
    }


def coverage(image: np.ndarray, mask: np.ndarray, quarter: np.ndarray, share: np.ndarray) -> dict[str, float]:
    """How the body sits in the frame, lost rows and patches, symmetry and tilt.

    quarter, share: as `quarter` and `inside` of `illumination`.
    """
    small = mask[::4, ::4]
    ys, xs = np.nonzero(small)
    n = max(ys.size, 1)
    height, width = (np.ptp(ys) + 1, np.ptp(xs) + 1) if ys.size else (1, 1)
    cy, cx = (ys.mean(), xs.mean()) if ys.size else (0.0, 0.0)
    dy, dx = (ys - cy) / small.shape[0], (xs - cx) / small.shape[1]
    yy, xx, xy = float(dy @ dy) / n, float(dx @ dx) / n, float(dy @ dx) / n
    out = {
        "mask_share": float(small.mean()),
        "mask_top": float(mask[0].mean()),
        "mask_bottom": float(mask[-1].mean()),
        "mask_left": float(mask[:, 0].mean()),
        "mask_right": float(mask[:, -1].mean()),
        "mask_fill": n / (height * width),
        "mask_aspect": float(np.log2(height / width)),
        "mask_off_y": float(cy / small.shape[0] - 0.5),
        "mask_off_x": float(cx / small.shape[1] - 0.5),
        "mask_tilt": 2 * xy / max(yy + xx, 1e-6),
    }
    step_x = np.abs(image[:, 1:] - image[:, :-1])
    step_y = np.abs(image[1:] - image[:-1])
    tiny = np.float32(SAME)
    out["rows_constant"] = float(np.mean(step_x.max(1) < tiny)) ** 0.5
    out["cols_constant"] = float(np.mean(step_y.max(0) < tiny)) ** 0.5
    same = (step_x[1:, :] < tiny) & (step_y[:, 1:] < tiny)
    out["same_inside"] = float(np.mean(same[mask[1:, 1:]])) ** 0.5 if mask[1:, 1:].any() else 0.0
    for axis, step in (("row", step_y.mean(1)), ("col", step_x.mean(0))):
        middle = float(np.median(step))
        out[f"{axis}_jump"] = log10p(float(step.max()) / max(middle, 1e-4), 0.1)
    inside = share > 0.6
    values = quarter[inside] if inside.any() else quarter.ravel()
    p02, p50, p98 = quantiles(sampled(values), (0.02, 0.5, 0.98))
    spread = max(float(p98 - p02), 1e-3)
    for name, blob in (
        ("dark_blob", (quarter < p02 + 0.08 * (p50 - p02)) & inside),
        ("bright_blob", (quarter > p98 - 0.08 * spread) & inside),
    ):
        labels, found = ndimage.label(blob)
        largest = np.bincount(labels.ravel())[1:].max() if found else 0
        out[name] = float(largest / inside.size) ** 0.5
        out[name + "_count"] = log10p(found / inside.size, 1e-4)
    means, part = block_means(quarter, share, 24)
    means = np.where(part > 0.2, means, 0.0)
    out["symmetry_lr"] = _correlation(means, means[:, ::-1])
    out["symmetry_tb"] = _correlation(means, means[::-1])
    best = max(_correlation(np.roll(means, k, 1), np.roll(means, k, 1)[:, ::-1]) for k in (-2, -1, 1, 2))
    out["symmetry_lr_best"] = max(best, out["symmetry_lr"])
    weight = np.clip(means, 0, None)
    total = max(float(weight.sum()), 1e-6)
    y, x = np.mgrid[-1:1:24j, -1:1:24j]
    my, mx = float((weight * y).sum() / total), float((weight * x).sum() / total)
    vy, vx = float((weight * (y - my) ** 2).sum()), float((weight * (x - mx) ** 2).sum())
    out["tilt"] = 2 * float((weight * (y - my) * (x - mx)).sum()) / max(vy + vx, 1e-6)
    haze = ndimage.minimum_filter(quarter, 5)
    out["haze"] = quantiles(sampled(haze[inside]), (0.5,))[0] if inside.any() else 0.0
    return out


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-9))


def colour(image: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Colour of (H, W, 3); zeros for (H, W) except the grey flag."""
    names = (
        "red_green",
        "blue_green",
        "saturation",
        "saturation_sd",
        "hue_entropy",
        "specular",
        "dark_channel",
        "chroma_noise",
        "red_clip",
        "cast_bright",
    )
    if image.ndim == 2:
        return {"grey": 1.0, **dict.fromkeys(names, 0.0)}
    some = image[::2, ::2][mask[::2, ::2]]
    if some.shape[0] < 16:
        some = image.reshape(-1, 3)
    r, g, b = (np.clip(some[:, k], 0, None) for k in range(3))
    top, low = np.maximum(np.maximum(r, g), b), np.minimum(np.minimum(r, g), b)
    saturation = (top - low) / (top + np.float32(0.02))
    hue = np.arctan2(np.float32(1.7320508) * (g - b), 2 * r - g - b)
    bright = top >= quantiles(sampled(top), (0.95,))[0]
    difference = image[..., 0] - image[..., 2]
    edge = np.abs(difference[1:, 1:] - difference[:-1, 1:] - difference[1:, :-1] + difference[:-1, :-1])
    return {
        "grey": float(saturation.max() < 0.02),
        "red_green": log10p(float(r.mean()), 0.02) - log10p(float(g.mean()), 0.02),
        "blue_green": log10p(float(b.mean()), 0.02) - log10p(float(g.mean()), 0.02),
        "saturation": float(saturation.mean()),
        "saturation_sd": float(saturation.std()),
        "hue_entropy": shared_part(np.histogram(hue, 24, (-np.pi, np.pi), weights=saturation)[0]),
        "specular": float(np.mean((low > 0.85) & (saturation < 0.15))) ** 0.5,
        "dark_channel": quantiles(sampled(low), (0.1,))[0],
        "chroma_noise": log10p(quantiles(sampled(edge), (0.5,))[0]),
        "red_clip": float(np.mean(r >= r.max() - 2e-3)) ** 0.5,
        "cast_bright": float(r[bright].mean() - b[bright].mean()),
    }
