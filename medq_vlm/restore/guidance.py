"""What leads a restoration: the description as text, and the findings as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from medq_vlm import vocab
from medq_vlm.restore.tokens import tokenize
from medq_vlm.restore.wording import read_findings
from medq_vlm.schema import Assessment, MedQError
from medq_vlm.treated import treats

KINDS = len(vocab.KIND_NAMES)
UNKNOWN_MODALITY = len(vocab.MODALITIES)


def _no_severities() -> np.ndarray:
    return np.zeros(KINDS, np.float32)


def _no_boxes() -> np.ndarray:
    return np.zeros((KINDS, 4), np.float32)


@dataclass(frozen=True, eq=False)
class Guidance:
    """Text and findings about one image. Both empty: blind restoration."""

    text: str = ""
    severities: np.ndarray = field(default_factory=_no_severities)  # (K,) 0 to 4, in order of vocab.KIND_NAMES
    boxes: np.ndarray = field(default_factory=_no_boxes)  # (K, 4) x0, y0, x1, y1 as fractions; zeros: everywhere
    modality: str | None = None  # vocab.MODALITIES

    @property
    def findings(self) -> dict[str, float]:
        """{kind: severity} of what is named at all, worst first."""
        named = [(name, float(s)) for name, s in zip(vocab.KIND_NAMES, self.severities, strict=True) if s > 0]
        return dict(sorted(named, key=lambda item: -item[1]))

    @property
    def treated(self) -> tuple[str, ...]:
        """Named kinds that the network learnt to treat in this modality, worst first."""
        return tuple(kind for kind in self.findings if treats(kind, self.modality))

    def without(self, kind: str) -> Guidance:
        """The same with `kind` not named among the findings."""
        others = np.array([name != kind for name in vocab.KIND_NAMES])
        return replace(self, severities=np.where(others, self.severities, 0.0))

    def only(self, kind: str) -> Guidance:
        """The same with nothing but `kind` named among the findings."""
        this = np.array([name == kind for name in vocab.KIND_NAMES])
        return replace(self, severities=np.where(this, self.severities, 0.0))

    @property
    def untreated(self) -> tuple[str, ...]:
        """Named kinds that it did not, worst first."""
        return tuple(kind for kind in self.findings if not treats(kind, self.modality))


GUIDANCE_NONE = Guidance()


def from_findings(
    findings: dict[str, float], modality: str | None, text: str = "", boxes: dict[str, Sequence[float]] | None = None
) -> Guidance:
    """Guidance of {kind: severity} and {kind: box as fractions}. Raises MedQError for an unknown kind."""
    severities, places = _no_severities(), _no_boxes()
    for kind, severity in findings.items():
        if kind not in vocab.KIND:
            raise MedQError(f"'{kind}' is not a kind of degradation.")
        severities[vocab.KIND_NAMES.index(kind)] = severity
        if boxes and kind in boxes:
            places[vocab.KIND_NAMES.index(kind)] = boxes[kind]
    return Guidance(text, severities, places, modality)


def from_text(text: str, modality: str | None) -> Guidance:
    """Guidance by what a person writes alone."""
    return from_findings(read_findings(text, modality), modality, text)


def from_assessment(
    assessment: Assessment, description: str | None = None, size: tuple[int, int] | None = None
) -> Guidance:
    """Findings and description of an assessment; a person's `description` overrules both.

    What the person names is treated, with the assessment's severity and place where both call it equally severe.
    `size` (H, W) turns boxes into fractions; without it places stay unknown.
    """
    modality = assessment.modality.value
    known = {finding.kind: finding for finding in assessment.findings if finding.severity != "none"}
    findings = {kind: finding.severity_value for kind, finding in known.items()}
    if description is not None:
        named = read_findings(description, modality)
        findings = {
            kind: findings[kind] if kind in findings and _same_word(findings[kind], severity) else severity
            for kind, severity in named.items()
        }
    boxes: dict[str, Sequence[float]] = {}
    for kind in findings:
        box = known[kind].location.box if kind in known else None
        if box is not None and size is not None:
            height, width = size
            boxes[kind] = (box[0] / width, box[1] / height, box[2] / width, box[3] / height)
    return from_findings(findings, modality, assessment.description if description is None else description, boxes)


def _same_word(one: float, other: float) -> bool:
    return vocab.severity_word(one) == vocab.severity_word(other)


@dataclass(frozen=True)
class GuidanceTensors:
    """A batch of guidances as the network takes them."""

    tokens: torch.Tensor  # (B, L) int64
    severities: torch.Tensor  # (B, K) float32, 0 to 4
    modality: torch.Tensor  # (B,) int64, UNKNOWN_MODALITY where nobody says

    def to(self, device: torch.device) -> GuidanceTensors:
        return GuidanceTensors(self.tokens.to(device), self.severities.to(device), self.modality.to(device))


def tensors(guidances: Sequence[Guidance]) -> GuidanceTensors:
    """Batch of B guidances."""
    ids = [vocab.MODALITIES.index(g.modality) if g.modality else UNKNOWN_MODALITY for g in guidances]
    return GuidanceTensors(
        torch.from_numpy(np.stack([tokenize(g.text) for g in guidances])),
        torch.from_numpy(np.stack([g.severities for g in guidances]).astype(np.float32)),
        torch.tensor(ids, dtype=torch.long),
    )


def place_map(guidance: Guidance, size: tuple[int, int]) -> np.ndarray:
    """(H, W) float32: 1 inside the boxes of treated kinds, 0 elsewhere and where no place is known."""
    out = np.zeros(size, np.float32)
    for name, severity, box in zip(vocab.KIND_NAMES, guidance.severities, guidance.boxes, strict=True):
        if severity > 0 and box[2] > box[0] and treats(name, guidance.modality):
            rows = slice(int(box[1] * size[0]), int(np.ceil(box[3] * size[0])))
            out[rows, int(box[0] * size[1]) : int(np.ceil(box[2] * size[1]))] = 1.0
    return out
