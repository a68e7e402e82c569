"""The panel and the comparison: everything is said, and no text of a stranger becomes markup."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from app import chat, compare, pages, panel, worklist
from app.intake import Unread
from app.review import parse
from app.store import Owner, Study
from medq_vlm.language.pair import not_comparable
from medq_vlm.report import content
from medq_vlm.schema import ImageSample, MedQError, Recognised
from medq_vlm.vocab import KIND
from tests.assessments import FIVE, METAL, NOISE, assessed, refused

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


def test_warnings_stand_above_the_findings_and_doubt_is_said() -> None:
    unsure = replace(NOISE, confidence=0.4)
    made = assessed(findings=(unsure, METAL), anatomy=Recognised("heart", "image", 0.55))
    page, label = panel.panel(study(result=made)), pages.label(study(result=made))
    assert page.index("mq-warnings") < page.index("mq-findings")
    assert "Possible low-dose noise" in page and "Possible metal" not in page
    assert "probably heart (recognised from the image" in page and "Probably heart CT" in label
    told = replace(made, anatomy=Recognised("heart", "user", 0.55))
    assert "robably" not in pages.label(study(result=told))


def test_images_of_different_things_are_not_comparable() -> None:
    first = assessed(3.8)
    other = replace(assessed(3.31), modality=Recognised("mr", "header", 1.0))
    told = compare.pair_sentence(first, other)
    assert told.startswith("Not comparable: the first is CT, the second MR;")
    assert "They are 3.8 and 3.3 of 4" in told and "better" not in told
    doubtful = replace(first, anatomy=Recognised("heart", "image", 0.5))
    assert not_comparable(first, doubtful) == ""
    row = compare.rows(first, other)[0]
    assert row == ("Score, 0 to 4", "3.8", "3.3", "-0.5")  # the difference of what is shown


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
    assert compare.pair_sentence(first, second) == (
        "The second is better by 1.8 (1.2 and 3.0 of 4); only the first shows low-dose noise; "
        "only the second shows metal streaks."
    )
    assert compare.pair_sentence(first, first) == "Both are of one quality (1.2 and 1.2 of 4)."
    close = compare.pair_sentence(assessed(2.44, (NOISE,)), assessed(2.56, (NOISE,)))
    assert close.startswith("The second is better by 0.2 (2.4 and 2.6 of 4). ")  # as the page's figures say
    assert close.endswith("so the order is likely, not certain.")  # as the intervals overlap
    table = {row[0]: row for row in compare.rows(first, second)}
    assert table["Score, 0 to 4"][3] == "+1.8"
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


def test_the_worklist_has_a_row_for_each_file_that_failed() -> None:
    failed = study(result=None, state="failed", problem="There is not enough memory for this image.", name="b.dcm")
    listed = [study(), failed, Unread("notes.txt", "notes.txt: this is not an image in a known format.")]
    rows = worklist.table(listed)
    assert [row[0] for row in rows] == [1, 2, 3]
    assert rows[1][-1] == "failed: There is not enough memory for this image."
    assert rows[2][1] == "notes.txt" and rows[2][-1] == "failed: this is not an image in a known format."
    assert [row[0] for row in worklist.table(listed, "failed")] == [2, 3]
    lines = [json.loads(line) for line in worklist.download(listed, "jsonl").data.decode().splitlines()]
    assert [line["path"] for line in lines] == ["a.dcm", "b.dcm", "notes.txt"]
    assert [bool(line["error"]) for line in lines] == [False, True, True]


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [("all", [1, 2, 3, 4, 5, 6]), ("usable", [1]), ("waiting", [2, 3]), ("failed", [4, 5]), ("not reviewed", [1, 6]),
     ("not assessable", [6]), ("good", [])],
)  # fmt: skip
def test_every_row_passes_the_filters_that_fit_it(wanted: str, numbers: list[int]) -> None:
    listed = [
        study(), study(result=None), study(result=None, state="stopped"), study(result=None, state="failed"),
        Unread("x", "x: it is empty."), study(result=refused()),
    ]  # fmt: skip
    assert [row[0] for row in worklist.table(listed, wanted)] == numbers


def test_what_a_blank_picture_looks_like_is_not_said() -> None:
    guessed = replace(refused(), modality=Recognised("oct", "image", 0.4), anatomy=Recognised("eye", "image", 0.3))
    assert "OCT" not in panel.panel(study(result=guessed)) and "OCT" not in pages.label(study(result=guessed))
    told = replace(guessed, modality=Recognised("oct", "header", 1.0))
    assert "OCT" in panel.panel(study(result=told))


def test_evidence_inside_its_range_comes_last_and_says_so() -> None:
    out, inside = NOISE.evidence[0], replace(NOISE.evidence[0], name="snr", value=90.0, expected=">= 40")
    both = replace(NOISE, evidence=(inside, out))
    page = panel.panel(study(result=assessed(findings=(both,))))
    assert page.index("Noise SD") < page.index("SNR") and "as expected, \u2265 40" in page
    assert "rests on what the model sees" not in page
    alone = replace(NOISE, evidence=(inside,))
    assert "rests on what the model sees" in panel.panel(study(result=assessed(findings=(alone,))))


def test_an_answer_names_what_the_review_says_otherwise() -> None:
    made = study(review=parse({"findings": {"metal": "absent", "low_dose_noise": "present"}, "verdict": "good"}))
    said = "The verdict is usable because of severe low-dose noise and metal streaks."
    assert chat.reviewed(made, "Why?", said).startswith(
        " Your review marks metal streaks as absent and the verdict as good"
    )
    assert chat.reviewed(made, "Any rings?", "No ring artefact was found.") == ""
    assert chat.reviewed(study(), "Why?", said) == ""


def test_a_picture_joins_an_answer_that_asks_for_a_place() -> None:
    assert "/marked/0" in chat.picture_for(study(), "Where is the problem?")
    shown = content.shown_findings(assessed(findings=FIVE))
    for number, one in enumerate(shown):  # the one that is named; one that is everywhere has no place to show
        picture = chat.picture_for(study(), f"Where is the {KIND[one.kind].plain}?")
        assert (f"/marked/{number}" in picture) == (one.location.box is not None)
    assert chat.picture_for(study(), "Where do you see the bubbles?") == ""  # there are none
    assert chat.picture_for(study(), "What should I change?") == ""
    assert chat.picture_for(study(result=assessed()), "Where is it?") == ""
