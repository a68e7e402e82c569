"""Reading, splitting and spreading a manifest."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from eval.manifest import Row, clean_rows, read_manifest, split_rows, spread
from medq_vlm.schema import MedQError

HEADER = "path,modality,group,reference_quality\n"


def row(source: str, group: str, number: int) -> Row:
    return Row(Path(), f"{source}/{group}/{number}", source, group, "ct", "pristine")


def test_rows_are_read_with_their_source_and_modality(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(HEADER + "a/1.png,XR,s1,pristine\na/2.png,microscopy,,reader_study\n")
    first, second = read_manifest(manifest)
    assert first == Row(tmp_path / "a/1.png", "a/1.png", "a", "s1", "xray", "pristine")
    assert second.modality == "histopathology" and second.group == "a/2.png"
    assert clean_rows([first, second]) == [first]


@pytest.mark.parametrize(
    ("text", "said"), [("path,group\n", "modality"), (HEADER + "a/1.png,sonar,s,pristine\n", "sonar")]
)
def test_a_bad_manifest_is_refused_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(MedQError, match=said):
        read_manifest(tmp_path / "m.csv")
    with pytest.raises(MedQError, match="no manifest"):
        read_manifest(tmp_path / "absent.csv")


def test_held_out_sources_are_never_trained_on() -> None:
    rows = [row(source, "g", n) for source in "abc" for n in range(3)]
    evaluated, training = split_rows(rows, {"b"}, "held-out")
    assert {r.source for r in evaluated} == {"b"} and {r.source for r in training} == {"a", "c"}
    assert split_rows(rows, {"b"}, "all") == (rows, [])
    with pytest.raises(MedQError, match="held-out"):
        split_rows(rows, {"z"}, "held-out")


def test_spread_takes_sources_and_groups_in_turn_and_repeats_with_the_seed() -> None:
    rows = [row("big", f"g{n % 2}", n) for n in range(40)] + [row("small", "g", n) for n in range(3)]
    picked = spread(rows, 6, seed=1)
    assert Counter(r.source for r in picked) == {"big": 3, "small": 3}
    assert {r.group for r in picked if r.source == "big"} == {"g0", "g1"}
    assert picked == spread(rows, 6, seed=1) != spread(rows, 6, seed=2)
    assert len(spread(rows, None, 0)) == len(rows)
