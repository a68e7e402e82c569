"""A person's review of an assessment: present, absent or unsure for each finding, an own verdict, a comment."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from medq_vlm import vocab
from medq_vlm.report.content import capital, clean
from medq_vlm.schema import Assessment, ImageSample, MedQError

ANSWERS = ("present", "absent", "unsure")
LONGEST_COMMENT = 2000
# The columns of a training manifest (eval/manifest.py, training/data.py read them).
COLUMNS = (
    "path", "modality", "anatomy", "height", "width", "bits", "human_quality_label", "notes", "licence_class", "group",
    "reference_quality",
)  # fmt: skip
LABEL_SCHEMA = "medq_review/1"
REVIEWED = "reader_study"  # value of reference_quality: a person's judgement, never "pristine"
FORMULA = tuple("=+-@\t\r")


@dataclass(frozen=True)
class Review:
    """What a person says of one image."""

    findings: dict[str, str] = field(default_factory=dict)  # kind: one of ANSWERS; kinds the model missed too
    verdict: str = ""  # vocab.VERDICTS, "" when not given
    comment: str = ""
    saved: str = ""  # ISO 8601, UTC; "" before anything was saved

    def __bool__(self) -> bool:
        return bool(self.findings or self.verdict or self.comment)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def parse(given: object) -> Review:
    """A review as it came from a browser. Raises MedQError when it is not one."""
    if not isinstance(given, dict):
        raise MedQError("A review is an object with findings, verdict and comment.")
    findings, verdict, comment = given.get("findings", {}), given.get("verdict", ""), given.get("comment", "")
    if not isinstance(findings, dict) or len(findings) > len(vocab.KIND_NAMES):
        raise MedQError("The findings of a review are an object of kind and answer.")
    for kind, answer in findings.items():
        if kind not in vocab.KIND or answer not in ANSWERS:
            raise MedQError(f"A finding is reviewed as one of: {', '.join(ANSWERS)}.")
    if verdict not in ("", *vocab.VERDICTS):
        raise MedQError(f"The verdict of a review is one of: {', '.join(vocab.VERDICTS)}.")
    if not isinstance(comment, str) or len(comment) > LONGEST_COMMENT:
        raise MedQError(f"The comment of a review is text of at most {LONGEST_COMMENT} characters.")
    return Review(dict(findings), str(verdict), comment.strip(), datetime.now(UTC).isoformat(timespec="seconds"))


def rows(review: Review) -> list[tuple[str, str]]:
    """(name, value) rows of a report's review section; none without a review."""
    if not review:
        return []
    out = [("Reader's verdict", review.verdict or "none given")]
    out += [(capital(vocab.KIND[kind].plain), answer) for kind, answer in review.findings.items()]
    if review.comment:
        out.append(("Comment", clean(review.comment)))
    return [*out, ("Saved", review.saved)]


def labels_csv(reviewed: Iterable[tuple[ImageSample, Assessment, Review]]) -> str:
    """Reviews as rows of a training manifest; images without a review are left out.

    `path` is the name the image was given with: put the file beside the CSV. `group` is the image's hash, since
    nothing that names a subject is kept.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS)
    table.writeheader()
    for sample, result, review in reviewed:
        if not review:
            continue
        label = {
            "schema": LABEL_SCHEMA,
            "verdict": review.verdict or None,
            "findings": review.findings,
            "saved": review.saved,
            "model_score": result.score,
            "model": result.model.get("sha256", ""),
        }
        row = {
            "path": clean(sample.path),
            "modality": result.modality.value or "",
            "anatomy": result.anatomy.value or "",
            "height": sample.pixels.shape[1],
            "width": sample.pixels.shape[2],
            "bits": sample.bits or "",
            "human_quality_label": json.dumps(label, sort_keys=True),
            "notes": clean(review.comment),
            "licence_class": "",
            "group": sample.sha256[:16],
            "reference_quality": REVIEWED,
        }
        table.writerow({name: _cell(value) for name, value in row.items()})
    return text.getvalue()


def _cell(value: object) -> object:
    """Text that a spreadsheet would run as a formula is marked as text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
