"""Laws of the word lists: complete, consistent, codes as the standard has them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from pydicom.sr import _cid_dict, _concepts_dict

from medq_vlm import vocab
from medq_vlm.kinds import KIND_TEXTS, PRIVATE_SCHEME
from medq_vlm.kinds_by_modality import BY_MODALITY


def test_a_score_as_it_is_shown_has_the_verdict_of_the_score() -> None:
    for score in (*np.arange(0, 4, 0.0007), 1.49996, 2.4999, 2.495, 2.4501):
        for decimals in (1, 2):
            shown = float(vocab.score_text(score, decimals))
            assert vocab.verdict_word(shown) == vocab.verdict_word(score) == vocab.verdict_word(round(score, 4))
            assert abs(shown - score) <= 0.0501
    assert [vocab.score_text(s) for s in (2.44, 2.46, 2.497, 2.5)] == ["2.4", "2.46", "2.49", "2.5"]


def test_kind_order_is_frozen() -> None:
    """Trained weights index their outputs by this order."""
    digest = hashlib.sha256("\n".join(vocab.KIND_NAMES).encode()).hexdigest()
    assert len(vocab.KIND_NAMES) == 47
    assert digest.startswith("0ea7d4ac6eee")


def test_texts_cover_exactly_the_kinds() -> None:
    assert set(KIND_TEXTS) == set(vocab.KIND_NAMES)
    assert set(vocab.MODALITY_NAMES) == set(vocab.MODALITIES)
    for kind in vocab.KINDS:
        assert kind.attribute in vocab.ATTRIBUTES
        assert set(kind.modalities) <= set(vocab.MODALITIES)


@pytest.mark.parametrize("modality", vocab.MODALITIES)
def test_every_text_is_a_short_clause(modality: str) -> None:
    for name in vocab.kinds_for(modality):
        for text in (vocab.KIND[name].plain, *vocab.text_for(name, modality)):
            assert 3 < len(text) <= 100, text
            assert text == text.strip()
            assert not text.endswith((".", ",", ";")), text


def test_modality_texts_belong_to_kinds_that_occur_there() -> None:
    for kind, texts in BY_MODALITY.items():
        assert set(texts) <= set(vocab.KIND[kind].modalities), kind
    assert vocab.text_for("noise", "ct") != vocab.text_for("noise", "ultrasound")
    assert "pupil" in vocab.text_for("underexposure", "fundus")[2]
    assert vocab.text_for("ring", "ct") == (
        vocab.KIND["ring"].cause,
        vocab.KIND["ring"].impact,
        vocab.KIND["ring"].remedy,
    )


def test_standard_codes_agree_with_the_dicom_dictionary() -> None:
    listed = {
        (scheme, keyword)
        for cid in (6135, 6315, 6316)
        for scheme, keywords in _cid_dict.cid_concepts[cid].items()
        for keyword in keywords
    }
    known = {
        (scheme, value): meaning
        for scheme, keyword in listed
        for value, (meaning, _) in _concepts_dict.concepts[scheme][keyword].items()
    }
    for kind in vocab.KINDS:
        scheme, value, meaning = kind.code
        if scheme != PRIVATE_SCHEME:
            assert known[scheme, value] == meaning


def test_private_codes_are_unique_and_fit_dicom() -> None:
    private = [kind.code for kind in vocab.KINDS if kind.code[0] == PRIVATE_SCHEME]
    assert len({value for _, value, _ in private}) == len(private)
    for _, value, meaning in private:
        assert 0 < len(value) <= 16  # VR SH
        assert 0 < len(meaning) <= 64  # VR LO


@pytest.mark.parametrize(
    ("score", "verdict"),
    [(0, "reject"), (1.49, "reject"), (1.5, "usable"), (2.49, "usable"), (2.5, "good"), (4, "good")],
)
def test_verdict_thresholds(score: float, verdict: str) -> None:
    assert vocab.verdict_word(score) == verdict


@pytest.mark.parametrize(
    ("value", "word"), [(0, "none"), (0.5, "mild"), (1.6, "moderate"), (2.5, "severe"), (4, "severe")]
)
def test_severity_words(value: float, word: str) -> None:
    assert vocab.severity_word(value) == word


@pytest.mark.parametrize(
    ("score", "word"),
    [
        (0, "desired features not shown"),
        (1.7, "limited interpretation"),
        (2.6, "diagnostic"),
        (4, "anatomy evident"),
    ],
)
def test_score_word_is_the_nearest_level(score: float, word: str) -> None:
    assert vocab.score_word(score) == word
