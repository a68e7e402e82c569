"""The letters at the image's edges name the patient's sides, and are left out where they are not known."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from app.viewer import edge_letters
from medq_vlm import io
from medq_vlm.io.series import edges_of
from medq_vlm.schema import ImageSample
from tests.dicom_files import AXIAL, SAGITTAL, dicom, ramp


@pytest.mark.parametrize(
    ("orientation", "edges"),
    [
        ((1, 0, 0, 0, 1, 0), ("R", "L", "A", "P")),  # axial, lying on the back
        ((-1, 0, 0, 0, -1, 0), ("L", "R", "P", "A")),  # the same, lying on the front
        ((1, 0, 0, 0, 0, -1), ("R", "L", "H", "F")),  # coronal
        ((0, 1, 0, 0, 0, -1), ("A", "P", "H", "F")),  # sagittal
        ((1, 0, 0, 0, 0.866, -0.5), ("R", "L", "AH", "PF")),  # axial, tilted by 30 degrees
        (None, None),
        ((0, 0, 0, 0, 0, 0), None),
    ],
)
def test_letters_follow_the_direction_cosines(
    orientation: tuple[float, ...] | None, edges: tuple[str, ...] | None
) -> None:
    assert edges_of(orientation) == edges


@pytest.mark.parametrize(("orientation", "edges"), [(AXIAL, "RLAP"), (SAGITTAL, "APHF")])
def test_a_dicom_file_has_its_letters_after_the_child_process(orientation: list[float], edges: str) -> None:
    data = dicom(ramp(), ImageOrientationPatient=orientation, ImagePositionPatient=[0, 0, 0])
    assert edge_letters(io.load_bytes("a.dcm", data)[0]) == list(edges)


def test_a_picture_has_none() -> None:
    assert edge_letters(ImageSample(np.zeros((1, 8, 8), np.float32))) == []


def test_nifti_is_turned_to_the_letters_it_shows(tmp_path: Path) -> None:
    volume = np.zeros((20, 24, 10), np.float32)  # right, front, head: RAS
    volume[-1, :, :] = 1.0  # the patient's right side
    volume[:, -1, :] = 2.0  # the patient's front
    header = nibabel.Nifti1Image(volume, np.diag([1.0, 1.0, 3.0, 1.0]))
    header.set_sform(np.diag([1.0, 1.0, 3.0, 1.0]), code=1)
    nibabel.save(header, tmp_path / "a.nii")
    sample = io.read(tmp_path / "a.nii")[0]
    assert edge_letters(sample) == ["R", "L", "A", "P"]
    assert (sample.pixels[0, 0] == 2.0).all()  # front at the top
    assert (sample.pixels[0, 1:, 0] == 1.0).all()  # right side at the left
