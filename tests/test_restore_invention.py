"""The guard lets an honest restoration pass and names one that takes away too much, or makes something."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from medq_vlm import phantoms
from medq_vlm.degrade.sample import degrade_sample
from medq_vlm.restore import Restoration, measure_change, untouched
from medq_vlm.restore.invention import allowed_share, change_share, check, strongest_spot, structure
from medq_vlm.schema import Assessment, Finding, ImageSample, Location, Measurement, Recognised
from medq_vlm.vocab import severity_word

RNG = np.random.default_rng(7)


def assessed(modality: str, found: dict[str, float], noise: float = 0.0, unit: str = "range") -> Assessment:
    """An assessment with these findings and this noise; the rest does not matter here."""
    findings = tuple(
        Finding(kind, severity_word(s), s, 0.9, Location(), (), "", "", "", {}) for kind, s in found.items()
    )
    measured = (Measurement("noise_sd", noise, unit),)
    known = Recognised(modality, "header", 1.0)
    return Assessment(
        {}, known, known, "", 2.0, (1.5, 2.5), (), None, "usable", True, "", 0.1, {}, findings, (), measured, (), "",
        {}, "",
    )  # fmt: skip


def restored(before: ImageSample, pixels: np.ndarray, *treated: str) -> Restoration:
    residual = (pixels - before.pixels).astype(np.float32)
    return Restoration(replace(before, pixels=pixels), residual, treated, False, (), measure_change(before, residual))


@pytest.mark.parametrize(
    ("modality", "kind"),
    [("ct", "low_dose_noise"), ("ct", "sparse_view"), ("ct", "metal"), ("mr", "mr_motion"), ("mr", "undersampling"),
     ("mr", "mr_noise"), ("pet", "low_count_noise"), ("xray", "quantum_mottle"), ("fundus", "defocus"),
     ("dermoscopy", "uneven_illumination"), ("xray", "underexposure"), ("xray", "overexposure")],
)  # fmt: skip
@pytest.mark.parametrize("severity", [2.0, 3.0])
def test_undoing_exactly_what_was_done_is_justified(modality: str, kind: str, severity: float) -> None:
    clean = phantoms.phantom(modality, seed=11, size=192)
    degraded, _ = degrade_sample(clean, kind, severity, seed=3)
    found = check(degraded, restored(degraded, clean.pixels, kind), assessed(modality, {kind: severity}))
    assert found.justified, found.warnings
    assert 0 < found.change_share <= found.allowed_share


def test_a_change_far_larger_than_the_degradation_is_flagged() -> None:
    clean = phantoms.phantom("mr", seed=11, size=192)
    degraded, _ = degrade_sample(clean, "mr_motion", 2.0, seed=3)
    pixels = degraded.pixels + 6 * (clean.pixels - degraded.pixels)
    found = check(degraded, restored(degraded, pixels, "mr_motion"), assessed("mr", {"mr_motion": 2.0}))
    assert not found.justified and "more than the findings justify" in found.warnings[0]


def test_what_only_a_person_named_justifies_little() -> None:
    clean = phantoms.phantom("mr", seed=11, size=192)
    degraded, _ = degrade_sample(clean, "mr_motion", 4.0, seed=3)
    one = restored(degraded, clean.pixels, "mr_motion")
    assert check(degraded, one, assessed("mr", {"mr_motion": 4.0})).justified
    assert not check(degraded, one, assessed("mr", {})).justified


def noisy(size: int = 192) -> tuple[ImageSample, ImageSample]:
    clean = phantoms.phantom("ct", seed=5, size=256)
    clean = replace(clean, pixels=clean.pixels[:, 30 : 30 + size, 30 : 30 + size], valid=None)
    noise = ndimage.gaussian_filter(RNG.normal(0, 60, clean.pixels.shape), (0, 0.7, 0.7)).astype(np.float32)
    return clean, replace(clean, pixels=clean.pixels + noise)


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_lesion_made_or_erased_with_the_noise_is_named_with_its_place(sign: int) -> None:
    clean, degraded = noisy()
    y, x = np.mgrid[:192, :192]
    lesion = 70.0 * np.exp(-((x - 90) ** 2 + (y - 110) ** 2) / (2 * 5.0**2))
    about = assessed("ct", {"low_dose_noise": 4.0}, noise=25, unit="HU")
    honest = check(degraded, restored(degraded, clean.pixels, "low_dose_noise"), about)
    assert honest.justified, honest.warnings
    assert honest.structure < 0.1
    wrong = (clean.pixels + sign * lesion).astype(np.float32)
    found = check(degraded, restored(degraded, wrong, "low_dose_noise"), about)
    assert found.spot is not None and any("spot" in one for one in found.warnings)
    x0, y0, x1, y1 = found.spot.box
    assert x0 <= 90 <= x1 and y0 <= 110 <= y1
    assert np.sign(found.spot.change) == sign


def test_noise_that_takes_the_anatomy_along_is_flagged() -> None:
    clean, degraded = noisy()
    blurred = ndimage.gaussian_filter(clean.pixels, (0, 2.5, 2.5))
    found = check(
        degraded, restored(degraded, blurred, "low_dose_noise"), assessed("ct", {"low_dose_noise": 4.0}, 25, "HU")
    )
    assert any("follows the anatomy" in one for one in found.warnings)


def test_structure_is_none_in_noise_and_all_in_edges() -> None:
    image = phantoms.phantom("mr", seed=3, size=128).pixels[0]
    smooth = ndimage.gaussian_filter(image, 1.0)
    assert structure(RNG.normal(size=image.shape), image) < 0.05
    assert structure(ndimage.laplace(smooth), image) > 0.95
    assert structure(np.gradient(smooth)[0] - 2 * np.gradient(smooth)[1], image) > 0.95


def test_the_strongest_spot_of_noise_is_weak_and_a_disc_is_found() -> None:
    noise = RNG.normal(size=(256, 256)).astype(np.float32)
    weak = strongest_spot(noise)
    assert weak is not None and weak.strength < 0.8
    noise[100:112, 40:52] += 3
    found = strongest_spot(noise, 4)
    assert found is not None and found.strength > 1.3 and found.slice_index == 4
    assert found.box[0] <= 46 <= found.box[2] and found.box[1] <= 106 <= found.box[3]


def test_allowed_change_grows_with_severity_and_causes_add_as_squares() -> None:
    shares = [allowed_share({"mr_motion": s}, "mr") for s in (0.5, 1, 2, 3)]
    assert shares == sorted(shares) and shares[0] > 0
    a, b = allowed_share({"mr_motion": 2}, "mr"), allowed_share({"mr_noise": 2}, "mr")
    assert allowed_share({"mr_motion": 2, "mr_noise": 2}, "mr") == pytest.approx(np.hypot(a, b))
    assert allowed_share({}, "mr") == 0
    assert allowed_share({"mr_noise": 1}, "mr", 0.2) == pytest.approx(0.32)  # measured noise allows itself


def test_change_is_a_share_of_the_wider_range() -> None:
    ramp = np.linspace(0, 100, 10_000, dtype=np.float32).reshape(1, 100, 100)
    assert change_share(ramp, ramp + 9.8) == pytest.approx(0.1, rel=1e-3)
    assert change_share(ramp / 10, ramp) == change_share(ramp, ramp / 10)


def test_an_untouched_image_has_nothing_to_justify() -> None:
    sample = phantoms.phantom("ct", seed=1, size=64)
    assert check(sample, untouched(sample), assessed("ct", {})).justified
