"""The command `medq batch`: a folder into one table, an interrupted run goes on."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medq_vlm.console import DONE, UNREADABLE, say, usage, writing
from medq_vlm.reading import assess_one, load_model

if TYPE_CHECKING:
    from medq_vlm.pipeline import MedQ
    from medq_vlm.schema import Assessment, ImageSample

COMMANDS = ("batch",)


def batch(args: Namespace) -> int:
    """Assess a folder into one table; an interrupted run goes on with --resume."""
    from tqdm import tqdm

    from medq_vlm import batch as table

    folder, out = Path(args.folder), Path(args.out)
    if not folder.is_dir():
        raise usage(f"'{folder}' is not a folder; 'medq assess' takes single files.")
    if out.suffix.lower() not in table.FORMATS:
        raise usage(f"A table is written to {', '.join(table.FORMATS)}, and '{out}' ends with none of them.")
    journal = table.journal_of(out)
    if (out.exists() or journal.exists()) and not args.resume:
        raise usage(f"'{out}' is there already, from an earlier or unfinished run; add --resume or give another name.")
    kept = table.kept_rows(out)
    done = {row["path"] for row in kept}
    work = [path for path in table.units(folder) if str(path) not in done]
    rows: list[dict[str, Any]] = []

    def assess_row(model: MedQ, sample: ImageSample) -> Assessment:
        return assess_one(model, sample, args).result

    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tqdm(total=len(work), unit="item", disable=None) as bar:
            seen = ""
            for row in table.run(lambda: load_model(args.preset), assess_row, work, journal):
                rows.append(row)
                bar.update(row["path"] != seen)
                seen = row["path"]
                if row["error"]:
                    say(row["error"])
        everything = [*kept, *rows]
        table.write(table.rank(everything) if args.rank_uncertain else everything, out)
        journal.unlink(missing_ok=True)
    failed = sum(row["error"] is not None for row in everything)
    counts = {word: sum(row["verdict"] == word for row in everything) for word in ("good", "usable", "reject")}
    words = ", ".join(f"{count} {word}" for word, count in counts.items())
    say(f"{out}: {len(everything)} rows, {words}, {failed} not read; {len(kept)} of them from before.")
    return UNREADABLE if any(row["error"] for row in rows) else DONE
