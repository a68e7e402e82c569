"""MR degradations: the common laws, and physics with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from medq_vlm.degrade import mr, mr_lines
from medq_vlm.degrade.fourier import centre_lines, to_image, to_kspace
from tests import degradation_laws as laws

KINDS = [d.kind for d in mr.DEGRADATIONS]


@pytest.mark.parametrize("kind", KINDS)
def test_strength_zero_is_the_identity(kind: str) -> None:
    laws.check_identity_at_zero(kind, "mr")


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_replays_on_any_size(kind: str) -> None:
    laws.check_replay_and_shape(kind, "mr")


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_grows_with_strength(kind: str) -> None:
    laws.check_grows(kind, "mr")


def test_the_box_of_a_metal_artefact_holds_the_change() -> None:
    laws.check_box_holds_the_change("susceptibility", "mr")


def test_the_transform_pair_agrees_with_numpy() -> None:
    image = laws.phantom(33, 48, 1)
    expected = np.fft.fftshift(np.fft.fft2(image.numpy()), axes=(-2, -1))
    assert np.allclose(to_kspace(image).numpy(), expected, atol=1e-3)
    assert torch.allclose(to_image(to_kspace(image)).real, image, atol=1e-5)


@pytest.mark.parametrize("variant", ["uniform", "interpolated"])
def test_noise_in_air_has_the_rayleigh_sd(variant: str) -> None:
    air = torch.zeros(1, 1, 256, 256)
    params = laws.drawn_params("mr_noise", "mr", air, variant=variant, noise_sd=0.1)
    noisy = laws.apply_params("mr_noise", "mr", air, params)
    assert float(noisy.std()) == pytest.approx(0.1 * math.sqrt(2 - math.pi / 2), rel=0.04)
    assert float(noisy.mean()) == pytest.approx(0.1 * math.sqrt(math.pi / 2), rel=0.03)


def test_noise_in_strong_signal_has_the_gaussian_sd() -> None:
    flat = torch.full((1, 1, 256, 256), 1.0)
    params = laws.drawn_params("mr_noise", "mr", flat, variant="uniform", noise_sd=0.05)
    assert float(laws.apply_params("mr_noise", "mr", flat, params).std()) == pytest.approx(0.05, rel=0.03)


def test_alternating_lines_put_one_ghost_at_half_the_field_of_view() -> None:
    image = torch.zeros(1, 1, 64, 64)
    image[..., 10:20, 30:40] = 1.0
    params = laws.drawn_params(
        "ghosting", "mr", image, variant="amplitude", ghosts=2, ghost_fraction=0.3, phase_encode_axis="row"
    )
    ghosted = laws.apply_params("ghosting", "mr", image, params)
    assert torch.allclose(ghosted, image + 0.3 * image.roll(32, dims=-2), atol=1e-5)


def test_a_constant_phase_step_keeps_the_energy_between_object_and_ghost() -> None:
    image = torch.zeros(1, 1, 64, 64)
    image[..., 10:20, 30:40] = 1.0
    params = laws.drawn_params(
        "ghosting", "mr", image, variant="phase", ghosts=2, ghost_fraction=0.6, phase_encode_axis="column"
    )
    ghosted = laws.apply_params("ghosting", "mr", image, params)
    assert torch.allclose(ghosted, 0.8 * image + 0.6 * image.roll(32, dims=-1), atol=1e-5)


def test_truncation_keeps_exactly_the_central_lines() -> None:
    kspace = to_kspace(laws.phantom(64, 48, 1))
    kept = mr.truncate(kspace, "row", 0.25)
    rows = slice(32 - 8, 32 + 9)  # 16 of 64, made odd
    assert torch.equal(kept[..., rows, :], kspace[..., rows, :])
    assert float(kept.abs().sum()) == pytest.approx(float(kspace[..., rows, :].abs().sum()))


def test_truncation_overshoots_an_edge_by_nine_percent() -> None:
    """The Gibbs constant: a step overshoots by 8.95 % of its height, however many lines are kept."""
    step = torch.zeros(1, 1, 512, 512)
    step[..., 128:384, :] = 1.0
    ringing = laws.apply_params("gibbs_ringing", "mr", step, {"axes": "row", "kept_fraction": 0.25})
    assert float(ringing.max()) == pytest.approx(1.0895, abs=0.006)


def test_folding_adds_what_lies_one_period_away() -> None:
    column = torch.arange(1.0, 11.0)[None, :, None]  # rows 1 to 10
    folded = mr.fold(column, start_px=3, period_px=4)
    assert folded[0, :, 0].tolist() == [0, 0, 0, 4 + 8, 5 + 1 + 9, 6 + 2 + 10, 7 + 3, 0, 0, 0]


def test_wraparound_keeps_the_signal_and_narrows_the_object() -> None:
    image = torch.zeros(1, 1, 64, 64)
    image[..., 12:52, 20:40] = 1.0  # 40 rows
    params = laws.drawn_params(
        "wraparound", "mr", image, variant="fold", phase_encode_axis="row", overlap_fraction=0.25, folded_gain=1.0
    )
    wrapped = laws.apply_params("wraparound", "mr", image, params)
    assert float(wrapped.sum()) == pytest.approx(float(image.sum()))
    profile = wrapped[0, 0, :, 30]
    assert int((profile > 0).sum()) == 30 and int((profile == 2).sum()) == 10


def test_a_shading_field_has_the_stated_range_and_keeps_the_mean() -> None:
    image = laws.phantom(96, 80, 1)
    for variant in ("polynomial", "coil", "random"):
        params = laws.drawn_params("bias_field", "mr", image, variant=variant, range_db=20.0)
        gain = mr.bias_gain(image, params)
        assert float(gain.max() / gain.min()) == pytest.approx(10.0, rel=1e-3)
        shaded = laws.apply_params("bias_field", "mr", image, params)
        assert float(shaded.mean()) == pytest.approx(float(image.mean()), rel=1e-4)


def test_one_spike_is_one_stripe_pattern_of_the_stated_height() -> None:
    flat = torch.full((1, 1, 64, 64), 0.5)
    spike = {"radius_fraction": 0.25, "angle_deg": 90.0, "phase_deg": 0.0, "samples": 1}
    striped = laws.apply_params("spike", "mr", flat, {"stripe_amplitude": 0.2, "spikes": [spike]})
    assert float(striped.max()) == pytest.approx(0.7, abs=1e-3)
    assert float(striped.min()) == pytest.approx(0.3, abs=1e-3)
    assert torch.allclose(striped[..., :, 0], striped[..., :, 40], atol=1e-5)  # stripes along the rows


def test_motion_after_the_last_line_changes_nothing() -> None:
    image = laws.phantom(64, 64, 1)
    params = laws.drawn_params("mr_motion", "mr", image, variant="sudden", shots=1)
    assert float((laws.apply_params("mr_motion", "mr", image, params) - image).abs().mean()) > 1e-3
    still = laws.apply_params("mr_motion", "mr", image, {**params, "onset_fraction": 2.0})
    assert torch.allclose(still, image, atol=1e-5)


def test_the_same_shift_on_every_line_moves_the_image() -> None:
    image = laws.phantom(64, 64, 1)
    params = {"direction_deg": 90.0}
    shifted = mr_lines._translate(to_kspace(image), params, torch.full((64,), 5.0), "row")
    assert torch.allclose(to_image(shifted).real, image.roll(5, dims=-2), atol=1e-5)


@pytest.mark.parametrize("variant", ["uniform", "random", "jittered"])
def test_a_mask_keeps_its_share_of_lines_and_all_of_the_centre(variant: str) -> None:
    image = torch.zeros(1, 1, 256, 200)
    params = laws.drawn_params(
        "undersampling", "mr", image,
        variant=variant, acceleration=4.0, centre_fraction=0.08, phase_encode_axis="row",
    )  # fmt: skip
    mask = mr_lines.sampling_mask(params, 256, 200)
    assert torch.equal(mask, mask[:, :1].expand(256, 200))
    kept = mask[:, 0]
    assert bool(kept[centre_lines(256, 20, torch.device("cpu"))].all())
    assert 0.25 <= float(kept.float().mean()) <= 0.25 + 0.09


@pytest.mark.parametrize("variant", ["uniform", "random", "jittered", "partial_fourier"])
def test_acceleration_one_keeps_every_line(variant: str) -> None:
    image = torch.zeros(1, 1, 96, 80)
    params = laws.drawn_params("undersampling", "mr", image, strength=0.0, variant=variant)
    assert bool(mr_lines.sampling_mask(params, 96, 80).all())


def test_misplaced_signal_is_kept() -> None:
    image = laws.phantom(64, 64, 1)
    shift = 3 * torch.sin(torch.linspace(0, 6, 64))[:, None] * torch.ones(1, 64)
    moved = mr._misplace(image, shift, "column")
    assert float(moved.sum()) == pytest.approx(float(image.sum()), rel=1e-4)
