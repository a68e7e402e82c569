"""The calibrated severity of a degraded image: the table's, corrected by what this image really lost.

The table (medq_vlm/degrade/severity_table.json) is a mean over images. The same strength takes more from one image
than from another: the severity of a case is the one its own loss asks for, within limits about the table's.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from medq_vlm import degrade, vocab

# Positioning is a finding and no pixel loss, and the measures see luminance alone.
BY_STRENGTH = frozenset(("rotation", "colour_cast"))
MOST_ALONE, MOST_TOGETHER = 4.0, 1.7  # how far a case may lie from the mean, in either direction
LEAST_LOSS = 0.004


@cache
def _table() -> dict[str, Any]:
    text = resources.files("medq_vlm.degrade").joinpath("severity_table.json").read_text()
    table: dict[str, Any] = json.loads(text)
    return table


def nominal(kind: str, modality: str, strength: float) -> float:
    """Severity 0 to 4 of a strength by the table alone."""
    return float(np.interp(strength, degrade.severity_table()[kind][modality], range(5)))


def measured(kind: str, modality: str, strength: float, loss: float, alone: bool = True) -> float:
    """Severity 0 to 4 of a case of `strength` whose pixel loss (eval/fidelity.py) is `loss`.

    `alone`: no other kind was applied; a loss measured on an image that is degraded already says less.
    """
    severity = nominal(kind, modality, strength)
    if kind in BY_STRENGTH or severity == 0:
        return severity
    table = _table()
    expected = float(np.interp(strength, table["strengths_measured"], table["pixel_loss"][kind][modality]))
    most = MOST_ALONE if alone else MOST_TOGETHER
    ratio = np.clip((loss + LEAST_LOSS) / (expected + LEAST_LOSS), 1 / most, most)
    return float(np.clip(severity * ratio, 0.0, 4.0))


def quality(severities: np.ndarray) -> float:
    """Calibrated quality 0 to 4 of a set of severities, higher is better: what is left multiplies."""
    return 4.0 * float(np.prod(1.0 - np.clip(severities, 0, 4) / 4.0))


def severities(strengths: np.ndarray, losses: np.ndarray, modality: np.ndarray) -> np.ndarray:
    """Strengths and pixel losses (N, K), modality ids (N,) as shards keep them -> severities (N, K), 0 to 4."""
    out = np.zeros_like(strengths)
    alone = (strengths > 0).sum(1) == 1
    for row, k in zip(*np.nonzero(strengths), strict=True):
        kind, name = vocab.KIND_NAMES[k], vocab.MODALITIES[modality[row]]
        out[row, k] = measured(kind, name, float(strengths[row, k]), float(losses[row, k]), bool(alone[row]))
    return out


def qualities(severity: np.ndarray, medical: np.ndarray) -> np.ndarray:
    """Severities (N, K) -> calibrated quality (N,), 0 for what is no medical image."""
    return np.array([quality(row) if there else 0.0 for row, there in zip(severity, medical, strict=True)], np.float32)
