"""The guard catches contradictions and lets true sentences pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medq_vlm.language import guard
from medq_vlm.language import line as lines
from tests import assessments

LINE = lines.from_assessment(assessments.assessed(1.7, (assessments.NOISE, assessments.METAL)))
CLEAN = lines.from_assessment(assessments.assessed(3.2))


@pytest.mark.parametrize(
    "sentence",
    [
        "The image shows moderate low-dose noise.",
        "There is severe ring artefact throughout the image.",
        "The ring artefact comes from detector elements.",
        "The verdict is good.",
        "Overall, the quality of this image is reject.",
        "The score is 3.4 of 4.",
        "No degradation was found.",
        "There is no low-dose noise here.",
        "The metal streaks are severe.",
        "Ring artefact is visible.",
        "The fracture line is present throughout the image.",
        "No, injected too little was not found.",
        "No, Nevus borders was not found.",
        "The flash is moderate.",
        "There is no mitoses here. Found instead: severe low-dose noise.",
        "There is no haemorrhage here.",
        "I see no nodules in this image.",
        "Globally, it has metal streaks, severe low-dose noise and metal streaks.",
        "The score most likely lies between 0.0 and 0.01 of 4.",
        "It lies between 1.4 and 2.8.",
        "It is not usable: the verdict is usable.",
        "It is good.",
        "Yes, it is bad.",
        "The score is nearest to 'diagnostic'.",
        "The worst finding is no degradation.",
        "The oversampling artefact is moderate.",
        "To reduce the low-dose noise: remove external metal, tilt the gantry or raise kVp.",
        "With moderate metal streaks, small low-contrast lesions may be hidden.",
        "It is mainly the oversampling artefact.",
    ],
)
def test_a_contradiction_is_caught(sentence: str) -> None:
    assert guard.contradiction(sentence, LINE, "ct") is not None


@pytest.mark.parametrize(
    "sentence",
    [
        "Mainly because of severe low-dose noise throughout the image, besides moderate metal streaks.",
        "There is no ring artefact in this image.",
        "I see no ghosting here.",
        "There is no reason to repeat it.",
        "There is no limit to interpretation.",
        "No ring artefact was found; the main finding is severe low-dose noise.",
        "Ring artefact comes from detector elements that are defective.",
        "The verdict is usable, with a score of 1.7 of 4.",
        "Overall, the quality of this image is usable.",
        "No, nothing else was found.",
        "No, ghosting was not found in this image.",
        "No, graininess is moderate.",
        "Yes, severe low-dose noise is present throughout the image.",
        "The main problem is present throughout the image.",
        "The noise is very strong.",
        "The metal streaks come from photon starvation and beam hardening at metal.",
        "The score runs from 0 to 4, and higher is better.",
        "The score most likely lies between 1.4 and 2.1.",
        "It is not good: the verdict is usable, with a score of 1.7 of 4.",
        "It is usable, nearest to 'limited interpretation'.",
        "Against the metal streaks: use metal artefact reduction.",
        "With moderate metal streaks, tissue beside the metal and in the streaks cannot be judged.",
        "Severe low-dose noise hides small lesions, besides moderate metal streaks: small low-contrast lesions may be "
        "hidden.",
        "The worst artefact is severe low-dose noise, and the other artefacts are less severe.",
    ],
)
def test_a_true_sentence_passes(sentence: str) -> None:
    assert guard.contradiction(sentence, LINE, "ct") is None


def test_the_whole_is_told_by_its_attributes() -> None:
    assert guard.contradiction(f"Globally, it has {LINE.overall}.", LINE, "ct") is None
    line = replace(LINE, overall="metal sharpness")
    wrong = guard.contradiction("Globally, it has metal streaks.", line, "ct")
    assert wrong is not None and wrong.start == len("Globally, it has metal")  # what may stay stays


@pytest.mark.parametrize(
    ("said", "better"),
    [
        ("No, metal streaks was not found.", "No metal streaks were found."),
        ("Overall, the quality of this image is reject.", "Overall, the verdict on this image is reject."),
        ("Throughout the image, mild defocus are visible.", "Throughout the image, mild defocus is visible."),
        ("Locally, mild defocus and mild blur are seen.", "Locally, mild defocus and mild blur are seen."),
        ("This is a retina fundus.", "This is a fundus image of the retina."),
        ("Why not raise tube current?", "Raise tube current."),
        ("The noise was severe.", "The noise was severe."),
        ("The verdict is good: mainly mild blur.", "The verdict is good, despite mild blur."),
        (
            "The verdict is good, with a score of 3.1 of 4: mainly mild blur.",
            "The verdict is good, with a score of 3.1 of 4, despite mild blur.",
        ),
        ("The verdict is reject: mainly severe blur.", "The verdict is reject: mainly severe blur."),
    ],
)
def test_slips_of_english_are_put_right(said: str, better: str) -> None:
    assert guard.polished(said) == better


def test_a_clean_image_may_be_called_clean_and_nothing_else() -> None:
    assert guard.contradiction("No degradation was found.", CLEAN, "ct") is None
    assert guard.contradiction("It has mild noise.", CLEAN, "ct") is not None
    assert guard.contradiction("The verdict is reject.", CLEAN, "ct") is not None


def test_an_assessed_image_is_not_said_to_be_unassessed() -> None:
    assert guard.contradiction("No, quality was not assessed.", CLEAN, "ct") is not None
    assert guard.contradiction("The image was assessed: no degradation was found.", CLEAN, "ct") is None


def test_a_word_twice_in_a_row_is_no_sentence() -> None:
    assert guard.contradiction("Plugs is a thin, thin, thick, moderate, good and good.", CLEAN, "ct") is not None
    assert guard.contradiction("The sharpness is good and the contrast is good.", CLEAN, "ct") is None


def test_a_replacement_is_marked_and_true() -> None:
    for line in (LINE, CLEAN):
        text = guard.replacement(line)
        assert text.startswith("(From the structured result:)")
        assert guard.contradiction(text, line, "ct") is None


@pytest.mark.parametrize(
    ("sentence", "caught"),
    [
        ("Image B is better than image A by 1.5 points (1.7 against 3.2).", False),
        ("Image A is better by 1.5 points.", True),
        ("The two images are similar in quality (1.7 against 3.2).", True),
        ("Image A shows severe low-dose noise, while in image B no degradation was found.", False),
        ("Image A shows mild ring artefact.", True),
        ("In image B there is moderate metal streaks.", True),
        ("The verdicts are usable for A and good for B.", False),
        ("The verdicts are good for A and good for B.", True),
        ("Image B is better by 0.9 points.", True),
    ],
)
def test_a_comparison_is_checked_against_both_images(sentence: str, caught: bool) -> None:
    assert (guard.pair_contradiction(sentence, (LINE, CLEAN), ("ct", "ct")) is not None) == caught


def test_the_comparison_from_the_results_is_true() -> None:
    text = guard.pair_replacement(LINE, CLEAN)
    assert "image B is better by 1.5" in text
    assert guard.pair_contradiction(text.split(";")[0], (LINE, CLEAN), ("ct", "ct")) is None


@pytest.mark.parametrize("said", ["good noise", "low noise"])
def test_attributes_are_said_in_the_words_of_the_line(said: str) -> None:
    line = replace(LINE, overall="sharpness good, noise very strong")
    told = guard.polished(f"Globally, it has good sharpness and {said}.", line)
    assert told == "Globally, it has good sharpness and very strong noise."
    assert guard.polished("It has low noise.", line) == "It has low noise."  # left to the checks


def test_evidence_has_one_pair_of_brackets() -> None:
    told = guard.polished("It has noise SD 29.4 HU (expected <= 25 HU (body, 1 to 3 mm)).")
    assert told == "It has noise SD 29.4 HU (expected <= 25 HU, body, 1 to 3 mm)."


def test_a_finding_is_said_where_it_was_found() -> None:
    told = guard.polished("There are severe low-dose noise throughout the image and mild ring artefact.", LINE)
    assert told == "There are severe low-dose noise (upper centre, slices 3 to 9) and mild ring artefact."


def test_the_cause_of_streaks_is_one() -> None:
    assert guard.polished("The cause of the metal streaks is metal.") == "The cause of the metal streaks is metal."
    assert guard.polished("The metal streaks is severe.") == "The metal streaks are severe."


def test_a_kind_that_ends_like_a_plural_is_one() -> None:
    assert guard.polished("The defocus is severe.") == "The defocus is severe."
    assert guard.polished("The metal streaks is severe.") == "The metal streaks are severe."


@pytest.mark.parametrize("sentence", ["The metal streaks are severe.", "The low-dose noise is only mild there."])
def test_a_wrong_degree_is_what_is_banned_and_not_the_name_before_it(sentence: str) -> None:
    wrong = guard.contradiction(sentence, LINE, "ct")
    assert wrong is not None and sentence[wrong.start :].startswith(wrong.words)
    assert wrong.words in ("severe", "mild")


STREAKS = "Yes, moderate metal streaks are present throughout the image."


@pytest.mark.parametrize(
    ("question", "said", "left"),
    [
        ("Can I still see the liver beside the streaks?", STREAKS, STREAKS[5:].capitalize()),
        ("what about the streaks, is it fixable", STREAKS, STREAKS[5:].capitalize()),
        ("Are there streaks?", STREAKS, STREAKS),
        ("Does it have metal streaks?", STREAKS, STREAKS),
        ("Can you see any streaks?", STREAKS, STREAKS),
        ("Should I repeat it?", "Yes, the verdict is reject.", "Yes, the verdict is reject."),
        ("How could it get better?", "No degradation was found.", "No degradation was found."),
        ("is it twice as noisy?", "Yes, severe noise is present.", "Severe noise is present."),
    ],
)
def test_a_yes_answers_only_whether_something_is_there(question: str, said: str, left: str) -> None:
    assert guard.unled(said, question) == left
