"""Faint lesions put into an image, and two observers of them: a channelised Hotelling one, and a matched filter.

The Hotelling observer says how well lesions can be told from none; the matched filter reads off the contrast of a
lesion at a known place in native units, so that an erased or an invented one can be counted.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from scipy.stats import rankdata

from eval import detectability
from medq_vlm.degrade.sample import Scale, intensity_scale
from medq_vlm.schema import ImageSample

LESION_RADIUS_PX = 5.0
CONTRAST_HU, CONTRAST = 20.0, 0.08  # of the inserted lesions, in HU and as a fraction of the range
TISSUE_HU, TISSUE = (-150.0, 200.0), (0.1, 0.8)  # where lesions are put: local means in HU, or shares of the range
FEWEST = 12  # lesions an observer can be trained and tested on


def contrast_of(clean: ImageSample, scale: Scale) -> float:
    """Height of an inserted lesion in native units; negative where white is small."""
    return (CONTRAST_HU if clean.modality == "ct" else CONTRAST) * (scale.white - scale.black)


def with_lesions(clean: ImageSample, centres: torch.Tensor, radius_px: float = LESION_RADIUS_PX) -> ImageSample:
    """`clean` (one slice) with faint Gaussian lesions added at (K, 2) integer (y, x) centres."""
    size = (clean.pixels.shape[1], clean.pixels.shape[2])
    signal = detectability.lesion_signal(size, centres, radius_px)[0, 0].numpy()
    lesions = contrast_of(clean, intensity_scale(clean)) * (signal if clean.pixels.ndim == 3 else signal[..., None])
    top = 255.0 if clean.bits is not None and clean.bits <= 8 else np.inf  # eight bits keep their fixed scale
    return replace(clean, pixels=np.minimum(clean.pixels + lesions, top).astype(np.float32))


def tissue_places(clean: ImageSample, spacing: float, seed: int) -> torch.Tensor:
    """(K, 2) centres in tissue on a jittered grid `spacing` radii apart, clear of the border and of bright edges."""
    plane = grey(clean)
    scale = intensity_scale(clean)
    low, high = TISSUE_HU if clean.modality == "ct" else TISSUE
    intensity = (plane - scale.black) / (scale.white - scale.black)
    smooth = ndimage.gaussian_filter(intensity, LESION_RADIUS_PX / 2)
    reach = int(LESION_RADIUS_PX)
    inside = (ndimage.minimum_filter(smooth, 2 * reach + 1) > low) & (
        ndimage.maximum_filter(smooth, 2 * reach + 1) < high
    )
    centres = detectability.lesion_grid((plane.shape[0], plane.shape[1]), LESION_RADIUS_PX, spacing).numpy()
    most = max(0, round((spacing - 4) * LESION_RADIUS_PX / 2))
    centres = centres + np.random.default_rng(seed).integers(-most, most + 1, centres.shape)
    margin = 3 * reach
    centres = np.clip(centres, margin, np.array(plane.shape) - margin - 1)
    return torch.from_numpy(centres[inside[centres[:, 0], centres[:, 1]]])


def auc(
    absent: ImageSample, present: ImageSample, places: torch.Tensor, background: ImageSample | None = None
) -> float:
    """Area under the ROC curve of a channelised Hotelling observer, 0.5 = guessing, trained on half of the places.

    absent, present: the same image without and with lesions at `places` (K, 2). `background` is the anatomy an
    observer knows exactly; without it anatomy is part of the noise. Source: see eval/detectability.py.
    """
    known = 0.0 if background is None else grey(background)
    none, some = (_responses(grey(sample) - known, places) for sample in (absent, present))
    fold = np.arange(len(places)) % 2
    areas = []
    for test in (0, 1):
        train = fold != test
        signal = some[train].mean(0) - none[train].mean(0)
        covariance = (np.cov(none[train].T) + np.cov(some[train].T)) / 2
        covariance += 1e-6 * np.trace(covariance) / len(covariance) * np.eye(len(covariance)) + 1e-12 * np.eye(
            len(covariance)
        )
        template = np.linalg.solve(covariance, signal)
        areas.append(area_under_curve(none[~train] @ template, some[~train] @ template))
    return float(np.mean(areas))


def area_under_curve(negative: np.ndarray, positive: np.ndarray) -> float:
    """Share of (negative, positive) pairs in order, ties half (Mann-Whitney)."""
    ranks = rankdata(np.concatenate([negative, positive]))[len(negative) :]
    return float((ranks.sum() - len(positive) * (len(positive) + 1) / 2) / (len(negative) * len(positive)))


def contrast_at(sample: ImageSample, places: torch.Tensor) -> np.ndarray:
    """(K,) contrast of a lesion at each place against its surround, native units, by the matched filter."""
    half = int(3 * LESION_RADIUS_PX)
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    distance = np.hypot(y, x)
    lesion = np.exp(-2 * (distance / LESION_RADIUS_PX) ** 2)
    disk = distance <= half
    template = np.where(disk, lesion - lesion[disk].mean(), 0.0)
    template /= (template * lesion).sum()
    plane = np.pad(grey(sample), half, mode="reflect")
    return np.array([(plane[r : r + 2 * half + 1, c : c + 2 * half + 1] * template).sum() for r, c in places.tolist()])


def grey(sample: ImageSample) -> np.ndarray:
    """First slice, (H, W), mean of the channels."""
    return sample.pixels[0] if sample.pixels.ndim == 3 else sample.pixels[0].mean(-1)


def _responses(image: np.ndarray, places: torch.Tensor) -> np.ndarray:
    """(K, 5) channel outputs of (H, W) at the places."""
    bank = detectability.channels(LESION_RADIUS_PX)
    half = bank.shape[-1] // 2
    plane = torch.from_numpy(image.astype(np.float32))[None, None]
    spread = float(plane.std()) or 1.0
    plane = (plane - plane.mean()) / spread
    out = F.conv2d(F.pad(plane, (half, half, half, half), mode="reflect"), bank)
    return out[0, :, places[:, 0], places[:, 1]].T.double().numpy()
