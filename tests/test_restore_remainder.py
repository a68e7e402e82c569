"""Laws of what goes back: noise does not, a lesion does, and only where the noise has zero mean."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from medq_vlm.restore.guidance import GUIDANCE_NONE, from_findings
from medq_vlm.restore.remainder import averages_out, put_back

CENTRE = (48, 48)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (96, 96)).astype(np.float32)


def lesion(height: float) -> np.ndarray:
    spot = np.zeros((96, 96))
    spot[CENTRE] = 1
    spot = ndimage.gaussian_filter(spot, 2.5)
    return (height * spot / spot.max()).astype(np.float32)


def test_noise_stays_away() -> None:
    for seed in range(5):
        returned = put_back(noise(seed), 2.0) - noise(seed)
        assert returned.std() < 0.02


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_lesion_that_was_taken_away_comes_back(sign: float) -> None:
    change = noise() + sign * lesion(2.0)
    returned = change - put_back(change, 2.0)
    assert sign * returned[CENTRE] > 0.5
    far = np.hypot(*(np.indices(change.shape) - 48)) > 20
    assert np.abs(returned[far]).mean() < 0.02


def test_nothing_taken_nothing_returned() -> None:
    assert not put_back(np.zeros((40, 50), np.float32), 2.0).any()


def test_padding_does_not_set_the_threshold() -> None:
    change, valid = np.pad(noise(), ((0, 0), (0, 300))), np.zeros((96, 396), bool)
    valid[:, :96] = True
    returned = (change - put_back(change, 2.0, valid))[:, :90]
    assert np.abs(returned).mean() < 0.02
    assert np.abs((change - put_back(change, 2.0))[:, :90]).mean() > 0.05


def test_only_noise_of_zero_mean_qualifies() -> None:
    assert averages_out(from_findings({"quantum_mottle": 2.0}, "xray"))
    assert averages_out(from_findings({"low_dose_noise": 2.0, "ring": 1.0}, "ct"))  # rings are left alone anyway
    assert not averages_out(from_findings({"mr_noise": 2.0}, "mr"))
    assert not averages_out(from_findings({"low_dose_noise": 2.0, "sparse_view": 1.0}, "ct"))
    assert not averages_out(from_findings({"quantum_mottle": 2.0, "underexposure": 1.0}, "xray"))
    assert not averages_out(GUIDANCE_NONE)
