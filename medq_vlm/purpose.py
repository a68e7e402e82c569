"""What the acquisition description changed, and where a person's contradicts the header, in sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from medq_vlm import vocab
from medq_vlm.schema import ImageSample
from medq_vlm.slice_scores import SliceScores

SMALLEST_CHANGE = 0.15  # of the score, that is worth a sentence
MORE, LESS = 1.15, 0.87  # demands that differ from the usual
WORDS = {
    "noise": "low noise", "sharpness": "sharpness", "contrast": "contrast",
    "artifact": "freedom from artefacts", "exposure": "exposure", "coverage": "coverage",
}  # fmt: skip

VALUES = {  # field of the header: (how a person writes it, unit)
    "kvp": (r"([\d.]+) ?kvp?\b", "kVp"),
    "exposure_mas": (r"([\d.]+) ?mas\b", "mAs"),
    "tube_current_ma": (r"([\d.]+) ?ma\b", "mA"),
    "field_strength_t": (r"([\d.]+) ?(?:t|tesla)\b", "T"),
    "slice_thickness_mm": (r"([\d.]+) ?mm (?:thick )?slices?\b", "mm slices"),
}
NAMED = {"ct": r"\bct\b", "mr": r"\bmri?\b", "pet": r"\bpet\b", "ultrasound": r"\bultrasound\b",
         "xray": r"\b(?:x-?ray|radiograph)\b", "mammography": r"\bmammogra\w+"}  # fmt: skip
AGREES = 0.02  # relative difference of two numbers that are rounded differently


def contradictions(sample: ImageSample) -> tuple[str, ...]:
    """Sentences where a person's description names other values, or another modality, than the file does."""
    if sample.acquisition_from != "user":
        return ()
    words, out = sample.acquisition.lower(), []
    for name, (pattern, unit) in VALUES.items():
        own, said = sample.acquisition_fields.get(name), re.search(pattern, words)
        if said and isinstance(own, float) and abs(_value(said.group(1)) - own) > AGREES * own:
            out.append(f"The description says {said.group(1)} {unit}, and the header {own:g}.")
    named = [name for name, pattern in NAMED.items() if re.search(pattern, words)]
    if named and sample.modality in NAMED and sample.modality not in named:
        told, own = (vocab.MODALITY_NAMES[name] for name in (named[0], sample.modality))
        out.append(f"The description speaks of {told}, and the image is assessed as {own}.")
    return tuple(out)


def _value(text: str) -> float:
    """A number as written; not a number for "1.2.3"."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def note(scored: Sequence[SliceScores], weights: Sequence[float]) -> tuple[str, ...]:
    """One sentence when the description moved the score, none otherwise; weights of the slices sum to 1."""
    if any(s.undescribed is None or s.demand is None for s in scored):
        return ()
    score = float(np.dot([s.score for s in scored], weights))
    without = float(np.dot([s.undescribed or 0.0 for s in scored], weights))
    flipped = vocab.verdict_word(score) != vocab.verdict_word(without)
    if abs(score - without) < SMALLEST_CHANGE and not flipped:
        return ()
    demand = {name: float(np.mean([(s.demand or {})[name] for s in scored])) for name in vocab.ATTRIBUTES}
    asked = [WORDS[name] for name, value in demand.items() if value > MORE]
    spared = [WORDS[name] for name, value in demand.items() if value < LESS]
    parts = []
    if asked:
        parts.append(f"{_listed(asked)} {'matters' if len(asked) == 1 else 'matter'} more than usual")
    if spared:
        parts.append(f"{_listed(spared)} {'matters' if len(spared) == 1 else 'matter'} less than usual")
    told = f"{vocab.score_text(without)} ({vocab.verdict_word(without)})" if flipped else f"{without:.1f}"
    reason = f" For what is described, {'; '.join(parts)}." if parts else ""
    return (f"The acquisition description counts: without it the score would be {told}.{reason}",)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
