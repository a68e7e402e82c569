"""The canonical plane: what must not change a score does not change the plane."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from medq_vlm.config import ScorerConfig, ViewConfig, from_dict
from medq_vlm.encoder.preprocess import _block_means, canonical, channels, grey_map, resize, tile_origins
from medq_vlm.phantoms import phantom
from medq_vlm.schema import ImageSample

VIEW = ViewConfig()


def padded(sample: ImageSample, width: int, value: float) -> ImageSample:
    return replace(
        sample, pixels=np.pad(sample.pixels, ((0, 0), (width, width), (width, width)), constant_values=value)
    )


@pytest.mark.parametrize("modality", ["ct", "mr", "ultrasound"])
def test_a_constant_border_leaves_the_plane_alone(modality: str) -> None:
    sample = phantom(modality, 3, 256)
    border = -1024.0 if modality == "ct" else float(sample.pixels.min())
    plain, wide = canonical(sample, 0, VIEW), canonical(padded(sample, 60, border), 0, VIEW)
    size = plain.plane.shape[:2]
    assert np.abs(np.array(size) - wide.plane.shape[:2]).max() <= 12
    assert np.abs(plain.plane - resize(wide.plane, size)).mean() < 0.02


def test_twice_the_matrix_gives_nearly_the_same_plane() -> None:
    sample = phantom("mr", 5, 200)
    twice = resize(sample.pixels[0] / 4096, (2 * sample.pixels.shape[1], 2 * sample.pixels.shape[2])) * 4096
    first, second = canonical(sample, 0, VIEW), canonical(replace(sample, pixels=twice[None]), 0, VIEW)
    assert (
        np.abs(first.plane - resize(second.plane, first.plane.shape[:2])).mean() < 0.04
    )  # the box moves by half a pixel


def test_hounsfield_units_have_one_fixed_grey_whatever_the_display_window() -> None:
    pixels = np.linspace(-1000, 3000, 64 * 64, dtype=np.float32).reshape(1, 64, 64)
    sample = ImageSample(pixels, unit="HU", modality="ct", window=(40, 400))
    grey = grey_map(sample, 0)
    assert np.array_equal(grey, grey_map(replace(sample, window=(-600, 1500)), 0))
    assert np.all(np.diff(grey.ravel()) >= 0)
    assert grey[0, 0] == 0.0


def test_an_eight_bit_picture_keeps_its_exposure() -> None:
    dark = ImageSample(np.tile(np.linspace(0, 60, 64, dtype=np.float32), (1, 64, 1)), bits=8)
    assert grey_map(dark, 0).max() == pytest.approx(60 / 255)


def test_a_monochrome1_image_is_scored_as_it_is_shown() -> None:
    pixels = np.random.default_rng(0).random((1, 64, 64)).astype(np.float32) * 4000
    shown = grey_map(ImageSample(pixels, inverted=True), 0)
    assert np.corrcoef(shown.ravel(), pixels.ravel())[0, 1] < -0.99


def test_twelve_bits_stay_distinct() -> None:
    ramp = np.arange(4096, dtype=np.float32).reshape(1, 64, 64)
    assert len(np.unique(grey_map(ImageSample(ramp, bits=12), 0))) > 4000


def test_tiles_cover_the_plane_and_end_at_its_border() -> None:
    for h, w in ((448, 448), (130, 700), (90, 448)):
        covered = np.zeros((h, w), bool)
        for y, x in tile_origins(h, w, VIEW):
            covered[y : y + VIEW.tile_px, x : x + VIEW.tile_px] = True
        assert covered.all()


def test_a_grey_plane_has_no_chroma_and_flat_areas_have_no_bands() -> None:
    x = channels(torch.full((1, 3, 40, 40), 0.5))
    assert x.shape == (1, 5, 40, 40)
    assert torch.allclose(x, torch.zeros_like(x), atol=1e-5)


def test_an_unknown_config_key_is_an_error() -> None:
    with pytest.raises(ValueError, match="wdith"):
        from_dict(ScorerConfig, {"wdith": 3})


@pytest.mark.parametrize("step", [2, 3, 7])
def test_block_means_are_a_thinned_mean_filter(step: int) -> None:
    image = np.random.default_rng(step).random((101, 57)).astype(np.float32)
    found = _block_means(_block_means(image, step).T, step).T
    assert found == pytest.approx(ndimage.uniform_filter(image, step)[::step, ::step], rel=1e-5)
