"""The JSON schema: its words are the vocabulary's, it accepts what we write and refuses the rest."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from medq_vlm import vocab
from medq_vlm.report import json_schema, to_json, validate
from medq_vlm.schema import SCHEMA_VERSION, Assessment, Finding, Location, Measurement, MedQError
from tests.assessments import FIVE, NOISE, assessed, finding, refused, volume


def test_schema_is_valid_draft_2020_12() -> None:
    Draft202012Validator.check_schema(json_schema())


def test_enums_are_the_word_lists() -> None:
    schema = json_schema()
    properties, defs = schema["properties"], schema["$defs"]
    assert properties["schema"]["const"] == SCHEMA_VERSION
    assert properties["modality"]["properties"]["value"]["enum"] == [*vocab.MODALITIES, None]
    assert properties["anatomy"]["properties"]["value"]["enum"] == [*vocab.ANATOMIES, None]
    assert properties["verdict"]["enum"] == [*vocab.VERDICTS, None]
    assert list(properties["attributes"]["properties"]) == list(vocab.ATTRIBUTES)
    assert properties["score_distribution"]["maxItems"] == vocab.SCORE_BINS
    listed = defs["finding"]["properties"]
    assert listed["kind"]["enum"] == list(vocab.KIND_NAMES)
    assert listed["severity"]["enum"] == list(vocab.SEVERITIES)
    schemes = {kind.code[0] for kind in vocab.KINDS}
    assert set(listed["code"]["properties"]["scheme"]["enum"]) == schemes


def test_fields_are_those_of_the_dataclasses() -> None:
    schema = json_schema()
    found = schema["$defs"]["finding"]
    for node, cls, extra in (
        (schema, Assessment, {"schema", "review"}),
        (found, Finding, set()),
        (found["properties"]["location"], Location, set()),
        (schema["$defs"]["measurement"], Measurement, set()),
    ):
        assert set(node["properties"]) == {field.name for field in fields(cls)} | extra
        assert set(node["required"]) == set(node["properties"]) - {"review"}  # nobody need have reviewed it


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "properties" in node and "description" in node:
            yield node
        for child in node.values():
            yield from _objects(child)


def test_every_field_is_described_and_every_object_is_closed() -> None:
    seen = 0
    for node in _objects(json_schema()):
        assert node["additionalProperties"] is False
        for name, field in node["properties"].items():
            assert field.get("description") or "$ref" in field, name
            seen += 1
    assert seen > 50


@pytest.mark.parametrize("result", [assessed(), assessed(0.0), assessed(4.0, FIVE), refused(), volume(30)])
def test_assessments_are_valid_and_survive_json(result: Assessment) -> None:
    plain = result.to_dict()
    validate(plain)
    assert json.loads(to_json(result)) == plain


@pytest.mark.parametrize("kind", vocab.KINDS, ids=vocab.KIND_NAMES)
def test_a_finding_of_every_kind_is_valid(kind: vocab.Kind) -> None:
    validate(assessed(1.0, (finding(kind.name, 2.0, kind.modalities[0]),)).to_dict())


WRONG: dict[str, Callable[[dict[str, Any]], Any]] = {
    "score": lambda a: a.update(score=4.2),
    "score_distribution": lambda a: a.update(score_distribution=[0.5, 0.5]),
    "verdict": lambda a: a.update(verdict="excellent"),
    "patient": lambda a: a.update(patient="Doe^Jane"),
    "findings/0/kind": lambda a: a["findings"][0].update(kind="fuzzy"),
    "findings/0/severity_value": lambda a: a["findings"][0].update(severity_value=-1),
    "source/sha256": lambda a: a["source"].update(sha256="short"),
    "created": lambda a: a.update(created="yesterday"),
    "attributes": lambda a: a["attributes"].pop("noise"),
    "reason": lambda a: a.update(reason="but it was assessed"),
    "percentile": lambda a: a.pop("percentile"),
    "finite": lambda a: a["evidence"][0].update(value=float("nan")),
}


@pytest.mark.parametrize("place", WRONG)
def test_wrong_fields_are_refused_by_name(place: str) -> None:
    plain = copy.deepcopy(assessed(1.7, (NOISE,)).to_dict())
    WRONG[place](plain)
    with pytest.raises(MedQError, match=place):
        validate(plain)


def test_not_assessable_admits_no_score() -> None:
    with pytest.raises(MedQError, match="score"):
        validate(refused().to_dict() | {"score": 2.0})
