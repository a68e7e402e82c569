"""Ultrasound degradations: the common laws, and physics with known answers."""

from __future__ import annotations

import pytest
import torch

from medq_vlm.degrade import ultrasound
from tests import degradation_laws as laws

KINDS = [d.kind for d in ultrasound.DEGRADATIONS]


@pytest.mark.parametrize("kind", KINDS)
def test_strength_zero_is_the_identity(kind: str) -> None:
    laws.check_identity_at_zero(kind, "ultrasound")


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_replays_on_any_size(kind: str) -> None:
    laws.check_replay_and_shape(kind, "ultrasound")


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_grows_with_strength(kind: str) -> None:
    laws.check_grows(kind, "ultrasound")


@pytest.mark.parametrize("kind", ["shadow", "reverberation"])
def test_the_box_holds_the_change(kind: str) -> None:
    laws.check_box_holds_the_change(kind, "ultrasound")


@pytest.mark.parametrize("kind", KINDS)
def test_the_black_surround_stays_black(kind: str) -> None:
    image = torch.zeros(1, 1, 128, 128)
    image[..., 48:80, 48:80] = 0.5
    for seed in range(4):
        params = ultrasound_params(kind, image, seed)
        out = laws.apply_params(kind, "ultrasound", image, params)
        assert float(out[..., :20, :].abs().max()) == 0 and float(out[..., :, :20].abs().max()) == 0


def ultrasound_params(kind: str, image: torch.Tensor, seed: int) -> dict:
    draw = {d.kind: d.draw for d in ultrasound.DEGRADATIONS}[kind]
    return draw(0.8, "ultrasound", torch.Generator().manual_seed(seed), laws.size_of(image))


def with_gain(grey: float, gain_db: float, variant: str = "even") -> torch.Tensor:
    image = torch.full((1, 1, 64, 64), grey)
    params = {"gain_db": gain_db, "receiver_noise_db": -90.0, "variant": variant, "turn_fraction": 0.5}
    return laws.apply_params("gain", "ultrasound", image, params)


@pytest.mark.parametrize("gain_db", [-12.0, 6.0])
def test_gain_moves_the_grey_by_its_share_of_the_dynamic_range(gain_db: float) -> None:
    assert torch.allclose(with_gain(0.5, gain_db), torch.full((1, 1, 64, 64), 0.5 + gain_db / 60.0), atol=1e-6)


def test_an_uneven_gain_is_right_at_its_turn_and_wrong_to_both_sides() -> None:
    across, down = with_gain(0.5, 12.0, "lateral")[0, 0], with_gain(0.5, 12.0, "depth")[0, 0]
    assert torch.allclose(across[0], across[-1]) and torch.allclose(across, down.T, atol=1e-6)
    assert float(across[0, 0]) == pytest.approx(0.3, abs=1e-3)
    assert float(across[0, 32]) == pytest.approx(0.5, abs=1e-3)
    assert float(across[0, -1]) == pytest.approx(0.7, abs=0.01)


def test_too_much_gain_saturates_at_white() -> None:
    assert torch.allclose(with_gain(0.8, 30.0), torch.ones(1, 1, 64, 64))


def test_attenuation_grows_evenly_with_depth_to_the_stated_loss() -> None:
    params = {"variant": "depth", "bottom_db": 30.0, "start_fraction": 0.0}
    change = ultrasound.depth_gain_db(params, 101)
    assert float(change[0]) == 0 and float(change[-1]) == pytest.approx(-30.0)
    assert torch.allclose(change.diff(), torch.full((100,), -0.3), atol=1e-4)
    image = torch.full((1, 1, 101, 64), 0.9)
    out = laws.apply_params("attenuation", "ultrasound", image, params)
    assert float(out[0, 0, 50, 32]) == pytest.approx(0.9 - 15 / 60, abs=1e-4)


def test_log_compressed_speckle_has_the_stated_sd_in_decibels() -> None:
    image = torch.full((1, 1, 256, 256), 0.7)
    params = laws.drawn_params("speckle", "ultrasound", image, variant="log_rayleigh", speckle_sd_db=5.57)
    out = laws.apply_params("speckle", "ultrasound", image, params)
    assert float(out.std()) * 60.0 == pytest.approx(5.57, rel=0.06)
    assert float(out.mean()) == pytest.approx(0.7, abs=0.01)


def test_a_shadow_darkens_below_the_reflector_and_not_above_it() -> None:
    image = torch.full((1, 1, 128, 128), 0.9)
    params = laws.drawn_params(
        "shadow", "ultrasound", image,
        y_px=40.0, x_px=64.0, width_px=40.0, bottom_width_px=40.0, shadow_db=24.0, reflector_gain_db=0.0,
    )  # fmt: skip
    out = laws.apply_params("shadow", "ultrasound", image, params)
    assert torch.equal(out[..., :30, :], image[..., :30, :])
    assert float(out[0, 0, 100, 64]) == pytest.approx(0.9 - 24 / 60, abs=1e-3)
    assert float(out[0, 0, 100, 20]) == pytest.approx(0.9)


def test_reverberation_lines_lie_one_spacing_apart() -> None:
    image = torch.full((1, 1, 128, 64), 0.1)
    params = laws.drawn_params(
        "reverberation", "ultrasound", image,
        variant="lines", y_px=16.0, spacing_px=16.0, line_px=1.0, curve_fraction=0.0,
        tails=[{"x_px": 32.0, "width_px": 60.0}],
    )  # fmt: skip
    column = laws.apply_params("reverberation", "ultrasound", image, params)[0, 0, :, 32]
    peaks = [row for row in range(1, 127) if column[row] > column[row - 1] and column[row] >= column[row + 1]]
    assert peaks == [16, 32, 48, 64, 80, 96, 112]
    assert float(column[112]) < 0.5 * float(column[16])  # each echo is weaker than the one before
