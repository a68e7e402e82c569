"""Multiple choice: options are read as people write them, and one that contradicts the result is not offered."""

from __future__ import annotations

import pytest

from medq_vlm.language import choices
from medq_vlm.language import line as lines
from tests import assessments

LINE = lines.from_assessment(assessments.assessed(1.7, (assessments.NOISE, assessments.METAL)))
CLEAN = lines.from_assessment(assessments.assessed(3.2))
KINDS = "A) ring artefact B) metal streaks C) low-dose noise D) no degradation"


def letters(question: str, line: lines.Line = LINE) -> str:
    stem, options = choices.asked(question)
    offered = choices.agreeing(stem, options, line, "ct")
    assert offered is not None
    return "".join(option.letter for option in offered)


@pytest.mark.parametrize(
    "question",
    [
        "Which one? A) blur B) noise",
        "Which one? (a) blur (b) noise",
        "Which one?\na. blur\nb. noise",
        "Which one? A: blur, B: noise",
        "Which one? A)blur B)noise",
    ],
)
def test_options_are_read_as_people_write_them(question: str) -> None:
    stem, options = choices.asked(question)
    assert stem.startswith("Which one?")
    assert [option.text for option in options] == ["A) blur", "B) noise"]


@pytest.mark.parametrize(
    "question", ["Is it good?", "Is plan B: repeat it?", "Vitamin A. What of it?", "B) noise A) blur", "A) B)", ""]
)
def test_other_questions_have_no_options(question: str) -> None:
    assert choices.asked(question)[1] == []


@pytest.mark.parametrize(
    ("question", "line", "right"),
    [
        (f"Which of these was found? {KINDS}", LINE, "BC"),
        (f"What is the main problem? {KINDS}", LINE, "C"),
        (f"Which was not found? {KINDS}", LINE, "A"),
        (f"Which of these was found? {KINDS}", CLEAN, "D"),
        ("The verdict? A) reject B) usable C) good", LINE, "B"),
        ("How severe is the low-dose noise? A) mild B) severe C) moderate D) none", LINE, "B"),
        ("How severe is the ring artefact? A) mild B) severe C) moderate D) none", LINE, "D"),
        ("Which one? A) a tumour B) ring artefact C) nothing", LINE, ""),
        ("Which one? A) ring artefact B) motion artefact", LINE, ""),
    ],
)
def test_an_option_that_contradicts_the_result_is_not_offered(question: str, line: lines.Line, right: str) -> None:
    assert letters(question, line) == right


@pytest.mark.parametrize(
    "question",
    [
        "What is the diagnosis? A) pneumonia B) tumour C) nothing",
        "How severe is the stenosis? A) mild B) moderate C) severe",
        "What is the prognosis? A) good B) bad",
        "Should we operate? A) yes B) no",
        "Which dose of heparin? A: 80 units B: 120 units",
    ],
)
def test_letters_open_no_way_to_what_the_result_does_not_hold(question: str) -> None:
    stem, options = choices.asked(question)
    assert options and choices.agreeing(stem, options, LINE, "ct") is None
