"""The pictures of a report: which slice to show, and where its worst finding lies."""

from __future__ import annotations

from typing import Any

from medq_vlm.io.display import to_display
from medq_vlm.pipeline import MedQ
from medq_vlm.schema import Assessment, ImageSample
from medq_vlm.slice_scores import worst


def images(medq: MedQ, sample: ImageSample, result: Assessment) -> dict[str, Any]:
    """What report.picture.make_picture takes: "display" uint8, "heat" float (H, W) or None, "slice_index".

    The slice is the worst one that counts among those of the worst finding; without findings among all. The heat map
    shows where that finding comes from, and is left out when there is none.
    """
    index = shown_slice(result)
    heat = None
    if result.findings:
        heat = medq.heat(sample, medq.score_slice(sample, index), result.findings[0].kind)
    return {"display": to_display(sample, index), "heat": heat, "slice_index": index}


def shown_slice(result: Assessment) -> int:
    """Index of the slice a report shows."""
    span = result.findings[0].location.slices if result.findings else None
    candidates = [one for one in result.slices if span is None or span[0] <= one["index"] <= span[1]]
    if not candidates:
        return 0
    scores, weights = ([one[name] for one in candidates] for name in ("score", "weight"))
    return int(candidates[worst(scores, weights)]["index"])
