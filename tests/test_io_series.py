"""Slice order, spacing and the oddities of a series come from geometry, not from names or numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medq_vlm.io import read
from medq_vlm.io.series import view_of
from medq_vlm.schema import ImageSample
from tests.dicom_files import AXIAL, SAGITTAL, dicom, ramp

UID = "1.2.826.0.1.3680043.8.498.1"


def write(folder: Path, heights: list[float], **tags: object) -> None:
    """One slice of constant value z at each height, file names and numbers in the given order."""
    for number, z in enumerate(heights):
        placed = {"ImagePositionPatient": [0, 0, z], "ImageOrientationPatient": AXIAL, **tags}
        data = dicom(
            np.full((16, 16), int(z), np.uint16) + ramp(16, 16, "u2") % 2,
            SeriesInstanceUID=UID, InstanceNumber=number, PixelSpacing=[0.5, 0.5], **placed,
        )  # fmt: skip
        (folder / f"{number:03d}.dcm").write_bytes(data)


def only(path: Path) -> ImageSample:
    (sample,) = read(path)
    return sample


def test_shuffled_slices_are_put_in_order(tmp_path: Path) -> None:
    heights = list(np.random.default_rng(0).permutation(np.arange(10, 60, 5.0)))
    write(tmp_path, heights)
    sample = only(tmp_path)
    np.testing.assert_array_equal(sample.pixels[:, 0, 0], np.arange(10, 60, 5))
    assert sample.spacing_mm == (5.0, 0.5, 0.5)
    assert sample.view == "axial"
    assert sample.warnings == ()
    assert sample.path == str(tmp_path)


def test_missing_slices_are_counted(tmp_path: Path) -> None:
    write(tmp_path, [10, 15, 20, 35, 40, 45])
    sample = only(tmp_path)
    (warning,) = sample.warnings
    assert warning == "About 2 slices missing, between slices 3 and 4."
    assert sample.breaks == (2,)


def test_of_scattered_slices_the_numbers_tell_how_many_are_missing(tmp_path: Path) -> None:
    """Most neighbours are missing, so the usual step is no neighbour's; a series of every second slice lacks none."""
    for name, numbers in (("scattered", (1, 9, 30, 41, 60)), ("every second", (2, 4, 6, 8))):
        folder = tmp_path / name
        folder.mkdir()
        for number in numbers:
            placed = {"ImagePositionPatient": [0, 0, 10 + number], "ImageOrientationPatient": AXIAL}
            data = dicom(
                ramp(16, 16, "u2"), SeriesInstanceUID=UID, InstanceNumber=number, PixelSpacing=[1, 1], **placed
            )
            (folder / f"{number:03d}.dcm").write_bytes(data)
    scattered, even = only(tmp_path / "scattered"), only(tmp_path / "every second")
    assert scattered.warnings == ("About 55 slices missing, between slices 1 and 2, 2 and 3, 3 and 4, and more.",)
    assert scattered.breaks == (0, 1, 2, 3)
    assert even.warnings == () and even.breaks == ()


def test_duplicate_slice_at_one_place_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, [10, 15, 20, 15])
    sample = only(tmp_path)
    assert sample.slices == 3
    assert sample.warnings == ("1 duplicate slice at a place already taken left out.",)


def test_the_same_file_twice_is_read_once(tmp_path: Path) -> None:
    write(tmp_path, [10, 15])
    (tmp_path / "copy.dcm").write_bytes((tmp_path / "000.dcm").read_bytes())
    sample = only(tmp_path)
    assert sample.slices == 2
    assert "came twice" in sample.warnings[0]


def test_several_images_at_each_place_give_the_first_volume(tmp_path: Path) -> None:
    write(tmp_path, [10, 15, 20, 10, 15, 20])
    sample = only(tmp_path)
    assert sample.slices == 3
    assert "2 images at each place" in sample.warnings[0]


def test_a_cine_of_one_place_keeps_all_frames_in_time_order(tmp_path: Path) -> None:
    write(tmp_path, [10, 10, 10])
    sample = only(tmp_path)
    assert (sample.slices, sample.spacing_mm[0]) == (3, None)


def test_mixed_orientation_gives_one_sample_each_and_a_warning(tmp_path: Path) -> None:
    write(tmp_path, [10, 15, 20])
    (tmp_path / "scout.dcm").write_bytes(
        dicom(
            ramp(),
            SeriesInstanceUID=UID,
            ImageOrientationPatient=SAGITTAL,
            ImagePositionPatient=[0, 0, 0],
            ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        )
    )
    samples = read(tmp_path)
    assert [(s.slices, s.view) for s in samples] == [(3, "axial"), (1, "sagittal")]
    assert all("2 orientations or sizes, a localiser among them" in s.warnings[0] for s in samples)


def test_two_series_are_two_samples(tmp_path: Path) -> None:
    write(tmp_path, [10, 15])
    (tmp_path / "other.dcm").write_bytes(dicom(ramp()))
    assert sorted(s.slices for s in read(tmp_path)) == [1, 2]


def test_gantry_tilt_is_measured(tmp_path: Path) -> None:
    for number, z in enumerate((0.0, 5.0, 10.0)):
        (tmp_path / f"{number}.dcm").write_bytes(
            dicom(
                ramp(),
                SeriesInstanceUID=UID,
                ImageOrientationPatient=AXIAL,
                ImagePositionPatient=[0, z * np.tan(np.radians(12)), z],
            )
        )
    sample = only(tmp_path)
    assert sample.spacing_mm[0] == 5.0
    assert "tilted by 12.0 degrees" in sample.warnings[0]


def test_without_positions_the_number_orders_and_a_warning_says_so(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        (tmp_path / f"{9 - number}.dcm").write_bytes(
            dicom(np.full((8, 8), number, np.uint16), SeriesInstanceUID=UID, InstanceNumber=number)
        )
    sample = only(tmp_path)
    np.testing.assert_array_equal(sample.pixels[:, 0, 0], [0, 1, 2])
    assert "positions are missing" in sample.warnings[0]


def test_one_unreadable_slice_does_not_lose_the_series(tmp_path: Path) -> None:
    write(tmp_path, [10, 15, 20])
    (tmp_path / "001.dcm").write_bytes((tmp_path / "001.dcm").read_bytes()[:-50])
    sample = only(tmp_path)
    assert sample.slices == 2
    assert any("1 other file" in warning for warning in sample.warnings)


def test_the_hash_of_a_series_does_not_depend_on_names(tmp_path: Path) -> None:
    write(tmp_path, [10, 15, 20])
    before = only(tmp_path).sha256
    (tmp_path / "000.dcm").rename(tmp_path / "zzz")
    assert only(tmp_path).sha256 == before


@pytest.mark.parametrize(
    ("cosines", "view"),
    [
        ((1, 0, 0, 0, 1, 0), "axial"),
        ((1, 0, 0, 0, 0, -1), "coronal"),
        ((0, 1, 0, 0, 0, -1), "sagittal"),
        ((1, 0, 0, 0, 0.7, 0.7), "oblique"),
        ((1, 0, 0, 1, 0, 0), None),
        (None, None),
    ],
)
def test_view_of_direction_cosines(cosines: tuple[float, ...] | None, view: str | None) -> None:
    assert view_of(cosines) == view
