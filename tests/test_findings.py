"""Findings: which measurements stand as their evidence."""

from dataclasses import replace

import numpy as np
import pytest

from medq_vlm.evidence import expected_for
from medq_vlm.findings import collect, contradicted, limited
from medq_vlm.schema import ImageSample, Measurement
from medq_vlm.slice_scores import SliceScores
from tests.assessments import finding


def measured(name: str, value: float) -> Measurement:
    return Measurement(name, value, "", "lower", expected_for(name, "ct"))


@pytest.mark.parametrize(("angle", "told"), [(0.0, ["streak_energy"]), (30.0, ["missing_angle", "streak_energy"])])
def test_an_empty_wedge_is_evidence_only_where_there_is_one(angle: float, told: list[str]) -> None:
    scores = SliceScores(
        index=0, score=2.0, half_width=0.5, distribution=np.full(21, 1 / 21), reject_probability=0.1,
        severity={"limited_angle": 3.0}, kind_probability={"limited_angle": 0.9}, attributes={},
        modality_probability={}, anatomy_probability={}, modality="ct", assessable=True, reason="",
        box=(0, 0, 64, 64), body_share=1.0,
    )  # fmt: skip
    sample = ImageSample(np.zeros((1, 64, 64), np.float32), "HU", "ct")
    measures = (measured("streak_energy", 0.4), measured("missing_angle", angle))
    (found,) = collect(sample, lambda s, k: np.zeros((64, 64)), [scores], np.zeros(0, int), measures, "ct")
    assert [one.name for one in found.evidence] == told


def test_the_evidence_that_tells_most_stands_first() -> None:
    scores = SliceScores(
        index=0, score=2.0, half_width=0.5, distribution=np.full(21, 1 / 21), reject_probability=0.1,
        severity={"ct_motion": 3.0}, kind_probability={"ct_motion": 0.9}, attributes={},
        modality_probability={}, anatomy_probability={}, modality="ct", assessable=True, reason="",
        box=(0, 0, 64, 64), body_share=1.0,
    )  # fmt: skip
    sample = ImageSample(np.zeros((1, 64, 64), np.float32), "HU", "ct")
    for streaks, first in ((0.9, "streak_energy"), (0.1, "blur_anisotropy")):  # outside its range, inside
        measures = (measured("blur_anisotropy", 9.0 if streaks < 0.5 else 1.0), measured("streak_energy", streaks))
        (found,) = collect(sample, lambda s, k: np.zeros((64, 64)), [scores], np.zeros(0, int), measures, "ct")
        assert found.evidence[0].name == first


def test_noise_far_beyond_its_range_speaks_against_a_good_verdict() -> None:
    loud = Measurement("noise_sd", 26.0, "HU", "lower", "<= 10 HU (head, 1 to 5 mm)")
    (told,) = contradicted([loud], "good")
    assert "26 HU is 2.6 times what is expected" in told
    assert not contradicted([loud], "usable") and not contradicted([replace(loud, value=12.0)], "good")
    assert not contradicted([replace(loud, unit="range", expected="<= 0.06")], "good")


def test_a_partial_score_is_no_better_than_its_findings_leave() -> None:
    prompted = {"noise": 0.97, "sharpness": 0.4, "contrast": 0.9}
    found = [finding("low_dose_noise", 1.6), finding("noise", 1.0), finding("blur", 0.8)]
    assert limited(prompted, found) == {"noise": pytest.approx(0.6), "sharpness": 0.4, "contrast": 0.9}


def test_an_expected_nought_is_a_range() -> None:
    metal = [Measurement("metal_share", value, "fraction", "lower", "0").within for value in (0.0, 0.01)]
    assert metal == [True, False]
