"""Where a degradation shows by itself is measured, and a place is smaller than the image."""

from __future__ import annotations

import numpy as np
import pytest

from medq_vlm.degrade.sample import degrade_sample
from medq_vlm.evidence import foreground
from medq_vlm.evidence.places import place
from medq_vlm.findings import LARGEST_PLACE
from medq_vlm.phantoms import phantom
from medq_vlm.pipeline import MedQ
from medq_vlm.schema import ImageSample


def found(sample: ImageSample, kind: str) -> tuple[int, int, int, int] | None:
    body = foreground(sample.pixels[0], sample.modality, sample.unit)
    return place(kind, sample.pixels[0], body, sample.unit)


@pytest.mark.parametrize(("modality", "kind"), [("ct", "metal"), ("endoscopy", "specular"), ("dermoscopy", "specular")])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_measured_place_is_where_it_was_put(modality: str, kind: str, seed: int) -> None:
    degraded, record = degrade_sample(phantom(modality, seed), kind, 3.0, seed)
    box = found(degraded, kind)
    assert box is not None and record.box is not None
    x0, y0, x1, y1 = (max(box[0], record.box[0]), max(box[1], record.box[1]), min(box[2], record.box[2]),
                      min(box[3], record.box[3]))  # fmt: skip
    both = max(0, x1 - x0) * max(0, y1 - y0)
    assert both >= 0.75 * (record.box[2] - record.box[0]) * (record.box[3] - record.box[1])


def test_nothing_is_marked_where_there_is_nothing() -> None:
    clean = phantom("ct", 0)
    assert found(clean, "metal") is None
    assert found(clean, "noise") is None  # no measure tells its place
    assert found(phantom("mr", 0), "metal") is None  # no HU


def test_a_finding_marks_its_place_or_the_whole_image() -> None:
    medq = MedQ.load()
    degraded, record = degrade_sample(phantom("ct", 1), "metal", 3.5, 1)
    metal = next(f for f in medq.assess_sample(degraded).findings if f.kind == "metal")
    assert metal.location.box is not None and record.box is not None
    centre = np.mean([metal.location.box[:2], metal.location.box[2:]], 0)
    assert record.box[0] < centre[0] < record.box[2] and record.box[1] < centre[1] < record.box[3]
    height, width = degraded.pixels.shape[1:]
    for seed in range(3):
        speckled, _ = degrade_sample(phantom("endoscopy", seed), "specular", 3.5, seed)
        for one in medq.assess_sample(speckled).findings:
            box = one.location.box
            assert (box is None) == (one.location.words == "whole image")
            assert box is None or (box[2] - box[0]) * (box[3] - box[1]) <= LARGEST_PLACE * height * width
