"""Summaries of scored sets whose right numbers are known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from eval import summary
from eval.cases import quality as quality_of
from eval.outcomes import Outcome, Scored, collect
from medq_vlm import vocab
from medq_vlm.schema import MedQError

RESAMPLE = summary.Resampling(draws=20, seed=0)
LADDERS = ("", "noise", "blur")


def kinds(**severities: float) -> np.ndarray:
    return np.array([severities.get(name, 0.0) for name in vocab.KIND_NAMES])


def perfect(subject: int, ladder: str, severity: float) -> Outcome:
    """A case that a perfect model scored; every subject of modality mr, two sources."""
    truth = {ladder: severity} if ladder else {}
    quality = quality_of(truth)
    return Outcome(
        content=f"c{subject}", source=f"s{subject % 2}", group=f"g{subject}", modality="mr", ladder=ladder,
        truth=kinds(**truth), rung=severity, quality=quality,
        table_quality=quality, score=quality, severity=kinds(**truth),
        probability=(kinds(**truth) > 0).astype(float), reject_probability=float(quality < 1.5),
        assessable=True, interval=(quality - 0.1, quality + 0.1), recognised="" if ladder else "mr",
        baselines={"opposite": -quality},
    )  # fmt: skip


def study(subjects: int = 4) -> list[Outcome]:
    return [
        perfect(subject, ladder, severity)
        for subject in range(subjects)
        for ladder in LADDERS
        for severity in ((1.0, 2.0, 3.0, 4.0) if ladder else (0.0,))
    ]


@pytest.fixture
def scored() -> Scored:
    return collect(study())


def test_quality_is_the_product_of_what_is_left() -> None:
    assert quality_of({}) == 4 and quality_of({"noise": 4.0}) == 0
    assert quality_of({"noise": 1.0, "blur": 2.0}) == pytest.approx(4 * 0.75 * 0.5)


def test_a_perfect_model_gets_perfect_numbers(scored: Scored) -> None:
    quality = summary.quality_numbers(scored, scored.score, RESAMPLE)
    assert all(number.value == pytest.approx(1, abs=1e-4) for number in quality.values())
    model = summary.model_numbers(scored, RESAMPLE)
    assert model["RMSE"].value == 0 == model["severity error"].value == model["ECE of reject probability"].value
    assert model["macro F1, moderate or worse"].value == 1 == model["macro F1, mild or worse"].value
    assert model["interval coverage"].value == 1 and model["interval width"].value == pytest.approx(0.2)


def test_the_opposite_score_gets_the_opposite_numbers(scored: Scored) -> None:
    numbers = summary.quality_numbers(scored, scored.baselines["opposite"], RESAMPLE)
    assert numbers["SRCC"].value == pytest.approx(-1) and numbers[summary.ORDERING].value == 0
    assert summary.gain_over(scored, "opposite", RESAMPLE).value == pytest.approx(2)
    with pytest.raises(MedQError, match="not measured"):
        summary.gain_over(scored, "absent", RESAMPLE)


def test_the_clean_image_is_the_first_rung_of_each_ladder(scored: Scored) -> None:
    rungs, rows = summary.ladder_rungs(scored)
    assert len(rungs) == 4 * 2 * 5 and (scored.ladder[rows] == "").sum() == 4 * 2
    assert summary.ordering(scored, scored.score, RESAMPLE).n == 4 * 2 * 10


def test_one_swap_in_one_ladder_costs_its_pairs() -> None:
    outcomes = study(1)
    outcomes[1], outcomes[2] = replace(outcomes[1], score=2.0), replace(outcomes[2], score=3.0)
    got = summary.ordering(collect(outcomes), np.array([o.score for o in outcomes]), RESAMPLE)
    assert got.value == pytest.approx(19 / 20) and math.isnan(got.low)


def test_clean_images_count_verdicts_and_refusals() -> None:
    outcomes = [replace(o, score=1.0) if o.content == "c0" else o for o in study()]
    outcomes = [replace(o, assessable=False) if o.content == "c1" else o for o in outcomes]
    outcomes = [replace(o, recognised="ct") if o.content == "c2" and o.recognised else o for o in outcomes]
    clean = summary.clean_numbers(collect(outcomes), RESAMPLE)
    assert clean["reject"].value == 0.5 and clean["good"].value == 0.5
    assert clean["not assessable"].value == 0.25 and clean["modality recognised"].value == 0.75
    assert clean["good"].n == 4


def test_parts_kinds_and_severities_are_those_present(scored: Scored) -> None:
    assert set(summary.by_part(scored, scored, "source", RESAMPLE)) == {"s0", "s1"}
    by_kind = summary.by_kind(scored, RESAMPLE)
    assert set(by_kind) == {"noise", "blur"} and by_kind["blur"]["AP moderate"].value == 1
    by_severity = summary.by_severity(scored, RESAMPLE)
    assert list(by_severity) == ["0", "1", "2", "3", "4"]
    assert by_severity["3"]["reject"].value == 1 and by_severity["1"]["good"].value == 1
    assert by_severity["2"]["score"].value == 2


def test_nothing_to_collect_is_said() -> None:
    with pytest.raises(MedQError, match="nothing to evaluate"):
        collect([])
