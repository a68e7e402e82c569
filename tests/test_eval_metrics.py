"""Correlations, findings, calibration, ordering and the bootstrap against answers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eval import calibration, correlation, findings, ordering
from eval.bootstrap import Estimate, estimate
from eval.tables import cell, table
from medq_vlm.schema import MedQError


def test_rank_correlations_of_a_known_order() -> None:
    score, quality = np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 1, 4, 3, 5])
    assert correlation.srcc(score, quality) == pytest.approx(1 - 6 * 4 / (5 * 24))  # 1 - 6 sum d^2 / n(n^2 - 1)
    assert correlation.krcc(score, quality) == pytest.approx((8 - 2) / 10)


def test_spearman_shares_ranks_between_ties() -> None:
    assert correlation.srcc(np.array([1.0, 1, 2]), np.array([1.0, 2, 3])) == pytest.approx(math.sqrt(3) / 2)


def test_correlations_ignore_a_positive_line_and_flip_with_a_negative_one() -> None:
    quality = np.array([0.0, 1.0, 1.5, 4.0])
    for measure in (correlation.srcc, correlation.plcc, correlation.krcc):
        assert measure(3 * quality - 7, quality) == pytest.approx(1)
        assert measure(-quality, quality) == pytest.approx(-1)


def test_a_constant_score_has_no_correlation_rather_than_zero() -> None:
    for measure in (correlation.srcc, correlation.plcc, correlation.krcc):
        assert math.isnan(measure(np.ones(5), np.arange(5.0)))


def test_rmse_is_the_constant_offset() -> None:
    assert correlation.rmse(np.array([1.0, 2.0]), np.array([1.5, 2.5])) == pytest.approx(0.5)


@pytest.mark.parametrize("parameters", [4, 5])
def test_logistic_fit_undoes_a_logistic(parameters: correlation.Parameters) -> None:
    score = np.linspace(-30, 90, 60)
    quality = 0.5 + 3.0 / (1 + np.exp(-(score - 35) / 9))
    fitted = correlation.logistic_fit(score, quality, parameters)
    assert np.abs(fitted(score) - quality).max() < 1e-3
    assert correlation.plcc(fitted(score), quality) > 0.99999 > correlation.plcc(score, quality)


@pytest.mark.parametrize("parameters", [4, 5])
def test_logistic_fit_handles_a_measure_that_falls_with_quality(parameters: correlation.Parameters) -> None:
    score = np.linspace(0, 1, 40)
    quality = 4 - 3.0 / (1 + np.exp(-(score - 0.5) / 0.08))
    assert correlation.plcc(correlation.logistic_fit(score, quality, parameters)(score), quality) > 0.9999


def test_five_parameter_fit_is_never_worse_than_a_straight_line() -> None:
    rng = np.random.default_rng(0)
    score = rng.normal(size=80)
    quality = rng.normal(size=80) + 0.3 * score
    fitted = correlation.logistic_fit(score, quality)
    assert correlation.plcc(fitted(score), quality) >= abs(correlation.plcc(score, quality)) - 1e-9


def test_unequal_or_infinite_rows_are_refused() -> None:
    with pytest.raises(MedQError, match="equal"):
        correlation.srcc(np.zeros(3), np.zeros(4))
    with pytest.raises(MedQError, match="finite"):
        correlation.rmse(np.array([np.inf]), np.zeros(1))


def test_average_precision_of_a_known_ranking() -> None:
    truth = np.array([True, False, True, False])
    assert findings.average_precision(truth, np.array([4.0, 3, 2, 1])) == pytest.approx((1 + 2 / 3) / 2)


def test_average_precision_of_ties_is_the_prevalence_in_any_order() -> None:
    for truth in ([True, False, False, False], [False, False, False, True]):
        assert findings.average_precision(np.array(truth), np.zeros(4)) == pytest.approx(0.25)


def test_macro_f1_counts_valid_cells_and_kinds_that_occur() -> None:
    truth = np.array([[2.0, 0, 0], [2, 0, 0], [0, 3, 0]])
    severity = np.array([[1.6, 0, 0], [0.4, 0, 4], [2.0, 3, 0]])
    valid = np.array([[True, True, False], [True, True, False], [True, True, True]])
    at_least, said = truth >= findings.MODERATE, severity >= findings.MODERATE
    each = findings.kind_f1(at_least, said, valid)
    assert each[:2] == pytest.approx([2 * 1 / (2 + 2), 1.0]) and math.isnan(each[2])
    assert findings.macro_f1(at_least, said, valid) == pytest.approx(0.75)


def test_severity_error_is_over_present_kinds() -> None:
    truth, severity = np.array([[2.0, 0.0]]), np.array([[1.5, 4.0]])
    assert findings.severity_error(truth, severity, np.ones((1, 2), bool)) == pytest.approx(0.5)


def test_perfectly_calibrated_and_perfectly_wrong_probabilities() -> None:
    happened = np.array([True, False, False, False])
    assert calibration.expected_calibration_error(np.full(4, 0.25), happened) == pytest.approx(0)
    assert calibration.expected_calibration_error(np.array([0.0, 1, 1, 1]), happened) == pytest.approx(1)


def test_coverage_counts_the_ends_of_an_interval() -> None:
    assert calibration.coverage(np.zeros(4), np.ones(4), np.array([0.0, 1.0, 0.5, 1.1])) == pytest.approx(0.75)


def test_ordering_counts_pairs_within_one_ladder_and_ties_as_misses() -> None:
    ladder = ["a", "a", "a", "b", "b"]
    severity, score = np.array([0.0, 1, 2, 0, 1]), np.array([3.0, 3.0, 1.0, 0.0, 2.0])
    in_order, worse = ordering.pair_outcomes(ladder, severity, score)
    assert in_order.mean() == pytest.approx(2 / 4)  # (0,2), (1,2) of 4 pairs
    assert sorted(worse.tolist()) == [1, 2, 2, 4]


def test_bootstrap_interval_holds_the_value_and_repeats_with_the_seed() -> None:
    values = np.random.default_rng(1).normal(5, 1, 200)
    groups = [str(i // 10) for i in range(200)]
    first = estimate(lambda rows: float(values[rows].mean()), groups, seed=3, draws=200)
    assert first.low < first.value < first.high and first.clusters == 20
    assert first == estimate(lambda rows: float(values[rows].mean()), groups, seed=3, draws=200)


def test_clusters_widen_the_interval_when_their_members_agree() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=10), 20)

    def mean(rows: np.ndarray) -> float:
        return float(values[rows].mean())

    clustered = estimate(mean, np.repeat(np.arange(10), 20), draws=300)
    single = estimate(mean, np.arange(200), draws=300)
    assert clustered.high - clustered.low > 3 * (single.high - single.low)


def test_one_cluster_gives_no_interval_and_the_table_says_so() -> None:
    one = estimate(lambda rows: float(len(rows)), ["a", "a"], draws=10)
    assert math.isnan(one.low) and cell(one) == "2.000 [one group]"


def test_table_cells_line_up() -> None:
    text = table(["name", "SRCC"], [["ours", Estimate(0.8, 0.7, 0.9, 9, 3)], ["none", float("nan")]])
    lines = text.splitlines()
    assert "0.800 [0.700, 0.900]" in lines[2] and len({len(line) for line in lines}) == 1
