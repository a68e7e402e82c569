"""A person's review: only known words are taken, and it comes out as rows that training can read."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.review import ANSWERS, Review, labels_csv, parse, rows
from eval.manifest import read_manifest
from medq_vlm.schema import ImageSample, MedQError
from tests.assessments import assessed

SAMPLE = ImageSample(np.zeros((1, 16, 24), np.float32), path="scan.png", sha256="ab" * 32, bits=12)


@pytest.mark.parametrize(
    "given",
    [
        [], "text", {"findings": []}, {"findings": {"nonsense": "present"}}, {"findings": {"noise": "maybe"}},
        {"verdict": "excellent"}, {"comment": 3}, {"comment": "x" * 3000}, {"findings": {"noise": ["present"]}},
    ],
)  # fmt: skip
def test_anything_but_a_review_is_refused(given: object) -> None:
    with pytest.raises(MedQError):
        parse(given)


def test_a_review_keeps_what_was_said() -> None:
    review = parse({"findings": {"noise": "absent", "blur": "unsure"}, "verdict": "good", "comment": " fine "})
    assert review.findings == {"noise": "absent", "blur": "unsure"}
    assert (review.verdict, review.comment) == ("good", "fine")
    assert review.saved.endswith("+00:00")
    assert [name for name, _ in rows(review)] == ["Reader's verdict", "Noise", "Blur", "Comment", "Saved"]


def test_an_empty_review_is_none() -> None:
    assert not Review()
    assert rows(Review()) == []


def test_labels_are_rows_of_a_training_manifest(tmp_path: Path) -> None:
    result = assessed()
    review = parse({"findings": {"noise": ANSWERS[0]}, "verdict": "usable", "comment": "=cmd()"})
    text = labels_csv([(SAMPLE, result, review), (SAMPLE, result, Review())])
    path = tmp_path / "labels.csv"
    path.write_text(text)
    (row,) = read_manifest(path)  # the image without a review is left out
    assert row.name == "scan.png" and row.group == "ab" * 8 and row.reference_quality == "reader_study"
    (plain,) = csv.DictReader(io.StringIO(text))
    label = json.loads(plain["human_quality_label"])
    assert label["verdict"] == "usable" and label["findings"] == {"noise": "present"}
    assert (plain["height"], plain["width"], plain["bits"]) == ("16", "24", "12")
    assert plain["notes"] == "'=cmd()"  # no spreadsheet runs it


def test_a_name_cannot_smuggle_a_formula_into_the_table() -> None:
    text = labels_csv([(replace(SAMPLE, path="=1+1.png"), assessed(), parse({"verdict": "good"}))])
    assert "'=1+1.png" in text
