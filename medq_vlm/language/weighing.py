"""Sentences that weigh findings: against one another, against what resembles them, and if one of them were gone."""

from __future__ import annotations

import re

from medq_vlm import vocab
from medq_vlm.language import facts
from medq_vlm.language import line as lines
from medq_vlm.language.case import Case
from medq_vlm.schema import Finding
from medq_vlm.treated import treats

# kinds that look alike, of whichever modality
RESEMBLING = (
    ("noise", "low_dose_noise", "mr_noise", "quantum_mottle", "low_count_noise"),
    ("blur", "motion_blur", "defocus", "low_resolution"),
    ("metal", "sparse_view", "limited_angle", "beam_hardening", "ct_motion"),
    ("mr_motion", "ghosting", "undersampling", "wraparound"),
    ("low_contrast", "haze", "scatter"),
    ("underexposure", "attenuation", "shadow", "uneven_illumination"),
    ("overexposure", "gain", "clipping"),
)


def ranking(case: Case) -> str:
    """All findings, the most severe first."""
    if len(case.found) < 2:
        return foremost(case)
    rows = (f"{number}. {_degree(one)}" for number, one in enumerate(case.found, 1))
    return f"The most severe first: {'; '.join(rows)}."


def listed(case: Case) -> str:
    """Every finding with cause, effect and remedy, one to a line."""
    if not case.found:
        return facts.listing(case)
    return "\n".join(
        f"- {facts.capital(facts.finding(one))} ({lines.item(one).place}). Cause: {one.cause}. Effect: {one.impact}. "
        f"Remedy: {one.remedy}."
        for one in case.found
    )


def between(case: Case) -> str:
    """To which of two attributes lowers the score."""
    return f"{facts.capital(case.line.overall)}. {foremost(case)}"


def confidences(case: Case) -> str:
    """How sure each finding is, of those in question."""
    if not case.found:
        return facts.listing(case)
    rows = "; ".join(f"{facts.finding(one)} {one.confidence:.0%}".replace("%", " %") for one in case.about[:6])
    return f"Confidence of the findings: {rows}."


def keywords(case: Case) -> str:
    """Verdict, findings and attributes in few words."""
    return ", ".join((case.line.verdict, *map(facts.finding, case.found[:3]), *case.line.overall.split(", "))) + "."


def attribute(case: Case) -> str:
    """To what limits or would improve sharpness, contrast, noise or exposure."""
    name = next((name for name in lines.ATTRIBUTE_WORDS if case.says(name)), "sharpness")
    word = next((f"{entry}. " for entry in case.line.overall.split(", ") if entry.startswith(name)), "")
    lowering = [one for one in case.found if vocab.KIND[one.kind].attribute == name]
    if not lowering:
        return f"{facts.capital(word)}No finding lowers the {name} by itself. {facts.remedy(case)}"
    rows = "; ".join(f"{facts.finding(one)}, remedy: {one.remedy}" for one in lowering[:3])
    return f"{facts.capital(word)}What limits it: {rows}."


DECISION = re.compile(r"\b(?:repeat|rescan|retake|redo|verdict|reject\w*|usable|good|diagnostic|score)\b")
CHOICE = re.compile(r"\b(?:first|worst|most|main|biggest|before)\b")


def why(case: Case) -> str:
    """To "why?": the cause of what was spoken of, or the reason of a choice among the findings."""
    before = case.history[-1][0].lower()
    if CHOICE.search(before):
        return foremost(case)
    if DECISION.search(before) and case.found:
        return f"{facts.verdict(case)} {facts.capital(case.found[0].impact)}."
    return facts.cause(case)


def foremost(case: Case) -> str:
    """The finding that matters most, and why."""
    if not case.found:
        return facts.listing(case)
    first, *others = case.found
    rest = f" Less severe: {_joined([facts.finding(one) for one in others])}." if others else " It is the only finding."
    return f"{facts.capital(_degree(first))}: {first.impact}.{rest}"


def resembling(case: Case) -> str:
    """What else the findings could be."""
    if not case.found:
        return f"{facts.listing(case)} A degradation that left no trace in the pixels would not be noticed."
    told = []
    for one in case.found[:2]:
        sure = f"{one.confidence:.0%}".replace("%", " %")
        other = _joined([vocab.KIND[kind].plain for kind in _relatives(case, one)][:3], "or")
        measured = f", measured: {lines.measured(one.evidence)}" if one.evidence else ""
        mistaken = f"; it might be mistaken for {other}" if other else ""
        told.append(f"{facts.capital(facts.finding(one))} is named with a confidence of {sure}{measured}{mistaken}.")
    return f"{' '.join(told)} Anatomy can look like an artefact too: please compare with the image."


def severity(case: Case) -> str:
    """The scale of severities, which runs the other way than the score."""
    mild, moderate = vocab.SEVERITY_FROM
    return (
        f"The severity of a finding runs from 0 to 4, higher is worse: below {mild:g} it is not reported, "
        f"from {mild:g} it is mild, from {moderate:g} moderate, from 2.5 severe. "
        "The score runs the other way: 4 is best. "
        f"{ranking(case)}"
    )


def foretold(case: Case) -> str:
    """To "what would the score be if it were gone"."""
    if not case.found:
        return facts.listing(case)
    helps = facts.small(facts.remedy(case))
    return f"What the score would be then, I cannot tell: assess the new image. {facts.score(case)} What helps {helps}"


def treatment(case: Case) -> str:
    """What restoration can do, finding by finding, and what it cannot."""
    if not case.found:
        return f"{facts.CLEAN}, so there is nothing to restore."
    can = [one for one in case.about if treats(one.kind, case.modality)]
    cannot = [one for one in case.about if one not in can]
    told = []
    if can:
        told.append(f"Restore is trained against {_joined([facts.finding(one) for one in can])}")
    if cannot:
        names = _joined([facts.finding(one) for one in cannot])
        told.append(f"against {names} {'it is not' if can else 'Restore is not trained: take the image again'}")
    text = f"{facts.capital('; '.join(told))}."
    if not can:
        return text
    text += " The restored image is assessed again, so that its score says whether it helped."
    return (
        f"{text} Detail that was never recorded cannot come back, and fine structures may change: a restored image is "
        "derived and not for primary diagnosis."
    )


def windowed(case: Case) -> str:
    """To whether another display window helps."""
    low = next((one for one in case.found if vocab.KIND[one.kind].attribute == "contrast"), None)
    seen = f" {facts.capital(facts.finding(low))} may be easier to read through in a narrower window." if low else ""
    return f"A window changes the display only: the score and the findings come from the stored values.{seen} " + (
        facts.verdict(case)
    )


def related(case: Case) -> str:
    """To whether one finding comes from another."""
    if len(case.found) < 2:
        return f"{facts.listing(case)} There is no other that it could come from."
    return (
        f"Each finding is judged by itself, so I cannot tell whether one comes from another. {facts.cause(case)} "
        "Causes in common would be a hint."
    )


def perfect(case: Case) -> str:
    """What the best image of its kind would be, and what keeps this one from it."""
    short = f"This one has {vocab.score_text(case.line.score)} of 4, with "
    found = _joined([facts.finding(one) for one in case.found[:3]]) or "no finding"
    return f"A perfect one would have 4 of 4, '{vocab.SCORE_WORDS[-1]}', and no finding. {short}{found}."


def cropped(case: Case) -> str:
    """To leaving out the bad part."""
    if not case.found:
        return facts.listing(case)
    whole = [one for one in case.found if (one.location.words or lines.EVERYWHERE) == lines.EVERYWHERE]
    local = [one for one in case.found if one not in whole]
    told = []
    if whole:
        told.append(f"{_joined([facts.finding(one) for one in whole])}: in the whole image, so a crop keeps it")
    told += [f"{facts.finding(one)}: {lines.item(one).place}, a crop without that place may score higher"
             for one in local]  # fmt: skip
    return f"{facts.capital('; '.join(told))}. Assess the cropped image to know."


def _degree(one: Finding) -> str:
    return f"{facts.finding(one)} ({one.severity_value:.1f} of 4, {lines.item(one).place})"


def _relatives(case: Case, one: Finding) -> list[str]:
    """Kinds of the modality that look like a finding and were not found."""
    out = {other.kind for other in case.found}
    alike = {kind for group in RESEMBLING if one.kind in group for kind in group} - out
    return [kind for kind in vocab.kinds_for(case.modality) if kind in alike]


def _joined(names: list[str], word: str = "and") -> str:
    return f" {word} ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""
