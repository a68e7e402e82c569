"""The commands of training/README.md run as written; a file of their own, so that they run beside the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.readme_commands import LEARNING, furnish, runs_as_written


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Commands run in one folder, one after the other: shards first, then what learns from them."""
    return furnish(tmp_path_factory.mktemp("training"))


@pytest.mark.parametrize("command", LEARNING)
def test_training_runs_as_written(command: str, workplace: Path) -> None:
    runs_as_written(command, workplace)
