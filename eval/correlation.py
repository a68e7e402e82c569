"""How well a score follows a reference quality: SRCC, PLCC (raw and after a logistic fit), KRCC, RMSE.

Every function takes two arrays (N,) in any unit, `score` first and `quality` second, and returns one float.
Correlations lie in [-1, 1], higher is better; RMSE is in the unit of quality, lower is better. A constant
input has no rank order: the correlations are then NaN, never 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy.optimize import leastsq
from scipy.stats import kendalltau, pearsonr, rankdata

from medq_vlm.schema import MedQError

Parameters = Literal[4, 5]


def srcc(score: np.ndarray, quality: np.ndarray) -> float:
    """Spearman's rank correlation: Pearson's of the mid-ranks (ties share their mean rank)."""
    score, quality = _pair(score, quality)
    return plcc(rankdata(score), rankdata(quality))


def plcc(score: np.ndarray, quality: np.ndarray) -> float:
    """Pearson's linear correlation of the raw numbers."""
    score, quality = _pair(score, quality)
    if len(score) < 3 or np.ptp(score) == 0 or np.ptp(quality) == 0:
        return float("nan")
    return float(pearsonr(score, quality).statistic)


def krcc(score: np.ndarray, quality: np.ndarray) -> float:
    """Kendall's tau-b, which corrects for ties."""
    score, quality = _pair(score, quality)
    if len(score) < 3 or np.ptp(score) == 0 or np.ptp(quality) == 0:
        return float("nan")
    return float(kendalltau(score, quality).statistic)


def rmse(score: np.ndarray, quality: np.ndarray) -> float:
    """Root mean square error in the unit of quality; `score` must be on the same scale."""
    score, quality = _pair(score, quality)
    return float(np.sqrt(np.mean((score - quality) ** 2)))


def logistic_fit(
    score: np.ndarray, quality: np.ndarray, parameters: Parameters = 5
) -> Callable[[np.ndarray], np.ndarray]:
    """Map from score to the scale of quality by the customary non-linear regression; returns the fitted map.

    4 parameters: VQEG's monotone logistic (VQEG FR-TV Phase II report, 2003).
    5 parameters: logistic plus a line (Sheikh, Sabir, Bovik, IEEE TIP 15(11), 2006).
    Least squares is started from several shapes and the best is kept, so the 5-parameter fit, which contains
    the straight line, is never worse than linear regression. Raises MedQError for
    a constant score or fewer rows than parameters.
    """
    score, quality = _pair(score, quality)
    centre, spread = float(score.mean()), float(score.std())
    if spread == 0 or len(score) < parameters:
        raise MedQError(f"A logistic needs scores that differ and {parameters} rows or more.")
    model = _logistic4 if parameters == 4 else _logistic5
    x = (score - centre) / spread
    starts = _starts(x, quality, parameters)
    # full_output: without it a fit that stops at maxfev warns, though the best of four starts is good
    fits = [leastsq(lambda p: model(x, p) - quality, p0, maxfev=600, full_output=True)[0] for p0 in starts]
    best = min(fits, key=lambda p: float(np.square(model(x, p) - quality).sum()))
    return lambda new: model((np.asarray(new, dtype=float) - centre) / spread, best)


def _logistic4(x: np.ndarray, p: np.ndarray) -> np.ndarray:
    high, low, middle, width = p
    return low + (high - low) * _sigmoid((x - middle) / (abs(width) + 1e-6))


def _logistic5(x: np.ndarray, p: np.ndarray) -> np.ndarray:
    height, slope, middle, line, offset = p
    return height * (_sigmoid(slope * (x - middle)) - 0.5) + line * x + offset


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))  # the same function, without overflow


def _starts(x: np.ndarray, quality: np.ndarray, parameters: Parameters) -> list[np.ndarray]:
    low, high = float(quality.min()), float(quality.max())
    line, offset = np.polyfit(x, quality, 1)
    if parameters == 4:
        ends = (high, low) if line >= 0 else (low, high)
        return [np.array([*ends, middle, 0.5]) for middle in (-1.0, 0.0, 1.0)]
    straight = np.array([0.0, 1.0, 0.0, line, offset])
    bent = [np.array([(high - low) * np.sign(line), 2.0, middle, 0.0, offset]) for middle in (-1.0, 0.0, 1.0)]
    return [straight, *bent]


def _pair(score: np.ndarray, quality: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    score, quality = np.asarray(score, dtype=float), np.asarray(quality, dtype=float)
    if score.ndim != 1 or score.shape != quality.shape or not len(score):
        raise MedQError(f"Scores {score.shape} and qualities {quality.shape} must be two equal, non-empty rows.")
    if not (np.isfinite(score).all() and np.isfinite(quality).all()):
        raise MedQError("Scores and qualities must be finite numbers.")
    return score, quality
