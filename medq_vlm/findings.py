"""Scores of slices -> findings: which kinds to name, how severe, where, with what evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from medq_vlm import vocab
from medq_vlm.evidence import for_kind, foreground
from medq_vlm.evidence.expected import ONE_SIDED
from medq_vlm.evidence.places import Box, place
from medq_vlm.schema import Finding, ImageSample, Location, Measurement
from medq_vlm.slice_scores import SliceScores

Heat = Callable[[SliceScores, str], np.ndarray]  # native heat map (H, W) of a kind on a slice

REPORT_FROM = vocab.SEVERITY_FROM[0]
MOST = 6  # findings in one result, the worst first
WORST_SHARE = 0.25  # a volume's severity is the mean of its worst quarter of slices
LARGEST_PLACE = 0.5  # of the body's box; a larger box is no place


def collect(
    sample: ImageSample, heat: Heat, scored: Sequence[SliceScores], apart: np.ndarray, measured: Sequence[Measurement],
    modality: str,
) -> tuple[Finding, ...]:  # fmt: skip
    """Findings of a slice or volume, worst first; what slices that stand `apart` show counts in full."""
    kinds = vocab.kinds_for(modality)
    table = np.array([[s.severity.get(kind, 0.0) for kind in kinds] for s in scored])  # S K
    worst = max(1, round(WORST_SHARE * len(scored)))
    level = np.sort(table, axis=0)[-worst:].mean(0)
    if len(apart):
        level = np.maximum(level, table[apart].max(0))
    chosen = [k for k in np.argsort(-level) if level[k] >= REPORT_FROM][:MOST]
    found = []
    for k in chosen:
        peak = scored[int(np.argmax(table[:, k]))]
        location = _locate(sample, heat, peak, kinds[k])
        found.append(_finding(location, scored, table[:, k], kinds[k], float(level[k]), measured, modality))
    return tuple(found)


def limited(attributes: dict[str, float], found: Sequence[Finding]) -> dict[str, float]:
    """What the prompts say, 0 to 1, and no better than the findings leave: no low noise beside a finding of noise.

    Both are trained towards one minus a quarter of the worst severity; the findings' is the calibrated one.
    """
    worst = dict.fromkeys(attributes, 0.0)
    for one in found:
        name = vocab.KIND[one.kind].attribute
        worst[name] = max(worst.get(name, 0.0), one.severity_value)
    return {name: min(value, 1.0 - worst[name] / 4.0) for name, value in attributes.items()}


def contradicted(measured: Sequence[Measurement], verdict: str | None) -> tuple[str, ...]:
    """A sentence where CT noise in HU lies far beyond its range and the verdict is good all the same.

    Only of HU: in shares of the range a texture of the anatomy measures as noise, on clean MR too.
    """
    noise = next((one for one in measured if one.name == "noise_sd" and one.unit == "HU" and one.far), None)
    if verdict != "good" or noise is None or noise.times_bound is None:
        return ()
    return (
        f"The noise SD of {noise.value:.3g} HU is {noise.times_bound:.1f} times what is expected of a good image: "
        "look at the noise before you rely on the verdict.",
    )


def _finding(
    location: Location, scored: Sequence[SliceScores], severities: np.ndarray, kind: str, level: float,
    measured: Sequence[Measurement], modality: str,
) -> Finding:  # fmt: skip
    affected = np.flatnonzero(severities >= min(REPORT_FROM, float(severities.max())))
    if len(scored) > 1:
        span = (scored[int(affected[0])].index, scored[int(affected[-1])].index)
        location = Location(span, location.box, location.words)
    cause, impact, remedy = vocab.text_for(kind, modality)
    scheme, value, meaning = vocab.KIND[kind].code
    names = for_kind(kind)
    backing = [m for m in measured if m.name in names and not (m.name in ONE_SIDED and m.within)]
    # what stands outside its range first, then what tells most: the language model is told the first alone
    backing.sort(key=lambda m: ((False, None, True).index(m.within), names.index(m.name)))
    return Finding(
        kind=kind,
        severity=vocab.severity_word(level),
        severity_value=level,
        confidence=max(s.kind_probability.get(kind, 0.0) for s in scored),
        location=location,
        evidence=tuple(backing),
        cause=cause,
        impact=impact,
        remedy=remedy,
        code={"scheme": scheme, "value": value, "meaning": meaning},
    )


def _locate(sample: ImageSample, heat: Heat, scores: SliceScores, kind: str) -> Location:
    """Box and words for a local kind; a global kind is everywhere, and so is a box around half of the body."""
    box = find_box(sample, heat, scores, kind) if kind in vocab.LOCAL_KINDS else None
    if box is None or _area(box) > LARGEST_PLACE * _area(scores.box):
        return Location(None, None, "whole image")
    return Location(None, box, place_words(box, scores.box))


def find_box(sample: ImageSample, heat: Heat, scores: SliceScores, kind: str) -> Box | None:
    """Where a kind shows on a scored slice: as measured, or where the model's heat map is hot."""
    index = scores.index
    valid = None if sample.valid is None else sample.valid[index]
    body = foreground(sample.pixels[index], scores.modality, sample.unit, valid, sample.inverted)
    return place(kind, sample.pixels[index], body, sample.unit) or hot_box(heat(scores, kind))


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def hot_box(heat: np.ndarray, share: float = 0.4, least: float = 0.1) -> Box | None:
    """Box (x0, y0, x1, y1) around the regions above `share` of the maximum.

    A region of less than `least` of the size of the one that holds the maximum is left out.
    """
    if heat.max() <= 0:
        return None
    labels, count = ndimage.label(heat >= share * heat.max())
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0  # what is cold
    hottest = labels[np.unravel_index(int(np.argmax(heat)), heat.shape)]
    kept = (sizes >= least * sizes[hottest])[labels] & (labels > 0)
    rows, cols = np.flatnonzero(kept.any(1)), np.flatnonzero(kept.any(0))
    return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1


def place_words(box: Box, body: Box) -> str:
    """The box's centre in words relative to the body box."""
    x0, y0, x1, y1 = body
    cx = ((box[0] + box[2]) / 2 - x0) / max(1, x1 - x0)
    cy = ((box[1] + box[3]) / 2 - y0) / max(1, y1 - y0)
    row = "upper" if cy < 1 / 3 else "lower" if cy > 2 / 3 else "middle"
    column = "left" if cx < 1 / 3 else "right" if cx > 2 / 3 else "centre"
    if (row, column) == ("middle", "centre"):
        return "centre of the image"
    return f"{row} {column} of the image"
