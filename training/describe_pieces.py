"""What a training conversation is put together from."""

from __future__ import annotations

from dataclasses import dataclass

from medq_vlm.language import prompt
from medq_vlm.language.features import ImageFeatures


@dataclass(frozen=True)
class Piece:
    """Text that is read or learned; `image` marks the place of an image's soft tokens."""

    text: str
    learned: bool = False
    image: ImageFeatures | None = None
    line: bool = False  # a choice of the structured line


def answered(question: str, notes: list[str], answer: str) -> list[Piece]:
    """A question and its learned answer, with the end mark learned too."""
    return [Piece(prompt.turn(question, notes)), Piece(answer + prompt.END, True), Piece("\n")]
