"""Reports of an assessment. Text, prose, HTML and PDF have a file each; JSON and its schema are here."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator

from medq_vlm.schema import Assessment, MedQError


@cache
def json_schema() -> dict[str, Any]:
    """The committed JSON schema of `Assessment.to_dict()` (medq_vlm/assessment.schema.json)."""
    return json.loads(resources.files("medq_vlm").joinpath("assessment.schema.json").read_text(encoding="utf-8"))


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(json_schema())


def validate(assessment: dict[str, Any]) -> None:
    """Check the dict form of an assessment against the committed schema.

    Raises MedQError that names the first offending field.
    """
    errors = sorted(_validator().iter_errors(assessment), key=lambda error: list(map(str, error.absolute_path)))
    if errors:
        place = "/".join(map(str, errors[0].absolute_path)) or "the top level"
        message = errors[0].message
        shown = message if len(message) <= 200 else message[:197] + "..."
        raise MedQError(f"The assessment does not follow schema medq/1 at {place}: {shown}.")
    # JSON Schema lets NaN through every bound, and JSON has no NaN.
    try:
        json.dumps(assessment, allow_nan=False)
    except ValueError:
        raise MedQError(
            "The assessment holds a number that is not finite; leave out measures without a value."
        ) from None


def to_json(assessment: Assessment, indent: int | None = 2, review: dict[str, Any] | None = None) -> str:
    """The assessment, with a person's `review` of it, as JSON text. Raises MedQError when it breaks the schema."""
    plain = assessment.to_dict() | ({"review": review} if review else {})
    validate(plain)
    return json.dumps(plain, indent=indent, ensure_ascii=False)
