"""What of an acquisition description the scorer may read.

The description comes from a header or a keyboard: it may hold names, an institution or an instruction. The text tower
meets words of a closed list alone, in clauses that mostly consist of them, so that everything else changes nothing.
"""

from __future__ import annotations

import re
from itertools import takewhile

from medq_vlm import vocab
from medq_vlm.encoder.tokenizer import WORDS

LEAST_KNOWN = 0.6  # share of a clause's words that must be on the list
# A description must not say how good the image is or what was found: that is what the scorer has to see.
_JUDGEMENT = {
    "artifact", "bad", "bright", "clear", "dull", "evident", "excellent", "fair", "good", "grainy", "hidden", "image",
    "is", "mild", "moderate", "noise", "noisy", "none", "poor", "quality", "score", "severe", "sharp", "sharpness",
    "unclear", "worst",
}  # fmt: skip
_FINDINGS = {word for name in vocab.KIND_NAMES for word in name.split("_")}
_PROTOCOL = {"angle", "attenuation", "contrast", "count", "ct", "dose", "field", "limited", "low", "motion", "mr",
             "resolution", "sparse", "view"}  # fmt: skip
_WORDS = WORDS.keys() - _JUDGEMENT - (_FINDINGS - _PROTOCOL)
_GLUE = {"a", "an", "and", "at", "for", "in", "of", "on", "only", "per", "s", "the", "to", "up", "very", "with",
         "without"}  # fmt: skip
_DENYING = {
    "except",
    "excluding",
    "instead",
    "neither",
    "never",
    "no",
    "non",
    "not",
    "rather",
}  # what follows is not so
_CLAUSE = re.compile(r"[,;:.!?()\[\]{}\n\r|]+(?!\d)")
_TOKEN = re.compile(r"[a-z]+\d*|\d+(?:\.\d+)?")
LONGEST = 1000  # characters looked at


def legible(text: str) -> str:
    """The clauses the scorer may read, in lower case, joined by commas; "" when there is none."""
    clauses = (_clause(part) for part in _CLAUSE.split(text[:LONGEST].lower().replace("-", " ")))
    return ", ".join(clause for clause in clauses if clause)


def _clause(part: str) -> str:
    tokens = list(takewhile(lambda token: token not in _DENYING, _TOKEN.findall(part)))
    words = [token for token in tokens if not token[0].isdigit()]
    content = [word for word in words if word in _WORDS and word not in _GLUE]
    known = sum(word in _WORDS for word in words)
    if not content or known < LEAST_KNOWN * len(words):
        return ""
    return " ".join(token for token in tokens if token[0].isdigit() or token in _WORDS)
