"""Questions labelled as out of scope (O) or about image quality (I), a label, a tab and a question on each line."""

from __future__ import annotations

from pathlib import Path

HALVES = {name: Path(__file__).parent / f"scope_{name}.txt" for name in ("test", "development")}
FOLLOWS = " > "  # before each further question of a conversation
DECLINED = ("only speak about", "outside what i can answer", "outside my scope", "no diagnosis", "cannot answer")


def read(path: Path = HALVES["test"]) -> list[tuple[str, bool]]:
    """Questions, and whether each is out of scope."""
    lines = (line for line in path.read_text(encoding="utf-8").splitlines() if line.strip() and line[0] != "#")
    return [(words.strip(), label == "O") for label, _, words in (line.partition("\t") for line in lines)]
