"""Uploads to samples: read into memory, delete the file at once, parse in a child process that may die of it."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medq_vlm.io.guard import Child
from medq_vlm.io.limits import DEFAULT, MIB, Limits
from medq_vlm.io.outcome import collect, refused
from medq_vlm.io.sniff import HEAD_BYTES, kind_of
from medq_vlm.report.content import clean
from medq_vlm.schema import ImageSample, IngestError, MedQError

TOGETHER = "upload.zip"  # several files travel to the child as one archive in memory
ZIP_MAGIC = b"PK\x03\x04"
CHILDREN = 2  # readers at the same time


@dataclass(frozen=True)
class UploadLimits:
    """Ceilings of one upload; checked here, whatever a browser was told."""

    files: int = 4000
    file_bytes: int = 768 * MIB
    bytes: int = 1024 * MIB  # all files of one upload together


@dataclass(frozen=True)
class Named:
    """An uploaded file in memory."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Unread:
    """An uploaded file that became no sample."""

    name: str  # a person gave it
    problem: str  # one sentence, which names the file


@dataclass(frozen=True)
class Taken:
    """What became of an upload: samples whose `path` is the name a person gave, and what failed."""

    samples: list[ImageSample]
    unread: list[Unread]


def take(paths: Sequence[str | Path], limits: UploadLimits = UploadLimits()) -> list[Named]:
    """The uploaded files in memory; afterwards none of them is on disk. Raises MedQError above a limit."""
    files = [Path(path) for path in paths]
    try:
        if len(files) > limits.files:
            raise MedQError(f"These are {len(files):,} files; at most {limits.files:,} at once, or a zip.")
        sizes = [path.stat().st_size for path in files]
        if max(sizes, default=0) > limits.file_bytes:
            raise MedQError(f"A file is larger than the limit of {limits.file_bytes // MIB} MB; give a part of it.")
        if sum(sizes) > limits.bytes:
            raise MedQError(f"The files are larger than {limits.bytes // MIB} MB together; give a part of them.")
        return [Named(clean(path.name), path.read_bytes()) for path in files]
    except OSError:
        raise MedQError("The upload was interrupted; please drop the files again.") from None
    finally:
        discard(files)


def once(files: Iterable[Named]) -> tuple[list[Named], list[str]]:
    """Files without second copies of the same name and content, and the names of what was copied."""
    count = Counter(files)
    return list(count), [file.name for file, times in count.items() if times > 1]


def discard(files: Iterable[Path]) -> None:
    """Delete uploaded files and the folder that the upload made for each."""
    for path in files:
        with contextlib.suppress(OSError):
            path.unlink()
        with contextlib.suppress(OSError):
            path.parent.rmdir()  # only when it is empty


def sweep(folder: Path, older_than_s: float, now: float | None = None, keep: Container[str] = ()) -> int:
    """Delete what an interrupted upload left in the cache, but not the paths of `keep`; gives the number of files."""
    now = time.time() if now is None else now
    count = 0
    for path in sorted(folder.rglob("*"), reverse=True):
        with contextlib.suppress(OSError):
            if path.is_file() and str(path) not in keep and now - path.stat().st_mtime >= older_than_s:
                path.unlink()
                count += 1
            elif path.is_dir() and now - path.stat().st_mtime >= older_than_s:
                path.rmdir()
    return count


def empty(folder: Path) -> None:
    """Delete the upload cache."""
    shutil.rmtree(folder, ignore_errors=True)


class Reader:
    """Child processes that stay warm between uploads: a cold one takes longer than reading an image."""

    def __init__(self, limits: Limits = DEFAULT, children: int = CHILDREN) -> None:
        self._free = [Child(limits) for _ in range(children)]
        self._turn = threading.Semaphore(children)
        self._lock = threading.Lock()

    def read(self, files: Sequence[Named]) -> Taken:
        """Samples of all files: DICOM files of one series become one stack, a zip is read by itself."""
        zips = [one for one in files if one.data.startswith(ZIP_MAGIC)]
        rest = [one for one in files if not one.data.startswith(ZIP_MAGIC)]
        groups = [*([rest] if rest else []), *([one] for one in zips)]
        samples: list[ImageSample] = []
        unread: list[Unread] = []
        for group in groups:
            good, bad = self._run(group)
            strange = _passed_over(group)
            left = [*bad, *(IngestError("not_an_image", one.problem) for one in strange)]
            try:
                samples += [replace(one, path=given_name(one.path, group)) for one in collect(_name(group), good, left)]
            except IngestError:
                if not bad and not strange:
                    unread.append(Unread(group[0].name, f"{group[0].name}: it holds no image."))
            unread += [_unread(given_name(str(error), group)) for error in bad]
            unread += strange
        return Taken(samples, unread)

    def warm(self) -> None:
        """Start the children now."""
        for _ in range(CHILDREN):
            self.read([Named("warm", b"")])

    def close(self) -> None:
        """End the children."""
        with self._lock:
            for child in self._free:
                child.stop()

    def _run(self, group: Sequence[Named]) -> tuple[list[ImageSample], list[IngestError]]:
        with self._turn:
            with self._lock:
                child = self._free.pop(0)
            try:
                data = group[0].data if len(group) == 1 else together(group)
                return child.run(_name(group), data)
            finally:
                with self._lock:
                    self._free.append(child)


def together(files: Sequence[Named]) -> bytes:
    """Files as an archive in memory, without compression. Members are numbers, so that their order is the files'."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for number, file in enumerate(files, start=1):
            archive.writestr(f"{number:06d}", file.data)
    return out.getvalue()


def _passed_over(group: Sequence[Named]) -> list[Unread]:
    """Those of several files that are of no image kind: an archive is silent about them."""
    strange = [one for one in group if kind_of(one.data[:HEAD_BYTES]) is None] if len(group) > 1 else []
    return [Unread(clean(one.name), clean(refused(one.name, one.data[:HEAD_BYTES]))) for one in strange]


def _unread(sentence: str) -> Unread:
    """The reader's sentences begin with the name of the file."""
    return Unread(sentence.partition(": ")[0], sentence)


MEMBER = re.compile(re.escape(TOGETHER) + r" \(file (\d+)\)")  # how io names a member of the archive


def given_name(text: str, group: Sequence[Named]) -> str:
    """A path or sentence of the reader with the names people gave in place of the archive's."""
    if len(group) == 1:
        return clean(text)
    named = MEMBER.sub(lambda match: group[int(match.group(1)) - 1].name, text)
    return clean(named.replace(TOGETHER, f"{len(group)} files"))


def _name(group: Sequence[Named]) -> str:
    return group[0].name if len(group) == 1 else TOGETHER
