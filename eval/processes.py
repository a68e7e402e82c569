"""Run a command as a user would and measure what it cost: exit code, both outputs, seconds, peak memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

MEDQ = (sys.executable, "-m", "medq_vlm.cli")  # the console script `medq` of this interpreter
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB elsewhere


@dataclass(frozen=True)
class Measured:
    """One finished process."""

    code: int  # exit code; negative: the signal that ended it
    stdout: str
    stderr: str
    seconds: float  # wall clock
    peak_mib: float  # resident memory of the largest process among it and its children
    timed_out: bool


def measure(command: Sequence[str], timeout_s: float = 120.0) -> Measured:
    """Run `command` and wait; at `timeout_s` it and its children are killed. POSIX only.

    Trap: the kernel counts the caller's own memory before exec, so a caller that has imported torch would
    measure itself. Callers of this function stay small.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, start_new_session=True)
        timed_out = threading.Event()
        timer = threading.Timer(timeout_s, _kill, (process.pid, timed_out))
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)  # wait4: the usage of this child, not of all so far
        seconds = time.perf_counter() - start
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        return Measured(
            code=process.returncode,
            stdout=_text(out),
            stderr=_text(err),
            seconds=seconds,
            peak_mib=usage.ru_maxrss * _RSS_UNIT / 2**20,
            timed_out=timed_out.is_set(),
        )


def _kill(group: int, timed_out: threading.Event) -> None:
    timed_out.set()
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
