"""Many files to one worklist: rows for the table, rows for CSV and JSONL. A file that failed has its row, too."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from app.exports import File
from app.intake import Unread
from app.store import LONGEST_NAME, Study
from medq_vlm import vocab
from medq_vlm.batch import COLUMNS, Row, failed_row, row_of
from medq_vlm.report.content import capital, image_name, short_path
from medq_vlm.schema import MedQError

HEADERS = ("No", "File", "Image", "Slices", "Score", "Verdict", "Worst finding", "Severity", "Reject %", "Review",
           "Status")  # fmt: skip
TYPES = ("number", "str", "str", "number", "str", "str", "str", "str", "number", "str", "str")
WIDTHS = ("44px", "17%", "11%", "70px", "66px", "9%", "12%", "84px", "92px", "84px", "18%")
FILTERS = ("all", *vocab.VERDICTS, "not assessable", "waiting", "failed", "not reviewed")
WAITING = ("waiting", "assessing", "stopped")  # states of a study without a result
FORMULA = tuple("=+-@\t\r")
Listed = Study | Unread


def table(listed: Sequence[Listed], wanted: str = "all") -> list[list[object]]:
    """One row for each that passes the filter `wanted`; its number finds it again after sorting."""
    return [_row(number, one) for number, one in enumerate(listed, start=1) if passes(one, wanted)]


def passes(one: Listed, wanted: str) -> bool:
    """Whether a row is shown under one of FILTERS."""
    if wanted == "all":
        return True
    if isinstance(one, Unread):
        return wanted == "failed"
    if wanted == "not reviewed":
        return one.result is not None and not one.review
    if one.result is None:
        return wanted == ("waiting" if one.state in WAITING else one.state)
    return wanted == (one.result.verdict or "not assessable")


def _row(number: int, one: Listed) -> list[object]:
    if isinstance(one, Unread):
        name = short_path(one.name, LONGEST_NAME)
        return [number, name, "", None, None, "", "", "", None, "", _without_name(one)]
    result = one.result
    if result is None:
        modality = one.sample.modality
        name = vocab.MODALITY_NAMES[modality] if modality else "Image"
        status = f"{one.state}: {one.problem}" if one.problem else one.state
        return [number, one.label, capital(name), one.sample.slices, None, "", "", "", None, "", status]
    worst = result.findings[0] if result.findings else None
    return [
        number,
        one.label,
        image_name(result).split(",")[0],
        one.sample.slices,
        None if result.score is None else vocab.score_text(result.score),  # "2.0": as text, which sorts as well
        result.verdict or "not assessable",
        vocab.KIND[worst.kind].plain if worst else "",
        worst.severity if worst else "",
        None if result.reject_probability is None else round(100 * result.reject_probability),
        one.review.verdict or ("reviewed" if one.review else ""),
        "done" if result.assessable else f"done: {result.reason}",
    ]


def _without_name(one: Unread) -> str:
    """The sentence; the file's name has a column of its own."""
    return f"failed: {one.problem.removeprefix(one.name).lstrip(': ')}"


def download(listed: Sequence[Listed], form: str) -> File:
    """What is finished or failed as "csv" or "jsonl". Raises MedQError for another form or when nothing is."""
    rows = [row for one in listed if (row := _record(one)) is not None]
    if not rows:
        raise MedQError("Nothing in the worklist is finished yet.")
    if form == "jsonl":
        text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        return File("medq-worklist.jsonl", "application/jsonl", text.encode())
    if form == "csv":
        out = io.StringIO()
        writer = csv.DictWriter(out, COLUMNS)
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
        return File("medq-worklist.csv", "text/csv; charset=utf-8", out.getvalue().encode())
    raise MedQError("A worklist is downloaded as csv or jsonl.")


def _record(one: Listed) -> Row | None:
    """The columns of `medq batch`; None for what waits."""
    if isinstance(one, Unread):
        return failed_row(one.name, one.problem)
    if one.result is None:
        return failed_row(one.name, one.problem) if one.state == "failed" else None
    return row_of(one.name, 1, one.result)


def _cell(value: object) -> object:
    """Text that a spreadsheet would run as a formula is marked as text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
