"""The panel and the comparison: everything is said, and no text of a stranger becomes markup."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from app import chat, compare, panel, worklist
from app.review import parse
from app.store import Owner, Study
from medq_vlm.schema import ImageSample, MedQError
from tests.assessments import FIVE, METAL, NOISE, assessed

EVIL = "<img src=x onerror=alert(1)>\"'"


def study(**changes: object) -> Study:
    sample = ImageSample(np.zeros((1, 128, 128), np.float32), unit="HU", modality="ct", path="a.dcm", sha256="cd" * 32)
    made = Study("token", Owner("", "", ""), "a.dcm", sample, assessed(findings=FIVE))
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_every_finding_has_place_evidence_cause_remedy_and_chips() -> None:
    page = panel.panel(study())
    for finding in FIVE:
        assert f'data-kind="{finding.kind}"' in page
    for words in (
        "Upper centre",
        "Noise SD <b>41.2 HU</b>",
        "\u2264 25",
        "expected",
        "Remedy",
        "Cause",
        "USABLE",
        "of 4",
        "Higher than 12",
    ):
        assert words in page or words.lower() in page.lower()
    assert page.count('data-review="present"') == len(FIVE)
    assert page.count('data-finding="') == len(FIVE)


def test_a_saved_review_is_shown_again() -> None:
    made = study(
        review=parse({"findings": {"metal": "absent", "noise": "present"}, "verdict": "good", "comment": EVIL})
    )
    page = panel.panel(made)
    assert page.count('aria-pressed="true"') == 2  # one answered, one added
    assert "added by you" in page
    assert '<option value="good" selected>' in page
    assert "<img" not in page


def test_no_text_of_a_stranger_becomes_markup() -> None:
    result = replace(assessed(findings=FIVE), acquisition=EVIL, description=EVIL, warnings=(EVIL,))
    made = study(name=EVIL, result=result)
    assert "<img" not in panel.panel(made) + panel.viewer_data(made) + panel.acquisition(made) + panel.notice(EVIL)
    assert "<img" not in panel.comparison(EVIL, (EVIL, EVIL), compare.rows(result, result))
    made.chat.append((EVIL, EVIL))
    assert all("<img" not in message["content"] for message in chat.messages(made))


def test_an_image_that_was_not_assessed_says_why() -> None:
    refused = replace(
        assessed(), score=None, score_interval=None, verdict=None, assessable=False, reason="It is blank."
    )
    page = panel.panel(study(result=refused))
    assert "data-missed" not in page  # there is no list of findings that it could be added to
    assert "NOT ASSESSABLE" in page and "It is blank." in page and "data-finding" not in page
    assert "not assessed yet" in panel.panel(study(result=None)).lower()
    assert "No study open" in panel.panel(None)


def test_the_viewer_is_told_as_json() -> None:
    text = panel.viewer_data(study()).split('data-view="')[1].split('"')[0]
    data = json.loads(text.replace("&quot;", '"').replace("&#x27;", "'").replace("&lt;", "<").replace("&amp;", "&"))
    assert data["token"] == "token" and len(data["findings"]) == len(FIVE)


def test_a_comparison_says_what_changed() -> None:
    first, second = assessed(1.2, (NOISE,)), assessed(3.0, (METAL,))
    words = compare.sentence(first, second)
    assert "from 1.2 to 3.0" in words and "from reject to good" in words and "new:" in words and "no longer" in words
    table = {row[0]: row for row in compare.rows(first, second)}
    assert table["Score, 0 to 4"][3] == "+1.80"
    assert table["Verdict"][3] == "changed"
    same = compare.rows(first, first)
    assert all(row[3] == "" for row in same)


def test_the_worklist_has_a_row_for_each_study_and_its_downloads() -> None:
    studies = [study(), study(result=None), study(name="=evil")]
    rows = worklist.table(studies)
    assert [row[0] for row in rows] == [1, 2, 3]
    assert [row[-1] for row in rows] == ["done", "waiting", "done"]
    assert len(rows[0]) == len(worklist.HEADERS) == len(worklist.TYPES)
    csv_text = worklist.download(studies, "csv").data.decode()
    assert csv_text.count("\n") == 3 and "'=evil" in csv_text
    lines = worklist.download(studies, "jsonl").data.decode().splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["a.dcm", "=evil"]
    with pytest.raises(MedQError):
        worklist.download(studies, "exe")
    with pytest.raises(MedQError):
        worklist.download([study(result=None)], "csv")


def test_a_picture_joins_an_answer_that_asks_for_a_place() -> None:
    assert "/marked/0" in chat.picture_for(study(), "Where is the problem?")
    assert chat.picture_for(study(), "What should I change?") == ""
    assert chat.picture_for(study(result=assessed()), "Where is it?") == ""
