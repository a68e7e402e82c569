"""The parent's side: files are parsed in a child process that may die of any of them.

POSIX only: the limits are resource limits. One child serves many files; when it dies, the file it had begun
is named, and a new child goes on with the rest.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from medq_vlm.io import wire
from medq_vlm.io.limits import DEFAULT, Limits, problem
from medq_vlm.io.outcome import PASSED_OVER, collect
from medq_vlm.schema import ImageSample, IngestError, MedQError

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0  # wall clock for the child's imports, on a busy machine
Item = tuple[str, list[ImageSample] | IngestError]
Outcome = ImageSample | IngestError


class ReaderError(MedQError):
    """The child process does not come up: nothing is wrong with any file."""

    exit_code = 1


def load(path: str | os.PathLike[str], limits: Limits = DEFAULT) -> list[ImageSample]:
    """Samples of a DICOM file, a series folder, a zip, NIfTI, PNG, JPEG, TIFF, BMP, WebP or .npy, safely.

    A folder or zip gives one sample per series (and orientation and size within it) and one per other image.
    Files in it that cannot be read are counted in the samples' warnings; `load_many` names them.
    Raises IngestError with one sentence when nothing can be read.
    """
    return _whole(outcome for _, outcome in load_many([path], limits))


def load_bytes(name: str, data: bytes, limits: Limits = DEFAULT) -> list[ImageSample]:
    """`load` for a file or zip held in memory; `name` is used in sentences and as ImageSample.path."""
    with Child(limits) as child:
        return _whole(_outcomes(name, *child.run(name, data)))


def load_many(
    paths: Iterable[str | os.PathLike[str]],
    limits: Limits = DEFAULT,
    progress: Callable[[str], None] = lambda name: None,
) -> Iterator[Item]:
    """(path, samples) or (path, IngestError) for each of `paths`, in order, one child for all of them.

    A folder or zip of which a part can be read gives its samples first, then one (path, IngestError) for each
    file of it that could not; the sentence names the file. What is PASSED_OVER comes only when there is nothing else.
    progress(name) is called for each file begun.
    """
    with Child(limits, progress) as child:
        for path in paths:
            name = os.fspath(path)
            for outcome in _outcomes(name, *child.run(name, None)):
                yield name, outcome


def load_each(
    paths: Iterable[str | os.PathLike[str]],
    limits: Limits = DEFAULT,
    progress: Callable[[str], None] = lambda name: None,
    flat: bool = False,
) -> Iterator[Iterator[Outcome]]:
    """What becomes of each of `paths`, read while it is asked for: a folder of many series never lies in memory whole.

    Samples first, then an IngestError for each file that is none, PASSED_OVER ones last; an iterator must be read to
    its end before the next. A sample's warnings count the failures known when it came. flat: a folder stands for the
    DICOM files directly in it. progress(name) is called for each file begun, maybe twice.
    """
    with Child(limits, progress) as child:
        for path in paths:
            yield _each(child, os.fspath(path), flat)


def _each(child: Child, name: str, flat: bool) -> Iterator[Outcome]:
    bad: list[IngestError] = []
    found = False
    for outcome in child.stream(name, None, flat):
        if isinstance(outcome, IngestError):
            bad.append(outcome)
        else:
            found = True
            yield from collect(name, [outcome], bad)
    if not found and not bad:
        yield from _outcomes(name, [], [])  # type: ignore[misc]  # an IngestError: there are no samples
    yield from sorted(bad, key=lambda one: one.code in PASSED_OVER)


def _outcomes(name: str, good: list[ImageSample], bad: list[IngestError]) -> Iterator[list[ImageSample] | IngestError]:
    first: IngestError | None = None
    try:
        yield collect(name, good, bad)
    except IngestError as error:
        yield (first := error)
    yield from (one for one in bad if one is not first and one.code not in PASSED_OVER)


def _whole(outcomes: Iterator[list[ImageSample] | IngestError]) -> list[ImageSample]:
    first = next(outcomes)
    if isinstance(first, IngestError):
        raise first
    return first


@dataclass
class _Job:
    """What is known of one input while it is read, over several children if need be."""

    samples: list[str] = field(default_factory=list)  # keys of those that came
    errors: set[tuple[int, str]] = field(default_factory=set)  # source and code of those that came
    skip: list[int] = field(default_factory=list)
    at: int = -1  # source the child has begun
    at_name: str = ""
    begun: bool = False  # by the child that serves now
    crashes: int = 0


class Child:
    """A worker process, started when first needed and again after each death."""

    def __init__(self, limits: Limits, progress: Callable[[str], None] = lambda name: None) -> None:
        self.limits = limits
        self.progress = progress
        self.process: subprocess.Popen[bytes] | None = None
        self.deadline = 0.0
        self.out_of_time = False

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def run(self, name: str, data: bytes | None, flat: bool = False) -> tuple[list[ImageSample], list[IngestError]]:
        """`stream` read to its end: samples and errors."""
        good: list[ImageSample] = []
        bad: list[IngestError] = []
        for outcome in self.stream(name, data, flat):
            if isinstance(outcome, IngestError):
                bad.append(outcome)
            else:
                good.append(outcome)
        return good, bad

    def stream(self, name: str, data: bytes | None, flat: bool = False) -> Iterator[Outcome]:
        """Samples and errors of one path (data None) or byte string as they come, never an exception for what it holds.

        flat: a folder stands for the DICOM files directly in it. Raises ReaderError when no child comes up.
        """
        job = _Job()
        while True:
            fresh = self.process is None
            try:
                yield from self._serve(job, name, data, flat)
                break
            except GeneratorExit:  # what was asked for and not taken would be the next one's answer
                self.stop()
                raise
            except (wire.WireError, OSError):
                if not job.begun:
                    self.stop()
                    if not fresh:  # it died between two inputs
                        continue
                    raise ReaderError(
                        "The reader of images, a process of its own, could not be started; check that there is memory "
                        "left and that the installation is whole."
                    ) from None
                error = self._autopsy(job, name)
                if (job.at, error.code) not in job.errors:
                    job.errors.add((job.at, error.code))
                    yield error
                job.crashes += 1
                if job.at < 0 or job.crashes >= self.limits.max_crashes:
                    break
                job.skip.append(job.at)

    def stop(self) -> int | None:
        """End the child and give its return code; None when there was none."""
        process, self.process = self.process, None
        if process is None:
            return None
        if process.poll() is None:
            process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # unsent bytes of a dead child
                    pipe.close()
        return process.wait()

    def _start(self) -> None:
        # The child sees the parent's import path and no current directory: a planted module must not be
        # imported.
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([*(entry for entry in sys.path if entry), str(PACKAGE_ROOT)]),
            "OPENBLAS_NUM_THREADS": "1",  # a pool per core would eat the address space
            "OMP_NUM_THREADS": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "medq_vlm.io.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            bufsize=0,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        os.set_blocking(self.process.stdin.fileno(), False)
        self._allow(START_S)
        wire.write(self._put, {"limits": asdict(self.limits)})

    def _serve(self, job: _Job, name: str, data: bytes | None, flat: bool) -> Iterator[Outcome]:
        job.at, job.at_name, job.begun = -1, name, False
        if self.process is None:
            self._start()
        self._allow(START_S)
        size = None if data is None else len(data)
        request = {"path": name, "size": size, "skip": job.skip, "done": job.samples, "flat": flat}
        wire.write(self._put, request)
        if data is not None:
            self._put(data)
        while True:
            message = wire.read(self._get)
            kind = message.get("kind")
            if kind == "begin":
                job.at, job.at_name, job.begun = int(message["index"]), str(message["name"]) or name, True
                self._allow(self.limits.wall_s)
                if job.at >= 0:
                    self.progress(job.at_name)
            elif kind == "sample":
                yield wire.receive_sample(message, self._get, self.limits)  # no name here would keep it in memory
                job.samples.append(str(message["key"]))
                self._allow(self.limits.wall_s)  # whoever looked at it may have taken long
            elif kind == "error":
                error, key = wire.receive_error(message), int(message["index"])
                if (key, error.code) not in job.errors:
                    job.errors.add((key, error.code))
                    yield error
                    self._allow(self.limits.wall_s)
            elif kind == "done":
                return
            else:
                raise wire.WireError("kind")

    def _autopsy(self, job: _Job, name: str) -> IngestError:
        """Why the child died, as a sentence about the file it had begun."""
        late = self.out_of_time
        code = self.stop()
        culprit = job.at_name or name
        if late:
            return problem(
                "timeout",
                culprit,
                f"reading it took longer than {self.limits.wall_s:g} seconds",
                "give a part of it",
            )
        if code == -signal.SIGXCPU:
            return problem(
                "timeout",
                culprit,
                f"reading it took more than {self.limits.cpu_s:g} seconds of CPU",
                "give a part of it",
            )
        return problem("crashed", culprit, "its reader crashed on it", "do not trust this file; export it again")

    def _allow(self, seconds: float) -> None:
        self.deadline, self.out_of_time = time.monotonic() + seconds, False

    def _wait(self, fd: int, writing: bool) -> None:
        left = self.deadline - time.monotonic()
        poll = select.poll()  # select() fails on descriptors above 1023
        poll.register(fd, select.POLLOUT if writing else select.POLLIN)
        if left <= 0 or not poll.poll(left * 1000):
            self.out_of_time = True
            raise wire.WireError("deadline")

    def _put(self, data: Any) -> None:
        assert self.process is not None and self.process.stdin is not None
        fd, view = self.process.stdin.fileno(), memoryview(data)
        while view:
            self._wait(fd, writing=True)
            view = view[os.write(fd, view[: 1 << 20]) :]

    def _get(self, size: int) -> bytearray:
        assert self.process is not None and self.process.stdout is not None
        fd, data = self.process.stdout.fileno(), bytearray(size)
        view = memoryview(data)
        while view:
            self._wait(fd, writing=False)
            count = os.readv(fd, [view])
            if count == 0:
                raise wire.WireError("closed")
            view = view[count:]
        return data
