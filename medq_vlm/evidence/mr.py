"""Measures of MR images: focus entropy, background energy, joint variation, ghosts."""

from __future__ import annotations

import numpy as np
from scipy import fft

from medq_vlm.evidence.filters import any_near, halve
from medq_vlm.evidence.noise import two_tissues
from medq_vlm.intensity import median


def entropy_focus(grey: np.ndarray) -> float:
    """Entropy focus criterion of (H, W), 0 (all energy in one pixel) to 1 (none darker than another); lower is better.

    E = - sum x/b log(x/b) with b = sqrt(sum x^2), over its maximum sqrt(n) log sqrt(n)
    (Atkinson et al., IEEE TMI 1997; normalised as in MRIQC, Esteban et al., PLoS ONE 2017). Ghosting and blur by motion
    spread energy and raise it. Scale-free; negative values count as 0.
    """
    flat = np.clip(grey, 0, None).astype(np.float64).ravel()
    norm = float(np.sqrt(flat @ flat))
    if norm <= 0 or flat.size < 4:
        return float("nan")
    part = flat[flat > 0] / norm
    root = flat.size**0.5
    return float(-(part * np.log(part)).sum() / (root * np.log(root)))


def air_of(mask: np.ndarray) -> np.ndarray:
    """Background well clear of the body: (H, W) bool."""
    return ~any_near(mask, 9)


def foreground_background_energy(grey: np.ndarray, mask: np.ndarray, air: np.ndarray) -> float:
    """Mean energy of the body over that of the air around it; higher is better (Shehzad et al. 2015; MRIQC).

    NaN without air (below 1 % of the image) or when it was set to zero.
    """
    if air.mean() < 0.01 or not mask.any():
        return float("nan")
    energy = float(np.mean(np.square(grey[air], dtype=np.float64)))
    if energy <= 0 or float(np.mean(grey[air] == 0)) > 0.5:
        return float("nan")
    return float(np.mean(np.square(grey[mask], dtype=np.float64))) / energy


def joint_variation(grey: np.ndarray, mask: np.ndarray) -> float:
    """Coefficient of joint variation of the two main tissues: (s1 + s2) / |m1 - m2|; lower is better.

    Ganzetti et al., Front. Neuroinform. 2016, on white and grey matter; here on the two Otsu classes of the body, with
    m the median and s 1.4826 x the median deviation. Noise, motion and bias fields raise it. Scale- and offset-free.
    """
    low, high = two_tissues(grey, mask)
    if low.size < 30 or high.size < 30:
        return float("nan")
    m1, m2 = median(low), median(high)
    s1, s2 = (1.4826 * median(np.abs(v - m)) for v, m in ((low, m1), (high, m2)))
    return (s1 + s2) / (m2 - m1) if m2 > m1 else float("nan")


def ghost_ratio(grey: np.ndarray, mask: np.ndarray, air: np.ndarray) -> float:
    """Signal of the strongest displaced copy of the body in the air, over the body's own; lower is better.

    For each shift d along rows or along columns (an eighth of the field or more, wrapping round) the air a is fitted
    with a = c + g body(x - d); the ratio is the largest g. It is what the percent signal ghosting of the ACR phantom
    test (limit 0.025, ACR MRI Quality Control Manual 2015) reads from four boxes, for a body of any shape; the constant
    c takes up the noise floor. NaN without air (below 5 %) or when it was set to zero.
    """
    if air.mean() < 0.05 or not mask.any() or float(np.mean(grey[air] == 0)) > 0.5:
        return float("nan")
    image = halve(grey).astype(np.float64)
    free = (halve(air.astype(np.float32)) > 0.99).astype(np.float64)
    body = image * (halve(mask.astype(np.float32)) > 0.5)
    count = float(free.sum())
    if count < 100:
        return float("nan")
    rest = image * free
    best = 0.0
    for axis in (0, 1):
        n = image.shape[axis]
        spectra = [fft.fft(v, axis=axis) for v in (rest, free, body, body * body)]

        def shifted(a: int, b: int, spectra: list[np.ndarray] = spectra, axis: int = axis) -> np.ndarray:
            """sum over pixels of a(x) b(x - d) for every shift d."""
            return fft.ifft((spectra[a] * np.conj(spectra[b])).sum(1 - axis)).real

        product, ones, squares = shifted(0, 2), shifted(1, 2), shifted(1, 3)
        spread = squares - ones * ones / count
        slope = (product - float(rest.sum()) * ones / count) / np.maximum(spread, 1e-12)
        seen = spread > 0.03 * float(np.square(body, dtype=np.float64).sum())  # enough of the copy falls on air
        seen[: n // 8] = False
        seen[n - n // 8 :] = False
        if seen.any():
            best = max(best, float(slope[seen].max()))
    return best
