"""A folder to a table: what counts as one, what a bad file does, what a resumed run keeps."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from medq_vlm import batch, cli, vocab
from medq_vlm.phantoms import phantom


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two pictures and a broken one, a folder of DICOM files, a text file, a link to elsewhere."""
    folder = tmp_path / "archive"
    (folder / "dicom").mkdir(parents=True)
    for number in (1, 2):
        pixels = np.clip(phantom("fundus", number, 160).pixels[0], 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "3.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (folder / "notes.txt").write_text("nothing to see")
    source = get_testdata_file("MR_small.dcm", download=False)
    assert source is not None
    shutil.copy(source, folder / "dicom" / "a.dcm")
    (folder / "link").symlink_to(tmp_path)
    return folder


def test_a_series_folder_is_one_and_pictures_are_each_their_own(archive: Path) -> None:
    assert [p.name for p in batch.units(archive)] == ["1.png", "2.png", "3.png", "dicom"]


def test_uncertainty_is_the_mass_of_the_other_verdicts() -> None:
    sure = tuple(float(k == 20) for k in range(vocab.SCORE_BINS))
    torn = tuple(0.5 * (k in (0, 20)) for k in range(vocab.SCORE_BINS))
    assert batch.uncertainty(sure) == 0.0 and batch.uncertainty(torn) == 0.5
    rows = [{"uncertainty": 0.1}, {"uncertainty": None}, {"uncertainty": 0.5}]
    assert [row["uncertainty"] for row in batch.rank(rows)] == [0.5, 0.1, None]


@pytest.mark.parametrize("ending", batch.FORMATS)
def test_a_run_names_the_bad_file_resumes_and_keeps_every_row(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    out = tmp_path / f"table{ending}"
    command = ["batch", str(archive), "-o", str(out), "--no-text"]
    assert cli.main(command) == 3
    assert "3.png" in capsys.readouterr().err
    rows = batch.read(out)
    assert [Path(row["path"]).name for row in rows] == ["1.png", "2.png", "3.png", "dicom"]
    assert rows[2]["error"] and rows[2]["score"] is None
    assert all(0 <= row["score"] <= 4 and row["verdict"] in vocab.VERDICTS for row in rows if not row["error"])
    assert not batch.journal_of(out).exists()
    assert cli.main(command) == 2  # nothing is overwritten
    shutil.copy(archive / "1.png", archive / "4.png")
    assert cli.main([*command, "--resume", "--rank-uncertain"]) == 0
    again = batch.read(out)
    assert len(again) == 5 and all(row in again for row in rows)
    doubts = [row["uncertainty"] for row in again if row["uncertainty"] is not None]
    assert doubts == sorted(doubts, reverse=True)


def test_a_cut_off_run_goes_on_after_its_last_whole_row(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.jsonl"
    first = batch.COLUMNS
    row = dict.fromkeys(first, None) | {"path": str(archive / "1.png")}
    batch.journal_of(out).write_text(json.dumps(row) + "\n" + '{"path": "cut o')
    assert cli.main(["batch", str(archive), "-o", str(out), "--resume", "--no-text"]) == 3
    assert [Path(r["path"]).name for r in batch.read(out)] == ["1.png", "2.png", "3.png", "dicom"]
    assert batch.read(out)[0] == row


def test_a_spreadsheet_gets_no_formula(tmp_path: Path) -> None:
    row = dict.fromkeys(batch.COLUMNS, None) | {
        "path": "=HYPERLINK(1)",
        "acquisition": "",
        "reason": "",
        "findings": "",
    }
    batch.write([row], tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["path"].startswith("'=")
    assert batch.read(tmp_path / "t.csv") == [row]


def test_a_foreign_table_is_not_taken_for_an_earlier_run(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    out.write_text("a,b\n1,2\n")
    assert cli.main(["batch", str(archive), "-o", str(out), "--resume"]) == 2
