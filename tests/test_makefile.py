"""What `make` sets up, with a Python that only writes down what it was asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STAND_IN = """#!/bin/sh
echo "$@" >> "$CALLS"
[ "$1 $2" = "-m venv" ] && mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
exit 0
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_a_second_run_repeats_no_set_up(tmp_path: Path) -> None:
    clone, python = tmp_path / "clone", tmp_path / "python"
    clone.mkdir()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, clone)
    python.write_text(STAND_IN)
    python.chmod(0o755)

    def calls(goal: str) -> list[str]:
        log = tmp_path / "calls"
        log.write_text("")
        told = {**os.environ, "CALLS": str(log), "MAKEFLAGS": ""}
        subprocess.run(["make", goal, f"PYTHON={python}"], cwd=clone, env=told, check=True, capture_output=True)
        return [line for line in log.read_text().splitlines() if not line.startswith("-c")]

    first = calls("test")
    assert [one.split()[1] for one in first] == ["venv", "pip", "medq_vlm.cli", "pytest"]
    assert calls("test") == first[-1:]
    assert [one.split()[1] for one in calls("lint")] == ["ruff", "ruff", "mypy"]
    os.utime(clone / "pyproject.toml", (2**31, 2**31))  # other requirements: they are installed, the environment stays
    assert [one.split()[1] for one in calls("test")] == ["pip", "medq_vlm.cli", "pytest"]
