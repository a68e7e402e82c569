"""Many wordings of the antonym pairs, so that a pair in a user's own words scores too (`medq assess --prompt`)."""

from __future__ import annotations

import numpy as np

from medq_vlm import vocab

ADJECTIVES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "noise": (
        ("clean", "smooth", "noise free", "quiet", "without noise"),
        ("noisy", "grainy", "mottled", "speckled", "snowy", "full of noise"),
    ),
    "sharpness": (
        ("sharp", "crisp", "in focus", "well defined", "detailed", "clearly outlined"),
        ("blurred", "blurry", "out of focus", "soft", "smeared", "unsharp", "fuzzy"),
    ),
    "contrast": (
        ("of high contrast", "well separated", "distinct", "of strong contrast", "clearly visible"),
        ("of low contrast", "flat", "dull", "washed out", "faint", "hard to tell apart"),
    ),
    "artifact": (
        ("free of artifacts", "without artifact", "artifact free", "undisturbed"),
        ("with artifacts", "full of streaks", "with ghosts", "with rings", "distorted", "with motion artifacts"),
    ),
    "exposure": (
        ("well exposed", "evenly lit", "of good exposure", "of even brightness"),
        ("badly exposed", "too dark", "too bright", "underexposed", "overexposed", "unevenly lit", "saturated"),
    ),
    "coverage": (
        ("complete", "fully covered", "evident", "centred", "all in view"),
        ("cut off", "hidden", "covered", "rotated", "partly outside the view", "obscured"),
    ),
}  # good, bad
THINGS = (
    "image", "scan", "picture", "anatomy", "{m} image", "{m} scan", "{a}", "edges", "vessels", "vessel walls",
    "vertebral end plates", "bone", "bone edges", "lung markings", "liver", "brain", "grey and white matter", "tissue",
    "organ borders", "nuclei", "optic disc", "lesion borders", "mucosa", "ribs", "heart border", "details",
)  # fmt: skip
FORMS = ("{x} {t}", "{t} {x}", "the {t} is {x}", "{t} are {x}", "a {x} {t}", "a {t} that is {x}")
PAIRS = 16


def draw(rng: np.random.Generator, pairs: int = PAIRS) -> tuple[list[str], np.ndarray]:
    """2 * pairs texts, good and bad in turn, and the attribute's index of each pair (pairs,)."""
    texts, attributes = [], rng.integers(0, len(vocab.ATTRIBUTES), pairs)
    for index in attributes:
        thing = str(rng.choice(THINGS)).format(m=rng.choice(vocab.MODALITIES), a=rng.choice(vocab.ANATOMIES))
        form = str(rng.choice(FORMS))
        texts += [form.format(x=rng.choice(words), t=thing) for words in ADJECTIVES[vocab.ATTRIBUTES[int(index)]]]
    return texts, attributes
