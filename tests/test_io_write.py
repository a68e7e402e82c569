"""What is written comes back in native units, or is refused with the format that can hold it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medq_vlm import io, phantoms
from medq_vlm.io.write import WRITERS, write
from medq_vlm.schema import MedQError


@pytest.mark.parametrize("ending", [".npy", ".tif", ".tiff", ".nii", ".nii.gz"])
def test_float_volumes_come_back_exactly(ending: str, tmp_path: Path) -> None:
    sample = phantoms.phantom_volume("mr", seed=2, slices=3, size=80)
    sample = replace(sample, pixels=sample.pixels + 0.125, spacing_mm=(4.0, 0.5, 0.75))
    write(sample, tmp_path / f"volume{ending}")
    found = io.load(tmp_path / f"volume{ending}")[0]
    np.testing.assert_array_equal(found.pixels, sample.pixels)
    if ending.startswith(".nii"):
        assert found.spacing_mm == pytest.approx(sample.spacing_mm)


def test_dicom_keeps_hu_spacing_modality_and_says_that_it_is_derived(tmp_path: Path) -> None:
    import pydicom

    sample = phantoms.phantom("ct", seed=2, size=96)
    write(sample, tmp_path / "out.dcm", "simulated noise")
    found = io.load(tmp_path / "out.dcm")[0]
    np.testing.assert_array_equal(found.pixels, np.rint(sample.pixels))
    assert (found.modality, found.unit, found.window) == ("ct", "HU", sample.window)
    assert found.spacing_mm[1:] == pytest.approx(sample.spacing_mm[1:], rel=1e-5)
    header = pydicom.dcmread(tmp_path / "out.dcm")
    assert header.ImageType[0] == "DERIVED"
    assert header.DerivationDescription == "simulated noise"


@pytest.mark.parametrize("top", [255, 4095, 65535])
def test_png_keeps_every_grey_level(top: int, tmp_path: Path) -> None:
    sample = phantoms.phantom("mr", seed=2, size=64)
    ramp = np.linspace(0, top, 64 * 64, dtype=np.float32).round().reshape(1, 64, 64)
    write(replace(sample, pixels=ramp, bits=8 if top == 255 else 16), tmp_path / "ramp.png")
    np.testing.assert_array_equal(io.load(tmp_path / "ramp.png")[0].pixels, ramp)


@pytest.mark.parametrize("ending", [".png", ".tif", ".npy"])
def test_colour_comes_back(ending: str, tmp_path: Path) -> None:
    sample = phantoms.phantom("fundus", seed=2, size=64)
    sample = replace(sample, pixels=np.rint(sample.pixels))
    write(sample, tmp_path / f"colour{ending}")
    np.testing.assert_array_equal(io.load(tmp_path / f"colour{ending}")[0].pixels, sample.pixels)


def test_what_a_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    ct, colour = phantoms.phantom("ct", seed=1, size=64), phantoms.phantom("fundus", seed=1, size=64)
    volume = phantoms.phantom_volume("ct", seed=1, slices=2, size=64)
    for sample, ending in ((ct, ".png"), (volume, ".dcm"), (colour, ".dcm"), (colour, ".nii"), (ct, ".jpg")):
        with pytest.raises(MedQError, match="out"):
            write(sample, tmp_path / f"out{ending}")
        assert not (tmp_path / f"out{ending}").exists()


def test_every_writer_is_named_in_the_sentence_about_endings(tmp_path: Path) -> None:
    with pytest.raises(MedQError) as caught:
        write(phantoms.phantom("ct", seed=1, size=64), tmp_path / "out.bmp")
    assert all(ending in str(caught.value) for ending in WRITERS)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    (tmp_path / "a.npy").write_text("old")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError):
        write(phantoms.phantom("ct", seed=1, size=64), tmp_path / "a.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"] and (tmp_path / "a.npy").read_text() == "old"


def test_a_dicom_file_has_what_a_secondary_capture_must_have(tmp_path: Path) -> None:
    write(phantoms.phantom("ct", seed=1, size=64), tmp_path / "a.dcm")
    import pydicom

    header = pydicom.dcmread(tmp_path / "a.dcm")
    assert header.ConversionType == "SYN"
    for keyword in ("PatientBirthDate", "PatientSex", "StudyTime", "ReferringPhysicianName", "StudyID", "SeriesNumber",
                    "InstanceNumber"):  # fmt: skip
        assert keyword in header and not header[keyword].value


def test_a_dicom_file_keeps_the_acquisition_that_ranges_depend_on(tmp_path: Path) -> None:
    told: dict[str, str | float] = {"kvp": 120.0, "exposure_mas": 2.5, "slice_thickness_mm": 1.25, "view": "PA"}
    for modality, anatomy in (("ct", "head"), ("pet", "whole body"), ("endoscopy", "gastrointestinal tract")):
        sample = replace(phantoms.phantom("ct", seed=2, size=96), modality=modality, anatomy=anatomy)
        write(replace(sample, acquisition_fields=told), tmp_path / "out.dcm")
        found = io.load(tmp_path / "out.dcm")[0]
        assert found.anatomy == anatomy
        if modality == "ct":
            assert {name: found.acquisition_fields[name] for name in told} == told


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_a_white_zero_stays_white_in_a_picture(ending: str, tmp_path: Path) -> None:
    from PIL import Image

    values = np.tile(np.array([0.0, 1000.0, 4095.0], np.float32), (1, 40, 20))
    negative = replace(phantoms.phantom("xray", seed=2, size=64), pixels=values, inverted=True, bits=12, valid=None)
    write(negative, tmp_path / f"film{ending}")
    if ending == ".png":
        first = np.asarray(Image.open(tmp_path / "film.png"))[0, :3]
        assert first.tolist() == [4095, 3095, 0]
    else:
        assert io.load(tmp_path / "film.tif")[0].inverted
