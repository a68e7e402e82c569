"""To "what if we doubled NEX" or "is 180 mA enough": which remedies it is among, and that no number can be foretold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from medq_vlm import vocab
from medq_vlm.language import facts, weighing
from medq_vlm.language.case import SETTINGS, Case
from medq_vlm.schema import Finding

# what can be changed -> words for it in questions and in remedies
CHANGES: dict[str, tuple[str, ...]] = {
    "current": ("mas", "ma", "tube current", "exposure", "dose", "photons", "current"),
    "kvp": ("kvp", "kv", "tube voltage", "voltage"),
    "averages": ("averages", "averaging", "average", "nex", "nsa"),
    "bandwidth": ("bandwidth",),
    "voxels": ("voxels", "voxel size", "thicker", "thinner", "slice thickness", "slices", "slice"),
    "matrix": ("matrix",),
    "field of view": ("field of view", "fov"),
    "phase": ("phase direction", "phase encoding", "phase-encoding", "phase encode"),
    "oversampling": ("oversampling", "phase oversampling"),
    "acceleration": ("acceleration", "acceleration factor", "grappa", "sense"),
    "coil": ("coil", "coils"),
    "gating": ("gating", "gated", "trigger", "triggered", "triggering", "ecg"),
    "saturation bands": ("saturation bands", "sat bands", "saturation band"),
    "echo time": ("te", "echo time"),
    "kernel": ("kernel", "reconstruction filter"),
    "iterative": ("iterative", "iteratively", "iterative reconstruction"),
    "views": ("projections", "views"),
    "grid": ("grid", "bucky"),
    "collimation": ("collimate", "collimation", "field"),
    "frequency": ("frequency", "mhz"),
    "gain": ("gain", "tgc"),
    "compounding": ("compounding",),
    "focus": ("focus", "refocus", "focal zone", "focal spot"),
    "angle": ("angle", "tilt"),
    "gel": ("gel",),
    "light": ("light", "flash", "illumination", "lamp"),
    "optics": ("optics", "lens"),
    "stillness": (
        "hold still", "keep still", "lie still", "immobilise", "immobilize", "fixation", "breath-hold", "breath",
        "hold",
    ),
    "time": (
        "time per bed position", "scan time", "acquisition time", "bed time", "minutes", "seconds", "time",
        "longer scan", "scan longer", "scan twice", "measure longer", "acquire longer",
    ),
    "activity": ("activity", "injected activity", "tracer"),
    "shutter": ("shutter", "shorten the exposure", "shorter exposure", "exposure time", "shorten the acquisition"),
    "metal": ("remove metal", "external metal", "remove the metal", "metal artefact reduction", "mar"),
    "compression": ("losslessly", "lossless", "uncompressed"),
    "stain": ("restain", "stain", "stain protocol"),
    "section": ("recut", "remount", "section"),
}  # fmt: skip
_UP = (
    "raise raised raising increase increased increasing double doubled triple more higher longer lengthen larger "
    "bigger enlarge enlarged thicker stronger boost twice up closer open quadruple"
)
_DOWN = (
    "lower lowered lowering reduce reduced reducing halve halved half less fewer shorter shorten smaller thinner cut "
    "decrease decreased drop down weaker third quarter"
)
UP, DOWN = frozenset(_UP.split()), frozenset(_DOWN.split())
HYPOTHESIS = re.compile(
    r"\b(?:what|how) (?:if|about if|happens? (?:if|when|to)|would happen|would (?:it|the \w+) (?:be|look|become))\b"
    r"|\bsuppose\b|\bassum(?:e|ing)\b|\bif (?:i|we|you|they|one|the|he|she)\b|\bwhen (?:i|we|you) \w+|^(?:would|could"
    r"|should|shall|must|might|will) (?:i|we|it|you|they|an?|the|more|less|higher|lower|raising|lowering|using|swapping"
    r"|\w+ing|\w+er|\d)\b|^what would \w+ing\b|\bis .*\b(?:good idea|worth (?:it|trying))\b"
)
ENOUGH = re.compile(
    r"^(?:and |but )?(?:is|was|are|were|would|will)\b.*\b\d[\d.]* ?(?:kvp?|mas?|mgy|mhz|mm|ms|t|tesla|averages|nex"
    r"|views|projections|seconds|minutes|s)\b.*\b(?:enough|sufficient|suffice|ok|okay|fine|right|too (?:low|high|much"
    r"|little|few|short|long)|adequate)\b"
)
GONE = re.compile(
    r"\bif\b.*\b(?:gone|absent|fixed|solved|removed|corrected|repaired|not there|(?:were|was) not|wasnt|werent)\b"
)
MORE_DOSE = re.compile(
    r"^(?:and |but )?(?:will|would|does|do|is)\b.*\b(?:increase|raise|cost|more|higher|add)s?\b.*\bdose$"
)
DOSE = "More tube current, mAs or time means more dose in the same measure; lower noise has that price."
WHICH_VALUE = "Which value would be enough, one image cannot tell."
NUMBER = "How much it would change, in numbers, one image cannot foretell: take it that way and assess it again."


@dataclass(frozen=True)
class Match:
    """A finding whose remedy speaks of the change, and whether in the same direction."""

    finding: Finding
    helps: bool


def told(case: Case) -> str:
    """What the findings' remedies say of a supposed change; "" for what supposes none that is known."""
    if MORE_DOSE.search(case.asked) and case.found and case.modality != "pet":
        return facts.doseless(case) or f"{DOSE} {facts.remedy(case)}"
    if not any(pattern.search(case.asked) for pattern in (HYPOTHESIS, ENOUGH)):
        return ""
    changed = [name for name, forms in CHANGES.items() if case.says(*forms)]
    if not changed:
        gone = GONE.search(case.asked) and case.spoken.meant and case.found
        return weighing.foretold(case) if gone else ""
    if none := facts.foreign_setting(case):
        return none
    if "dose" in case.asked.split() and (none := facts.doseless(case)):
        return f"{none} {facts.remedy(case)}"
    if ENOUGH.search(case.asked):
        return f"{_given(case)} {_asked_for(case, changed)} {WHICH_VALUE}"
    return f"{_weighed(case, changed)} {NUMBER}"


def _asked_for(case: Case, changed: list[str]) -> str:
    """Findings whose remedy is another value of the setting."""
    asking = [match.finding for match in _matches(case, changed)]
    told = (f"{facts.capital(facts.finding(one))} was found, whose remedy is: {one.remedy}." for one in asking[:2])
    return " ".join(told) or "No finding asks for another value of it."


def _weighed(case: Case, changed: list[str]) -> str:
    if not case.found:
        fewer = "; a lower dose means more noise" if "current" in changed and _direction(case.asked) < 0 else ""
        return f"{facts.CLEAN}, so no finding asks for that{fewer}."
    matches = list(_matches(case, changed))
    helped = [match.finding for match in matches if match.helps]
    hurt = [match.finding for match in matches if not match.helps]
    rest = [one for one in case.about if one not in [match.finding for match in matches]]
    said = [f"That is among the remedies against {facts.finding(one)}: {one.remedy}." for one in helped[:2]]
    said += [f"That goes against the remedy of {facts.finding(one)}: {one.remedy}." for one in hurt[:2]]
    if not said:
        return f"That is not among the remedies known for what was found. {facts.remedy(case)}"
    if rest:
        said.append(f"It is not among those against {' and '.join(facts.finding(one) for one in rest[:2])}.")
    return " ".join(said)


def _matches(case: Case, changed: list[str]) -> Iterator[Match]:
    """Findings whose remedy changes the same, in one direction or the other."""
    wanted = _direction(case.asked)
    for one in case.found:
        for clause in re.split(r", | or | and ", one.remedy.lower()):
            padded = f" {clause} "
            if any(f" {form} " in padded for name in changed for form in CHANGES[name]):
                asked = _direction(clause)
                yield Match(one, wanted * asked >= 0)
                break


def _direction(words: str) -> int:
    """1 for more, -1 for less, 0 for neither."""
    said = set(words.split())
    return bool(said & UP) - bool(said & DOWN)


def _given(case: Case) -> str:
    """What the file gives of the setting in question."""
    told = [facts.field(case, *row) for forms, row in SETTINGS.items() if case.says(*forms)]
    return " ".join(told) or f"Such a value alone says little of a {vocab.MODALITY_NAMES[case.modality]} image."
