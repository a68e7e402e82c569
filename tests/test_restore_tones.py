"""Faults of light: an overexposure is undone by a curve alone, uneven light by one gain for all colours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medq_vlm import restore
from medq_vlm.degrade.sample import degrade_sample
from medq_vlm.phantoms import phantom
from medq_vlm.restore import tones
from medq_vlm.restore.guidance import from_findings
from medq_vlm.schema import ImageSample


def is_one_rising_curve(before: np.ndarray, after: np.ndarray) -> bool:
    """Does each level of `before` get one level, and no brighter one a darker?"""
    levels, at = np.unique(before, return_inverse=True)
    made = np.full(len(levels), np.nan, np.float32)
    made[at.reshape(-1)] = after.reshape(-1)
    return np.array_equal(made[at.reshape(-1)], after.reshape(-1)) and bool((np.diff(made) >= 0).all())


def test_the_nearest_curve_is_the_one_that_was_applied() -> None:
    rng = np.random.default_rng(0)
    before = rng.integers(0, 64, (128, 128)).astype(np.float32)
    after = np.sqrt(before) + rng.normal(0, 0.2, before.shape).astype(np.float32)
    np.testing.assert_allclose(tones.nearest_curve(before, after), np.sqrt(before), atol=0.08)
    wrong = np.arange(128) < 64
    valid = np.broadcast_to(~wrong, before.shape)
    curve = tones.nearest_curve(before, np.where(valid, after, 100.0), valid)
    np.testing.assert_allclose(curve, np.sqrt(before), atol=0.1)


def test_a_falling_curve_becomes_flat() -> None:
    before = np.arange(16, dtype=np.float32).reshape(4, 4)
    assert np.ptp(tones.nearest_curve(before, -before)) == pytest.approx(0)


@pytest.mark.parametrize("modality", ["fundus", "endoscopy", "xray"])
def test_what_was_clipped_stays_without_detail(modality: str) -> None:
    degraded, _ = degrade_sample(phantom(modality, 3, 192), "overexposure", 3.0, 1)
    done = restore.load().restore(degraded, from_findings({"overexposure": 3.0}, modality))
    before, after = (np.moveaxis(np.atleast_3d(one.pixels[0]), -1, 0) for one in (degraded, done.sample))
    assert not done.unchanged
    assert all(is_one_rising_curve(b, a) for b, a in zip(before, after, strict=True))
    assert tones.CLIPPED in done.warnings


def test_another_fault_is_treated_after_the_curve() -> None:
    degraded, _ = degrade_sample(phantom("fundus", 3, 192), "overexposure", 2.0, 1)
    restorer = restore.load()
    alone, both = (
        restorer.restore(degraded, from_findings(findings, "fundus")).sample.pixels
        for findings in ({"overexposure": 2.0}, {"overexposure": 2.0, "defocus": 2.0})
    )
    next_pass = restorer.restore(replace(degraded, pixels=alone), from_findings({"defocus": 2.0}, "fundus"))
    np.testing.assert_array_equal(both, next_pass.sample.pixels)


def test_padding_stays_under_a_curve() -> None:
    degraded, _ = degrade_sample(phantom("fundus", 3, 192), "overexposure", 2.0, 1)
    valid = np.ones(degraded.pixels.shape[:3], bool)
    valid[:, :20] = False
    done = restore.load().restore(replace(degraded, valid=valid), from_findings({"overexposure": 2.0}, "fundus"))
    assert not done.residual[:, :20].any()
    assert done.residual[:, 20:].any()


def test_uneven_light_keeps_every_colour() -> None:
    clean = phantom("dermoscopy", 3, 192)
    degraded, _ = degrade_sample(clean, "uneven_illumination", 3.0, 1)
    done = restore.load().restore(degraded, from_findings({"uneven_illumination": 3.0}, "dermoscopy"))
    off = [angle(clean, one) for one in (degraded, done.sample)]
    assert off[1] < off[0] + 0.5
    closer = [np.square(one.pixels - clean.pixels).mean() for one in (degraded, done.sample)]
    assert closer[1] < 0.6 * closer[0]


def angle(one: ImageSample, other: ImageSample) -> float:
    """Mean angle between the colours of two images, degrees."""
    a, b = (sample.pixels.reshape(-1, 3) + 1.0 for sample in (one, other))
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean())
