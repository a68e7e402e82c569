"""The assessment as a FHIR R4 DiagnosticReport in JSON (HL7, https://hl7.org/fhir/R4/diagnosticreport.html).

Score, measured numbers and findings are contained Observations made by a contained Device, so that the report is one
resource which a server can take as it is. It names no patient and no study unless the study is handed over.
"""

from __future__ import annotations

import html
import uuid
from typing import Any

from fhir.resources.R4B.diagnosticreport import DiagnosticReport

from medq_vlm import __version__, vocab
from medq_vlm.report import codes, content
from medq_vlm.report.codes import Code
from medq_vlm.schema import Assessment, Finding, Measurement

SYSTEMS = {
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "SCT": "http://snomed.info/sct",
    "RADLEX": "http://radlex.org",
    "UCUM": "http://unitsofmeasure.org",
    codes.OWN: "urn:medq-vlm:codes",
}
CATEGORY = {"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "IMG", "display": "Diagnostic Imaging"}
MADE_BY = {"reference": "#device"}
Resource = dict[str, Any]


def to_fhir(assessment: Assessment, study_uid: str = "") -> str:
    """JSON of one DiagnosticReport. `study_uid`: the DICOM study it belongs to, which tells a PACS whose it is."""
    observations = [_quality(assessment)]
    if assessment.assessable:
        observations += [_measured(item, number) for number, item in enumerate(assessment.evidence, start=1)]
        observations += [
            _finding(found, number) for number, found in enumerate(content.shown_findings(assessment), start=1)
        ]
    made = f"{assessment.source['sha256']} {assessment.model['sha256']} {assessment.created}"
    report: Resource = {
        "resourceType": "DiagnosticReport",
        "text": _narrative(assessment),
        "contained": [_device(assessment), *observations],
        "identifier": [
            {"system": "urn:ietf:rfc:3986", "value": uuid.uuid5(uuid.NAMESPACE_OID, made).urn},
        ],
        "status": "preliminary",  # nobody has verified it
        "category": [{"coding": [CATEGORY]}],
        "code": _concept(codes.ASSESSMENT, "Image quality report"),
        "effectiveDateTime": assessment.created,
        "issued": assessment.created,
        "result": [{"reference": f"#{one['id']}"} for one in observations],
        "conclusion": _conclusion(assessment),
    }
    if assessment.verdict:
        report["conclusionCode"] = [_concept(codes.VERDICTS[assessment.verdict], assessment.verdict)]
    if study_uid:
        study = {"system": "urn:dicom:uid", "value": f"urn:oid:{study_uid}"}
        report["imagingStudy"] = [{"type": "ImagingStudy", "identifier": study}]
    return DiagnosticReport.model_validate(report).model_dump_json(indent=2)


def _device(assessment: Assessment) -> Resource:
    model = assessment.model
    return {
        "resourceType": "Device",
        "id": "device",
        "deviceName": [{"name": f"MedQ-VLM {content.clean(model['name'])}", "type": "model-name"}],
        "type": _concept(codes.FAMILY),
        "version": [{"value": __version__}, {"type": {"text": "SHA-256 of the weights"}, "value": model["sha256"]}],
        "safety": [{"text": content.DISCLAIMER}],
    }


def _quality(assessment: Assessment) -> Resource:
    """Score, verdict, partial scores and probability of reject."""
    out = _observation("quality", codes.RATING, assessment.created)
    if assessment.score is None:
        out["dataAbsentReason"] = {"text": content.clean(assessment.reason)}
    else:
        out["valueQuantity"] = _quantity(assessment.score)
        out["referenceRange"] = [{"low": _quantity(0.0), "high": _quantity(4.0), "text": content.SCALE}]
    if assessment.verdict:
        out["interpretation"] = [_concept(codes.VERDICTS[assessment.verdict], assessment.verdict)]
    parts = [(f"{content.ATTRIBUTE_NAMES[name]}, 0 to 1", value) for name, value in assessment.attributes.items()]
    if assessment.score_interval:
        low, high = assessment.score_interval
        parts += [("Score, lower end of the 90 % interval", low), ("Score, upper end of the 90 % interval", high)]
    out["component"] = [{"code": {"text": text}, "valueQuantity": _quantity(value)} for text, value in parts]
    if assessment.reject_probability is not None:
        out["component"].append(
            {"code": _concept(codes.REJECTABLE), "valueQuantity": _quantity(assessment.reject_probability)}
        )
    out["component"].append({"code": {"text": "SHA-256 of the image"}, "valueString": assessment.source["sha256"]})
    about = content.clean(assessment.acquisition)
    out["component"] += [{"code": {"text": "Acquisition"}, "valueString": about}] if about else []
    notes = [*map(content.clean, assessment.warnings), content.DISCLAIMER]
    return out | {"note": [{"text": text} for text in notes]}


def _measured(item: Measurement, number: int) -> Resource:
    out = _observation(f"measure-{number}", codes.measure(item), "")
    unit = codes.unit(item)
    out["valueQuantity"] = _quantity(item.value, unit)
    if item.expected:
        out["referenceRange"] = [{"text": content.clean(content.range_words(item))}]
    if item.source:
        out["method"] = {"text": item.source}
    return out


def _finding(found: Finding, number: int) -> Resource:
    out = _observation(f"finding-{number}", codes.FINDING, "")
    kind = Code(found.code["value"], found.code["scheme"], found.code["meaning"])
    out["valueCodeableConcept"] = _concept(kind, vocab.KIND[found.kind].plain)
    out["component"] = [
        {"code": _concept(codes.DEGREE), "valueQuantity": _quantity(found.severity_value)},
        {"code": {"text": "Confidence, 0 to 1"}, "valueQuantity": _quantity(found.confidence)},
        {"code": {"text": "Place"}, "valueString": content.place(found.location)},
    ]
    if found.severity in codes.SEVERITIES:
        severity = _concept(codes.SEVERITIES[found.severity], found.severity)
        out["component"].insert(0, {"code": _concept(codes.SEVERITY), "valueCodeableConcept": severity})
    said = {"Cause": found.cause, "Impact": found.impact, "Remedy": found.remedy}
    said["Evidence"] = content.evidence_line(found.evidence)
    out["note"] = [{"text": f"{name}: {text}"} for name, text in said.items() if text]
    return out


def _observation(name: str, code: Code, when: str) -> Resource:
    out = {
        "resourceType": "Observation", "id": name, "status": "preliminary", "code": _concept(code), "device": MADE_BY,
    }  # fmt: skip
    return out | ({"effectiveDateTime": when} if when else {})


def _concept(code: Code, text: str = "") -> Resource:
    coding = {"system": SYSTEMS[code.scheme], "code": code.value, "display": code.meaning}
    return {"coding": [coding], "text": text or code.meaning}


def _quantity(value: float, unit: Code = codes.ONE) -> Resource:
    named = {"unit": unit.meaning} if unit != codes.ONE else {}
    return {"value": float(f"{value:.4g}"), **named, "system": SYSTEMS[unit.scheme], "code": unit.value}


def _conclusion(assessment: Assessment) -> str:
    if assessment.score is None:
        return f"Not assessable: {content.clean(assessment.reason)}"
    found = [content.finding_name(one) for one in content.shown_findings(assessment)]
    rest = f" {content.capital('; '.join(found))}." if found else f" {content.without_findings(assessment)}"
    return f"{content.image_name(assessment)}. {content.score_line(assessment)}.{rest}"


def _narrative(assessment: Assessment) -> Resource:
    """What a person reads where a system shows the resource as it is."""
    lines = [_conclusion(assessment), content.clean(assessment.description), content.DISCLAIMER]
    inner = "".join(f"<p>{html.escape(line)}</p>" for line in lines if line)
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{inner}</div>'}
