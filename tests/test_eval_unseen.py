"""Artefacts outside training: they grow with the step, repeat, and keep to what a file can hold."""

from __future__ import annotations

import numpy as np
import pytest

from eval.run_unseen import Rung, summary
from eval.unseen import ARTEFACTS, STEPS, spoiled
from medq_vlm import vocab
from medq_vlm.phantoms import phantom
from medq_vlm.schema import ImageSample


@pytest.fixture(scope="module", params=["ct", "histopathology"])
def sample(request: pytest.FixtureRequest) -> ImageSample:
    return phantom(request.param, seed=2, size=128)


@pytest.mark.parametrize("name", list(ARTEFACTS))
def test_each_step_is_further_from_the_image_and_repeats(sample: ImageSample, name: str) -> None:
    made = [spoiled(sample, name, step, seed=3) for step in range(STEPS)]
    distance = [float(np.abs(one.pixels - sample.pixels).mean()) for one in made]
    assert distance[0] > 0 and distance == sorted(distance)
    assert np.array_equal(made[1].pixels, spoiled(sample, name, 1, seed=3).pixels)
    assert all(one.pixels.shape == sample.pixels.shape and np.isfinite(one.pixels).all() for one in made)
    if sample.bits is not None and sample.bits <= 8:
        assert all(one.pixels.min() >= 0 and one.pixels.max() <= 255 for one in made)


def test_no_artefact_is_a_kind_of_the_vocabulary() -> None:
    assert not set(ARTEFACTS) & set(vocab.KIND_NAMES)


def test_a_score_that_ignores_the_artefact_is_never_in_order() -> None:
    blind = [Rung("a", "g", name, step, 2.0) for name in ARTEFACTS for step in range(STEPS + 1)]
    seeing = [Rung("a", "g", name, step, 4.0 - step) for name in ARTEFACTS for step in range(STEPS + 1)]
    assert summary(blind, 5)["all"]["in order"].value == 0
    assert summary(seeing, 5)["all"]["in order"].value == 1
