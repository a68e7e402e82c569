"""The scale is invertible in every number format and clips nothing."""

from __future__ import annotations

import numpy as np
import pytest

from medq_vlm.restore.scaling import slice_scale
from medq_vlm.schema import ImageSample


def there_and_back(sample: ImageSample, index: int = 0) -> tuple[np.ndarray, np.ndarray]:
    scale = slice_scale(sample, index)
    network = scale.to_network(sample.pixels[index])
    assert network.dtype == np.float32
    return network, scale.to_native(network)


def test_hu_comes_back_to_a_hundredth() -> None:
    hu = np.linspace(-1024, 30000, 32 * 32, dtype=np.float32).reshape(1, 32, 32)
    network, back = there_and_back(ImageSample(hu, unit="HU", modality="ct"))
    np.testing.assert_allclose(back, hu[0], atol=1e-2)
    assert network.max() > 50  # far outside of the usual range and not clipped


def test_sixteen_bits_come_back_to_the_number() -> None:
    values = np.arange(65536, dtype=np.float32).reshape(1, 256, 256)
    _, back = there_and_back(ImageSample(values, bits=16, modality="xray"))
    assert np.array_equal(np.round(back), values[0])


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_floats_come_back(factor: float) -> None:
    values = (np.random.default_rng(0).gamma(2, 1, (1, 40, 40)) * factor).astype(np.float32)
    network, back = there_and_back(ImageSample(values, unit="BQML", modality="pet"))
    np.testing.assert_allclose(back, values[0], atol=1e-5 * factor)
    assert -2.1 < np.percentile(network, 1) < np.percentile(network, 99) < 2.1


def test_eight_bits_span_their_range_however_dark_the_picture() -> None:
    dark = np.zeros((1, 32, 32), np.float32)
    dark[0, 0, 0] = 40
    network, _ = there_and_back(ImageSample(dark, bits=8, modality="fundus"))
    assert network.min() == -2
    assert network.max() == pytest.approx(-2 + 4 * 40 / 255)


def test_inverted_images_are_turned_round() -> None:
    values = np.linspace(0, 1000, 1024, dtype=np.float32).reshape(1, 32, 32)
    network, back = there_and_back(ImageSample(values, bits=12, inverted=True, modality="xray"))
    assert network[0, 0] > network[-1, -1]
    np.testing.assert_allclose(back, values[0], atol=1e-3)


def test_blank_images_have_a_scale() -> None:
    blank = np.full((1, 32, 32), 7.0, np.float32)
    network, back = there_and_back(ImageSample(blank, modality="mr"))
    assert np.isfinite(network).all()
    np.testing.assert_allclose(back, blank[0], atol=1e-5)


def test_each_slice_has_its_own_scale() -> None:
    values = np.ones((2, 32, 32), np.float32)
    values[0, :16], values[1, :16] = 10.0, 1000.0
    sample = ImageSample(values, modality="mr")
    assert slice_scale(sample, 1).span > 50 * slice_scale(sample, 0).span
