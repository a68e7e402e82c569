"""Agreement with what was measured: k-space samples that are known, and projections.

A network's image may contradict the data it came from; where the data are known (a simulation, a scanner's raw data),
these steps put them back. Projector and mask are arguments, for this package knows no physics of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

Projector = Callable[[torch.Tensor], torch.Tensor]
Prior = Callable[[torch.Tensor], torch.Tensor]  # an image -> a likelier one, e.g. total variation or a network


def keep_kspace(restored: torch.Tensor, measured: torch.Tensor, mask: torch.Tensor, trust: float = 1.0) -> torch.Tensor:
    """Magnitude image (..., H, W) whose k-space agrees with `measured` where `mask` is True.

    measured: complex (..., H, W), centred (zero frequency at H // 2, W // 2), the transform of the image that lies
    behind; mask: bool (H, W); trust 1 replaces the samples, less mixes them (noisy data). The restored image has no
    phase of its own: it takes that of the zero-filled image of the measurement. Schlemper et al.,
    IEEE TMI 37:491, 2018.
    """
    zero_filled = _to_image(measured * mask)
    phase = torch.where(zero_filled.abs() > 1e-9, zero_filled / zero_filled.abs().clamp_min(1e-9), 1.0 + 0j)
    own = _to_kspace(restored * phase)
    mixed = torch.where(mask, own + trust * (measured - own), own)
    return _to_image(mixed).abs()


def from_kspace(
    restored: torch.Tensor, measured: torch.Tensor, mask: torch.Tensor, prior: Prior, steps: int = 80
) -> torch.Tensor:
    """Magnitude image (..., H, W) between a prior and the acquired samples, begun at the restored image.

    As `keep_kspace`, many times with `prior` (real (..., H, W) to the same) between: projection onto convex sets, or,
    with a network as prior, plug and play (Venkatakrishnan et al., GlobalSIP 2013). Ends on the data.
    """
    zero_filled = _to_image(measured * mask)
    phase = torch.where(zero_filled.abs() > 1e-9, zero_filled / zero_filled.abs().clamp_min(1e-9), 1.0 + 0j)
    image = _to_image(torch.where(mask, measured, _to_kspace(restored * phase)))
    for _ in range(steps):
        likely = torch.complex(prior(image.real), prior(image.imag))
        image = _to_image(torch.where(mask, measured, _to_kspace(likely)))
    return image.abs()


def _to_kspace(image: torch.Tensor) -> torch.Tensor:
    return torch.fft.fftshift(torch.fft.fft2(image), dim=(-2, -1))


def _to_image(kspace: torch.Tensor) -> torch.Tensor:
    return torch.fft.ifft2(torch.fft.ifftshift(kspace, dim=(-2, -1)))


def keep_projections(
    restored: torch.Tensor, measured: torch.Tensor, known: torch.Tensor, project: Projector, back_project: Projector,
    steps: int = 3,
) -> torch.Tensor:  # fmt: skip
    """Attenuation image (B, n, n) whose projections approach `measured` (B, V, D) where `known` is True.

    project: image -> (B, V, D); back_project: filtered back-projection of a change of the projections. Each step adds
    the back-projected difference at the known rays, with the length along that direction that lowers the squared
    difference most (steepest descent, preconditioned by the filter), so that no step makes it worse. known: bool
    (B or 1, V, D), e.g. the measured views of a sparse scan or the rays beside the metal.
    """
    image = restored
    for _ in range(steps):
        difference = torch.where(known, measured - project(image), torch.zeros_like(measured))
        direction = back_project(difference)
        moved = torch.where(known, project(direction), torch.zeros_like(measured))
        along = (difference * moved).sum((1, 2), keepdim=True)
        length = along / (moved**2).sum((1, 2), keepdim=True).clamp_min(1e-12)
        image = image + length * direction
    return image


def from_projections(
    restored: torch.Tensor, measured: torch.Tensor, known: torch.Tensor, project: Projector, back_project: Projector,
    prior: Prior, steps: int = 12,
) -> torch.Tensor:  # fmt: skip
    """Attenuation image (B, n, n) between a prior and the measured rays, begun at the restored image.

    One step of `keep_projections`, then `prior`, `steps` times (Sidky and Pan, Phys. Med. Biol. 53:4777, 2008).
    """
    image = restored
    for _ in range(steps):
        image = prior(keep_projections(image, measured, known, project, back_project, steps=1))
    return image


def projection_error(
    image: torch.Tensor, measured: torch.Tensor, known: torch.Tensor, project: Projector
) -> torch.Tensor:
    """Root mean square difference (B,) between the image's projections and the measured ones at the known rays."""
    difference = torch.where(known, measured - project(image), torch.zeros_like(measured))
    count = known.expand_as(measured).sum((1, 2)).clamp_min(1)
    return ((difference**2).sum((1, 2)) / count).sqrt()
