"""The classical methods every restoration is compared with, each with the grid its parameters are tuned on.

`METHODS` is the table: which methods meet which task. Noise strengths are multiples of the noise SD estimated in the
picture itself. `knows` says what a method is told beyond the picture and the name of the task; the parameters chosen
on training images (python -m eval.tune_classical) are in classical_parameters.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, median_filter
from skimage import restoration as skimage_restoration

from eval import classical_physics as physics
from eval import classical_tone as tone
from eval.classical_physics import HU, Params
from eval.no_reference import noise_sd
from eval.restoration_cases import Pair
from medq_vlm.degrade.sample import intensity_scale
from medq_vlm.schema import ImageSample, MedQError

PARAMETERS = Path(__file__).with_name("classical_parameters.json")
PICTURE = "the picture"
TEMPLATE = "the picture, usual grey levels of the modality"
BLUR = "the picture, the blur radius"
BY_MODALITY = ("optical illumination",)  # tasks tuned apart in every modality


@dataclass(frozen=True)
class Problem:
    """One degraded plane in working units, and what the simulation knows."""

    plane: np.ndarray  # (H, W) or (H, W, 3) float32, see classical_physics.py
    clean: np.ndarray  # the same of the clean image; only the acquired data of it may be used
    pair: Pair
    template: np.ndarray  # (65,) of classical_tone.template_of, or empty


@dataclass(frozen=True)
class Method:
    """A classical method for some task."""

    name: str
    knows: str
    run: Callable[[Problem, Params], np.ndarray]  # -> plane
    grid: tuple[Params, ...]
    local: bool = True  # may be tuned on the centre of the picture


def restore(method: Method, pair: Pair, params: Params, template: np.ndarray) -> np.ndarray:
    """The degraded image of `pair` restored: pixels (1, H, W[, 3]) in native units, padding untouched."""
    black, span = plane_scale(pair.degraded)
    plane, clean = (((s.pixels[0] - black) / span).astype(np.float32) for s in (pair.degraded, pair.clean))
    if plane.ndim == 3 and pair.content.modality in ("xray", "mr", "ct", "pet"):  # a grey image saved in colour
        grey = method.run(Problem(plane.mean(-1), clean.mean(-1), pair, template), params)
        out = plane + (grey - plane.mean(-1))[..., None]
    else:
        out = method.run(Problem(plane, clean, pair, template), params)
    native = (out * span + black).astype(np.float32)[None]
    valid = pair.degraded.valid
    if valid is not None:
        native = np.where(valid if native.ndim == 3 else valid[..., None], native, pair.degraded.pixels)
    return native


def chosen(task: str, method: str, modality: str = "") -> Params:
    """The tuned parameters. Raises MedQError when the method was never tuned for the task."""
    try:
        return tuned()["chosen"][part_of(task, modality)][method]
    except KeyError:
        raise MedQError(
            f"'{method}' has no tuned parameters for '{task}'; run python -m eval.tune_classical."
        ) from None


def part_of(task: str, modality: str) -> str:
    """What is tuned together: a task, or for light a task in one modality (a fundus is dark, a section is bright)."""
    return f"{task}, {modality}" if task in BY_MODALITY else task


def template(modality: str) -> np.ndarray:
    """Mean quantiles of clean training images of the modality, empty when there were none."""
    return np.array(tuned()["templates"].get(modality, []), np.float32)


@cache
def tuned() -> dict[str, Any]:
    """classical_parameters.json, or empty tables before the first tuning."""
    if not PARAMETERS.is_file():
        return {"chosen": {}, "templates": {}}
    loaded: dict[str, Any] = json.loads(PARAMETERS.read_text())
    return loaded


def plane_scale(sample: ImageSample) -> tuple[float, float]:
    """Black and span of a sample: plane = (native - black) / span."""
    if sample.modality == "ct":
        return 0.0, HU
    scale = intensity_scale(sample)
    return scale.black, scale.white - scale.black


# --- noise ----------------------------------------------------------------------------------------------------


def _axis(plane: np.ndarray) -> int | None:
    return None if plane.ndim == 2 else -1


def _nlm(plane: np.ndarray, sd: float, params: Params) -> np.ndarray:
    return skimage_restoration.denoise_nl_means(
        plane, patch_size=5, patch_distance=5, h=0.8 * sd * params["strength"], sigma=sd * params["strength"],
        fast_mode=True, channel_axis=_axis(plane),
    )  # fmt: skip


def _tv(plane: np.ndarray, sd: float, params: Params) -> np.ndarray:
    return skimage_restoration.denoise_tv_chambolle(
        plane, weight=sd * params["strength"], max_num_iter=100, channel_axis=_axis(plane)
    )


def _wavelet(plane: np.ndarray, sd: float, params: Params) -> np.ndarray:
    settings = {"sigma": sd * params["strength"], "wavelet": "sym4", "rescale_sigma": False,
                "channel_axis": _axis(plane)}  # fmt: skip
    spins = 1 if plane.ndim == 2 else (1, 1, 0)
    return skimage_restoration.cycle_spin(
        plane, max_shifts=spins, func=skimage_restoration.denoise_wavelet, func_kw=settings, workers=1,
        channel_axis=None,
    )  # fmt: skip


def _median(plane: np.ndarray, sd: float, params: Params) -> np.ndarray:
    size = params["size_px"]
    return median_filter(plane, size if plane.ndim == 2 else (size, size, 1))


def _gaussian(plane: np.ndarray, sd: float, params: Params) -> np.ndarray:
    return gaussian_filter(plane, params["sd_px"] if plane.ndim == 2 else (params["sd_px"], params["sd_px"], 0))


def _smooth(filter_: Callable[[np.ndarray, float, Params], np.ndarray], problem: Problem, params: Params) -> np.ndarray:
    """A filter in its working domain: as it is, of the square root (counts), or without the Rician floor."""
    plane = problem.plane
    if params.get("root"):
        root = np.sqrt(np.maximum(plane, 0))
        return filter_(root, noise_sd(tone.grey(root)), params) ** 2
    sd = noise_sd(tone.grey(plane))
    out = filter_(plane, sd, params)
    # E[m^2] = A^2 + 2 sd^2 of a magnitude m (Wiest-Daessle et al., MICCAI 2008)
    return np.sqrt(np.maximum(out**2 - 2 * sd**2, 0)) if params.get("rician") else out


def _grid(**values: Iterable[Any]) -> tuple[Params, ...]:
    return tuple(dict(zip(values, row, strict=True)) for row in product(*values.values()))


STRENGTHS = {"non-local means": (0.5, 0.8, 1.2, 1.8, 2.7, 4.0), "total variation": (0.3, 0.6, 1.2, 2.5, 5.0),
             "wavelets": (0.6, 1.0, 1.6, 2.6, 4.0)}  # fmt: skip


def denoisers(**extra: Iterable[Any]) -> tuple[Method, ...]:
    """The methods against noise; `extra` adds working domains to the grid."""
    filters = {"non-local means": _nlm, "total variation": _tv, "wavelets": _wavelet}
    strong = tuple(
        Method(name, PICTURE, partial(_smooth, filter_), _grid(strength=STRENGTHS[name], **extra))
        for name, filter_ in filters.items()
    )
    return (
        *strong,
        Method("median", PICTURE, partial(_smooth, _median), _grid(size_px=(3, 5), **extra)),
        Method("Gaussian", PICTURE, partial(_smooth, _gaussian), _grid(sd_px=(0.5, 0.8, 1.3, 2.0), **extra)),
    )


# --- sharpness ------------------------------------------------------------------------------------------------


def _sharpened(plane: np.ndarray, radius_px: float, amount: float) -> np.ndarray:
    # Not skimage's unsharp_mask: with channel_axis=-1 release 0.26 fills three rows and leaves the rest as it lay.
    return plane + amount * (plane - _gaussian(plane, 0.0, {"sd_px": radius_px}))


def _unsharp(problem: Problem, params: Params) -> np.ndarray:
    return _sharpened(problem.plane, params["radius_px"], params["amount"])


def _deconvolve(problem: Problem, params: Params) -> np.ndarray:
    radius = params.get("radius_px") or max(0.6, float(problem.pair.record.params["radius_px"]))
    return physics.richardson_lucy(problem.plane, radius * params.get("scale", 1.0), params["iterations"])


def _resample(up: str, problem: Problem, params: Params) -> np.ndarray:
    record = problem.pair.record.params
    out = physics.resampled(problem.plane, (record["factor_y"], record["factor_x"]), params["down"], up)
    radius = max(0.5, 0.5 * (record["factor_y"] + record["factor_x"]) / 2)
    return _sharpened(out, radius, params["amount"])


UNSHARP = Method("unsharp mask", PICTURE, _unsharp, _grid(radius_px=(1.0, 2.0, 4.0), amount=(0.3, 0.7, 1.5)))
DEFOCUS = (
    UNSHARP,
    Method("Richardson-Lucy", PICTURE, _deconvolve, _grid(radius_px=(1.0, 2.0, 3.0, 4.5), iterations=(4, 12))),
    Method("Richardson-Lucy, radius known", BLUR, _deconvolve, _grid(iterations=(4, 10, 25), scale=(0.8, 1.0)), False),
    *(m for m in denoisers() if m.name == "total variation"),
)
RESOLUTION = (
    *(
        Method(up, "the picture, the sampling factor", partial(_resample, up),
               _grid(down=("box", "bicubic"), amount=(0.0, 0.5, 1.0)), False)
        for up in ("bicubic", "lanczos")
    ),
    UNSHARP,
    *(m for m in denoisers() if m.name in ("total variation", "Gaussian")),
)  # fmt: skip


# --- acquisition ----------------------------------------------------------------------------------------------


def _compressed_sensing(problem: Problem, params: Params) -> np.ndarray:
    return physics.compressed_sensing(problem.clean, problem.pair.record.params, params["weight"])


def _sparse_view(problem: Problem, params: Params) -> np.ndarray:
    weight = params["weight_hu"] / HU
    return physics.sparse_view_tv(problem.plane, problem.clean, problem.pair.record.params, weight)


def _metal(problem: Problem, params: Params) -> np.ndarray:
    record = problem.pair.record.params
    return physics.metal_interpolation(problem.plane, record, params.get("threshold_hu"), params["margin_px"])


UNDERSAMPLING = (
    *denoisers(),
    Method("compressed sensing, TV", "mask and acquired k-space", _compressed_sensing,
           _grid(weight=(0.002, 0.005, 0.015, 0.04)), False),
)  # fmt: skip
SPARSE_VIEW = (
    *denoisers(),
    Method("iterative TV", "geometry and measured sinogram", _sparse_view, _grid(weight_hu=(3.0, 10.0, 30.0)), False),
)
METAL = (
    Method("sinogram interpolation", "geometry", _metal,
           _grid(threshold_hu=(1800.0, 2400.0, 2900.0), margin_px=(0, 1)), False),
    Method("sinogram interpolation, metal known", "geometry, place of the metal", _metal,
           _grid(margin_px=(0, 1, 2)), False),
    *(m for m in denoisers() if m.name in ("total variation", "median")),
)  # fmt: skip


# --- exposure and light ---------------------------------------------------------------------------------------


def _toned(
    curve: Callable[[np.ndarray, Params, np.ndarray], np.ndarray], problem: Problem, params: Params
) -> np.ndarray:
    out = curve(problem.plane, params, problem.template)
    return _tv(out, noise_sd(tone.grey(out)), {"strength": 1.0}) if params.get("smooth") else out


def _toning(**extra: Iterable[Any]) -> tuple[Method, ...]:
    grids: dict[str, tuple[Callable[..., np.ndarray], dict[str, Iterable[Any]]]] = {
        "gamma": (tone.gamma, {"strength": (0.7, 1.0)}),
        "film curve": (tone.tone_curve, {"strength": (0.7, 1.0)}),
        "stretch": (tone.stretch, {"clip": (0.005, 0.02, 0.1, 0.25)}),
        "histogram matching": (tone.histogram_matching, {"strength": (0.7, 1.0)}),
        "CLAHE": (tone.clahe, {"clip_limit": (0.003, 0.01, 0.03), "strength": (0.5, 1.0)}),
    }
    return tuple(
        Method(name, PICTURE if name == "CLAHE" else TEMPLATE, partial(_toned, curve), _grid(**values, **extra), False)
        for name, (curve, values) in grids.items()
    )


def _light(log: bool) -> Method:
    grid = _grid(width_fraction=(0.1, 0.2, 0.4), strength=(0.15, 0.3, 0.6, 0.9), matched=(False, True), log=(log,))
    name = "homomorphic filter" if log else "background division"
    return Method(name, TEMPLATE, partial(_toned, tone.background_division), grid, False)


ILLUMINATION = (_light(False), _light(True), *(m for m in _toning() if m.name in ("CLAHE", "histogram matching")))

METHODS: dict[str, tuple[Method, ...]] = {
    "CT low dose": denoisers(),
    "CT sparse view": SPARSE_VIEW,
    "CT metal": METAL,
    "MR undersampling": UNDERSAMPLING,
    "MR motion": denoisers(),
    "MR low resolution": RESOLUTION,
    "MR noise": denoisers(rician=(False, True)),
    "PET low count": denoisers(root=(False, True)),
    "X-ray mottle": denoisers(),
    "X-ray noise": denoisers(),
    "X-ray underexposure": _toning(smooth=(False, True)),
    "X-ray overexposure": _toning(),
    "optical defocus": DEFOCUS,
    "optical illumination": ILLUMINATION,
}
