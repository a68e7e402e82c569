"""Laws of the second opinion against noise: closer to the truth than the network alone, and only where it is asked."""

from __future__ import annotations

import numpy as np
import pytest

from medq_vlm import restore as network
from medq_vlm.degrade.sample import degrade_sample
from medq_vlm.phantoms import phantom
from medq_vlm.restore import restorer, variation
from medq_vlm.restore.guidance import GUIDANCE_NONE, Guidance, from_findings, from_text
from medq_vlm.restore.variation import fineness, mean_change, second_opinion, smoothed

NOISE = from_findings({"noise": 3.0}, "xray", "severe noise")


def white(height: int = 96, width: int = 80, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (height, width)).astype(np.float32)


def error(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.square(one - other).mean())


def test_noisy_radiographs_come_closer_than_by_the_network_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, loaded = [phantom("xray", seed, 192) for seed in (2, 3, 4, 5)], network.load()
    noisy = [degrade_sample(clean, "noise", 3.0, seed)[0] for seed, clean in enumerate(whole, 2)]

    def gain() -> float:
        """Mean, in dB."""
        left = [
            error(loaded.restore(y, NOISE).sample.pixels, c.pixels) / error(y.pixels, c.pixels)
            for y, c in zip(noisy, whole, strict=True)
        ]
        return float(np.mean(-10 * np.log10(left)))

    together = gain()
    monkeypatch.setattr(restorer, "second_opinion", lambda guidance: False)
    assert together > gain() + 0.02 > 0.02


def test_without_the_named_noise_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy, loaded = degrade_sample(phantom("xray", 3, 96), "noise", 3.0, 3)[0], network.load()
    told = (GUIDANCE_NONE, from_findings({"quantum_mottle": 3.0}, "xray"), from_findings({"motion_blur": 2.0}, "xray"))
    as_shipped = [loaded.restore(noisy, guidance).sample.pixels for guidance in told]
    monkeypatch.setattr(restorer, "second_opinion", lambda guidance: False)
    for guidance, pixels in zip(told, as_shipped, strict=True):
        assert np.array_equal(loaded.restore(noisy, guidance).sample.pixels, pixels)


@pytest.mark.parametrize(
    "guidance",
    [
        GUIDANCE_NONE,
        Guidance(modality="xray"),
        from_text("The image is sharp and free of noise.", "xray"),
        from_findings({"quantum_mottle": 3.0}, "xray"),
        from_findings({"underexposure": 3.0}, "xray"),
        from_findings({"noise": 3.0, "underexposure": 1.0}, "xray"),
        from_findings({"noise": 3.0}, "ct"),
    ],
)
def test_without_noise_named_on_a_radiograph_it_is_not_asked(guidance: Guidance) -> None:
    assert not second_opinion(guidance)


def test_noise_beside_what_is_not_treated_still_counts() -> None:
    assert second_opinion(NOISE)
    assert second_opinion(from_findings({"noise": 2.0, "motion_blur": 3.0}, "xray"))


def test_where_the_network_finds_little_noise_it_is_left_alone() -> None:
    for size in (0.0, 0.03):
        change = size * white(40, 50)
        assert np.array_equal(mean_change(white(40, 50, 1), change), change)


def test_impulses_that_the_network_took_out_do_not_come_back() -> None:
    plane, change = 0.12 * white(), -0.1 * white()
    plane[40, 40] += 4
    change[40, 40] -= 4
    assert abs(plane + mean_change(plane, change))[40, 40] < 0.3


def test_padding_does_not_set_the_strength() -> None:
    plane, change = 0.12 * white(), -0.1 * white()
    padded, valid = [np.pad(one, ((0, 0), (0, 300))) for one in (plane, change)], np.zeros((96, 380), bool)
    valid[:, :80] = True
    near = mean_change(*padded, valid)[:, :40]
    assert np.allclose(near, mean_change(plane, change)[:, :40], atol=0.01)


def test_white_noise_is_fine_and_smooth_noise_is_not() -> None:
    everywhere = np.ones((96, 80), bool)
    assert fineness(white(), everywhere) > 0.9
    blurred = (white() + np.roll(white(), 1, 0) + np.roll(white(), 1, 1)) / 3
    assert fineness(blurred, everywhere) < 0.8


def test_smoothing_flattens_keeps_edges_and_the_mean() -> None:
    step = np.repeat([[-1.0] * 40 + [1.0] * 40], 96, 0).astype(np.float32)
    flat = smoothed(step + 0.1 * white(), 0.15)
    assert flat.std(0).max() < 0.04
    assert flat[:, 44:].mean() - flat[:, :36].mean() > 1.9
    assert flat.mean() == pytest.approx((step + 0.1 * white()).mean(), abs=1e-3)


def test_strips_show_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    plane = white(400, 40)
    whole = smoothed(plane, 0.7)
    monkeypatch.setattr(variation, "ROWS", 100)
    assert np.abs(smoothed(plane, 0.7) - whole).max() < 1e-5
