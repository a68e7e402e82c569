"""From scored slices to what the language model reads of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from medq_vlm import vocab
from medq_vlm.findings import REPORT_FROM, WORST_SHARE
from medq_vlm.language.features import ImageFeatures
from medq_vlm.schema import Assessment, ImageSample
from medq_vlm.slice_scores import SliceScores
from medq_vlm.stack import Stack

if TYPE_CHECKING:
    from medq_vlm.language.talker import Subject

ELSEWHERE = -2.0  # margin of a kind that cannot occur in the modality


class Encoded(Protocol):
    """An image with its scored slices."""

    @property
    def sample(self) -> ImageSample: ...

    @property
    def able(self) -> tuple[SliceScores, ...]: ...

    @property
    def stack(self) -> Stack: ...

    @property
    def subjects(self) -> list[Subject]: ...


def subject(encoded: Encoded, assessment: Assessment) -> Subject:
    """What a Talker needs to speak of an image; the same one as long as its assessment is the same."""
    from medq_vlm.language.talker import Subject

    for known in list(encoded.subjects):
        if known.assessment is assessment:
            return known
    seen = features(encoded.able, encoded.stack.apart, assessment) if assessment.assessable else None
    made = Subject(assessment, seen)
    encoded.subjects[:] = [made]  # another thread may replace it at once
    return made


def features(scored: Sequence[SliceScores], apart: np.ndarray, assessment: Assessment) -> ImageFeatures:
    """The scorer's outputs as one vector: severities as findings.collect has them, the rest as the mean of slices."""
    kinds = vocab.kinds_for(str(assessment.modality.value))
    level = np.zeros(len(vocab.KIND_NAMES))
    margin = np.full(len(vocab.KIND_NAMES), ELSEWHERE)
    present = np.zeros(len(vocab.KIND_NAMES))
    worst = max(1, round(WORST_SHARE * len(scored)))
    for kind in kinds:
        k = vocab.KIND_NAMES.index(kind)
        level[k] = np.sort([s.severity.get(kind, 0.0) for s in scored])[-worst:].mean()
        level[k] = max([level[k], *(scored[i].severity.get(kind, 0.0) for i in apart)])
        margin[k] = level[k] - REPORT_FROM
        present[k] = max(s.kind_probability.get(kind, 0.0) for s in scored)
    scores = [s.score for s in scored]
    shown = min(scored, key=lambda s: s.score)
    return ImageFeatures(
        level=level,
        margin=margin,
        present=present,
        attributes=np.array([assessment.attributes.get(name, 0.5) for name in vocab.ATTRIBUTES]),
        modality=np.mean([[s.modality_probability[name] for name in vocab.MODALITIES] for s in scored], 0),
        anatomy=np.mean([[s.anatomy_probability[name] for name in vocab.ANATOMIES] for s in scored], 0),
        distribution=np.array(assessment.score_distribution),
        layout=np.array([np.log(len(scored)), max(scores) - min(scores), 1.0 / len(scored)]),
        queries=shown.queries,
    )
