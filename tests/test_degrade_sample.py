"""Degrading an ImageSample: native units in, native units out, the same record on every slice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medq_vlm import degrade, vocab
from medq_vlm.degrade.sample import apply_record, degrade_sample, intensity_scale
from medq_vlm.schema import ImageSample, MedQError
from tests import degradation_laws as laws


def volume(modality: str, slices: int = 2, scale: float = 900.0, **fields: object) -> ImageSample:
    """A phantom of `modality` in native units, `scale` per unit of intensity."""
    plane = laws.phantom_for(modality)[0].numpy()  # C H W
    plane = plane[0] if plane.shape[0] == 1 else plane.transpose(1, 2, 0)
    pixels = np.repeat(plane[None], slices, axis=0).astype(np.float32) * np.float32(scale)
    if modality == "ct":
        pixels = pixels * np.float32(1.5) - np.float32(1000.0)
    return ImageSample(pixels=pixels, modality=modality, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("modality", vocab.MODALITIES)
def test_every_kind_of_every_modality_keeps_shape_type_and_range_of_units(modality: str) -> None:
    sample = volume(modality, slices=1)
    span = float(np.ptp(sample.pixels))
    for kind in vocab.kinds_for(modality):
        degraded, record = degrade_sample(sample, kind, 2.5, 4)
        assert record.kind == kind and record.modality == modality and record.severity == 2.5
        assert degraded.pixels.shape == sample.pixels.shape and degraded.pixels.dtype == np.float32
        assert np.isfinite(degraded.pixels).all()
        assert not np.array_equal(degraded.pixels, sample.pixels), kind
        assert float(np.abs(degraded.pixels - sample.pixels).mean()) < span, kind


def test_severity_zero_gives_the_same_pixels() -> None:
    sample = volume("mr")
    assert np.array_equal(degrade_sample(sample, "mr_noise", 0.0, 1)[0].pixels, sample.pixels)


def test_the_same_seed_replays_and_another_seed_differs() -> None:
    sample = volume("mr")
    first, again, other = (degrade_sample(sample, "mr_motion", 3.0, seed)[0].pixels for seed in (5, 5, 6))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_record_replays_on_the_sample() -> None:
    sample = volume("xray")
    degraded, record = degrade_sample(sample, "quantum_mottle", 3.0, 8)
    assert np.array_equal(apply_record(sample, record).pixels, degraded.pixels)


def test_slices_share_the_structure_and_not_the_noise() -> None:
    sample = volume("mr", slices=2)
    noisy = degrade_sample(sample, "mr_noise", 3.0, 2)[0].pixels
    shaded = degrade_sample(sample, "bias_field", 3.0, 2)[0].pixels
    assert not np.array_equal(noisy[0], noisy[1])
    assert np.array_equal(shaded[0], shaded[1])


def test_the_units_scale_with_the_pixels() -> None:
    small, large = (volume("mr", scale=scale) for scale in (100.0, 100_000.0))
    a, b = (degrade_sample(sample, "ghosting", 3.0, 2)[0].pixels for sample in (small, large))
    assert np.allclose(a * 1000.0, b, rtol=1e-3, atol=b.max() * 1e-4)


def test_ct_stays_in_hounsfield_units() -> None:
    sample = volume("ct")
    assert intensity_scale(sample).white - intensity_scale(sample).black == 1.0
    noisy = degrade_sample(sample, "noise", 2.0, 1)[0].pixels
    assert abs(float(np.median(noisy)) - float(np.median(sample.pixels))) < 100.0


def test_an_inverted_radiograph_is_degraded_as_it_is_shown() -> None:
    """MONOCHROME1: the same picture with the opposite sign gives the same degraded picture."""
    plain = volume("xray", bits=8, scale=255.0)
    inverted = ImageSample(pixels=255.0 - plain.pixels, modality="xray", bits=8, inverted=True)
    record = degrade.draw_strength("scatter", "xray", 0.7, 1, plain.pixels.shape[1:])
    a, b = apply_record(plain, record).pixels, apply_record(inverted, record).pixels
    assert np.allclose(255.0 - b, a, atol=0.02)


def test_padding_keeps_its_value() -> None:
    sample = volume("ct")
    valid = np.ones(sample.pixels.shape, bool)
    valid[:, :, :20] = False
    sample.pixels[~valid] = -2000.0
    padded = ImageSample(pixels=sample.pixels, modality="ct", valid=valid)
    degraded = degrade_sample(padded, "noise", 3.0, 1)[0]
    assert np.all(degraded.pixels[~valid] == -2000.0)
    assert degraded.valid is valid


def test_untouched_pixels_of_a_local_kind_keep_every_bit() -> None:
    sample = volume("mr")
    degraded, record = degrade_sample(sample, "susceptibility", 2.0, 3)
    assert record.box is not None
    x0, y0, x1, y1 = record.box
    outside = np.ones(sample.pixels.shape[1:], bool)
    outside[y0:y1, x0:x1] = False
    assert np.array_equal(degraded.pixels[:, outside], sample.pixels[:, outside])


def test_ultrasound_stored_in_colour_changes_without_a_tint() -> None:
    grey = volume("ultrasound")
    sample = ImageSample(pixels=np.repeat(grey.pixels[..., None], 3, axis=-1), modality="ultrasound")
    pixels = degrade_sample(sample, "speckle", 3.0, 1)[0].pixels
    assert pixels.shape == sample.pixels.shape
    assert np.allclose(pixels[..., 0], pixels[..., 2], atol=1e-2)


def test_the_first_slice_equals_the_tensor_interface() -> None:
    sample = volume("mr", bits=8, scale=255.0)
    record = degrade.draw_strength("mr_noise", "mr", 0.6, 9, sample.pixels.shape[1:])
    expected = degrade.apply(torch.from_numpy(sample.pixels[:1, None] / 255.0), record)[0, 0].numpy() * 255.0
    assert np.allclose(apply_record(sample, record).pixels[0], expected, atol=1e-2)


def test_what_cannot_be_done_is_refused_with_the_reason() -> None:
    with pytest.raises(MedQError, match="modality"):
        degrade_sample(ImageSample(pixels=np.zeros((1, 64, 64), np.float32)), "noise", 1.0, 0)
    with pytest.raises(MedQError, match="32 x 32"):
        degrade_sample(ImageSample(pixels=np.zeros((1, 16, 64), np.float32), modality="mr"), "noise", 1.0, 0)
    with pytest.raises(MedQError, match="not a degradation"):
        degrade_sample(volume("mr"), "metal", 1.0, 0)
    with pytest.raises(MedQError, match="between 0 and 4"):
        degrade_sample(volume("mr"), "mr_noise", 7.0, 0)
