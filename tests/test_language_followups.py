"""Whatever is asked of a finding is answered of that finding: named, counted, pointed at; in any modality."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eval import scope_questions
from medq_vlm import vocab
from medq_vlm.language import aspects, facts, forms, limits, objection, referent, suppose, topics, unassessed
from medq_vlm.language.case import Case
from medq_vlm.language.terms import plain
from medq_vlm.schema import Assessment, Measurement, Recognised
from tests import assessments
from training import train_scope

NOISY = assessments.assessed(1.7, (assessments.NOISE, assessments.METAL))
CLEAN = assessments.assessed(3.1)
RATIO = Measurement("ghost_ratio", 0.06, "fraction", "lower", "<= 0.05")
INDEX = Measurement("speckle_index", 0.17, "ratio", "", "<= 0.4")
Turns = list[tuple[str, str]]


def of(modality: str, anatomy: str, *kinds: str, evidence: tuple[Measurement, ...] = ()) -> Assessment:
    """An assessment with `kinds`, the first the worst, which `evidence` backs."""
    found = [assessments.finding(kind, 2.8 - 0.7 * n, modality, None, evidence) for n, kind in enumerate(kinds)]
    return assessments.assessed(
        0.9, tuple(found), modality=Recognised(modality, "header", 1.0), anatomy=Recognised(anatomy, "header", 1.0),
        evidence=evidence, acquisition_fields={},
    )  # fmt: skip


MR = of("mr", "head", "wraparound", "ghosting", evidence=(RATIO,))
ULTRASOUND = of("ultrasound", "breast", "noise", "speckle", "shadow", evidence=(INDEX,))
XRAY = of("xray", "chest", "scatter", "quantum_mottle")
FUNDUS = of("fundus", "retina", "haze", "uneven_illumination")
ENDOSCOPY = of("endoscopy", "gastrointestinal tract", "motion_blur", "defocus")
MANY = (NOISY, MR, ULTRASOUND, XRAY, FUNDUS, ENDOSCOPY)


def meant(result: Assessment, question: str, history: Turns | None = None) -> list[str]:
    spoken = Case(result, plain(question), history or []).spoken
    return [one.kind for one in spoken.findings] if spoken.meant else []


@pytest.mark.parametrize(
    ("question", "kinds"),
    [
        ("How do I avoid the second one?", ["speckle"]),
        ("and the third?", ["shadow"]),
        ("cause of problem number 2", ["speckle"]),
        ("is the last finding severe?", ["shadow"]),
        ("the mildest one?", ["shadow"]),
        ("how sure are you of the main problem", ["noise"]),
        ("the other ones?", ["speckle", "shadow"]),
        ("why are both of them there", ["noise", "speckle", "shadow"]),
        ("where is the shadow?", ["shadow"]),
        ("is the second slice worse?", []),
        ("hold it for ten seconds", []),
        ("is this scan better than the last one?", []),
        ("what is the speckle index", []),
    ],
)
def test_findings_are_named_or_counted(question: str, kinds: list[str]) -> None:
    assert meant(ULTRASOUND, question) == kinds


def test_a_finding_is_that_of_the_exchange_before() -> None:
    named: Turns = [("What causes the speckle?", "Interference.")]
    assert meant(ULTRASOUND, "how do I avoid it?", named) == ["speckle"]
    assert meant(ULTRASOUND, "and where is it?", [*named, ("how do I avoid it?", "By compounding.")]) == ["speckle"]
    told: Turns = [("Anything to note here?", "The acoustic shadow is moderate.")]
    assert meant(ULTRASOUND, "is it severe?", told) == ["shadow"]
    assert meant(ULTRASOUND, "is the shadow severe?", named) == ["shadow"]  # what is named now goes before
    assert set(meant(ULTRASOUND, "and the other one?", named)) == {"noise", "shadow"}
    assert meant(ULTRASOUND, "is the verdict good or not at all in your opinion", named) == []
    assert meant(ULTRASOUND, "is it severe?") == []


def test_the_second_is_counted_in_the_order_that_was_told() -> None:
    told: Turns = [("List them", "There are an acoustic shadow and coarse speckle.")]
    assert meant(ULTRASOUND, "remedy for the first one", told) == ["shadow"]
    assert meant(ULTRASOUND, "remedy for the second one", told) == ["speckle"]


def test_there_is_no_third_of_two() -> None:
    assert topics.told(MR, "what is the cause of the third finding?").startswith("There is no such finding. Two")


@pytest.mark.parametrize("result", MANY)
@pytest.mark.parametrize(
    ("question", "part"),
    [
        ("what is the remedy for the {}", "remedy"),
        ("how do I get rid of the {}?", "remedy"),
        ("what causes the {}", "cause"),
        ("where does the {} come from", "cause"),
        ("what does the {} hide?", "impact"),
    ],
)
def test_each_finding_gets_its_own_sentence_and_no_others(result: Assessment, question: str, part: str) -> None:
    for place, one in enumerate(result.findings):
        others = [getattr(other, part) for other in result.findings if getattr(other, part) != getattr(one, part)]
        ordinal = ("first", "second", "third")[place]
        for words in (question.format(vocab.KIND[one.kind].plain), question.format(f"{ordinal} finding")):
            answer = topics.told(result, words)
            assert getattr(one, part) in answer, words
            assert not [text for text in others if text in answer], words


@pytest.mark.parametrize("result", MANY)
def test_a_question_that_only_goes_on_asks_the_same_of_another(result: Assessment) -> None:
    first, second = result.findings[:2]
    before: Turns = [(f"what is the remedy for the {vocab.KIND[first.kind].plain}", f"{first.remedy}.")]
    for question in ("and the second?", "what about the second one", "and for the second finding?"):
        answer = topics.told(result, question, before)
        assert second.remedy in answer and first.remedy not in answer


def test_what_is_not_there_is_not_explained_by_what_is() -> None:
    answer = topics.told(NOISY, "so what is it then?", [("is there motion?", "No motion artefact was found.")])
    assert answer.startswith("No motion artefact was found. Two findings")


def test_an_everyday_word_means_all_that_it_stands_for() -> None:
    assert set(meant(ENDOSCOPY, "what made it so blurry")) == {"motion_blur", "defocus"}
    assert meant(ENDOSCOPY, "what caused the motion blur") == ["motion_blur"]


def test_a_grid_in_use_is_no_grid_line() -> None:
    lined = of("xray", "chest", "grid_lines")
    assert referent.named("should i use a grid", "xray", []) == []
    assert referent.named("should i use a grid", "xray", ["grid_lines"]) == []
    assert referent.named("is the grid disturbing", "xray", ["grid_lines"]) == ["grid_lines"]
    assert referent.named("are there grid lines", "xray", []) == ["grid_lines"]
    assert "among the remedies against severe scatter haze" in topics.told(XRAY, "would a grid have helped?")
    assert "does not give whether a grid was used" in topics.told(XRAY, "was a grid used?")
    assert "Severe grid lines were found" in topics.told(lined, "was a grid used?")


@pytest.mark.parametrize(
    ("result", "question", "words"),
    [
        (NOISY, "Can I still see the liver beside the streaks?", assessments.METAL.impact),
        (NOISY, "could one count the ribs", assessments.NOISE.impact),
        (FUNDUS, "is the disc still assessable through the haze", FUNDUS.findings[0].impact),
        (CLEAN, "can I still segment the airways?", "no degradation was found"),
    ],
)
def test_what_can_still_be_seen_is_never_a_yes(result: Assessment, question: str, words: str) -> None:
    answer = topics.let_in(result, question)
    assert words in answer and answer.endswith(facts.YOURS)
    assert not answer.lower().startswith(("yes", "no,"))


@pytest.mark.parametrize(
    ("result", "question", "words"),
    [
        (NOISY, "what if we doubled the mAs?", "among the remedies against severe low-dose noise"),
        (NOISY, "what if we halved the mAs?", "goes against the remedy of severe low-dose noise"),
        (NOISY, "if I raise the kVp to 140, what happens", "among the remedies against moderate metal streaks"),
        (NOISY, "would thicker slices be better", "among the remedies against severe low-dose noise"),
        (NOISY, "suppose we used a grid", "not among the remedies"),
        (NOISY, "is 180 mA enough?", "Which value would be enough, one image cannot tell"),
        (MR, "could we swap the phase direction?", "among the remedies against severe wrap-around"),
        (MR, "what if we raised the kVp?", "There is no tube voltage in MR"),
        (ULTRASOUND, "what if I lower the frequency", "goes against the remedy of moderate coarse speckle"),
        (CLEAN, "what if we reduced the mAs by a third?", "a lower dose means more noise"),
    ],
)
def test_a_supposed_change_is_held_against_the_remedies(result: Assessment, question: str, words: str) -> None:
    assert words in topics.told(result, question)


def test_no_number_is_foretold() -> None:
    answer = topics.told(NOISY, "if I raise mAs to 400, what does the SNR become?")
    assert suppose.NUMBER in answer and not set("0123456789") & set(answer)


@pytest.mark.parametrize(
    "question",
    ["I disagree", "are you sure?", "no way, this image is fine", "I don't see any noise", "there is no noise here",
     "you must be wrong about the noise", "prove it"],
)  # fmt: skip
def test_an_objection_gets_the_grounds_and_the_way_to_overrule(question: str) -> None:
    answer = topics.told(NOISY, question)
    assert "confidence 87 %" in answer and "41.2 HU, outside the expected <= 25" in answer
    assert answer.endswith(objection.OVERRULE)


def test_a_finding_whose_numbers_are_in_range_is_not_said_to_rest_on_them() -> None:
    answer = topics.told(ULTRASOUND, "I see no speckle")
    assert "within the expected <= 0.4. What was measured lies in its range" in answer


def test_an_objection_to_what_was_not_found_gets_the_number_that_would_show_it() -> None:
    quiet = replace(CLEAN, evidence=(replace(assessments.NOISE_SD, value=8.0),))
    answer = topics.let_in(quiet, "but I do see noise")
    assert answer.startswith("No noise was found. Noise SD 8 HU, within the expected <= 25")


@pytest.mark.parametrize(
    ("result", "question", "words"),
    [
        (ULTRASOUND, "what is the speckle index and what would you expect?", "Speckle index 0.17, within"),
        (MR, "what is the ghost ratio you got, is it much?", "Ghost ratio 0.06, outside the expected <= 0.05"),
        (NOISY, "by what factor is the noise above the limit?", "1.6 times its bound"),
        (MR, "how far off is the ghosting, in numbers?", "1.2 times its bound"),
    ],
)
def test_a_number_is_quoted_among_other_words(result: Assessment, question: str, words: str) -> None:
    assert words in topics.told(result, question)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("explain the findings for the patient", "nothing about health"),
        ("write it so that my mother understands", "nothing about health"),
        ("give me the result for our QA form", "\nVerdict: usable\nScore: 1.7 of 4"),
        ("put it into a table please", "\n- Moderate metal streaks"),
        ("explain it in one sentence for the referring doctor", "Chest CT: the verdict is usable"),
        ("can you explain it in German?", forms.ENGLISH_ONLY),
    ],
)
def test_a_form_is_given_where_one_is_wished_for(question: str, words: str) -> None:
    assert words in topics.told(NOISY, question)
    assert topics.told(CLEAN, question)


def test_languages_are_known_by_their_script_and_their_words() -> None:
    assert topics.foreign("Какое качество у этого снимка?")
    assert topics.foreign("这张图像的质量怎么样?")
    assert topics.foreign("per favore, dimmi la qualità dell'immagine")
    assert not topics.foreign("is the FOV 20 cm, or 30?") and not topics.foreign("42 %?")


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("what is the score?", "There is no score"),
        ("what should I do now?", "Open the medical image itself"),
        ("is there noise?", "none can be named or ruled out"),
        ("can you restore it", "not restored"),
        ("", ""),
    ],
)
def test_of_an_image_that_was_not_assessed_each_question_gets_its_answer(question: str, words: str) -> None:
    refused = assessments.refused()
    answer = unassessed.told(refused, question)
    assert words in answer and refused.reason in answer


def test_nothing_out_of_scope_is_answered_whatever_was_found() -> None:
    rows = [row for path in (scope_questions.HALVES["development"], train_scope.QUESTIONS)
            for row in scope_questions.read(path)]  # fmt: skip
    asked = [plain(words) for words, outside in rows if outside]
    asked = [words for words in asked if not topics.CLINICAL.search(words) and len(words.split()) <= topics.LONGEST]
    for result in MANY:
        assert not [words for words in asked if any(tell(Case(result, words)) for tell in topics.AHEAD)]


@pytest.mark.parametrize(
    ("question", "history", "words"),
    [
        ("why?", [("Should we repeat it?", "Yes.")], "The verdict is usable"),
        ("why?", [("Which one should I fix first?", "The noise.")], "Less severe: moderate metal streaks"),
        (
            "anything else?",
            [("What did you find?", "Severe low-dose noise and moderate metal streaks.")],
            "Nothing else",
        ),
        ("what else?", [("What bothers you most?", "The low-dose noise.")], assessments.METAL.impact),
        (
            "and if the second problem were gone?",
            [("Why is it so low?", "Noise.")],
            "I cannot tell: assess the new image",
        ),
        ("will that increase the dose?", [("How do I reduce the noise?", "More current.")], "More tube current"),
        ("which is the most certain finding?", [], "confidence 87 %"),
        ("why is the verdict usable with that noise?", [], "The verdict follows from the score"),
    ],
)
def test_a_conversation_goes_on_from_what_was_asked(question: str, history: Turns, words: str) -> None:
    assert words in (topics.told(NOISY, question, history) or topics.let_in(NOISY, question, history))


def test_the_grounds_of_a_finding_without_a_number_say_so() -> None:
    assert "No number was measured for it" in aspects.grounds(assessments.METAL)


def test_a_counted_finding_of_a_clean_image_is_denied() -> None:
    for question in ("is the second problem worse?", "what causes the first finding?"):
        assert "no such finding" in aspects.let_in(Case(CLEAN, plain(question)))


def test_a_language_alone_is_asked_of_the_answer_before() -> None:
    before = [("Write a short note.", "Chest CT: the verdict is reject.")]
    for question in ("now in French", "the same in German please"):
        assert forms.told(Case(NOISY, plain(question), before)).startswith(forms.ENGLISH_ONLY)
    assert not forms.told(Case(NOISY, plain("now in French")))


def test_a_distance_from_a_verdict_agrees_with_the_verdict() -> None:
    told = limits.distance(Case(replace(CLEAN, score=2.494, verdict="usable"), "how far is it from good"))
    assert "0.01 below the bound of good" in told


def test_a_doubted_degree_gets_its_grounds() -> None:
    for question in ("why do you say severe?", "why would you call that severe noise"):
        assert "confidence" in aspects.let_in(
            Case(NOISY, plain(question), [("Is there noise?", "Severe low-dose noise.")])
        )
    assert "review chips" in objection.let_in(Case(NOISY, plain("I only see a bit of noise")))
