"""What a scorer says of sources that its training left out: what it is calibrated with beside validation."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Unfamiliar:
    """Raw outputs for versions of sources that were left out, and what is true of them."""

    distribution: np.ndarray  # (N, 21)
    quality: np.ndarray  # (N,) 0 to 4
    severities: np.ndarray  # (N, K) raw
    truth: np.ndarray  # (N, K) severity 0 to 4
    modality: np.ndarray  # (N,) id

    @classmethod
    def load(cls, path: Path) -> Unfamiliar:
        kept = np.load(path)
        return cls(**{field.name: kept[field.name] for field in fields(cls)})

    def save(self, path: Path) -> None:
        np.savez(path, **vars(self))
