"""Convolutions and display ranges shared by the degradations."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from medq_vlm.degrade.base import Params, uniform

REFERENCE_SIDE = 448  # lengths are drawn in pixels of an image whose shorter edge has this many


def size_scale(size: tuple[int, int]) -> float:
    """Factor from pixels of a 448-pixel image to pixels of this one, so that a severity looks the same at any size."""
    return max(0.5, min(size) / REFERENCE_SIDE)


def draw_range(modality: str, generator: torch.Generator) -> Params:
    """The display range a kind works in: 0 to 1, or for CT a soft-tissue or a wide window (units: HU)."""
    if modality != "ct":
        return {"range_low": 0.0, "range_width": 1.0}
    if uniform(generator, 0, 1) < 0.75:
        centre, width = uniform(generator, 20, 60), uniform(generator, 300, 450)
    else:
        centre, width = uniform(generator, -300, 0), uniform(generator, 1200, 2000)
    return {"range_low": round(centre - width / 2, 1), "range_width": round(width, 1)}


def gaussian_kernel(sigma_px: float) -> torch.Tensor:
    """(K,) Gaussian with unit sum, K odd, cut at four sigma."""
    half = max(1, math.ceil(4 * sigma_px))
    place = torch.arange(-half, half + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (place / max(sigma_px, 1e-3)) ** 2)
    return kernel / kernel.sum()


def gaussian_blur(image: torch.Tensor, sigma_px: float) -> torch.Tensor:
    """Gaussian blur of (B, C, H, W), edges mirrored; sigma_px <= 0.05 gives the image back."""
    if sigma_px <= 0.05:
        return image
    return gaussian_blur_xy(image, sigma_px, sigma_px)


def gaussian_blur_xy(image: torch.Tensor, sigma_x_px: float, sigma_y_px: float) -> torch.Tensor:
    """Gaussian blur with its own width along x and y."""
    batch, channels, height, width = image.shape
    flat = image.reshape(batch * channels, 1, height, width)
    for sigma_px, dim in ((sigma_x_px, 3), (sigma_y_px, 2)):
        if sigma_px <= 0.05:
            continue
        kernel = gaussian_kernel(sigma_px).to(image.device)
        shape = (1, 1, 1, -1) if dim == 3 else (1, 1, -1, 1)
        half = kernel.numel() // 2
        padding = (half, half, 0, 0) if dim == 3 else (0, 0, half, half)
        flat = F.conv2d(_mirror(flat, padding), kernel.reshape(shape))
    return flat.reshape(batch, channels, height, width)


def convolve(image: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Convolve (B, C, H, W) with one (K, K) kernel, K odd, edges mirrored, by Fourier transform (any K)."""
    height, width = image.shape[-2:]
    half = kernel.shape[-1] // 2
    padded = _mirror(image, (half, half, half, half))
    shape = [padded.shape[-2], padded.shape[-1]]
    response = torch.fft.rfft2(kernel.to(image.device), s=shape)
    out = torch.fft.irfft2(torch.fft.rfft2(padded) * response, s=shape)
    return out[..., 2 * half : 2 * half + height, 2 * half : 2 * half + width]


def _mirror(image: torch.Tensor, padding: tuple[int, int, int, int]) -> torch.Tensor:
    """Mirror padding as far as the image reaches, edge values beyond (wide kernels on small images)."""
    limit = (image.shape[-1] - 1, image.shape[-1] - 1, image.shape[-2] - 1, image.shape[-2] - 1)
    first = [min(p, m) for p, m in zip(padding, limit, strict=True)]
    rest = [p - f for p, f in zip(padding, first, strict=True)]
    image = F.pad(image, first, mode="reflect")
    return F.pad(image, rest, mode="replicate") if any(rest) else image


def resize(image: torch.Tensor, size: tuple[int, int], how: str) -> torch.Tensor:
    """Resize (B, C, H, W) to (H, W): "area", "bicubic", "bilinear" (the last two anti-aliased) or "nearest"."""
    if how in ("area", "nearest"):
        return F.interpolate(image, size=size, mode="area" if how == "area" else "nearest-exact")
    return F.interpolate(image, size=size, mode=how, align_corners=False, antialias=True)
