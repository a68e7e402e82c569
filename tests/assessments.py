"""Assessments built by hand for the report tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from medq_vlm import vocab
from medq_vlm.schema import Assessment, Finding, Location, Measurement, Recognised

NOISE_SD = Measurement("noise_sd", 41.2, "HU", "lower", "<= 25", "local standard deviation")


def finding(
    kind: str,
    severity: float,
    modality: str = "ct",
    location: Location | None = None,
    evidence: tuple[Measurement, ...] = (),
) -> Finding:
    cause, impact, remedy = vocab.text_for(kind, modality)
    scheme, value, meaning = vocab.KIND[kind].code
    code = {"scheme": scheme, "value": value, "meaning": meaning}
    word = vocab.severity_word(severity)
    where = location or Location(words="whole image")
    return Finding(kind, word, severity, 0.87, where, evidence, cause, impact, remedy, code)


NOISE = finding(
    "low_dose_noise", 3.1, location=Location((2, 8), (20, 30, 90, 70), "upper centre"), evidence=(NOISE_SD,)
)
METAL = finding("metal", 2.0, location=Location((2, 8), (60, 60, 100, 100), "lower right"))
COMPRESSION = finding("compression", 1.2)
MOTION = finding("ct_motion", 1.0, location=Location((20, 22), (5, 5, 25, 25), "upper left"))
FIVE = (COMPRESSION, NOISE, METAL, MOTION, finding("ring", 0.8))


def assessed(score: float = 1.7, findings: tuple[Finding, ...] = (), **changes: Any) -> Assessment:
    """A schema-valid CT assessment."""
    levels = np.exp(-0.5 * ((np.linspace(0, 4, vocab.SCORE_BINS) - score) / 0.3) ** 2)
    result = Assessment(
        source={"path": "scans/chest.dcm", "sha256": "ab" * 32, "slices": 1},
        modality=Recognised("ct", "header", 1.0),
        anatomy=Recognised("chest", "image", 0.93),
        acquisition="Chest CT, 120 kVp, 30 mAs, 1.0 mm slices, sharp kernel",
        score=score,
        score_interval=(max(0.0, score - 0.3), min(4.0, score + 0.4)),
        score_distribution=tuple((levels / levels.sum()).tolist()),
        percentile=12.0,
        verdict=vocab.verdict_word(score),
        assessable=True,
        reason="",
        reject_probability=0.31,
        attributes=dict(zip(vocab.ATTRIBUTES, (0.2, 0.8, 0.7, 0.4, 0.9, 0.9), strict=True)),
        findings=findings,
        slices=(),
        evidence=(NOISE_SD,),
        warnings=("2 slices are missing between slice 10 and slice 13.",),
        description="",
        model={"name": "medq-nano", "version": "0.1.0", "sha256": "cd" * 32},
        created="2026-11-21T03:50:53Z",
        acquisition_fields={"tube voltage (kVp)": 120.0, "kernel": "LUNG"},
    )
    return replace(result, **changes)


def refused() -> Assessment:
    """A schema-valid assessment of something that is no medical image."""
    return replace(
        assessed(),
        modality=Recognised(None, "image", 0.2),
        anatomy=Recognised(None, "image", 0.1),
        score=None,
        score_interval=None,
        score_distribution=(),
        percentile=None,
        verdict=None,
        assessable=False,
        reason="The image looks like a photograph, not like a medical image.",
        reject_probability=None,
        attributes={},
        findings=(),
        evidence=(),
        warnings=(),
    )


def volume(slices: int = 300) -> Assessment:
    """A volume whose slice scores fall and rise."""
    scores = 2.2 + np.sin(np.arange(slices) / 40)
    rows = tuple({"index": i, "score": float(s), "weight": 1 / slices} for i, s in enumerate(scores))
    source = {"path": "scans/chest_series", "sha256": "ab" * 32, "slices": slices}
    return assessed(2.2, (NOISE, METAL), source=source, slices=rows)


def display(height: int = 120, width: int = 160) -> np.ndarray:
    """A grey ramp, uint8 (H, W)."""
    return np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))
