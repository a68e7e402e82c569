"""Large pictures are measured by strips: their height changes no number, and few copies are held whole."""

import tracemalloc
from functools import partial

import numpy as np
import pytest

from medq_vlm import evidence
from medq_vlm.evidence import filters, sharpness, stats_spectrum


def body(height: int, width: int) -> np.ndarray:
    """A noisy disc with waves on a dark ground, float32."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y, x = y / height - 0.5, x / width - 0.5
    waves = 2 + np.sin(40 * x) * np.cos(33 * y)
    image = np.where(x * x + y * y < 0.2, 9000 * waves, 500)
    return (image + 300 * np.random.default_rng(0).standard_normal(image.shape)).astype(np.float32)


def cut(most_px: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every strip have at most so many pixels."""
    for module in (filters, sharpness, stats_spectrum):
        monkeypatch.setattr(module, "strips", partial(filters.strips, most_px=most_px))


@pytest.mark.parametrize("most_px", [1, 3000, 150 * 201])  # one row; about a dozen strips; all but the last rows
@pytest.mark.parametrize("modality", ["ct", "mr", "xray"])
def test_strips_of_any_height_give_the_same_numbers(
    modality: str, most_px: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = body(170, 201)
    image[0, 0] = image[2:40, 50] = 60_000  # clipped, and an edge at the border of strips
    measure = partial(evidence.values, image, modality, "value", (None, None), None)
    whole = measure()
    cut(most_px, monkeypatch)
    stats_spectrum._kept_maps.cache_clear()
    assert measure() == pytest.approx(whole, rel=1e-6, nan_ok=True)


def test_a_large_picture_is_measured_in_fourteen_bytes_a_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    image = body(2400, 2400)  # beyond the size of which the spectrum keeps its maps
    cut(100_000, monkeypatch)  # else strips are half of such a picture
    tracemalloc.start()
    try:
        evidence.values(image, "xray", "value", (None, None), None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 14 * image.size
