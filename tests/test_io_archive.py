"""Folders, zips and bytes: type by content, nothing unpacked to disk, no trick of an archive believed."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest

from medq_vlm.io import Limits, load_bytes, load_each, read
from medq_vlm.io.archive import bytes_sources
from medq_vlm.io.limits import DEFAULT, shown
from medq_vlm.io.sniff import kind_of
from medq_vlm.schema import IngestError
from tests.dicom_files import AXIAL, dicom, ramp


def zipped(members: dict[str, bytes], **options: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **options) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def series() -> dict[str, bytes]:
    return {
        f"DOE^JOHN/{number}": dicom(
            np.full((16, 16), 7 * number, np.uint16),
            SeriesInstanceUID="1.2.3",
            ImageOrientationPatient=AXIAL,
            ImagePositionPatient=[0, 0, 3 * number],
        )
        for number in (2, 0, 1)
    }


def refused(tmp_path: Path, data: bytes, limits: Limits = DEFAULT) -> IngestError:
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(IngestError) as caught:
        read(tmp_path / "a.zip", limits)
    assert str(tmp_path / "a.zip") in str(caught.value)
    return caught.value


def test_a_zip_reads_like_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(zipped(series(), compression=zipfile.ZIP_DEFLATED))
    (sample,) = read(tmp_path / "a.bin")
    np.testing.assert_array_equal(sample.pixels[:, 0, 0], [0, 7, 14])
    assert sample.path == str(tmp_path / "a.bin")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin"]


def test_member_names_stay_inside(tmp_path: Path) -> None:
    members = {"DOE^JOHN.png": b"\x89PNG\r\n\x1a\nrubbish", **series()}
    (tmp_path / "a.zip").write_bytes(zipped(members))
    (sample,) = read(tmp_path / "a.zip")
    assert "DOE" not in repr(sample)
    assert "DOE" not in str(refused(tmp_path, zipped({"DOE^JOHN.png": b"\x89PNG\r\n\x1a\nrubbish"})))


def test_a_folder_gives_one_sample_per_image_and_passes_over_the_rest(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "image.txt").write_bytes(dicom(ramp()))
    (tmp_path / "notes.txt").write_text("not an image")
    np.save(tmp_path / "array.npy", ramp())
    samples = read(tmp_path)
    assert [Path(sample.path).name for sample in samples] == ["array.npy", "image.txt"]
    assert not any(sample.warnings for sample in samples)


@pytest.mark.parametrize("content", [b"", b"<html>no image</html>"])
def test_a_file_whose_name_claims_an_image_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "1.dcm").write_bytes(dicom(ramp()))
    (tmp_path / "2.dcm").write_bytes(content)
    first, other = next(load_each([tmp_path]))
    assert isinstance(other, IngestError) and "2.dcm" in str(other)
    assert "1 other file" in first.warnings[-1]


def test_links_in_a_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(dicom(ramp()))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(IngestError) as caught:
        read(tmp_path / "folder")
    assert caught.value.code == "empty"


@pytest.mark.parametrize("name", ["../evil.dcm", "/etc/evil", "a/../../evil", "C:/evil", "a\\..\\..\\evil"])
def test_names_that_leave_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    assert refused(tmp_path, zipped({name: dicom(ramp())})).code == "unsafe_archive"


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert refused(tmp_path, out.getvalue()).code == "unsafe_archive"


def test_inflated_bytes_are_counted_not_believed(tmp_path: Path) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(4 << 20)
    honest = zipped({"a.png": picture}, compression=zipfile.ZIP_DEFLATED)
    assert refused(tmp_path, honest, Limits(max_archive_bytes=1 << 20)).code == "archive_too_large"
    forged = bytearray(honest)
    for magic, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # the declared sizes
        at = forged.index(magic) + offset
        forged[at : at + 4] = (100).to_bytes(4, "little")
    assert refused(tmp_path, bytes(forged)).code == "corrupt"


def test_many_members_share_one_budget(tmp_path: Path) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(400_000)
    data = zipped({f"{n}.png": picture for n in range(5)}, compression=zipfile.ZIP_DEFLATED)
    (tmp_path / "a.zip").write_bytes(data)
    sources = bytes_sources("a.zip", data, Limits(max_archive_bytes=1_000_000))
    assert sum(len(source.read(DEFAULT)) for source in sources[:2]) == 2 * len(picture)
    with pytest.raises(IngestError) as caught:
        sources[2].read(DEFAULT)
    assert caught.value.code == "archive_too_large"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (zipped({}), "not_an_image"),
        (zipped({"a": b"x"})[:-10], "corrupt"),
        (zipped({"inner.zip": zipped({"a": b"x"})}), "not_an_image"),
        (zipped({"a.txt": b"text"}), "not_an_image"),
        (b"", "empty"),
    ],
    ids=("no member", "cut short", "zip in a zip", "text", "no byte"),  # the bytes hold the time: no name for a test
)
def test_archives_without_images(tmp_path: Path, data: bytes, code: str) -> None:
    assert refused(tmp_path, data).code == code


def test_too_many_members(tmp_path: Path) -> None:
    data = zipped({str(n): b"" for n in range(11)})
    assert refused(tmp_path, data, Limits(max_files=10)).code == "too_many"


def test_bytes_in_memory_read_like_a_file(tmp_path: Path) -> None:
    (sample,) = load_bytes("upload.dcm", dicom(ramp()))
    np.testing.assert_array_equal(sample.pixels[0], ramp())
    assert sample.path == "upload.dcm"


def test_the_type_is_in_the_content() -> None:
    polyglot = bytearray(dicom(ramp()))
    polyglot[:4] = b"II*\0"  # a TIFF header in the preamble
    assert kind_of(bytes(polyglot)) == "dicom"
    assert kind_of(b"MZ" + bytes(4000)) is None
    assert kind_of(b"") is None


def test_names_are_shown_on_one_line() -> None:
    assert shown("a\nb\x1b[31m") == "a\\nb\\x1b[31m"
    assert len(shown("x" * 5000)) < 250


def test_a_folder_that_may_not_be_read_is_named_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = os.scandir

    def closed(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path)

    (tmp_path / "closed").mkdir()
    (tmp_path / "a").write_bytes(dicom(ramp()))
    monkeypatch.setattr(os, "scandir", closed)
    (sample,) = read(tmp_path)
    assert "1 other file" in sample.warnings[-1]
    with pytest.raises(IngestError) as caught:
        read(tmp_path / "closed")
    assert str(caught.value) == f"{tmp_path / 'closed'}: it may not be read; check its permissions."
