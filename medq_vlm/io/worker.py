"""The child process: reads untrusted files under limits and sends samples or errors to its parent.

Started by `guard`; not a command for people. Imports no torch: a cold start must stay well under a second.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from collections import Counter
from typing import IO, Any

from medq_vlm.io import wire
from medq_vlm.io.limits import Limits, out_of_memory, problem
from medq_vlm.schema import IngestError


def main() -> None:
    """Serve jobs from stdin until it closes. Exits 3 when the parent is gone."""
    take, put = sys.stdin.buffer, _claim_stdout()

    def get(size: int) -> bytearray:
        data = bytearray(take.read(size))
        if len(data) != size:
            raise wire.WireError("closed")
        return data

    try:
        limits = Limits(**wire.read(get)["limits"])
        confine(limits)
        while True:
            job = wire.read(get)
            data = bytes(get(job["size"])) if job["size"] is not None else None
            _serve(job, data, limits, put)
            put.flush()
    except (wire.WireError, BrokenPipeError):
        # the usual end: the parent has closed the pipe
        with contextlib.suppress(OSError):
            put.close()
        os._exit(3)


def confine(limits: Limits) -> None:
    """Memory, no new files, no core dumps. CPU time is set anew for each file by `renew_cpu`."""
    _lower(resource.RLIMIT_AS, limits.memory_bytes)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def renew_cpu(limits: Limits) -> None:
    """Allow `limits.cpu_s` more seconds of CPU from now on; the kernel ends the process after that."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    wanted = int(used.ru_utime + used.ru_stime + limits.cpu_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (wanted if hard < 0 else min(wanted, hard), hard))


def _lower(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    wanted = value if hard < 0 else min(value, hard)
    resource.setrlimit(what, (wanted, wanted))


def _claim_stdout() -> IO[bytes]:
    """The pipe to the parent; whatever a library prints goes nowhere."""
    put = os.fdopen(os.dup(1), "wb", buffering=1024 * 1024)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return put


def _serve(job: dict[str, Any], data: bytes | None, limits: Limits, put: IO[bytes]) -> None:
    """One path or one byte string: 'begin', 'sample' and 'error' messages, then 'done'."""
    from medq_vlm.io.archive import bytes_sources, sources_of
    from medq_vlm.io.ingest import ingest

    def begin(index: int) -> None:
        renew_cpu(limits)
        wire.write(put.write, {"kind": "begin", "index": index, "name": names.get(index, "")})
        put.flush()

    path, done = str(job["path"]), set(job["done"])
    names: dict[int, str] = {}
    counts: Counter[int] = Counter()
    try:
        begin(-1)
        sources = sources_of(path, limits, job["flat"]) if data is None else bytes_sources(path, data, limits)
        names.update({index: source.name for index, source in enumerate(sources)})
        for index, outcome in ingest(path, sources, limits, begin, frozenset(job["skip"])):
            if isinstance(outcome, IngestError):
                _fail(put, index, outcome)
            else:
                # A file may give several samples: its index and their count name each of them.
                key = f"{index}.{counts[index]}"
                counts[index] += 1
                if key not in done:
                    wire.send_sample(put.write, {"kind": "sample", "key": key}, outcome)
            del outcome
    except IngestError as error:
        _fail(put, -1, error)
    except MemoryError:
        _fail(put, -1, out_of_memory(path))
    except BrokenPipeError:
        raise
    except Exception:
        # A defect of ours must not show a traceback that quotes the file.
        _fail(put, -1, problem("corrupt", path, "it cannot be read", "export the file again"))
    wire.write(put.write, {"kind": "done"})


def _fail(put: IO[bytes], index: int, error: IngestError) -> None:
    wire.write(put.write, {"kind": "error", "index": index, "code": error.code, "text": str(error)})


if __name__ == "__main__":
    main()
