"""The FHIR report: a resource that the library of the standard accepts, says what the assessment says, names nobody."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pydicom
import pytest
from fhir.resources.R4B.diagnosticreport import DiagnosticReport

from medq_vlm import cli, vocab
from medq_vlm.io.examples import CT_HEAD, example
from medq_vlm.report import codes
from medq_vlm.report.fhir import SYSTEMS, to_fhir
from medq_vlm.schema import Assessment
from tests.assessments import FIVE, METAL, NOISE, assessed, refused


def read(assessment: Assessment, study: str = "") -> dict[str, Any]:
    """The report as plain JSON, once the library has read it back."""
    text = to_fhir(assessment, study)
    DiagnosticReport.model_validate_json(text)
    return json.loads(text)


def contained(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in report["contained"]}


def test_score_verdict_and_measures_stand_in_the_report() -> None:
    report = read(assessed(1.7, FIVE))
    inside = contained(report)
    quality = inside["quality"]
    assert (quality["valueQuantity"]["value"], quality["code"]["coding"][0]["code"]) == (1.7, codes.RATING.value)
    verdict = report["conclusionCode"][0]["coding"][0]
    assert verdict["code"] == quality["interpretation"][0]["coding"][0]["code"] == codes.VERDICTS["usable"].value
    noise = inside["measure-1"]["valueQuantity"]
    assert (noise["value"], noise["code"], noise["system"]) == (41.2, "[hnsf'U]", SYSTEMS["UCUM"])
    assert "1.7 of 4" in report["conclusion"] and report["status"] == "preliminary"


def test_every_contained_resource_is_referred_to() -> None:
    report = read(assessed(1.7, (NOISE, METAL)))
    named = {result["reference"].removeprefix("#") for result in report["result"]} | {"device"}
    assert named == set(contained(report))
    assert all(one["device"]["reference"] == "#device" for name, one in contained(report).items() if name != "device")


def test_a_finding_has_its_code_severity_place_and_remedy() -> None:
    found = contained(read(assessed(1.7, (METAL, NOISE))))["finding-1"]  # the worst first
    assert found["valueCodeableConcept"]["coding"][0]["code"] == NOISE.code["value"]
    severity, degree, _, place = found["component"]
    assert severity["valueCodeableConcept"]["coding"][0]["code"] == codes.SEVERITIES["severe"].value
    assert (degree["valueQuantity"]["value"], place["valueString"]) == (3.1, "upper centre, slices 3 to 9")
    assert f"Remedy: {NOISE.remedy}" in [note["text"] for note in found["note"]]


def test_every_kind_belongs_to_a_system_that_is_named() -> None:
    assert {kind.code[0] for kind in vocab.KINDS} <= set(SYSTEMS)


def test_what_is_not_assessable_has_a_reason_in_place_of_a_number() -> None:
    report = read(refused())
    (quality,) = (one for name, one in contained(report).items() if name != "device")
    assert "valueQuantity" not in quality and "photograph" in quality["dataAbsentReason"]["text"]
    assert "conclusionCode" not in report and report["conclusion"].startswith("Not assessable")


def test_text_of_strangers_stays_text() -> None:
    hostile = replace(assessed(1.7), description="<script>x</script> & \x1b[31m\u202eevil")
    narrative = read(hostile)["text"]["div"]
    words = "".join(ElementTree.fromstring(narrative).itertext())
    assert "<script>" not in narrative and "<script>x</script> &" in words
    assert "\x1b" not in words and "\u202e" not in words


def test_it_names_the_study_when_asked_and_nobody_otherwise(tmp_path: Path) -> None:
    source = pydicom.dcmread(example(CT_HEAD))
    plain, linked = tmp_path / "a.fhir.json", tmp_path / "b.fhir.json"
    assert cli.main(["report", str(example(CT_HEAD)), "-o", str(plain), "--no-text"]) == 0
    assert cli.main(["report", str(example(CT_HEAD)), "-o", str(linked), "--no-text", "--link-study"]) == 0
    for own in (source.StudyInstanceUID, source.SOPInstanceUID, str(source.PatientID)):
        assert own not in plain.read_text()
    (study,) = json.loads(linked.read_text())["imagingStudy"]
    assert study["identifier"] == {"system": "urn:dicom:uid", "value": f"urn:oid:{source.StudyInstanceUID}"}
    assert str(source.PatientID) not in linked.read_text()


def test_slips_are_told_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.json"
    assert cli.main(["report", str(example(CT_HEAD)), "-o", str(out), "--link-study"]) == 2
    assert "--link-study is for a report that ends with .fhir.json" in capsys.readouterr().err
    assert cli.main(["report", str(example(CT_HEAD)), "-o", str(tmp_path / "report.fhir")]) == 2
    assert ".fhir.json" in capsys.readouterr().err


def test_several_images_give_numbered_files_that_keep_the_ending(tmp_path: Path) -> None:
    folder = tmp_path / "two"
    folder.mkdir()
    for seed in ("1", "2"):
        made = ["degrade", str(example(CT_HEAD)), "--kind", "noise", "--severity", "2", "--seed", seed]
        assert cli.main([*made, "-o", str(folder / f"{seed}.npy")]) == 0
    asked = ["report", str(folder), "-o", str(tmp_path / "all.FHIR.json"), "--no-text", "--modality", "ct"]
    assert cli.main(asked) == 0
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["all-1.FHIR.json", "all-2.FHIR.json"]
