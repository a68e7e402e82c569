"""A derived file keeps format, geometry and patient of its original, says what it is, and reads back as written."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.data import get_testdata_file

from medq_vlm import io
from medq_vlm.io import derived as writer
from medq_vlm.io.derived import Derived, Story, copies, save
from medq_vlm.io.files import refuse_inputs
from medq_vlm.io.originals import Originals
from medq_vlm.schema import ImageSample, MedQError
from tests.dicom_files import AXIAL, dicom, item, ramp

STORY = Story("Restored by MedQ 0.0: low_dose_noise treated.", "MedQ restored", "MedQ", "0.0")
BUNDLED = (  # every kind of pixel that pydicom's own files have
    "CT_small.dcm", "J2K_pixelrep_mismatch.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm",
    "examples_overlay.dcm", "examples_palette.dcm", "examples_ybr_color.dcm", "examples_rgb_color.dcm",
    "ExplVR_BigEnd.dcm", "JPEG2000.dcm", "JPGExtended.dcm", "SC_rgb_rle_2frame.dcm", "SC_rgb_32bit.dcm",
    "rtdose.dcm", "liver_1frame.dcm", "SC_ybr_full_422_uncompressed.dcm", "image_dfl.dcm", "emri_small.dcm",
)  # fmt: skip


def changed(sample: ImageSample, by: float = 0.02) -> ImageSample:
    """The sample with every pixel pulled towards the mean: what a restoration does, in one line."""
    mean = sample.pixels.mean()
    return replace(sample, pixels=(sample.pixels + by * (mean - sample.pixels)).astype(np.float32))


def derive(*arguments: object, wanted: str | None = None) -> Derived:
    made = writer.derive(*arguments, wanted=wanted)  # type: ignore[arg-type]
    assert made is not None
    return made


def derived(path: Path, after: ImageSample | None = None) -> tuple[ImageSample, ImageSample, Derived]:
    before = io.read(path)[0]
    after = after or changed(before)
    return before, after, derive(Originals(path).of(before), before, after, STORY)


def written(path: Path, folder: Path) -> tuple[ImageSample, ImageSample, ImageSample]:
    """Before, after, and what is read back from the derived files."""
    before, after, made = derived(path)
    save(made.files, folder)
    return before, after, io.read(folder)[0]


@pytest.mark.parametrize("name", BUNDLED)
def test_dicom_of_every_kind_reads_back_in_native_units_with_its_geometry(name: str, tmp_path: Path) -> None:
    path = get_testdata_file(name, download=False)
    try:
        assert isinstance(path, str)
        before = io.read(path)[0]
    except (AssertionError, io.guard.IngestError):
        pytest.skip("not installed, or its decoder is not")
    _, after, found = written(Path(path), tmp_path)
    step = 1.0 if before.unit != "value" or before.pixels.max() > 2 else (np.ptp(before.pixels) + 1e-9) / 65000
    slope = float(pydicom.dcmread(path).get("RescaleSlope", 1) or 1)
    np.testing.assert_allclose(found.pixels, after.pixels, atol=0.51 * max(step, abs(slope)), rtol=1e-5)
    for field in ("unit", "modality", "spacing_mm", "edges", "inverted", "view", "window", "lossy"):
        assert getattr(found, field) == getattr(before, field), field


def test_the_header_says_derived_and_names_its_source_and_keeps_the_patient(tmp_path: Path) -> None:
    path = Path(str(get_testdata_file("CT_small.dcm")))
    _, _, made = derived(path)
    (out,) = save(made.files, tmp_path / "out.dcm")
    old, new = pydicom.dcmread(path), pydicom.dcmread(out)
    assert list(new.ImageType) == ["DERIVED", "SECONDARY", *old.ImageType[2:]]
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "ImagePositionPatient",
                    "ImageOrientationPatient", "PixelSpacing", "SOPClassUID", "RescaleSlope", "RescaleIntercept",
                    "Manufacturer"):  # fmt: skip
        assert new[keyword].value == old[keyword].value, keyword
    assert new.SOPInstanceUID not in (old.SOPInstanceUID, "") and new.SeriesInstanceUID != old.SeriesInstanceUID
    assert new.file_meta.MediaStorageSOPInstanceUID == new.SOPInstanceUID
    assert new.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert new.SourceImageSequence[0].ReferencedSOPInstanceUID == old.SOPInstanceUID
    assert new.SourceImageSequence[0].PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert new.DerivationDescription == STORY.note
    assert new.DerivationCodeSequence[0].CodingSchemeDesignator == "99MEDQ"
    assert new.ContributingEquipmentSequence[-1].Manufacturer == "MedQ"
    assert new.SeriesDescription.endswith("MedQ restored") and len(new.SeriesDescription) <= 64
    assert not [element for element in new if element.tag.is_private]


def test_what_was_derived_before_says_both(tmp_path: Path) -> None:
    ds = pydicom.dcmread(Path(str(get_testdata_file("CT_small.dcm"))))
    ds.DerivationDescription = "x" * 900 + " mean of three slices"
    ds.DerivationCodeSequence = [item(CodeValue="113049", CodingSchemeDesignator="DCM", CodeMeaning="Lossless")]
    ds.save_as(tmp_path / "in.dcm")
    (out,) = save(derived(tmp_path / "in.dcm")[2].files, tmp_path / "out.dcm")
    new = pydicom.dcmread(out)
    assert new.DerivationDescription == f"{ds.DerivationDescription} {STORY.note}"
    assert [code.CodingSchemeDesignator for code in new.DerivationCodeSequence] == ["DCM", "99MEDQ"]
    (again,) = save(derived(out)[2].files, tmp_path / "again.dcm")
    assert pydicom.dcmread(again).SourceImageSequence[0].ReferencedSOPInstanceUID == new.SOPInstanceUID
    assert len(pydicom.dcmread(again).DerivationDescription) <= 1024


@pytest.mark.parametrize("frames_tell", [False, True])
def test_an_enhanced_object_tells_its_derivation_where_its_frames_are_described(
    tmp_path: Path, frames_tell: bool
) -> None:
    path = tmp_path / "in.dcm"
    path.write_bytes(enhanced())
    if frames_tell:
        ds = pydicom.dcmread(path)
        for group in ds.PerFrameFunctionalGroupsSequence:
            group.DerivationImageSequence = [item(DerivationDescription="resampled")]
        ds.save_as(path)
    (out,) = save(derived(path)[2].files, tmp_path / "out.dcm")
    new = pydicom.dcmread(out)
    groups = new.PerFrameFunctionalGroupsSequence if frames_tell else new.SharedFunctionalGroupsSequence
    for group in groups:
        told = [one.DerivationDescription for one in group.DerivationImageSequence]
        assert told == ["resampled"] * frames_tell + [STORY.note]
    assert ("DerivationImageSequence" in new.SharedFunctionalGroupsSequence[0]) != frames_tell


def test_lossy_history_is_kept_when_the_compression_is_undone(tmp_path: Path) -> None:
    path = Path(str(get_testdata_file("examples_ybr_color.dcm")))
    _, _, made = derived(path)
    (out,) = save(made.files, tmp_path / "out.dcm")
    new = pydicom.dcmread(out)
    assert new.LossyImageCompression == "01" and not new.file_meta.TransferSyntaxUID.is_compressed
    assert (new.NumberOfFrames, new.PhotometricInterpretation) == (30, "RGB")  # multi-frame stays multi-frame


def ct_series(folder: Path, count: int = 4) -> Path:
    """Files of one series, their order of names not that of their places, with a rescale and padding."""
    folder.mkdir()
    for number in range(count):
        pixels = ramp(24, 20, "i2", start=100 * number)
        pixels[0, :3] = -2000
        data = dicom(
            pixels, SeriesInstanceUID="1.2.3", StudyInstanceUID="1.2", FrameOfReferenceUID="1.9", Modality="CT",
            ImageOrientationPatient=AXIAL, ImagePositionPatient=[0, 0, 2.5 * number], PixelSpacing=[0.7, 0.7],
            RescaleSlope=1, RescaleIntercept=-1024, PixelPaddingValue=-2000, PatientName="Doe^Jane",
        )  # fmt: skip
        (folder / f"{(7 * number) % count}.dcm").write_bytes(data)
    return folder


def test_a_series_gives_one_new_series_in_order_with_its_padding(tmp_path: Path) -> None:
    before, after, found = written(ct_series(tmp_path / "in"), tmp_path / "out")
    assert found.slices == before.slices == 4 and found.spacing_mm == before.spacing_mm
    np.testing.assert_allclose(found.pixels, after.pixels, atol=0.51)
    headers = [pydicom.dcmread(path) for path in sorted((tmp_path / "out").iterdir())]
    assert len({one.SeriesInstanceUID for one in headers}) == 1 and len({one.SOPInstanceUID for one in headers}) == 4
    assert [float(one.ImagePositionPatient[2]) for one in headers] == [0, 2.5, 5, 7.5]


def test_padding_that_did_not_move_is_padding_again(tmp_path: Path) -> None:
    path = ct_series(tmp_path / "in")
    before = io.read(path)[0]
    assert before.valid is not None
    for shift in (1.0, -70000.0):  # the second needs another intercept
        after = replace(before, pixels=np.where(before.valid, before.pixels + shift, before.pixels).astype(np.float32))
        made = derive(Originals(path).of(before), before, after, STORY)
        save(made.files, tmp_path / f"out{shift}")
        found = io.read(tmp_path / f"out{shift}")[0]
        span = float(np.ptp(after.pixels)) / 65000 if shift < -1 else 0.0
        np.testing.assert_allclose(found.pixels, after.pixels, atol=0.51 * max(1, span))
        assert found.valid is not None
        np.testing.assert_array_equal(found.valid, before.valid)


@pytest.mark.parametrize(
    ("dtype", "values", "tags"),
    [
        ("u2", (-300.0, 5000.0), {"RescaleSlope": 1, "RescaleIntercept": -100}),  # below what unsigned holds: shifted
        ("i2", (-4e5, 9e5), {"RescaleSlope": "0.5", "RescaleIntercept": 0}),  # too wide for 16 bits: scaled anew
        ("u1", (0.0, 300.0), {}),  # too wide for 8 bits: 16
        ("u2", (0.0, 4096.0), {"BitsStored": 12, "HighBit": 11}),  # one more than 12 bits hold
        ("u2", (0.0, 1e6), {"Modality": "PT", "RescaleSlope": "0.1", "RescaleIntercept": 0}),
    ],
)
def test_values_the_rescale_cannot_hold_keep_their_precision(
    dtype: str, values: tuple[float, float], tags: dict[str, object], tmp_path: Path
) -> None:
    path = tmp_path / "in.dcm"
    path.write_bytes(dicom(ramp(16, 16, dtype), **tags))
    before = io.read(path)[0]
    after = replace(before, pixels=np.linspace(*values, 256, dtype=np.float32).reshape(1, 16, 16))
    made = derive(Originals(path).of(before), before, after, STORY)
    (out,) = save(made.files, tmp_path / "out.dcm")
    found, header = io.read(out)[0], pydicom.dcmread(out)
    step = max(float(header.get("RescaleSlope", 1)), 1e-9)
    np.testing.assert_allclose(found.pixels, after.pixels, atol=0.51 * step, rtol=1e-6)
    assert step <= max(1.0, (values[1] - values[0]) / 65000)
    assert found.unit == before.unit
    if tags.get("Modality") == "PT":
        assert header.RescaleIntercept == 0


def test_a_modality_table_becomes_a_rescale(tmp_path: Path) -> None:
    path = tmp_path / "in.dcm"
    table = item(
        LUTDescriptor=[256, 0, 16], ModalityLUTType="OD", LUTData=np.arange(0, 2560, 10, dtype="<u2").tobytes()
    )
    path.write_bytes(dicom(ramp(16, 16), ModalityLUTSequence=[table], Modality="CR"))
    before, after, made = derived(path)
    (out,) = save(made.files, tmp_path / "out.dcm")
    assert "ModalityLUTSequence" not in pydicom.dcmread(out)
    np.testing.assert_allclose(io.read(out)[0].pixels, after.pixels, atol=0.03)
    assert before.pixels.max() == 2550


def enhanced(rows: int = 3) -> bytes:
    """An enhanced CT whose frames differ in their rescale, the last two at one place."""
    frames = []
    for number in range(rows):
        group = Dataset()
        place = item(ImagePositionPatient=[0, 0, 3.0 * min(number, rows - 2)])
        group.PlanePositionSequence = [place]
        group.PixelValueTransformationSequence = [
            item(RescaleSlope=str(1 + number), RescaleIntercept="0", RescaleType="HU")
        ]
        frames.append(group)
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=AXIAL)],
        PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.5], SliceThickness=3)],
        CTImageFrameTypeSequence=[item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])],
    )
    pixels = np.stack([ramp(16, 16, start=10 * number) for number in range(rows)])
    return dicom(
        pixels, SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1", SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=frames, ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
    )  # fmt: skip


def test_an_enhanced_object_keeps_its_frames_and_their_rescale(tmp_path: Path) -> None:
    path = tmp_path / "in.dcm"
    path.write_bytes(enhanced())
    before, after, made = derived(path)
    (out,) = save(made.files, tmp_path / "out.dcm")
    found, header = io.read(out)[0], pydicom.dcmread(out)
    np.testing.assert_allclose(found.pixels, after.pixels, atol=1.51)
    assert found.spacing_mm == before.spacing_mm
    assert header.SharedFunctionalGroupsSequence[0].CTImageFrameTypeSequence[0].FrameType[0] == "DERIVED"
    assert header.NumberOfFrames == before.slices == len(header.PerFrameFunctionalGroupsSequence) == 2


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["i2", "u1", "f4", "f8"])
def test_nifti_keeps_affine_header_and_type(dtype: str, ending: str, tmp_path: Path) -> None:
    affine = np.array([[0, 0.5, 0.1, -3], [2.0, 0, 0, 7], [0, 0.1, -0.9, 1], [0, 0, 0, 1]])
    values = np.random.default_rng(1).integers(0, 200, (12, 16, 20)).astype(dtype)
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    path = tmp_path / f"in{ending}"
    nibabel.save(image, path)
    before, after, made = derived(path)
    (out,) = save(made.files, tmp_path / f"out{ending}")
    found, header = io.read(out)[0], nibabel.load(out)
    np.testing.assert_allclose(found.pixels, after.pixels, atol=0.51 if dtype in ("i2", "u1") else 1e-5)
    np.testing.assert_allclose(header.affine, affine, atol=1e-6)
    assert (header.get_data_dtype(), header.shape) == (np.dtype(dtype), (12, 16, 20))
    assert found.spacing_mm == before.spacing_mm and b"Restored" in bytes(header.header["descrip"])


def test_nifti_integers_that_overflow_become_float(tmp_path: Path) -> None:
    path = tmp_path / "in.nii"
    nibabel.save(nibabel.Nifti1Image(np.full((10, 10, 10), 250, np.uint8), np.eye(4)), path)
    before = io.read(path)[0]
    after = replace(before, pixels=before.pixels + 10.25)
    made = derive(Originals(path).of(before), before, after, STORY)
    (out,) = save(made.files, tmp_path / "out.nii")
    np.testing.assert_array_equal(io.read(out)[0].pixels, after.pixels)


def test_nifti_voxels_without_a_number_have_none_again(tmp_path: Path) -> None:
    values = np.arange(1000, dtype=np.float32).reshape(10, 10, 10)
    values[3, 4, 5] = np.nan
    path = tmp_path / "in.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    _, _, made = derived(path)
    (out,) = save(made.files, tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(np.isnan(np.asarray(nibabel.load(out).dataobj)), np.isnan(values))


@pytest.mark.parametrize(
    ("dtype", "shape"), [("u1", (20, 24)), ("u2", (20, 24)), ("u1", (20, 24, 3)), ("u2", (20, 24, 3))]
)
@pytest.mark.parametrize("ending", [".png", ".tif", ".bmp"])
def test_pictures_keep_depth_and_colour(dtype: str, shape: tuple[int, ...], ending: str, tmp_path: Path) -> None:
    import tifffile

    if ending == ".bmp" and dtype == "u2":
        pytest.skip("BMP has 8 bits")
    values = np.random.default_rng(2).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    path = tmp_path / f"in{ending}"
    if ending == ".png" and values.ndim == 3 and dtype == "u2":
        from medq_vlm.io.derived import png

        path.write_bytes(png(values, ""))
    elif ending == ".tif":
        tifffile.imwrite(path, values, photometric="rgb" if values.ndim == 3 else "minisblack")
    else:
        Image.fromarray(values).save(path)
    before, after, made = derived(path)
    assert made.ending == (".tif" if ending == ".tif" else ".png") and made.notes == ()
    (out,) = save(made.files, tmp_path / f"out{made.ending}")
    found = io.read(out)[0]
    np.testing.assert_allclose(found.pixels, after.pixels, atol=0.51)
    assert (found.bits, found.colour) == (before.bits, before.colour)


def test_what_a_picture_cannot_hold_is_clipped_and_said(tmp_path: Path) -> None:
    path = tmp_path / "in.png"
    Image.fromarray(ramp(16, 16, "u1")).save(path)
    before = io.read(path)[0]
    made = derive(Originals(path).of(before), before, replace(before, pixels=before.pixels + 5), STORY)
    assert made.notes == ("5 values beyond the range of the file format were clipped.",)


def test_arrays_are_float32_and_a_zip_holds_a_whole_series(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.random.default_rng(3).normal(size=(3, 16, 16)))
    _, after, made = derived(tmp_path / "in.npy")
    np.testing.assert_array_equal(np.load(save(made.files, tmp_path / "out.npy")[0]), after.pixels)
    series = ct_series(tmp_path / "series")
    _, after, made = derived(series)
    (out,) = save(made.files, tmp_path / "out.zip")
    assert zipfile.ZipFile(out).namelist() == ["0001.dcm", "0002.dcm", "0003.dcm", "0004.dcm"]
    np.testing.assert_allclose(io.read(out)[0].pixels, after.pixels, atol=0.51)


def test_a_zip_of_a_series_finds_its_files_again(tmp_path: Path) -> None:
    series, packed = ct_series(tmp_path / "series"), tmp_path / "in.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in series.iterdir():
            archive.write(path, f"Doe^Jane/{path.name}")
    _, after, made = derived(packed)
    save(made.files, tmp_path / "out")
    np.testing.assert_allclose(io.read(tmp_path / "out")[0].pixels, after.pixels, atol=0.51)
    assert not any("Doe" in file.name for file in made.files)


def test_an_input_is_never_a_target(tmp_path: Path) -> None:
    series, file = ct_series(tmp_path / "series"), tmp_path / "in.npy"
    np.save(file, np.zeros((9, 9)))
    (tmp_path / "link.npy").symlink_to(file)
    (tmp_path / "hard.npy").hardlink_to(file)
    for target in (file, tmp_path / "link.npy", tmp_path / "hard.npy", series, series / "new.dcm",
                   tmp_path / "." / "in.npy"):  # fmt: skip
        with pytest.raises(MedQError, match="never overwritten"):
            refuse_inputs([target], [file, series])
    refuse_inputs([tmp_path / "out.npy", tmp_path / "series2"], [file, series])


def test_files_that_changed_since_they_were_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.npy"
    np.save(path, np.zeros((9, 9)))
    before = io.read(path)[0]
    np.save(path, np.ones((9, 9)))
    with pytest.raises(MedQError, match="changed"):
        Originals(path).of(before)


def test_another_ending_is_met_where_the_format_has_it(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 9, 9), np.int16), np.eye(4)), tmp_path / "in.nii")
    before = io.read(tmp_path / "in.nii")[0]
    original = Originals(tmp_path / "in.nii").of(before)
    assert derive(original, before, before, STORY, wanted=".nii.gz").files[0].data.startswith(b"\x1f\x8b")
    assert writer.derive(original, before, before, STORY, wanted=".png") is None
    assert copies(original, ".nii.gz") is None


def test_copies_are_the_very_bytes(tmp_path: Path) -> None:
    series = ct_series(tmp_path / "in")
    made = copies(Originals(series).of(io.read(series)[0]))
    assert made is not None
    assert {file.data for file in made.files} == {path.read_bytes() for path in series.iterdir()}


def test_every_element_we_write_is_valid(tmp_path: Path) -> None:
    _, _, made = derived(Path(str(get_testdata_file("MR_small.dcm"))))
    (out,) = save(made.files, tmp_path / "out.dcm")
    header = pydicom.dcmread(out)
    mode = pydicom.config.settings.reading_validation_mode
    pydicom.config.settings.reading_validation_mode = pydicom.config.RAISE
    try:
        assert len([element.value for element in header.iterall()]) > 50
    finally:
        pydicom.config.settings.reading_validation_mode = mode
