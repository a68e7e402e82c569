"""The assessment as a DICOM structured report: TID 1500, Comprehensive SR, for the study of its image (PS3.16).

The patient and the study are those of the image's own header, as a PACS needs them; nothing else of it is copied.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from highdicom import UID, sr
from highdicom.sr import CodedConcept

from medq_vlm import __version__, vocab
from medq_vlm.report import codes, content
from medq_vlm.schema import Assessment, Finding, MedQError

SERIES_DESCRIPTION = "MedQ image quality"


def to_sr(assessment: Assessment, evidence: Sequence[Any]) -> bytes:
    """A whole .dcm file. `evidence`: pydicom datasets that say which objects were assessed (io.originals.referred).

    Raises MedQError for what was not assessed.
    """
    if not assessment.assessable or assessment.score is None or assessment.verdict is None:
        raise MedQError(f"A structured report needs a score, and there is none: {assessment.reason}")
    with warnings.catch_warnings(action="ignore"):  # highdicom's words on a patient's name hold the name
        try:
            return _document(assessment, evidence)
        except Exception as error:  # a header may break every rule
            raise MedQError("The image's header breaks the rules of DICOM; write .pdf, .html or .json.") from error


def _document(assessment: Assessment, evidence: Sequence[Any]) -> bytes:
    sources = [sr.SourceImageForMeasurementGroup(one.SOPClassUID, one.SOPInstanceUID) for one in evidence]
    algorithm = sr.AlgorithmIdentification(
        f"MedQ {content.clean(assessment.model['name'])}",
        __version__,
        [f"weights SHA-256 {assessment.model['sha256']}"],
        _concept(codes.FAMILY),
    )
    findings = enumerate(content.shown_findings(assessment), start=1)
    groups = [
        _whole(assessment, sources, algorithm),
        *(_finding(finding, number, evidence, sources, algorithm) for number, finding in findings),
    ]
    device = sr.DeviceObserverIdentifyingAttributes(UID(), "MedQ-VLM", "MedQ", assessment.model["name"])
    observer = sr.ObserverContext(CodedConcept("121007", "DCM", "Device"), device)
    report = sr.MeasurementReport(
        sr.ObservationContext(observer_device_context=observer), _concept(codes.PROCEDURE), groups,
        title=CodedConcept("126000", "DCM", "Imaging Measurement Report"),
    )  # fmt: skip
    document = sr.ComprehensiveSR(
        evidence, report[0], UID(), 990, UID(), 1, "MedQ", is_complete=True, is_final=False,
        manufacturer_model_name="MedQ-VLM", software_versions=__version__, device_serial_number="1",
        series_description=SERIES_DESCRIPTION,
    )  # fmt: skip
    out = io.BytesIO()
    document.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _whole(
    assessment: Assessment,
    sources: Sequence[sr.SourceImageForMeasurementGroup],
    algorithm: sr.AlgorithmIdentification,
) -> sr.MeasurementsAndQualitativeEvaluations:
    """Score, verdict and every measured number, of all that was looked at."""
    assert assessment.score is not None and assessment.verdict is not None
    measured = [
        sr.Measurement(_concept(codes.RATING), round(assessment.score, 3), _concept(codes.ONE), algorithm_id=algorithm)
    ]
    if assessment.reject_probability is not None:
        measured.append(
            sr.Measurement(_concept(codes.REJECTABLE), round(assessment.reject_probability, 4), _concept(codes.ONE))
        )
    measured += [
        _measurement(codes.measure(item), _decimal(item.value), codes.unit(item)) for item in assessment.evidence
    ]
    return sr.MeasurementsAndQualitativeEvaluations(
        sr.TrackingIdentifier(UID(), "Image quality"),
        algorithm_id=algorithm,
        measurements=measured,
        qualitative_evaluations=[
            sr.QualitativeEvaluation(_concept(codes.ASSESSMENT), _concept(codes.VERDICTS[assessment.verdict]))
        ],
        source_images=sources,
    )


def _finding(
    finding: Finding,
    number: int,
    evidence: Sequence[Any],
    sources: Sequence[sr.SourceImageForMeasurementGroup],
    algorithm: sr.AlgorithmIdentification,
) -> sr.MeasurementsAndQualitativeEvaluations | sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    """One finding: what, how severe, and in a single image where."""
    kind = codes.Code(finding.code["value"], finding.code["scheme"], finding.code["meaning"])
    said = [_evaluation(codes.FINDING, kind)]
    if finding.severity in codes.SEVERITIES:
        said.append(_evaluation(codes.SEVERITY, codes.SEVERITIES[finding.severity]))
    degree = [_measurement(codes.DEGREE, round(finding.severity_value, 2))]
    tracking = sr.TrackingIdentifier(UID(), f"Finding {number}: {vocab.KIND[finding.kind].plain}")
    if finding.location.slices and len(sources) > finding.location.slices[1]:  # one object for each slice
        sources = sources[finding.location.slices[0] : finding.location.slices[1] + 1]
    box, single = finding.location.box, len(evidence) == 1 and int(evidence[0].get("NumberOfFrames") or 1) == 1
    if box is None or not single:  # of a volume the result does not say on which slice the box lies
        return sr.MeasurementsAndQualitativeEvaluations(
            tracking, algorithm_id=algorithm, measurements=degree, qualitative_evaluations=said, source_images=sources
        )
    x0, y0, x1, y1 = box
    outline = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]], float)
    source = sr.SourceImageForRegion(evidence[0].SOPClassUID, evidence[0].SOPInstanceUID)
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking, sr.ImageRegion("POLYLINE", outline, source), algorithm_id=algorithm, measurements=degree,
        qualitative_evaluations=said,
    )  # fmt: skip


def _concept(code: codes.Code) -> CodedConcept:
    return CodedConcept(*code)


def _measurement(
    code: codes.Code, value: float, unit: codes.Code = codes.ONE, algorithm: sr.AlgorithmIdentification | None = None
) -> sr.Measurement:
    return sr.Measurement(_concept(code), value, _concept(unit), algorithm_id=algorithm)


def _evaluation(code: codes.Code, value: codes.Code) -> sr.QualitativeEvaluation:
    return sr.QualitativeEvaluation(_concept(code), _concept(value))


def _decimal(value: float) -> float:
    """As few digits as a DICOM decimal string holds."""
    return float(f"{value:.6g}")
