"""Radiographic grey and the photons behind it: transmission = exp(-EXPONENT * grey), bone white.

A grey of 0 (air) passes every photon, a grey of 1 (the densest part) passes 1 %.
"""

from __future__ import annotations

import math

import torch

from medq_vlm.degrade.fields import poisson

EXPONENT = math.log(100.0)
PHOTONS = 20000.0  # per pixel behind air at the full dose: a noise SD of 0.5 % of the range at mid grey


def transmission(grey: torch.Tensor) -> torch.Tensor:
    """Fraction of the photons that arrive, 1 for grey 0; negative greys count as air."""
    return torch.exp(-EXPONENT * grey.clamp_min(0.0))


def grey_of(fraction: torch.Tensor) -> torch.Tensor:
    """The grey of a transmitted fraction; inverse of `transmission` for grey >= 0."""
    return -torch.log(fraction) / EXPONENT


def added_noise(grey: torch.Tensor, dose_fraction: float, generator: torch.Generator) -> torch.Tensor:
    """Noise in grey units that lowering the dose to `dose_fraction` adds to an image made at the full dose.

    Counts are Poisson at the low dose; their deviation is scaled by sqrt(1 - dose_fraction), because the
    image already carries the noise of the full dose.
    """
    mean = transmission(grey) * PHOTONS * dose_fraction
    counts = poisson(mean, generator).clamp_min(0.5)  # no photon at all: half a count, so that the log is finite
    return (grey_of(counts / mean)) * math.sqrt(max(0.0, 1 - dose_fraction))


def detect(grey: torch.Tensor, dose_fraction: float, generator: torch.Generator) -> torch.Tensor:
    """The image (..., H, W) taken at `dose_fraction` (0 to 1] of the dose."""
    return grey + added_noise(grey, dose_fraction, generator)
