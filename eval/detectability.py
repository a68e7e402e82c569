"""Task measure: how well a faint lesion put into the image can still be detected after a degradation."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

_CHANNELS = 5


def lesion_grid(size: tuple[int, int], radius_px: float, spacing: float = 6.0) -> torch.Tensor:
    """(K, 2) integer (y, x) centres of lesions `spacing` radii apart, clear of the border."""
    height, width = size
    step, margin = max(4, round(spacing * radius_px)), math.ceil(3 * radius_px)
    ys = torch.arange(margin, height - margin, step)
    xs = torch.arange(margin, width - margin, step)
    return torch.cartesian_prod(ys, xs)


def lesion_signal(size: tuple[int, int], centres: torch.Tensor, radius_px: float) -> torch.Tensor:
    """(1, 1, H, W) image of unit-height Gaussian lesions (SD = radius / 2) at `centres`."""
    points = torch.zeros(size)
    points[centres[:, 0], centres[:, 1]] = 1
    half = math.ceil(2 * radius_px)
    place = torch.arange(-half, half + 1, dtype=torch.float32)
    line = torch.exp(-2 * (place / radius_px) ** 2)
    blurred = F.conv2d(points[None, None], line.reshape(1, 1, 1, -1), padding=(0, half))
    return F.conv2d(blurred, line.reshape(1, 1, -1, 1), padding=(half, 0))


def channels(radius_px: float) -> torch.Tensor:
    """(5, 1, K, K) Laguerre-Gauss channels matched to the lesion (Gallas and Barrett, JOSA A 20:1725, 2003)."""
    half = math.ceil(3 * radius_px)
    place = torch.arange(-half, half + 1, dtype=torch.float32)
    squared = (place[:, None] ** 2 + place[None, :] ** 2) * (2 * math.pi / (3.0 * radius_px) ** 2)
    envelope = torch.exp(-squared / 2)
    out, before, now = [], torch.zeros_like(squared), torch.ones_like(squared)
    for order in range(_CHANNELS):
        out.append(envelope * now)
        before, now = now, ((2 * order + 1 - squared) * now - order * before) / (order + 1)
    bank = torch.stack(out)[:, None]
    return bank / bank.square().sum((2, 3), keepdim=True).sqrt()


def detectability(
    without: torch.Tensor, with_lesions: torch.Tensor, centres: torch.Tensor, radius_px: float
) -> torch.Tensor:
    """Detectability index d' of the channelised Hotelling observer, (B,); higher is better, 0 = invisible.

    without, with_lesions: (B, 1, H, W), the degraded image without and with lesions at `centres`, same noise.
    d'^2 = s^T K^-1 s, where s is the mean change of the channel outputs at the lesions and K their covariance
    over the places without lesions, anatomy and noise together (Barrett et al., PNAS 90:9758, 1993).
    """
    bank = channels(radius_px).to(without.device)
    half = bank.shape[-1] // 2
    places = centres.to(without.device)
    picked = []
    for image in (without, with_lesions):
        response = F.conv2d(F.pad(image, (half, half, half, half), mode="reflect"), bank)  # B N H W
        picked.append(response[:, :, places[:, 0], places[:, 1]])  # B N K
    absent, present = picked
    signal = (present - absent).mean(-1)
    centred = absent - absent.mean(-1, keepdim=True)
    covariance = centred @ centred.transpose(1, 2) / max(1, places.shape[0] - 1)
    # A flat image has no covariance: the floor stands for the reader's own noise, 0.1 % of the range.
    floor = 1e-6 * torch.eye(bank.shape[0], device=without.device)
    solved = torch.linalg.solve((covariance + floor).double(), signal.double()[..., None])[..., 0]
    return (signal.double() * solved).sum(-1).clamp(min=0).sqrt().float()
