"""Which slices lie beside the others: one, several moved as one, a restless patient, a movement for good."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from medq_vlm.evidence.displaced import localise
from medq_vlm.evidence.neighbours import measure
from medq_vlm.phantoms import phantom_volume

SLICES = 24


def displaced(steps: dict[int, tuple[float, float]]) -> np.ndarray:
    """Native pixels (S, H, W) of a phantom whose slices lie (rows, columns) beside their place."""
    pixels = phantom_volume("mr", 8_200_000, SLICES, 160, step=0.08).pixels.copy()
    for place, step in steps.items():
        pixels[place] = ndimage.shift(pixels[place], step, order=1, mode="nearest")
    return pixels


@pytest.mark.parametrize(
    ("steps", "flagged", "length"),
    [
        ({9: (4.0, 3.0)}, [8, 9, 10], 5.0),
        ({k: (4.0, 3.0) for k in range(8, 15)}, [7, 8, 14, 15], 5.0),  # both ends of one movement and back
        ({k: (4.0, 3.0) for k in range(8, 15)}, [7, 8], 5.0),  # the head saw the first end alone
        ({k: (-6.0, 0.0) for k in range(17, SLICES)}, [16, 17], 6.0),  # and stayed there
        ({k: (-6.0, 0.0) for k in range(5)}, [4, 5], 6.0),
    ],
)
def test_the_slices_that_moved_are_named_and_no_others(
    steps: dict[int, tuple[float, float]], flagged: list[int], length: float
) -> None:
    found = localise(np.array(flagged), measure(displaced(steps), "value"))
    assert found.places.tolist() == sorted(steps)
    assert found.by_px[found.places].max() == pytest.approx(length, abs=1.0)


def test_a_restless_run_is_named_from_its_first_to_its_last_slice() -> None:
    rng = np.random.default_rng(3)
    angles = rng.uniform(0, 2 * np.pi, 5)
    steps = {10 + k: (6 * float(np.sin(a)), 6 * float(np.cos(a))) for k, a in enumerate(angles)}
    found = localise(np.arange(9, 16), measure(displaced(steps), "value"))
    assert found.places.tolist() == sorted(steps)


def test_without_a_clear_jump_what_was_flagged_stays() -> None:
    near = measure(displaced({}), "value")
    assert localise(np.array([12, 4]), near).places.tolist() == [4, 12]
    assert localise(np.zeros(0, int), measure(displaced({9: (4.0, 3.0)}), "value")).places.size == 0
