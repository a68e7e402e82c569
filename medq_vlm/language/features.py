"""What the language model sees of an image: the scorer's outputs, as far as they outlive a change of its weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medq_vlm import vocab

K, A, M, N = len(vocab.KIND_NAMES), len(vocab.ATTRIBUTES), len(vocab.MODALITIES), len(vocab.ANATOMIES)
LAYOUT = 3  # number of slices, range of their scores, largest weight


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """The scorer's outputs for one image or volume, and its learned query tokens; equal to itself alone."""

    level: np.ndarray  # (K,) severity 0 to 4, 0 for kinds of other modalities
    margin: np.ndarray  # (K,) level minus vocab.SEVERITY_FROM[0]; a kind is reported from 0 on
    present: np.ndarray  # (K,) probability of mild or worse
    attributes: np.ndarray  # (A,) 0 to 1, higher is better
    modality: np.ndarray  # (M,) probabilities
    anatomy: np.ndarray  # (N,) probabilities
    distribution: np.ndarray  # (21,) of the score
    layout: np.ndarray  # (3,) log of the slice count, range of the slice scores, largest slice weight
    queries: np.ndarray | None = None  # (Q, D) of the worst slice; None when only records are known

    def vector(self) -> np.ndarray:
        """Everything but the queries, float32 (V,)."""
        parts = (
            self.level, self.margin, self.present, self.attributes, self.modality, self.anatomy, self.distribution,
            self.layout,
        )  # fmt: skip
        return np.concatenate(parts).astype(np.float32)


SIZES = (K, K, K, A, M, N, vocab.SCORE_BINS, LAYOUT)
VECTOR = sum(SIZES)
