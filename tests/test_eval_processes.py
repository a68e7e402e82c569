"""Measured processes, the verdicts on them, and the JSON that is left behind."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from eval import results, run_cold_start, run_corpus
from eval.bootstrap import Estimate
from eval.processes import Measured, measure


def run(code: int = 0, stdout: str = "", stderr: str = "", seconds: float = 1.0, peak: float = 100.0) -> Measured:
    return Measured(code, stdout, stderr, seconds, peak, timed_out=False)


def test_a_process_is_measured_with_its_outputs_and_exit_code() -> None:
    got = measure((sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"))
    assert (got.code, got.stdout, got.stderr, got.timed_out) == (7, "out\n", "err\n", False)


def test_memory_of_the_child_is_counted() -> None:
    small = measure((sys.executable, "-c", "pass"))
    large = measure((sys.executable, "-c", "x = bytearray(b'1') * (300 * 2**20)"))
    assert 290 < large.peak_mib - small.peak_mib < 330 or large.peak_mib > 300  # the caller may be large itself


def test_a_process_that_does_not_end_is_killed() -> None:
    got = measure((sys.executable, "-c", "import time; time.sleep(60)"), timeout_s=0.3)
    assert got.timed_out and got.code < 0


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        (run(stdout='{"assessable": true, "reason": ""}'), "assessed"),
        (run(stdout='[{"assessable": false, "reason": "blank"}]'), "not assessable"),
        (run(4, stdout='{"assessable": false, "reason": "blank"}'), "not assessable"),
        (run(3, stderr="medq: x.dcm: it is empty; send it again.\n"), "sentence"),
        (run(3, stderr="one\ntwo\n"), "fault"),
        (run(3), "fault"),
        (run(1, stderr="Traceback (most recent call last):\n"), "fault"),
        (run(0, stdout="score 3"), "fault"),
        (run(-9), "fault"),
        (run(stdout='{"assessable": true, "reason": ""}', seconds=21), "fault"),
        (run(stdout='{"assessable": true, "reason": ""}', peak=3000), "fault"),
    ],
)
def test_every_run_is_an_assessment_a_sentence_or_a_fault(given: Measured, outcome: str) -> None:
    assert run_corpus.judge("x.dcm", given).outcome == outcome


def test_the_corpus_is_all_of_pydicoms_test_files() -> None:
    names = {path.name for path in run_corpus.corpus()}
    assert {"CT_small.dcm", "DICOMDIR", "JPEG2000.dcm", "chrGerm.dcm"} <= names and len(names) > 120
    assert not any(name.endswith(".py") for name in names)


def test_cold_start_reports_median_and_extremes() -> None:
    numbers = run_cold_start.summary([run(seconds=s, peak=p) for s, p in ((3.0, 10), (1.0, 30), (2.0, 20))])
    assert numbers == {"first_s": 3, "median_s": 2, "min_s": 1, "max_s": 3, "peak_mib": 30}
    assert "| 2.00" in run_cold_start.report({"medq": numbers})


def test_results_hold_the_exact_command_and_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "r.json"
    numbers = {"SRCC": Estimate(0.5, math.nan, math.nan, 3, 1)}
    results.write(path, "eval.run_scores", ["--manifest", "a b.csv"], numbers)
    got = json.loads(path.read_text())
    assert got["command"] == "python -m eval.run_scores --manifest 'a b.csv'"
    assert got["SRCC"] == {"value": 0.5, "low": None, "high": None, "n": 3, "clusters": 1}
