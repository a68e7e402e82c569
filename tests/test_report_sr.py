"""The structured report: what a PACS reads from it is what the assessment says, of the study of its image."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from highdicom import sr
from pydicom import Dataset

from medq_vlm import cli, vocab
from medq_vlm.evidence import MEASURES
from medq_vlm.io.examples import CT_HEAD, example
from medq_vlm.io.originals import referable
from medq_vlm.report import codes
from medq_vlm.report.codes import ASSESSMENT, FINDING, RATING, SEVERITY, VERDICTS
from medq_vlm.report.sr import to_sr
from medq_vlm.schema import Location, Measurement, MedQError
from tests.assessments import FIVE, NOISE, assessed, refused

NAME = "ZQXNAME"  # one component: highdicom would warn of it, in a sentence that holds it


def concept(code: codes.Code) -> sr.CodedConcept:
    return sr.CodedConcept(*code)


def header(**tags: object) -> Dataset:
    """What a report may say of an image with these tags."""
    ds = pydicom.dcmread(example(CT_HEAD), stop_before_pixels=True)
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return referable(ds)


def groups(data: bytes) -> list[Dataset]:
    """The measurement groups of a report."""
    document = sr.srread(io.BytesIO(data))
    return [*document.content.get_image_measurement_groups(), *document.content.get_planar_roi_measurement_groups()]


def test_score_verdict_and_measures_stand_in_the_report() -> None:
    result = assessed(1.7, FIVE)
    whole = groups(to_sr(result, [header()]))[0]
    (rating,) = whole.get_measurements(name=concept(RATING))
    assert float(rating.value) == pytest.approx(1.7)
    (noise,) = whole.get_measurements(name=concept(codes.measure(result.evidence[0])))
    assert (float(noise.value), noise.unit.value) == (41.2, "[hnsf'U]")
    (verdict,) = whole.get_qualitative_evaluations(name=concept(ASSESSMENT))
    assert verdict.value == concept(VERDICTS["usable"])


def test_each_finding_has_its_code_severity_and_in_one_image_its_place() -> None:
    result = assessed(1.7, (NOISE,))
    _, placed = groups(to_sr(result, [header()]))
    assert placed.roi.value.min(axis=0).tolist() == [20, 30] and placed.roi.value.max(axis=0).tolist() == [90, 70]
    (found,) = placed.get_qualitative_evaluations(name=concept(FINDING))
    assert (found.value.scheme_designator, found.value.value) == (NOISE.code["scheme"], NOISE.code["value"])
    (severity,) = placed.get_qualitative_evaluations(name=concept(SEVERITY))
    assert severity.value.meaning.lower() == NOISE.severity
    two = [header(), header(SOPInstanceUID="1.2.3.4")]
    everywhere = groups(to_sr(result, two))
    assert len(everywhere) == 2 and not any(hasattr(group, "roi") and group.roi is not None for group in everywhere)
    many = [header(SOPInstanceUID=f"1.2.3.{number}") for number in range(12)]
    _, span = groups(to_sr(result, many))
    images = [one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for one in span.source_images]
    assert images == [f"1.2.3.{number}" for number in range(2, 9)]  # NOISE lies on slices 3 to 9
    without = groups(to_sr(replace(result, findings=(replace(NOISE, location=Location()),)), [header()]))
    assert len(without) == 2


def test_it_belongs_to_the_study_and_copies_nothing_else_of_the_header() -> None:
    source = header(PatientName=NAME, InstitutionName="SECRET CLINIC", PatientComments="SECRET WORDS")
    data = to_sr(assessed(3.0), [source])
    made = pydicom.dcmread(io.BytesIO(data))
    assert (made.PatientName, made.StudyInstanceUID) == (NAME, source.StudyInstanceUID)
    assert made.SeriesInstanceUID != source.SeriesInstanceUID and made.Modality == "SR"
    (study,) = made.CurrentRequestedProcedureEvidenceSequence
    (image,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert image.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert b"SECRET" not in data


@pytest.mark.filterwarnings("error")
def test_a_strange_name_is_not_told_to_the_log(recwarn: pytest.WarningsRecorder) -> None:
    to_sr(assessed(3.0), [header(PatientName=NAME)])
    assert not recwarn.list


def test_what_has_no_score_or_no_study_is_refused() -> None:
    with pytest.raises(MedQError, match="needs a score"):
        to_sr(refused(), [header()])
    with pytest.raises(MedQError, match="no StudyInstanceUID"):
        to_sr(assessed(3.0), [header(StudyInstanceUID="")])


def test_every_code_of_our_own_fits_and_is_one_thing() -> None:
    own = [codes.measure(Measurement(one.name, 1.0, "", "")).value for one in MEASURES]
    assert len(set(own)) == len(own) and all(len(code) <= 16 for code in own)
    assert all(len(kind.code[1]) <= 16 and len(kind.code[2]) <= 64 for kind in vocab.KINDS)


def test_the_command_writes_one_for_a_dicom_image_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.dcm"
    assert cli.main(["report", str(example(CT_HEAD)), "-o", str(out), "--no-text"]) == 0
    assert sr.srread(out).SeriesDescription == "MedQ image quality"
    assert pydicom.dcmread(example(CT_HEAD)).PatientID not in capsys.readouterr().err
    picture = tmp_path / "scan.npy"
    assert cli.main(["degrade", str(example(CT_HEAD)), "--kind", "blur", "--severity", "0", "-o", str(picture)]) == 0
    assert cli.main(["report", str(picture), "-o", str(tmp_path / "other.dcm"), "--no-text", "--modality", "ct"]) == 2
    assert "Only DICOM images belong to a study" in capsys.readouterr().err
