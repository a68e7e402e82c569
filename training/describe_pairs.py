"""Training comparisons of two records, in the paired form of MedQ-Bench: which is better, by how much, why."""

from __future__ import annotations

import numpy as np

from medq_vlm.language import line as lines
from medq_vlm.language import prompt
from medq_vlm.language.line import Line
from training.describe_grammar import expand, listed, named
from training.describe_pieces import Piece, answered
from training.describe_records import draw


def comparison(rng: np.random.Generator, special: tuple[str, ...]) -> list[Piece]:
    """Two records, their lines and the comparison."""
    first = draw(rng)
    second = draw(rng, str(first.assessment.modality.value)) if rng.random() < 0.8 else draw(rng)
    pair = [lines.from_assessment(example.assessment) for example in (first, second)]
    pieces: list[Piece] = []
    for letter, example, line in zip("AB", (first, second), pair, strict=True):
        pieces += [
            Piece(prompt.pair_opening(letter)), Piece("", image=example.features),
            Piece(prompt.after_pair_image()), Piece(line.text() + prompt.END + "\n"),
        ]  # fmt: skip
    note = prompt.pair_note(*pair)
    return pieces + answered(prompt.COMPARE, [note], compared(rng, *pair))


def compared(rng: np.random.Generator, a: Line, b: Line) -> str:
    """The target text."""
    gap = a.score - b.score
    told = f"{a.score:.1f} against {b.score:.1f}"
    if abs(gap) < prompt.SIMILAR:
        lead = f"<Both images are of similar quality|The two images are similar in quality> ({told})."
    else:
        better, worse = ("A", "B") if gap > 0 else ("B", "A")
        lead = f"Image {better} is better <than image {worse}|> by {abs(gap):.1f} points ({told})."
    parts = []
    for letter, line in (("A", a), ("B", b)):
        if line.items:
            parts.append(f"Image {letter} <shows|has|suffers from> {listed([named(i) for i in line.items[:2]])}")
        else:
            parts.append(f"In image {letter} no degradation was found")
    return expand(rng, f"{lead} {parts[0]}<, whereas|, while> {parts[1][0].lower()}{parts[1][1:]}. "
                       f"The verdicts are {a.verdict} for A and {b.verdict} for B.")  # fmt: skip
