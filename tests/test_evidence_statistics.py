"""The statistics: finite, repeatable, and moved in the known direction by known damage."""

import numpy as np
import pytest
from scipy import fft, ndimage

from medq_vlm.evidence.filters import binomial_blur
from medq_vlm.evidence.statistics import FEATURE_NAMES, LIMIT, features
from medq_vlm.evidence.stats_scene import asymmetric_gaussian, generalised_gaussian
from medq_vlm.schema import MedQError

SIZE = 192
Y, X = np.mgrid[:SIZE, :SIZE].astype(np.float32)
BODY = np.hypot(Y - 96, (X - 96) * 1.2) < 80


def named(image: np.ndarray, mask: np.ndarray = BODY) -> dict[str, float]:
    return dict(zip(FEATURE_NAMES, map(float, features(image, mask)), strict=True))


def picture(sd: float = 0.01, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(generator.normal(size=X.shape), 3)
    image = BODY * (0.5 + 0.1 * texture / texture.std() + 0.2 * (np.hypot(Y - 80, X - 100) < 25))
    return (image + generator.normal(0, sd, X.shape)).astype(np.float32)


def test_names_are_unique_and_match_the_vector() -> None:
    found = features(picture(), BODY)
    assert found.dtype == np.float32 and found.shape == (len(FEATURE_NAMES),)
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES)
    assert np.array_equal(found, features(picture(), BODY))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((448, 448)), np.ones((1, 1)), np.full((40, 33), np.nan), np.full((64, 64, 3), np.inf),
        X * 1e20, np.eye(200), np.zeros((33, 700)), np.random.default_rng(0).random((65, 64, 3)),
    ],
)  # fmt: skip
def test_every_input_gives_finite_features(image: np.ndarray) -> None:
    for mask in (np.zeros(image.shape[:2], bool), np.ones(image.shape[:2], bool)):
        found = features(image, mask)
        assert np.isfinite(found).all() and np.abs(found).max() <= LIMIT


def test_features_are_of_order_one_on_a_plain_picture() -> None:
    assert np.abs(features(picture(), BODY)).max() < 7


def test_other_shapes_are_refused() -> None:
    with pytest.raises(MedQError, match="Statistics need"):
        features(np.zeros((4, 64, 64)), np.zeros((4, 64), bool))


def test_shape_fits_recover_gauss_and_laplace() -> None:
    generator = np.random.default_rng(0)
    for values, shape in ((generator.normal(size=200_000), 2.0), (generator.laplace(size=200_000), 1.0)):
        fitted = generalised_gaussian(float(np.abs(values).mean()), float(np.square(values).mean()))
        assert fitted == pytest.approx(shape, rel=0.03)
        alpha, mean, left, right = asymmetric_gaussian(values.astype(np.float32), values.size)
        assert alpha == pytest.approx(shape, rel=0.05)
        assert abs(mean) < 0.01 and left == pytest.approx(right, rel=0.02)


def test_binomial_blur_has_the_stated_width_and_keeps_the_sum() -> None:
    point = np.zeros((31, 31), np.float32)
    point[15, 15] = 1
    out = binomial_blur(point, 4)
    axis = np.arange(31) - 15
    assert out.sum() == pytest.approx(1)
    assert float((out.sum(1) * axis**2).sum()) == pytest.approx(2.0)


def test_white_noise_of_a_known_sd_is_read_by_the_noise_features() -> None:
    found = named(np.random.default_rng(1).normal(0.5, 0.03, X.shape), np.ones_like(BODY))
    for name in ("noise_immerkaer", "noise_flat", "haar0_mad"):
        assert 10 ** found[name] == pytest.approx(0.03, rel=0.06), name


def test_known_damage_moves_its_feature_the_known_way() -> None:
    clean = picture()
    base = named(clean)
    blurred = named(ndimage.gaussian_filter(clean, 1.5))
    assert blurred["edge_width"] > base["edge_width"] and blurred["band8"] < base["band8"]
    assert named(picture(0.05))["noise_flat"] > base["noise_flat"] + 0.3
    tilted = named(clean * (1 + 0.4 * (X - 96) / 96))
    assert tilted["light_tilt"] > base["light_tilt"] + 0.1
    assert named(clean + 0.12 * np.roll(clean, 96, 0))["air_copy_rows"] > base["air_copy_rows"] + 0.2
    assert named(np.minimum(clean, 0.55))["clip_high"] > base["clip_high"] + 0.2
    field = fft.fft2(clean)
    field[40, 25] += 0.02 * np.abs(field).max()
    assert named(fft.ifft2(field).real)["spike_peak"] > base["spike_peak"] + 0.3
    lost = clean.copy()
    lost[90:100] = 0
    assert named(lost)["rows_constant"] > base["rows_constant"] + 0.1


def test_eight_bit_storage_by_itself_hardly_shows() -> None:
    clean = picture(0.02)
    stored = np.round(clean.clip(0, 1) * 255) / 255
    kept, base = named(stored.astype(np.float32)), named(clean.clip(0, 1))
    for name in ("levels", "comb", "same_inside", "clip_high", "block_flat", "noise_flat", "rows_constant"):
        assert kept[name] == pytest.approx(base[name], abs=0.1), name


def test_a_mirrored_picture_has_nearly_the_same_features() -> None:
    image = picture(0.02)
    here, there = named(image), named(np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(BODY[:, ::-1]))
    signed = ("light_lr", "mask_off_x", "mask_tilt", "mask_left", "mask_right", "grad_oblique", "tilt")
    moved = [name for name in FEATURE_NAMES if name not in signed and abs(here[name] - there[name]) > 0.25]
    assert len(moved) <= 5, moved


def test_grey_pictures_have_no_colour_and_colour_ones_do() -> None:
    grey = picture()
    red = np.stack([grey, 0.4 * grey, 0.3 * grey], -1)
    assert named(grey)["grey"] == 1 and named(np.stack([grey] * 3, -1))["grey"] == 1
    assert named(red)["red_green"] > 0.2 and named(red)["grey"] == 0
