"""What the acquisition description changed, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medq_vlm import vocab
from medq_vlm.slice_scores import SliceScores

SMALLEST_CHANGE = 0.15  # of the score, that is worth a sentence
MORE, LESS = 1.15, 0.87  # demands that differ from the usual
WORDS = {
    "noise": "low noise", "sharpness": "sharpness", "contrast": "contrast",
    "artifact": "freedom from artefacts", "exposure": "exposure", "coverage": "coverage",
}  # fmt: skip


def note(scored: Sequence[SliceScores], weights: Sequence[float]) -> tuple[str, ...]:
    """One sentence when the description moved the score, none otherwise; weights of the slices sum to 1."""
    if any(s.undescribed is None or s.demand is None for s in scored):
        return ()
    score = float(np.dot([s.score for s in scored], weights))
    without = float(np.dot([s.undescribed or 0.0 for s in scored], weights))
    if abs(score - without) < SMALLEST_CHANGE:
        return ()
    demand = {name: float(np.mean([(s.demand or {})[name] for s in scored])) for name in vocab.ATTRIBUTES}
    asked = [WORDS[name] for name, value in demand.items() if value > MORE]
    spared = [WORDS[name] for name, value in demand.items() if value < LESS]
    parts = []
    if asked:
        parts.append(f"{_listed(asked)} {'matters' if len(asked) == 1 else 'matter'} more than usual")
    if spared:
        parts.append(f"{_listed(spared)} {'matters' if len(spared) == 1 else 'matter'} less than usual")
    reason = f" For what is described, {'; '.join(parts)}." if parts else ""
    return (f"The acquisition description counts: without it the score would be {without:.1f}.{reason}",)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
