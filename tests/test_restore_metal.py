"""Metal streaks taken out in the projections."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medq_vlm import restore
from medq_vlm.degrade.sample import degrade_sample
from medq_vlm.phantoms import phantom
from medq_vlm.restore.guidance import from_findings
from medq_vlm.restore.metal import METAL_HU, metal_of, take_out_metal


def error(image: np.ndarray, clean: np.ndarray) -> float:
    return float(np.sqrt(np.mean((image - clean) ** 2)))


def test_without_metal_every_pixel_stays() -> None:
    hu = phantom("ct", 5, 160).pixels[0]
    assert take_out_metal(hu) is hu


def test_a_speck_and_thin_bone_are_no_metal() -> None:
    hu = np.zeros((64, 64), np.float32)
    hu[10, 10] = hu[20, 5:60] = METAL_HU + 500
    assert not metal_of(hu).any()
    hu[40:44, 40:44] = METAL_HU + 500
    assert metal_of(hu)[41, 41]


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_the_error_of_a_phantom_with_metal_falls_by_half(seed: int) -> None:
    clean = phantom("ct", seed, 224)
    degraded, _ = degrade_sample(clean, "metal", 3.0, seed)
    before, after = degraded.pixels[0], take_out_metal(degraded.pixels[0])
    assert error(after, clean.pixels[0]) < 0.5 * error(before, clean.pixels[0])


def test_nothing_is_said_of_an_implant_that_is_not_there_and_padding_stays() -> None:
    named = from_findings({"metal": 3.0}, "ct")
    clean = phantom("ct", 11, 160)
    assert not restore.load().restore(clean, named).warnings
    degraded, _ = degrade_sample(clean, "metal", 3.0, 11)
    valid = np.ones(degraded.pixels.shape, bool)
    valid[:, :20] = False
    done = restore.load().restore(replace(degraded, valid=valid), named)
    assert np.array_equal(done.sample.pixels[~valid], degraded.pixels[~valid])


def test_the_restorer_says_that_the_implant_goes_too() -> None:
    clean = phantom("ct", 11, 160)
    degraded, _ = degrade_sample(clean, "metal", 3.0, 11)
    done = restore.load().restore(degraded, from_findings({"metal": 3.0}, "ct"))
    assert error(done.sample.pixels[0], clean.pixels[0]) < 0.6 * error(degraded.pixels[0], clean.pixels[0])
    assert any("implant" in warning for warning in done.warnings)
