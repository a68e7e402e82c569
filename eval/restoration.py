"""How close a restored image is to the clean one, in native units, and whether other measures agree."""

from __future__ import annotations

import numpy as np
import torch

from eval import full_reference
from eval.fidelity import sample_loss
from eval.no_reference import noise_sd
from medq_vlm.schema import ImageSample

PSNR_CAP_DB = 80.0  # of equal images, so that means stay finite


def data_range(clean: ImageSample) -> tuple[float, float]:
    """Smallest value of the clean image and the distance to its largest, native units, padding left out."""
    values = clean.pixels if clean.valid is None else clean.pixels[clean.valid]
    low, high = float(values.min()), float(values.max())
    return low, max(high - low, 1e-6)


def psnr(clean: ImageSample, pixels: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of `pixels` (S, H, W[, 3]) with the clean image's own range as the peak."""
    _, width = data_range(clean)
    difference = pixels.astype(np.float64) - clean.pixels
    if clean.valid is not None:
        difference = difference[clean.valid]
    error = float(np.mean(np.square(difference))) / width**2
    return min(PSNR_CAP_DB, -10 * np.log10(max(error, 1e-12)))


def ssim(clean: ImageSample, pixels: np.ndarray) -> float:
    """Structural similarity of the first slice in the clean image's own range, mean of the channels."""
    low, width = data_range(clean)
    shown = pixels[0] if clean.valid is None else np.where(_mask(clean), pixels[0], clean.pixels[0])
    pair = (_channels(clean.pixels[0]), _channels(shown))
    return float(full_reference.ssim(*pair, low, width).mean())


def fidelity(clean: ImageSample, restored: ImageSample, kind: str) -> float:
    """1 minus the full-reference loss (SSIM, HaarPSI, root of VIF; eval/fidelity.py), 0 to 1, higher is better."""
    return 1.0 - sample_loss(clean, restored, kind)


def change_against_noise(clean: ImageSample, restored: ImageSample) -> float:
    """RMS change of a clean image divided by its own noise SD (Immerkaer); below 1: less than its noise."""
    change = float(np.sqrt(np.mean(np.square(restored.pixels.astype(np.float64) - clean.pixels))))
    grey = clean.pixels[0] if clean.pixels.ndim == 3 else clean.pixels[0].mean(-1)
    return change / max(noise_sd(grey), 1e-6 * data_range(clean)[1])


def _mask(clean: ImageSample) -> np.ndarray:
    assert clean.valid is not None
    return clean.valid[0] if clean.pixels.ndim == 3 else clean.valid[0][..., None]


def _channels(plane: np.ndarray) -> torch.Tensor:
    """(H, W) or (H, W, 3) -> (C, 1, H, W): every channel an image of its own."""
    stack = plane[None] if plane.ndim == 2 else plane.transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(stack, dtype=np.float32))[:, None]
