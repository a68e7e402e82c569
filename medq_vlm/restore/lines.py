"""MR undersampling: the picture tells which lines of k-space were acquired, and the restored image agrees with them.

A picture whose missing lines were filled with zeros is z = F^-1 M F x, shown as |z|. Where x is nearly real, F x at -k
is the conjugate of that at k, so a pair of lines (k, -k) tells how many of its two were acquired: the power of the
picture there is full (two), a quarter (one), or next to nothing (none). Which one of a pair it was is told by what the
imaginary part of z adds to |z|. Once the lines are known, x is sought whose |F^-1 M F x| is the picture: by turns the
phase of z is put on the picture (Gerchberg and Saxton, Optik 35:237, 1972), the acquired lines are put back, and total
variation fills the others (Lustig et al., MRM 58:1182, 2007), beginning at the network's image.

Planes are (n, W) with the phase-encode axis first; a line mask acts on columns alone, so all transforms are along it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import fft, ndimage
from scipy.interpolate import BSpline

from medq_vlm.restore.variation import smoothed

KIND = "undersampling"
HALF = 2 * np.log10(2)  # how much weaker a line is when one of its pair was acquired: power, decades
LEAST_STEP = 0.4  # decades from two acquired lines to none
DEEP = 1.3  # decades to none, to begin with, where the weakest lines may be singles
FITS = 30
PIECES = 16  # of the spectrum's curve over the logarithm of frequency ...
STIFF, STIFFER = (2.0, 12.0), 4.0  # ... how it resists bending: two are tried, and the lost lines' more
BAND = 0.2  # of the other axis, on both sides of zero frequency: where the signal is
SURELY = 0.02  # of the lines, about the centre, which every scan acquires ...
CENTRE = 0.05  # ... and where the centre ends that may be denser than the rest
ROUNDS, STEPS, LAST_STEPS = 2, 8, 50  # of telling the sides, of the search between, of the search at the end
STRIP_PX = 128  # columns that tell the lines
PIXELS, RESTARTS, SWEEPS = 4000, 4, 30  # by which the sides are told
WEIGHTS, TV_ITERATIONS = (0.03, 0.005), 6  # of total variation, as a share of the range: first and last step
LEAST_CHANGES = 0.2  # of level from line to line, as a share of the lines: a low resolution falls off but once
LEAST_LOST = 0.04  # share of the lines: ghosts, which come of weakened lines, lose none
MISFIT_WEIGHT = 10.0
FARTHEST = 1.22  # misfit beyond which the picture was not made so


@dataclass(frozen=True)
class Reading:
    """The lines that a picture may have been made of."""

    kept: np.ndarray  # (n,) bool
    misfit: float  # 0: the picture in every pixel


def keep_lines(picture: np.ndarray, restored: np.ndarray) -> np.ndarray:
    """Restored (H, W) brought to agree with the lines that the magnitude picture (H, W) was made of.

    The same object where the picture does not tell its lines.
    """
    span = float(np.ptp(picture))
    if picture.min() < 0 or span == 0:
        return restored
    readings = [(reading, turned) for turned in (False, True) for reading in told(_turned(picture, turned) / span)]
    if not readings:
        return restored
    best, turned = min(readings, key=lambda one: one[0].misfit)
    if best.misfit > FARTHEST:
        return restored
    given, start = (_turned(plane, turned) / span for plane in (picture, restored))
    return np.ascontiguousarray(_turned(agreeing(given, start, best.kept, LAST_STEPS) * span, turned), np.float32)


def _turned(plane: np.ndarray, turned: bool) -> np.ndarray:
    return plane.T if turned else plane


def told(picture: np.ndarray) -> list[Reading]:
    """The ways in which lines of a picture (n, W) may have been left out, by columns in its middle."""
    width = picture.shape[1]
    middle = picture[:, max(0, (width - STRIP_PX) // 2) :][:, :STRIP_PX]
    tried = {}
    for start in product((0.0, HALF), (False, True), STIFF):
        levels = line_levels(picture, *start)
        if np.mean(np.diff(levels) != 0) >= LEAST_CHANGES and np.mean(levels == 0) >= LEAST_LOST:
            tried[levels.tobytes()] = levels
    return [explained(middle, levels) for levels in tried.values()]


class Trend:
    """Smooth curves over places (m,): penalised cubic B-splines (Eilers and Marx, Statistical Science 11:89, 1996)."""

    def __init__(self, at: np.ndarray) -> None:
        inner = np.linspace(at[0], at[-1], PIECES + 1)
        step = inner[1] - inner[0]
        knots = np.concatenate([inner[0] - step * np.arange(3, 0, -1), inner, inner[-1] + step * np.arange(1, 4)])
        self.basis = BSpline.design_matrix(at, knots, 3).toarray()
        bends = np.diff(np.eye(PIECES + 3), 2, axis=0)
        self.penalty = bends.T @ bends

    def fit(self, values: np.ndarray, weights: np.ndarray, stiffness: float) -> np.ndarray:
        """Nearest to `values` (m,) where `weights` (m,) say so; straight where they are 0."""
        weighted = self.basis * (weights + 1e-4)[:, None]
        bent = np.linalg.solve(weighted.T @ self.basis + stiffness * self.penalty, weighted.T @ values)
        return np.asarray(self.basis @ bent)


def line_levels(picture: np.ndarray, lift: float = 0.0, floor: bool = False, stiff: float = STIFF[0]) -> np.ndarray:
    """(n,) how many of each pair of lines (k, -k) were acquired, 0, 1 or 2, of a picture (n, W); centred.

    Expectation maximisation of three levels over a smooth spectrum. lift: decades by which the spectrum lies above the
    strongest lines outside the centre, HALF where no pair there is whole. floor: whether the weakest lines are lost.
    """
    n, width = picture.shape
    reach = max(4, int(width * BAND))
    spectrum = fft.fftshift(fft.fft2(picture))[:, width // 2 - reach : width // 2 + reach + 1]
    power = np.log10(np.abs(spectrum) ** 2 + 1e-12).mean(1)
    after = slice(n // 2 + 1, n // 2 + 1 + (n - 1) // 2)
    power = power[after].astype(np.float64)
    order = np.arange(1, len(power) + 1)
    trend = Trend(np.log(order + 3.0))
    surely = order <= max(2, round(SURELY * n))
    envelope = ndimage.gaussian_filter1d(ndimage.maximum_filter1d(power, 9), 4)
    whole = envelope + lift * np.clip((order - SURELY * n) / ((CENTRE - SURELY) * n), 0, 1)
    nothing = whole - DEEP
    if floor:
        nothing = np.minimum(ndimage.gaussian_filter1d(ndimage.minimum_filter1d(power, 15), 6), whole - LEAST_STEP)
    sd, share = 0.15, np.array([0.3, 0.3, 0.4])
    for _ in range(FITS):
        half = np.log10((10**whole + 3 * 10**nothing) / 4)
        spread = np.array([max(sd, 0.15), sd, sd])[:, None]
        off = (power - np.stack([nothing, half, whole])) / spread
        likely = np.log(share)[:, None] - off**2 / 2 - np.log(spread)
        belongs = np.exp(likely - likely.max(0))
        belongs /= belongs.sum(0)
        belongs[:, surely] = np.array([0.0, 0.0, 1.0])[:, None]
        known = belongs[1] + belongs[2]
        doubled = np.log10(np.maximum(4 * 10**power - 3 * 10**nothing, 10**power))
        told = (belongs[1] * doubled + belongs[2] * power) / np.maximum(known, 1e-6)
        whole = trend.fit(np.where(known > 1e-6, told, whole), known, stiff)
        weakest = trend.fit(np.where(belongs[0] > 1e-6, power, nothing), belongs[0] + 1e-3, STIFFER * stiff)
        nothing = np.minimum(weakest, whole - (LEAST_STEP if floor else HALF + 0.3))
        error = belongs[1] * (power - half) ** 2 + belongs[2] * (power - whole) ** 2
        sd = float(np.sqrt(np.clip(error.sum() / known.sum(), 0.05**2, 0.2**2)))
        share = np.clip(belongs.mean(1), 0.02, 1)
        share /= share.sum()
    levels = np.zeros(n, int)
    levels[n // 2] = 2
    levels[after] = belongs.argmax(0)
    levels[n // 2 - len(power) : n // 2] = levels[after][::-1]
    return levels


def explained(picture: np.ndarray, levels: np.ndarray) -> Reading:
    """The lines that a picture (n, W) was made of, if `levels` are right, and how far their own picture is from it."""
    weight = _unshifted(levels) / 2.0
    gain = 1 / np.where(weight > 0, weight, 1.0)
    lines = fft.fft(picture, axis=0) * gain[:, None]
    image = picture
    for _ in range(STEPS):
        image = fft.ifft(np.where(weight[:, None] > 0, lines, fft.fft(image, axis=0)), axis=0).real
        image = smoothed(image.astype(np.float32), WEIGHTS[1], TV_ITERATIONS)
    kept = levels == 2
    for _ in range(ROUNDS):
        kept = sides(picture, image, levels)
        image = agreeing(picture, image, kept, STEPS)
    left = np.abs(_acquired(image, kept)) - picture
    lost = _unshifted(levels) == 0
    share = 0.0
    if lost.any():
        share = float(np.square(np.abs(fft.fft(left, axis=0)[lost])).sum()
                      / max(float(np.square(np.abs(fft.fft(picture, axis=0)[lost])).sum()), 1e-20))  # fmt: skip
    off = float(np.sqrt(np.mean(left**2) / np.mean(picture**2)))
    return Reading(kept, share + MISFIT_WEIGHT * off)


def sides(picture: np.ndarray, image: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """(n,) bool, the acquired lines, where `levels` says how many of each pair; centred.

    The imaginary part of z is a sum of one plane for each pair of which one was acquired, with a sign for the side;
    the signs are sought whose sum comes nearest to what |z|^2 has beyond the real part. One descent from the strongest
    pair on, others from random signs. All signs turned give the same picture.
    """
    n = len(levels)
    spectrum = fft.fft(image, axis=0)
    real = fft.ifft(spectrum * (_unshifted(levels) / 2.0)[:, None], axis=0).real
    beyond = picture**2 - real**2
    kept = levels == 2
    single = np.array([k for k in range(1, (n + 1) // 2) if levels[n // 2 + k] == 1], int)
    if not len(single):
        return kept
    rng = np.random.default_rng(0)
    strong = np.argsort(-np.abs(beyond), axis=None)[: 4 * PIXELS]
    rows, columns = np.unravel_index(rng.choice(strong, min(PIXELS, len(strong)), replace=False), picture.shape)
    turned = np.exp(2j * np.pi / n * single[:, None] * rows)
    planes = ((spectrum[single][:, columns] * turned).imag / n).astype(np.float32)
    wanted = beyond[rows, columns].astype(np.float32)
    order = np.argsort(-np.square(planes).sum(1))
    best, signs = np.inf, np.ones(len(single), np.float32)
    for attempt in range(RESTARTS):
        if attempt:
            tried = rng.choice(np.array([-1, 1], np.float32), len(single))
        else:
            tried = _one_by_one(planes, wanted, order)
        error, tried = _descended(planes, wanted, order, tried)
        if error < best:
            best, signs = error, tried
    for k, sign in zip(single, signs, strict=True):
        kept[n // 2 + int(sign) * k] = True
    return kept


def _one_by_one(planes: np.ndarray, wanted: np.ndarray, order: np.ndarray) -> np.ndarray:
    """A sign for each plane, each the better one beside those before."""
    signs, total = np.ones(len(planes), np.float32), np.zeros_like(wanted)
    for index in order:
        plus, minus = (np.square(wanted - np.square(total + sign * planes[index])).sum() for sign in (1, -1))
        signs[index] = 1 if plus <= minus else -1
        total += signs[index] * planes[index]
    return signs


def _descended(
    planes: np.ndarray, wanted: np.ndarray, order: np.ndarray, signs: np.ndarray
) -> tuple[float, np.ndarray]:
    """Turn one sign after the other while that brings the squared sum nearer to `wanted`: (error, signs)."""
    total = signs @ planes
    error = float(np.square(wanted - total**2).sum())
    for _ in range(SWEEPS):
        before = error
        for index in order:
            other = total - 2 * signs[index] * planes[index]
            new = float(np.square(wanted - other**2).sum())
            if new < error:
                error, total = new, other
                signs[index] = -signs[index]
        if error == before:
            break
    return error, signs


def agreeing(picture: np.ndarray, image: np.ndarray, kept: np.ndarray, steps: int) -> np.ndarray:
    """Image (n, W), begun at `image`, whose magnitude with the lines `kept` (n,) alone approaches the picture."""
    mask = _unshifted(kept)
    mirrored = np.roll(mask[::-1], 1)
    known, count = (mask | mirrored)[:, None], np.maximum(mask.astype(int) + mirrored, 1)[:, None]
    picture = picture.astype(np.float32)
    for step, weight in enumerate(np.geomspace(*WEIGHTS, steps), 1):
        seen = _acquired(image, kept)
        phase = seen / np.maximum(np.abs(seen), 1e-9)
        lines = fft.fft(picture * phase, axis=0) * mask[:, None]
        lines = (lines + np.roll(lines[::-1], 1, 0).conj()) / count
        image = fft.ifft(np.where(known, lines, fft.fft(image, axis=0)), axis=0).real.astype(np.float32)
        if step < steps:
            image = smoothed(image, float(weight), TV_ITERATIONS)
    return image


def _acquired(image: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The complex image of the lines `kept` (n,) alone."""
    return fft.ifft(fft.fft(image.astype(np.float32), axis=0) * _unshifted(kept)[:, None], axis=0)


def _unshifted(lines: np.ndarray) -> np.ndarray:
    """Centred lines (n,) in the order of a transform."""
    return np.asarray(fft.ifftshift(lines))
