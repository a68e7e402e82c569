"""Findings: which measurements stand as their evidence."""

import numpy as np
import pytest

from medq_vlm.evidence import expected_for
from medq_vlm.findings import collect
from medq_vlm.schema import ImageSample, Measurement
from medq_vlm.slice_scores import SliceScores


def measured(name: str, value: float) -> Measurement:
    return Measurement(name, value, "", "lower", expected_for(name, "ct"))


@pytest.mark.parametrize(("angle", "told"), [(0.0, ["streak_energy"]), (30.0, ["streak_energy", "missing_angle"])])
def test_an_empty_wedge_is_evidence_only_where_there_is_one(angle: float, told: list[str]) -> None:
    scores = SliceScores(
        index=0, score=2.0, half_width=0.5, distribution=np.full(21, 1 / 21), reject_probability=0.1,
        severity={"limited_angle": 3.0}, kind_probability={"limited_angle": 0.9}, attributes={},
        modality_probability={}, anatomy_probability={}, modality="ct", assessable=True, reason="",
        box=(0, 0, 64, 64), body_share=1.0,
    )  # fmt: skip
    sample = ImageSample(np.zeros((1, 64, 64), np.float32), "HU", "ct")
    measures = (measured("streak_energy", 0.4), measured("missing_angle", angle))
    (finding,) = collect(sample, lambda s, k: np.zeros((64, 64)), [scores], np.zeros(0, int), measures, "ct")
    assert [one.name for one in finding.evidence] == told


def test_an_expected_nought_is_a_range() -> None:
    metal = [Measurement("metal_share", value, "fraction", "lower", "0").within for value in (0.0, 0.01)]
    assert metal == [True, False]
