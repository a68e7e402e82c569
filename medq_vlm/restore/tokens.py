"""Words to numbers for the restorer's text encoder: the words of the closed lists, one id for all others."""

from __future__ import annotations

import hashlib
import re
from itertools import chain

import numpy as np

from medq_vlm import vocab
from medq_vlm.restore import wording

PAD, UNKNOWN = 0, 1
LONGEST = 96  # words; a description of the product has 50 to 90
_EXTRA = (
    "a all an and are artefact as at be by centre come comes correct do ends everything fix for from found further "
    "globally has have here image in is it leave left level likely locally lower make middle more most of on or "
    "overall part please present probably quality reduce reject remove repair restore right scan score see seen shown "
    "shows slice slices suffers take the there this throughout to treat upper usable very visible what whole with "
    "within "
    "good fair was other degradation interpretation reading that may poor limited exposure sharpness contrast out away "
    "down up picture volume"
)
_PIECE = re.compile(r"[a-z]+|[,.;]")


def _table() -> dict[str, int]:
    """Ids by the alphabet, so that they depend on the word lists alone."""
    names = chain(
        wording.PHRASES, wording.SEVERITY_WORDS, wording.NEGATIONS, wording.TURNS, vocab.ANATOMIES, vocab.SEVERITIES,
        vocab.VERDICTS, (name.lower() for name in vocab.MODALITY_NAMES.values()), (_EXTRA,),
    )  # fmt: skip
    words = {word for name in names for word in _PIECE.findall(name)} | {",", ".", ";"}
    return {word: number for number, word in enumerate(sorted(words), start=2)}


WORDS = _table()
VOCAB_SIZE = len(WORDS) + 2
WORDS_SHA256 = hashlib.sha256(" ".join(sorted(WORDS)).encode()).hexdigest()  # a checkpoint of other words is refused


def tokenize(text: str) -> np.ndarray:
    """Text -> int64 (LONGEST,), padded with PAD; longer texts are cut."""
    plain = text.lower().replace("artifact", "artefact").replace("'", "").replace("’", "")
    ids = [WORDS.get(word, UNKNOWN) for word in _PIECE.findall(plain)][:LONGEST]
    out = np.full(LONGEST, PAD, np.int64)
    out[: len(ids)] = ids
    return out
