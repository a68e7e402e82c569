"""Where bytes come from: a file, a folder, a zip archive or memory. Nothing is ever unpacked to disk."""

from __future__ import annotations

import io
import os
import stat
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from medq_vlm.io.limits import MIB, Limits, problem
from medq_vlm.io.sniff import HEAD_BYTES, kind_of
from medq_vlm.schema import IngestError

ARCHIVE_FULL = "archive_too_large"  # code of the error after which nothing more of an archive is read


@dataclass(frozen=True)
class Source:
    """One file, wherever it lies."""

    name: str  # for sentences
    path: str  # for ImageSample.path
    open: Callable[[], IO[bytes]]
    sibling: Callable[[str], Source | None]  # the file of the same stem with that suffix: NIfTI's .hdr and .img

    def head(self) -> bytes:
        """The first HEAD_BYTES bytes, or all of a shorter file. Raises IngestError."""
        return self._guarded(lambda handle: handle.read(HEAD_BYTES))

    def read(self, limits: Limits) -> bytes:
        """All bytes, at most `limits.max_file_bytes`. Raises IngestError."""
        return self._guarded(lambda handle: read_capped(handle, limits.max_file_bytes, self.name))

    def _guarded(self, work: Callable[[IO[bytes]], bytes]) -> bytes:
        try:
            with self.open() as handle:
                return work(handle)
        except PermissionError as error:
            raise problem("unreadable", self.name, "it may not be read", "check its permissions") from error
        except FileNotFoundError as error:
            raise problem("not_found", self.name, "there is no such file", "check the path") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise problem(
                "corrupt",
                self.name,
                "the archive is damaged or uses an unknown method",
                "pack it again as a plain zip",
            ) from error
        except OSError as error:
            raise problem("unreadable", self.name, "the file cannot be read", "copy it and try again") from error


def read_capped(handle: IO[bytes], ceiling_bytes: int, name: str) -> bytes:
    """All of `handle`, counted as it comes: a declared size is never believed. Raises IngestError
    'too_large'."""
    parts, total = [], 0
    while chunk := handle.read(4 * MIB):
        parts.append(chunk)
        total += len(chunk)
        if total > ceiling_bytes:
            raise problem(
                "too_large",
                name,
                f"it is larger than the limit of {ceiling_bytes // MIB} MB",
                "give a part of it",
            )
    return b"".join(parts)


def sources_of(path: str, limits: Limits, flat: bool = False) -> list[Source]:
    """The files behind `path`: one for a file, all below a folder (links not followed) or of a zip, by name.

    flat: of a folder only the DICOM files that lie directly in it. Raises IngestError 'not_found', 'empty', 'too_many',
    'unreadable', 'unsafe_archive' or 'corrupt'.
    """
    try:
        return _sources_of(path, limits, flat)
    except OSError as error:  # of the looking about: what is opened has its own sentences
        raise problem("unreadable", path, "it may not be read", "check its permissions") from error


def _sources_of(path: str, limits: Limits, flat: bool) -> list[Source]:
    there = Path(path)
    if there.is_dir():
        found = _folder_sources(there, path, limits, flat)
        return list(filter(_is_dicom, found)) if flat else found
    if not there.exists():
        raise problem("not_found", path, "there is no such file or folder", "check the path")
    if not there.is_file():
        raise problem("unreadable", path, "it is neither a file nor a folder", "give an image file")
    only = _file_source(there, path)
    if kind_of(only.head()) == "zip":
        return zip_sources(lambda: there.open("rb"), path, limits)
    return [only]


def _is_dicom(source: Source) -> bool:
    try:
        return kind_of(source.head()) == "dicom"
    except IngestError:
        return False


def bytes_sources(name: str, data: bytes, limits: Limits) -> list[Source]:
    """The files in `data`: a file or a zip that the caller calls `name`. Raises as `sources_of`."""
    if kind_of(data[:HEAD_BYTES]) == "zip":
        return zip_sources(lambda: io.BytesIO(data), name, limits)
    return [Source(name, name, lambda: io.BytesIO(data), lambda suffix: None)]


def _file_source(file: Path, shown_as: str) -> Source:
    def sibling(suffix: str) -> Source | None:
        for other in (file.with_suffix(suffix), file.with_suffix(suffix.upper())):
            if other.is_file():
                return _file_source(other, str(other))
        return None

    return Source(shown_as, shown_as, lambda: file.open("rb"), sibling)


def _folder_sources(folder: Path, shown_as: str, limits: Limits, flat: bool) -> list[Source]:
    files: list[Path] = []
    closed: list[OSError] = []  # folders below that may not be read
    for root, folders, names in os.walk(folder, onerror=closed.append):
        folders[:] = [] if flat else sorted(folders)
        files += [Path(root, name) for name in sorted(names) if not name.startswith(".")]
        if len(files) > limits.max_files:
            raise problem(
                "too_many", shown_as, f"the folder holds more than {limits.max_files} files", "give its parts"
            )
    # A link may point at anything; the .img of a NIfTI pair is read with its .hdr.
    files = [file for file in files if file.is_file() and not file.is_symlink() and not _is_second_of_pair(file)]
    if closed and str(closed[0].filename) == str(folder):
        raise closed[0]
    if not files and not closed:
        raise problem("empty", shown_as, "the folder holds no files", "give a folder of images")
    return [_file_source(file, str(file)) for file in files] + [_closed_source(error) for error in closed]


def _closed_source(error: OSError) -> Source:
    """A folder that may not be read, as a file that says so when it is opened."""

    def refuse() -> IO[bytes]:
        raise error

    return Source(str(error.filename), str(error.filename), refuse, lambda suffix: None)


def _is_second_of_pair(file: Path) -> bool:
    return file.suffix.lower() == ".img" and file.with_suffix(".hdr").is_file()


def zip_sources(open_archive: Callable[[], IO[bytes]], shown_as: str, limits: Limits) -> list[Source]:
    """The members of a zip, held in memory while they are read. Member names stay out of every message: they
    often hold the patient's name.

    Raises IngestError: 'unsafe_archive' for absolute names, '..' and links, 'encrypted', 'too_many',
    'corrupt', 'empty', ARCHIVE_FULL when the members inflate to more than the limit (counted while inflating).
    """
    handle = open_archive()
    try:
        archive = zipfile.ZipFile(handle)
        members = [info for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, UnicodeError) as error:
        raise problem("corrupt", shown_as, "the zip archive is damaged", "pack it again") from error
    if len(members) > limits.max_files:
        raise problem("too_many", shown_as, f"it holds more than {limits.max_files} files", "give its parts")
    for info in members:
        _refuse_unsafe(info, shown_as)
    members = [info for info in members if not Path(info.filename).name.startswith(".")]
    if not members:
        raise problem("empty", shown_as, "the zip archive holds no files", "pack the images into it")
    members.sort(key=lambda info: info.filename)
    budget = _Budget(limits.max_archive_bytes, shown_as)
    table: dict[str, Source] = {}
    for number, info in enumerate(members, 1):
        table[info.filename] = _member_source(archive, info, f"{shown_as} (file {number})", table, budget)
    seconds = {name for name in table if name.lower().endswith(".img") and name[:-4] + ".hdr" in table}
    return [source for name, source in table.items() if name not in seconds]


class _Budget:
    """Inflated bytes of an archive, counted once for each member."""

    def __init__(self, ceiling_bytes: int, name: str) -> None:
        self.left = ceiling_bytes
        self.name = name
        self.most: dict[int, int] = {}

    def spend(self, member: int, inflated_bytes: int) -> None:
        """`inflated_bytes`: read so far of the member whose header lies at `member`."""
        extra = inflated_bytes - self.most.get(member, 0)
        if extra <= 0:
            return
        self.most[member] = inflated_bytes
        self.left -= extra
        if self.left < 0:
            raise problem(ARCHIVE_FULL, self.name, "the archive inflates beyond the limit", "give its parts")


class _Counted(io.RawIOBase):
    """A member that reports what it really inflates to."""

    def __init__(self, inner: IO[bytes], spend: Callable[[int], None]) -> None:
        self.inner, self.spend, self.total = inner, spend, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        chunk = self.inner.read(4 * MIB if size < 0 else size)
        self.total += len(chunk)
        self.spend(self.total)
        return chunk

    def close(self) -> None:
        self.inner.close()
        super().close()


def _member_source(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, table: dict[str, Source], budget: _Budget
) -> Source:
    def opened() -> IO[bytes]:
        counted = _Counted(archive.open(info), lambda total: budget.spend(info.header_offset, total))
        return cast(IO[bytes], counted)

    def sibling(suffix: str) -> Source | None:
        return table.get(str(Path(info.filename).with_suffix(suffix)))

    return Source(name, name, opened, sibling)


def _refuse_unsafe(info: zipfile.ZipInfo, shown_as: str) -> None:
    name = info.filename.replace("\\", "/")
    if name.startswith("/") or ".." in name.split("/") or name[1:2] == ":":
        raise problem("unsafe_archive", shown_as, "a name in it points outside the archive", "pack it again")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise problem("unsafe_archive", shown_as, "it holds a symbolic link", "pack the files themselves")
    if info.flag_bits & 0x1:
        raise problem("encrypted", shown_as, "the archive is encrypted", "unpack it and give the folder")
