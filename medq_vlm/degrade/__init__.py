"""Degradation physics: `draw` parameters for a calibrated severity, `apply` them, keep the record as the label."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

import torch

from medq_vlm import vocab
from medq_vlm.degrade import common, ct, mr, optical, pet, ultrasound, xray
from medq_vlm.degrade.base import Degradation
from medq_vlm.schema import DegradationRecord, MedQError

DEGRADATIONS: dict[str, Degradation] = {
    d.kind: d for module in (common, ct, mr, xray, ultrasound, pet, optical) for d in module.DEGRADATIONS
}


@cache
def severity_table() -> dict[str, dict[str, list[float]]]:
    """{kind: {modality: strength at severity 0, 1, 2, 3, 4}}, made by training/calibrate_severity.py."""
    text = resources.files("medq_vlm.degrade").joinpath("severity_table.json").read_text()
    return json.loads(text)["strength"]


def strength_for(kind: str, modality: str, severity: float) -> float:
    """Strength 0 to 1 of a calibrated severity 0 to 4, linear between the table's steps."""
    if not 0.0 <= severity <= 4.0:
        raise MedQError(f"Severity must be between 0 and 4, not {severity}.")
    steps = severity_table()[kind][modality]
    low = min(3, int(severity))
    return steps[low] + (severity - low) * (steps[low + 1] - steps[low])


def draw(kind: str, modality: str, severity: float, seed: int, size: tuple[int, int]) -> DegradationRecord:
    """Draw the parameters of `kind` at a calibrated severity for an image of `size` (H, W).

    Raises MedQError when the kind does not occur in the modality.
    """
    if kind not in vocab.KIND or modality not in vocab.KIND[kind].modalities:
        kinds = ", ".join(vocab.kinds_for(modality))
        raise MedQError(f"'{kind}' is not a degradation of {modality} images; choose one of: {kinds}.")
    return draw_strength(kind, modality, strength_for(kind, modality, severity), seed, size, severity)


def draw_strength(
    kind: str, modality: str, strength: float, seed: int, size: tuple[int, int], severity: float = float("nan")
) -> DegradationRecord:
    """Like `draw` with the uncalibrated strength 0 to 1; used to make the calibration itself."""
    generator = torch.Generator().manual_seed(seed)
    params = DEGRADATIONS[kind].draw(strength, modality, generator, size)
    box = params.get("box")
    return DegradationRecord(kind, modality, severity, strength, seed, params, tuple(box) if box else None)


def apply(image: torch.Tensor, record: DegradationRecord) -> torch.Tensor:
    """Degrade (B, C, H, W) under the contract of base.py; deterministic given the record."""
    if image.ndim != 4 or image.shape[1] not in (1, 3):
        raise MedQError(f"An image batch must be (B, 1 or 3, H, W), not {tuple(image.shape)}.")
    if record.strength == 0:
        return image
    generator = torch.Generator().manual_seed(record.seed + 1)
    return DEGRADATIONS[record.kind].apply(image, record.params, record.modality, generator)
