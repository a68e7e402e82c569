"""Exposure and illumination: closed forms, the identity before training, and what the shipped weights do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medq_vlm import restore
from medq_vlm.config import RestorerConfig
from medq_vlm.degrade.sample import degrade_sample
from medq_vlm.phantoms import phantom
from medq_vlm.restore.guidance import GUIDANCE_NONE, from_findings, tensors
from medq_vlm.restore.light import BLACK, GAIN_PX, KNOTS, RANGE, Relit, curve_knots, match, named_light, unevenness
from medq_vlm.restore.network import RestorationNet


def levels(value: float) -> torch.Tensor:
    return torch.full((1, 3, 4, 4), value * RANGE + BLACK)


def test_a_curve_goes_through_its_knots_and_a_gain_multiplies() -> None:
    heights = (curve_knots() ** 2)[None]
    slopes = heights.diff() / curve_knots().diff()
    dark, bright = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), float(np.log(2)))
    for knot in (0, 5, KNOTS - 1):
        level = float(curve_knots()[knot])
        for gains, factor in ((dark, 1.0), (bright, 2.0)):
            bent, _ = Relit(torch.zeros(1, 1), slopes, gains).apply(levels(level), gains)
            assert float((bent[0, 0, 0, 0] - BLACK) / RANGE) == pytest.approx(factor * level**2, abs=1e-4)


def test_steepness_is_the_logarithm_of_slope_and_gain() -> None:
    gains = torch.full((1, 1, 4, 4), 0.7)
    _, steeper = Relit(torch.zeros(1, 1), torch.full((1, KNOTS - 1), 3.0), gains).apply(levels(0.4), gains)
    assert float(steeper) == pytest.approx(np.log(3) + 0.7, abs=1e-3)


def test_curves_rise_whatever_the_weights() -> None:
    torch.manual_seed(0)
    net = RestorationNet(RestorerConfig())
    for value in net.light.parameters():
        torch.nn.init.normal_(value, std=0.5)
    wish = net.lead.read(tensors([GUIDANCE_NONE]))
    relit = net.light(torch.randn(1, 3, 64, 64), wish)
    assert (relit.slopes > 0).all()
    assert torch.isfinite(relit.gains).all()


def test_histogram_matching_takes_the_image_s_quantiles_to_the_usual_ones() -> None:
    own, usual = torch.linspace(0.0, 0.4, 33)[None], torch.linspace(0.1, 0.9, 33)[None]
    heights = match(own, usual)[0]
    inside = (curve_knots() > 0) & (curve_knots() < 0.4)
    assert torch.allclose(heights[inside], 0.1 + 2 * curve_knots()[inside], atol=0.02)
    assert (heights.diff() > 0).all()


def test_equal_quantiles_leave_every_level() -> None:
    own = torch.linspace(0.05, 0.8, 33)[None]
    assert torch.allclose(match(own, own)[0], curve_knots(), atol=4e-3)


def test_unevenness_is_the_logarithm_of_the_light_and_ignores_the_dark_surround() -> None:
    side = torch.linspace(0.2, 0.8, 64).expand(1, 3, 64, 64)
    field = unevenness(side)[0, 0]
    assert field.shape == (GAIN_PX, GAIN_PX)
    assert float(field[8, 3]) < 0 < float(field[8, 12])
    assert float(field[8, 12]) == pytest.approx(float(torch.log(side[0, 0, 0, 48:52].mean() / 0.5)), abs=0.05)
    flat = torch.full((1, 3, 64, 64), 0.5)
    flat[..., :20] = 0.0
    assert float(unevenness(flat)[..., 6:].abs().max()) < 1e-3


def test_only_a_named_fault_of_light_opens_the_closed_forms() -> None:
    net = RestorationNet(RestorerConfig())
    torch.nn.init.constant_(net.light.believed.bias, 3.0)
    shaded = torch.linspace(-1.8, 0.5, 64).expand(1, 3, 64, 64)
    for guidance, opened in ((GUIDANCE_NONE, False), (from_findings({"noise": 3.0}, "fundus"), False),
                             (from_findings({"uneven_illumination": 2.0}, "fundus"), True)):  # fmt: skip
        wish = net.lead.read(tensors([guidance]))
        relit = net.light(shaded, wish)
        assert bool(named_light(wish)) is opened
        assert bool((relit.gains != 0).any()) is opened
        assert bool((relit.slopes != 1).any()) is opened


@pytest.mark.parametrize(
    ("modality", "kind", "least_db"),
    [("xray", "underexposure", 3.0), ("xray", "overexposure", 3.0), ("fundus", "underexposure", 3.0),
     ("histopathology", "uneven_illumination", 1.0)],
)  # fmt: skip
def test_the_shipped_weights_set_light_right_and_leave_it_when_it_is_not_named(
    modality: str, kind: str, least_db: float
) -> None:
    restorer = restore.load()
    rises = []
    for seed in (901, 902, 903):
        clean = phantom(modality, seed, 192)
        degraded, _ = degrade_sample(clean, kind, 2.5, seed)
        restored = restorer.restore(degraded, from_findings({kind: 2.5}, modality)).sample
        rises.append(decibels(clean.pixels, degraded.pixels) - decibels(clean.pixels, restored.pixels))
        left = restorer.restore(degraded, from_findings({"noise": 1.0}, modality)).residual
        assert abs(left.mean()) < 0.15 * abs((clean.pixels - degraded.pixels).mean())
    assert -float(np.mean(rises)) > least_db


def decibels(clean: np.ndarray, other: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((clean - other) ** 2)))
