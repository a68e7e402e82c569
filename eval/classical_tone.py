"""Classical correction of exposure and light: tone curves, histograms, local contrast, background division.

Planes are float32 (H, W[, 3]), 0 black to 1 white. A `template` holds 65 quantiles of the intensities of clean
training images of the modality; a method that takes one knows what such images usually look like.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from skimage.exposure import equalize_adapthist

from eval.classical_physics import Params
from medq_vlm.degrade.fields import blur

QUANTILES = np.linspace(0, 1, 65)
DARK = 0.02  # below: surround, not tissue
MOST_GAIN = 10.0


def template_of(planes: list[np.ndarray]) -> np.ndarray:
    """(65,) mean quantiles of planes."""
    return np.mean([np.quantile(grey(plane), QUANTILES) for plane in planes], axis=0)


def gamma(plane: np.ndarray, params: Params, template: np.ndarray) -> np.ndarray:
    """Power law that gives the picture the template's mean."""
    x = np.clip(plane, 1e-4, 1)
    power = _solve(lambda g: float((x ** (2.0**g)).mean()), float(template.mean()), -3, 3, falling=True)
    return _blend(plane, x ** (2.0**power), params)


def tone_curve(plane: np.ndarray, params: Params, template: np.ndarray) -> np.ndarray:
    """Logistic film curve (as the simulation's own) shifted until the picture has the template's mean."""
    x = np.clip(plane, 1e-3, 1 - 1e-3)
    logit = np.log(x / (1 - x))
    shift = _solve(lambda s: float((1 / (1 + np.exp(-(logit + s)))).mean()), float(template.mean()), -6, 6)
    return _blend(plane, 1 / (1 + np.exp(-(logit + shift))), params)


def stretch(plane: np.ndarray, params: Params, template: np.ndarray) -> np.ndarray:
    """Linear map that puts two percentiles of the picture on those of the template."""
    ends = (params["clip"], 1 - params["clip"])
    low, high = np.quantile(grey(plane), ends)
    to_low, to_high = np.interp(ends, QUANTILES, template)
    return (plane - low) / max(float(high - low), 1e-3) * (to_high - to_low) + to_low


def histogram_matching(plane: np.ndarray, params: Params, template: np.ndarray) -> np.ndarray:
    """The picture's quantiles mapped onto the template's."""
    own = np.quantile(grey(plane), QUANTILES)
    own = own + np.arange(len(own)) * 1e-7  # np.interp wants rising values
    return _blend(plane, np.interp(plane, own, template), params)


def clahe(plane: np.ndarray, params: Params, template: np.ndarray) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld, Graphics Gems IV, 1994)."""
    del template
    equal = equalize_adapthist(np.clip(plane, 0, 1), clip_limit=params["clip_limit"])
    return _blend(plane, equal, params)


def background_division(plane: np.ndarray, params: Params, template: np.ndarray) -> np.ndarray:
    """Divide by a wide Gaussian mean of the light (homomorphic with `log`), then set the template's mean."""
    light = np.clip(grey(plane), 0, None)
    lit = (light > DARK).astype(np.float32)
    width = params["width_fraction"] * min(plane.shape[:2])
    share = np.maximum(_wide(lit, width), 1e-3)
    if params["log"]:
        field = np.exp(_wide(lit * np.log(np.maximum(light, DARK)), width) / share)
    else:
        field = _wide(lit * light, width) / share
    level = float(np.median(field[lit > 0])) if lit.any() else 1.0
    gain = np.clip(level / np.maximum(field, 1e-3), 1 / MOST_GAIN, MOST_GAIN) ** params["strength"]
    gain = 1 + lit * (gain - 1)
    out = plane * (gain if plane.ndim == 2 else gain[..., None])
    return out * np.clip(template.mean() / max(float(out.mean()), 1e-3), 0.3, 3) if params["matched"] else out


def grey(plane: np.ndarray) -> np.ndarray:
    """(H, W) mean of the channels."""
    return plane if plane.ndim == 2 else plane.mean(-1)


def _wide(plane: np.ndarray, sd_px: float) -> np.ndarray:
    """Gaussian mean of (H, W) on a reduced grid: a kernel as wide as the picture would take seconds."""
    return blur(torch.from_numpy(np.ascontiguousarray(plane, np.float32))[None, None], sd_px)[0, 0].numpy()


def _blend(plane: np.ndarray, changed: np.ndarray, params: Params) -> np.ndarray:
    share = params.get("strength", 1.0)
    return plane + share * (changed - plane)


def _solve(value: Callable[[float], float], wanted: float, low: float, high: float, falling: bool = False) -> float:
    """Bisection of a monotone function."""
    for _ in range(20):
        middle = (low + high) / 2
        if (value(middle) < wanted) != falling:
            low = middle
        else:
            high = middle
    return (low + high) / 2
