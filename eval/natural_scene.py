"""Natural-scene statistics for the BRISQUE-class and NIQE-class baselines. Not part of the product.

Both rest on locally normalised luminance (MSCN), whose histogram is close to Gaussian in undistorted
photographs and changes shape with noise, blur and blocks. Images are (H, W), 0 black to 1 white.

Sources: Mittal, Moorthy, Bovik, IEEE TIP 21(12), 2012 (BRISQUE); Mittal, Soundararajan, Bovik, IEEE SPL
20(3), 2013 (NIQE).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter, zoom
from scipy.special import gammaln

from medq_vlm.schema import MedQError

FEATURES = 36  # two scales of 18: shape and variance of MSCN, four numbers for each of four neighbour products
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))  # horizontal, vertical, both diagonals
PATCH_PX = 96
SHARP_SHARE = 0.75  # patches with at least this share of the sharpest patch's deviation describe clean images
SMALLEST_PX = 24


def brisque_features(image: np.ndarray) -> np.ndarray:
    """The 36 whole-image BRISQUE features of `image` (H, W), as float64 (36,).

    Raises MedQError for an image with a side under 24 pixels.
    """
    return np.concatenate([_scale_features(mscn(plane)[0]) for plane in _two_scales(image)])


def niqe_patches(image: np.ndarray, sharp_only: bool) -> np.ndarray:
    """The 36 features of each non-overlapping 96-pixel patch of `image` (H, W), as float64 (P, 36), P >= 1.

    `sharp_only` keeps the patches NIQE calls sharp, as it does for the clean images; an image smaller than a
    patch is one patch.
    """
    full, half = (mscn(plane) for plane in _two_scales(image))
    side = min(PATCH_PX, *image.shape) // 2 * 2
    features, sharpness = [], []
    for y in range(0, image.shape[0] - side + 1, side):
        for x in range(0, image.shape[1] - side + 1, side):
            here = full[0][y : y + side, x : x + side]
            below = half[0][y // 2 : (y + side) // 2, x // 2 : (x + side) // 2]
            features.append(np.concatenate([_scale_features(here), _scale_features(below)]))
            sharpness.append(full[1][y : y + side, x : x + side].mean())
    rows, sharp = np.array(features), np.array(sharpness)
    return rows[sharp >= SHARP_SHARE * sharp.max()] if sharp_only else rows


class Niqe:
    """Distance of an image's patch statistics to those of clean images; higher is worse."""

    def __init__(self, clean_patches: np.ndarray) -> None:
        """`clean_patches` (P, 36) from `niqe_patches(..., sharp_only=True)` of clean images, P >= 2."""
        if len(clean_patches) < 2:
            raise MedQError("NIQE needs at least two clean patches to know what is usual.")
        self.mean = clean_patches.mean(0)
        self.covariance = np.cov(clean_patches, rowvar=False)

    def distance(self, image: np.ndarray) -> float:
        """NIQE of `image` (H, W): the pooled-covariance distance between two Gaussians, >= 0."""
        patches = niqe_patches(image, sharp_only=False)
        covariance = self.covariance
        if len(patches) > 1:
            covariance = (covariance + np.cov(patches, rowvar=False)) / 2
        gap = patches.mean(0) - self.mean
        return float(np.sqrt(max(0.0, gap @ np.linalg.pinv(covariance, hermitian=True) @ gap)))


def mscn(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean-subtracted contrast-normalised luminance and the local deviation, both (H, W).

    The Gaussian window has sigma 7/6 px and radius 3 px; the stabilising constant is 1 grey level of 255.
    """
    mean = gaussian_filter(image, 7 / 6, radius=3)
    variance = gaussian_filter(image**2, 7 / 6, radius=3) - mean**2
    deviation = np.sqrt(np.maximum(variance, 0.0))
    return (image - mean) / (deviation + 1 / 255), deviation


def generalised_gaussian(values: np.ndarray) -> tuple[float, float]:
    """Shape (2 for a Gaussian) and variance of a zero-mean generalised Gaussian, by moment matching."""
    second = float(np.mean(values**2))
    first = float(np.mean(np.abs(values)))
    if second <= 1e-12:
        return float(_shapes()[-1]), 0.0  # a constant patch: the flattest shape of the table
    return _shape_of(first**2 / second), second


def asymmetric_gaussian(values: np.ndarray) -> tuple[float, float, float, float]:
    """Shape, mean, left and right variance of an asymmetric generalised Gaussian, by moment matching."""
    left_values, right_values = values[values < 0], values[values > 0]
    left = float(np.sqrt(np.mean(left_values**2))) if left_values.size else 0.0
    right = float(np.sqrt(np.mean(right_values**2))) if right_values.size else 0.0
    if min(left, right) <= 1e-8:
        return float(_shapes()[-1]), 0.0, left**2, right**2
    balance = left / right
    ratio = float(np.mean(np.abs(values)) ** 2 / np.mean(values**2))
    shape = _shape_of(ratio * (balance**3 + 1) * (balance + 1) / (balance**2 + 1) ** 2)
    scale = np.exp(gammaln(2 / shape) - 0.5 * (gammaln(1 / shape) + gammaln(3 / shape)))
    return shape, (right - left) * float(scale), left**2, right**2


def _scale_features(normalised: np.ndarray) -> np.ndarray:
    products = [asymmetric_gaussian(_neighbour_product(normalised, *shift)) for shift in SHIFTS]
    return np.array([*generalised_gaussian(normalised), *(number for four in products for number in four)])


def _neighbour_product(image: np.ndarray, down: int, right: int) -> np.ndarray:
    h, w = image.shape
    here = image[: h - down, max(0, -right) : w - max(0, right)]
    there = image[down:, max(0, right) : w - max(0, -right)]
    return here * there


def _two_scales(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if image.ndim != 2 or min(image.shape) < SMALLEST_PX:
        raise MedQError(f"Natural-scene statistics need one grey image of at least 24 px, not {image.shape}.")
    image = np.asarray(image, dtype=np.float64)
    even = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
    return image, zoom(gaussian_filter(even, 0.8), 0.5, order=1, grid_mode=True, mode="nearest")


@cache
def _shapes() -> np.ndarray:
    return np.arange(0.2, 10.0, 0.001)


@cache
def _ratios() -> np.ndarray:
    a = _shapes()
    return np.exp(2 * gammaln(2 / a) - gammaln(1 / a) - gammaln(3 / a))  # rises with the shape


def _shape_of(ratio: float) -> float:
    return float(np.interp(ratio, _ratios(), _shapes()))
