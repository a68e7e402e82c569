"""Each measure gives the number that was put into a synthetic array."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import fft, ndimage, special

from medq_vlm.evidence import compression, coverage, ct, exposure, mr, noise, optical, sharpness, spectrum
from medq_vlm.evidence.filters import all_near, any_near, binomial_blur, box_mean, flat_patches
from medq_vlm.evidence.stats_spectrum import analyse

SIZE = 256
Y, X = np.mgrid[:SIZE, :SIZE].astype(np.float32)
EVERYWHERE = np.ones((SIZE, SIZE), bool)
BODY = ((Y - 128) / 100) ** 2 + ((X - 128) / 80) ** 2 < 1


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def anatomy_hu() -> np.ndarray:
    """Air, fat, muscle, two organs, bone and a slow gradient, in HU."""
    image = np.full((SIZE, SIZE), -1000, np.float32)
    image[BODY] = -100
    image[((Y - 128) / 90) ** 2 + ((X - 128) / 70) ** 2 < 1] = 50
    image[np.hypot(Y - 100, X - 110) < 30] = 110
    image[np.hypot(Y - 160, X - 150) < 20] = 20
    image[np.hypot(Y - 190, X - 128) < 12] = 700
    return image + np.where(BODY, (X - 128) * 0.1, 0).astype(np.float32)


def two_tissues(low: float = 100, high: float = 150, sd: float = 5, seed: int = 0) -> np.ndarray:
    return (np.where(X < 128, low, high) + rng(seed).normal(0, sd, X.shape)).astype(np.float32)


@pytest.mark.parametrize("sd", [10.0, 25.0, 60.0])
def test_white_noise_of_a_known_sd_is_found_in_anatomy(sd: float) -> None:
    image = anatomy_hu() + rng().normal(0, sd, X.shape).astype(np.float32)
    assert noise.noise_sd(image, BODY, "HU") == pytest.approx(sd, rel=0.08)


def test_reconstruction_noise_is_found_within_fifteen_percent() -> None:
    # FBP noise: a ramp times a smooth apodisation, so correlated over about two pixels
    radius = np.hypot(fft.fftfreq(SIZE)[:, None], fft.fftfreq(SIZE)[None])
    shape = np.sqrt(radius) * np.exp(-((radius / 0.25) ** 2))
    field = fft.ifft2(fft.fft2(rng().normal(size=X.shape)) * shape).real
    image = anatomy_hu() + (25 * field / field.std()).astype(np.float32)
    assert noise.noise_sd(image, BODY, "HU") == pytest.approx(25, rel=0.15)


def test_noise_follows_the_scale_and_ignores_the_offset() -> None:
    image = two_tissues()
    base = noise.noise_sd(image, EVERYWHERE)
    assert noise.noise_sd(image * 3 + 1000, EVERYWHERE) == pytest.approx(3 * base, rel=0.02)


def test_snr_and_cnr_of_two_flat_tissues() -> None:
    image = two_tissues(100, 150, 5)
    sd = noise.noise_sd(image, EVERYWHERE)
    assert noise.cnr(image, EVERYWHERE, sd) == pytest.approx(10, rel=0.05)
    flat = (200 + rng().normal(0, 10, X.shape)).astype(np.float32)
    assert noise.snr(flat, EVERYWHERE, noise.noise_sd(flat, EVERYWHERE)) == pytest.approx(20, rel=0.05)
    water = rng().normal(0, 20, X.shape).astype(np.float32)  # 1000 HU above air
    assert noise.snr(water, EVERYWHERE, noise.noise_sd(water, EVERYWHERE, "HU"), "HU") == pytest.approx(50, rel=0.05)


def test_joint_variation_of_two_tissues() -> None:
    image = two_tissues(100, 150, 5)
    assert mr.joint_variation(image, EVERYWHERE) == pytest.approx(0.2, abs=0.02)
    assert mr.joint_variation(4 * image + 30, EVERYWHERE) == pytest.approx(0.2, abs=0.02)


def blurred_disc(sigma: float) -> np.ndarray:
    """A disc of radius 70 and level 100 whose outline is a step blurred by `sigma` pixels, in closed form."""
    radius = np.hypot(Y - 127.6, X - 127.3)
    return (50 * special.erfc((radius - 70.3) / (sigma * np.sqrt(2)))).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.8, 1.5, 3.0, 6.0])
def test_edge_width_of_a_gaussian_blur_is_2_563_sigma(sigma: float) -> None:
    edges = sharpness.strong_edges(blurred_disc(sigma), EVERYWHERE)
    assert sharpness.edge_width(edges) == pytest.approx(2.563 * sigma, rel=0.06)
    assert sharpness.edge_width(edges, (0.7, 0.7)) == pytest.approx(2.563 * 0.7 * sigma, rel=0.06)


def test_edge_width_bears_noise_of_a_twentieth_of_the_step() -> None:
    image = blurred_disc(1.5) + rng().normal(0, 5, X.shape).astype(np.float32)
    assert sharpness.edge_width(sharpness.strong_edges(image, EVERYWHERE)) == pytest.approx(2.563 * 1.5, rel=0.15)


def test_edge_width_takes_the_spacing_across_the_edge() -> None:
    step = ndimage.gaussian_filter(np.where(X > 128, 100, 0).astype(np.float32), 2.0)
    edges = sharpness.strong_edges(step, EVERYWHERE)
    assert sharpness.edge_width(edges, (5.0, 0.5)) == pytest.approx(2.563 * 2.0 * 0.5, rel=0.06)


def test_one_sided_blur_shows_as_anisotropy() -> None:
    round_blur = ndimage.gaussian_filter(blurred_disc(1.0), 1.0)
    moved = ndimage.gaussian_filter1d(blurred_disc(1.0), 4.0, axis=1)
    assert sharpness.blur_anisotropy(sharpness.strong_edges(round_blur, EVERYWHERE)) == pytest.approx(1, abs=0.1)
    assert sharpness.blur_anisotropy(sharpness.strong_edges(moved, EVERYWHERE)) > 2


def test_overshoot_of_a_truncated_spectrum_is_nine_percent() -> None:
    sharp = blurred_disc(0.3)
    spectrum_ = fft.fft2(sharp)
    keep = np.hypot(fft.fftfreq(SIZE)[:, None], fft.fftfreq(SIZE)[None]) < 0.2
    ringing = fft.ifft2(spectrum_ * keep).real.astype(np.float32)
    found = sharpness.edge_overshoot(ringing, sharpness.strong_edges(ringing, EVERYWHERE))
    assert found == pytest.approx(0.09, abs=0.02)
    smooth = blurred_disc(1.5)
    assert sharpness.edge_overshoot(smooth, sharpness.strong_edges(smooth, EVERYWHERE)) < 0.01


def test_entropy_focus_lies_between_its_laws() -> None:
    one = np.zeros((64, 64), np.float32)
    one[5, 5] = 7
    assert mr.entropy_focus(one) == pytest.approx(0, abs=1e-6)
    assert mr.entropy_focus(np.full((64, 64), 3.0, np.float32)) == pytest.approx(1, abs=1e-6)
    body = (BODY * 100).astype(np.float32)
    ghosted = body + 0.2 * np.roll(body, 128, 0)
    assert mr.entropy_focus(body) < mr.entropy_focus(ghosted) < 1
    assert mr.entropy_focus(5 * body) == pytest.approx(mr.entropy_focus(body), abs=1e-6)


def test_background_energy_ratio_is_the_square_of_the_level_ratio() -> None:
    image = np.where(BODY, 100, 2).astype(np.float32)
    air = mr.air_of(BODY)
    assert mr.foreground_background_energy(image, BODY, air) == pytest.approx(2500, rel=0.01)
    assert np.isnan(mr.foreground_background_energy(np.where(BODY, 100, 0).astype(np.float32), BODY, air))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("floor", [0.0, 30.0])
def test_a_ghost_of_ten_percent_reads_ten_percent(axis: int, floor: float) -> None:
    body = np.hypot(Y - 128, X - 128) < 60
    image = (body * 500 + floor + np.abs(rng().normal(0, 5, X.shape))).astype(np.float32)
    air = mr.air_of(body)
    assert mr.ghost_ratio(image, body, air) < 0.01
    ghosted = image + 0.1 * np.roll(body * 500, 128, axis).astype(np.float32)
    assert mr.ghost_ratio(ghosted, body, air) == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("field", [0.0, 0.1, 0.2, 0.3])
def test_a_bias_field_is_found_within_three_points(field: float) -> None:
    tissue = np.where(BODY, 100, 0).astype(np.float32)
    tissue[np.hypot(Y - 110, X - 110) < 35] = 160
    tissue[np.hypot(Y - 160, X - 140) < 25] = 50
    slope = 1 + field * (X - 128) / 80  # +- field over the width of the body
    image = tissue * slope + np.where(BODY, rng().normal(0, 2, X.shape), 0)
    assert exposure.field_range(image.astype(np.float32), BODY) == pytest.approx(field, abs=0.03)


def test_clipped_fraction_is_the_share_cut_off() -> None:
    image = rng().normal(0, 1, X.shape).astype(np.float32)
    assert exposure.clipped_fraction(image, EVERYWHERE) == pytest.approx(0, abs=1e-4)
    cut = np.minimum(image, np.quantile(image, 0.95)) * 40 + 7
    assert exposure.clipped_fraction(cut.astype(np.float32), EVERYWHERE) == pytest.approx(0.05, abs=0.002)


def test_blockiness_rises_as_jpeg_quality_falls_at_any_phase() -> None:
    texture = ndimage.gaussian_filter(rng().normal(size=X.shape), 2)
    picture = (127 + 40 * texture / texture.std()).clip(0, 255).astype(np.uint8)
    found = [compression.blockiness(picture.astype(np.float32))]
    for quality in (60, 30, 10):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality)
        stored = np.asarray(Image.open(file)).astype(np.float32)
        found.append(compression.blockiness(stored[3:, 5:]))
    assert found[0] < 0.1
    assert found == sorted(found) and found[-1] > 0.5


def test_grey_levels_counts_distinct_values() -> None:
    assert compression.grey_levels(np.floor(X / 8), EVERYWHERE) == 32


def test_streaks_of_one_direction_raise_streak_energy() -> None:
    clean = rng().normal(0, 0.1, X.shape).astype(np.float32)
    profile = rng(1).normal(0, 0.2, 512)  # constant along one direction, rough across it
    streaks = clean + np.interp(0.9 * X + 0.43 * Y, np.arange(512), profile).astype(np.float32)
    assert spectrum.streak_energy(analyse(clean)) < 0.04
    assert spectrum.streak_energy(analyse(streaks)) > 0.2


@pytest.mark.parametrize("wedge", [30, 60])
def test_missing_angle_gives_the_degrees_of_an_empty_wedge(wedge: int) -> None:
    fy, fx = fft.fftfreq(SIZE)[:, None], fft.fftfreq(SIZE)[None]
    turn = np.degrees(np.arctan2(fy, fx)) % 180
    field = fft.fft2(rng().normal(size=X.shape))
    field[(turn > 20) & (turn < 20 + wedge)] = 0
    image = (0.1 * fft.ifft2(field).real).astype(np.float32)
    assert spectrum.missing_angle(analyse(image)) == pytest.approx(wedge, abs=10)
    assert spectrum.missing_angle(analyse(rng().normal(size=X.shape).astype(np.float32))) == 0


def test_a_faint_regular_pattern_is_a_spectral_peak() -> None:
    clean = rng().normal(0, 0.1, X.shape).astype(np.float32)
    lines = clean + (0.03 * np.sin(2 * np.pi * 0.23 * Y)).astype(np.float32)
    assert spectrum.spectral_peak(analyse(clean)) < 13
    assert spectrum.spectral_peak(analyse(lines)) > 20


def test_ring_amplitude_of_known_rings_in_noise() -> None:
    radius = np.hypot(Y - 127.5, X - 127.5)
    rings = 10 * np.sqrt(2) * np.sin(2 * np.pi * radius / 5)
    image = (40 + rng().normal(0, 20, X.shape)).astype(np.float32)
    assert ct.ring_amplitude(image, EVERYWHERE) < 2
    assert ct.ring_amplitude((image + rings).astype(np.float32), EVERYWHERE) == pytest.approx(10, rel=0.2)


def test_cupping_is_rim_minus_middle() -> None:
    depth = ndimage.distance_transform_edt(BODY)
    image = np.where(BODY, 60 - 60 * depth / depth.max(), -1000).astype(np.float32)
    assert ct.cupping(image, BODY) == pytest.approx(60 * 2 / 3, abs=6)
    assert ct.cupping(np.where(BODY, 40, -1000).astype(np.float32), BODY) == 0


def test_metal_and_voids_and_lost_patches_are_shares_of_the_body() -> None:
    image = (1000 + rng().normal(0, 20, X.shape)).astype(np.float32)
    metal = image.copy()
    metal[:26] = 3000
    assert ct.metal_share(metal, EVERYWHERE) == pytest.approx(26 / 256)
    lost = image.copy()
    lost[100:151] = 0
    assert exposure.void_share(lost, EVERYWHERE) == pytest.approx(0.2, abs=0.02)
    assert coverage.lost_fraction(lost, EVERYWHERE) == pytest.approx(51 / 256, abs=1e-6)
    assert coverage.lost_fraction(image, EVERYWHERE) == 0


def test_depth_falloff_and_speckle_of_a_rayleigh_field() -> None:
    speckle = rng().rayleigh(1, X.shape).astype(np.float32)
    assert exposure.speckle_index(speckle, EVERYWHERE) == pytest.approx(0.523, abs=0.03)
    assert exposure.speckle_index(7 * speckle, EVERYWHERE) == pytest.approx(0.523, abs=0.03)
    assert exposure.depth_falloff(np.where(Y < 128, 2, 1) * (X > 0) * 1.0, EVERYWHERE) == pytest.approx(0.5)


def test_contrast_and_brightness_of_known_levels() -> None:
    half = np.where(X < 128, 100, 300).astype(np.float32)
    assert exposure.contrast_range(half, EVERYWHERE) == pytest.approx(0.5)
    assert exposure.contrast_range(half - 150, EVERYWHERE, "HU") == pytest.approx(200)
    ramp = X
    assert exposure.brightness(ramp, EVERYWHERE) == pytest.approx(0.5, abs=0.01)
    assert exposure.brightness(ramp**2, EVERYWHERE, inverted=True) == pytest.approx(0.75, abs=0.01)


def test_tilt_and_symmetry_of_an_ellipse() -> None:
    for angle in (0.0, 12.0, 30.0):
        t = np.radians(angle)
        u, v = (X - 128) * np.cos(t) + (Y - 128) * np.sin(t), (Y - 128) * np.cos(t) - (X - 128) * np.sin(t)
        ellipse = (u / 60) ** 2 + (v / 100) ** 2 < 1
        assert coverage.tilt(ellipse) == pytest.approx(angle, abs=1)
    assert coverage.asymmetry(BODY * 100.0, EVERYWHERE) < 0.05
    assert coverage.asymmetry(np.roll(BODY, 16, 1) * 100.0, EVERYWHERE) < 0.1  # off-centre is not asymmetric
    assert coverage.asymmetry(np.where(X < 128, 100.0, 0.0), EVERYWHERE) > 0.5


def test_the_frame_that_body_touches() -> None:
    assert coverage.cut_outline(EVERYWHERE) == 1
    assert coverage.cut_outline(Y < 10) == pytest.approx((256 + 10 + 10) / 1024)
    assert coverage.body_share(Y < 64) == 0.25


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_specular_cast_and_veil_of_a_painted_picture(scale: float) -> None:
    picture = np.broadcast_to(np.array([0.6, 0.3, 0.0], np.float32), (SIZE, SIZE, 3)).copy()
    assert optical.colour_cast(picture * scale, EVERYWHERE) == pytest.approx(1.0)
    assert optical.specular_fraction(picture * scale, EVERYWHERE) == 0
    assert optical.veil(picture * scale, EVERYWHERE) == 0
    picture[:8] = 1.0
    assert optical.specular_fraction(picture * scale, EVERYWHERE) == pytest.approx(8 / 256)
    assert optical.veil((0.5 * picture + 0.5) * scale, EVERYWHERE) == pytest.approx(0.5, abs=0.01)
    grey = np.full((SIZE, SIZE, 3), 0.4, np.float32) * scale
    assert optical.colour_cast(grey, EVERYWHERE) == pytest.approx(0, abs=1e-6)


def test_measures_do_not_change_when_the_picture_is_mirrored() -> None:
    image = anatomy_hu() + rng().normal(0, 15, X.shape).astype(np.float32)
    for flip in (np.fliplr, np.flipud):
        other, mask = np.ascontiguousarray(flip(image)), np.ascontiguousarray(flip(BODY))
        assert noise.noise_sd(other, mask, "HU") == pytest.approx(noise.noise_sd(image, BODY, "HU"), rel=0.03)
        before = sharpness.edge_width(sharpness.strong_edges(image, EVERYWHERE))
        assert sharpness.edge_width(sharpness.strong_edges(other, EVERYWHERE)) == pytest.approx(before, rel=0.05)
        assert coverage.lost_fraction(other, mask) == coverage.lost_fraction(image, BODY)


@pytest.mark.parametrize("levels", [2, 3, 1000])
def test_flat_patches_are_those_whose_extrema_are_one(levels: int) -> None:
    coarse = rng(levels).integers(0, levels, (17, 23)).astype(np.float32)
    image = np.repeat(np.repeat(coarse, 3, 0), 4, 1)
    image[10:22, 40:] = 1.0
    same = ndimage.maximum_filter(image, 5) == ndimage.minimum_filter(image, 5)
    assert np.array_equal(flat_patches(image), ndimage.maximum_filter(same, 5))
    assert flat_patches(image).any()


@pytest.mark.parametrize("shape", [(33, 70), (64, 64)])
def test_fast_filters_are_the_general_ones(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    image = rng.normal(100, 20, shape).astype(np.float32)
    marks = rng.random(shape) < 0.02
    for size in (3, 5, 9):
        assert np.array_equal(box_mean(image, size), ndimage.uniform_filter(image, size))
        assert np.array_equal(any_near(marks, size), ndimage.maximum_filter(marks, size, mode="constant"))
        assert np.array_equal(all_near(~marks, size), ndimage.minimum_filter(~marks, size, mode="constant"))
    taps = np.array([1, 6, 15, 20, 15, 6, 1]) / 64
    wanted = ndimage.correlate1d(ndimage.correlate1d(image.astype(np.float64), taps, 0), taps, 1)
    assert binomial_blur(image, 3) == pytest.approx(wanted, rel=1e-6)


def test_edges_of_large_values_are_those_of_small_ones() -> None:
    image = blurred_disc(1.5)
    found, other = (sharpness.strong_edges(image * np.float32(scale), EVERYWHERE) for scale in (1, 2.0**90))
    assert found.sigma_px.size > 20 and np.array_equal(found.sigma_px, other.sigma_px)
