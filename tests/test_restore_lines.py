"""An undersampled MR picture tells which lines were acquired, and the restored image agrees with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from medq_vlm import restore
from medq_vlm.degrade.mr_lines import sampling_mask
from medq_vlm.degrade.sample import degrade_sample
from medq_vlm.phantoms import phantom
from medq_vlm.restore import lines
from medq_vlm.restore.guidance import from_findings

SIDE = 192
# seeds whose masks are drawn as named
CASES = {"random": (3, 2.0, 3), "uniform": (3, 3.0, 4), "random, strong": (4, 3.0, 3)}


def undersampled(case: str) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """A clean MR phantom (H, W), the picture of some of its lines, and how they were drawn."""
    number, severity, seed = CASES[case]
    clean = phantom("mr", number, SIDE)
    sample, record = degrade_sample(clean, "undersampling", severity, seed)
    assert record.params["variant"] == case.split(",")[0]
    return clean.pixels[0], sample.pixels[0], record.params


def upright(plane: np.ndarray, params: dict[str, Any]) -> np.ndarray:
    """The plane with its phase-encode axis first."""
    return plane if params["phase_encode_axis"] == "row" else plane.T


def acquired(shape: tuple[int, ...], params: dict[str, Any]) -> np.ndarray:
    """(n,) bool, the lines that were acquired; centred."""
    return np.asarray(upright(sampling_mask(params, *shape).numpy(), params)[:, 0])


def psnr(image: np.ndarray, clean: np.ndarray) -> float:
    return float(10 * np.log10(np.ptp(clean) ** 2 / np.mean((image - clean) ** 2)))


@pytest.mark.parametrize("case", CASES)
def test_a_picture_tells_how_many_of_each_pair_of_lines_it_holds(case: str) -> None:
    _, picture, params = undersampled(case)
    kept = acquired(picture.shape, params)
    of_pair = kept.astype(int) + kept[(2 * (len(kept) // 2) - np.arange(len(kept))) % len(kept)]
    given = upright(picture, params) / np.ptp(picture)
    readings = [lines.line_levels(given, lift, floor) for lift in (0, lines.HALF) for floor in (False, True)]
    assert max(np.mean(levels == of_pair) for levels in readings) > 0.9


@pytest.mark.parametrize("case", CASES)
def test_the_lines_bring_the_image_nearer_to_the_truth(case: str) -> None:
    clean, picture, _ = undersampled(case)
    whole_grey = np.round(picture / picture.max() * 255).astype(np.float32)
    for given in (picture, whole_grey * (picture.max() / 255)):
        assert psnr(lines.keep_lines(given, given), clean) > psnr(given, clean) + 2


def test_a_turned_picture_is_restored_alike() -> None:
    _, picture, _ = undersampled("random")
    upright, turned = lines.keep_lines(picture, picture), lines.keep_lines(picture.T, picture.T)
    np.testing.assert_allclose(turned.T, upright, atol=1e-3 * np.ptp(picture))


@pytest.mark.parametrize("kind", ["", "ghosting", "low_resolution", "mr_noise", "bias_field"])
def test_other_pictures_tell_no_lines(kind: str) -> None:
    for number in (3, 4):
        sample = phantom("mr", number, SIDE)
        picture = (degrade_sample(sample, kind, 3.0, 1)[0] if kind else sample).pixels[0]
        assert lines.keep_lines(picture, picture) is picture


def test_signed_and_flat_pictures_stay() -> None:
    for picture in (np.zeros((64, 64), np.float32), np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64)):
        assert lines.keep_lines(picture, picture) is picture


def test_an_image_that_explains_its_picture_stays() -> None:
    clean, _, params = undersampled("random")
    image, kept = upright(clean, params) / np.ptp(clean), acquired(clean.shape, params)
    picture = np.abs(np.fft.ifft(np.fft.fft(image, axis=0) * np.fft.ifftshift(kept)[:, None], axis=0))
    np.testing.assert_allclose(lines.agreeing(picture.astype(np.float32), image, kept, 1), image, atol=1e-4)


def test_the_restorer_uses_the_lines_and_treats_what_is_left() -> None:
    clean, picture, _ = undersampled("random")
    number, severity, seed = CASES["random"]
    sample, _ = degrade_sample(phantom("mr", number, SIDE), "undersampling", severity, seed)
    done = restore.load().restore(sample, from_findings({"undersampling": 2.0}, "mr"))
    assert psnr(done.sample.pixels[0], clean) > psnr(picture, clean) + 3
    both = restore.load().restore(sample, from_findings({"undersampling": 2.0, "mr_noise": 1.0}, "mr"))
    assert not np.array_equal(both.sample.pixels, done.sample.pixels)
