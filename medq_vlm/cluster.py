"""`medq batch --engine ray`: Ray Data spreads the units of a folder over the processors of a computer or a cluster.

A worker gets paths and runs batch.run, as the local engine does; its rows and its lines of the journal come back.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from functools import cached_property
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any

from medq_vlm import batch
from medq_vlm.batch import Done, Row, Unit
from medq_vlm.console import usage
from medq_vlm.io.limits import problem
from medq_vlm.reading import assess_one, load_model
from medq_vlm.schema import MedQError, ModelError

if TYPE_CHECKING:
    from medq_vlm.pipeline import MedQ
    from medq_vlm.schema import Assessment, ImageSample

TOLD = ("preset", "modality", "anatomy", "acquisition", "no_text")  # what a worker needs of the command line
WORKER_BYTES = 2 * 2**30  # of a worker with the language model, 1.2 GiB measured, and its reader of images
STORE_BYTES = 256 * 2**20  # for paths and rows; Ray would take a third of the memory
SHARES, LONGEST_SHARE = 20, 16  # of a worker, and units in one: for each share Ray takes some 10 ms
PATIENCE_S = 10.0  # for a cluster to answer
MOST_TRIES = 2  # of a unit whose worker dies: Ray itself would try for ever


class ClusterError(MedQError):
    """Ray or its cluster failed: nothing is wrong with any file."""

    exit_code = 1


class Tries:
    """How often each unit was begun and not ended, counted in a process that no image can end."""

    def __init__(self) -> None:
        self.open: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        self.open[number] += 1
        return self.open[number]

    def end(self, number: int) -> None:
        del self.open[number]


class Worker:
    """One process of the cluster: its model and its reader of images serve unit after unit."""

    def __init__(self, told: Namespace, folder: str, tries: Any) -> None:
        self.told = told
        self.tries = tries
        self.waiting: list[Unit] = []
        self.begun: dict[tuple[str, Any], Row] = {}
        self.journal = StringIO()
        self.ran: Iterator[Done] | None = None
        with suppress(OSError):  # absolute paths do without
            os.chdir(folder)
        os.environ |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}  # all workers at once would fill a GPU

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """One unit: its number, rows, lines of the journal, objects passed over; or `stop`, why no unit can be done."""
        import ray

        unit = Unit(Path(os.fsdecode(item["path"])), stamp=item["stamp"])
        self.begun.clear()
        self.begun |= {(unit.name, row["series"]): row for row in json.loads(item["begun"])}
        self.journal.seek(0)
        self.journal.truncate()
        stop, passed = "", 0
        try:
            if ray.get(self.tries.begin.remote(item["number"])) > MOST_TRIES:
                rows = self.failed(unit, "the process that assessed it died each time")
            else:
                done = self.assess(unit)
                rows, passed = done.rows, done.passed
        except ModelError as error:
            rows, stop = [], str(error)
        except Exception as error:  # only its kind is told: its text may carry header content
            self.ran = None  # it is at its end
            rows = self.failed(unit, f"an internal error happened ({type(error).__name__})")
        self.tries.end.remote(item["number"])  # its neighbours may yet bring the worker down, and it comes again
        lines = self.journal.getvalue()
        return {"number": item["number"], "rows": json.dumps(rows), "journal": lines, "passed": passed, "stop": stop}

    @cached_property
    def model(self) -> MedQ:
        return load_model(self.told.preset)

    def assess(self, unit: Unit) -> Done:
        """The next of one run without an end: starting its reader takes longer than reading most images."""
        if self.ran is None:
            work = iter(self.waiting.pop, None)  # asked for the next unit only when one waits
            self.ran = batch.run(lambda: self.model, self.assess_row, work, self.journal, self.begun)
        self.waiting[:] = [unit]
        return next(self.ran)

    def assess_row(self, model: MedQ, sample: ImageSample) -> Assessment:
        return assess_one(model, sample, self.told).result

    def failed(self, unit: Unit, what: str) -> list[Row]:
        """Rows of a unit that was not gone through to its end."""
        rows = [json.loads(line) for line in self.journal.getvalue().splitlines()]
        error = problem("crashed", unit.name, what, "try 'medq assess' on it alone")
        rows.append(batch.keep(batch.failed_row(unit.name, str(error)), unit, self.journal))
        batch.end(unit, self.journal)
        return rows


def needed() -> None:
    """Raises MedQError when Ray is not installed; imports nothing, for Ray reads its environment at once."""
    if any(find_spec(name) is None for name in ("ray", "pandas", "fsspec")):
        raise usage("The engine 'ray' needs Ray, which is not installed: pip install 'ray[data]>=2.60'.")


def run(
    args: Namespace, work: Sequence[Unit], journal: IO[str], begun: Mapping[tuple[str, Any], Row]
) -> Iterator[Done]:
    """batch.run on a cluster: each unit when it is done, in any order. Raises ModelError, ClusterError."""
    if not work:
        return
    known: dict[str, list[Row]] = {}
    for (name, _), row in begun.items():
        known.setdefault(name, []).append(row)
    items = [
        {"number": number, "path": os.fsencode(unit.path), "stamp": unit.stamp,
         "begun": json.dumps(known.get(unit.name, []))}
        for number, unit in enumerate(work)
    ]  # fmt: skip
    told = Namespace(**{name: getattr(args, name) for name in TOLD})
    with started() as ray:
        has = ray.cluster_resources()
        workers = max(1, int(min(has.get("CPU", 1), has.get("memory", 0) // WORKER_BYTES, len(work))))
        tries = ray.remote(num_cpus=0)(Tries).remote()
        share = min(1 + len(work) // (workers * SHARES), LONGEST_SHARE)
        answers = ray.data.from_items(items, override_num_blocks=-(-len(work) // share)).map(
            Worker, fn_constructor_args=(told, str(Path.cwd()), tries), num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=workers),
        )  # fmt: skip
        for answer in answers.iter_rows():
            if answer["stop"]:
                raise ModelError(answer["stop"])
            journal.write(answer["journal"])
            journal.flush()
            yield Done(work[answer["number"]], json.loads(answer["rows"]), answer["passed"])


def environment(address: str | None) -> dict[str, str]:
    """What Ray reads from its environment, once, on import; what a person set stays."""
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    if address:
        return quiet
    # its own cluster listens on every network, and runs what anyone sends who has the token
    return quiet | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def reach(address: str) -> None:
    """Raises OSError when nothing answers there: Ray itself would ask for a minute."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():  # not so in "auto", the cluster of this computer
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE_S).close()


@contextmanager
def started() -> Iterator[Any]:
    """Ray, connected to the cluster at RAY_ADDRESS or to one of this computer that ends with the run.

    Meanwhile nothing is logged or printed to stdout: Ray does both. Raises ClusterError.
    """
    address = os.environ.get("RAY_ADDRESS")
    for name, value in environment(address).items():
        os.environ.setdefault(name, value)
    import ray.data
    from ray.exceptions import RayError

    logging.disable()
    with (
        # below /tmp, for the path of a socket has at most 107 characters
        TemporaryDirectory(prefix="medq-ray-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        Path(os.devnull).open("w") as nowhere,
        redirect_stdout(nowhere),
    ):
        own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": STORE_BYTES, "_temp_dir": folder}
        try:
            with silenced(nowhere):
                if address:
                    reach(address)
                ray.init(address or "local", log_to_driver=False, **({} if address else own))
            ray.data.DataContext.get_current().enable_progress_bars = False
            yield ray
        except (RayError, RuntimeError, OSError, ValueError) as error:
            where = f"the cluster at RAY_ADDRESS={address}" if address else "the cluster on this computer"
            raise ClusterError(
                f"Ray failed on {where} ({type(error).__name__}); go on with --resume when that is mended."
            ) from error
        finally:
            ray.shutdown()
            logging.disable(logging.NOTSET)


@contextmanager
def silenced(nowhere: IO[str]) -> Iterator[None]:
    """Ray's own libraries write to the file behind stderr that they were told not to write there."""
    kept = os.dup(2)
    os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
