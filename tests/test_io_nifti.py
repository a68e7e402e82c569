"""NIfTI: scaled values, radiological order, the first volume only, no more bytes than the header needs."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medq_vlm.io import Limits, read
from medq_vlm.schema import ImageSample, IngestError

RAS = np.diag([1.0, 1.0, 4.0, 1.0])


def saved(tmp_path: Path, data: np.ndarray, affine: np.ndarray = RAS, name: str = "a.nii.gz") -> Path:
    nib.save(nib.Nifti1Image(data, affine), tmp_path / name)  # type: ignore[attr-defined]
    return tmp_path / name


def only(path: Path) -> ImageSample:
    (sample,) = read(path)
    return sample


def test_axial_slices_are_shown_front_up_and_right_on_the_left(tmp_path: Path) -> None:
    data = np.zeros((20, 30, 10), np.int16)
    data[19, 29, 9] = 7  # the most right, front, upper voxel of a RAS volume
    sample = only(saved(tmp_path, data))
    assert sample.pixels.shape == (10, 30, 20)
    assert sample.pixels[9, 0, 0] == 7
    assert (sample.view, sample.spacing_mm) == ("axial", (4.0, 1.0, 1.0))


def test_every_storage_order_shows_the_same_picture(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 99, (12, 14, 10)).astype(np.int16)
    plain = only(saved(tmp_path, data)).pixels
    image = nib.Nifti1Image(data, RAS)  # type: ignore[attr-defined]
    for axes, flips in (((1, 0, 2), (1, -1, 1)), ((2, 1, 0), (-1, 1, 1)), ((0, 2, 1), (-1, -1, -1))):
        turn = nib.orientations.ornt_transform(
            np.array([[0, 1], [1, 1], [2, 1]]), np.array([[a, f] for a, f in zip(axes, flips, strict=True)])
        )
        path = tmp_path / "turned.nii"
        nib.save(image.as_reoriented(turn), path)  # type: ignore[attr-defined]
        np.testing.assert_array_equal(only(path).pixels, plain)


@pytest.mark.parametrize(
    ("thick", "view", "shape"),
    [(0, "sagittal", (10, 30, 20)), (1, "coronal", (20, 30, 10)), (2, "axial", (30, 20, 10))],
)
def test_slices_lie_across_the_thick_axis(tmp_path: Path, thick: int, view: str, shape: tuple[int, int, int]) -> None:
    sizes = np.ones(4)
    sizes[thick] = 5.0
    sample = only(saved(tmp_path, np.ones((10, 20, 30), np.uint8), np.diag(sizes)))
    assert (sample.view, sample.pixels.shape, sample.spacing_mm[0]) == (view, shape, 5.0)


def test_slope_and_intercept_are_applied_without_losing_levels(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(4096, dtype=np.int16).reshape(64, 64, 1), RAS)  # type: ignore[attr-defined]
    image.header.set_slope_inter(0.5, -1024)
    nib.save(image, tmp_path / "a.nii")  # type: ignore[attr-defined]
    raw = (tmp_path / "a.nii").read_bytes()
    stored = np.frombuffer(raw, "<i2", 4096, 352)
    sample = only(tmp_path / "a.nii")
    np.testing.assert_allclose(np.sort(sample.pixels.ravel()), np.sort(stored * 0.5 - 1024))
    assert len(np.unique(sample.pixels)) == len(np.unique(stored))


def test_first_of_four_dimensions_with_a_warning(tmp_path: Path) -> None:
    data = np.stack([np.full((16, 16, 10), t, np.int16) for t in range(3)], -1)
    sample = only(saved(tmp_path, data))
    assert sample.pixels.shape == (10, 16, 16)
    assert not sample.pixels.any()
    assert sample.warnings == ("The file holds 3 volumes; the first is read.",)


def test_two_dimensions(tmp_path: Path) -> None:
    assert only(saved(tmp_path, np.ones((16, 12), np.float32))).pixels.shape == (1, 12, 16)


def test_rgb_voxels(tmp_path: Path) -> None:
    data = np.zeros((16, 12, 9), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    data["R"] = 200
    sample = only(saved(tmp_path, data))
    assert sample.pixels.shape == (9, 12, 16, 3)
    np.testing.assert_array_equal(sample.pixels[0, 0, 0], [200, 0, 0])


def test_not_a_number_is_marked_invalid(tmp_path: Path) -> None:
    data = np.ones((16, 16, 10), np.float32)
    data[0, 0, 0] = np.nan
    sample = only(saved(tmp_path, data))
    assert np.isfinite(sample.pixels).all()
    assert sample.valid is not None
    assert (~sample.valid).sum() == 1


def test_a_pair_is_read_from_either_name(tmp_path: Path) -> None:
    data = np.arange(16 * 16 * 10, dtype=np.int16).reshape(16, 16, 10)
    nib.save(nib.Nifti1Pair(data, RAS), tmp_path / "a.hdr")  # type: ignore[attr-defined]
    whole = only(saved(tmp_path, data, name="b.nii")).pixels
    np.testing.assert_array_equal(only(tmp_path / "a.hdr").pixels, whole)
    np.testing.assert_array_equal(only(tmp_path / "a.img").pixels, whole)
    assert len(read(tmp_path)) == 2  # the folder: the pair once, and b


def test_big_endian(tmp_path: Path) -> None:
    data = np.arange(16 * 16 * 10, dtype=np.int16).reshape(16, 16, 10)
    image = nib.Nifti1Image(data, RAS, nib.Nifti1Header(endianness=">"))  # type: ignore[attr-defined]
    nib.save(image, tmp_path / "big.nii")  # type: ignore[attr-defined]
    np.testing.assert_array_equal(only(tmp_path / "big.nii").pixels, only(saved(tmp_path, data)).pixels)


def with_header(tmp_path: Path, **values: object) -> Path:
    image = nib.Nifti1Image(np.ones((16, 16, 10), np.int16), RAS)  # type: ignore[attr-defined]
    raw = bytearray(image.to_bytes())
    header = nib.Nifti1Header(bytes(raw[:348]), check=False)
    for name, value in values.items():
        header[name] = value
    raw[:348] = header.binaryblock
    path = tmp_path / "odd.nii.gz"
    path.write_bytes(gzip.compress(bytes(raw)))
    return path


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"dim": [3, 16, 16, -10, 1, 1, 1, 1]}, "corrupt"),
        ({"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}, "too_large"),
        ({"dim": [3, 16, 16, 11, 1, 1, 1, 1]}, "corrupt"),
        ({"dim": [0, 16, 16, 10, 1, 1, 1, 1]}, "corrupt"),
        ({"dim": [5, 16, 16, 10, 1, 3, 1, 1]}, "unsupported"),
        ({"datatype": 32}, "unsupported"),
        ({"vox_offset": -1e9}, "corrupt"),
        ({"vox_offset": np.nan}, "corrupt"),
    ],
)
def test_impossible_headers_are_refused(tmp_path: Path, values: dict[str, object], code: str) -> None:
    with pytest.raises(IngestError) as caught:
        read(with_header(tmp_path, **values))
    assert caught.value.code == code


def test_odd_voxel_sizes_are_survived(tmp_path: Path) -> None:
    path = with_header(
        tmp_path, pixdim=[1, np.nan, np.inf, 0, 1, 1, 1, 1], qform_code=0, sform_code=0, scl_slope=np.nan
    )
    sample = only(path)
    assert sample.spacing_mm == (None, None, None)
    assert sample.view is None


def test_only_the_promised_bytes_are_inflated(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.ones((16, 16, 10), np.int16), RAS)  # type: ignore[attr-defined]
    path = tmp_path / "tail.nii.gz"
    path.write_bytes(gzip.compress(image.to_bytes() + bytes(1 << 24), 1))
    assert only(path).pixels.shape == (10, 16, 16)


def test_a_volume_over_the_limit_is_refused_by_its_header(tmp_path: Path) -> None:
    path = saved(tmp_path, np.zeros((64, 64, 64), np.int16))
    with pytest.raises(IngestError) as caught:
        read(path, Limits(max_pixels=64**3 - 1))
    assert caught.value.code == "too_large"
