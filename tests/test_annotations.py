"""What is drawn beside the anatomy on a machine's screen is left out of the score, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eval.screens import STYLES, on_screen
from medq_vlm.annotations import NOTE, drawn_beside, without_annotations
from medq_vlm.io import examples, load
from medq_vlm.phantoms import phantom
from medq_vlm.pipeline import MedQ
from medq_vlm.schema import ImageSample

SIDE = 320


@pytest.fixture(scope="module")
def medq() -> MedQ:
    return MedQ.load()


def screens(modality: str, seed: int, style: int) -> tuple[ImageSample, ImageSample]:
    """A phantom's picture, and the same on a screen."""
    plain = phantom(modality, seed, SIDE)
    assert plain.bits == 8
    return plain, replace(plain, pixels=on_screen(plain.pixels[0], style)[None], valid=None)


@pytest.mark.parametrize("modality", ["ultrasound", "endoscopy"])
def test_writing_goes_and_the_picture_stays(modality: str) -> None:
    plain, screen = screens(modality, 5, len(STYLES) - 1)
    bright = screen.pixels[0].max(-1) / 255
    drawn = drawn_beside(bright)
    h, w = bright.shape
    top, left = int(h * 0.15), int(w * 0.13)
    picture = np.zeros(bright.shape, bool)
    picture[top : top + plain.pixels.shape[1], left : left + plain.pixels.shape[2]] = True
    lit = bright > 0.3
    assert drawn[lit & ~picture].mean() > 0.9
    assert drawn[lit & picture].mean() < 0.01


def test_a_screen_hardly_changes_the_score(medq: MedQ) -> None:
    plain, screen = screens("ultrasound", 5, 1)
    alone = medq.score_slice(plain).score
    assert abs(medq.score_slice(screen).score - alone) < 0.3
    result = medq.assess_sample(screen)
    assert NOTE in result.warnings and result.score == pytest.approx(alone, abs=0.3)


def test_a_screen_whose_modality_nobody_told_is_read_again(medq: MedQ) -> None:
    _, screen = screens("ultrasound", 5, 1)
    result = medq.assess_sample(replace(screen, modality=None))
    assert (result.modality.value, result.modality.from_) == ("ultrasound", "image")
    assert NOTE in result.warnings


def test_a_real_screen_loses_its_writing() -> None:
    screen = load(examples.example("examples_jpeg2k.dcm"))[0]
    valid = without_annotations(screen, "ultrasound").valid
    assert valid is not None
    hidden, bright = ~valid[0], screen.pixels[0].max(-1) / 255
    assert hidden[:100][bright[:100] > 0.5].mean() > 0.9  # name and settings
    assert hidden[120:330][bright[120:330] > 0.3].mean() < 0.02  # the picture


def test_what_is_no_screen_is_the_same_object() -> None:
    plain = phantom("ultrasound", 5, SIDE)
    assert without_annotations(plain, "ultrasound") is plain
    _, screen = screens("ultrasound", 5, 2)
    assert without_annotations(screen, "mr") is screen
    deep = replace(screen, bits=16)
    assert without_annotations(deep, "ultrasound") is deep


@pytest.mark.parametrize("seed", range(3))
def test_noise_and_a_page_of_writing_keep_all_they_have(seed: int) -> None:
    rng = np.random.default_rng(seed)
    noise = np.where(rng.random((200, 240)) < 0.3, rng.random((200, 240)), 0.0)
    assert drawn_beside(noise).mean() < 0.1
    page = on_screen(np.zeros((300, 300)), 1).max(-1) / 255
    assert not drawn_beside(page).any()
    assert not drawn_beside(np.zeros((64, 64))).any()
