"""Colours of a picture's own are told from tints, markers and noise of a compression."""

from __future__ import annotations

import io as memory

import numpy as np
import pytest
import skimage.data
from PIL import Image

from medq_vlm.evidence.colours import many_coloured
from medq_vlm.phantoms import phantom


def radiograph() -> np.ndarray:
    """A grey picture in three channels, (256, 256, 3), 0 to 255."""
    grey = phantom("xray", seed=4, size=256).pixels[0]
    grey = 255 * (grey - grey.min()) / np.ptp(grey)
    return np.repeat(grey[..., None], 3, axis=-1)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea"])
def test_photographs_have_colours_of_their_own(name: str) -> None:
    pixels = getattr(skimage.data, name)()
    assert many_coloured(pixels) and many_coloured(pixels.astype(np.float32) * 16)  # of any depth


def test_a_tint_is_grey() -> None:
    grey = radiograph()
    assert not many_coloured(grey)
    assert not many_coloured(grey[..., 0])
    assert not many_coloured(grey * [0.6, 0.8, 1.0])  # blue film
    assert not many_coloured(255 * (grey / 255) ** [0.7, 1.0, 1.4])  # sepia


def test_markers_and_jpeg_colours_are_passed_over() -> None:
    marked = radiograph().astype(np.uint8)
    marked[10:40, 10:120] = (255, 255, 0)
    marked[60:64, 20:220] = (0, 255, 0)
    file = memory.BytesIO()
    Image.fromarray(marked).save(file, "JPEG", quality=60)
    assert not many_coloured(np.asarray(Image.open(file)))


def test_a_heat_map_laid_over_it_is_not() -> None:
    laid = radiograph()
    laid[40:220, 40:220] = 0.4 * laid[40:220, 40:220] + np.array([150, 0, 20])
    laid[100:160, 100:160] += np.array([-60, 120, 60])
    assert many_coloured(np.clip(laid, 0, 255))
