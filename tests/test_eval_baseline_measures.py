"""The baselines' measures on images with known statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from eval import natural_scene, no_reference, regressor
from medq_vlm.schema import MedQError


def texture(seed: int = 0, side: int = 128) -> np.ndarray:
    """A smooth random image in 0 to 1 with detail at several scales."""
    rng = np.random.default_rng(seed)
    layers = [gaussian_filter(rng.normal(size=(side, side)), s) * s for s in (1, 2, 4, 8)]
    total = np.sum(layers, axis=0)
    return (total - total.min()) / np.ptp(total)


def test_noise_estimate_returns_the_noise_put_in() -> None:
    ramp = np.linspace(0, 1, 256)[None].repeat(256, 0)
    noisy = ramp + np.random.default_rng(0).normal(0, 0.03, ramp.shape)
    assert no_reference.noise_sd(noisy) == pytest.approx(0.03, rel=0.05)
    assert no_reference.noise_sd(ramp) < 1e-12


def test_blur_lowers_sharpness() -> None:
    image = texture()
    values = [no_reference.sharpness(gaussian_filter(image, s)) for s in (0.0, 0.7, 1.5, 3.0)]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(("draw", "shape"), [("normal", 2.0), ("laplace", 1.0)])
def test_generalised_gaussian_finds_the_shape(draw: str, shape: float) -> None:
    values = getattr(np.random.default_rng(0), draw)(0, 2.0, 200_000)
    found, variance = natural_scene.generalised_gaussian(values)
    assert found == pytest.approx(shape, rel=0.03) and variance == pytest.approx(values.var(), rel=0.01)


def test_asymmetric_gaussian_finds_both_sides_and_the_sign_of_the_mean() -> None:
    rng = np.random.default_rng(0)
    half = np.abs(rng.normal(size=200_000))
    values = np.where(rng.random(200_000) < 3 / 4, 3 * half, -half)  # widths 3 : 1, areas in the same ratio
    shape, mean, left, right = natural_scene.asymmetric_gaussian(values)
    assert shape == pytest.approx(2.0, rel=0.05) and mean == pytest.approx(2 * math.sqrt(2 / math.pi), rel=0.05)
    assert left == pytest.approx(1, rel=0.03) and right == pytest.approx(9, rel=0.03)


def test_features_have_their_length_and_do_not_change_with_a_flip() -> None:
    image = texture()
    features = natural_scene.brisque_features(image)
    assert features.shape == (natural_scene.FEATURES,) and np.isfinite(features).all()
    assert np.allclose(features[:2], natural_scene.brisque_features(image[::-1])[:2])


def test_a_constant_image_has_finite_features_and_a_tiny_one_is_refused() -> None:
    assert np.isfinite(natural_scene.brisque_features(np.full((64, 64), 0.5))).all()
    with pytest.raises(MedQError, match="24"):
        natural_scene.brisque_features(np.zeros((8, 8)))


def test_niqe_grows_with_noise_and_with_blur() -> None:
    clean = np.concatenate([natural_scene.niqe_patches(texture(s, 192), True) for s in range(1, 13)])
    niqe = natural_scene.Niqe(clean)
    image = texture(40, 192)
    rng = np.random.default_rng(0)
    noisy = [niqe.distance(image + rng.normal(0, sd, image.shape)) for sd in (0.0, 0.02, 0.1)]
    blurred = [niqe.distance(gaussian_filter(image, s)) for s in (0.0, 1.0, 2.5)]
    assert noisy == sorted(noisy) and blurred == sorted(blurred)


def test_regressor_learns_a_bent_function_and_leaves_the_global_generator_alone() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(600, 5))
    quality = 2 + np.tanh(features[:, 0] * features[:, 1])
    group = np.arange(600) % 20
    before = torch.random.get_rng_state()
    model = regressor.fit(features, quality, group, seeds=(0,), config=regressor.FitConfig(epochs=200))
    assert torch.equal(before, torch.random.get_rng_state())
    fresh = rng.normal(size=(300, 5))
    truth = 2 + np.tanh(fresh[:, 0] * fresh[:, 1])
    assert np.corrcoef(model.predict(fresh), truth)[0, 1] > 0.9


def test_regressor_repeats_with_its_seeds() -> None:
    rng = np.random.default_rng(1)
    features, quality, group = rng.normal(size=(60, 3)), rng.random(60), np.arange(60) % 4
    config = regressor.FitConfig(epochs=60)
    first, second = (regressor.fit(features, quality, group, (0, 1), config).predict(features) for _ in range(2))
    assert np.array_equal(first, second)


def test_regressor_refuses_a_single_group() -> None:
    with pytest.raises(MedQError, match="two groups"):
        regressor.fit(np.zeros((4, 2)), np.zeros(4), np.zeros(4))
