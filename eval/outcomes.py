"""Scoring cases and keeping the answers as arrays; no metric is computed here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from eval.baselines import Baselines
from eval.cases import CLEAN_LADDER, Case, pixels_only
from medq_vlm import vocab
from medq_vlm.findings import REPORT_FROM
from medq_vlm.schema import ImageSample, MedQError


class SliceScores(Protocol):
    """What an evaluation reads of the scores of one slice (see medq_vlm.pipeline)."""

    @property
    def score(self) -> float: ...
    @property
    def severity(self) -> Mapping[str, float]: ...
    @property
    def kind_probability(self) -> Mapping[str, float]: ...
    @property
    def modality_probability(self) -> Mapping[str, float]: ...
    @property
    def reject_probability(self) -> float: ...
    @property
    def assessable(self) -> bool: ...
    @property
    def interval(self) -> tuple[float, float]: ...


class SliceScorer(Protocol):
    """Anything that scores one slice of a sample, e.g. medq_vlm.pipeline.MedQ."""

    def score_slice(self, sample: ImageSample, index: int = 0) -> SliceScores: ...


@dataclass(frozen=True)
class Outcome:
    """One scored case: what is true of it and what was said."""

    content: str
    source: str
    group: str
    modality: str
    ladder: str  # kind, "" for the clean image, "a + b" for a composition
    truth: np.ndarray  # (K,) calibrated severities in the order of vocab.KIND_NAMES
    rung: float  # the table's step the case was made at, the worst of a composition; 0 for the clean image
    quality: float
    table_quality: float  # by the table's steps alone
    score: float
    severity: np.ndarray  # (K,) predicted
    probability: np.ndarray  # (K,) predicted
    reject_probability: float
    assessable: bool
    interval: tuple[float, float]
    recognised: str  # modality named from the pixels alone; clean images only, "" otherwise
    baselines: dict[str, float]  # name: value, higher is better


def outcomes(model: SliceScorer, baselines: Baselines | None, cases: Iterable[Case]) -> Iterator[Outcome]:
    """Score every case; clean images are scored once more with the header withheld."""
    for case in cases:
        said = model.score_slice(case.sample)
        recognised = ""
        if case.ladder == CLEAN_LADDER:
            blind = model.score_slice(pixels_only(case.sample)).modality_probability
            recognised = max(blind, key=lambda name: blind[name])
        yield Outcome(
            content=case.content.name,
            source=case.content.source,
            group=case.content.group,
            modality=case.content.modality,
            ladder=case.ladder,
            truth=_by_kind(case.severities),
            rung=max(case.steps.values(), default=0.0),
            quality=case.quality,
            table_quality=case.table_quality,
            score=float(said.score),
            severity=_by_kind(said.severity),
            probability=_by_kind(said.kind_probability),
            reject_probability=float(said.reject_probability),
            assessable=bool(said.assessable),
            interval=(float(said.interval[0]), float(said.interval[1])),
            recognised=recognised,
            baselines=baselines.measure(case) if baselines is not None else {},
        )


@dataclass(frozen=True)
class Scored:
    """Outcomes as columns; N rows, K kinds."""

    content: np.ndarray  # (N,)
    source: np.ndarray  # (N,)
    group: np.ndarray  # (N,)
    modality: np.ndarray  # (N,)
    ladder: np.ndarray  # (N,)
    truth: np.ndarray  # (N, K)
    rung: np.ndarray  # (N,)
    quality: np.ndarray  # (N,)
    table_quality: np.ndarray  # (N,)
    score: np.ndarray  # (N,)
    severity: np.ndarray  # (N, K)
    probability: np.ndarray  # (N, K)
    valid: np.ndarray  # (N, K) bool, the kind can occur in the modality
    reported: np.ndarray  # (N, K) bool, severe enough for the product to report a finding
    reject_probability: np.ndarray  # (N,)
    assessable: np.ndarray  # (N,) bool
    low: np.ndarray  # (N,)
    high: np.ndarray  # (N,)
    recognised: np.ndarray  # (N,)
    baselines: dict[str, np.ndarray]  # name: (N,)

    def __len__(self) -> int:
        return len(self.score)

    @property
    def clean(self) -> np.ndarray:
        """(N,) bool: the image as it came."""
        return self.ladder == CLEAN_LADDER

    def take(self, rows: np.ndarray) -> Scored:
        """The rows of a mask or an index array."""
        columns = {name: value[rows] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return Scored(**columns, baselines={name: value[rows] for name, value in self.baselines.items()})


def collect(items: Iterable[Outcome]) -> Scored:
    """Outcomes as columns, in their order. Raises MedQError when there are none."""
    rows = list(items)
    if not rows:
        raise MedQError("No image could be read, so there is nothing to evaluate.")
    simple = ("content", "source", "group", "modality", "ladder", "truth", "rung", "quality", "table_quality",
              "score", "severity",
              "probability", "reject_probability", "assessable", "recognised")  # fmt: skip
    columns = {name: np.array([getattr(row, name) for row in rows]) for name in simple}
    return Scored(
        **columns,
        valid=np.array([[row.modality in kind.modalities for kind in vocab.KINDS] for row in rows]),
        reported=columns["severity"] >= REPORT_FROM,
        low=np.array([row.interval[0] for row in rows]),
        high=np.array([row.interval[1] for row in rows]),
        baselines={name: np.array([row.baselines[name] for row in rows]) for name in rows[0].baselines},
    )


def _by_kind(values: Mapping[str, float]) -> np.ndarray:
    return np.array([float(values.get(name, 0.0)) for name in vocab.KIND_NAMES])
