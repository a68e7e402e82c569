"""Neighbouring slices: known shifts, known gaps, and what must not be taken for either."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from medq_vlm import io
from medq_vlm.encoder.volume import BESIDE_IN
from medq_vlm.evidence.neighbours import LONGEST_LAG, MEASURES, measure
from medq_vlm.io import examples
from medq_vlm.phantoms import phantom_volume

CHANGE, MISSING, UNLIKE = (MEASURES.index(name) for name in ("change", "missing", "unlike both"))


def anatomy(slices: int = 14) -> np.ndarray:
    """A real MR slice that shrinks by one per cent from slice to slice, with fresh noise: (S, H, W)."""
    real = io.load(examples.example(examples.MR_ABDOMEN))[0].pixels[0]
    rng = np.random.default_rng(0)
    middle = (np.array(real.shape) - 1) / 2
    stack = []
    for k in range(slices):
        scale = np.eye(2) * 1.01**k
        bent = ndimage.affine_transform(real, scale, middle - scale @ middle, order=1, mode="nearest")
        stack.append(bent + 0.01 * real.max() * rng.standard_normal(real.shape))
    return np.stack(stack).astype(np.float32)


def test_a_known_shift_is_measured_to_a_fraction_of_a_pixel() -> None:
    pixels = anatomy()
    still = measure(pixels, "value").beside_px
    pixels[6] = ndimage.shift(pixels[6], (3.5, -2.0), order=1, mode="nearest")
    found = measure(pixels, "value")
    assert still.max() < 0.5
    assert found.beside_px[6] == pytest.approx(np.hypot(3.5, 2.0), abs=0.3)
    assert int(found.beside_px.argmax()) == 6


@pytest.mark.parametrize("modality", ["ct", "mr", "pet"])
def test_a_shift_of_phantom_anatomy_is_measured_too(modality: str) -> None:
    volume = phantom_volume(modality, 3, 11, 160, step=0.08)
    pixels = volume.pixels.copy()
    pixels[5] = ndimage.shift(pixels[5], (-4.0, 3.0), order=1, mode="nearest")
    assert measure(pixels, volume.unit, volume.bits).beside_px[5] == pytest.approx(5.0, abs=0.7)


def test_a_gap_stands_out_where_it_is_and_a_steady_series_has_none() -> None:
    pixels = anatomy(20)
    whole = measure(pixels, "value").table
    holed = measure(np.delete(pixels, range(8, 13), axis=0), "value").table
    assert whole[:, MISSING].max() * LONGEST_LAG < 1.0
    assert int(holed[:, CHANGE].argmax()) == 7
    assert 1.5 < holed[7, MISSING] * LONGEST_LAG < 5.5  # a careful figure: five are missing


def test_one_corrupted_slice_is_unlike_both_neighbours_and_no_gap() -> None:
    pixels = anatomy()
    rng = np.random.default_rng(1)
    pixels[7] += 0.5 * pixels.max() * rng.standard_normal(pixels[7].shape).astype(np.float32)
    table = measure(pixels, "value").table
    assert int(table[:, UNLIKE].argmax()) == 7
    assert table[:, MISSING].max() * LONGEST_LAG < 1.0


def test_shading_and_contrast_of_a_slice_are_no_motion() -> None:
    pixels = anatomy()
    pixels[5] *= 0.6
    pixels[9] *= np.linspace(0.8, 1.2, pixels.shape[2], dtype=np.float32)
    assert measure(pixels, "value").beside_px.max() < 0.6


def test_few_slices_and_blank_ones_stay_without_statement() -> None:
    pixels = anatomy()
    assert not measure(pixels[:4], "value").table.any()
    assert not measure(np.zeros((9, 64, 64), np.float32), "value").steps.any()
    pixels[:2] = 0.0
    pixels[-1] = 0.0
    found = measure(pixels, "value")
    assert not found.steps[:2].any() and not found.steps[-1] and found.steps[2:-1].all()
    assert not found.table[:2].any() and found.beside_px.max() < 0.5


def test_nothing_is_said_across_a_break_that_is_known() -> None:
    pixels = np.delete(anatomy(20), range(8, 13), axis=0)
    found = measure(pixels, "value", together=[k != 7 for k in range(len(pixels) - 1)])
    assert not found.steps[7] and not found.table[7, : MEASURES.index("beside both")].any()


def test_the_volume_head_expects_these_measures() -> None:
    assert len(MEASURES) == BESIDE_IN
