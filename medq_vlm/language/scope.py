"""Is a question about the quality of the image, or about diagnosis, treatment, people, the world?

A linear reading of the language model's own states (a probe: Alain and Bengio, 2016) and of the question's words, its
character sequences hashed (Weinberger et al., ICML 2009); trained by training.train_scope.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2s
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from medq_vlm.language import prompt, terms

if TYPE_CHECKING:
    from medq_vlm.language.model import LanguageModel

REFUSAL = (
    "Sorry, I can only speak about image quality, not about diagnosis, treatment, people or anything else. "
    "Questions about health are for a physician."
)
DECLINES = re.compile(r"(?i)\bonly speak about\b|\boutside (?:my scope|what I can answer)\b|\bmake no diagnosis\b")
HASHED = 8192  # places for sequences
NAMED = 7  # whether terms are named, and how long the question is
LENGTHS = (3, 4, 5)  # of character sequences
SHORT, SHORTER = 6, 3  # words


@dataclass(frozen=True)
class Scope:
    """The trained reading."""

    weight: torch.Tensor  # (2 * width + wording's,)
    bias: float
    layers: int  # of the model, whose output is read

    def outside(self, model: LanguageModel, question: str) -> bool:
        """Whether a (neutral) question is to be declined."""
        return float(reading(model, question, self.layers).double() @ self.weight.double()) + self.bias > 0


def reading(model: LanguageModel, question: str, layers: int) -> torch.Tensor:
    """What the regression reads of a question, (2 * width + wording's,)."""
    return torch.cat((states(model, question, layers), wording(question)))


def states(model: LanguageModel, question: str, layers: int) -> torch.Tensor:
    """The state where an answer would begin and the mean over the question, (2 * width,)."""
    with torch.no_grad():
        read = model.engine.states(model.embed([prompt.turn(question, [])]), layers)
    return torch.cat((read[-1], read.mean(0))).cpu()


def wording(question: str) -> torch.Tensor:
    """Which words and character sequences a question has, of length 1, and what it names, (HASHED + NAMED,)."""
    words = re.findall(r"[\w']+", question.lower())
    spaced = f" {' '.join(words)} "
    pieces = {f"w{word}" for word in words} | {f"b{a} {b}" for a, b in pairwise(words)}
    pieces |= {f"c{spaced[at : at + n]}" for n in LENGTHS for at in range(len(spaced) - n + 1)}
    hashed = torch.zeros(HASHED)
    hashed[[int.from_bytes(blake2s(piece.encode(), digest_size=4).digest(), "little") % HASHED for piece in pieces]] = 1
    topics, kinds = terms.topics_in(question), terms.kinds_in(question, "ct")
    named = (len(topics) > 0, len(topics) > 1, len(kinds) > 0, len(kinds) > 1, len(words) <= SHORTER,
             len(words) <= SHORT, "?" in question)  # fmt: skip
    return torch.cat((hashed / hashed.norm().clamp(min=1), torch.tensor(named, dtype=torch.float32)))
