"""The numbers of a scored set: overall, by modality, source, severity and kind, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from eval import calibration, correlation, findings
from eval.baselines import STATISTICS
from eval.bootstrap import Estimate, estimate
from eval.cases import STEPS
from eval.ordering import pair_outcomes
from eval.outcomes import Scored
from medq_vlm import vocab
from medq_vlm.schema import MedQError

ORDERING = "ladder ordering"


@dataclass(frozen=True)
class Resampling:
    """How intervals are made."""

    draws: int  # bootstrap draws
    seed: int
    by: str = "group"  # "group" (subject) or "source" (whole folder)

    def __call__(self, scored: Scored, statistic: Callable[[np.ndarray], float]) -> Estimate:
        """Interval of `statistic` over row indices of `scored`."""
        return estimate(statistic, getattr(scored, self.by), self.seed, self.draws)


def quality_numbers(scored: Scored, score: np.ndarray, resample: Resampling) -> dict[str, Estimate]:
    """SRCC, KRCC, PLCC raw and after both logistic fits, and ladder ordering of `score` (N,).

    The logistic maps are fitted once to all rows; the interval is that of the correlation under this map.
    """
    q = scored.quality
    out = {
        "SRCC": resample(scored, lambda rows: correlation.srcc(score[rows], q[rows])),
        "KRCC": resample(scored, lambda rows: correlation.krcc(score[rows], q[rows])),
        "PLCC": resample(scored, lambda rows: correlation.plcc(score[rows], q[rows])),
    }
    fits: tuple[correlation.Parameters, ...] = (4, 5)
    for parameters in fits:
        fits_here = np.ptp(score) > 0 and len(score) >= parameters
        mapped = correlation.logistic_fit(score, q, parameters)(score) if fits_here else np.zeros_like(score)
        out[f"PLCC, logistic {parameters}"] = resample(scored, _plcc_of(mapped, q))
    return out | {ORDERING: ordering(scored, score, resample)}


def ordering(scored: Scored, score: np.ndarray, resample: Resampling) -> Estimate:
    """Share of ladder pairs in order; the clean image is the first rung of each of its ladders."""
    rungs, rows = ladder_rungs(scored)
    in_order, worse = pair_outcomes(rungs, scored.rung[rows], score[rows])
    if not len(in_order):
        return Estimate(float("nan"), float("nan"), float("nan"), 0, 0)
    pairs = scored.take(rows[worse])
    return resample(pairs, lambda picked: float(in_order[picked].mean()))


def ladder_rungs(scored: Scored) -> tuple[list[tuple[str, str]], np.ndarray]:
    """((content, kind) of every rung, its row): single-kind rows, and each clean row once per ladder."""
    single = np.isin(scored.ladder, vocab.KIND_NAMES)
    rungs = [(str(scored.content[row]), str(scored.ladder[row])) for row in np.flatnonzero(single)]
    rows = list(np.flatnonzero(single))
    clean_row = {str(scored.content[row]): row for row in np.flatnonzero(scored.clean)}
    for content, kind in sorted(set(rungs)):
        if content in clean_row:
            rungs.append((content, kind))
            rows.append(clean_row[content])
    return rungs, np.array(rows, dtype=int)


def model_numbers(scored: Scored, resample: Resampling) -> dict[str, Estimate]:
    """What only the product states: error on its own scale, kinds, severities, certainty.

    "Mild or worse" compares with the findings the product reports, "moderate or worse" with the severity.
    """
    s = scored
    rejected = s.quality < vocab.USABLE_FROM
    mild, moderate = s.truth >= findings.MILD, s.truth >= findings.MODERATE
    said = s.severity >= findings.MODERATE
    statistics: dict[str, Callable[[np.ndarray], float]] = {
        "SRCC with the table's quality": lambda r: correlation.srcc(s.score[r], s.table_quality[r]),
        "RMSE": lambda r: correlation.rmse(s.score[r], s.quality[r]),
        "severity error": lambda r: findings.severity_error(s.truth[r], s.severity[r], s.valid[r]),
        "macro F1, mild or worse": lambda r: findings.macro_f1(mild[r], s.reported[r], s.valid[r]),
        "macro F1, moderate or worse": lambda r: findings.macro_f1(moderate[r], said[r], s.valid[r]),
        "ECE of reject probability": lambda r: calibration.expected_calibration_error(
            s.reject_probability[r], rejected[r]
        ),
        "interval coverage": lambda r: calibration.coverage(s.low[r], s.high[r], s.quality[r]),
        "interval width": lambda r: float(np.mean(s.high[r] - s.low[r])),
    }
    return {name: resample(scored, statistic) for name, statistic in statistics.items()}


def gain_over(scored: Scored, baseline: str, resample: Resampling) -> Estimate:
    """SRCC of the product minus that of a baseline, paired in every draw; MedQError if it is missing."""
    if baseline not in scored.baselines:
        raise MedQError(f"The baseline '{baseline}' was not measured; there were no training images for it.")
    other, q = scored.baselines[baseline], scored.quality

    def difference(rows: np.ndarray) -> float:
        return correlation.srcc(scored.score[rows], q[rows]) - correlation.srcc(other[rows], q[rows])

    return resample(scored, difference)


def clean_numbers(scored: Scored, resample: Resampling) -> dict[str, Estimate]:
    """Verdicts on clean images, and modality recognition from their pixels alone; shares 0 to 1."""
    clean = scored.take(scored.clean)
    columns = {
        "reject": ~clean.assessable | (clean.score < vocab.USABLE_FROM),
        "good": clean.assessable & (clean.score >= vocab.GOOD_FROM),
        "not assessable": ~clean.assessable,
        "modality recognised": clean.recognised == clean.modality,
    }
    return {name: resample(clean, _mean_of(column)) for name, column in columns.items()}


def by_kind(scored: Scored, resample: Resampling) -> dict[str, dict[str, Estimate]]:
    """Per kind: SRCC within its ladders, ordering, F1, average precision, severity error."""
    out = {}
    rungs, rows = ladder_rungs(scored)
    kinds = np.array([kind for _, kind in rungs])
    for k, kind in enumerate(vocab.KIND_NAMES):
        ladder = scored.take(rows[kinds == kind])
        if not len(ladder):
            continue
        seen = scored.take(scored.valid[:, k])
        mild, moderate = seen.truth[:, k] >= findings.MILD, seen.truth[:, k] >= findings.MODERATE
        out[kind] = {
            "SRCC": resample(ladder, _srcc_of(ladder)),
            ORDERING: ordering(ladder, ladder.score, resample),
            "F1 mild": resample(seen, _f1_of(mild, seen.reported[:, k])),
            "F1 moderate": resample(seen, _f1_of(moderate, seen.severity[:, k] >= findings.MODERATE)),
            "AP mild": resample(seen, _precision_of(mild, seen.probability[:, k])),
            "AP moderate": resample(seen, _precision_of(moderate, seen.severity[:, k])),
            "severity error": resample(ladder, _severity_error_of(ladder, k)),
        }
    return out


def by_severity(scored: Scored, resample: Resampling) -> dict[str, dict[str, Estimate]]:
    """Per severity of single-kind cases (0: clean): mean score, RMSE, rejected, good, kind named."""
    out = {}
    single = scored.clean | np.isin(scored.ladder, vocab.KIND_NAMES)
    for severity in (0.0, *STEPS):
        part = scored.take(single & (scored.rung == severity))
        if not len(part):
            continue
        kind = part.truth.argmax(1)
        named = part.reported[np.arange(len(part)), kind]
        out[f"{severity:g}"] = {
            "quality": resample(part, _mean_of(part.quality)),
            "score": resample(part, _mean_of(part.score)),
            "RMSE": resample(part, _rmse_of(part)),
            "reject": resample(part, _mean_of(~part.assessable | (part.score < vocab.USABLE_FROM))),
            "good": resample(part, _mean_of(part.assessable & (part.score >= vocab.GOOD_FROM))),
        } | ({"kind named": resample(part, _mean_of(named))} if severity > 0 else {})
    return out


def by_part(rated: Scored, scored: Scored, column: str, resample: Resampling) -> dict[str, dict[str, Estimate]]:
    """Per value of `column` ("modality", "source"): numbers of the ladders in `rated` and of clean images.

    `scored` holds the clean images, those without ladders too.
    """
    out = {}
    for value in np.unique(getattr(rated, column)):
        part = rated.take(getattr(rated, column) == value)
        numbers = quality_numbers(part, part.score, resample) | model_numbers(part, resample)
        if STATISTICS in part.baselines:
            numbers[f"SRCC of {STATISTICS}"] = resample(part, _srcc_of(part, part.baselines[STATISTICS]))
        clean = clean_numbers(scored.take(getattr(scored, column) == value), resample)
        out[str(value)] = numbers | {f"clean: {name}": number for name, number in clean.items()}
    return out


# Small factories: a lambda in a loop would see the loop's last part.
def _srcc_of(part: Scored, score: np.ndarray | None = None) -> Callable[[np.ndarray], float]:
    values = part.score if score is None else score
    return lambda rows: correlation.srcc(values[rows], part.quality[rows])


def _plcc_of(score: np.ndarray, quality: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda rows: correlation.plcc(score[rows], quality[rows])


def _rmse_of(part: Scored) -> Callable[[np.ndarray], float]:
    return lambda rows: correlation.rmse(part.score[rows], part.quality[rows])


def _mean_of(values: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda rows: float(values[rows].mean())


def _f1_of(truth: np.ndarray, said: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda rows: findings.f1(truth[rows], said[rows])


def _precision_of(truth: np.ndarray, ranking: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda rows: findings.average_precision(truth[rows], ranking[rows])


def _severity_error_of(part: Scored, k: int) -> Callable[[np.ndarray], float]:
    column = slice(k, k + 1)
    return lambda rows: findings.severity_error(
        part.truth[rows, column], part.severity[rows, column], part.valid[rows, column]
    )
