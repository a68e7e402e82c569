"""Where an image lies in the room: what is written as NIfTI overlays what was read, from DICOM or NIfTI."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from medq_vlm import cli, io
from medq_vlm.io.common import told_grid
from medq_vlm.io.examples import MR_SMALL, example
from medq_vlm.io.write import write

SIDE = 64
OBLIQUE = (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)  # coronal, turned by 37 degrees
DIRECTIONS = {"axial": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), "oblique": OBLIQUE, "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)}


def series(folder: Path, direction: tuple[float, ...], slices: int) -> dict[tuple[int, int, int], np.ndarray]:
    """A DICOM series; where in LPS mm some pixels (slice, row, column) of it lie, by PS3.3 C.7.6.2.1.1."""
    folder.mkdir()
    normal = np.cross(direction[:3], direction[3:])
    uid, places = generate_uid(), {}
    for number in range(slices):
        ds = pydicom.dcmread(example(MR_SMALL))
        ds.SeriesInstanceUID, ds.SOPInstanceUID = uid, generate_uid()
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.InstanceNumber, ds.PixelSpacing, ds.ImageOrientationPatient = number + 1, [2.0, 1.5], list(direction)
        first = np.array([-30.0, 12.0, 7.0]) + 4.0 * number * normal
        ds.ImagePositionPatient = [float(f"{value:.6f}") for value in first]
        pixels = ds.pixel_array.copy()
        pixels[:4, :4] = 100 * number
        ds.PixelData = pixels.tobytes()
        ds.save_as(folder / f"{number}.dcm")
        for row, column in ((0, 0), (10, 0), (0, 20)):
            step = np.array(direction[:3]) * 1.5 * column + np.array(direction[3:]) * 2.0 * row
            places[number, row, column] = first + step
    return places


@pytest.mark.parametrize("slices", [1, 5])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_series_written_as_nifti_lies_where_it_lay(direction: str, slices: int, tmp_path: Path) -> None:
    places = series(tmp_path / "in", DIRECTIONS[direction], slices)
    (sample,) = io.load(tmp_path / "in")
    write(sample, tmp_path / "out.nii.gz")
    image = nibabel.load(tmp_path / "out.nii.gz")
    voxels = np.asarray(image.dataobj)
    back = np.linalg.inv(image.affine)
    for (number, row, column), left_back_head in places.items():
        voxel = (back @ [-left_back_head[0], -left_back_head[1], left_back_head[2], 1])[:3]
        np.testing.assert_allclose(voxel, np.rint(voxel), atol=1e-3)
        original = pydicom.dcmread(tmp_path / "in" / f"{number}.dcm").pixel_array[row, column]
        assert voxels[tuple(np.rint(voxel).astype(int))] == original


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_a_degraded_nifti_overlays_its_original(axes: tuple[int, ...], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    block = np.zeros((48, 56, 40), np.float32)
    block[10:30, 12:40, 8:30] = 500
    block[14:20, 16:22, 10:14] = 900
    block += rng.normal(0, 2, block.shape).astype(np.float32) ** 2
    affine = np.array([[0.0, -1.2, 0.1, 40.0], [-0.9, 0.0, 0.0, 55.0], [0.0, 0.1, 3.0, -20.0], [0, 0, 0, 1]])
    turned = affine[:, [*axes, 3]]
    nibabel.save(nibabel.Nifti1Image(block.transpose(axes), turned), tmp_path / "in.nii.gz")
    out = tmp_path / "out.nii.gz"
    command = ["degrade", str(tmp_path / "in.nii.gz"), "--kind", "mr_noise", "--severity", "0", "--seed", "1"]
    assert cli.main([*command, "--modality", "mr", "-o", str(out)]) == 0
    image = nibabel.load(out)
    voxels = np.asarray(image.dataobj)
    back = np.linalg.inv(image.affine)
    for place in ((11, 13, 9), (15, 17, 11), (29, 39, 29), (47, 0, 3)):
        world = affine @ [*place, 1]
        assert voxels[tuple(np.rint((back @ world)[:3]).astype(int))] == pytest.approx(block[place], abs=0.01)


@pytest.mark.parametrize("wrong", [np.nan, 1e30, 0.0])
def test_an_impossible_place_is_no_place(wrong: float) -> None:
    affine = np.eye(4)[:3].copy()
    affine[0, 0] = wrong
    assert told_grid(affine) is None
