"""Measures read from the spectrum: streaks, a missing angle, spikes and regular lines. All lower is better."""

from __future__ import annotations

import numpy as np

from medq_vlm.evidence.stats_spectrum import ANGLES, Spectrum


def streak_energy(spectrum: Spectrum) -> float:
    """Share of high-frequency energy in directions that stand out, 0 to 1.

    S = sum max(0, f - median f) / sum f over 36 directions f of the spectrum whitened by rings: straight streaks of
    one direction are one fan of the spectrum (projection-slice theorem). Noise gives about 0.02, anatomy 0.05 to 0.2.
    """
    fan = spectrum.fan
    return float(np.maximum(fan - np.median(fan), 0).sum() / max(float(fan.sum()), 1e-12))


def missing_angle(spectrum: Spectrum) -> float:
    """Widest run of directions that hold under a quarter of the median energy, degrees (steps of 5), 0 to 90.

    An acquisition over 180 degrees minus a leaves a wedge of a degrees empty (Davison, SIAM J. Appl. Math. 1983).
    """
    empty = spectrum.fan < 0.25 * np.median(spectrum.fan)
    if empty.all() or not empty.any():
        return 0.0
    best = run = 0
    for k in range(2 * ANGLES):  # twice round: direction is periodic in 180 degrees
        run = run + 1 if empty[k % ANGLES] else 0
        best = max(best, run)
    return min(best * 180.0 / ANGLES, 90.0)


def spectral_peak(spectrum: Spectrum) -> float:
    """Strongest line of the spectrum above the mean of its ring, dB; a random field of n pixels gives 10 lg ln n.

    A k-space spike or a regular pattern (grid lines, moire) is one point of the spectrum. The two axes, which carry the
    frame of the picture, count from 0.06 cycles per pixel on.
    """
    maps = spectrum.maps
    white = spectrum.white
    use = (maps.angle < ANGLES) | maps.axis_row.ravel() | maps.axis_col.ravel()
    top = float(white.max(where=use, initial=0.0))
    return 10.0 * float(np.log10(max(top, 1e-3))) if use.any() else 0.0
