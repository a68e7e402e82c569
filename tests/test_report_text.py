"""Terminal text and prose: what must be there, in which order, and what must never pass."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import pytest

from app import panel
from app.review import Review
from app.store import Owner, Study
from medq_vlm import vocab
from medq_vlm.commands import brief
from medq_vlm.language import line as lines
from medq_vlm.language.guard import replacement
from medq_vlm.language.prompt import pair_note
from medq_vlm.phantoms import phantom
from medq_vlm.report import content
from medq_vlm.report.describe import describe
from medq_vlm.report.html import to_html
from medq_vlm.report.text import to_text
from medq_vlm.schema import Location, Recognised
from tests.assessments import COMPRESSION, FIVE, METAL, MOTION, NOISE, NOISE_SD, assessed, finding, refused, volume


def test_no_writer_shows_a_score_that_contradicts_its_verdict() -> None:
    """2.497 is usable: 2.5 would be good."""
    result = assessed(2.497)
    assert result.verdict == "usable" and result.to_dict()["score"] < vocab.GOOD_FROM
    line = lines.from_assessment(result)
    page = to_html(result, None)
    assert 'class="score">2.49 <small>' in page and "Score 2.49 on a scale" in page
    told = (to_text(result), describe(result), brief(result), replacement(line), line.tail(), pair_note(line, line))
    for text in (*told, panel._verdict(result), panel._gauge(result)):
        shown = re.findall(r"(?<!\d)2\.4\d?|(?<!\d)2\.50?(?!\d)", text)
        assert "2.49" in shown, text
        assert "2.5" not in shown and "2.50" not in shown, text


def test_a_verdict_is_no_adjective_for_a_reader_and_stays_one_for_the_networks() -> None:
    """The restorer and the language model were trained on the sentence as it is in `description`."""
    result = assessed(1.0, (NOISE,))
    result = replace(result, description=describe(result))
    assert result.description.endswith("Overall, the quality of this image is reject.")
    page = panel.panel(Study("token", Owner("", "", ""), "name", phantom("ct", seed=1, size=64), result))
    for told in (to_text(result), to_html(result, None), page, result.to_dict()["description"]):
        assert "Overall, the verdict on this image is reject." in " ".join(told.split())
        assert "is reject." not in told.replace("verdict on this image is reject.", "")


@pytest.mark.parametrize(("score", "words"), [(3.4, "No degradation was found"), (1.8, "No single degradation")])
def test_a_score_below_good_is_not_said_to_be_without_fault(score: float, words: str) -> None:
    result = assessed(score, evidence=())
    for told in (to_text(result), to_html(result, None), panel._findings(result, Review())):
        assert words in told
        assert told.count("degradation was found") + told.count("degradation stands out") == 1


def test_noise_measured_far_outside_its_range_is_not_passed_over_where_nothing_was_found() -> None:
    assert "but noise SD is 41.2 HU (expected" in to_text(assessed(3.4)).replace("\n ", "")  # 25 is expected
    near = replace(NOISE_SD, value=30.0)
    assert "No degradation was found" in to_text(assessed(3.4, evidence=(near,)))


def test_no_fitness_is_given_to_a_reject_or_where_disease_may_be_hidden() -> None:
    fit = {"task": "finding faint lesions", "score": 0.66}
    assert "Fitness" in to_text(assessed(3.0, utility=fit))
    assert "Fitness" not in to_text(assessed(1.0, utility=fit))
    assert "Fitness" not in to_text(assessed(3.0, (MOTION,), utility=fit))  # "may hide or imitate disease"


def test_a_description_of_the_user_is_called_so() -> None:
    assert "(given by the user)" in to_text(assessed(acquisition_from="user"))
    assert "(given by the user)" not in to_text(assessed())


def test_text_gives_verdict_and_score_before_findings_before_disclaimer() -> None:
    text = to_text(assessed(1.7, FIVE))
    order = [
        "USABLE",
        "1.7 of 4",
        "limited interpretation",
        "Findings",
        "Acquisition",
        "Warnings",
        "Versions",
    ]
    places = [text.index(word) for word in order]
    assert places == sorted(places)
    assert text.endswith(content.DISCLAIMER.split()[-1])
    for word in (
        "41.2 HU",
        "\u2264 25",
        NOISE.cause,
        "raise tube current",
        "Metal streaks",
        "2 slices are missing",
    ):
        assert word in text


def test_text_lists_the_worst_finding_first() -> None:
    text = to_text(assessed(1.0, FIVE))
    titles = re.findall(r"^ +\d\. (.+?):", text, re.MULTILINE)
    assert titles[:3] == ["Low-dose noise", "Metal streaks", "Compression artefact"]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_text_keeps_its_width(width: int) -> None:
    path = "/archive/" + "very_long_folder/" * 20 + "image.dcm"
    result = assessed(1.0, FIVE, source={"path": path, "sha256": "", "slices": 1})
    text = to_text(result, width=width)
    assert max(map(len, text.splitlines())) <= max(width, 90)  # a SHA-256 is not broken
    assert "image.dcm" in text.splitlines()[0]


def test_text_says_why_there_is_no_score() -> None:
    text = to_text(refused())
    assert "NOT ASSESSABLE" in text and "photograph" in text
    assert "Score" not in text and "Findings" not in text


def test_colour_is_optional_and_only_adds_codes() -> None:
    plain, coloured = to_text(assessed()), to_text(assessed(), colour=True)
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_terminal_escapes_and_direction_marks_from_strangers_are_neutralised() -> None:
    evil = "a\x1b]0;owned\x07\u202egpj.exe\nVERDICT good"
    result = assessed(
        source={"path": evil, "sha256": "", "slices": 1},
        acquisition=evil,
        acquisition_fields={evil: evil},
        warnings=(evil,),
    )
    text = to_text(result)
    assert not set("\x1b\x07\u202e") & set(text)
    assert "\nVERDICT" not in text


@pytest.mark.parametrize(
    ("value", "shown"), [(41.23, "41.2"), (0.0004, "0.0004"), (1204.4, "1204"), (0.0, "0"), (-3.0, "-3")]
)
def test_numbers_have_three_digits(value: float, shown: str) -> None:
    assert content.number(value) == shown


def test_short_path_keeps_the_file_name() -> None:
    path = "/a/" + "b" * 300 + "/scan.dcm"
    assert len(content.short_path(path, 60)) == 60
    assert content.short_path(path, 60).endswith("/scan.dcm")
    assert content.short_path("scan.dcm", 60) == "scan.dcm"


def test_places_count_slices_from_one() -> None:
    assert content.place(Location((2, 8), None, "upper centre")) == "upper centre, slices 3 to 9"
    assert content.place(Location((4, 4))) == "slice 5"
    assert content.place(Location()) == "whole image"


def test_an_expected_range_brings_no_brackets_into_brackets() -> None:
    told = content.evidence_line([replace(NOISE_SD, expected="<= 25 HU (body, 1 to 3 mm)")])
    assert told == "noise SD 41.2 HU (expected \u2264 25 HU, body, 1 to 3 mm)"


# prose


def sentences(text: str) -> list[str]:
    return re.split(r"(?<=\.) (?=[A-Z])", text)


COMBINATIONS = [
    combination for count in (0, 1, 2, 5) for combination in itertools.islice(itertools.combinations(FIVE, count), 4)
]


@pytest.mark.parametrize("findings", COMBINATIONS)
@pytest.mark.parametrize("score", [0.4, 1.7, 3.6])
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_description_has_four_to_six_sentences_and_the_verdict_last(findings, score, seed) -> None:
    text = describe(assessed(score, findings), seed)
    assert 4 <= len(sentences(text)) <= 6
    assert text.endswith(f"Overall, the quality of this image is {vocab.verdict_word(score)}.")
    assert "CT" in sentences(text)[0] and "chest" in sentences(text)[0]
    assert "  " not in text and ".." not in text


def test_description_is_deterministic_and_varies_with_the_seed() -> None:
    result = assessed(1.7, (NOISE,))
    assert describe(result) == describe(assessed(1.7, (NOISE,)))
    assert len({describe(result, seed) for seed in range(30)}) > 5


def test_description_says_only_what_was_found() -> None:
    text = describe(assessed(1.7, (NOISE, COMPRESSION)))
    assert "severe low-dose noise (upper centre, slices 3 to 9)" in text
    assert "hroughout the image, mild compression artefact" in text
    assert NOISE.cause in text and NOISE.impact in text
    others = {kind.plain for kind in vocab.KINDS} - {"low-dose noise", "compression artefact", "noise"}
    assert not [plain for plain in others if re.search(rf"\b{re.escape(plain)}\b", text)]
    assert "streaks" not in describe(assessed(3.5))
    assert METAL.impact in describe(assessed(1.0, (METAL,)))


def test_description_without_findings_names_the_level() -> None:
    text = describe(assessed(3.6))
    assert "no " in text and "'anatomy evident'" in text and "cause" not in text


def test_description_counts_the_rest() -> None:
    assert "besides 2 further findings" in describe(assessed(1.0, FIVE))
    assert "volume of 300 slices" in describe(volume())


def test_a_sequence_has_frames_not_slices() -> None:
    cine = assessed(
        modality=Recognised("ultrasound", "header", 1.0), source={"path": "c.dcm", "sha256": "", "slices": 40}
    )
    assert "ultrasound sequence of 40 frames" in describe(cine)
    assert content.image_name(cine) == "Chest ultrasound, 40 frames"


def test_description_of_a_refused_image_gives_no_verdict() -> None:
    text = describe(refused())
    assert "photograph" in text and "Overall" not in text


@pytest.mark.parametrize("modality", vocab.MODALITIES)
def test_description_of_every_modality_and_kind(modality: str) -> None:
    for name in vocab.kinds_for(modality):
        result = assessed(
            1.0,
            (finding(name, 2.0, modality),),
            modality=Recognised(modality, "header", 1.0),
            anatomy=Recognised(None, "image", 0.0),
        )
        text = describe(result)
        assert vocab.MODALITY_NAMES[modality] in text and vocab.KIND[name].plain in text


@pytest.mark.parametrize(("percentile", "words"), [(0.2, "Lower than all of"), (99.8, "Higher than all of")])
def test_the_ends_of_the_percentiles_are_words(percentile: float, words: str) -> None:
    assert content.context_lines(assessed(percentile=percentile))[0].startswith(words)


def test_fitness_for_lesions_is_left_out_where_a_finding_hides_them() -> None:
    utility = {"task": "finding faint lesions", "score": 0.847}
    assert "Fitness for finding faint lesions: 0.85 of 1." in content.context_lines(assessed(utility=utility))
    hiding = replace(NOISE, impact="small lesions may be hidden")
    assert not any("Fitness" in line for line in content.context_lines(assessed(findings=(hiding,), utility=utility)))


@pytest.mark.parametrize("seed", range(6))
def test_prose_doubts_what_the_header_of_the_report_doubts(seed: int) -> None:
    sure, doubted = (assessed(1.7, (NOISE,), anatomy=Recognised("chest", "image", p)) for p in (0.93, 0.31))
    told = describe(sure, seed)
    assert replace(sure, description=told).prose == told and "probably" not in told
    first = sentences(replace(doubted, description=told).prose)[0]
    assert re.search(r"is probably an? CT image|CT image probably shows the chest", first)
    assert content.image_name(doubted).startswith("Probably") and replace(doubted, description=told).description == told


@pytest.mark.parametrize("opening", ["This is a", "Shown is a", "The image is a", "It is a"])
def test_the_language_models_openings_are_hedged_too(opening: str) -> None:
    doubted = assessed(anatomy=Recognised("chest", "image", 0.31))
    assert doubted.hedged(f"{opening} chest CT.") == f"{opening.replace(' is ', ' is probably ')} chest CT."
    assert doubted.hedged("It is a good image.") == "It is a good image."
