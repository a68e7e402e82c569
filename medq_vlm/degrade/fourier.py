"""Centred 2D Fourier transforms and the k-space helpers of the MR degradations."""

from __future__ import annotations

import torch

AXES = {"row": -2, "column": -1}  # the axis along which the phase-encode lines are counted


def to_kspace(image: torch.Tensor) -> torch.Tensor:
    """Centred k-space (..., H, W) complex of an image; zero frequency at (H // 2, W // 2), no scaling."""
    return torch.fft.fftshift(torch.fft.fft2(image), dim=(-2, -1))


def to_image(kspace: torch.Tensor) -> torch.Tensor:
    """Complex image of a centred k-space; the inverse of `to_kspace`."""
    return torch.fft.ifft2(torch.fft.ifftshift(kspace, dim=(-2, -1)))


def magnitude(kspace: torch.Tensor) -> torch.Tensor:
    """Magnitude reconstruction (float32, >= 0) of a centred k-space."""
    return to_image(kspace).abs()


def lines(values: torch.Tensor, axis: str) -> torch.Tensor:
    """One value per phase-encode line (N,) shaped to multiply k-space (..., H, W); axis 'row' or 'column'."""
    return values[:, None] if axis == "row" else values[None, :]


def frequency(n: int, device: torch.device) -> torch.Tensor:
    """Spatial frequency of each k-space line (n,) in cycles per pixel, -0.5 <= f < 0.5."""
    return (torch.arange(n, device=device, dtype=torch.float32) - n // 2) / n


def centre_lines(n: int, kept: int, device: torch.device) -> torch.Tensor:
    """Mask (n,) of the `kept` lines around the zero frequency (made odd, so that a real image stays real)."""
    half = min(max(1, kept), n) // 2
    index = torch.arange(n, device=device) - n // 2
    return index.abs() <= half if kept < n else torch.ones(n, dtype=torch.bool, device=device)
