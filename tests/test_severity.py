"""The calibrated table, the loss it is made with, and the measures in the loss."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch

from eval import detectability, full_reference, severity
from eval.fidelity import pixel_loss
from medq_vlm import degrade, vocab
from medq_vlm.schema import MedQError
from tests.degradation_laws import phantom_for
from training import calibrate_severity

PAIRS = [(kind.name, modality) for kind in vocab.KINDS for modality in kind.modalities]
Measure = Callable[..., torch.Tensor]
MEASURES = [full_reference.ssim, full_reference.haarpsi, full_reference.vif]


@pytest.mark.parametrize(("kind", "modality"), PAIRS)
def test_the_table_rises_in_four_distinct_steps(kind: str, modality: str) -> None:
    steps = degrade.severity_table()[kind][modality]
    assert steps[0] == 0 and len(steps) == 5 and steps[4] <= 1
    assert all(high - low > 0.005 for low, high in itertools.pairwise(steps)), steps


def test_strength_between_two_steps_is_linear() -> None:
    steps = degrade.severity_table()["blur"]["mr"]
    assert degrade.strength_for("blur", "mr", 2.5) == pytest.approx((steps[2] + steps[3]) / 2)
    assert degrade.strength_for("blur", "mr", 4.0) == steps[4]


def test_a_severity_or_a_kind_out_of_bounds_is_refused_in_words() -> None:
    with pytest.raises(MedQError, match="between 0 and 4"):
        degrade.strength_for("blur", "mr", 4.5)
    with pytest.raises(MedQError, match="not a degradation of mr images"):
        degrade.draw("metal", "mr", 2.0, 0, (64, 64))


def test_steps_are_at_equal_losses() -> None:
    losses = [s**2 for s in calibrate_severity.STRENGTHS]
    strengths, at = calibrate_severity.steps(calibrate_severity.STRENGTHS, losses, target=0.6)
    assert at == pytest.approx([0, 0.15, 0.3, 0.45, 0.6])
    assert [s**2 for s in strengths] == pytest.approx(at, abs=0.03)  # the ladder is linear between its rungs
    weak, at = calibrate_severity.steps(
        calibrate_severity.STRENGTHS, [0.2 * s for s in calibrate_severity.STRENGTHS], target=0.6
    )
    assert weak == pytest.approx([0, 0.25, 0.5, 0.75, 1.0], abs=1e-3) and at[-1] == pytest.approx(0.2)


def test_the_curve_of_noisy_losses_rises_and_meets_their_mean() -> None:
    rng = np.random.default_rng(0)
    strength = rng.uniform(0, 1, 400)
    curve = calibrate_severity.curve(strength, np.clip(0.6 * strength + rng.normal(0, 0.05, 400), 0, 1))
    assert curve[0] < 0.05 and (np.diff(curve) >= 0).all()
    assert curve == pytest.approx([0.6 * s for s in calibrate_severity.STRENGTHS], abs=0.05)


def test_a_case_that_lost_more_than_the_mean_is_more_severe() -> None:
    strength = degrade.strength_for("blur", "mr", 2.0)
    assert severity.nominal("blur", "mr", strength) == pytest.approx(2.0)
    faint, worse = (severity.measured("blur", "mr", strength, loss) for loss in (0.02, 0.9))
    assert faint < 2.0 < worse <= 2.0 * severity.MOST_ALONE**0.5
    assert severity.measured("rotation", "xray", 0.5, 0.9) == pytest.approx(2.0)
    assert severity.measured("blur", "mr", 0.0, 0.0) == 0.0


def test_a_kind_that_does_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="does nothing"):
        calibrate_severity.steps(calibrate_severity.STRENGTHS, [0.0] * len(calibrate_severity.STRENGTHS))


@pytest.mark.parametrize(("kind", "modality"), [("noise", "mr"), ("blur", "histopathology"), ("noise", "ct")])
def test_the_loss_rises_from_zero(kind: str, modality: str) -> None:
    image = phantom_for(modality, 112, 112)
    image = 1000 * image - 700 if modality == "ct" else image
    degraded = [
        degrade.apply(image, degrade.draw_strength(kind, modality, s, 4, (112, 112))) for s in (0.0, 0.3, 0.6, 1.0)
    ]
    losses = [pixel_loss(image, d, kind, modality) for d in degraded]
    assert losses[0] == pytest.approx(0, abs=1e-5)
    assert 0 < losses[1] < losses[2] < losses[3] < 1


# --- full-reference measures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", MEASURES)
def test_equal_images_score_one_and_worse_ones_less(measure: Measure) -> None:
    image = phantom_for("xray", 96, 96)
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    scores = [float(measure(image, image + sd * noise)) for sd in (0.0, 0.02, 0.1, 0.4)]
    assert scores[0] == pytest.approx(1.0, abs=1e-3)
    assert scores[0] > scores[1] > scores[2] > scores[3] >= 0


@pytest.mark.parametrize("measure", [*MEASURES, full_reference.psnr])
def test_the_unit_of_the_values_does_not_matter(measure: Measure) -> None:
    image = phantom_for("xray", 96, 96)
    worse = 0.7 * image + 0.1
    in_hu = measure(image * 400 - 160, worse * 400 - 160, -160.0, 400.0)
    assert torch.allclose(measure(image, worse), in_hu, rtol=1e-3)


def test_psnr_of_a_known_error() -> None:
    image = torch.zeros(1, 1, 32, 32)
    assert float(full_reference.psnr(image, image + 0.1)) == pytest.approx(20.0, abs=1e-3)


def test_ssim_of_two_flat_images_is_the_luminance_term() -> None:
    low, high = torch.full((1, 1, 32, 32), 0.4), torch.full((1, 1, 32, 32), 0.6)
    expected = (2 * 0.4 * 0.6 + 1e-4) / (0.4**2 + 0.6**2 + 1e-4)
    assert float(full_reference.ssim(low, high)) == pytest.approx(expected, abs=1e-4)


def test_haarpsi_and_ssim_are_symmetric() -> None:
    image = phantom_for("xray", 96, 96)
    other = torch.roll(image, 2, -1)
    for measure in (full_reference.ssim, full_reference.haarpsi):
        assert torch.allclose(measure(image, other), measure(other, image), atol=1e-5)


def test_more_contrast_carries_more_information_than_the_reference() -> None:
    image = phantom_for("xray", 96, 96)
    assert float(full_reference.vif(image, 1.4 * image)) > 1


# --- detectability --------------------------------------------------------------------------------------------


def _index(contrast: float, sd: float) -> float:
    size, radius = (256, 256), 5.0
    noise = sd * torch.randn((1, 1, *size), generator=torch.Generator().manual_seed(3))
    centres = detectability.lesion_grid(size, radius)
    lesions = contrast * detectability.lesion_signal(size, centres, radius)
    return float(detectability.detectability(noise, noise + lesions, centres, radius))


def test_detectability_in_white_noise_is_the_matched_filter_of_the_lesion() -> None:
    """A Gaussian lesion of SD s has energy contrast^2 pi s^2; the channels span it, so d' is its root over the SD."""
    expected = 0.1 * (torch.pi * 2.5**2) ** 0.5 / 0.2
    assert _index(0.1, 0.2) == pytest.approx(expected, rel=0.15)


def test_detectability_is_linear_in_contrast_over_noise() -> None:
    assert _index(0.2, 0.1) == pytest.approx(2 * _index(0.1, 0.1), rel=1e-3)
    assert _index(0.1, 0.1) == pytest.approx(2 * _index(0.1, 0.2), rel=0.02)
