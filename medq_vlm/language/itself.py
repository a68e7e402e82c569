"""Sentences on MedQ itself: which model it is, what it learnt from, how far its numbers may be relied on."""

from __future__ import annotations

from medq_vlm.language import facts, weighing
from medq_vlm.language.case import MEASURES, Case

MOVED = 0.3  # score points by which turning or resizing may move a score: eval.run_invariance
POINTED = "about three of four"  # hottest points that lay inside a local fault: eval.run_location


def version(case: Case) -> str:
    model = case.assessment.model
    return (
        f"The result was made by MedQ-VLM's model {model['name']}, version {model['version']}, checksum "
        f"{model['sha256'][:12]}. The Model tab says more, and so does the command medq info."
    )


def learnt(case: Case) -> str:
    return (
        "The scorer learnt from public images under open licences, degraded by simulated physics to known severities, "
        "and from phantoms; the model card lists every source. Nothing that is opened here is kept for training."
    )


def heat_map(case: Case) -> str:
    return (
        "The heat map is a hint, not an outline: in simulated local faults its hottest point lay inside the fault in "
        f"{POINTED}. Please compare it with the image. {facts.place(case)}"
    )


def readers(case: Case) -> str:
    low, high = case.line.interval
    return (
        "I cannot tell what a reader would say of this image, and readers differ among themselves. The score comes "
        f"from a network that learnt simulated degradations; its 90 % interval is {low:.1f} to {high:.1f}. "
        "A few images rated by your own readers show how well it agrees with them."
    )


def difference(case: Case) -> str:
    low, high = case.line.interval
    return (
        f"A difference of less than {MOVED:g} between two scores means little: turning or resizing an image may move "
        f"its score by as much. The 90 % interval of this one is {low:.1f} to {high:.1f}."
    )


def reshaped(case: Case) -> str:
    """To what padding, flipping, turning or resizing does to the score."""
    return (
        f"Padding, mirroring, turning or enlarging moves the score of most images by less than {MOVED:g}. Making an "
        f"image smaller takes detail away, and the score may follow. {facts.score(case)}"
    )


def burned_in(case: Case) -> str:
    covered = [one for one in case.found if one.kind == "occlusion"]
    told = f"{facts.capital(facts.finding(covered[0]))} was found" if covered else "Nothing was found to cover anatomy"
    return (
        "Markers and text in the pixels are no degradation, and training had such images so that the score does not "
        f"follow them. {told}. {facts.score(case)}"
    )


def wrong(case: Case) -> str:
    """To how often a finding is wrong."""
    return (
        f"{weighing.confidences(case)} How often findings are wrong on images from sources never trained on stands in "
        "the README's results."
    )


def marked(case: Case) -> str:
    """To a wish to see the place."""
    return f"The boxes and the heat map over the image mark it, and so does the report. {facts.place(case)}"


def identity(case: Case) -> str:
    return (
        "Names, dates and numbers of people are not taken from the file, so neither the result nor a report holds "
        "them. The name of the file itself and text burned into the pixels may still identify somebody: please look."
    )


def method(case: Case) -> str:
    """How the numbers that a question names were measured."""
    wanted = [name for name, forms in MEASURES.items() if case.says(*forms)]
    told = [f"{facts.measurement(one)} Method: {one.source}." for one in case.assessment.evidence
            if one.name in wanted and one.source]  # fmt: skip
    return " ".join(told[:2])


def recognised(case: Case) -> str:
    """By what modality and anatomy are known."""
    fact = case.assessment.modality
    how = {"header": "the file's header says so", "user": "you said so"}.get(
        fact.from_, f"recognised from the pixels at {fact.confidence:.0%}".replace("%", " %")
    )
    return f"The modality: {how}. {facts.anatomy(case)}"


def single(case: Case) -> str:
    """To a comparison with an image that is not shown."""
    return f"I know this image only; under Compare two images are set side by side. {facts.score(case)}"
