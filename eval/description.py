"""Measures of written descriptions and lines: a deterministic proxy of the MedQ-Bench axes, kinds, degrees, verdicts.

The axes follow the published ones (completeness, preciseness, consistency, quality accuracy; 0 to 2 each; Liu et al.,
arXiv 2510.01691). They are computed by rules and are a proxy: no language model judges, and the figures must not be
set beside published MedQ-Bench scores.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from eval.claims import VERDICT_AT, named_kinds, sentences, wrong_claims
from medq_vlm import vocab
from medq_vlm.schema import Assessment

SLOTS = {
    "identify": re.compile(r"(?i)\b(this is|shown is|the image is|shows)\b"),
    "global": re.compile(r"(?i)\bglobal|overall it|sharpness\b"),
    "local": re.compile(r"(?i)\blocal|throughout|upper|lower|centre|no degradation\b"),
    "cause": re.compile(r"(?i)\bcause|comes? from|due to\b"),
    "impact": re.compile(r"(?i)\b(as a result|this means|to a small extent|limits?|hidden|reading)\b"),
    "verdict": re.compile(r"(?i)\bquality of this image is (good|usable|reject)\b"),
}
NEEDED_WHEN_CLEAN = ("identify", "global", "local", "verdict")
CLEAN = re.compile(r"(?i)\bno (?:degradation|artefact|problem)[^.]*\b(?:found|detected|seen)|nothing found\b")
NAMED_AT_MOST = 3  # kinds a description is expected to name


@dataclass(frozen=True)
class Axes:
    """Proxy axes, 0 to 2 each."""

    completeness: int
    preciseness: int
    consistency: int
    quality_accuracy: int

    @property
    def total(self) -> int:
        return self.completeness + self.preciseness + self.consistency + self.quality_accuracy


def axes(text: str, reference: Assessment) -> Axes:
    """The proxy axes of one description against its reference record."""
    wanted = [vocab.KIND[f.kind].plain.lower() for f in reference.findings[:NAMED_AT_MOST]]
    named = named_kinds(text)
    slots = tuple(SLOTS) if wanted else NEEDED_WHEN_CLEAN
    parts = [float(name in named) for name in wanted] + [float(bool(SLOTS[slot].search(text))) for slot in slots]
    recall = float(np.mean(parts))
    wrong = len(wrong_claims(text, reference))
    stated = stated_verdict(text)
    implied = implied_verdicts(named.values())
    return Axes(
        completeness=2 if recall >= 0.85 else 1 if recall >= 0.5 else 0,
        preciseness=max(0, 2 - wrong),
        consistency=0 if stated is None else 2 - min(_steps(stated, verdict) for verdict in implied),
        quality_accuracy=0 if stated is None else 2 - _steps(stated, str(reference.verdict)),
    )


def stated_verdict(text: str) -> str | None:
    """The last verdict a text states, None when it states none."""
    found = [match.group(1) for match in VERDICT_AT.finditer(text.lower())]
    return found[-1] if found else None


def implied_verdicts(severities: Iterable[str]) -> tuple[str, ...]:
    """Verdicts that go with the worst severity named; two, because several findings add up."""
    worst = max((vocab.SEVERITIES.index(s) for s in severities if s), default=0)
    return {0: ("good", "usable"), 1: ("good", "usable"), 2: ("usable", "reject"), 3: ("reject", "usable")}[worst]


def _steps(a: str, b: str) -> int:
    return abs(vocab.VERDICTS.index(a) - vocab.VERDICTS.index(b))


def hallucinated(text: str, assessment: Assessment) -> tuple[int, int]:
    """Sentences that name a kind that is not there, and all sentences."""
    parts = sentences(text)
    return sum(any("is not there" in w for w in wrong_claims(part, assessment)) for part in parts), len(parts)


def macro_f1(pairs: Sequence[tuple[set[str], set[str]]]) -> float:
    """Mean F1 over the kinds that are true or named at least once; pairs of (named, true)."""
    kinds = set().union(*(a | b for a, b in pairs)) if pairs else set()
    scores = []
    for kind in kinds:
        hit = sum(kind in named and kind in true for named, true in pairs)
        named = sum(kind in named for named, _ in pairs)
        true = sum(kind in true for _, true in pairs)
        scores.append(2 * hit / (named + true))
    return float(np.mean(scores)) if scores else float("nan")
