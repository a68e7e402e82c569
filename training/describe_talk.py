# ruff: noqa: E501  a sentence with its alternatives reads best on one line
"""Whole training conversations: the line, then a description or several questions with their notes, and follow-ups."""

from __future__ import annotations

import numpy as np

from medq_vlm import vocab
from medq_vlm.language import line as lines
from medq_vlm.language import prompt
from medq_vlm.language.line import Line
from medq_vlm.language.terms import notes_for
from training import describe_questions as ask
from training import describe_scope as scope
from training.describe_grammar import be, expand, hurried, named, pick, where
from training.describe_pairs import comparison
from training.describe_pieces import Piece, answered
from training.describe_records import Example, draw
from training.describe_text import description

SHARES = {"describe": 0.3, "compare": 0.06, "refused": 0.03}  # the rest asks
QUESTIONS = (5, 9)  # in one conversation, at least and at most: the image and its line are paid for once
SCOPE: tuple[tuple[str, float], ...] = (("outside", 3.0), ("steering", 0.8), ("manners", 0.6), ("topic", 1.0),
                                        ("physics", 1.6), ("meaning", 0.7))  # fmt: skip
SCOPE_SHARE = 0.28


def conversation(rng: np.random.Generator, special: tuple[str, ...]) -> list[Piece]:
    """One training conversation."""
    roll = rng.random()
    if roll < SHARES["compare"]:
        return comparison(rng, special)
    if roll < SHARES["compare"] + SHARES["refused"]:
        return refused(rng)
    return about(rng, draw(rng), special, roll < sum(SHARES.values()))


def about(rng: np.random.Generator, example: Example, special: tuple[str, ...], describe: bool) -> list[Piece]:
    """A conversation on one record."""
    modality = str(example.assessment.modality.value)
    line = lines.from_assessment(example.assessment)
    pieces = opening(example, line, special)
    pieces.append(Piece(prompt.after_line(line, modality)))
    turns: list[tuple[str, str]] = []
    if describe:
        text = description(rng, line, modality)
        pieces += answered(prompt.DESCRIBE, [], text)
        turns.append((prompt.DESCRIBE, text))
    count = 3 if describe else int(rng.integers(QUESTIONS[0], QUESTIONS[1] + 1))
    for _ in range(count):
        follow = follow_up(rng, line, modality, turns) if turns and rng.random() < 0.25 else None
        question, answer = follow or single(rng, line, modality)
        question = hurried(rng, question) if ") " not in question else question
        before = " ".join(turns[-1]) if turns else ""
        notes = notes_for(question, before, line, modality)
        pieces += answered(prompt.neutral(question, special, prompt.LONGEST_QUESTION), notes, answer)
        turns.append((question, answer))
    return pieces


def opening(example: Example, line: Line, special: tuple[str, ...]) -> list[Piece]:
    """The image and its line."""
    acquisition = prompt.neutral(example.assessment.acquisition, special, prompt.LONGEST_ACQUISITION)
    return [
        Piece(prompt.opening()),
        Piece("", image=example.features),
        Piece(prompt.after_image(acquisition)),
        *(Piece(text, learned, line=learned) for text, learned in line.parts()),
    ]


def single(rng: np.random.Generator, line: Line, modality: str) -> tuple[str, str]:
    """A question that stands alone."""
    if rng.random() < SCOPE_SHARE:
        shares = np.array([share for _, share in SCOPE])
        kind = str(rng.choice([name for name, _ in SCOPE], p=shares / shares.sum()))
        if kind == "physics":
            return scope.physics(rng, line, modality)
        if kind in ("steering", "meaning"):
            return scope.steering(rng, line) if kind == "steering" else scope.meaning(rng, line)
        return {"outside": scope.outside, "manners": scope.manners, "topic": scope.topic}[kind](rng)
    forms = ask.ALWAYS + (ask.WITH_FINDINGS if line.items else ())
    weights = np.array([weight for _, weight in forms])
    form, _ = forms[int(rng.choice(len(forms), p=weights / weights.sum()))]
    return form(rng, line, modality)


def follow_up(
    rng: np.random.Generator, line: Line, modality: str, turns: list[tuple[str, str]]
) -> tuple[str, str] | None:
    """A question that refers to the kind spoken of last; None when none was."""
    spoken = [item for item in line.items if f"{item.plain}" in turns[-1][1]]
    if not spoken:
        return None
    item = min(spoken, key=lambda i: turns[-1][1].index(i.plain))
    source, effect, fix = vocab.text_for(item.kind, modality)
    verb = "come" if be(item) == "are" else "comes"
    options = (
        (("Why <is that|so|>?", "And <why|the cause>?", "What caused <it|that>?", "Where does <it|that> come from?"),
         f"The {item.plain} <most likely|probably|> {verb} from {source}."),
        (("How <do I|can I|to> <fix|avoid|change> <it|that>?", "And <how to fix it|the remedy|what can I do about it>?", "What should I do <then|about that>?"),
         f"<Against|To reduce> the {item.plain}: {fix}."),
        (("Where <is it|exactly>?", "And where?", "In which <part|place>?"), f"The {item.severity} {item.plain} {be(item)} <seen|present> {where(item)}."),
        (("How <bad|strong> is it?", "Is <it|that> <serious|bad>?", "And how severe?"), f"The {item.plain} {be(item)} {item.severity}."),
        (("<So what|Does it matter|What does it mean>?", "What could <it|that> hide?"), f"With {named(item)}, {effect}."),
        (("<Anything else|Something else|And what else>?", "Is that all?"), None),
    )  # fmt: skip
    questions, answer = options[int(rng.integers(len(options)))]
    if answer is None:
        rest = [other for other in line.items if other.kind != item.kind and other.plain not in turns[-1][1]]
        answer = f"<Also|Besides that,> {named(rest[0])} {where(rest[0])}." if rest else "No, nothing else was found."
    return pick(rng, questions), expand(rng, answer)


def refused(rng: np.random.Generator) -> list[Piece]:
    """An image that was not assessed."""
    reason = str(rng.choice([
        "The content does not look like a medical image of a modality this model knows.",
        "The image is blank: all pixels have one value.",
        "The image is 20 x 24 pixels; at least 32 on each side are needed.",
    ]))  # fmt: skip
    line = f'{{"image":"unknown","assessable":false,"reason":"{reason}"}}'
    pieces = [Piece(f"{prompt.opening()} none{prompt.after_image('')}{line}{prompt.END}\n")]
    for _ in range(int(rng.integers(2, 4))):
        example = draw(rng)
        question, _ = single(rng, lines.from_assessment(example.assessment), str(example.assessment.modality.value))
        answer = expand(rng, f"<The quality was not assessed|This image was not assessed>. {reason}")
        pieces += answered(prompt.neutral(hurried(rng, question), (), prompt.LONGEST_QUESTION), [], answer)
    return pieces
