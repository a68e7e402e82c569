"""The command `medq batch`: a folder into one table; an interrupted run goes on."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from medq_vlm.console import DONE, INTERRUPTED, UNREADABLE, say, usage, writing
from medq_vlm.reading import assess_one, is_there, load_model

if TYPE_CHECKING:
    from medq_vlm.batch import Done, Row, Unit
    from medq_vlm.pipeline import MedQ
    from medq_vlm.schema import Assessment, ImageSample

COMMANDS = ("batch",)
SAID = ("modality", "anatomy", "acquisition")  # options that change a row


def weight(unit: Unit) -> int:
    """Its files; 1 for a folder that may not be read."""
    return max(1, len(unit.files))


def files(count: int) -> str:
    """E.g. "1 file", "3 files"."""
    return f"{count} file{'s' * (count != 1)}"


class Way:
    """The bar of a run, in files: a folder of thousands moves it with each series, and counts what is read."""

    def __init__(self, bar: Any, work: Sequence[Unit]) -> None:
        self.bar = bar
        self.weights = [weight(unit) for unit in work]
        self.units, self.files = 0, 0  # that are done
        self.read: set[str] = set()

    def begun(self, name: str) -> None:
        """A file is read."""
        self.read.add(name)
        self.bar.set_postfix_str(f"{len(self.read)} read", refresh=False)
        self.bar.update(0)

    def assessed(self, slices: int) -> None:
        """An image of the unit at hand is done: about as many files as it has slices."""
        self.bar.update(min(slices, self.files + self.weights[self.units] - self.bar.n))

    def ended(self, unit: Unit) -> None:
        """A unit is done."""
        self.units += 1
        self.files += weight(unit)
        self.bar.update(self.files - self.bar.n)


def conditions(args: Namespace) -> str:
    """What a row depends on beside its files: the weights, and what is said of the images. Raises ModelError."""
    from medq_vlm import checkpoint

    weights = checkpoint.file_sha256(checkpoint.preset_folder(args.preset) / checkpoint.META_FILE)
    said = [f"{name} {value}" for name in SAID if (value := getattr(args, name))]
    return "; ".join([f"weights {weights[:16]}", *said])


def engine(
    args: Namespace, work: Sequence[Unit], journal: IO[str], begun: Mapping[tuple[str, Any], Row], way: Way
) -> Generator[Done]:
    """The units of `work` as they are done: in this process one by one, or in any order by a cluster."""
    from medq_vlm import batch as table

    args.no_text = True  # a table has no column for a description, which takes longer than the score
    if args.engine == "ray":
        from medq_vlm import cluster

        yield from cluster.run(args, work, journal, begun)
        return

    def assess_row(model: MedQ, sample: ImageSample) -> Assessment:
        result = assess_one(model, sample, args).result
        way.assessed(sample.slices)
        return result

    yield from table.run(lambda: load_model(args.preset), assess_row, work, journal, begun, way.begun)


def assess_all(
    args: Namespace, work: Sequence[Unit], journal: IO[str], begun: Mapping[tuple[str, Any], Row]
) -> list[Done]:
    """All of `work`, in the order in which it was done; a bar shows how far it is, what cannot be read is named."""
    from tqdm import tqdm

    ended: list[Done] = []
    with tqdm(total=sum(map(weight, work)), unit="file", disable=None) as bar:
        way = Way(bar, work)
        with closing(engine(args, work, journal, begun, way)) as units:
            for done in units:
                ended.append(done)
                way.ended(done.unit)
                with tqdm.external_write_mode(file=sys.stderr):
                    for row in done.rows:
                        if row["error"]:
                            say(row["error"])
    return ended


def batch(args: Namespace) -> int:
    """Assess a folder into one table; with --resume what was read before, and is unchanged, is kept."""
    from medq_vlm import batch as table
    from medq_vlm import tables
    from medq_vlm.schema import plain_path

    folder, out = Path(args.folder), Path(args.out)
    if not is_there(args.folder):
        raise usage(f"There is no folder '{folder}'; check the path.")
    if not folder.is_dir():
        raise usage(f"'{folder}' is not a folder; 'medq assess' takes single files.")
    if out.suffix.lower() not in tables.FORMATS:
        raise usage(f"A table is written to {', '.join(tables.FORMATS)}, and '{out}' ends with none of them.")
    journal = tables.journal_of(out)
    if (out.exists() or journal.exists()) and not args.resume:
        there = f"'{out}' is there already" if out.exists() else f"'{journal}' is there, of a run that did not finish"
        raise usage(f"{there}; add --resume to go on with it, or give another name.")
    if args.engine == "ray":
        from medq_vlm import cluster

        cluster.needed()
    seen = table.survey(folder, (out, journal))
    under = conditions(args)
    found = [replace(unit, stamp=unit.stamp and f"{unit.stamp}; {under}") for unit in seen.units]
    rows, finished = tables.kept(out)
    gone = {row["unit"] for row in rows} - {unit.name for unit in found}
    if rows and len(gone) == len({row["unit"] for row in rows}):
        raise usage(f"'{out}' is of another folder: nothing that it names is in '{folder}'; give another name.")
    earlier = table.earlier_of([row for row in rows if row["unit"] not in gone], finished, found)
    for reason, paths in sorted(seen.left_out.items()):
        say(f"{files(len(paths))} left out, such as '{plain_path(paths[0])}': {reason}.")
    if gone:
        say(f"{files(len(gone))} of the earlier run gone, and so are the rows.")
    otherwise = sum(not row["error"] and not row["stamp"].endswith(f"; {under}") for row in rows)
    if otherwise:
        say(f"{otherwise} row{'s' * (otherwise != 1)} made with other weights or options: made again.")
    if not found:
        say(f"There is no image in '{folder}'.")
        return UNREADABLE
    places = {unit.name: place for place, unit in enumerate(found)}
    before = {row["unit"] for row in earlier.rows}
    work = [unit for unit in found if unit.name not in before]
    try:
        with writing(out), tables.begin(out, earlier).open("a", encoding="utf-8") as file:
            ended = assess_all(args, work, file, earlier.begun)
            rows = [*earlier.rows, *(row for done in ended for row in done.rows)]
            rows.sort(key=lambda row: places.get(row["unit"], -1))
            tables.write(table.rank(rows) if args.rank_uncertain else rows, out)
    except KeyboardInterrupt:
        say("Interrupted; go on with --resume.")
        return INTERRUPTED
    journal.unlink(missing_ok=True)
    failed = sum(row["error"] is not None for row in rows)
    counts = {word: sum(row["verdict"] == word for row in rows) for word in ("good", "usable", "reject")}
    words = ", ".join(f"{count} {word}" for word, count in counts.items())
    unassessed = len(rows) - failed - sum(counts.values())
    words += f", {unassessed} not assessable" if unassessed else ""
    words += f", {failed} not read"
    words += f"; {len(earlier.rows)} of them from before" if earlier.rows else ""
    over = sum(done.passed for done in ended)
    words += f"; {over} DICOM object{'s' * (over > 1)} without an image passed over" if over else ""
    left = sum(map(len, seen.left_out.values()))
    words += f"; {files(left)} left out" if left else ""
    say(f"{out}: {len(rows)} row{'s' * (len(rows) != 1)}, {words}.")
    return UNREADABLE if failed else DONE
