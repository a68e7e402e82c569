"""The table of `medq batch` on disk, as JSON lines, CSV or Parquet, and the journal of a run that is not finished."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

from medq_vlm import batch, vocab
from medq_vlm.batch import Earlier, Row
from medq_vlm.io.files import put
from medq_vlm.schema import MedQError

COLUMNS = (*batch.COLUMNS, *batch.READ_AS)
FORMATS = (".jsonl", ".csv", ".parquet")
NUMBERS = frozenset(
    ("series", "slices", "score", "score_low", "score_high", "percentile", "reject_probability", "uncertainty",
     *vocab.ATTRIBUTES)
)  # fmt: skip
WHOLE = ("series", "slices")
TEXTS = (
    "first_file",
    "findings",
    "reason",
    "warnings",
    "acquisition",
    "stamp",
)  # of these an empty cell is an empty text
FORMULA = tuple("=+-@\t\r")


def journal_of(out: Path) -> Path:
    """Where the rows of an unfinished run lie."""
    return out.with_name(f"{out.name}.part")


def kept(out: Path) -> tuple[list[Row], set[str]]:
    """Rows of an earlier run and the units that it finished. Raises MedQError.

    A journal holds all of the table that it goes on from: where there is one, the table is not asked.
    """
    journal = journal_of(out)
    if not journal.exists():
        rows = read(out) if out.exists() else []
        return rows, {row["unit"] for row in rows}
    text = journal.read_text(encoding="utf-8")
    try:
        lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]  # the last may be cut off
        finished = {str(line["finished"]) for line in lines if set(line) == {"finished"}}
    except (ValueError, TypeError):
        raise MedQError(f"{journal} is damaged; delete it and begin again.") from None
    return checked([line for line in lines if set(line) != {"finished"}], journal), finished


def begin(out: Path, earlier: Earlier) -> Path:
    """A journal that holds what is kept, and nothing else; a run appends to it. Raises OSError."""
    ends = [{"finished": name} for name in dict.fromkeys(row["unit"] for row in earlier.rows)]
    lines = [*earlier.rows, *earlier.begun.values(), *ends]
    return put(journal_of(out), "".join(map(_line, lines)).encode())


def _line(row: Row) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def checked(rows: list[Row], path: Path) -> list[Row]:
    """The rows, when they are of this version. Raises MedQError."""
    if any(set(row) != set(COLUMNS) for row in rows):
        raise MedQError(f"{path} is not a table of this version of medq batch; give another name for the output.")
    return rows


def read(path: Path) -> list[Row]:
    """Rows of a table that `write` wrote. Raises MedQError for one that it did not write."""
    try:
        if path.suffix.lower() == ".jsonl":
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        elif path.suffix.lower() == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                rows = [{key: _from_cell(key, value) for key, value in row.items()} for row in csv.DictReader(file)]
        else:
            from pyarrow import parquet

            rows = parquet.read_table(path).to_pylist()
    except (OSError, ValueError) as error:
        raise MedQError(f"{path} cannot be read as a table of an earlier run ({type(error).__name__}).") from None
    return checked(rows, path)


def _from_cell(name: str, text: str) -> Any:
    """A CSV cell as what it was: nothing, a truth value, a number or text."""
    if text == "":
        return "" if name in TEXTS else None
    if name == "assessable":
        return text == "True"
    if name in NUMBERS:
        return int(text) if name in WHOLE else float(text)
    return text[1:] if text.startswith("'") and _formula(text[1:]) else text


def _to_cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula is marked as text, and so is text that looks marked already."""
    return f"'{value}" if isinstance(value, str) and _formula(value) else value


def _formula(text: str) -> bool:
    return text.lstrip("'").startswith(FORMULA)


def write(rows: Iterable[Row], out: Path) -> None:
    """Rows to `out`, whole or not at all. Raises OSError."""
    rows, text = list(rows), StringIO(newline="")
    if out.suffix.lower() == ".parquet":
        import pyarrow
        from pyarrow import parquet

        kinds = {"assessable": pyarrow.bool_(), **dict.fromkeys(WHOLE, pyarrow.int64())}
        kinds |= dict.fromkeys(NUMBERS - {*WHOLE}, pyarrow.float64())  # an empty column would have no type otherwise
        schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in COLUMNS])
        packed = BytesIO()
        parquet.write_table(pyarrow.Table.from_pylist(rows, schema), packed)
        put(out, packed.getvalue())
        return
    if out.suffix.lower() == ".csv":
        table = csv.DictWriter(text, COLUMNS)
        table.writeheader()
        table.writerows({name: _to_cell(row[name]) for name in COLUMNS} for row in rows)
    else:
        text.writelines(map(_line, rows))
    put(out, text.getvalue().encode())
