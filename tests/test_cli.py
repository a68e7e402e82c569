"""The command line is a contract: names, exit codes, what goes to stdout; no traceback reaches a user."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medq_vlm import checkpoint, cli, commands, console, io, phantoms, report
from medq_vlm.io.examples import CT_HEAD, CT_SMALL, example
from medq_vlm.schema import IngestError, ModelError

COMMANDS = ("assess", "ask", "compare", "restore", "report", "batch", "degrade", "pacs", "demo", "chat", "selftest",
            "info", "download")  # fmt: skip


def medq(*arguments: str | Path) -> int:
    """Exit code of the command, a usage error included."""
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volume.npy"
    np.save(path, phantoms.phantom_volume("mr", seed=3, slices=3, size=96).pixels)
    return path


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "notes.dcm"
    path.write_text("not an image")
    return path


def test_commands_are_the_ones_of_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    assert medq("--help") == 0
    shown = capsys.readouterr().out
    listed = [line.split()[0] for line in shown.splitlines() if re.match(" {4}[a-zA-Z]", line)]
    assert listed == ["COMMAND", *COMMANDS] or listed == list(COMMANDS)
    assert "not a medical device" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["assess"],
        ["assess", "x.dcm", "--fail-below", "5"],
        ["assess", "x.dcm", "--fail-below", "good"],
        ["assess", "x.dcm", "--modality", "sonar"],
        ["degrade", "x.dcm", "--kind", "rust"],
        ["degrade", "x.dcm"],
        ["report", "x.dcm"],
        ["report", "x.dcm", "-o", "report.docx"],
        ["assess", ""],
        ["ask", "", "Why?"],
        ["compare", "x.dcm", ""],
        ["restore", "x.dcm", "-o", ""],
        ["batch", "", "-o", "x.csv"],
        ["degrade", "x.dcm", "--kind", "noise", "--severity", "1", "-o", "y.npy", "--seed", "-1"],
        ["degrade", "x.dcm", "--kind", "noise", "--severity", "1", "-o", "y.npy", "--seed", str(2**63)],
        ["assess", "x.dcm", "--acquisition", "x" * 2001],
    ],
)
def test_wrong_usage_is_2_and_said_on_stderr(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert medq(*arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err


def test_one_path_gives_one_valid_object_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert medq("assess", example(CT_HEAD), "--json") == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    report.validate(found)
    assert found["modality"] == {"value": "ct", "from": "header", "confidence": 1.0}
    assert found["description"]
    assert shown.err == ""


def test_several_paths_give_a_list_and_a_bad_one_is_named(text_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert medq("assess", example(CT_SMALL), text_file, example(CT_HEAD), "--json") == 3
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert [one["source"]["path"] for one in found] == [str(example(CT_SMALL)), str(example(CT_HEAD))]
    assert len(shown.err.splitlines()) == 1
    assert text_file.name in shown.err


def test_one_bad_path_prints_no_json(text_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert medq("assess", text_file, "--json") == 3
    assert capsys.readouterr().out == ""


def test_text_says_score_verdict_and_disclaimer(capsys: pytest.CaptureFixture[str]) -> None:
    assert medq("assess", example(CT_HEAD)) == 0
    shown = capsys.readouterr().out
    assert "Score" in shown
    assert "medical device" in shown
    assert "\x1b" not in shown  # no terminal, no colour


def test_gate(capsys: pytest.CaptureFixture[str]) -> None:
    assert medq("assess", example(CT_HEAD), "--json", "--fail-below", "0") == 0
    assert medq("assess", example(CT_HEAD), "--json", "--fail-below", "4") == 4
    assert "below 4" in capsys.readouterr().err


def test_gate_does_not_pass_what_cannot_be_assessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (256, 256), 90).save(tmp_path / "blank.png")
    assert medq("assess", tmp_path / "blank.png", "--json", "--fail-below", "0") == 4
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert not found["assessable"]
    assert found["reason"]
    assert "not assessable" in shown.err


def test_what_the_user_says_replaces_the_header(capsys: pytest.CaptureFixture[str]) -> None:
    words = "Head CT after contrast, 5 mm"
    arguments = ("--modality", "ct", "--anatomy", "head", "--acquisition", words, "--no-text", "--json")
    assert medq("assess", example(CT_HEAD), *arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["modality"] == {"value": "ct", "from": "user", "confidence": 1.0}
    assert found["anatomy"] == {"value": "head", "from": "user", "confidence": 1.0}
    assert found["acquisition"] == words
    assert found["description"] == ""


def test_a_volume_is_one_result_with_every_slice(volume: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert medq("assess", volume, "--json", "--modality", "mr") == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["source"]["slices"] == 3
    assert shown.err == ""  # no terminal and few slices: no progress bar


def test_a_long_volume_shows_progress_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = io.load(example(CT_SMALL))[0]
    long = np.repeat(sample.pixels[:, :48, :48], console.MANY_SLICES, axis=0)
    np.save(tmp_path / "long.npy", long)
    assert medq("assess", tmp_path / "long.npy", "--json", "--modality", "ct") == 0
    shown = capsys.readouterr()
    json.loads(shown.out)
    assert shown.err.splitlines()[0] == f"medq: 1 of {console.MANY_SLICES} slices" and "\r" not in shown.err


def test_missing_and_corrupt_models_are_5(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert medq("assess", example(CT_HEAD), "--preset", tmp_path / "nowhere") == 5
    shipped = checkpoint.preset_folder("nano")
    for name in (checkpoint.META_FILE, checkpoint.WEIGHTS_FILE, checkpoint.VOLUME_FILE):
        (tmp_path / name).write_bytes((shipped / name).read_bytes())
    with (tmp_path / checkpoint.WEIGHTS_FILE).open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        last = stream.read(1)
        stream.seek(-1, os.SEEK_END)
        stream.write(bytes([last[0] ^ 1]))
    assert medq("assess", example(CT_HEAD), "--preset", tmp_path) == 5
    assert "corrupt" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [[], {"calibration": None}, {"score_raw": [0.0]}, {"width": 7}])
def test_weights_that_are_described_wrongly_are_5(
    wrong: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = checkpoint.preset_folder("nano")
    shutil.copytree(shipped, tmp_path / "model")
    told = json.loads((shipped / checkpoint.META_FILE).read_text())
    if isinstance(wrong, dict):
        ((name, value),) = wrong.items()
        home = {"score_raw": told["calibration"], "width": told["scorer"]}.get(name, told)
        home[name] = value
        wrong = told
    (tmp_path / "model" / checkpoint.META_FILE).write_text(json.dumps(wrong))
    assert medq("assess", example(CT_HEAD), "--no-text", "--preset", tmp_path / "model") == 5
    assert "install" in capsys.readouterr().err


@pytest.mark.parametrize("ending", [".pdf", ".html", ".json", ".fhir.json"])
def test_an_old_report_stays_until_the_new_one_is_whole(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / f"report{ending}"
    out.write_text("old")

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert medq("report", example(CT_HEAD), "-o", out, "--force") == 2
    assert out.read_text() == "old" and [one.name for one in tmp_path.iterdir()] == [out.name]


def test_reports_in_three_formats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for ending, start in ((".pdf", b"%PDF-"), (".html", b"<!DOCTYPE html>"), (".json", b"{")):
        out = tmp_path / "new folder" / f"report{ending}"
        assert medq("report", example(CT_HEAD), "-o", out) == 0
        assert out.read_bytes().startswith(start)
        assert capsys.readouterr().out.strip() == str(out)


def test_a_name_that_is_no_utf_8_is_no_reason_to_stop(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/sc\xffan.dcm"))
    path.write_bytes(example(CT_SMALL).read_bytes())
    for ending in ("json", "html"):
        assert medq("report", path, "-o", tmp_path / f"r.{ending}", "--no-text") == 0
    told = json.loads((tmp_path / "r.json").read_text())["source"]["path"]
    assert told == str(tmp_path / r"sc\xffan.dcm")
    told.encode()  # half a surrogate pair, as Python has such a name, is no JSON for others


def test_a_folder_of_images_gives_numbered_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (1, 2):
        pixels = phantoms.phantom("mr", seed=number, size=96).pixels[0]
        np.save(folder / f"{number}.npy", pixels)
    assert medq("report", folder, "-o", tmp_path / "out.json", "--modality", "mr") == 0
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["out-1.json", "out-2.json"]
    shown = capsys.readouterr()
    assert shown.out.split() == [str(tmp_path / f"out-{number}.json") for number in (1, 2)]
    for number in (1, 2):
        told = json.loads((tmp_path / f"out-{number}.json").read_text())["source"]["path"]
        assert f"out-{number}.json is of '{told}'." in shown.err
    assert medq("report", folder, "-o", tmp_path / "out.json", "--modality", "mr") == 2
    assert "out-1.json' is there already" in capsys.readouterr().err


def test_a_tilde_that_the_shell_left_alone_is_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    shutil.copy(example(CT_SMALL), tmp_path / "~kept.dcm")
    assert cli.main(["report", "~kept.dcm", "--out=~/report.json", "--no-text"]) == 0  # a name may begin with one
    assert (tmp_path / "home" / "report.json").is_file() and not (tmp_path / "~").exists()
    assert cli.main(["assess", "~/nothing.dcm"]) == 3
    assert str(tmp_path / "home") in capsys.readouterr().err


def test_standard_input_is_refused_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert medq("assess", "-") == 2
    assert "give a path" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert medq("report", example(CT_HEAD), "-o", tmp_path / "file" / "report.html") == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("ending", [".npy", ".tif", ".nii.gz", ".dcm"])
def test_severity_0_keeps_every_pixel_through_every_format(ending: str, tmp_path: Path) -> None:
    out = tmp_path / f"same{ending}"
    arguments = ("--kind", "noise", "--severity", "0", "--seed", "1")
    assert medq("degrade", example(CT_HEAD), *arguments, "-o", out) == 0
    before, after = io.load(example(CT_HEAD))[0], io.load(out)[0]
    np.testing.assert_array_equal(before.pixels, after.pixels)


def test_degrading_is_seeded_and_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.npy", "b.npy"):
        arguments = ("--kind", "low_dose_noise", "--severity", "2", "--seed", "5")
        assert medq("degrade", example(CT_HEAD), *arguments, "-o", tmp_path / name) == 0
    first, second = np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy")
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - io.load(example(CT_HEAD))[0].pixels[0]).max() > 1
    record = json.loads((tmp_path / "a.npy.json").read_text())["record"]
    assert (record["kind"], record["severity"], record["seed"]) == ("low_dose_noise", 2.0, 5)
    assert capsys.readouterr().err == ""


def test_degrade_replaces_no_input_and_nothing_else_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan, link, other = tmp_path / "scan.dcm", tmp_path / "link.dcm", tmp_path / "other.dcm"
    scan.write_bytes(example(CT_SMALL).read_bytes())
    link.symlink_to(scan)
    arguments = ("degrade", scan, "--kind", "noise", "--severity", "1", "-o")
    for out in (scan, link):
        assert medq(*arguments, out, "--force") == 2
        assert scan.read_bytes() == example(CT_SMALL).read_bytes()
    other.write_text("mine")
    assert medq(*arguments, other) == 2
    assert other.read_text() == "mine" and "--force" in capsys.readouterr().err
    assert medq(*arguments, other, "--force") == 0
    assert io.load(other)[0].modality == "ct"
    record = tmp_path / "new.npy.json"
    record.write_text("mine")
    assert medq(*arguments, tmp_path / "new.npy") == 2
    assert not (tmp_path / "new.npy").exists()


def test_png_refuses_values_it_cannot_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--kind", "noise", "--severity", "1", "-o", tmp_path / "ct.png")
    assert medq("degrade", example(CT_HEAD), *arguments) == 2
    assert ".npy" in capsys.readouterr().err
    assert not (tmp_path / "ct.png").exists()


def test_degrade_needs_the_modality_of_a_bare_array(volume: Path, tmp_path: Path) -> None:
    arguments = ("--kind", "mr_noise", "--severity", "2", "-o", tmp_path / "out.npy")
    assert medq("degrade", volume, *arguments) == 2
    assert medq("degrade", volume, *arguments, "--modality", "mr") == 0


def test_a_slip_is_answered_beside_the_usage_of_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in ((("degrade", "x", "--kind", "lowdose"), "did you mean low_dose_noise?"),
                        (("assess", "x", "--fail-belo", "3"), "unrecognized arguments: --fail-belo 3")):  # fmt: skip
        assert medq(*words) == 2
        shown = capsys.readouterr().err
        assert told in shown and shown.startswith(f"usage: medq {words[0]}")


def test_a_report_is_not_replaced_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.json"
    out.write_text("mine")
    assert medq("report", example(CT_HEAD), "-o", out, "--no-text") == 2
    assert out.read_text() == "mine" and "add --force" in capsys.readouterr().err
    assert medq("report", example(CT_HEAD), "-o", out, "--no-text", "--force") == 0


def test_list_names_the_kinds_of_a_modality(capsys: pytest.CaptureFixture[str]) -> None:
    assert medq("degrade", "--list", "--modality", "pet") == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert "low_count_noise" in names
    assert "sparse_view" not in names


def test_info_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert medq("info", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["models"]["nano"]["sha256"] == checkpoint.file_sha256(
        checkpoint.preset_folder("nano") / checkpoint.WEIGHTS_FILE
    )
    assert medq("info") == 0


def test_selftest_reproduces_the_golden_scores(capsys: pytest.CaptureFixture[str]) -> None:
    assert medq("selftest") == 0
    assert "DIFFERENT" not in capsys.readouterr().out


def test_demo_leaves_its_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert medq("demo", "--out", tmp_path) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "report.html", "report.json", "report.pdf", "with-motion.html", "with-motion.pdf"]  # fmt: skip
    report.validate(json.loads((tmp_path / "report.json").read_text()))
    assert "assess scan.dcm" in capsys.readouterr().out


def test_an_unexpected_error_shows_an_id_and_never_its_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(args: object) -> int:
        raise ValueError("PatientName Doe^Jane")

    monkeypatch.setattr(commands, "info", fail)
    assert medq("info") == 1
    shown = capsys.readouterr()
    assert "Doe" not in shown.err + shown.out
    assert "id " in shown.err
    monkeypatch.setenv("MEDQ_DEBUG", "1")
    assert medq("info") == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [(IngestError("x", "a"), 3), (ModelError("b"), 5), (MemoryError(), 1), (KeyboardInterrupt(), 130)],
)
def test_errors_have_their_exit_codes(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(args: object) -> int:
        raise error

    monkeypatch.setattr(commands, "info", fail)
    assert medq("info") == code
    assert "Traceback" not in capsys.readouterr().err


def test_control_characters_of_a_file_name_are_not_sent_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad\x1b[31m\nname.dcm"
    path.write_text("not an image")
    assert medq("assess", path) == 3
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 1


def test_a_library_that_does_not_load_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(args: object) -> int:
        raise ImportError("libtorch.so: failed to map segment")

    monkeypatch.setattr(commands, "info", fail)
    assert medq("info") == 1
    assert "could not be loaded (libtorch.so: failed to map segment); give medq more memory" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_without_unicode_is_no_reason_to_stop(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "größe 図.dcm"
    path.write_bytes(example(CT_SMALL).read_bytes())
    done = run(["assess", str(path), "--acquisition", "≥ 5 µm 図"], PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert b"Score" in done.stdout


def test_the_program_loses_neither_its_output_nor_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    medq("degrade", "--list")
    listed, refused = run(["degrade", "--list"]), run(["assess", "nowhere.dcm", "--json"])
    assert (listed.returncode, listed.stdout.decode()) == (0, capsys.readouterr().out)
    assert (refused.returncode, refused.stdout) == (3, b"") and b"nowhere.dcm" in refused.stderr


def test_a_closed_pipe_ends_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "medq_vlm.cli", "degrade", "--list"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert done.returncode == cli.BROKEN_PIPE
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("redirect", "code"), [(">&-", 0), (">&- 2>&-", 0), ("> /dev/full", cli.LOST), ("> /dev/full 2>&1", cli.LOST)]
)
def test_a_closed_or_full_stream_is_no_fault_of_medq(redirect: str, code: int) -> None:
    for arguments in ("degrade --list", "info --json"):
        command = f"{sys.executable} -m medq_vlm.cli {arguments} {redirect}"
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert len(done.stderr.splitlines()) == (redirect == "> /dev/full") and "error" not in done.stderr


def test_a_full_stream_is_told_whatever_was_printed_last(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", full)
        assert medq("assess", example(CT_SMALL), "--no-text", "--json") == cli.LOST
        monkeypatch.undo()
    assert capsys.readouterr().err.startswith("medq: The output cannot be written")


def run(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "medq_vlm.cli", *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, check=False)


def test_a_modality_is_taken_in_either_case_and_a_prompt_has_two_sides() -> None:
    read = cli.parser().parse_args(["assess", "x.png", "--modality", "CT", "--anatomy", "Head"])
    assert (read.modality, read.anatomy) == ("ct", "head")
    with pytest.raises(argparse.ArgumentTypeError, match="is no pair"):
        cli.prompt("sharp | soft | blurred")
