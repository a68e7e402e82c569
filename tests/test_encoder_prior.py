"""What of an acquisition description reaches the scorer, and that the rest changes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eval.run_text import DEMANDING, FORGIVING, INERT
from medq_vlm.encoder.prior import LONGEST, legible
from medq_vlm.phantoms import phantom
from medq_vlm.pipeline import MedQ
from training import purposes


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Head CT, 120 kVp, 5.0 mm slices", "head ct, 120 kvp, 5.0 mm slices"),
        ("Ultra-low-dose lung screening", "ultra low dose lung screening"),
        ("Liver lesion staging for Mr Jones", "liver lesion staging for mr"),
        ("John Smith, St. Mary Hospital, abdominal CT", "abdominal ct"),
        ("not a lung screening", ""),
        ("Chest CT, not for lung screening", "chest ct"),
        ("liver lesion staging instead of lung screening", "liver lesion staging"),
        ("the image is good", ""),
        ("low noise", ""),
        ("4", ""),
        ("", ""),
    ],
)
def test_words_of_the_list_pass_and_others_do_not(text: str, read: str) -> None:
    assert legible(text) == read


def test_a_huge_description_is_cut() -> None:
    assert len(legible("head ct, " * 100_000)) <= LONGEST


def test_the_texts_it_is_trained_on_are_legible() -> None:
    every = [*purposes.COMMON, *(p for group in purposes.PURPOSES.values() for p in group)]
    lost = [phrase for purpose in every for phrase in purpose.phrases if not legible(phrase)]
    assert not lost


def test_a_description_and_its_demand_go_together() -> None:
    rng = np.random.default_rng(0)
    drawn = [purposes.describe(rng, "ct", "abdomen", {"low_dose_noise": 3.0}) for _ in range(300)]
    for text, demand in drawn:
        if "liver" in text:
            assert demand[0] > 1
        if not text:
            assert (demand == 1).all()
    assert {bool(text) for text, _ in drawn} == {True, False}


@pytest.fixture(scope="module")
def medq() -> MedQ:
    return MedQ.load()


@pytest.mark.parametrize("text", INERT)
def test_people_institutions_and_instructions_change_nothing(medq: MedQ, text: str) -> None:
    sample = phantom("ct", 5, 224)
    plain = medq.score_slice(replace(sample, acquisition=""))
    spoilt = medq.score_slice(replace(sample, acquisition=text))
    assert (spoilt.score, spoilt.severity, spoilt.attributes) == (plain.score, plain.severity, plain.attributes)


def test_a_known_description_still_counts_beside_a_name(medq: MedQ) -> None:
    sample = phantom("ct", 5, 224)
    plain = medq.score_slice(replace(sample, acquisition="liver lesion staging"))
    named = medq.score_slice(replace(sample, acquisition="Dr. Karin Olofsson, liver lesion staging"))
    assert named.score == plain.score


def test_the_purposes_of_the_evaluation_are_legible() -> None:
    assert all(legible(text) for text in (*FORGIVING.values(), *DEMANDING.values()))
