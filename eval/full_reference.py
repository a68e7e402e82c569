"""Full-reference measures in the images' own float range: PSNR, SSIM, HaarPSI and VIF. Higher is better for
all.

Every function takes `reference` and `image`, float tensors (B, C, H, W) with C = 1 or 3 (colour is judged on
the channel mean), the value shown black (`low`) and the distance from black to white (`data_range`), in the
images' own unit (HU for CT), and returns one value per image, (B,). Nothing is rounded to 8 bits and nothing
is clipped.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def _unit(image: torch.Tensor, low: float, data_range: float) -> torch.Tensor:
    """(B, C, H, W) -> (B, 1, H, W), black 0 and white 1."""
    return (image.float().mean(1, keepdim=True) - low) / data_range


def psnr(reference: torch.Tensor, image: torch.Tensor, low: float = 0.0, data_range: float = 1.0) -> torch.Tensor:
    """Peak signal-to-noise ratio in dB, infinite for equal images."""
    error = (_unit(reference, low, data_range) - _unit(image, low, data_range)).square().mean((1, 2, 3))
    return -10 * torch.log10(error)


def _window(size: int, sigma: float, like: torch.Tensor) -> torch.Tensor:
    place = torch.arange(size, dtype=torch.float32, device=like.device) - (size - 1) / 2
    kernel = torch.exp(-(place**2) / (2 * sigma**2))
    return kernel / kernel.sum()


def _filter(image: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Separable filter of (B, 1, H, W), valid part only."""
    return F.conv2d(F.conv2d(image, kernel.reshape(1, 1, 1, -1)), kernel.reshape(1, 1, -1, 1))


def _moments(
    x: torch.Tensor, y: torch.Tensor, kernel: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Local means, variances and covariance."""
    stack = _filter(torch.cat([x, y, x * x, y * y, x * y]), kernel)
    mean_x, mean_y, xx, yy, xy = stack.chunk(5)
    return mean_x, mean_y, xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y


def ssim(reference: torch.Tensor, image: torch.Tensor, low: float = 0.0, data_range: float = 1.0) -> torch.Tensor:
    """Structural similarity, 1 for equal images, at least -1; 11 x 11 Gaussian window of 1.5 pixels.

    Wang, Bovik, Sheikh and Simoncelli, IEEE Trans. Image Process. 13:600, 2004.
    """
    x, y = _unit(reference, low, data_range), _unit(image, low, data_range)
    mean_x, mean_y, var_x, var_y, cov = _moments(x, y, _window(11, 1.5, x))
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * cov + c2) / (var_x + var_y + c2)
    return (luminance * structure).mean((1, 2, 3))


def haarpsi(
    reference: torch.Tensor,
    image: torch.Tensor,
    low: float = 0.0,
    data_range: float = 1.0,
    constant: float = 30.0,
    alpha: float = 4.2,
) -> torch.Tensor:
    """Haar wavelet perceptual similarity, 0 to 1.

    Reisenhofer, Bosse, Kutyniok and Wiegand, Signal Process. Image Commun. 61:33, 2018, grey version with its
    subsampling; `constant` and `alpha` are the paper's for natural images, on the 0 to 255 scale.
    """
    x, y = (F.avg_pool2d(_unit(v, low, data_range) * 255, 2) for v in (reference, image))
    total = torch.zeros(x.shape[0], device=x.device)
    weight_sum = torch.zeros_like(total)
    for transposed in (False, True):
        wave_x, wave_y = ([_haar(v, scale, transposed) for scale in (1, 2, 3)] for v in (x, y))
        similarity = torch.stack(
            [(2 * a * b + constant) / (a**2 + b**2 + constant) for a, b in zip(wave_x[:2], wave_y[:2], strict=True)]
        ).mean(0)
        weight = torch.maximum(wave_x[2], wave_y[2])
        total += (torch.sigmoid(alpha * similarity) * weight).sum((1, 2, 3))
        weight_sum += weight.sum((1, 2, 3))
    # No structure in either image: equal by this measure.
    mean = torch.where(weight_sum > 1e-6, total / weight_sum.clamp(min=1e-6), torch.sigmoid(torch.tensor(alpha)))
    return (torch.logit(mean.double()).float() / alpha).clamp(min=0, max=1) ** 2


def _haar(image: torch.Tensor, scale: int, transposed: bool) -> torch.Tensor:
    """Magnitude of the Haar response at `scale`, same size, zeros outside."""
    side = 2**scale
    kernel = torch.full((side, side), 2.0**-scale, device=image.device)
    kernel[side // 2 :] *= -1
    kernel = kernel.T if transposed else kernel
    before, after = side // 2 - 1, side // 2
    return F.conv2d(F.pad(image, (before, after, before, after)), kernel[None, None]).abs()


def vif(reference: torch.Tensor, image: torch.Tensor, low: float = 0.0, data_range: float = 1.0) -> torch.Tensor:
    """Visual information fidelity in the pixel domain (VIFp), 0 = nothing left, 1 = all, above 1 = contrast
    gained.

    Sheikh and Bovik, IEEE Trans. Image Process. 15:430, 2006: four scales, visual noise of variance 2 on 0 to
    255.
    """
    x, y = (_unit(v, low, data_range) * 255 for v in (reference, image))
    noise, tiny = 2.0, 1e-8
    kept = torch.zeros(x.shape[0], device=x.device)
    there = torch.zeros_like(kept)
    for scale in range(4):
        size = 2 ** (4 - scale) + 1
        kernel = _window(size, size / 5.0, x)
        if scale:
            if min(x.shape[-2:]) < 2 * size:
                break  # too small an image for the coarser scales
            x, y = _filter(x, kernel)[..., ::2, ::2], _filter(y, kernel)[..., ::2, ::2]
        if min(x.shape[-2:]) < size:
            break
        _, _, var_x, var_y, cov = _moments(x, y, kernel)
        var_x, var_y = var_x.clamp(min=0), var_y.clamp(min=0)
        gain = torch.where(var_x > tiny, cov / (var_x + tiny), torch.zeros_like(cov))
        left = torch.where(gain < 0, var_y, var_y - gain * cov)
        gain, left = gain.clamp(min=0), left.clamp(min=tiny)
        kept += torch.log10(1 + gain**2 * var_x / (left + noise)).sum((1, 2, 3))
        there += torch.log10(1 + var_x / noise).sum((1, 2, 3))
    return torch.where(there > 1e-6, kept / there.clamp(min=1e-6), torch.ones_like(kept))
