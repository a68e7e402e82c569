"""Radiograph degradations and exposure: the common laws, and physics with known answers."""

from __future__ import annotations

import math

import pytest
import torch

from medq_vlm.degrade import exposure, fields, photons, xray
from tests import degradation_laws as laws

KINDS = [d.kind for d in xray.DEGRADATIONS]
PAIRS = [(kind, modality) for kind in KINDS for modality in ("xray", "mammography")]


@pytest.mark.parametrize(("kind", "modality"), PAIRS)
def test_strength_zero_is_the_identity(kind: str, modality: str) -> None:
    laws.check_identity_at_zero(kind, modality)


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_replays_on_any_size(kind: str) -> None:
    laws.check_replay_and_shape(kind, "xray")


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_grows_with_strength(kind: str) -> None:
    laws.check_grows(kind, "xray")


def test_the_box_of_a_single_shutter_holds_the_change() -> None:
    laws.check_box_holds_the_change("collimation", "xray")


@pytest.mark.parametrize("mean", [3.0, 20.0, 400.0])
def test_counts_are_whole_with_variance_equal_to_the_mean(mean: float) -> None:
    counts = fields.poisson(torch.full((400, 400), mean), torch.Generator().manual_seed(1))
    assert torch.equal(counts, counts.round()) and float(counts.min()) >= 0
    assert float(counts.mean()) == pytest.approx(mean, rel=0.02)
    assert float(counts.var()) == pytest.approx(mean, rel=0.12)


def test_transmission_and_grey_are_inverse() -> None:
    grey = torch.linspace(0, 1.5, 40)
    assert torch.allclose(photons.grey_of(photons.transmission(grey)), grey, atol=1e-5)
    assert float(photons.transmission(torch.tensor(1.0))) == pytest.approx(0.01)


def test_noise_follows_the_dose_and_the_thickness() -> None:
    """SD in grey = sqrt((1 - d) / (d * photons behind the part)) / exponent."""
    for grey, dose in ((0.2, 0.1), (0.2, 0.02), (0.8, 0.1)):
        noisy = photons.detect(torch.full((300, 300), grey), dose, torch.Generator().manual_seed(2))
        behind = photons.PHOTONS * math.exp(-photons.EXPONENT * grey)
        expected = math.sqrt((1 - dose) / (dose * behind)) / photons.EXPONENT
        assert float(noisy.std()) == pytest.approx(expected, rel=0.06)


def test_the_full_dose_adds_no_noise() -> None:
    grey = torch.full((40, 40), 0.5)
    assert torch.equal(photons.detect(grey, 1.0, torch.Generator().manual_seed(0)), grey)


def test_the_dose_alone_decides_how_strong_the_mottle_is() -> None:
    flat = torch.full((1, 1, 256, 256), 0.4)
    found = []
    for spread in (0.0, 0.05, 0.2, 0.29, 0.31, 0.6, 1.2):
        params = {"dose_fraction": 0.05, "light_spread_px": spread, "edge_enhancement": 0.0}
        noisy = xray._apply_mottle(flat, params, "xray", torch.Generator().manual_seed(3))
        found.append(float((noisy - flat).std()))
    assert found == pytest.approx([found[0]] * len(found), rel=0.03)


def test_scatter_divides_the_contrast_of_a_small_detail_by_one_plus_the_ratio() -> None:
    """For a weak detail on a flat background the contrast falls to 1 / (1 + scatter-to-primary)."""
    image = torch.full((1, 1, 128, 128), 0.5)
    image[..., 64, 64] += 0.01
    params = {"scatter_to_primary": 3.0, "scatter_width_px": 20.0}
    veiled = laws.apply_params("scatter", "xray", image, params)
    contrast = float(veiled[0, 0, 64, 64] - veiled[0, 0, 20, 20])
    assert contrast == pytest.approx(0.01 / 4, rel=0.03)
    assert float(veiled[0, 0, 20, 20]) == pytest.approx(0.5, abs=1e-3)


def test_film_brightens_with_less_exposure_and_keeps_order() -> None:
    grey = torch.linspace(-0.2, 1.3, 60)
    for shift in (-2.0, 2.0):
        curve = exposure.film(grey, shift)
        assert bool((curve.diff() > 0).all())
        assert bool(((curve - grey)[20:40] * shift > 0).all())
    assert torch.allclose(exposure.film(grey, 0.0), grey, atol=1e-4)


def test_a_saturated_detector_loses_exactly_what_lies_below_the_cut() -> None:
    image = torch.linspace(0, 1, 101)[None, None, None, :].repeat(1, 1, 40, 1)
    factor = math.exp(photons.EXPONENT * 0.4)
    out = laws.apply_params("overexposure", "xray", image, {"variant": "saturated", "exposure_factor": factor})
    assert int((out[0, 0, 0] == 0).sum()) in (40, 41)
    assert float(out.max()) == pytest.approx(1.0)


@pytest.mark.parametrize("stops", [1.0, 2.0])
def test_an_optical_exposure_step_halves_or_doubles_the_light(stops: float) -> None:
    image = torch.full((1, 3, 40, 40), 0.2)
    dark = {"variant": "gain", "stops": stops, "read_noise_sd": 0.0}
    assert torch.allclose(laws.apply_params("underexposure", "fundus", image, dark), image * 2**-stops)
    bright = {"variant": "clip", "stops": stops}
    assert torch.allclose(laws.apply_params("overexposure", "fundus", image, bright), image * 2**stops)


def test_an_optical_sensor_is_full_at_one_and_keeps_what_was_above() -> None:
    image = torch.full((1, 3, 40, 40), 0.8)
    image[..., 0, 0] = 1.2
    out = laws.apply_params("overexposure", "dermoscopy", image, {"variant": "clip", "stops": 1.0})
    assert float(out[0, 0, 5, 5]) == 1.0 and float(out[0, 0, 0, 0]) == pytest.approx(1.2)


def test_collimation_hides_the_stated_area() -> None:
    image = torch.ones(1, 1, 200, 160)
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        params = dict(xray._draw_collimation(0.6, "xray", generator, (200, 160)), shutter_grey=0.0, tilt_deg=0.0)
        hidden = 1 - float(laws.apply_params("collimation", "xray", image, params).mean())
        assert hidden == pytest.approx(0.65 * 0.6, abs=0.03)


def test_a_quarter_turn_moves_the_top_to_the_left() -> None:
    image = torch.zeros(1, 1, 41, 41)
    image[..., 3, 20] = 1.0
    turned = laws.apply_params("rotation", "xray", image, {"angle_deg": 90.0, "outside": "zeros"})
    assert float(turned[0, 0, 20, 3]) == pytest.approx(1.0, abs=1e-3)


def test_grid_lines_repeat_at_their_period() -> None:
    image = torch.full((1, 1, 64, 64), 0.5)
    params = laws.drawn_params("grid_lines", "xray", image, variant="lines", tilt_deg=0.0, period_px=8.0)
    lined = laws.apply_params("grid_lines", "xray", image, params)
    assert torch.allclose(lined[..., 8:], lined[..., :-8], atol=1e-4)
    assert float(lined.std()) > 0.02
