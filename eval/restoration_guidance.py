"""What a restoration is told in the ablation: the truth about the image, nothing, or something else."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

from eval.restoration_cases import TASKS, Pair
from eval.written_cases import EVERYWHERE, written
from medq_vlm import vocab
from medq_vlm.report.describe import describe
from medq_vlm.restore.guidance import Guidance, from_findings

OTHERWISE = "low_resolution"  # the wrong word for a modality with one task


def right(pair: Pair) -> Guidance:
    """The description MedQ would give if its assessment were true: kind, severity and place of the record."""
    return told(pair, pair.task.kind, place=True)


def wrong(pair: Pair) -> Guidance:
    """The description of another task of the same modality, at the same severity; of another family where possible."""
    own = pair.task.kind
    kinds = [task.kind for task in TASKS if pair.content.modality in task.modalities and task.kind != own]
    family = vocab.KIND[own].attribute
    apart = [kind for kind in kinds if vocab.KIND[kind].attribute != family] or kinds or [OTHERWISE]
    return told(pair, apart[zlib.crc32(pair.content.name.encode()) % len(apart)], place=False)


def told(pair: Pair, kind: str, place: bool) -> Guidance:
    """Guidance that names `kind` at the severity of the record, with the text of a report."""
    severity = pair.record.severity
    modality, anatomy = pair.content.modality, pair.clean.anatomy or vocab.ANATOMIES[0]
    stated = written(modality, anatomy, [(kind, severity, EVERYWHERE)], 4.0 - severity).assessment
    boxes: dict[str, Sequence[float]] = {}
    if place and pair.record.box is not None:
        h, w = pair.clean.pixels.shape[1:3]
        x0, y0, x1, y1 = pair.record.box
        boxes[kind] = (x0 / w, y0 / h, x1 / w, y1 / h)
    return from_findings({kind: severity}, modality, describe(replace(stated, description="")), boxes)
