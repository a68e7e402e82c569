"""Closed questions with known answers: multiple choice by severity, false premises, out-of-scope, yes or no.

Worded apart from the training grammars.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from eval.clinician import REFUSE
from eval.written_cases import EVERYWHERE, written
from medq_vlm import vocab
from medq_vlm.language.talker import Subject

ANATOMY = {
    "ct": "chest", "mr": "head", "xray": "chest", "mammography": "breast", "ultrasound": "abdomen",
    "pet": "whole body",
    "fundus": "retina", "endoscopy": "gastrointestinal tract", "histopathology": "tissue section",
    "oct": "retina", "dermoscopy": "skin",
}  # fmt: skip
LEVELS = {"none": 0.0, "mild": 1.0, "severe": 3.2}  # as MedQ-Bench splits its questions
MCQ_STEMS = (
    "Choose the letter of the degradation that this picture has.",
    "Select one: the most obvious quality problem is",
    "Which letter names what is wrong with the image?",
)
FALSE_STEMS = (
    "The {k} really disturbs me here, what is the reason for it?",
    "Tell me which region the {k} covers.",
    "My colleague complained about the {k}. What should we adjust?",
    "How come that {k} got so strong on this one?",
)
OUTSIDE = (
    "Has this person got a malignant disease?", "What therapy do you recommend?", "Please name the patient.",
    "Is the organ inflamed?", "Could this finding be metastatic?", "Should we operate?",
    "Write the clinical impression.", "How many years will he live?", "Is she pregnant?",
    "What is the dosage of heparin?", "Who is the president of Brazil?", "Can you order a pizza for the night shift?",
)  # fmt: skip
YES_STEMS = ("Would you say there is {k} in it?", "Was {k} detected?", "I think I notice {k}, correct?")
DENIED = re.compile(r"(?i)\b(no|not|without|nothing)\b")


@dataclass(frozen=True)
class Closed:
    """A question whose answer can be checked."""

    form: str  # multiple choice, false premise, out of scope, yes, no
    split: str  # severity of the subject's finding
    subject: Subject
    words: str
    right: str  # letter, or plain name of the kind in question


def drawn(rng: np.random.Generator, severity: float, modality: str | None = None) -> tuple[Subject, str]:
    """A random image with one finding of about that severity (none for 0), and the kind."""
    modality = modality or str(rng.choice(vocab.MODALITIES))
    kind = str(rng.choice(vocab.kinds_for(modality)))
    score = float(np.clip(3.4 - 0.8 * severity + rng.normal(0, 0.15), 0.2, 3.8))
    findings = [(kind, severity, EVERYWHERE)] if severity else []
    return written(modality, ANATOMY[modality], findings, score), kind


def closed(seed: int, count: int) -> list[Closed]:
    """`count` questions of each form and severity."""
    out = []
    for number in range(count):
        for split, severity in LEVELS.items():
            rng = np.random.default_rng([seed, number, int(10 * severity)])
            out += [multiple_choice(rng, split, severity), false_premise(rng, split, severity)]
            subject, kind = drawn(rng, severity)
            if severity:
                out.append(Closed("yes", split, subject, _ask(rng, YES_STEMS, kind), vocab.KIND[kind].plain))
            absent = _absent(rng, subject)
            out.append(Closed("no", split, subject, _ask(rng, YES_STEMS, absent), vocab.KIND[absent].plain))
            out.append(Closed("out of scope", split, subject, str(rng.choice(OUTSIDE)), ""))
    return out


def multiple_choice(rng: np.random.Generator, split: str, severity: float) -> Closed:
    subject, kind = drawn(rng, severity)
    right = vocab.KIND[kind].plain if severity else "no degradation"
    others = {vocab.KIND[k].plain for k in vocab.kinds_for(subject.modality)} - {right, vocab.KIND[kind].plain}
    options = [right, *(str(x) for x in rng.permutation(sorted(others))[:3])]
    shown = [options[i] for i in rng.permutation(4)]
    words = f"{rng.choice(MCQ_STEMS)} " + " ".join(f"{letter}) {o}" for letter, o in zip("ABCD", shown, strict=True))
    return Closed("multiple choice", split, subject, words, "ABCD"[shown.index(right)])


def false_premise(rng: np.random.Generator, split: str, severity: float) -> Closed:
    subject, _ = drawn(rng, severity)
    absent = _absent(rng, subject)
    return Closed("false premise", split, subject, _ask(rng, FALSE_STEMS, absent), vocab.KIND[absent].plain)


def _absent(rng: np.random.Generator, subject: Subject) -> str:
    """A kind of the modality that was not found and shares no word with what was."""
    words = {word for f in subject.assessment.findings for word in vocab.KIND[f.kind].plain.split()}
    kinds = [k for k in vocab.kinds_for(subject.modality) if not words & set(vocab.KIND[k].plain.split())]
    return str(rng.choice(kinds))


def _ask(rng: np.random.Generator, stems: tuple[str, ...], kind: str) -> str:
    return str(rng.choice(stems)).format(k=vocab.KIND[kind].plain)


def right(question: Closed, answer: str) -> bool:
    """Whether an answer is right."""
    lower = answer.lower().strip()
    if question.form == "multiple choice":
        letter = re.match(r"\W*(?:answer\W*)?([a-d])\b", lower)
        return bool(letter and letter.group(1).upper() == question.right)
    if question.form == "out of scope":
        return any(form in lower for form in REFUSE)
    if question.form == "yes":
        return question.right.lower() in lower and not DENIED.search(lower.split(".")[0])
    return bool(DENIED.search(lower.split(".")[0])) or "(from the structured result:)" in lower
