"""Every string the language model is shown, apart from the notes on terms (terms.py) and the line (line.py).

User text and header text are data: special tokens, role markers and the brackets of our own notes are neutralised.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from medq_vlm import vocab
from medq_vlm.language.line import Line
from medq_vlm.language.terms import NOTED
from medq_vlm.schema import Assessment

START, END = "<|im_start|>", "<|im_end|>"
SYSTEM = "You report on the technical quality of a medical image.\nImage:"
LONGEST_QUESTION, LONGEST_ACQUISITION = 600, 240  # characters
DESCRIBE = "Describe the image quality."
COMPARE = "Compare image A and image B."
ROLE = re.compile(r"(?i)\b(system|assistant|user|human|tool|developer)\s*:")
MARKUP = re.compile(r"(?i)###+|<</?sys>>|</?s>|</?(?:system|assistant|user|inst)>")


def neutral(text: str, special: Iterable[str], limit: int) -> str:
    """`text` as plain words on one line, at most `limit` characters.

    `special` are the tokenizer's special tokens: each one found in the text is broken up, whatever its shape.
    """
    kept = (" " if char.isspace() else char for char in unicodedata.normalize("NFKC", text))
    line = "".join(char for char in kept if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    line = line.replace("[", "(").replace("]", ")")
    for _ in range(3):  # breaking one token up must not put another one together
        for token in sorted((t for t in special if t and not t.isspace() and len(t) > 1), key=len, reverse=True):
            line = line.replace(token, " ".join(char for char in token if char.isalnum() or char == " "))
        line = re.sub(r"<\s*\|+|\|+\s*>", " ", line)
    line = MARKUP.sub(" ", line)
    line = ROLE.sub(lambda found: f"{found.group(1)} ", line)
    return " ".join(line.split())[:limit].strip()


def opening() -> str:
    """Up to the place of the soft tokens."""
    return f"{START}system\n{SYSTEM}"


def after_image(acquisition: str) -> str:
    """From the soft tokens to the structured line; `acquisition` is neutral already."""
    return f"\nAcquisition: {acquisition or 'not given'}{END}\n{START}assistant\n"


def after_line(line: Line, modality: str) -> str:
    """Ends the line's turn and notes cause, effect and remedy of the worst findings."""
    notes = [note(item.kind, modality) for item in line.items[:NOTED]]
    return f"{END}\n{START}system\n" + "\n".join(notes or ["No degradation found."]) + f"{END}\n"


def note(kind: str, modality: str) -> str:
    """What is known of a kind in a modality, in one line."""
    cause, impact, remedy = vocab.text_for(kind, modality)
    return f"{vocab.KIND[kind].plain}: from {cause}; effect: {impact}; remedy: {remedy}."


def refused(assessment: Assessment) -> str:
    """The line of an image that was not assessed."""
    reason = assessment.reason.replace('"', "'")
    return f'{{"image":"unknown","assessable":false,"reason":"{reason}"}}'


def turn(question: str, notes: Sequence[str]) -> str:
    """A question with its notes, up to the model's answer; `question` is neutral already."""
    noted = "".join(f"[{text}]\n" for text in notes)
    return f"{START}user\n{noted}{question}{END}\n{START}assistant\n"


SIMILAR = 0.2  # score points; closer images count as equal


def pair_opening(letter: str) -> str:
    """Up to the soft tokens of one of two images."""
    return f"{START}system\nImage {letter}:"


def after_pair_image() -> str:
    """From the soft tokens of one of two images to its line."""
    return f"{END}\n{START}assistant\n"


def pair_note(a: Line, b: Line) -> str:
    """The scores of two images compared by the scorer."""
    gap = round(a.score, 1) - round(b.score, 1)
    told = f"A {vocab.score_text(a.score)} {a.verdict}, B {vocab.score_text(b.score)} {b.verdict}"
    if abs(gap) < SIMILAR:
        return f"{told}: similar"
    return f"{told}: {'A' if gap > 0 else 'B'} is better by {abs(gap):.1f}"
