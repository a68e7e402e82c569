"""Starting the app: this computer alone unless there is a login."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.access import check_host, checker, credentials, is_loopback
from app.main import main, parser
from medq_vlm import cli
from medq_vlm.schema import MedQError


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.3.2.1"])
def test_this_computer_needs_no_login(host: str) -> None:
    assert is_loopback(host)
    check_host(host, [])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "scanner.local", "127.0.0.1.example"])
def test_any_other_host_needs_one(host: str) -> None:
    with pytest.raises(MedQError, match="login is needed"):
        check_host(host, [])
    check_host(host, [("anna", "secret")])


def test_starting_without_a_login_is_refused_with_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEDQ_AUTH", raising=False)
    assert main(["--host", "0.0.0.0"]) == 2
    said = capsys.readouterr().err
    assert "login is needed" in said and "Traceback" not in said


def test_medq_chat_becomes_the_app() -> None:
    """Not called in this process: it would be replaced by the app, or by its exit code as here."""
    command = [sys.executable, "-m", "medq_vlm.cli", "chat", "--host", "0.0.0.0"]
    environment = {name: value for name, value in os.environ.items() if name != "MEDQ_AUTH"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "login is needed" in done.stderr and "Traceback" not in done.stderr


def test_medq_chat_hands_every_option_of_the_app_on(monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[str] = []
    monkeypatch.setattr(os, "execve", lambda _, words, __: handed.extend(words))
    given = ["--host", "127.0.0.1", "--port", "7999", "--preset", "mine", "--precision", "fp32",
             "--auth", "anna:secret"]  # fmt: skip
    cli.main(["chat", *given])
    assert vars(parser().parse_args(handed[3:])) == vars(parser().parse_args(given))
    options = {name for action in parser()._actions for name in action.option_strings}
    assert options - {"-h", "--help"} == {word for word in given if word.startswith("--")}


def test_logins_come_from_arguments_a_file_or_the_environment(tmp_path: Path) -> None:
    assert credentials(["anna:secret", "bernd:pass:word"]) == [("anna", "secret"), ("bernd", "pass:word")]
    (tmp_path / "logins").write_text("anna:secret\n\ncarla:other\n")
    assert credentials([f"@{tmp_path / 'logins'}"]) == [("anna", "secret"), ("carla", "other")]
    assert credentials(None, "anna:secret") == [("anna", "secret")]
    assert credentials(None) == []


@pytest.mark.parametrize("line", ["anna", ":secret", "anna:", "@/no/such/file"])
def test_an_unusable_login_is_refused(line: str) -> None:
    with pytest.raises(MedQError):
        credentials([line])


def test_only_the_right_pair_gets_in() -> None:
    check = checker([("anna", "secret"), ("bernd", "word")])
    assert check("anna", "secret") and check("bernd", "word")
    assert not check("anna", "word") and not check("", "") and not check("Anna", "secret")
