"""The expected ranges of the evidence are held against clean and degraded images, and what was measured is of these."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eval.run_ranges import Reading, main, ranges
from medq_vlm.evidence import expected_for
from medq_vlm.schema import Measurement, MedQError

RESULT = Path(__file__).parent.parent / "eval" / "results" / "ranges.json"


def reading(source: str, value: float, kind: str = "") -> Reading:
    measurement = Measurement("noise_sd", value, "range", "lower", "<= 0.04")
    return Reading("noise_sd", "mr", source, f"{source}/{value}", kind, value, "<= 0.04", measurement.within is False)


def test_sources_count_alike_in_the_share_outside() -> None:
    clean = [reading("few", 0.05), *(reading("many", 0.01 + number / 1000) for number in range(9))]
    (found,) = ranges([*clean, reading("few", 0.09, "noise"), reading("many", 0.03, "noise")])
    assert found.clean_outside is not None and found.clean_outside.value == pytest.approx(0.5)
    assert found.degraded_outside is not None and found.degraded_outside.value == pytest.approx(0.5)
    assert found.clean_spread == pytest.approx((0.01, 0.018, 0.05)) and found.n == 10


def test_a_range_of_two_bounds_is_left_on_either_side() -> None:
    inside = {value: Measurement("brightness", value, "", "", "0.2 to 0.8").within for value in (0.1, 0.2, 0.8, 0.9)}
    assert inside == {0.1: False, 0.2: True, 0.8: True, 0.9: False}


def test_the_committed_figures_are_of_the_present_ranges() -> None:
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["ranges"]
    for row in rows:
        parts = ("", "head", "tissue section")
        known = {expected_for(row["measure"], row["modality"], part or None) for part in parts}
        assert set(row["expected"].split(" or ")) <= known, row["measure"]
    often = [row for row in rows if row["clean_outside"]["value"] > 0.35]
    assert len(often) < len(rows) / 10, [(row["measure"], row["modality"]) for row in often]


def test_a_missing_manifest_is_said(tmp_path: Path) -> None:
    with pytest.raises(MedQError, match="There is no manifest at"):
        main(["--manifest", str(tmp_path / "none.csv")])
