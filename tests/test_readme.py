"""Every command of the README and its pages is accounted for, and runs as written on small inputs.

test_readme_training.py and test_readme_evaluation.py run what trains and what measures.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.readme_commands import (
    BLOCKS,
    MAKE,
    NOT_RUN_HERE,
    PAGES,
    PYTHON,
    ROOT,
    TEXT,
    USING,
    furnish,
    runs_as_written,
)

KINDS_OF_BLOCK = {"sh", "python", "text"}  # the last kind is not run, and its page says so
FILE = re.compile(r"`((?:medq_vlm|training|eval|tests|docs|app)/[\w./]*)`")
MOST_WORDS = 2800
LINK = re.compile(r"\]\((?!https?:)([^)\s]*)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Commands run in one folder, one after the other."""
    return furnish(tmp_path_factory.mktemp("readme"))


@pytest.mark.parametrize("command", [one for one in USING if one not in NOT_RUN_HERE])
def test_command_runs_as_written(command: str, workplace: Path) -> None:
    runs_as_written(command, workplace)


def test_make_targets_exist_and_run_what_is_tested() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = [command for command in USING if command.startswith("make ")]
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


@pytest.mark.parametrize("page", PAGES)
def test_no_block_is_of_a_kind_that_nobody_runs(page: str) -> None:
    assert {kind for kind, _ in BLOCKS[page]} <= KINDS_OF_BLOCK
    assert TEXT[page].count("```") == 2 * len(BLOCKS[page])


@pytest.mark.parametrize("page", PAGES)
def test_every_file_it_names_exists(page: str) -> None:
    missing = [name for name in FILE.findall(TEXT[page]) if not (ROOT / name).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for target in LINK.findall(TEXT[page]):
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), target
        if anchor:
            headings = HEADING.findall(path.read_text(encoding="utf-8"))
            assert anchor in {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}, target


def test_the_readme_stays_one_that_a_newcomer_reads() -> None:
    assert len(TEXT["README.md"].split()) <= MOST_WORDS
