"""The pictures that are no medical image, and the changes that must not change a score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from eval import run_invariance, run_rejection
from medq_vlm.encoder.preprocess import grey_map
from medq_vlm.schema import Assessment, ImageSample, Recognised


class RefuseGrey:
    """Refuses pictures without colour and calls the others good."""

    def assess_sample(self, sample: ImageSample) -> Assessment:
        able = sample.colour
        nobody = Recognised(None, "image", 0.0)
        return Assessment(
            source={}, modality=nobody, anatomy=nobody, acquisition="", score=3.0 if able else None,
            score_interval=None, score_distribution=(), percentile=None, verdict="good" if able else None,
            assessable=able, reason="" if able else "grey", reject_probability=None, attributes={},
            findings=(), slices=(), evidence=(), warnings=(), description="", model={}, created="",
        )  # fmt: skip


@dataclass
class BrightScores:
    """Scores of a scorer that looks at one number."""

    score: float
    severity: dict[str, float]
    kind_probability: dict[str, float]
    modality_probability: dict[str, float]
    reject_probability: float = 0.0
    assessable: bool = True
    interval: tuple[float, float] = (0.0, 4.0)


class BrightScorer:
    """Scores the mean grey, so padding and cropping change it and flips do not."""

    def score_slice(self, sample: ImageSample, index: int = 0) -> BrightScores:
        return BrightScores(float(4 * grey_map(sample, index).mean()), {}, {}, {})


def blob(side: int = 96) -> ImageSample:
    """An off-centre body on an empty ground, one slice, 8 bits."""
    y, x = np.mgrid[0:side, 0:side] / side
    pixels = 200 * np.exp(-(((y - 0.4) / 0.15) ** 2) - ((x - 0.55) / 0.2) ** 2)
    return ImageSample(np.round(pixels)[None].astype(np.float32), modality="mr", spacing_mm=(None, 1.0, 2.0), bits=8)


def test_pictures_cover_every_family_and_repeat() -> None:
    first, second = run_rejection.pictures(1), run_rejection.pictures(1)
    assert {family for family, _, _ in first} == {
        "blank", "uniform noise", "Gaussian noise", "colour noise", "text page", "photograph",
        "more photographs", "graphics", run_rejection.CONTROL,
    }  # fmt: skip
    assert all(np.array_equal(a[2], b[2]) for a, b in zip(first, second, strict=True))
    assert all(pixels.dtype == np.uint8 for _, _, pixels in first)


def test_each_picture_is_tried_as_it_is_and_under_a_false_claim() -> None:
    given = [
        ("blank", "grey", np.full((64, 64), 7, np.uint8)),
        ("photograph", "colour", np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)),
    ]
    answers = run_rejection.assess_all(RefuseGrey(), given)
    assert [(a.claimed, a.outcome) for a in answers] == [
        ("", "not assessable"), ("xray", "not assessable"), ("", "good"), ("xray", "good"),
    ]  # fmt: skip
    assert "photograph" in run_rejection.report(answers)


def test_variants_keep_the_picture_and_its_geometry() -> None:
    sample = blob()
    variants = run_invariance.variants(sample)
    assert variants["padded"].pixels.shape == (1, 120, 120)
    assert np.array_equal(variants["flipped left-right"].pixels[:, :, ::-1], sample.pixels)
    assert np.array_equal(variants["flipped up-down"].pixels[:, ::-1], sample.pixels)
    sideways = variants["turned a quarter"]
    assert np.array_equal(np.rot90(sideways.pixels[0], -1), sample.pixels[0])
    assert sideways.spacing_mm == (sample.spacing_mm[0], *sample.spacing_mm[:0:-1])
    cropped = variants["cropped to the body"].pixels
    assert cropped.size < sample.pixels.size and cropped.max() == sample.pixels.max()
    large = variants["enlarged by two"]
    assert large.pixels.shape == (1, 192, 192) and large.spacing_mm == (None, 0.5, 1.0)
    assert large.pixels.max() <= sample.pixels.max() and np.array_equal(large.pixels, np.round(large.pixels))
    assert np.abs(run_invariance.resized(large, 0.5).pixels - sample.pixels).max() < 4


def test_padding_moves_with_the_valid_mask() -> None:
    sample = blob()
    masked = run_invariance.padded(
        ImageSample(sample.pixels, modality="mr", valid=np.ones(sample.pixels.shape, bool)), 0.25
    )
    assert masked.valid is not None and masked.valid.sum() == sample.pixels.size
    assert masked.valid.shape == masked.pixels.shape


def test_differences_are_those_of_the_scores() -> None:
    changes = {c.change: c for c in run_invariance.changes_of(BrightScorer(), "blob", blob())}
    assert changes["flipped up-down"].difference == 0
    assert changes["padded"].after == pytest.approx(changes["padded"].before * 96**2 / 120**2, rel=1e-3)
    table = run_invariance.summary(list(changes.values()))
    assert table["cropped to the body"]["worst image"] == "blob"
    assert "worst" in run_invariance.report(list(changes.values()), {"blob": 0.0})


def test_a_slice_scores_the_same_alone_and_in_a_stack() -> None:
    assert run_invariance.repeat_spread(BrightScorer(), blob()) == 0


def test_bundled_images_and_phantoms_are_single_slices() -> None:
    images = [*run_invariance.bundled(), *run_invariance.phantoms(1, 0)]
    assert len(images) >= len(run_invariance.PYDICOM_IMAGES) + 8
    assert all(sample.slices == 1 for _, sample in images)
