"""What people see: the standard's window formula, inversion last, presets where the file says nothing."""

from __future__ import annotations

import numpy as np
import pytest

from medq_vlm.io.display import default_window, linear, to_display
from medq_vlm.schema import ImageSample


def sample(values: list[float], **fields: object) -> ImageSample:
    return ImageSample(np.array([[values]], np.float32), **fields)  # type: ignore[arg-type]


def test_linear_is_the_formula_of_the_standard() -> None:
    # PS3.3 C.11.2.1.2.1 with centre 2048, width 4096: x <= 0 black, x > 4095 white, x / 4095 between
    values = np.array([-5, 0, 1, 2047, 4094, 4095, 9999])
    np.testing.assert_array_equal(linear(values, 2048, 4096), np.rint(np.clip(values / 4095 * 255, 0, 255)))


def test_linear_with_an_odd_window() -> None:
    # centre 0, width 100: the note's thresholds, -50 and 49, not -50 and 50
    np.testing.assert_array_equal(linear(np.array([-50, -49, 48, 49, 50]), 0, 100), [0, 3, 252, 255, 255])


def test_width_one_is_a_step() -> None:
    np.testing.assert_array_equal(linear(np.array([9, 10, 11]), 10, 1), [0, 255, 255])


def test_narrow_windows_of_floats() -> None:
    np.testing.assert_array_equal(linear(np.array([0.0, 0.25, 0.5]), 0.25, 0.5), [0, 128, 255])


def test_inversion_comes_after_the_window() -> None:
    plain, turned = (sample([0, 100, 200, 4095], window=(100, 200), inverted=flag) for flag in (False, True))
    np.testing.assert_array_equal(to_display(turned, 0), 255 - to_display(plain, 0))


def test_the_given_window_beats_the_files_and_the_files_beats_the_preset() -> None:
    ct = sample([0.0], modality="ct", unit="HU")
    assert default_window(ct) == (40.0, 400.0)
    assert default_window(sample([0.0], modality="ct", unit="HU", anatomy="head")) == (40.0, 80.0)
    with_own = sample([0.0, 300.0], modality="ct", unit="HU", window=(300.0, 2000.0))
    assert default_window(with_own) == (300.0, 2000.0)
    assert to_display(with_own, 0, (1000.0, 10.0)).max() == 0


def test_padding_does_not_set_the_window() -> None:
    pixels = np.full((1, 10, 10), 500.0, np.float32)
    pixels[0, :5] = np.linspace(400, 600, 50).reshape(5, 10)
    pixels[0, 5:] = -32768
    centre, width = default_window(ImageSample(pixels, valid=pixels > -1000, modality="mr"))
    assert 495 < centre < 505
    assert width < 210


def test_a_flat_image_is_shown_without_a_warning() -> None:
    assert to_display(sample([5.0, 5.0], modality="mr"), 0).shape == (1, 2)


@pytest.mark.parametrize(("bits", "top"), [(8, 255), (16, 65535)])
def test_colour_is_scaled_to_8_bits(bits: int, top: int) -> None:
    pixels = np.zeros((1, 2, 2, 3), np.float32)
    pixels[0, 0, 0] = top
    shown = to_display(ImageSample(pixels, bits=bits), 0)
    assert shown.dtype == np.uint8
    assert shown.max() == 255
