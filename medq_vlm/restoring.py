"""Assess, then restore: what may be treated, what must stay as it is, and what a person must be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from medq_vlm import vocab
from medq_vlm.report.describe import describe
from medq_vlm.restore import Guidance, Restoration, from_assessment, invention, untouched
from medq_vlm.schema import Assessment, ImageSample, MedQError, plain
from medq_vlm.treated import tasks_for

if TYPE_CHECKING:
    from medq_vlm.restore import Restorer

SCHEMA_VERSION = "medq-restoration/1"
DERIVED = (
    "The restored image is derived by a neural network: not for primary diagnosis. Keep the original and read it too."
)
NOTHING_DONE = "The image was left as it is: the restoration found nothing to change."
MODERATE = vocab.SEVERITY_FROM[1]
NOISES, EXPOSURES = ("noise", "quantum_mottle"), ("underexposure", "overexposure")
AS_SEVERE = 0.75  # of an exposure's severity: noise from here on may be what the scorer took for it
WORDING = 0  # of report.describe
LITTLE = 0.15  # of the score: too little to be a help
REGIONS = 5  # named in the result
REGION_SIGMA_PX, REGION_FROM = 4.0, 2.0  # smoothing of the change, and how many times the mean one a region is
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Restored:
    """A restoration, what led it, and how the guard judged it."""

    restoration: Restoration
    guidance: Guidance
    justification: invention.Justification


def restore(
    sample: ImageSample,
    assessment: Assessment,
    restorer: Callable[[], Restorer],
    description: str | None = None,
    progress: Progress | None = None,
) -> Restored:
    """Restore `sample`, led by its assessment, or by `description` where a person gives one.

    What is good without a moderate finding, cannot be assessed, or shows nothing that the network learnt to treat comes
    back as it is, with the reason as a warning; `restorer` is called only when it is needed. Raises ModelError.
    """
    # always in the same words: equal findings must lead alike, whatever the file's name or the model's phrases
    assessment = replace(assessment, description=describe(assessment, WORDING))
    guidance = from_assessment(assessment, description, sample.pixels.shape[1:3])
    reason = reason_to_stay(assessment, guidance, description is not None)
    if reason:
        return _as_it_is(sample, guidance, assessment, reason)
    doubted = doubtful_exposures(guidance) if description is None else ()
    guidance = without(guidance, doubted)
    lead = guidance if description is None else in_own_words(guidance)
    # a picture whose modality only the scorer recognised is restored as that modality, and stays as it was read
    made = restorer().restore(replace(sample, modality=guidance.modality), lead, progress)
    made = replace(made, sample=replace(made.sample, modality=sample.modality))
    judged = invention.check(sample, made, assessment)
    first = NOTHING_DONE if made.unchanged else DERIVED
    doubts = tuple(f"Not treated, for noise may have been taken for it: {vocab.KIND[kind].plain}." for kind in doubted)
    told = untreated_warnings(guidance) + unfounded_warnings(guidance, assessment)
    warnings = (first, *made.warnings, *doubts, *told, *judged.warnings)
    return Restored(replace(made, warnings=tuple(dict.fromkeys(warnings))), guidance, judged)


def reason_to_stay(assessment: Assessment, guidance: Guidance, by_person: bool) -> str:
    """Why the image must come back as it is; "" when there is something to treat."""
    if not assessment.assessable:
        return f"The image was not restored, for it cannot be assessed: {assessment.reason}"
    if by_person and not guidance.findings:
        return f"The image was left as it is: the description names no degradation; {treatable(guidance.modality)}."
    worst = max((finding.severity_value for finding in assessment.findings), default=0.0)
    if assessment.verdict == "good" and worst < MODERATE and not by_person:
        return "The image was left as it is: it is good already."
    if not guidance.treated:
        found = "the description names nothing" if by_person else "nothing was found"
        told = treatable(guidance.modality)
        return f"The image was left as it is: {found} that the restoration has learnt to treat; {told}."
    return ""


def treatable(modality: str | None) -> str:
    """A clause that says what the restoration treats in images of a modality."""
    names = [vocab.KIND[kind].plain for kind in tasks_for(modality)] if modality else []
    where = f"{vocab.MODALITY_NAMES[modality]} images" if modality else "images of unknown modality"
    if not names:
        return f"it treats nothing in {where}"
    return f"in {where} it treats {', '.join(names[:-1])}{' and ' if names[1:] else ''}{names[-1]}"


def doubtful_exposures(guidance: Guidance) -> tuple[str, ...]:
    """Exposures of a radiograph beside noise that is nearly as severe: undoing one that is not there costs most."""
    found = guidance.findings
    noise = max((found.get(kind, 0.0) for kind in NOISES), default=0.0)
    if guidance.modality not in ("xray", "mammography"):
        return ()
    return tuple(kind for kind in EXPOSURES if kind in found and noise >= AS_SEVERE * found[kind])


def without(guidance: Guidance, kinds: Sequence[str]) -> Guidance:
    """The guidance with these kinds no longer among its findings."""
    gone = np.isin(vocab.KIND_NAMES, list(kinds))
    return replace(guidance, severities=np.where(gone, np.float32(0), guidance.severities)) if kinds else guidance


def untreated_warnings(guidance: Guidance) -> tuple[str, ...]:
    """One sentence that names what was found and not treated."""
    names = [vocab.KIND[kind].plain for kind in guidance.untreated]
    return (f"Not treated, for the network did not learn it: {', '.join(names)}.",) if names else ()


def in_own_words(guidance: Guidance) -> Guidance:
    """The guidance whose text is the findings in the words that the network learnt from: "noisy" moved it astray."""
    named = [f"{vocab.severity_word(value)} {vocab.KIND[kind].plain}" for kind, value in guidance.findings.items()]
    return replace(guidance, text=", ".join(named))


def unfounded_warnings(guidance: Guidance, assessment: Assessment) -> tuple[str, ...]:
    """One sentence that names what is treated because a person says so, and was not found."""
    found = {finding.kind for finding in assessment.findings}
    names = [vocab.KIND[kind].plain for kind in guidance.treated if kind not in found]
    return (f"The assessment did not find what is treated here: {', '.join(names)}.",) if names else ()


def score_warnings(before: Assessment, after: Assessment) -> tuple[str, ...]:
    """A sentence where the restored image scores lower than the original, or its verdict is the same and no better.

    Scores to one decimal, as they are shown; what was good already need not become better.
    """
    if before.score is None or after.score is None:
        return ()
    gain = round(float(vocab.score_text(after.score)) - float(vocab.score_text(before.score)), 1)
    if gain < 0:
        return (
            f"By its score the restored image is worse than the original ({vocab.score_text(before.score)} before, "
            f"{vocab.score_text(after.score)} after): prefer the original.",
        )
    if before.verdict == after.verdict != "good" and gain <= LITTLE:
        return (f"By its score the restoration did not help: the verdict is {after.verdict} as before.",)
    return ()


def _as_it_is(sample: ImageSample, guidance: Guidance, assessment: Assessment, reason: str) -> Restored:
    made = untouched(sample, reason, *untreated_warnings(guidance))
    return Restored(made, guidance, invention.check(sample, made, assessment))


def regions(residual: np.ndarray) -> list[dict[str, Any]]:
    """Where most of the change lies: connected regions above REGION_FROM times its mean size, largest share first.

    Keys: slice, box (x0, y0, x1, y1), rms (native units), share (of all squared change).
    """
    size = np.abs(invention.grey(residual))
    total = float(np.square(size, dtype=np.float64).sum())
    if total == 0:
        return []
    found: list[dict[str, Any]] = []
    bar = REGION_FROM * float(size.mean())
    for index, plane in enumerate(size):
        labels, count = ndimage.label(ndimage.gaussian_filter(plane, REGION_SIGMA_PX) > bar)
        if count == 0:
            continue
        energy = ndimage.sum_labels(np.square(plane, dtype=np.float64), labels, np.arange(1, count + 1))
        boxes = ndimage.find_objects(labels)
        for number in np.argsort(-energy)[:REGIONS]:
            rows, columns = boxes[number]
            pixels = int((labels[rows, columns] == number + 1).sum())
            found.append({
                "slice": index, "box": [columns.start, rows.start, columns.stop, rows.stop],
                "rms": float(np.sqrt(energy[number] / pixels)), "share": float(energy[number] / total),
            })  # fmt: skip
    return sorted(found, key=lambda one: float(one["share"]), reverse=True)[:REGIONS]


def shown_slice(restoration: Restoration) -> int:
    """The slice that changed most."""
    return int(np.argmax([np.square(plane, dtype=np.float64).mean() for plane in restoration.residual]))


def note(restored: Restored, version: str) -> str:
    """What a derived file says of its making, in one sentence."""
    names = ", ".join(vocab.KIND[kind].plain for kind in restored.restoration.treated)
    return f"Restored by MedQ {version}: {names} treated by a neural network led by the image's quality description."


def record(
    restored: Restored, before: Assessment, after: Assessment, by_person: bool, restorer: dict[str, Any] | None
) -> dict[str, Any]:
    """The result as plain JSON types, without the files; follows restoration.schema.json."""
    made, judged = restored.restoration, restored.justification
    return plain({
        "schema": SCHEMA_VERSION,
        "source": before.source,
        "outputs": [],
        "residual_picture": None,
        "unchanged": made.unchanged,
        "before": _brief(before),
        "after": _brief(after),
        "treated": list(made.treated),
        "untreated": list(restored.guidance.untreated),
        "change": {**made.change, "regions": regions(made.residual)},
        "justified": {
            "change_share": judged.change_share, "allowed_share": judged.allowed_share, "structure": judged.structure,
            "spot": None if judged.spot is None else {
                "slice": judged.spot.slice_index, "box": list(judged.spot.box), "strength": judged.spot.strength,
                "change": judged.spot.change,
            },
            "yes": judged.justified,
        },
        "description": {"text": restored.guidance.text, "from": "user" if by_person else "assessment",
                        "findings": restored.guidance.findings},
        "acquisition": before.acquisition,
        "warnings": [*made.warnings, *score_warnings(before, after)],
        "model": {"scorer": before.model, "restorer": restorer},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }, six_digits)  # fmt: skip


def _brief(one: Assessment) -> dict[str, Any]:
    found = [{"kind": f.kind, "severity": f.severity, "severity_value": f.severity_value} for f in one.findings]
    return {
        "score": one.score, "score_interval": one.score_interval, "verdict": one.verdict, "assessable": one.assessable,
        "findings": found,
    }  # fmt: skip


def six_digits(value: float) -> float:
    """Six significant digits: a change of 0.00012 in a range of 1 must stay one."""
    return float(f"{value:.6g}")


@cache
def _validator() -> Any:
    import json

    from jsonschema import Draft202012Validator

    text = resources.files("medq_vlm").joinpath("restoration.schema.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(text))


def validate(result: dict[str, Any]) -> None:
    """Check a record against the committed schema. Raises MedQError that names the first offending field."""
    for error in sorted(_validator().iter_errors(result), key=lambda one: list(map(str, one.absolute_path))):
        place = "/".join(map(str, error.absolute_path)) or "the top level"
        raise MedQError(f"The result does not follow schema {SCHEMA_VERSION} at {place}: {error.message[:200]}.")
