"""The commands of evaluation run as written; a file of their own, so that they run beside the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.readme_commands import EVALUATING, furnish, runs_as_written


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return furnish(tmp_path_factory.mktemp("evaluation"))


@pytest.mark.parametrize("command", EVALUATING)
def test_evaluation_runs_as_written(command: str, workplace: Path) -> None:
    runs_as_written(command, workplace)
