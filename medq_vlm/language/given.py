"""What the file gives and the result holds, to questions that ask for it by a value, a name or a yes."""

from __future__ import annotations

import re
from dataclasses import replace

from medq_vlm import vocab
from medq_vlm.language import facts
from medq_vlm.language import line as lines
from medq_vlm.language.case import Case

VALUE = re.compile(
    r" ?\b(?:above|below|over|under|at|about|really|exactly)? ?\d[\d.]* ?(?:t|tesla|hu|mm|ms|kvp?|mas?|mgy|%|db)?\b"
)
ATTRIBUTES = {
    "noise": "noise", "sharpness": "sharpness", "contrast": "contrast", "exposure": "exposure", "coverage": "coverage",
    "artefact": "artifact", "artefacts": "artifact",
}  # fmt: skip
IMAGED_BY_RAYS_OR_SPINS = ("ct", "mr", "xray", "mammography")


def contrast_agent(case: Case) -> str:
    """Whether a contrast agent was used: the header says so, or nothing does."""
    if case.modality not in IMAGED_BY_RAYS_OR_SPINS:
        return ""
    used = case.assessment.acquisition_fields.get("contrast_agent")
    if used is None:
        return f"{facts.NOT_GIVEN} whether a contrast agent was used, and I do not judge it from the pixels."
    return f"The file gives: contrast agent {used}."


def sequence(case: Case) -> str:
    """The MR sequence."""
    if case.modality != "mr":
        return ""
    fields = case.assessment.acquisition_fields
    named = [str(fields[name]) for name in ("sequence", "acquisition_type", "weighting") if name in fields]
    if not named:
        return f"{facts.NOT_GIVEN} the sequence."
    return f"The file gives: {', '.join(named)}. The acquisition reads: {case.assessment.acquisition}."


def grid(case: Case) -> str:
    """Whether an anti-scatter grid was used; a stationary one may leave lines."""
    if case.modality not in ("xray", "mammography"):
        return ""
    lined = next((one for one in case.found if one.kind == "grid_lines"), None)
    seen = f"{facts.capital(facts.finding(lined))} was found" if lined else "No grid line was found"
    return f"{facts.NOT_GIVEN} whether a grid was used. {seen}, but many grids leave none."


def view(case: Case) -> str:
    """The projection of a radiograph."""
    if case.modality not in ("xray", "mammography"):
        return ""
    told = case.assessment.acquisition_fields.get("view")
    return f"The file gives: {told} view." if told else f"{facts.NOT_GIVEN} the view, and I do not judge it."


def checked(case: Case) -> str:
    """To "is the field strength 3 T?" or "is the noise SD above 20 HU?": the value that there is."""
    asked = VALUE.sub("", case.asked)
    if asked == case.asked:
        return ""
    bare = replace(case, asked=asked)
    return facts.measured(bare) or facts.setting(bare)


def focus(case: Case) -> str:
    """Whether it is in focus: a defocus or a blur is a no."""
    blurred = [one for one in case.found if one.kind in ("defocus", "blur", "motion_blur")]
    if not blurred:
        return f"Yes: no defocus or blur was found; {facts.small(facts.verdict(case))}"
    told = "; ".join(f"{facts.finding(one)} ({lines.item(one).place})" for one in blurred)
    return f"No: {told}. {facts.capital(blurred[0].remedy)}."


def attribute(case: Case) -> str:
    """A partial score, 0 to 1."""
    rows = {ATTRIBUTES[word] for word in case.asked.split() if word in ATTRIBUTES} or set(vocab.ATTRIBUTES)
    values = [f"{name} {case.assessment.attributes[name]:.2f}" for name in vocab.ATTRIBUTES
              if name in rows and name in case.assessment.attributes]  # fmt: skip
    if not values:
        return ""
    told = ", ".join(values).replace("artifact", "freedom from artefacts").replace("noise", "low noise")
    return f"Partial scores, 0 to 1, higher is better: {told}." if len(values) > 1 else f"{facts.capital(told)} of 1."
