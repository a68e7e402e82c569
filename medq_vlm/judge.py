"""The towers' reading of a slice -> SliceScores: fused, calibrated, and refused where it must not be scored.

Reading is what costs; a volume's slices are judged again from the same readings once its modality is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from medq_vlm import vocab
from medq_vlm.checkpoint import Checkpoint
from medq_vlm.encoder import predict
from medq_vlm.encoder.preprocess import Canonical
from medq_vlm.encoder.scorer import UNKNOWN, Outputs
from medq_vlm.encoder.volume import thumb
from medq_vlm.evidence.colours import many_coloured
from medq_vlm.schema import ImageSample, Recognised
from medq_vlm.slice_scores import BINS, DOUBT, SliceScores, held_back, warp

SMALLEST_SIDE_PX = 32
GREY = ("ct", "mr", "xray", "mammography")  # whatever has colours is no image of these, but a picture of one at most


@dataclass(frozen=True)
class Reading:
    """What is kept of a slice between reading and judging it: no pixels."""

    loaded: Checkpoint  # that read it: a full GPU may change the model's meanwhile
    index: int
    encoded: predict.EncodedSlice
    prior: torch.Tensor  # (1, E) of the acquisition description, zeros without one
    box: tuple[int, int, int, int]
    body_share: float
    thumb: np.ndarray | None


def reading(
    loaded: Checkpoint, sample: ImageSample, index: int, view: Canonical, encoded: predict.EncodedSlice,
    prior: torch.Tensor,
) -> Reading:  # fmt: skip
    """A Reading without the planes it was made from."""
    volume = loaded.volume
    small = None if sample.slices == 1 or volume is None else thumb(view.plane, volume.head.config.thumb_px)
    return Reading(loaded, index, encoded, prior, view.box, float(view.mask.mean()), small)


@torch.no_grad()
def judge(read: Reading, sample: ImageSample, modality: str | None = None) -> SliceScores:
    """The scores of a slice, as `modality` where the header says none and its volume was recognised as that."""
    model, anchors, encoded = read.loaded.model, read.loaded.anchors, read.encoded
    blind = predict.predict(model, encoded, UNKNOWN, anchors)
    by_image = dict(zip(vocab.MODALITIES, blind.modality[0].softmax(-1).tolist(), strict=True))
    likeliest = max(by_image, key=lambda name: by_image[name])
    judged_as = sample.modality or modality or likeliest
    given = UNKNOWN if sample.modality is None and judged_as == likeliest else modality_id(judged_as)
    plain = blind if given == UNKNOWN else predict.predict(model, encoded, given, anchors)
    told = predict.predict(model, encoded, given, anchors, read.prior) if read.prior.any() else plain
    medical = float(blind.medical.sigmoid())
    named = sample.modality is not None and sample.modality_from != "user"
    doubtful = not named and medical < DOUBT
    calibration = read.loaded.calibration
    raw = told.score[0].softmax(-1).double().numpy()
    distribution = _distribution(read, told, doubtful)
    spread = float(np.sqrt((BINS - raw @ BINS) ** 2 @ raw))
    severities = told.severities()[0].tolist()
    present = (1.0 - told.kinds[0].softmax(-1)[:, 0]).tolist()
    position = {name: vocab.KIND_NAMES.index(name) for name in vocab.kinds_for(judged_as)}
    reason = refusal(sample, read.index, medical, calibration.bar(claimed=sample.modality is not None), judged_as)
    return SliceScores(
        index=read.index,
        score=float(distribution @ BINS),
        half_width=calibration.interval_scale * max(0.05, spread),
        distribution=distribution,
        reject_probability=float(distribution[BINS < vocab.USABLE_FROM].sum()),
        severity={name: calibration.severity(name, severities[k]) for name, k in position.items()},
        kind_probability={name: present[k] for name, k in position.items()},
        attributes=dict(zip(vocab.ATTRIBUTES, told.attributes[0].softmax(-1)[:, 0].tolist(), strict=True)),
        modality_probability=by_image,
        anatomy_probability=dict(zip(vocab.ANATOMIES, told.anatomy[0].softmax(-1).tolist(), strict=True)),
        modality=judged_as,
        assessable=not reason,
        reason=reason,
        box=read.box,
        body_share=read.body_share,
        thumb=read.thumb,
        queries=told.queries[0].numpy(),
        utility=float(plain.utility.sigmoid()),
        embed=plain.embed[0].numpy(),
        undescribed=float(_distribution(read, plain, doubtful) @ BINS),
        demand=dict(zip(vocab.ATTRIBUTES, told.demand[0].exp().tolist(), strict=True)),
        doubtful=doubtful,
    )


def as_one(readings: Sequence[Reading], sample: ImageSample, scored: Sequence[SliceScores]) -> list[SliceScores]:
    """The slices of a volume all judged as the modality that they are on average; those that are keep their numbers."""
    modality = recognise(sample.modality, [s.modality_probability for s in able(scored)]).value
    return [
        s if s.modality == modality else judge(read, sample, modality) for read, s in zip(readings, scored, strict=True)
    ]


def able(scored: Sequence[SliceScores]) -> tuple[SliceScores, ...]:
    """The slices that can be assessed, or all where none can."""
    return tuple(s for s in scored if s.assessable) or tuple(scored)


def recognise(known: str | None, probabilities: Sequence[dict[str, float]], said_by: str = "header") -> Recognised:
    """A fact that is `known`, with who said it, or the likeliest by the mean over slices."""
    if known is not None:
        return Recognised(known, said_by, 1.0)
    mean = {name: float(np.mean([p[name] for p in probabilities])) for name in probabilities[0]}
    value = max(mean, key=lambda name: mean[name])
    return Recognised(value, "image", mean[value])


def refusal(sample: ImageSample, index: int, medical: float, bar: float, judged_as: str) -> str:
    """Why this slice must not be scored as a modality, "" when it may be; `medical` is the gate's probability."""
    pixels = sample.pixels[index]
    h, w = pixels.shape[:2]
    if sample.foreign and sample.modality is None:
        unknown = f"The header says that this is {sample.foreign}, which the model has not learnt to judge"
        return f"{unknown}; give the modality if the header is wrong."
    if min(h, w) < SMALLEST_SIDE_PX:
        return f"The image is {w} x {h} pixels; at least {SMALLEST_SIDE_PX} on each side are needed."
    if not np.isfinite(pixels).any() or float(np.nanmax(pixels) - np.nanmin(pixels)) <= 0:
        return "The image is blank: all pixels have one value."
    if medical < bar:
        return "The content does not look like a medical image of a modality this model knows."
    if judged_as in GREY and many_coloured(pixels):
        name = vocab.MODALITY_NAMES[judged_as]
        return f"The picture is in many colours, and {name} images are grey; name its modality if it has another."
    return ""


def modality_id(name: str) -> int:
    """Index in the scorer's modality tables."""
    return vocab.MODALITIES.index(name)


def _distribution(read: Reading, out: Outputs, doubtful: bool) -> np.ndarray:
    """Calibrated distribution over BINS, (21,), held back where it may be no medical image."""
    calibration = read.loaded.calibration
    raw = out.score[0].softmax(-1).double().numpy()
    found = warp(raw, np.interp(BINS, calibration.score_raw, calibration.score_to))
    return held_back(found) if doubtful else found
