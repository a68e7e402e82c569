"""Every command of the README is accounted for, and runs as written on small inputs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.readme_commands import COMMANDS, MAKE, NOT_RUN_HERE, PYTHON, README, ROOT, furnish, measures, runs_as_written


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Commands run in one folder, one after the other."""
    return furnish(tmp_path_factory.mktemp("readme"))


@pytest.mark.parametrize("command", [one for one in COMMANDS if one not in NOT_RUN_HERE and not measures(one)])
def test_command_runs_as_written(command: str, workplace: Path) -> None:
    runs_as_written(command, workplace)


def test_make_targets_exist_and_run_what_is_tested() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = [command for command in COMMANDS if command.startswith("make ")]
    for command in named:
        recipe = makefile.split(f"\n{command.split()[1]}:")[1].split("\n\n")[0]
        assert MAKE[command] in recipe


def test_every_extra_that_is_installed_exists() -> None:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for name in ("Makefile", ".ci/run", "README.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        named = {one for extras in re.findall(r"(?:\.|medq-vlm)\[([\w, -]+)\]", text) for one in extras.split(",")}
        assert {one.strip() for one in named} <= set(known), name
        assert named or name != "Makefile"


def test_the_recipe_takes_folders_with_blanks_and_options_that_exist(tmp_path: Path) -> None:
    """training/runs/nano.sh with a Python that only tells what it was asked for."""
    stub = tmp_path / "python"
    stub.write_text("#!/bin/bash\nprintf '%s\\n' \"$(printf '<%s>' \"$@\")\"\n")
    stub.chmod(0o755)
    script = ["bash", str(ROOT / "training" / "runs" / "nano.sh"), "a b", "c d"]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=True)
    lines = [re.findall("<([^>]*)>", line) for line in done.stdout.splitlines()]
    assert sum("a b" in line and "c d" in line for line in lines) == 4
    for line in lines:
        source = (ROOT / f"{line[1].replace('.', '/')}.py").read_text(encoding="utf-8")
        for option in (word for word in line if word.startswith("--")):
            assert f'"{option}"' in source, (line[1], option)


@pytest.mark.parametrize("code", PYTHON)
def test_python_runs_as_written(code: str, workplace: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=workplace, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout


def test_every_file_it_names_exists() -> None:
    named = re.findall(r"`((?:medq_vlm|training|eval|tests|docs)/[\w./]*)`|\]\((docs/[^)]+)\)", README)
    missing = [name for pair in named for name in pair if name and not (ROOT / name).exists()]
    assert not missing
