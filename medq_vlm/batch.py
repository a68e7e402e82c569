"""A folder of images to one table: every file and series, one bad file never stops it, resumable."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medq_vlm import io, vocab
from medq_vlm.io.sniff import HEAD_BYTES, kind_of
from medq_vlm.schema import Assessment, ImageSample, IngestError, MedQError

if TYPE_CHECKING:
    from medq_vlm.pipeline import MedQ

FORMATS = (".jsonl", ".csv", ".parquet")
COLUMNS = (
    "path", "series", "modality", "anatomy", "slices", "score", "score_low", "score_high", "percentile", "verdict",
    "reject_probability", "uncertainty", "worst_kind", "worst_severity", "findings", *vocab.ATTRIBUTES, "assessable",
    "reason", "acquisition", "sha256", "model", "model_sha256", "created", "error",
)  # fmt: skip
NUMBERS = frozenset(
    ("series", "slices", "score", "score_low", "score_high", "percentile", "reject_probability", "uncertainty",
     *vocab.ATTRIBUTES)
)  # fmt: skip
FORMULA = tuple("=+-@\t")
Row = dict[str, Any]
Assess = Callable[["MedQ", ImageSample], Assessment]


def units(folder: Path) -> list[Path]:
    """What is read as one: a folder that holds DICOM files alone (a series or several), or else each image file.

    Links are not followed; files of no image kind are passed over. Sorted, so that a resumed run meets one order.
    """
    out: list[Path] = []
    inner = sorted(p for p in folder.iterdir() if not p.is_symlink())
    folders = [p for p in inner if p.is_dir()]
    kinds = {p: _kind(p) for p in inner if p.is_file()}
    images = [p for p, kind in kinds.items() if kind is not None]
    if images and not folders and all(kinds[p] == "dicom" for p in images):
        return [folder]
    for sub in folders:
        out += units(sub)
    return sorted(out + images)


def _kind(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return kind_of(file.read(HEAD_BYTES))
    except OSError:
        return "unreadable"  # it is tried, and named when it fails


def run(load: Callable[[], MedQ], assess: Assess, work: Iterable[Path], journal: Path) -> Iterator[Row]:
    """Assess what `work` holds; each row is appended to `journal` before it is given out.

    `load` is called once, before the first image. A unit that cannot be read gives a row with `error` set.
    """
    model = None
    with journal.open("a", encoding="utf-8") as file:
        for path, outcome in io.load_many(work):
            if isinstance(outcome, IngestError):
                rows = [failed_row(path, str(outcome))]
            else:
                model = model or load()
                rows = [_assessed(model, assess, path, sample, number) for number, sample in enumerate(outcome, 1)]
            for row in rows:
                file.write(json.dumps(row, allow_nan=False) + "\n")
                file.flush()
                yield row


def _assessed(model: MedQ, assess: Assess, path: str, sample: ImageSample, number: int) -> Row:
    try:
        return row_of(path, number, assess(model, sample))
    except MedQError as error:
        return failed_row(path, str(error)) | {"series": number}


def failed_row(path: str, problem: str) -> Row:
    """The row of what could not be read or assessed."""
    return dict.fromkeys(COLUMNS, None) | {"path": path, "error": problem}


def row_of(path: str, series: int, result: Assessment) -> Row:
    """One assessment as one flat row; the columns are COLUMNS."""
    plain = result.to_dict()
    low, high = plain["score_interval"] or (None, None)
    worst = plain["findings"][0] if plain["findings"] else {}
    return {
        "path": path,
        "series": series,
        "modality": plain["modality"]["value"],
        "anatomy": plain["anatomy"]["value"],
        "slices": plain["source"]["slices"],
        "score": plain["score"],
        "score_low": low,
        "score_high": high,
        "percentile": plain["percentile"],
        "verdict": plain["verdict"],
        "reject_probability": plain["reject_probability"],
        "uncertainty": uncertainty(result.score_distribution) if result.assessable else None,
        "worst_kind": worst.get("kind"),
        "worst_severity": worst.get("severity"),
        "findings": "; ".join(f"{f['kind']} {f['severity']}" for f in plain["findings"]),
        **{name: plain["attributes"].get(name) for name in vocab.ATTRIBUTES},
        "assessable": plain["assessable"],
        "reason": plain["reason"],
        "acquisition": plain["acquisition"],
        "sha256": plain["source"]["sha256"],
        "model": f"{plain['model']['name']} {plain['model']['version']}",
        "model_sha256": plain["model"]["sha256"],
        "created": plain["created"],
        "error": None,
    }


def uncertainty(distribution: tuple[float, ...]) -> float:
    """How doubtful the verdict is: the probability of the other two verdicts, 0 to 2/3 (least confidence sampling)."""
    mass = dict.fromkeys(vocab.VERDICTS, 0.0)
    for position, share in enumerate(distribution):
        mass[vocab.verdict_word(4.0 * position / (len(distribution) - 1))] += share
    return round(1.0 - max(mass.values()), 4)


def rank(rows: Iterable[Row]) -> list[Row]:
    """The most doubtful first, what was not assessed last: the order in which a person's label teaches most."""
    return sorted(rows, key=lambda row: -1.0 if row["uncertainty"] is None else row["uncertainty"], reverse=True)


def journal_of(out: Path) -> Path:
    """Where the rows of an unfinished run lie."""
    return out.with_name(f"{out.name}.part")


def kept_rows(out: Path) -> list[Row]:
    """Rows of an earlier run: of its journal when it was cut off, and of the finished table.

    A last line that was cut off is dropped from the journal, so that it is done again.
    """
    journal = journal_of(out)
    rows = read(out) if out.exists() else []
    if journal.exists():
        text = journal.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        journal.write_text(whole, encoding="utf-8")
        rows += [json.loads(line) for line in whole.splitlines()]
    return rows


def read(path: Path) -> list[Row]:
    """Rows of a table that `write` wrote. Raises MedQError for one that it did not write."""
    try:
        if path.suffix == ".jsonl":
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        elif path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                rows = [{key: _from_cell(key, value) for key, value in row.items()} for row in csv.DictReader(file)]
        else:
            from pyarrow import parquet

            rows = parquet.read_table(path).to_pylist()
    except (OSError, ValueError) as error:
        raise MedQError(f"{path} cannot be read as a table of an earlier run ({type(error).__name__}).") from None
    if any(set(row) != set(COLUMNS) for row in rows):
        raise MedQError(f"{path} is not a table of this version of medq batch; give another name for the output.")
    return rows


def _from_cell(name: str, text: str) -> Any:
    """A CSV cell as what it was: nothing, a truth value, a number or text."""
    if text == "":
        return "" if name in ("findings", "reason", "acquisition") else None
    if name == "assessable":
        return text == "True"
    if name in NUMBERS:
        return int(text) if name in ("series", "slices") else float(text)
    return text[1:] if text.startswith("'") and text[1:2] in FORMULA else text


def _to_cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula is marked as text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in FORMULA else value


def write(rows: list[Row], out: Path) -> None:
    """Rows to `out`, whole or not at all. Raises OSError."""
    partial = out.with_name(f"{out.name}.new")
    if out.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({name: [row[name] for row in rows] for name in COLUMNS}), partial)
    else:
        with partial.open("w", newline="", encoding="utf-8") as file:
            if out.suffix == ".csv":
                table = csv.DictWriter(file, COLUMNS)
                table.writeheader()
                table.writerows({name: _to_cell(row[name]) for name in COLUMNS} for row in rows)
            else:
                file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    partial.replace(out)
