"""The kinds of every modality and PET's low counts: the common laws, and numbers with known answers."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from medq_vlm.degrade import common, filters, noise, pet, sharpness
from tests import degradation_laws as laws

KINDS = [d.kind for d in common.DEGRADATIONS]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("modality", ["ct", "mr", "histopathology"])
def test_strength_zero_is_the_identity(kind: str, modality: str) -> None:
    laws.check_identity_at_zero(kind, modality)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("modality", ["xray", "endoscopy"])
def test_a_record_replays_on_any_size(kind: str, modality: str) -> None:
    laws.check_replay_and_shape(kind, modality)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_grows_with_strength(kind: str) -> None:
    laws.check_grows(kind, "mr")


def test_the_box_of_a_dropout_holds_the_change() -> None:
    laws.check_box_holds_the_change("dropout", "mr")


@pytest.mark.parametrize("variant", ["white", "correlated", "lines"])
def test_noise_in_ct_has_the_recorded_hu(variant: str) -> None:
    image = torch.zeros(1, 1, 256, 256)
    params = laws.drawn_params("noise", "ct", image, variant=variant, sd_hu=25.0)
    noisy = laws.apply_params("noise", "ct", image, params)
    assert float(noisy.std()) == pytest.approx(25.0, rel=0.05)


def test_salt_and_pepper_moves_the_recorded_power() -> None:
    image = torch.full((1, 1, 256, 256), 0.5)
    params = laws.drawn_params("noise", "xray", image, variant="salt_and_pepper", sd_fraction=0.1)
    hit = (laws.apply_params("noise", "xray", image, params) != image).float().mean()
    assert float(hit) == pytest.approx(0.03, rel=0.15)


@pytest.mark.parametrize("variant", ["gaussian", "disk", "anisotropic"])
def test_every_blur_spreads_a_point_by_the_recorded_sigma(variant: str) -> None:
    """The second moments along x and y multiply to sigma^4, and nothing is lost."""
    point = torch.zeros(1, 1, 129, 129)
    point[..., 64, 64] = 1
    params = laws.drawn_params("blur", "mr", point, variant=variant, sigma_px=4.0)
    spread = laws.apply_params("blur", "mr", point, params)[0, 0]
    place = torch.arange(129.0) - 64
    along_x, along_y = (spread.sum(0) * place**2).sum(), (spread.sum(1) * place**2).sum()
    assert float(spread.sum()) == pytest.approx(1.0, abs=1e-4)
    assert math.sqrt(math.sqrt(float(along_x * along_y))) == pytest.approx(4.0, rel=0.04)


def test_straight_motion_smears_a_point_over_its_length() -> None:
    point = torch.zeros(1, 1, 65, 65)
    point[..., 32, 32] = 1
    params = laws.drawn_params("motion_blur", "mr", point, variant="line", motion_px=12.0, angle_deg=0.0)
    smeared = laws.apply_params("motion_blur", "mr", point, params)[0, 0]
    assert float(smeared.sum()) == pytest.approx(1.0, abs=1e-4)
    assert float(smeared[32].sum()) == pytest.approx(1.0, abs=1e-3)
    variance = float((smeared[32] * (torch.arange(65.0) - 32) ** 2).sum())
    assert variance == pytest.approx(12.0**2 / 12, rel=0.05)  # of a uniform distribution 12 wide


def test_a_double_exposure_leaves_the_first_in_place_and_adds_a_fainter_second() -> None:
    point = torch.zeros(1, 1, 65, 65)
    point[..., 32, 32] = 1.0
    params = laws.drawn_params(
        "motion_blur", "mr", point, variant="double", motion_px=5.0, angle_deg=0.0, reach=2.0, second_fraction=0.25
    )
    seen = laws.apply_params("motion_blur", "mr", point, params)[0, 0]
    assert float(seen[32, 32]) == pytest.approx(0.75, abs=0.03)
    assert float(seen[32, 42]) == pytest.approx(0.25, abs=0.03)
    assert float(seen.sum()) == pytest.approx(1.0, abs=1e-3)


def test_convolution_agrees_with_separable_blur() -> None:
    image = torch.rand(1, 1, 60, 47, generator=torch.Generator().manual_seed(0))
    line = filters.gaussian_kernel(1.5)
    apart = filters.gaussian_blur(image, 1.5)
    assert torch.allclose(filters.convolve(image, line[:, None] * line[None, :]), apart, atol=1e-5)


def test_low_resolution_by_area_and_nearest_gives_flat_blocks() -> None:
    image = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    params = {"factor_x": 8.0, "factor_y": 8.0, "down": "area", "up": "nearest"}
    coarse = sharpness.apply_resolution(image, params, "mr", torch.Generator())
    blocks = image.reshape(1, 1, 8, 8, 8, 8).mean((3, 5))
    assert torch.allclose(coarse[..., 3::8, 3::8], blocks, atol=1e-6)
    assert torch.allclose(coarse[..., :8, :8], coarse[..., :1, :1].expand(1, 1, 8, 8))


def test_low_contrast_keeps_the_recorded_share_of_every_difference() -> None:
    image = laws.phantom_for("mr")
    params = laws.drawn_params("low_contrast", "mr", image, contrast_fraction=0.25)
    flat = laws.apply_params("low_contrast", "mr", image, params)
    assert float(flat.std() / image.std()) == pytest.approx(0.25, abs=1e-3)


def test_clipping_saturates_the_recorded_share_of_the_body() -> None:
    image = torch.linspace(0.1, 1.0, 128 * 128).reshape(1, 1, 128, 128)
    clipped = laws.apply_params(
        "clipping", "mr", image,
        {"clipped_low_fraction": 0.2, "clipped_high_fraction": 0.3, "stretched": False},
    )  # fmt: skip
    assert float((clipped == clipped.max()).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert float((clipped == clipped.min()).float().mean()) == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("variant", ["jpeg", "webp", "jpeg2000"])
def test_coders_lose_more_at_lower_rates_and_add_their_change_to_native_values(variant: str) -> None:
    image = laws.phantom_for("mr", 96, 96)
    image[..., 0, 0] = 1.7  # above white: the coder shows white there, the value is kept to within its error
    name = {"jpeg": "jpeg_quality", "webp": "webp_quality", "jpeg2000": "compression_ratio"}[variant]
    ladder = [90, 40, 5] if variant != "jpeg2000" else [4.0, 20.0, 100.0]
    params = {"variant": variant, "range_low": 0.0, "range_width": 1.0}
    changed = [laws.apply_params("compression", "mr", image, {**params, name: rung}) for rung in ladder]
    errors = [float((c - image).square().mean()) for c in changed]
    assert all(low < high for low, high in itertools.pairwise(errors)), errors
    assert float(changed[0][..., 0, 0]) > 1.3


def test_grey_levels_leaves_the_recorded_number_of_levels() -> None:
    ramp = torch.linspace(0, 1, 4096).reshape(1, 1, 64, 64)
    params = {"variant": "grey_levels", "range_low": 0.0, "range_width": 1.0, "grey_levels": 5}
    coarse = laws.apply_params("compression", "mr", ramp, params)
    assert torch.unique((coarse * 1000).round()).numel() == 5


@pytest.mark.parametrize("variant", ["lines", "bands", "block"])
def test_dropout_loses_the_recorded_share(variant: str) -> None:
    image = torch.ones(1, 1, 200, 160)
    for seed in range(40):
        params = common.DEGRADATIONS[-1].draw(0.6, "mr", torch.Generator().manual_seed(seed), (200, 160))
        if params["variant"] == variant:
            lost = (laws.apply_params("dropout", "mr", image, params) != 1).float().mean()
            assert float(lost) == pytest.approx(params["missing_fraction"], abs=0.06)


def test_every_variant_of_noise_is_drawn() -> None:
    drawn = {noise.draw(0.5, "mr", torch.Generator().manual_seed(s), (64, 64))["variant"] for s in range(80)}
    assert drawn == set(noise._VARIANTS)


# --- PET ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [d.kind for d in pet.DEGRADATIONS])
def test_pet_obeys_the_common_laws(kind: str) -> None:
    laws.check_identity_at_zero(kind, "pet")
    laws.check_replay_and_shape(kind, "pet")
    laws.check_grows(kind, "pet")


@pytest.mark.parametrize("variant", ["filtered_back_projection", "iterative", "image"])
def test_pet_noise_falls_with_the_root_of_the_counts(variant: str) -> None:
    image = laws.phantom_for("pet")
    inside = image > 0.3

    def sd(counts: float) -> float:
        params = laws.drawn_params("low_count_noise", "pet", image, variant=variant, counts=counts)
        return float((laws.apply_params("low_count_noise", "pet", image, params) - image)[inside].std())

    assert sd(1e6) / sd(1.6e7) == pytest.approx(4.0, rel=0.1)
