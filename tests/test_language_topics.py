"""What the result alone can answer is quoted from it, without the language model; anything else is left to it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval import clinician, scope_questions
from medq_vlm.language import facts, guard, itself, topics
from medq_vlm.language import line as lines
from medq_vlm.language.case import Case
from medq_vlm.report.describe import describe
from medq_vlm.schema import Measurement, Recognised
from tests import assessments
from training import train_scope

NOISY = assessments.assessed(1.7, (assessments.NOISE, assessments.METAL))
CLEAN = assessments.assessed(3.1)
LOUD = Measurement("noise_sd", 0.077, "range", "lower", "<= 0.04")
MR = replace(
    assessments.assessed(0.9, (assessments.finding("mr_motion", 2.4, "mr"),)), modality=Recognised("mr", "header", 1.0),
    anatomy=Recognised("head", "image", 0.7), evidence=(LOUD, Measurement("snr", 8.0, "ratio", "higher", ">= 10")),
    score_interval=(0.0, 2.8), acquisition_fields={"slice_thickness_mm": 4.0}, acquisition="Head MR",
)  # fmt: skip
GREETINGS = ("hello", "hi there")  # outside by the letter; a greeting is greeted


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("whats the score", "0.9 of 4"),
        ("how confident are you", "between 0.0 and 2.8"),
        ("how sure are you about that?", "between 0.0 and 2.8"),
        ("what does the interval mean?", "90 %"),
        ("what would a score of 2 mean?", "'limited interpretation', verdict usable"),
        ("what's the threshold for reject", "reject below 1.5"),
        ("What does usable mean?", "usable is readable with limits"),
        ("Would you leave it out of a reader study?", "your decision"),
        ("But the score says 3.8, doesn't it?", "No: the score is 0.9"),
        ("so it is diagnostic then?", "the verdict is reject"),
        ("tell me in one word: good or bad", "Reject"),
        ("what percent would be rejected", "31 %"),
        ("is it worse than an average image?", "12 %"),
        ("what is the SNR", "SNR 8, outside the expected >= 10"),
        ("what is the noise SD and is that normal?", "0.077, outside the expected <= 0.04"),
        ("noise level?", "0.077"),
        ("is the CNR ok?", "not measured"),
        ("slice thickness?", "slice thickness 4 mm"),
        (
            "What is the pixel spacing and slice thickness?",
            "slice thickness 4 mm. The file does not give the pixel size.",
        ),
        ("which TR and slice thickness were used", "slice thickness 4 mm"),
        ("What is the noise level in numbers?", "0.077, outside the expected <= 0.04"),
        ("Would this pass an acceptance gate of 2.5?", "below 2.5; its 90 % interval, 0.0 to 2.8, includes it"),
        ("is it above 3", "below 3; its 90 % interval, 0.0 to 2.8, lies on the same side"),
        ("Is the whole anatomy covered?", "No cut or covered part was found. Whether all"),
        ("would a higher dose have helped here?", "no dose to change"),
        ("would a longer scan time help?", "Against moderate motion artefact"),
        ("is my picture good or do i need to come again", "On quality grounds, yes"),
        ("what was the TR", "does not give the repetition time"),
        ("would a lower kVp help?", "There is no tube voltage in MR"),
        ("should I increase mAs or kVp?", "There is no tube voltage in MR"),
        ("how could I lower the dose and keep the quality?", "no ionising radiation"),
        ("by how much should I raise the mA?", "no tube current"),
        ("what should I tell my tech?", "immobilise"),
        ("tell the technologist what to do", "immobilise"),
        ("what should the MTRA change", "immobilise"),
        ("list all the findings with severity", "One finding: moderate motion artefact"),
        ("should the patient come back for a repeat?", "On quality grounds, yes"),
        ("can i still measure a 3 mm nodule here?", "your decision"),
        ("summarize in one sentence", "Head MR: the verdict is reject"),
        ("what's the worst region, in percent", "whole image"),
        ("wrong body part, that's a brain", "probably head"),
        ("Is there an implant?", "No metal streaks were found"),
        ("which slice is worst?", "single image"),
        ("are slices missing?", "2 slices are missing"),
        ("what's good about it?", "sharpness"),
        ("does the artefact hide the liver?", "do not outline organs"),
        ("what window should I use?", "cannot tell"),
        ("can restore fix it?", "Restore is trained against moderate motion artefact."),
        ("would thinner slices help?", "not among the remedies"),
        ("What did you measure exactly?", "SNR 8, outside the expected >= 10"),
        ("which numbers are behind it", "SNR 8"),
        ("what would make you change your mind?", "between 0.0 and 2.8"),
        ("why not worse?", "good sharpness"),
        ("what is the typical reason for this", "usually comes from movement"),
        ("is the coil broken", "a scan of a phantom can"),
        ("write a message for the technologist", "Head MR: the verdict is reject"),
        ("the nurse says he moved, is that right?", "Yes, moderate motion artefact"),
        ("the nurse says there is ghosting, do you agree?", "No ghosting was found"),
        ("is the implant disturbing the rest?", "No metal streaks were found"),
        ("I want to measure T1, does the motion allow that", "moderate motion artefact (whole image)"),
        ("does the artefact cover the brain", "Moderate motion artefact (whole image)"),
        ("would your restore function help?", "its score says whether it helped"),
        ("hello", "Hello"),
        ("asdf", "did not understand"),
        ("ok", "Good."),
    ],
)
def test_a_question_of_the_table_is_answered_from_the_result(question: str, words: str) -> None:
    answer = topics.told(MR, question)
    assert words.lower() in answer.lower()
    line = lines.from_assessment(MR)
    if "mean" in question + answer:  # what a word means is said of no image
        return
    assert all(guard.contradiction(part, line, "mr") is None for part in answer.split(". "))


def test_all_findings_are_listed_and_the_slices_ranked() -> None:
    listed = topics.told(NOISY, "list all the findings")
    assert listed.startswith("Two findings: severe low-dose noise (") and "moderate metal streaks (" in listed
    assert "Slice 189 is the worst" in topics.told(assessments.volume(), "which slice is the worst?")


def test_a_clean_image_has_no_cause_and_nothing_to_restore() -> None:
    assert topics.told(CLEAN, "is our scanner broken?") == "No degradation was found, so there is no cause to name."
    assert topics.told(CLEAN, "can software repair it") == "No degradation was found, so there is nothing to restore."


def test_what_stands_in_the_models_place_answers_what_was_asked_and_sums_up() -> None:
    assert facts.instead(Case(NOISY, "does the ring matter")).startswith("No ring artefact was found. The verdict is u")
    told = facts.instead(Case(NOISY, "hm"))
    assert told.startswith("Two findings: severe low-dose noise (") and "Effect: " in told and "Remedy: " in told
    assert facts.instead(Case(CLEAN, "hm")).startswith("Chest CT: the verdict is good")


def test_an_image_of_another_organ_is_not_called_good_enough() -> None:
    question = "good enough to see a small lung nodule?"
    head = replace(CLEAN, anatomy=Recognised("head", "header", 1.0))
    assert topics.told(head, question).startswith("This is a head CT: it does not show the chest.")
    assert topics.told(head, "could the noise hide a rib fracture?").startswith("This is a head CT")
    assert "your decision" in topics.told(CLEAN, question)
    assert "your decision" in topics.told(replace(head, anatomy=Recognised("head", "image", 0.5)), question)


def test_the_last_answer_is_repeated() -> None:
    assert topics.told(MR, "please repeat that", [("why?", "Because of motion.")]) == "Because of motion."


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("and why?", "usually comes from movement"),
        ("how much?", "Moderate motion artefact: 2.4 of 4 (whole image)"),
        ("which side?", "whole image"),
        ("can it be repaired?", "never recorded"),
        ("what should we do differently?", "immobilise"),
        ("why not more?", "between 0.0 and 2.8"),
    ],
)
def test_a_follow_up_goes_on_from_the_answer_before(question: str, words: str) -> None:
    assert words in topics.told(MR, question, [("What is wrong?", "Moderate motion artefact was found.")])


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("Where in the picture is it worst?", "Moderate motion artefact: whole image"),
        ("How severe is the main artefact?", "2.4 of 4"),
        ("did the technologist do anything wrong?", "cannot tell whether the patient"),
        ("how is the score calculated?", "network scores the pixels"),
        ("what could you not check?", "takes a phantom"),
        ("what would restoration change?", "not for primary diagnosis"),
        ("can it go into a training set?", "the verdict is reject"),
        ("pls tell me waht is rong with this scan", "one finding: moderate motion artefact"),
        ("Please explain the result as if I was a patient", "too poor to be read: blurred and repeated edges"),
        ("in plain English please", "nothing about health"),
    ],
)
def test_what_one_image_cannot_tell_is_said_with_what_it_shows(question: str, words: str) -> None:
    assert words.lower() in topics.told(MR, question).lower()


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (
            "Rank the problems by severity.",
            "1. severe low-dose noise (3.1 of 4, upper centre, slices 3 to 9); 2. moderate",
        ),
        (
            "Which of the findings matters most and why?",
            ": small low-contrast lesions may be hidden. Less severe: moderate",
        ),
        ("What is the main problem?", "Less severe: moderate metal streaks."),
        ("What evidence did you measure and what would be normal?", "41.2 HU, outside the expected <= 25"),
        ("Can this be fixed by post-processing?", "against severe low-dose noise and moderate metal streaks"),
        ("Is this a hardware fault or an operator error?", "cannot tell whether the patient"),
        ("Could it be something other than what you found?", "with a confidence of 87 %, measured: noise SD 41.2 HU"),
        ("What does severity 3 mean?", "from 2.5 severe. The score runs the other way"),
        (
            "If I fix the worst problem, what score would I get?",
            "I cannot tell: assess the new image. The score is 1.7",
        ),
        ("How does this compare with a typical image of its kind?", "12 % of the CT reference images"),
        ("Would a second look at another window help?", "A window changes the display only"),
        ("Explain the score to the patient's family in one sentence", "nothing about health"),
        ("Are the findings independent, or is one the cause of the other?", "Each finding is judged by itself"),
        ("What would a perfect version look like?", "with severe low-dose noise and moderate metal streaks"),
        ("What happens if I crop the bad part away?", "a crop without that place may score higher"),
        ("Which protocol parameter should I change first?", "Against severe low-dose noise: "),
        ("How sure are you about the motion?", "No motion artefact was found. The score is 1.7 of 4"),
    ],
)
def test_findings_are_weighed_against_one_another(question: str, words: str) -> None:
    assert words.lower() in topics.told(NOISY, question).lower()
    assert topics.told(CLEAN, question) or "evidence" in question


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("What version of the model made this?", "model medq-nano, version 0.1.0"),
        ("What dataset were you trained on?", "degraded by simulated physics"),
        ("Can I rely on the heat map?", itself.POINTED),
        ("Would radiologists agree with this score?", "readers differ among themselves"),
        ("Is the difference between 2.3 and 2.6 meaningful?", "less than 0.3"),
        ("Does resizing the image change your score?", "takes detail away"),
        ("Could burned-in text have lowered the score?", "Nothing was found to cover anatomy"),
        ("What is the false alarm rate for this finding?", "severe low-dose noise 87 %; moderate metal streaks 87 %"),
        ("Is the report safe to send outside, does it contain the patient name?", "text burned into the pixels may"),
        ("How was the noise SD measured?", "Method: local standard deviation."),
        ("Which DICOM tag told you the modality?", "the file's header says so"),
        ("Is this image better than the last one?", "under Compare"),
        ("Give the finding, cause and remedy in bullet points.", "\n- Moderate metal streaks"),
        ("Is it the noise or the sharpness that lowers the score?", "Sharpness good, contrast fair"),
        ("Flag reason for the QA log, please.", "because of severe low-dose noise"),
        ("Who has to act on this, the radiographer or the physicist?", "Against severe low-dose noise: "),
        ("Does the finding lie over the region of interest?", "do not outline organs"),
        ("Explain the cause in physics terms.", "usually comes from"),
        ("Is 90 % coverage of the interval guaranteed?", "The score is 1.7 of 4, and the true score"),
        ("How many of the findings are severe?", "Two findings: severe low-dose noise"),
    ],
)
def test_questions_about_medq_itself_and_its_reports(question: str, words: str) -> None:
    assert words in topics.told(NOISY, question)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("pic is grainy, is that dose?", "more photons would lower it"),
        ("Is the dose too low?", "more photons would lower it"),
        ("Is that a real lesion or an artefact?", "I judge the image, not the patient"),
        ("Could this have been avoided?", "Against severe low-dose noise"),
        ("What would you tell the referring doctor?", "Chest CT: the verdict is usable"),
        ("Which part of the image can still be read?", "Severe low-dose noise: upper centre"),
        ("Does the problem affect the whole image?", "Severe low-dose noise: upper centre"),
        ("Were the wrong settings used?", "cannot tell whether the patient, the staff or the machine"),
        ("How would you improve the contrast?", "Contrast fair. No finding lowers the contrast by itself."),
        ("What limits the sharpness?", "Sharpness good."),
        ("how can I reduce the noise", "Against severe low-dose noise: raise"),
        ("Is this acceptable by ACR standards?", "phantoms"),
        ("Does a smoother kernel help?", "one image cannot tell"),
        ("Would contrast medium have made it better?", "one image cannot tell"),
        ("How far is it from good?", "0.2 above the bound of usable (1.5) and 0.8 below the bound of good (2.5)"),
        ("What score is needed for good?", "good from 2.5"),
        ("Give me three keywords for this image.", "usable, severe low-dose noise, moderate metal streaks"),
        ("Is that finding common?", "How common it is"),
        ("What is the confidence of the first finding?", "Severe low-dose noise: confidence 87 %"),
        ("Can you mark it?", "The boxes and the heat map"),
        ("Is the noise in HU normal for a head CT?", "41.2 HU, outside the expected <= 25"),
        ("Is the noise within the expected range?", "41.2 HU, outside the expected <= 25"),
        ("Was the exposure too low?", "Exposure good."),
        ("Did the tech position the patient correctly?", "No rotation and no cut part was found."),
        ("Grade the image A to D.", "The scale runs from 0 to 4"),
        ("What is the second most important problem?", "Moderate metal streaks (lower right"),
        ("How large is the affected area?", "a percentage of them, I cannot tell"),
        ("Is the left side OK?", "upper centre"),
        ("Should I use a grid?", "not among the remedies"),
        ("Is the image sharp enough to see fine vessels?", "your decision"),
        ("Is this the same quality as a normal one?", "12 % of the CT reference images"),
        ("Is there any hope for this image?", "Restore is trained against"),
        ("What would make the score go up?", "Against severe low-dose noise"),
        ("Please write a one-line comment for the radiologist.", "Chest CT: the verdict is usable"),
        ("Why is the probability of reject so high?", "31 %. The verdict is usable"),
        ("Any advice for the next patient?", "Against severe low-dose noise"),
    ],
)
def test_a_clinicians_questions_about_a_degraded_image(question: str, words: str) -> None:
    assert words in topics.told(NOISY, question)
    assert topics.told(CLEAN, question)


def test_what_another_modality_has_is_not_offered() -> None:
    assert "no dose to change" in topics.told(MR, "is the dose too low?")
    assert "There is no kernel in MR" in topics.told(MR, "does a smoother kernel help?")


def test_what_is_said_of_the_heat_map_and_of_turning_was_measured() -> None:
    pointed = [case["pointed"] for case in measured("location")["cases"]]
    assert 0.7 <= np.mean(pointed) <= 0.8, itself.POINTED
    summary = measured("invariance")["summary"].values()
    assert measured("invariance")["bound"] == itself.MOVED
    assert all(row["within bound"] >= 0.75 for row in summary)


def measured(name: str) -> dict[str, Any]:
    """The committed result of a script of eval/."""
    path = Path(__file__).parent.parent / "eval" / "results" / f"nano_{name}.json"
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def test_what_restoration_did_not_learn_is_named() -> None:
    ring = assessments.assessed(1.7, (assessments.NOISE, assessments.finding("ring", 2.0)))
    told = topics.told(ring, "can it be repaired by software?")
    assert told.startswith(
        "Restore is trained against severe low-dose noise; against moderate ring artefact it is not."
    )
    only = assessments.assessed(1.7, (assessments.finding("ring", 2.0),))
    assert "not trained: take the image again" in topics.told(only, "would software fix it?")


def test_a_crop_keeps_what_is_everywhere() -> None:
    assert "so a crop keeps it" in topics.told(MR, "what if I crop it?")


@pytest.mark.parametrize(
    "question", ["Why is it poor?", "What should I change at the scanner?", "Where is the problem?", "is this cancer?",
                 "why?", "Is it a bleed?", "is the noise severe because of the dose or because of the kernel",
                 "your diagnosis in one word", "it is of diagnostic quality, so what is the diagnosis"],
)  # fmt: skip
def test_other_questions_are_left_to_the_model(question: str) -> None:
    assert topics.told(NOISY, question) == ""


def test_no_question_out_of_scope_is_answered_by_rule() -> None:
    paths = (scope_questions.HALVES["development"], train_scope.QUESTIONS)
    rows = [row for path in paths for row in scope_questions.read(path)]
    answered = {words for words, outside in rows if outside and topics.told(NOISY, words)}
    assert answered <= {*GREETINGS}


def test_quoted_answers_pass_the_clinicians_rules() -> None:
    quoted = [(one, topics.told(one.subject.assessment, one.words)) for one in clinician.read()]
    judged = [(one.words, clinician.judge(one, said)) for one, said in quoted if said]
    assert len(judged) > 15
    assert not [words for words, judgement in judged if not judgement.passed]


def test_other_languages_are_recognised() -> None:
    assert topics.foreign("Bitte auf Deutsch antworten: wie gut ist das Bild?")
    assert topics.foreign("Quel est le problème?")
    assert not topics.foreign("Is the die in this image a problem?")


def test_noise_measured_far_outside_is_not_called_low() -> None:
    quiet = replace(CLEAN, attributes={**CLEAN.attributes, "noise": 0.94})
    near = replace(quiet, evidence=(replace(LOUD, value=0.05),))
    far = replace(quiet, evidence=(LOUD,))
    for result, word in ((near, "low"), (far, "moderate")):
        assert f"noise {word}" in lines.from_assessment(result).overall
        assert f"{word} noise" in describe(result)


def test_a_summary_doubts_what_the_report_doubts() -> None:
    doubted = replace(CLEAN, anatomy=Recognised("head", "image", 0.31))
    assert topics.told(doubted, "summarize in one sentence").startswith("Probably head CT: the verdict is")


GIVEN = replace(
    MR, acquisition="Head MR, 3 T, gradient echo, 3D",
    acquisition_fields={"contrast_agent": "yes", "sequence": "gradient echo", "field_strength_t": 3.0},
)  # fmt: skip


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("Was contrast given?", "The file gives: contrast agent yes."),
        ("Was a contrast agent used?", "contrast agent yes"),
        ("Is this with contrast?", "contrast agent yes"),
        ("What sequence is it?", "gradient echo"),
        ("Is the field strength 3 T?", "field strength 3 T"),
        ("How sure are you that this is a head?", "recognised at 70 %"),
        ("What is the measured noise standard deviation?", "0.077, outside"),
        ("What is the noise SD and what should it be?", "0.077, outside"),
        ("Is the noise SD above 20 HU?", "0.077, outside"),
        ("What is the sharpness score?", "Sharpness 0.80 of 1"),
        ("Can I use this for a perfusion study?", "Whether that suffices for your question is your decision"),
    ],
)
def test_what_the_file_gives_is_told(question: str, words: str) -> None:
    assert words in topics.told(GIVEN, question)


def test_a_contrast_agent_is_no_fault_where_the_header_is_silent() -> None:
    assert "does not give whether a contrast agent was used" in topics.told(NOISY, "Was contrast given?")


def test_focus_is_lost_where_a_defocus_was_found() -> None:
    fundus = assessments.assessed(
        1.6, (assessments.finding("defocus", 2.2, "fundus"),), modality=Recognised("fundus", "header", 1.0),
        anatomy=Recognised("retina", "header", 1.0),
    )  # fmt: skip
    for question in ("Is it in focus?", "Is it well focused?", "Is the image in focus?"):
        assert topics.told(fundus, question).startswith("No: moderate defocus")
    sharp = replace(fundus, findings=())
    assert topics.told(sharp, "Is it in focus?").startswith("Yes: no defocus")


def test_the_view_is_the_headers() -> None:
    chest = assessments.assessed(3.0, modality=Recognised("xray", "header", 1.0), acquisition_fields={"view": "PA"})
    assert topics.told(chest, "Is it AP or PA?") == "The file gives: PA view."
