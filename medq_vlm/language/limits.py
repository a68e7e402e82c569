"""Sentences on what one image cannot tell, each with what its result does show; degrees and follow-ups."""

from __future__ import annotations

import re

from medq_vlm import vocab
from medq_vlm.language import facts
from medq_vlm.language import line as lines
from medq_vlm.language.case import Case


def degree(case: Case) -> str:
    """How severe the findings are, on the scale, with place and measured numbers."""
    if not case.found:
        return facts.listing(case)
    told = []
    for one in case.about[:2]:
        numbers = f"; {lines.measured(one.evidence)}" if one.evidence else ""
        told.append(f"{facts.finding(one)}: {one.severity_value:.1f} of 4 ({lines.item(one).place}){numbers}.")
    return " ".join(facts.capital(text) for text in told)


SIMPLY = {
    "good": "The picture is good enough to be read",
    "usable": "The picture can be read, with care",
    "reject": "The picture is too poor to be read",
}  # by verdict


PICTURE = "This is about the picture alone and says nothing about health or illness."


def simply(case: Case) -> str:
    """For somebody who is no expert."""
    worst = case.about[0] if case.about else None
    why = f"{worst.impact}. What helps: {worst.remedy}." if worst else "nothing in particular disturbs it."
    link = ", although" if worst and case.line.verdict == "good" else ":"
    return f"{SIMPLY[case.line.verdict]}{link} {why} {PICTURE}"


def blame(case: Case) -> str:
    return f"{facts.cause(case)} One image cannot tell whether the patient, the staff or the machine is to blame."


def made(case: Case) -> str:
    """How the score comes about and what was read for it."""
    given = case.assessment.acquisition
    header = f"the acquisition description ({given})" if given else "no acquisition description, as none was given"
    return (
        "A trained network scores the pixels between 0 and 4; numbers such as the noise are measured apart, as "
        f"evidence for its findings. It also read {header}. {facts.score(case)}"
    )


def unchecked(case: Case) -> str:
    """What was not measured and what no single image holds."""
    low, high = case.line.interval
    return (
        "I cannot tell from one image whether anatomy was missed, what a fault hides, or whether the equipment meets "
        "a tolerance: that takes a phantom and a standard. "
        f"What is known: {facts.listing(case)} The score's interval is {low:.1f} to {high:.1f}."
    )


BOUND = re.compile(r"\b[0-4](?:\.\d+)?\b")


def against(case: Case) -> str:
    """The score beside the last number that the question names."""
    bound = float(BOUND.findall(case.asked)[-1])
    score, (low, high) = round(case.line.score, 1), case.line.interval
    side = "at" if score == bound else "above" if score > bound else "below"
    sure = "includes it, so the image may lie on the other side" if low < bound < high else "lies on the same side"
    return f"The score is {side} {bound:g}; its 90 % interval, {low:.1f} to {high:.1f}, {sure}. {facts.verdict(case)}"


def covered(case: Case) -> str:
    """To whether all is in the picture: what it shows of that, for what lies outside leaves no trace."""
    cut = [one for one in case.found if one.kind in CUTTING]
    told = f"{facts.finding(cut[0])} was found" if cut else "no cut or covered part was found"
    return f"{facts.capital(told)}. Whether all the anatomy that you need is in the image, I cannot tell from it."


CUTTING = ("collimation", "occlusion", "wraparound", "dropout")


def helping(case: Case) -> str:
    """To whether something else would have helped: the remedies, and that one image does not tell of another."""
    dose = case.says("dose") and facts.doseless(case)
    told = dose or facts.foreign_setting(case) or facts.remedy(case)
    return f"{told} What another scan would show, one image cannot tell."


def real(case: Case) -> str:
    """To "is that a lesion or an artefact"."""
    return (
        "I cannot tell whether something in the image is real: I judge the image, not the patient. "
        f"{facts.listing(case)} Structures at such a place need care."
        if case.found
        else f"I cannot tell whether something in the image is real. {facts.listing(case)}"
    )


def dose(case: Case) -> str:
    """To whether the dose is too low or too high."""
    noisy = [one for one in case.found if vocab.KIND[one.kind].attribute == "noise"]
    if none := facts.doseless(case):
        return f"{none} {facts.listing(case)}"
    told = (
        f"{facts.capital(facts.finding(noisy[0]))} was found, and more photons would lower it."
        if noisy
        else "No noise was found, so nothing in the image asks for a higher dose."
    )
    return f"{told} Whether the dose fits the patient and the question, one image cannot tell."


def standard(case: Case) -> str:
    """To whether the image meets a published standard."""
    return (
        f"Such standards are checked with phantoms and by a physicist; one image cannot show it. {facts.verdict(case)}"
    )


def distance(case: Case) -> str:
    """How far the score is from the verdicts."""
    told = vocab.score_text(case.line.score)  # with two decimals where one would cross a bound
    score, digits = float(told), len(told.partition(".")[2])
    rows = [
        f"{abs(score - bound):.{digits}f} {'below' if score < bound else 'above'} the bound of {name} ({bound:g})"
        for name, bound in (("usable", vocab.USABLE_FROM), ("good", vocab.GOOD_FROM))
    ]
    return f"The score of {told} is {' and '.join(rows)}. {facts.verdict(case)}"


def frequency(case: Case) -> str:
    return f"How common it is, one image cannot tell. {facts.cause(case)}"


def positioned(case: Case) -> str:
    """To whether the patient was positioned well."""
    shown = [one for one in case.found if one.kind in ("rotation", *CUTTING)]
    told = "; ".join(f"{facts.finding(one)}: {one.remedy}" for one in shown) or "No rotation and no cut part was found"
    return f"{facts.capital(told)}. Whether the view suits the question, I cannot tell from one image."
