"""What the scorer says of one slice, before slices become an Assessment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SliceScores:
    """Everything the scorer says of one slice."""

    index: int
    score: float  # 0 to 4
    interval: tuple[float, float]  # 90 %
    distribution: np.ndarray  # (21,)
    reject_probability: float
    severity: dict[str, float]  # kind: 0 to 4, kinds of the modality alone
    kind_probability: dict[str, float]  # kind: probability of mild or worse
    attributes: dict[str, float]  # 0 to 1, higher is better
    modality_probability: dict[str, float]  # from the pixels alone
    anatomy_probability: dict[str, float]
    modality: str  # told or recognised
    assessable: bool
    reason: str  # why not assessable
    box: tuple[int, int, int, int]  # x0, y0, x1, y1 around the body, native pixels
    body_share: float  # of the box that is body
    thumb: np.ndarray | None = None  # (t, t) small view of the slice, for the volume head
    queries: np.ndarray | None = None  # (Q, D) the scorer's learned query tokens, for the language model
    utility: float | None = None  # fitness for TASK, 0 to 1
    embed: np.ndarray | None = None  # (E,) what meets the text of a prompt
    undescribed: float | None = None  # score without the acquisition description
    demand: dict[str, float] | None = None  # attribute: how much more (above 1) the description asks of it than usual
