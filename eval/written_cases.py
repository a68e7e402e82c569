"""Images written down by hand as findings and a score, so that the language model can be asked without pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medq_vlm import vocab
from medq_vlm.language.features import ImageFeatures
from medq_vlm.language.talker import Subject
from medq_vlm.schema import Assessment, Finding, Location, Recognised

HALF_INTERVAL = 0.5
EVERYWHERE = "whole image"


def written(
    modality: str, anatomy: str, findings: Sequence[tuple[str, float, str]], score: float, acquisition: str = ""
) -> Subject:
    """A subject from (kind, severity, place) and a score, as a scorer that is sure of itself would report it."""
    found = tuple(_finding(kind, value, place, modality) for kind, value, place in findings)
    worst = {name: max((f.severity_value for f in found if vocab.KIND[f.kind].attribute == name), default=0.0)
             for name in vocab.ATTRIBUTES}  # fmt: skip
    attributes = {name: max(0.05, 0.88 - 0.22 * value) for name, value in worst.items()}
    bins = np.linspace(0, 4, vocab.SCORE_BINS)
    distribution = np.exp(-0.5 * ((bins - score) / 0.3) ** 2)
    distribution /= distribution.sum()
    assessment = Assessment(
        source={"path": "written", "sha256": "", "slices": 1},
        modality=Recognised(modality, "header", 1.0), anatomy=Recognised(anatomy, "header", 1.0),
        acquisition=acquisition,
        score=score, score_interval=(max(0.0, score - HALF_INTERVAL), min(4.0, score + HALF_INTERVAL)),
        score_distribution=tuple(distribution.tolist()), percentile=None, verdict=vocab.verdict_word(score),
        assessable=True, reason="",
        reject_probability=float(distribution[bins < vocab.USABLE_FROM].sum()), attributes=attributes,
        findings=found, slices=(), evidence=(), warnings=(), description="",
        model={"name": "written", "version": "", "sha256": ""}, created="",
    )  # fmt: skip
    return Subject(assessment, _features(assessment))


def _finding(kind: str, value: float, place: str, modality: str) -> Finding:
    cause, impact, remedy = vocab.text_for(kind, modality)
    scheme, code, meaning = vocab.KIND[kind].code
    box = None if place == EVERYWHERE else (10, 10, 60, 60)
    return Finding(
        kind, vocab.severity_word(value), value, 0.9, Location(None, box, place), (), cause, impact, remedy,
        {"scheme": scheme, "value": code, "meaning": meaning},
    )  # fmt: skip


def _features(assessment: Assessment) -> ImageFeatures:
    modality = str(assessment.modality.value)
    level = np.zeros(len(vocab.KIND_NAMES))
    for finding in assessment.findings:
        level[vocab.KIND_NAMES.index(finding.kind)] = finding.severity_value
    own = np.isin(vocab.KIND_NAMES, vocab.kinds_for(modality))
    return ImageFeatures(
        level=level, margin=np.where(own, level - vocab.SEVERITY_FROM[0], -2.0), present=np.clip(level / 2, 0, 1),
        attributes=np.array([assessment.attributes[name] for name in vocab.ATTRIBUTES]),
        modality=np.array([float(name == modality) for name in vocab.MODALITIES]),
        anatomy=np.array([float(name == assessment.anatomy.value) for name in vocab.ANATOMIES]),
        distribution=np.array(assessment.score_distribution), layout=np.array([0.0, 0.0, 1.0]),
    )  # fmt: skip
