"""The files a user takes away, as bytes: nothing is written to disk. No name holds anything of the patient."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.engine import Engine
from app.review import labels_csv, rows
from app.store import Study
from medq_vlm import __version__, report, restoring
from medq_vlm.illustrate import images
from medq_vlm.io.derived import clipped_words, picture
from medq_vlm.io.write import nifti_bytes
from medq_vlm.report.html import to_html
from medq_vlm.report.pdf import to_pdf
from medq_vlm.report.residual import residual_png
from medq_vlm.schema import Assessment, MedQError


@dataclass(frozen=True)
class File:
    """A download."""

    name: str
    mime: str
    data: bytes


def export(engine: Engine, study: Study, form: str) -> File:
    """The study's report as one of FORMS. Raises MedQError for another one, or before there is a result."""
    if form not in FORMS:
        raise MedQError(f"A report is one of: {', '.join(FORMS)}.")
    return FORMS[form](engine, study)


def _stem(study: Study) -> str:
    return f"medq-{study.sample.sha256[:8] or 'image'}"


def _pdf(engine: Engine, study: Study) -> File:
    result = assessed(study)
    shown = engine.guarded(lambda: images(engine.medq, study.sample, result))
    # fpdf2 writes to a path: a file that exists in memory alone keeps the report off the disk
    handle = os.memfd_create("medq-report")
    try:
        path = Path(f"/proc/self/fd/{handle}")
        to_pdf(result, shown, path, review=rows(study.review))
        return File(f"{_stem(study)}.pdf", "application/pdf", path.read_bytes())
    finally:
        os.close(handle)


def _html(engine: Engine, study: Study) -> File:
    result = assessed(study)
    shown = engine.guarded(lambda: images(engine.medq, study.sample, result))
    page = to_html(result, shown, review=rows(study.review))
    return File(f"{_stem(study)}.html", "text/html; charset=utf-8", page.encode())


def _json(engine: Engine, study: Study) -> File:
    text = report.to_json(assessed(study), review=study.review.to_dict() if study.review else None)
    return File(f"{_stem(study)}.json", "application/json", text.encode())


def _review(engine: Engine, study: Study) -> File:
    plain = {"image_sha256": study.sample.sha256, **study.review.to_dict()}
    return File(f"{_stem(study)}-review.json", "application/json", json.dumps(plain, indent=2).encode())


def _labels(engine: Engine, study: Study) -> File:
    return labels([study])


def _restored(engine: Engine, study: Study) -> File:
    """The restored image in native units with a picture of the change and the record of what was done.

    The reading room keeps no header, so this is NIfTI, PNG or TIFF without a patient; `medq restore` writes DICOM.
    """
    treated = study.treated
    if treated is None:
        raise MedQError("This study was not restored yet.")
    made, stem = treated.restored.restoration, _stem(study)
    note = restoring.note(treated.restored, __version__)
    volume = study.sample.slices > 1 and not study.sample.colour
    if volume:
        data, ending, clipped = nifti_bytes(made.sample, "The series", note), ".nii.gz", 0
    else:
        data, ending, clipped = picture(study.sample, made.sample, note)
    plain = restored_record(engine, study)
    plain["outputs"] = [f"{stem}-restored{ending}"]
    if clipped:
        plain["warnings"].append(clipped_words(clipped))
    files = [File(f"{stem}-restored{ending}", "", data)]
    if not made.unchanged:
        plane = made.residual[restoring.shown_slice(made)]
        plain["residual_picture"] = f"{stem}-restored_residual.png"
        files.append(File(plain["residual_picture"], "", residual_png(plane, study.sample.unit)))
    restoring.validate(plain)
    files.append(File(f"{stem}-restored.json", "", json.dumps(plain, indent=2).encode()))
    return _zip(f"{stem}-restored.zip", files)


def restored_record(engine: Engine, study: Study) -> dict[str, Any]:
    """What the last restoration did, by restoration.schema.json. Raises MedQError when there was none."""
    treated = study.treated
    if treated is None:
        raise MedQError("This study was not restored yet.")
    unchanged = treated.restored.restoration.unchanged
    identity = None if unchanged else engine.medq.restorer_identity
    return restoring.record(treated.restored, treated.before, treated.after, treated.by_person, identity)


def labels(studies: Sequence[Study]) -> File:
    """The reviews of all `studies` as a training manifest. Raises MedQError when nothing was reviewed."""
    reviewed = [(one.sample, one.result, one.review) for one in studies if one.result is not None and one.review]
    if not reviewed:
        raise MedQError("Nothing was reviewed yet: answer present, absent or unsure beside a finding first.")
    return File("medq-labels.csv", "text/csv; charset=utf-8", labels_csv(reviewed).encode())


def _everything(engine: Engine, study: Study) -> File:
    """The filed report: PDF, HTML and JSON, with the review and its labels when there is one."""
    files = [_pdf(engine, study), _html(engine, study), _json(engine, study)]
    if study.review:
        files += [_review(engine, study), _labels(engine, study)]
    return _zip(f"{_stem(study)}.zip", files)


def _zip(name: str, files: Sequence[File]) -> File:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.writestr(file.name, file.data)
    return File(name, "application/zip", out.getvalue())


FORMS: dict[str, Callable[[Engine, Study], File]] = {
    "pdf": _pdf, "html": _html, "json": _json, "review": _review, "csv": _labels, "zip": _everything,
    "restored": _restored,
}  # fmt: skip


def assessed(study: Study) -> Assessment:
    """The study's result. Raises MedQError before there is one."""
    if study.result is None:
        raise MedQError("This study was not assessed yet.")
    return study.result
