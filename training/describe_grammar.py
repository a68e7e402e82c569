"""Small composed grammars for training texts: expand alternatives, speak of findings, write like a busy person."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from medq_vlm.language.line import EVERYWHERE, Item

GROUP = re.compile(r"<([^<>]*)>")


def expand(rng: np.random.Generator, text: str) -> str:
    """Replace each <a|b|c>, innermost first, by one of its alternatives."""
    while True:
        found = GROUP.search(text)
        if found is None:
            return " ".join(text.split()).replace(" ,", ",").replace(" .", ".").replace(" ?", "?").replace(" ;", ";")
        options = found.group(1).split("|")
        text = text[: found.start()] + options[int(rng.integers(len(options)))] + text[found.end() :]


def pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    """One of `options`, expanded."""
    return expand(rng, options[int(rng.integers(len(options)))])


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def listed(items: Sequence[str]) -> str:
    if len(items) < 3:
        return " and ".join(items)
    return ", ".join(items[:-1]) + " and " + items[-1]


def named(item: Item) -> str:
    """E.g. "severe low-dose noise"."""
    return f"{item.severity} {item.plain}"


def where(item: Item) -> str:
    """E.g. "throughout the image", "in the upper left of the image, slices 3 to 9"."""
    if item.place == EVERYWHERE:
        return "throughout the image"
    if item.place.startswith("slice"):
        return f"in {item.place}"
    return f"in the {item.place}"


def be(item: Item) -> str:
    return "are" if plural(item.plain) else "is"


def plural(plain: str) -> bool:
    return plain.endswith(("streaks", "lines", "values"))


def article(name: str) -> str:
    """ "an" before a name spoken with a vowel: an MR image, an X-ray image, a CT image."""
    return "an" if name.startswith(("MR", "X-ray", "OCT", "a", "e", "i", "o")) else "a"


ABBREVIATIONS = (
    ("patient", "pt"), ("image", "img"), ("please", "pls"), ("because", "bc"), ("you", "u"), ("with", "w/"),
    ("quality", "qual"), ("what is", "whats"), ("is there", "any"), ("artefact", "artifact"), ("scan", "scn"),
)  # fmt: skip


def hurried(rng: np.random.Generator, question: str) -> str:
    """The question as typed by somebody in a hurry: lower case, no question mark, slips, abbreviations."""
    out = question
    if rng.random() < 0.45:
        out = out.lower()
    if rng.random() < 0.35:
        out = out.rstrip("?. ")
    if rng.random() < 0.2:
        long, short = ABBREVIATIONS[int(rng.integers(len(ABBREVIATIONS)))]
        out = out.replace(long, short)
    long_words = [found for found in re.finditer(r"[A-Za-z]{6,}", out)]
    if rng.random() < 0.25 and long_words:  # a slip in a short word may make another word of it
        word = long_words[int(rng.integers(len(long_words)))]
        at = int(rng.integers(word.start() + 1, word.end() - 1))
        swap = out[:at] + out[at + 1] + out[at] + out[at + 2 :]
        out = swap if rng.random() < 0.6 else out[:at] + out[at + 1 :]
    return out
