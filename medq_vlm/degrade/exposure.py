"""Under- and overexposure of radiographs and of optical images, branching on the modality."""

from __future__ import annotations

import math

import torch

from medq_vlm.degrade.base import Degradation, Params, uniform
from medq_vlm.degrade.fields import choose, normal
from medq_vlm.degrade.photons import EXPONENT, detect

RADIOGRAPHS = ("xray", "mammography")


def film(grey: torch.Tensor, shift: float) -> torch.Tensor:
    """Move the exposure along a logistic characteristic curve (Hurter & Driffield); shift 0 is the identity.

    shift > 0 is brighter (less exposure of a film). Both ends of the grey scale are compressed; what lies
    outside 0 to 1 keeps its distance.
    """
    inside = grey.clamp(1e-4, 1 - 1e-4)
    return torch.sigmoid(torch.logit(inside) + shift) + (grey - inside)


def _draw_under(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Radiograph: down to 1/200 of the dose. Optical: down to 4.5 stops."""
    if modality in RADIOGRAPHS:
        return {
            "variant": choose(generator, "film", "film", "digital"),
            "curve_shift": 3.2 * strength,
            "grey_loss": 0.75 * strength,
            "dose_fraction": 200.0**-strength,
        }
    return {
        "variant": choose(generator, "gain", "gain", "curve"),
        "stops": 4.5 * strength,
        "read_noise_sd": 0.02 * strength * uniform(generator, 0.2, 1.0),
    }


def _apply_under(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    if modality in RADIOGRAPHS:
        noisy = detect(image, params["dose_fraction"], generator)
        if params["variant"] == "film":
            return film(noisy, params["curve_shift"])
        # Digital without rescaling: a narrow range of dark greys.
        return noisy * (1 - params["grey_loss"])
    dark = film(image, -1.1 * params["stops"]) if params["variant"] == "curve" else image * 2.0 ** (-params["stops"])
    return (dark + params["read_noise_sd"] * normal(generator, image) * (image > 0)).clamp_min(0.0)


def _draw_over(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Radiograph: detector saturated up to 65 % of the grey range. Optical: up to 3.5 stops."""
    if modality in RADIOGRAPHS:
        return {
            "variant": choose(generator, "film", "saturated"),
            "curve_shift": -4.0 * strength,
            "exposure_factor": math.exp(EXPONENT * 0.65 * strength),
        }
    return {
        "variant": choose(generator, "clip", "clip", "knee"),
        "stops": 3.5 * strength,
    }


def _apply_over(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    if modality in RADIOGRAPHS:
        if params["variant"] == "film":
            return film(image, params["curve_shift"])
        # The detector is full where most photons arrive: everything below the cut is one black.
        cut = math.log(params["exposure_factor"]) / EXPONENT
        return torch.where(image > 0, (image - cut).clamp_min(0.0) / (1 - cut), image)
    if params["variant"] == "knee":
        return film(image, 1.4 * params["stops"])
    return torch.minimum(image * 2.0 ** params["stops"], image.clamp_min(1.0))


DEGRADATIONS = (
    Degradation("underexposure", _draw_under, _apply_under),
    Degradation("overexposure", _draw_over, _apply_over),
)
