"""What optics proposes against defocus: the image deconvolved by the blur disk that a severity stands for.

A linear filter knows the whole disk, wider than a small network sees; but it rings where its disk is not the true one,
as on a tilted object. So it only proposes, and the network says at each pixel how much of it to take.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from medq_vlm.field_of_view import lit_area
from medq_vlm.restore.guidance import Guidance

KIND = "defocus"
# Radius of the disk as a share of the shorter side at severity 0 to 4, after degrade/severity_table.json.
RADIUS_SHARES = {
    "fundus": (0.0, 0.0045, 0.0090, 0.0144, 0.0245),
    "endoscopy": (0.0, 0.0052, 0.0108, 0.0178, 0.0329),
    "histopathology": (0.0, 0.0055, 0.0086, 0.0144, 0.0293),
    "oct": (0.0, 0.0030, 0.0067, 0.0131, 0.0333),
    "dermoscopy": (0.0, 0.0041, 0.0086, 0.0169, 0.0348),
}
NOISE_SHARE = 0.02  # power of the noise over that of the image (Wiener, 1949): small, or detail stays lost
SURROUNDED = ("fundus", "endoscopy")  # the rim of the field is in focus: light from inside alone was spread
BLACK, RANGE = -2.0, 4.0  # of the network's numbers
LEAST_PX, LARGEST_PX = 0.5, 4096  # of the radius, of a side


def propose(planes: torch.Tensor, guidance: Guidance) -> torch.Tensor | None:
    """Planes (3, H, W) in the network's range without the defocus that `guidance` names; None where it names none."""
    if KIND not in guidance.treated or max(planes.shape[1:]) > LARGEST_PX:
        return None
    shares = RADIUS_SHARES[str(guidance.modality)]
    radius = float(np.interp(guidance.findings[KIND], range(len(shares)), shares)) * min(planes.shape[1:])
    if radius < LEAST_PX:
        return None
    if guidance.modality not in SURROUNDED:
        return deconvolved(planes, radius)
    lit = lit_area((planes[None] - BLACK) / RANGE)[0]
    return planes + lit * (deconvolved(_filled(planes, lit, 2 * radius), radius) - planes)


def deconvolved(planes: torch.Tensor, radius_px: float) -> torch.Tensor:
    """(C, H, W) sharpened by the Wiener filter of a disk; what the disk took altogether stays as it is."""
    height, width = planes.shape[1:]
    pad = min(2 * math.ceil(radius_px) + 8, height - 1, width - 1)
    shape = (height + 2 * pad, width + 2 * pad)
    response = torch.fft.rfft2(_disk(radius_px, shape)).real
    gain = 1 + response * (1 - response) / (response.square() + NOISE_SHARE)
    out = torch.empty_like(planes)
    for plane, sharp in zip(planes, out, strict=True):  # one at a time: spectra of large pictures are large
        padded = F.pad(plane[None, None], (pad, pad, pad, pad), mode="reflect")[0, 0]
        sharp.copy_(torch.fft.irfft2(torch.fft.rfft2(padded) * gain, s=shape)[pad : pad + height, pad : pad + width])
    return out


def _disk(radius_px: float, shape: tuple[int, int]) -> torch.Tensor:
    """(H, W) disk of sum 1 with soft edges, its centre at the first pixel, going round the border."""
    y, x = (torch.fft.fftfreq(side, 1 / side) for side in shape)
    disk = (radius_px + 0.5 - torch.hypot(y[:, None], x)).clamp(0, 1)
    return disk / disk.sum()


def _filled(planes: torch.Tensor, lit: torch.Tensor, sd_px: float) -> torch.Tensor:
    """Planes whose dark surround (`lit` 0) carries on what lies inside the field: no edge for the filter to ring at."""
    size = (planes.shape[1], planes.shape[2])
    fy, fx = torch.fft.fftfreq(size[0])[:, None], torch.fft.rfftfreq(size[1])
    response = torch.exp(-2 * (math.pi * sd_px) ** 2 * (fy * fy + fx * fx))
    wide = torch.fft.irfft2(torch.fft.rfft2(torch.cat([planes * lit, lit])) * response, s=size)
    return lit * planes + (1 - lit) * wide[:-1] / wide[-1:].clamp_min(0.01)
