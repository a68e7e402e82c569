"""Target descriptions in six slots (identify, global, local, cause, impact, verdict), composed from grammars."""

from __future__ import annotations

import numpy as np

from medq_vlm import vocab
from medq_vlm.language.line import Item, Line
from training.describe_grammar import article, be, capital, expand, listed, named, pick, where

SHOWN = 3  # findings named one by one


def description(rng: np.random.Generator, line: Line, modality: str) -> str:
    """Four to six sentences, the last "Overall, the quality of this image is good|usable|reject."."""
    out = [identify(rng, line), overall(rng, line), local(rng, line.items)]
    if line.items:
        out += [cause(rng, line.items[0], modality), impact(rng, line.items[0], modality)]
    else:
        out.append(nothing_lost(rng, line))
    out.append(f"Overall, the quality of this image is {line.verdict}.")
    return " ".join(out)


def identify(rng: np.random.Generator, line: Line) -> str:
    a = article(line.image)
    return pick(rng, (f"This is {a} {line.image}.", f"<Shown is|The image is> {a} {line.image}."))


def overall(rng: np.random.Generator, line: Line) -> str:
    pairs = [entry.rsplit(" ", 2) if entry.split()[-2] == "very" else entry.rsplit(" ", 1) for entry in
             line.overall.split(", ")]  # fmt: skip
    words = {pair[0]: " ".join(pair[1:]) for pair in pairs}
    text = listed([f"{value} {name}" for name, value in words.items()])
    return expand(rng, f"Globally, <it has|it shows|the image has> {text}.")


def local(rng: np.random.Generator, items: tuple[Item, ...]) -> str:
    if not items:
        return pick(rng, ("Locally, no <degradation|artefact or other degradation> was found.",))
    parts = [f"{named(item)} {where(item)}" for item in items[:SHOWN]]
    rest = len(items) - SHOWN
    more = f", besides {rest} further {'finding' if rest == 1 else 'findings'}" if rest > 0 else ""
    verb = "is" if len(parts) == 1 and be(items[0]) == "is" else "are"
    return expand(
        rng, f"<Locally, {listed(parts)} {verb} <seen|present|visible>|Locally, there {verb} {listed(parts)}>{more}."
    )


def cause(rng: np.random.Generator, item: Item, modality: str) -> str:
    why, _, _ = vocab.text_for(item.kind, modality)
    verb = "come" if be(item) == "are" else "comes"
    return pick(
        rng,
        (
            f"The likely cause of the {item.plain} is {why}.",
            f"The {item.plain} <most likely|probably> {verb} from {why}.",
        ),
    )


def impact(rng: np.random.Generator, item: Item, modality: str) -> str:
    _, effect, _ = vocab.text_for(item.kind, modality)
    weight = {
        "mild": "To a small extent,",
        "moderate": "As a result,",
        "severe": "For <reading|interpretation> this means that",
    }
    return expand(rng, f"{weight[item.severity]} {effect}.")


def nothing_lost(rng: np.random.Generator, line: Line) -> str:
    if line.verdict == "good":
        return pick(
            rng,
            ("Nothing found limits <reading|interpretation>.", "No limit for <reading|interpretation> is expected."),
        )
    return expand(
        rng, f"No single cause was <found|named>, yet the score of {line.score:.1f} <limits|restricts> its use."
    )


def verdict_words(verdict: str) -> str:
    """What a verdict means for use."""
    return {"good": "fit for reading", "usable": "readable with limits", "reject": "not fit for reading"}[verdict]


def sentence(text: str) -> str:
    """`text` with a capital and one full stop."""
    return capital(text.rstrip(". ")) + "."
