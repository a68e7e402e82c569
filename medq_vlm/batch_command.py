"""The command `medq batch`: a folder into one table; an interrupted run goes on."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medq_vlm.console import DONE, INTERRUPTED, UNREADABLE, say, usage, writing
from medq_vlm.reading import assess_one, is_there, load_model

if TYPE_CHECKING:
    from medq_vlm.batch import Unit
    from medq_vlm.pipeline import MedQ
    from medq_vlm.schema import Assessment, ImageSample

COMMANDS = ("batch",)


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
        self.ends = accumulate(map(weight, work))
        self.end = next(self.ends, 0)  # of the unit at hand
        self.read: set[str] = set()

    def begun(self, name: str) -> None:
        """A file is read."""
        self.read.add(name)
        self.bar.set_postfix_str(f"{len(self.read)} read", refresh=False)
        self.bar.update(0)

    def assessed(self, slices: int) -> None:
        """An image is done: about as many files as it has slices."""
        self.bar.update(min(slices, self.end - self.bar.n))

    def ended(self) -> None:
        """A unit is done."""
        self.bar.update(self.end - self.bar.n)
        self.end = next(self.ends, self.end)


def batch(args: Namespace) -> int:
    """Assess a folder into one table; with --resume what was read before, and is unchanged, is kept."""
    from tqdm import tqdm

    from medq_vlm import batch as table
    from medq_vlm import tables

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
    seen = table.survey(folder, (out, journal))
    found = seen.units
    earlier = table.earlier_of(*tables.kept(out), found)
    for reason, paths in sorted(seen.left_out.items()):
        say(f"{files(len(paths))} left out, such as '{table.as_text(paths[0])}': {reason}.")
    if not found:
        say(f"There is no image in '{folder}'.")
        return UNREADABLE
    done = {row["unit"] for row in earlier.rows}
    rows, over = list(earlier.rows), 0

    work = [unit for unit in found if unit.name not in done]
    try:
        with writing(out), tables.begin(out, earlier).open("a", encoding="utf-8") as file:
            with tqdm(total=sum(map(weight, work)), unit="file", disable=None) as bar:
                way = Way(bar, work)

                def assess_row(model: MedQ, sample: ImageSample) -> Assessment:
                    result = assess_one(model, sample, args).result
                    way.assessed(sample.slices)
                    return result

                ran = table.run(lambda: load_model(args.preset), assess_row, work, file, earlier.begun, way.begun)
                for made, passed in ran:
                    rows += made
                    over += passed
                    way.ended()
                    with tqdm.external_write_mode(file=sys.stderr):
                        for row in made:
                            if row["error"]:
                                say(row["error"])
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
    words += f", {failed} not read; {len(earlier.rows)} of them from before"
    words += f"; {over} DICOM object{'s' * (over > 1)} without an image passed over" if over else ""
    left = sum(map(len, seen.left_out.values()))
    words += f"; {files(left)} left out" if left else ""
    say(f"{out}: {len(rows)} rows, {words}.")
    return UNREADABLE if failed else DONE
