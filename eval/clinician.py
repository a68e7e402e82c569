"""The written clinician questions: reading them, and judging answers by their committed rules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eval.claims import wrong_claims
from eval.written_cases import EVERYWHERE, written
from medq_vlm.language.talker import Subject

FILE = Path(__file__).parent / "clinician_questions.txt"
REFUSE = ("only speak about", "outside", "cannot answer", "no diagnosis", "not about", "physician", "radiologist")
CLEAN = ("no degradation", "nothing was found", "no artefact", "no problem")
NO = ("no,", "no ", "not found", "not ", "nothing")


@dataclass(frozen=True)
class Question:
    """One question about one written case."""

    case: int
    subject: Subject
    words: str
    rule: str
    follows: bool  # continues the conversation of the question before it


def read(path: Path = FILE) -> list[Question]:
    """All questions of the file, in order."""
    out: list[Question] = []
    subject, number = None, 0
    for raw in path.read_text(encoding="utf-8").splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("case:"):
            subject, number = case(line.removeprefix("case:")), number + 1
            continue
        assert subject is not None
        follows = line.startswith("+")
        words, _, rule = line.removeprefix("+").rpartition("|")
        out.append(Question(number, subject, words.strip(), rule.strip(), follows))
    return out


def case(text: str) -> Subject:
    """A subject from "ct, chest | low_dose_noise 3.2, metal 1.8 @ upper left of the image | 1.1 | acquisition"."""
    scene, findings, score, acquisition = (part.strip() for part in text.split("|"))
    modality, anatomy = (word.strip() for word in scene.split(","))
    rows = []
    for entry in filter(None, (part.strip() for part in findings.split(","))):
        head, _, place = entry.partition("@")
        kind, value = head.split()
        rows.append((kind, float(value), place.strip() or EVERYWHERE))
    rows.sort(key=lambda row: -row[1])
    return written(modality, anatomy, rows, float(score), acquisition)


@dataclass(frozen=True)
class Judgement:
    """What the rules say of one answer."""

    on_topic: bool
    consistent: bool
    faults: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return self.on_topic and self.consistent


def judge(question: Question, answer: str) -> Judgement:
    """On topic: every group of the rule is met. Consistent: no claim against the assessment."""
    lower = answer.lower()
    faults = [f"lacks {group}" for group in _unmet(question, lower)]
    wrong = wrong_claims(answer, question.subject.assessment)
    return Judgement(not faults, not wrong, (*faults, *wrong))


def _unmet(question: Question, lower: str) -> Iterator[str]:
    for group in filter(None, (part.strip() for part in question.rule.split(";"))):
        if group.startswith("!"):
            if group[1:].strip().lower() in lower:
                yield group
        elif not any(_met(word.strip(), lower, question) for word in group.split("/")):
            yield group


def _met(word: str, lower: str, question: Question) -> bool:
    assessment = question.subject.assessment
    lists = {"REFUSE": REFUSE, "CLEAN": CLEAN, "VERDICT": (str(assessment.verdict),),
             "SCORE": (f"{assessment.score:.1f}",)}  # fmt: skip
    if word == "NO":
        return any(lower.startswith(form) or f" {form}" in lower for form in NO) or any(c in lower for c in CLEAN)
    if word in lists:
        return any(form in lower for form in lists[word])
    return re.search(rf"(?<![\w]){re.escape(word.lower())}", lower) is not None
