"""The PDF report: its text can be read back, it is one page when it fits, and it is the same every time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pypdf import PdfReader

from medq_vlm import vocab
from medq_vlm.report import content
from medq_vlm.report.describe import describe
from medq_vlm.report.pdf import to_pdf
from medq_vlm.schema import Assessment, MedQError
from tests.assessments import FIVE, NOISE, assessed, display, refused, volume


def written(tmp_path: Path, result: Assessment, images: dict | None = None) -> tuple[str, PdfReader]:
    path = tmp_path / "report.pdf"
    to_pdf(result, images or {"display": display()}, path)
    reader = PdfReader(path)
    return " ".join(" ".join(page.extract_text() for page in reader.pages).split()), reader


def test_text_holds_score_findings_and_disclaimer(tmp_path: Path) -> None:
    text, _ = written(tmp_path, assessed(1.7, FIVE))
    words = ["USABLE", "1.7", "interval 1.4 to 2.1", "limited interpretation", "41.2 HU", "cd" * 32, "LUNG"]
    words += [content.capital(vocab.KIND[finding.kind].plain) for finding in FIVE]
    words += [content.DISCLAIMER, "2 slices are missing"]
    for word in words:
        assert word in text


@pytest.mark.parametrize("result", [assessed(3.6), assessed(1.7, (NOISE,)), refused(), volume(300)])
def test_an_ordinary_report_is_one_page(tmp_path: Path, result: Assessment) -> None:
    _, reader = written(tmp_path, replace(result, description=describe(result)))
    assert len(reader.pages) == 1


def test_a_long_report_has_the_disclaimer_on_every_page(tmp_path: Path) -> None:
    fields = {f"field {index}": "value " * 30 for index in range(60)}
    _, reader = written(tmp_path, assessed(1.0, FIVE * 3, acquisition_fields=fields))
    assert len(reader.pages) > 2
    for page in reader.pages:
        assert "Not a medical device" in page.extract_text()


def test_nothing_runs_off_the_page(tmp_path: Path) -> None:
    long = "unbroken" * 200
    result = assessed(1.0, FIVE * 3, acquisition=long, warnings=(long,) * 3, acquisition_fields={long: long})
    _, reader = written(tmp_path, result)
    for page in reader.pages:
        places: list[tuple[float, float]] = []
        page.extract_text(
            visitor_text=lambda text, cm, tm, font, size, at=places: at.append((tm[4], tm[5])) if text.strip() else None
        )
        assert all(0 <= x <= page.mediabox.width and 0 <= y <= page.mediabox.height for x, y in places)
        assert min(y for _, y in places) > 15


def test_unicode_path_is_kept_and_unknown_glyphs_are_named(tmp_path: Path) -> None:
    path = "scans/Übung Пример Ελλάδα 胸.dcm"
    text, _ = written(tmp_path, assessed(source={"path": path, "sha256": "", "slices": 1}))
    assert "Übung Пример Ελλάδα <U+80F8>.dcm" in text


def test_refused_image_gets_its_reason_and_no_score(tmp_path: Path) -> None:
    text, _ = written(tmp_path, refused())
    assert "NOT ASSESSABLE" in text and "photograph" in text
    assert "FINDINGS" not in text and "nearest to level" not in text


def test_colour_and_narrow_images_and_no_image(tmp_path: Path) -> None:
    for shape in ((300, 40, 3), (40, 300), (1, 1)):
        written(tmp_path, assessed(), {"display": np.zeros(shape, np.uint8)})
    to_pdf(assessed(), None, tmp_path / "bare.pdf")
    assert "USABLE" in PdfReader(tmp_path / "bare.pdf").pages[0].extract_text()


def test_same_assessment_gives_same_bytes(tmp_path: Path) -> None:
    for name in ("a.pdf", "b.pdf"):
        to_pdf(assessed(1.0, FIVE), {"display": display()}, tmp_path / name)
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()


def test_metadata_names_the_program_and_no_path(tmp_path: Path) -> None:
    _, reader = written(tmp_path, assessed())
    assert reader.metadata
    assert reader.metadata.title == "Image quality report: Chest CT"
    assert str(reader.metadata.creator).startswith("MedQ-VLM")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MedQError, match="could not be written"):
        to_pdf(assessed(), None, tmp_path / "missing" / "report.pdf")
