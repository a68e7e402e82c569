"""Multiple choice: the options of a question, and which of them the structured result does not contradict."""

from __future__ import annotations

import re
from dataclasses import dataclass

from medq_vlm import vocab
from medq_vlm.language.guard import NEGATION
from medq_vlm.language.line import Line
from medq_vlm.language.terms import kinds_in

LETTERED = re.compile(r"(?:^|(?<=[\s(]))([A-Fa-f])[).:]\s+(?=\S)|(?:^|(?<=[\s(]))([A-Fa-f])\)(?=\S)")
NOTHING = re.compile(r"(?i)^\W*(?:none|nothing|no\b.*(?:degradation|artefact|artifact|problem|finding|defect|fault))")
MAIN = re.compile(r"(?i)\b(?:most|main|mainly|worst|chief|dominant|strongest|above all)\b")


@dataclass(frozen=True)
class Option:
    """One lettered option."""

    letter: str  # A to F
    words: str

    @property
    def text(self) -> str:
        """As an answer gives it."""
        return f"{self.letter}) {self.words}"


def asked(question: str) -> tuple[str, list[Option]]:
    """The words before the options, and two options or more whose letters run from A; else none."""
    marks = list(LETTERED.finditer(question))
    letters = "".join((mark.group(1) or mark.group(2)).upper() for mark in marks)
    if len(marks) < 2 or not "ABCDEF".startswith(letters):
        return question, []
    ends = [*(mark.start() for mark in marks[1:]), len(question)]
    words = [question[mark.end() : end].strip(" \n\t,;(") for mark, end in zip(marks, ends, strict=True)]
    if not all(words):
        return question, []
    return question[: marks[0].start()], [Option(letter, text) for letter, text in zip(letters, words, strict=True)]


def agreeing(stem: str, options: list[Option], line: Line, modality: str) -> list[Option] | None:
    """Those of `options` that the result does not contradict; None where they ask for what it does not hold.

    The model, trained to pick a letter, would pick one for a diagnosis or a treatment, too.
    """
    found = {item.kind: item for item in line.items}
    denied = bool(NEGATION.search(stem))
    if all(_word(option) in vocab.SEVERITIES for option in options):
        degree = _degree(stem, line, modality)
        return None if degree is None else [option for option in options if _word(option) == degree]
    if all(_word(option) in vocab.VERDICTS for option in options):
        return [option for option in options if (_word(option) == line.verdict) != denied]
    named = {option: set(kinds_in(option.words, modality, list(found))) for option in options}
    if not any(named.values()):
        return None

    def may(option: Option) -> bool:
        if NOTHING.search(option.words):
            of_these = _word(option).startswith("none") and not any(kinds & set(found) for kinds in named.values())
            return (not found or of_these) and not denied
        return bool(named[option]) and bool(named[option] & set(found)) != denied

    left = [option for option in options if may(option)]
    if MAIN.search(stem) and not denied:
        for item in line.items:  # the worst first
            if worst := [option for option in left if item.kind in named[option]]:
                return worst
    return left


def _degree(stem: str, line: Line, modality: str) -> str | None:
    """How severe the finding is that the stem names; None where it names no kind: a stenosis has degrees, too."""
    found = {item.kind: item.severity for item in line.items}
    spoken = kinds_in(stem, modality, list(found))
    if not spoken:
        return None
    return next((found[kind] for kind in spoken if kind in found), vocab.SEVERITIES[0])


def _word(option: Option) -> str:
    return option.words.lower().strip(" .?!")
