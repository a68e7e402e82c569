"""A real server of the app in a process of its own, with its own temporary folder and log."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
START_S = 180.0


@dataclass(frozen=True)
class Server:
    """Where the app runs and what it leaves behind."""

    address: str
    folder: Path  # its temporary folder: the upload cache lies here
    log: Path
    pid: int


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Server]:
    """Start `python -m app`, wait until it is healthy, end it afterwards."""
    port = free_port()
    cache, log = folder / "tmp", folder / "log.txt"
    cache.mkdir()
    environment = {**os.environ, "TMPDIR": str(cache), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("MEDQ_AUTH", None)
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "--port", str(port), *arguments],
            cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/health", process, log)
        yield Server(address, cache, log, process.pid)
    finally:
        process.send_signal(2)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.3)
    raise AssertionError(f"the app did not start: {log.read_text()}")
