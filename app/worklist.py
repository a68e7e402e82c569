"""Many files to one worklist: rows for the table, rows for CSV and JSONL."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from app.exports import File
from app.store import Study
from medq_vlm import vocab
from medq_vlm.batch import COLUMNS, row_of
from medq_vlm.report.content import capital, image_name
from medq_vlm.schema import MedQError

HEADERS = ("No", "File", "Image", "Slices", "Score", "Verdict", "Worst finding", "Severity", "Reject %", "Review",
           "Status")  # fmt: skip
TYPES = ("number", "str", "str", "number", "number", "str", "str", "str", "number", "str", "str")
FORMULA = tuple("=+-@\t\r")


def table(studies: Sequence[Study]) -> list[list[object]]:
    """One row per study, in the order given; the number finds the study again after sorting."""
    return [_row(number, study) for number, study in enumerate(studies, start=1)]


def _row(number: int, study: Study) -> list[object]:
    result = study.result
    if result is None:
        modality = study.sample.modality
        name = vocab.MODALITY_NAMES[modality] if modality else "Image"
        return [number, study.name, capital(name), study.sample.slices, None, "", "", "", None, "", study.state]
    worst = result.findings[0] if result.findings else None
    return [
        number,
        study.name,
        image_name(result).split(",")[0],
        study.sample.slices,
        None if result.score is None else round(result.score, 2),
        result.verdict or "not assessable",
        vocab.KIND[worst.kind].plain if worst else "",
        worst.severity if worst else "",
        None if result.reject_probability is None else round(100 * result.reject_probability),
        study.review.verdict or ("reviewed" if study.review else ""),
        "done",
    ]


def download(studies: Sequence[Study], form: str) -> File:
    """The finished rows as "csv" or "jsonl". Raises MedQError for another form or when nothing is finished."""
    rows = [row_of(one.name, 1, one.result) for one in studies if one.result is not None]
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


def _cell(value: object) -> object:
    """Text that a spreadsheet would run as a formula is marked as text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
