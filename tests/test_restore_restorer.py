"""Laws of the restorer: identity when untrained, no seam, any size, native units kept, what is not named stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medq_vlm.config import RestorerConfig
from medq_vlm.phantoms import phantom, phantom_volume
from medq_vlm.restore.bands import whole_view
from medq_vlm.restore.guidance import GUIDANCE_NONE, from_findings, from_text, tensors
from medq_vlm.restore.network import RestorationNet
from medq_vlm.restore.restorer import Restorer, tiled, tiles
from medq_vlm.restore.weights import ready
from medq_vlm.schema import ImageSample, MedQError

SMALL = RestorerConfig(widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1), up_blocks=(1, 1, 1), lead_width=16, context_width=8)
CT_NOISE = from_findings({"low_dose_noise": 3.0}, "ct", "severe low-dose noise")


def untrained(config: RestorerConfig = SMALL) -> RestorationNet:
    torch.manual_seed(0)
    return ready(RestorationNet(config))


def disturbed(config: RestorerConfig = SMALL, size: float = 0.1) -> RestorationNet:
    """Random weights everywhere, so that every path changes the pixels."""
    model = untrained(config)
    rng = torch.Generator().manual_seed(1)
    for value in model.parameters():
        value.add_(size * torch.randn(value.shape, generator=rng))
    return model


def ct(side: int = 96) -> ImageSample:
    return phantom("ct", 3, 128 if side > 64 else 64)


def test_an_untrained_network_is_the_identity() -> None:
    sample = ct()
    done = Restorer(untrained()).restore(sample, CT_NOISE)
    assert np.array_equal(done.sample.pixels, sample.pixels)
    assert done.unchanged
    assert not done.residual.any()


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 101), (130, 71)])
def test_every_size_keeps_its_shape(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).normal(0, 100, (1, *size)).astype(np.float32)
    done = Restorer(disturbed()).restore(ImageSample(pixels, unit="HU", modality="ct"), CT_NOISE)
    assert done.sample.pixels.shape == pixels.shape
    assert np.isfinite(done.residual).all()
    assert not done.unchanged


def test_tiles_leave_no_seam() -> None:
    model = disturbed(RestorerConfig(), 0.01)  # the real depth has the real reach
    planes = torch.randn(1, 3, 400, 500, generator=torch.Generator().manual_seed(2))
    place, small, guidance = torch.zeros(1, 1, 400, 500), whole_view(planes), tensors([CT_NOISE])
    with torch.inference_mode():
        whole = tiled(model, planes, place, small, guidance, tile_px=500)
        parts = tiled(model, planes, place, small, guidance, tile_px=64)
    assert float((whole - planes).abs().mean()) > 1e-3
    assert float((whole - parts).abs().max()) < 1e-3 * float((whole - planes).abs().max())


@pytest.mark.parametrize(("height", "width"), [(100, 100), (1200, 1100), (2000, 700), (100, 5000)])
def test_tiles_cover_every_pixel_once(height: int, width: int) -> None:
    seen = np.zeros((height, width), int)
    for y0, x0, y1, x1 in tiles(height, width, 768):
        seen[y0:y1, x0:x1] += 1
    assert (seen == 1).all()


def test_residual_is_restored_minus_input_and_facts_are_kept() -> None:
    sample = replace(ct(), spacing_mm=(1.0, 0.7, 0.7), acquisition="Chest CT", window=(40.0, 400.0))
    done = Restorer(disturbed()).restore(sample, CT_NOISE)
    np.testing.assert_allclose(done.sample.pixels - sample.pixels, done.residual, atol=1e-3)
    assert done.residual.dtype == np.float32
    assert (done.sample.unit, done.sample.spacing_mm, done.sample.window) == ("HU", (1.0, 0.7, 0.7), (40.0, 400.0))
    assert done.treated == ("low_dose_noise",)
    assert done.change["rms"] == pytest.approx(float(np.sqrt((done.residual.astype(np.float64) ** 2).mean())))


def test_a_volume_reports_each_slice_and_looks_at_its_neighbours() -> None:
    volume = phantom_volume("mr", 1, 3, 64)
    guidance = from_findings({"mr_noise": 2.0}, "mr")
    steps: list[tuple[int, int]] = []
    restorer = Restorer(disturbed())
    done = restorer.restore(volume, guidance, lambda k, n: steps.append((k, n)))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    pixels = volume.pixels.copy()
    pixels[0] = pixels[2]
    other = restorer.restore(replace(volume, pixels=pixels), guidance)
    assert not np.array_equal(done.sample.pixels[1], other.sample.pixels[1])


def test_what_the_network_does_not_treat_stays_with_a_warning() -> None:
    sample = ct()
    done = Restorer(disturbed()).restore(sample, from_findings({"ring": 3.0}, "ct"))
    assert done.unchanged
    assert np.array_equal(done.sample.pixels, sample.pixels)
    assert "ring artefact" in done.warnings[0]
    echo = replace(sample, modality="ultrasound", unit="value")
    assert Restorer(disturbed()).restore(echo, from_findings({"speckle": 3.0}, "ultrasound")).unchanged


def test_padding_stays() -> None:
    sample = ct()
    valid = np.ones(sample.pixels.shape, bool)
    valid[:, :, :20] = False
    done = Restorer(disturbed()).restore(replace(sample, valid=valid), CT_NOISE)
    assert not done.residual[~valid].any()
    assert done.residual[valid].any()


def test_the_description_changes_the_result() -> None:
    sample = ct()
    restorer = Restorer(disturbed())
    one = restorer.restore(sample, from_text("severe low-dose noise", "ct")).sample.pixels
    other = restorer.restore(sample, from_text("mild metal streaks", "ct")).sample.pixels
    blind = restorer.restore(sample, GUIDANCE_NONE).sample.pixels
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, blind)


def test_a_grey_modality_stored_in_colour_keeps_its_hue() -> None:
    grey = phantom("xray", 1, 64).pixels
    colour = np.repeat(grey[..., None], 3, -1) + np.array([0.0, 5.0, 9.0], np.float32)
    done = Restorer(disturbed()).restore(
        ImageSample(colour, modality="xray"), from_findings({"quantum_mottle": 2.0}, "xray")
    )
    np.testing.assert_allclose(done.residual[..., 0], done.residual[..., 2], rtol=1e-5, atol=1e-3)


def test_eight_bits_stay_whole_numbers_in_their_range() -> None:
    sample = phantom("fundus", 1, 64)
    assert sample.bits == 8
    done = Restorer(disturbed()).restore(sample, from_findings({"defocus": 2.0}, "fundus"))
    assert np.array_equal(done.sample.pixels, np.round(done.sample.pixels))
    assert done.sample.pixels.min() >= 0
    assert done.sample.pixels.max() <= 255


def test_counts_and_magnitudes_do_not_fall_below_zero() -> None:
    for modality, kind in (("mr", "mr_noise"), ("pet", "low_count_noise"), ("xray", "noise")):
        pixels = np.random.default_rng(0).exponential(3, (1, 64, 64)).astype(np.float32)
        restorer, led = Restorer(disturbed()), from_findings({kind: 3.0}, modality)
        assert restorer.restore(ImageSample(pixels, modality=modality), led).sample.pixels.min() >= 0
        assert restorer.restore(ImageSample(pixels - 5, modality=modality), led).sample.pixels.min() < 0


def test_images_that_cannot_be_restored_are_refused() -> None:
    restorer = Restorer(untrained())
    with pytest.raises(MedQError, match="smaller"):
        restorer.restore(ImageSample(np.zeros((1, 20, 50), np.float32), modality="ct"), CT_NOISE)
    with pytest.raises(MedQError, match="not numbers"):
        restorer.restore(ImageSample(np.full((1, 40, 50), np.nan, np.float32), modality="ct"), CT_NOISE)
