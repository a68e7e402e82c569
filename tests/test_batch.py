"""A folder to a table: what counts as one, what a bad file does, what a resumed run keeps."""

from __future__ import annotations

import csv
import json
import os
import shutil
import weakref
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from medq_vlm import batch, batch_command, cli, io, reading, tables, vocab
from medq_vlm.checkpoint import META_FILE, preset_folder
from medq_vlm.io.examples import CT_SMALL, MR_SMALL, example
from medq_vlm.phantoms import phantom
from medq_vlm.schema import ImageSample


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
    assert [unit.path.name for unit in batch.survey(archive).units] == ["1.png", "2.png", "3.png", "dicom"]


def test_what_is_left_out_is_told_by_kind(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2):
        (archive / "dicom" / f"{number}.gif").write_bytes(b"GIF89a" + bytes(20))
    for name in (".hidden", "README", "scores.xyz"):
        (archive / name).write_bytes(b"words")
    out = archive / "table.csv"
    assert cli.main(["batch", str(archive), "-o", str(out), "--no-text"]) == 3
    told = capsys.readouterr().err
    for line in (
        f"2 files left out, such as '{archive / 'dicom' / '1.gif'}': MedQ does not read a GIF picture.",
        f"1 file left out, such as '{archive / 'notes.txt'}': MedQ does not read a '.txt' file.",
        f"1 file left out, such as '{archive / 'README'}': MedQ does not read a file of an unknown format.",
        f"1 file left out, such as '{archive / '.hidden'}': hidden files are not read.",
        f"1 file left out, such as '{archive / 'link'}': links are not followed.",
    ):
        assert line in told
    assert "; 7 files left out." in told and ".csv' file" not in told


def test_the_pixels_of_a_nifti_pair_are_not_left_out(tmp_path: Path) -> None:
    image = nibabel.Nifti1Pair(np.zeros((8, 8, 2), np.float32), np.eye(4))
    nibabel.save(image, tmp_path / "a.hdr")
    seen = batch.survey(tmp_path)
    assert [len(unit.files) for unit in seen.units] == [2] and not seen.left_out


def series(folder: Path, count: int) -> None:
    """A CT series of `count` files."""
    folder.mkdir(parents=True, exist_ok=True)
    source = pydicom.dcmread(example(CT_SMALL))
    for number in range(count):
        source.SOPInstanceUID = source.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        source.InstanceNumber, source.ImagePositionPatient = number + 1, [0, 0, 5.0 * number]
        source.save_as(folder / f"{number}.dcm")


def test_a_series_stays_one_whatever_lies_beside_it(archive: Path, tmp_path: Path) -> None:
    series(archive, 3)
    series(archive / "dicom" / "deeper", 2)
    found = [(unit.path.relative_to(archive).as_posix(), len(unit.files)) for unit in batch.survey(archive).units]
    assert found == [(".", 3), ("1.png", 1), ("2.png", 1), ("3.png", 1), ("dicom", 1), ("dicom/deeper", 2)]
    (sample,) = next(iter(io.load_each([archive], flat=True)))
    assert isinstance(sample, ImageSample) and sample.slices == 3


def test_a_study_disc_gives_rows_of_its_images_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disc, out = tmp_path / "disc", tmp_path / "table.jsonl"
    series(disc / "images", 1)
    for name in ("DICOMDIR", "reportsi.dcm"):
        source = get_testdata_file(name, download=False)
        assert isinstance(source, str)
        shutil.copy(source, disc)
        shutil.copy(source, disc / "images")
    with zipfile.ZipFile(disc / "all.zip", "w") as packed:
        for file in (disc / "images").iterdir():
            packed.write(file, file.name)
    assert cli.main(["batch", str(disc), "-o", str(out), "--no-text"]) == 0
    assert [Path(row["path"]).name for row in tables.read(out)] == ["all.zip (file 1)", "0.dcm"]
    assert "6 DICOM objects without an image passed over" in capsys.readouterr().err
    assert cli.main(["assess", str(disc / "DICOMDIR")]) == 3
    assert "DICOMDIR" in capsys.readouterr().err


def test_a_flat_folder_of_many_series_is_one_row_for_each_and_never_in_memory_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flat, out = tmp_path / "flat", tmp_path / "table.jsonl"
    for number, count in enumerate((4, 3, 2)):
        series(tmp_path / str(number), count)
        flat.mkdir(exist_ok=True)
        for file in (tmp_path / str(number)).iterdir():
            header = pydicom.dcmread(file)
            header.SeriesInstanceUID = f"1.2.{number}"
            header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}.{file.stem}"
            header.save_as(flat / f"{number}{file.name}")
    whole = (flat / "00.dcm").read_bytes()
    for name, data in (("cut.dcm", whole[: len(whole) // 2]), ("none.dcm", b""), ("text.dcm", b"no image " * 20)):
        (flat / name).write_bytes(data)
    disc = get_testdata_file("DICOMDIR", download=False)
    assert isinstance(disc, str)
    shutil.copy(disc, flat)
    seen: list[weakref.ref[ImageSample]] = []
    most, bars = [], []

    def counted(*given: Any) -> Any:
        seen.append(weakref.ref(given[1]))
        most.append(sum(one() is not None for one in seen))
        return assess_one(*given)

    assess_one = batch_command.assess_one
    monkeypatch.setattr(batch_command, "assess_one", counted)
    ended = batch_command.Way.ended
    monkeypatch.setattr(
        batch_command.Way, "ended", lambda way, unit: (ended(way, unit), bars.append((way.bar.n, way.bar.total)))
    )
    assert cli.main(["batch", str(flat), "-o", str(out), "--no-text"]) == 3
    rows = tables.read(out)
    assert [row["slices"] for row in rows if not row["error"]] == [4, 3, 2]
    assert sorted(Path(row["error"].split(":")[0]).name for row in rows if row["error"]) == [
        "cut.dcm", "none.dcm", "text.dcm"]  # fmt: skip
    assert "1 DICOM object without an image passed over" in capsys.readouterr().err
    assert max(most) <= 2  # the image at hand and the one before it
    assert len(bars) == 3 and all(total == 13 for _, total in bars)


def test_uncertainty_is_the_mass_of_the_other_verdicts() -> None:
    sure = tuple(float(k == 20) for k in range(vocab.SCORE_BINS))
    torn = tuple(0.5 * (k in (0, 20)) for k in range(vocab.SCORE_BINS))
    assert batch.uncertainty(sure) == 0.0 and batch.uncertainty(torn) == 0.5
    rows = [{"uncertainty": 0.1}, {"uncertainty": None}, {"uncertainty": 0.5}]
    assert [row["uncertainty"] for row in batch.rank(rows)] == [0.5, 0.1, None]


@pytest.mark.parametrize("ending", tables.FORMATS)
def test_a_run_names_the_bad_file_resumes_and_keeps_every_row(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    out = tmp_path / f"table{ending}"
    command = ["batch", str(archive), "-o", str(out), "--no-text"]
    assert cli.main(command) == 3
    assert "3.png" in capsys.readouterr().err
    rows = tables.read(out)
    assert [Path(row["path"]).name for row in rows] == ["1.png", "2.png", "3.png", "a.dcm"]
    assert rows[2]["error"] and rows[2]["score"] is None
    assert all(0 <= row["score"] <= 4 and row["verdict"] in vocab.VERDICTS for row in rows if not row["error"])
    assert not tables.journal_of(out).exists()
    assert cli.main(command) == 2  # nothing is overwritten
    shutil.copy(archive / "1.png", archive / "4.png")
    assert cli.main([*command, "--resume", "--rank-uncertain"]) == 3  # the broken one is tried again
    assert "3.png" in capsys.readouterr().err
    again = tables.read(out)
    assert len(again) == 5 and all(row in again for row in rows)
    doubts = [row["uncertainty"] for row in again if row["uncertainty"] is not None]
    assert doubts == sorted(doubts, reverse=True)


def test_tables_of_one_kind_can_be_read_together(archive: Path, tmp_path: Path) -> None:
    """A column that is empty in one run has the type that it has in another."""
    from pyarrow import dataset, parquet

    (tmp_path / "one").mkdir()
    (tmp_path / "tables").mkdir()
    shutil.copy(archive / "3.png", tmp_path / "one")
    assert cli.main(["batch", str(archive / "dicom"), "-o", str(tmp_path / "tables" / "good.parquet")]) == 0
    assert cli.main(["batch", str(tmp_path / "one"), "-o", str(tmp_path / "tables" / "bad.parquet")]) == 3
    good, bad = (parquet.read_schema(tmp_path / "tables" / f"{name}.parquet") for name in ("good", "bad"))
    assert good.equals(bad)
    assert dataset.dataset(tmp_path / "tables").to_table().num_rows == 2


def test_a_table_is_of_one_folder_and_of_what_is_still_there(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "t.csv"
    command = ["batch", str(archive), "-o", str(out), "--resume"]
    assert cli.main(command) == 3
    (archive / "2.png").unlink()
    capsys.readouterr()
    assert cli.main(command) == 3
    assert "1 file of the earlier run gone" in capsys.readouterr().err
    assert "2.png" not in out.read_text()
    shutil.copytree(archive / "dicom", tmp_path / "other")
    assert cli.main(["batch", str(tmp_path / "other"), "-o", str(out), "--resume"]) == 2
    assert "another folder" in capsys.readouterr().err


def test_a_table_needs_no_language_model_and_tells_warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def speaks(*given: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr("medq_vlm.pipeline.MedQ.describe", speaks)
    series(tmp_path / "in", 6)
    (tmp_path / "in" / "3.dcm").unlink()
    assert cli.main(["batch", str(tmp_path / "in"), "-o", str(tmp_path / "t.jsonl")]) == 0
    (row,) = tables.read(tmp_path / "t.jsonl")
    assert "missing" in row["warnings"]


def test_changed_and_repaired_files_are_read_again(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.CSV"
    command = ["batch", str(archive), "-o", str(out), "--no-text"]
    assert cli.main(command) == 3
    first = {row["path"]: row for row in tables.read(out)}
    shutil.copy(archive / "1.png", archive / "3.png")
    shutil.copy(archive / "1.png", archive / "2.png")
    assert cli.main([*command, "--resume"]) == 0
    second = {row["path"]: row for row in tables.read(out)}
    assert out.read_text().startswith("path,") and set(first) == set(second) and len(second) == 4
    same = {Path(path).name for path in first if first[path] == second[path]}
    assert same == {"1.png", "a.dcm"}
    assert len({row["sha256"] for row in second.values()}) == 2


def test_rows_of_other_weights_or_options_are_made_again(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (archive / "3.png").unlink()
    out = tmp_path / "t.jsonl"
    command = ["batch", str(archive), "-o", str(out), "--resume"]
    shutil.copytree(preset_folder("nano"), tmp_path / "mine")
    meta = tmp_path / "mine" / META_FILE
    meta.write_text(meta.read_text().replace('"interval_scale": ', '"interval_scale": 1'))
    made = []
    for options in ([], [], ["--acquisition", "severe noise"], ["--preset", str(tmp_path / "mine")]):
        assert cli.main([*command, *options]) == 0
        told = capsys.readouterr().err
        made.append(tables.read(out))
        assert ("3 rows made with other weights or options" in told) == bool(options)
    assert made[0] == made[1] and made[1] != made[2]
    assert [{row["model_sha256"] for row in rows} for rows in made[:3]] == [{made[3][0]["model_sha256"]}] * 3
    assert len({row["stamp"].split("; ", 1)[1] for rows in made for row in rows}) == 3
    assert [{row["acquisition"] for row in rows} for rows in made[1:]][1] == {"severe noise"}


def cut_off(out: Path, folder: Path, lines: int) -> None:
    """What a run leaves that was interrupted after some lines of its journal."""
    done = cli.main(["batch", str(folder), "-o", str(out), "--no-text"])
    assert done == 0
    rows = tables.read(out)
    out.unlink()
    whole = [*map(json.dumps, rows), json.dumps({"finished": rows[0]["unit"]})]
    tables.journal_of(out).write_text("".join(f"{line}\n" for line in whole[:lines]) + '{"path": "cut o')


@pytest.mark.parametrize("lines", [0, 1, 2, 3])
def test_a_cut_off_run_goes_on_after_its_last_whole_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: int
) -> None:
    folder, out, scored = tmp_path / "in", tmp_path / "table.jsonl", []
    folder.mkdir()
    with zipfile.ZipFile(folder / "two.zip", "w") as packed:
        packed.write(example(CT_SMALL), "a")
        packed.write(example(MR_SMALL), "b")
    cut_off(out, folder, lines)
    plain = reading.assess_one

    def counted(*arguments: Any) -> Any:
        scored.append(arguments[1].path)
        return plain(*arguments)

    monkeypatch.setattr(batch_command, "assess_one", counted)
    assert cli.main(["batch", str(folder), "-o", str(out), "--resume", "--no-text"]) == 0
    assert [row["modality"] for row in tables.read(out)] == ["ct", "mr"]
    assert len(scored) == max(0, 2 - lines)


def test_an_end_between_table_and_journal_doubles_nothing(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.jsonl"
    command = ["batch", str(archive), "-o", str(out), "--no-text"]
    cli.main(command)
    rows = tables.read(out)
    ends = [{"finished": row["unit"]} for row in rows]
    tables.journal_of(out).write_text("".join(json.dumps(line) + "\n" for line in [*rows, *ends]))
    assert cli.main([*command, "--resume"]) == 3
    assert sorted(row["path"] for row in tables.read(out)) == sorted(row["path"] for row in rows)


@pytest.mark.parametrize("ending", tables.FORMATS)
def test_any_name_goes_through_any_table(tmp_path: Path, ending: str) -> None:
    folder, out = tmp_path / "in", tmp_path / f"t{ending}"
    folder.mkdir()
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xff.npy"))).write_bytes(b"\x93NUMPY broken")
    np.save(Path(os.fsdecode(os.fsencode(folder) + b"/\xfe.npy")), phantom("mr", 1, 96).pixels)
    for _ in range(2):
        assert cli.main(["batch", str(folder), "-o", str(out), "--resume", "--no-text"]) == 3
        assert sorted(Path(row["path"]).name for row in tables.read(out)) == [r"\xfe.npy", r"\xff.npy"]


def test_a_spreadsheet_gets_no_formula_and_every_text_comes_back(tmp_path: Path) -> None:
    texts = ["=HYPERLINK(1)", "'=1", "''=1", "'plain", "\rx", "a,b\nc"]
    rows = [dict.fromkeys(tables.COLUMNS, None) | dict.fromkeys(tables.TEXTS, "") | {"path": text} for text in texts]
    tables.write(rows, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        assert not [row["path"] for row in csv.DictReader(file) if row["path"].startswith(tables.FORMULA)]
    assert tables.read(tmp_path / "t.csv") == rows


def test_a_folder_that_may_not_be_read_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    np.save(tmp_path / "a.npy", phantom("mr", 1, 96).pixels)
    plain = Path.iterdir

    def closed(self: Path) -> Any:
        if self.name == "closed":
            raise PermissionError
        return plain(self)

    monkeypatch.setattr(Path, "iterdir", closed)
    assert [(unit.path.name, len(unit.files)) for unit in batch.survey(tmp_path).units] == [("a.npy", 1), ("closed", 0)]


def test_an_interrupted_run_says_how_to_go_on(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(batch_command, "assess_one", stop)
    assert cli.main(["batch", str(archive), "-o", str(tmp_path / "t.csv")]) == 130
    assert "--resume" in capsys.readouterr().err


def test_a_foreign_table_is_not_taken_for_an_earlier_run(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    out.write_text("a,b\n1,2\n")
    assert cli.main(["batch", str(archive), "-o", str(out), "--resume"]) == 2


def test_a_missing_folder_and_a_file_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    assert cli.main(["batch", str(tmp_path / "none"), "-o", str(tmp_path / "t.csv")]) == 2
    assert "There is no folder" in capsys.readouterr().err
    assert cli.main(["batch", str(tmp_path / "a.png"), "-o", str(tmp_path / "t.csv")]) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_two_series_of_a_folder_can_be_told_apart(tmp_path: Path) -> None:
    folder, out = tmp_path / "folder", tmp_path / "table.csv"
    for number in (1, 2):
        series(tmp_path / str(number), 2)
        folder.mkdir(exist_ok=True)
        for file in (tmp_path / str(number)).iterdir():
            header = pydicom.dcmread(file)
            header.SeriesInstanceUID = f"1.2.{number}"
            header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}.{file.stem}"
            header.save_as(folder / f"{number}-{file.name}")
    assert cli.main(["batch", str(folder), "-o", str(out), "--no-text"]) == 0
    assert sorted(Path(row["first_file"]).name for row in tables.read(out)) == ["1-0.dcm", "2-0.dcm"]


def test_what_a_refused_picture_looks_like_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((96, 96), np.uint8)).save(tmp_path / "in" / "blank.png")
    assert cli.main(["batch", str(tmp_path / "in"), "-o", str(tmp_path / "t.jsonl"), "--no-text"]) == 0
    (row,) = tables.read(tmp_path / "t.jsonl")
    assert not row["assessable"] and row["modality"] is None and row["anatomy"] is None


def test_a_folder_without_an_image_and_an_unfinished_run_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "empty", tmp_path / "table.csv"
    folder.mkdir()
    assert cli.main(["batch", str(folder), "-o", str(out)]) == 3
    assert "There is no image in" in capsys.readouterr().err and not out.exists()
    tables.journal_of(out).write_text("")
    assert cli.main(["batch", str(folder), "-o", str(out)]) == 2
    assert "of a run that did not finish; add --resume" in capsys.readouterr().err
