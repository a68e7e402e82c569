"""Is a question about the quality of the image, or about diagnosis, treatment, people, the world?

A linear reading of the language model's own states (a probe: Alain and Bengio, 2016), trained by training.train_scope.
Between its two bounds the model decides itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from medq_vlm.language import prompt

if TYPE_CHECKING:
    from medq_vlm.language.model import LanguageModel

OPENING = "Sorry, I can only speak about image quality, not about"  # of a refusal; the model ends the sentence
DECLINES = re.compile(r"(?i)\bonly speak about\b|\boutside (?:my scope|what I can answer)\b|\bmake no diagnosis\b")


@dataclass(frozen=True)
class Scope:
    """The trained reading."""

    weight: torch.Tensor  # (2 * width,)
    bias: float
    layers: int  # of the model, whose output is read
    outside_from: float  # logit from which a question is declined
    inside_below: float  # logit under which it must not be

    def logit(self, model: LanguageModel, question: str) -> float:
        """How far a (neutral) question is outside."""
        return float(states(model, question, self.layers).double() @ self.weight.double()) + self.bias


def states(model: LanguageModel, question: str, layers: int) -> torch.Tensor:
    """The state where an answer would begin and the mean over the question, (2 * width,)."""
    with torch.no_grad():
        read = model.engine.states(model.embed([prompt.turn(question, [])]), layers)
    return torch.cat((read[-1], read.mean(0))).cpu()
