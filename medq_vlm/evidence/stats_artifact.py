"""Statistics of structured artefacts: background ghosts, JPEG blocks, rings and streaks, focus entropy."""

from __future__ import annotations

import numpy as np

from medq_vlm.evidence.filters import any_near, block_means, box_mean, log10p, picks, polar, quantiles, shared_part


def background(image: np.ndarray, mask: np.ndarray, at: np.ndarray) -> dict[str, float]:
    """What is outside the body: noise, level, structure along rows and columns, half-field copies."""
    names = (
        "air_noise", "air_level", "air_same", "air_tail", "air_lag_h", "air_lag_v", "air_rows",
        "air_cols", "air_copy_rows", "air_copy_cols", "air_period_rows", "air_period_cols", "air_edge",
    )  # fmt: skip
    near = any_near(mask[::2, ::2], 5)
    air = ~np.repeat(np.repeat(near, 2, 1), 2, 0)[: mask.shape[0], : mask.shape[1]]
    count = int(np.count_nonzero(air))
    share = count / air.size
    if share < 0.02 or count < 400:
        return dict.fromkeys(names, 0.0)
    values = image.ravel()[picks(air)]
    middle = quantiles(values, (0.5,))[0]
    spread = quantiles(np.abs(values - middle), (0.5,))[0] * 1.4826
    body = max(float(np.mean(image.ravel()[at])) - middle, 0.02) if mask.any() else 1.0
    outside = air.astype(np.float32)
    rest = (image - np.float32(middle)) * outside
    square = rest * rest
    power = max(float(np.vdot(rest, rest)), 1e-9)
    variance = power / count
    out = {
        "air_noise": log10p(spread / body),
        "air_level": log10p(variance**0.5 / body),
        "air_same": float(np.mean(np.abs(values - middle) < 4e-3)),
        "air_tail": log10p(variance**0.5 / max(spread, 1e-4), 0.1),
        "air_lag_h": float(np.vdot(rest[:, 2:], rest[:, :-2])) / power,
        "air_lag_v": float(np.vdot(rest[2:], rest[:-2])) / power,
    }
    copies = {}
    small, small_air, small_rest = image[::2, ::2] - image[::2, ::2].mean(), outside[::2, ::2], rest[::2, ::2].copy()
    for axis, name in ((1, "rows"), (0, "cols")):
        number = outside.sum(axis)
        use = number > 8
        line = rest.sum(axis)[use] / number[use] if use.any() else np.zeros(1)
        # 1 for independent pixels: variance of a line mean times its length over the pixel variance
        weight = number[use].mean() if use.any() else 1.0
        out[f"air_{name}"] = log10p(float(line.var() * weight / variance), 0.05)
        moved = np.roll(small, small.shape[1 - axis] // 2, 1 - axis) * small_air
        copies[name] = float(np.vdot(moved, small_rest))
        copies[name] /= max(float(np.vdot(moved, moved)) * float(np.vdot(small_rest, small_rest)), 1e-12) ** 0.5
        energy = square.sum(axis)[use] / number[use] if use.any() else np.zeros(1)
        out[f"air_period_{name}"] = _period(energy, 4)
    out |= {f"air_copy_{name}": value for name, value in copies.items()}
    rim = box_mean(near.astype(np.float32), 9) > 0.05
    rim = np.repeat(np.repeat(rim, 2, 1), 2, 0)[: mask.shape[0], : mask.shape[1]] & air
    far = air & ~rim
    near_power = float(square[rim].mean()) if rim.any() else variance
    far_power = float(square[far].mean()) if far.any() else variance
    out["air_edge"] = float(np.clip(0.5 * np.log10((near_power + 1e-8) / (far_power + 1e-8)), -3, 3))
    return {name: out[name] for name in names}


def _period(line: np.ndarray, first: int) -> float:
    """Largest autocorrelation of a high-passed line from lag `first` to half its length, at most 64."""
    if line.size < 4 * first:
        return 0.0
    padded = np.pad(line, 3, mode="reflect")
    high = line - np.convolve(padded, np.ones(7) / 7, "valid")
    power = float(high @ high)
    last = min(64, line.size // 2)
    if power < 1e-14:
        return 0.0
    scores = [float(high[k:] @ high[:-k]) / power for k in range(first, last)]
    return max(scores)


def blocks(image: np.ndarray) -> dict[str, float]:
    """JPEG-like grids: excess of neighbour differences at one phase of eight; any period."""
    out: dict[str, float] = {}
    excess, period, eight = [], [], []
    for axis in (0, 1):
        step = np.abs(np.diff(image, axis=axis)).mean(1 - axis)
        typical = max(float(step.mean()), 1e-5)
        sharp = (step[1:-1] - 0.5 * (step[:-2] + step[2:])) / typical
        sharp = np.clip(sharp, -2, 2)
        n = sharp.size // 8 * 8
        phase = sharp[:n].reshape(-1, 8).mean(0) if n >= 16 else np.zeros(8)
        top = int(phase.argmax())
        excess.append(float(phase[top] - np.median(phase)))
        tail = sharp - sharp.mean()
        power = max(float(tail @ tail), 1e-9)
        lags = [float(tail[k:] @ tail[:-k]) / power for k in range(2, min(33, tail.size // 2))]
        period.append(max(lags, default=0.0))
        eight.append(lags[6] if len(lags) > 6 else 0.0)
    out["block_excess"] = log10p(min(excess) + 1e-3, 1e-3)
    out["block_excess_max"] = log10p(max(excess) + 1e-3, 1e-3)
    out["block_period"] = min(period)
    out["block_period_max"] = max(period)
    out["block_eight"] = min(eight)
    # rows inside a block that do not change at all: strong quantisation
    cut = image[: image.shape[0] // 8 * 8, : image.shape[1] // 8 * 8]
    second = np.abs(cut[:, 2:] - 2 * cut[:, 1:-1] + cut[:, :-2])
    out["block_flat"] = float(np.mean(second < 6e-3))
    return out


def lines(image: np.ndarray, mu: np.ndarray, mask: np.ndarray, at: np.ndarray) -> dict[str, float]:
    """Rings about the centre and streaks from the brightest object, in the high-pass, polar."""
    high = image - mu
    h, w = image.shape
    typical = max(float(np.abs(high.ravel()[at]).mean()), 1e-4)
    high = np.clip(high, -4 * typical, 4 * typical)  # one bright edge must not pass for a ring
    high[~mask] = np.nan
    radii = max(8, min(h, w) // 2 - 4)
    ys, xs = np.nonzero(mask[::4, ::4])
    body = (4 * float(ys.mean()), 4 * float(xs.mean())) if ys.size else (h / 2, w / 2)
    out = {}
    for name, centre in (("centre", ((h - 1) / 2, (w - 1) / 2)), ("body", body)):
        circle = polar(high, centre, radii, 3, 96)
        out[f"ring_{name}"], out[f"ring_{name}_peak"] = _excess(circle, 1)
    bright = np.flatnonzero(image[::2, ::2].ravel() >= quantiles(image[::2, ::2], (0.999,))[0])
    half = image[::2, ::2].shape[1]
    source = (2 * float((bright // half).mean()), 2 * float((bright % half).mean()))
    out["streak"], out["streak_peak"] = _excess(polar(high, source, radii, 10, 180), 0)
    return out


def _excess(samples: np.ndarray, axis: int) -> tuple[float, float]:
    """Variance of the means along `axis` over that of independent samples, and the strongest (log10)."""
    known = np.isfinite(samples)
    number = known.sum(axis)
    use = number >= 12
    if int(use.sum()) < 8:
        return 0.0, 0.0
    filled = np.where(known, samples, 0)
    mean = filled.sum(axis)[use] / number[use]
    variance = float(np.square(filled).sum() / max(int(known.sum()), 1))
    if variance < 1e-12:
        return 0.0, 0.0
    score = mean * np.sqrt(number[use] / variance)
    return log10p(float(np.mean(score**2)), 0.05), log10p(float(np.abs(score).max()), 0.1)


def focus(image: np.ndarray, slope: np.ndarray, at: np.ndarray) -> dict[str, float]:
    """Entropy focus criterion (Atkinson 1997) of the picture and of its gradient, each over its maximum."""
    tiles = np.clip(image[::2, ::2], 0, None)
    return {
        "efc": _focus(tiles),
        "efc_gradient": _focus(slope[::2, ::2]),
        "efc_body": _focus(np.clip(image.ravel()[at], 0, None)),
        "slope_spread": shared_part(block_means(slope[::2, ::2], np.ones_like(slope[::2, ::2]), 12)[0]),
    }


def _focus(values: np.ndarray) -> float:
    flat = values.ravel()
    norm = float(np.sqrt(flat @ flat))
    if norm < 1e-9:
        return 1.0
    part = flat[flat > 0] / norm
    root = flat.size**0.5
    return float(-(part * np.log(part)).sum() / (root * np.log(root)))
