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


def agreeing(stem: str, options: list[Option], line: Line, modality: str) -> list[Option]:
    """Those of `options` that may be the answer; an option about nothing that the result holds may."""
    found = {item.kind: item for item in line.items}
    denied = bool(NEGATION.search(stem))
    named = {option: set(kinds_in(option.words, modality, list(found))) for option in options}
    degrees = all(_word(option) in vocab.SEVERITIES for option in options)

    def may(option: Option) -> bool:
        if degrees:
            return _word(option) == _degree(stem, line, modality)
        if _word(option) in vocab.VERDICTS:
            return (_word(option) == line.verdict) != denied
        if NOTHING.search(option.words):
            return not any(kinds & set(found) for kinds in named.values()) and not denied
        return not named[option] or bool(named[option] & set(found)) != denied

    left = [option for option in options if may(option)]
    if MAIN.search(stem) and not denied:
        for item in line.items:  # the worst first
            if worst := [option for option in left if item.kind in named[option]]:
                return worst
    return left


def _degree(stem: str, line: Line, modality: str) -> str:
    """How severe the finding is that the stem speaks of, or the worst where it names none."""
    found = {item.kind: item.severity for item in line.items}
    spoken = kinds_in(stem, modality, list(found))
    if spoken:
        return next((found[kind] for kind in spoken if kind in found), vocab.SEVERITIES[0])
    return line.items[0].severity if line.items else vocab.SEVERITIES[0]


def _word(option: Option) -> str:
    return option.words.lower().strip(" .?!")
