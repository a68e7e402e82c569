"""Sentences that the structured result alone answers with: score, verdict, interval, numbers, places, remedies.

A small model invents numbers. What stands in the result is therefore quoted from it; topics.py says which question
gets which sentence. A function gives "" where the result holds nothing to say: the question then goes on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from medq_vlm import vocab
from medq_vlm.language import line as lines
from medq_vlm.language.case import MEASURES, ORGANS, SETTINGS, XRAYS, Case
from medq_vlm.language.terms import DEFINING, TOPICS
from medq_vlm.schema import Finding, Measurement

UNKNOWN = "I cannot tell that from the assessment."
YOURS = "Whether that suffices for your question is your decision."
CLEAN = "No degradation was found"
DIGITS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def score(case: Case) -> str:
    low, high = case.line.interval
    text = vocab.score_text(case.line.score)
    return (
        f"The score is {text} of 4 (90 % interval {low:.1f} to {high:.1f}), nearest to "
        f"'{vocab.score_word(case.line.score)}'; the verdict is {case.line.verdict}{_because(case)}."
    )


def scale(case: Case) -> str:
    levels = ", ".join(f"{number} {word}" for number, word in enumerate(vocab.SCORE_WORDS))
    asked = re.search(r"\b(?:score|value|level)(?: of)? ([0-4](?:\.\d+)?)\b", case.asked)
    if asked and abs(float(asked.group(1)) - round(case.line.score, 1)) > 0.05:
        value = float(asked.group(1))
        return (
            f"A score of {asked.group(1)} is nearest to '{vocab.score_word(value)}', "
            f"verdict {vocab.verdict_word(value)}. The scale runs from 0 to 4: {levels}."
        )
    return f"{score(case)} The scale runs from 0 to 4, higher is better: {levels}."


def claimed_score(case: Case) -> str:
    """To "but the score says 3.8": whether it does."""
    claimed = re.search(r"\bscore (?:says|is|was|of) (\d(?:\.\d+)?)\b", case.asked)
    right = claimed is not None and abs(float(claimed.group(1)) - round(case.line.score, 1)) < 0.051
    return f"{'Yes' if right else 'No'}: {small(score(case))}"


def verdict(case: Case) -> str:
    return f"The verdict is {case.line.verdict}, with a score of {score_of(case)} of 4{_because(case)}."


def one_word(case: Case) -> str:
    return f"{case.line.verdict.capitalize()}: {score_of(case)} of 4."


def limits(case: Case) -> str:
    return (
        f"The verdict follows from the score: {vocab.LIMITS}. This image has {score_of(case)}: {case.line.verdict}. "
        "Good is fit for reading, usable is readable with limits, reject is to be repeated or corrected before reading."
    )


def interval(case: Case) -> str:
    low, high = case.line.interval
    for one in case.found:
        if one.kind in case.named:
            return f"I am {one.confidence:.0%} sure of the {vocab.KIND[one.kind].plain}.".replace("%", " %")
    unseen = f"{presence(case)} " if case.named and case.asked.startswith("how") else ""
    return (
        f"{unseen}The score is {score_of(case)} of 4, and the true score lies between {low:.1f} and {high:.1f} "
        f"in about 90 % of such cases: that is the interval. {_chance(case)}"
    ).strip()


def chance(case: Case) -> str:
    return f"{_chance(case)} {verdict(case)}" if _chance(case) else UNKNOWN


def rank(case: Case) -> str:
    if case.assessment.percentile is None:
        return UNKNOWN
    name, share = vocab.MODALITY_NAMES[case.modality], case.assessment.percentile
    told = (
        f"lower than all {name} reference images" if share < 1
        else f"higher than all {name} reference images" if share > 99
        else f"higher than that of {share:.0f} % of the {name} reference images"
    )  # fmt: skip
    return f"Its score of {score_of(case)} of 4 is {told}."


def measured(case: Case) -> str:
    """The numbers that a question names, with what is expected of them."""
    by_name = {one.name: one for one in case.assessment.evidence}
    wanted = [name for name, forms in MEASURES.items() if case.bare(*forms)]
    told = [measurement(by_name[name]) for name in wanted if name in by_name]
    if not wanted or not by_name:
        return ""
    told = told or [f"{capital(lines.measure_name(wanted[0]))} was not measured on this image."]
    kinds = [one for one in case.found if {m.name for m in one.evidence} & set(wanted)]
    told += [f"{capital(finding(one))} was found." for one in kinds[:1]]
    notes = [TOPICS[name.replace("_", " ")][1] for name in wanted if name.replace("_", " ") in TOPICS]
    return " ".join((*([f"{capital(notes[0])}."] if notes and DEFINING.search(case.asked) else []), *told))


def numbers(case: Case) -> str:
    outside = sorted(case.assessment.evidence, key=lambda one: one.within is not False)
    told = [measurement(one) for one in outside[:6]]
    return " ".join(told) if told else ""


def setting(case: Case) -> str:
    """The fields of the header that a question names."""
    told = [field(case, *row) for forms, row in SETTINGS.items() if case.bare(*forms)]
    read = f" The acquisition reads: {case.assessment.acquisition}." if case.assessment.acquisition else ""
    return " ".join(told) + (read if any(sentence.startswith(NOT_GIVEN) for sentence in told) else "")


NOT_GIVEN = "The file does not give"


def field(case: Case, name: str, plain: str, unit: str, modalities: Sequence[str]) -> str:
    if case.modality not in modalities:
        return _no_setting(case, plain)
    fields = {key.lower(): value for key, value in case.assessment.acquisition_fields.items()}
    value = fields.get(name, next((v for k, v in fields.items() if k.startswith(plain)), None))
    if value is None:
        return f"{NOT_GIVEN} the {plain}."
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"The file gives: {plain} {text} {unit}".strip() + "."


def advice(case: Case) -> str:
    """Whether another value of a setting would help: quoted from the remedies, never a bare yes or no."""
    if told := foreign_setting(case):
        return told
    if case.says("how much", "what value", "how many") and any(case.says(*forms) for forms in SETTINGS):
        return f"I cannot tell by how much from the assessment. {remedy(case)}"
    if case.says("should", "would") and (named := [row[1] for forms, row in SETTINGS.items() if case.says(*forms)]):
        return f"{remedy(case)} Whether another {' or '.join(named)} helps further, I cannot tell from the assessment."
    return ""


def foreign_setting(case: Case) -> str:
    """That the modality has no such setting, with the remedies; "" where it has."""
    for forms, (_, plain, _, modalities) in SETTINGS.items():
        if case.says(*forms) and case.modality not in modalities:
            return f"{_no_setting(case, plain)} {remedy(case)}"
    return ""


def less_dose(case: Case) -> str:
    if none := doseless(case):
        return none
    noisy = next((one for one in case.found if "noise" in one.kind or one.kind == "quantum_mottle"), None)
    now = f"{capital(finding(noisy))} was found already" if noisy else "No noise was found"
    return (
        f"A lower dose means more noise. {now}; {small(verdict(case))} "
        "Iterative or learned reconstruction and automatic exposure control save dose; how far yours may go down I "
        "cannot tell from one image."
    )


def doseless(case: Case) -> str:
    """That there is no dose in this modality; "" where there is."""
    if case.modality in (*XRAYS, "pet"):
        return ""
    return f"{vocab.MODALITY_NAMES[case.modality]} uses no ionising radiation: there is no dose to change."


def listing(case: Case) -> str:
    if not case.found:
        return f"{CLEAN}: the score is {score_of(case)} of 4 and the verdict is {case.line.verdict}."
    count = DIGITS[len(case.found)] if len(case.found) < len(DIGITS) else str(len(case.found))
    rows = "; ".join(f"{finding(one)} ({lines.item(one).place})" for one in case.found)
    return f"{count} finding{'' if len(case.found) == 1 else 's'}: {rows}."


def presence(case: Case) -> str:
    if not case.named:
        return ""
    told = []
    for kind in case.named[:3]:
        one = next((found for found in case.found if found.kind == kind), None)
        told.append(
            f"Yes, {finding(one)}: {lines.item(one).place}." if one else f"No {vocab.KIND[kind].plain} was found."
        )
    return " ".join(told)


def place(case: Case) -> str:
    """To a comparison of sides or regions, and to what a finding covers."""
    if not case.found:
        return f"{CLEAN}, so no region stands out."
    rows = "; ".join(f"{finding(one)}: {lines.item(one).place}" for one in case.about[:3])
    return f"{rows[:1].upper()}{rows[1:]}. More about regions, or a percentage of them, I cannot tell."


def hidden(case: Case) -> str:
    if wrong := elsewhere(case):
        return wrong
    if not case.found:
        return f"{CLEAN} that could hide anything."
    named = [kind for kind in case.named if kind != "occlusion"]  # "cover" names one, and is the question's verb
    one = next((found for found in case.found if found.kind in named), None if named else case.found[0])
    if one is None:
        return presence(case)
    return (
        f"{capital(finding(one))} ({lines.item(one).place}): {one.impact}. I do not outline organs: "
        "please judge at that place what it covers."
    )


def slices(case: Case) -> str:
    rows = case.assessment.slices
    if int(case.assessment.source.get("slices", 1)) < 2 or not rows:
        return "This is a single image: there are no slices to compare."
    ordered = sorted(rows, key=lambda row: row["score"])
    best = case.says("best")
    first = ordered[-1] if best else ordered[0]
    word = "best" if best else "worst"
    return (
        f"Slice {int(first['index']) + 1} is the {word}, with a score of {vocab.score_text(first['score'])} of 4; the "
        f"slices lie between {vocab.score_text(ordered[0]['score'])} and {vocab.score_text(ordered[-1]['score'])}."
    )


def warnings(case: Case) -> str:
    told = " ".join(f"{text.rstrip('.')}." for text in case.assessment.warnings)
    return told or "The assessment has no warning: no slice was found missing, and nothing else."


def remedy(case: Case) -> str:
    if not case.found:
        return f"{CLEAN}, so nothing has to be changed."
    rows = [f"against {finding(one)}: {one.remedy}" for one in case.about[:3]]
    return f"{capital('; '.join(rows))}."


def repeat(case: Case) -> str:
    told = {
        "reject": "On quality grounds, yes",
        "usable": "Quality alone does not force a repeat, but reading is limited",
        "good": "Not because of its quality",
    }[case.line.verdict]
    return f"{told}: {small(verdict(case))} Whether to repeat it is your decision."


def summary(case: Case) -> str:
    return f"{capital(_scene(case))}: {small(verdict(case))}{_so(case)}"


def fitness(case: Case) -> str:
    """Never a bare yes: what the image is fit for is decided by who reads it."""
    if wrong := elsewhere(case):
        return wrong
    low, high = case.line.interval
    effect = f" {capital(case.found[0].impact)}." if case.found else ""
    level = vocab.score_word(case.line.score)
    return (
        f"The verdict is {case.line.verdict}, with a score of {score_of(case)} of 4 (interval {low:.1f} to {high:.1f})"
        f", nearest to '{level}'{_because(case)}.{effect} {YOURS}"
    )


def cause(case: Case) -> str:
    if not case.found:
        return f"{CLEAN}, so there is no cause to name."
    told = "; ".join(f"{finding(one)} usually come{_s(one)} from {one.cause}" for one in case.about[:2])
    machine = case.says("scanner", "machine", "coil", "tube", "detector", "probe", "device", "equipment")
    tail = " One image cannot tell whether the equipment is at fault: a scan of a phantom can." if machine else ""
    return f"{capital(told)}.{tail}"


def _s(one: Finding) -> str:
    """The ending of its verb: metal streaks come, noise comes."""
    return "" if vocab.KIND[one.kind].plain.endswith(("streaks", "lines", "values", "bubbles", "spots")) else "s"


def instead(case: Case) -> str:
    """For what the model could not answer: whether the kinds in question were found, or else all that was."""
    if told := presence(case):
        return f"{told} {verdict(case)}"
    return f"{listing(case)} {verdict(case)}{_so(case)}" if case.found else summary(case)


def anatomy(case: Case) -> str:
    fact = case.assessment.anatomy
    name = vocab.MODALITY_NAMES[case.modality]
    if fact.value is None:
        return f"It is a {name} image; the body part was not recognised."
    how = {"header": "as the file says", "user": "as you said"}.get(fact.from_, f"recognised at {fact.confidence:.0%}")
    probably = "" if fact.sure else "probably "
    told = f"It is {name}, {probably}{fact.value} ({how.replace('%', ' %')})."
    return (
        told if fact.from_ == "user" else f"{told} If that is wrong, put it right under Acquisition and assess again."
    )


def strengths(case: Case) -> str:
    good = [entry for entry in case.line.overall.split(", ") if entry.rsplit(" ", 1)[-1] in ("good", "fair", "low")]
    if not good:
        return f"Nothing stands out as good: {small(verdict(case))}"
    words = ", ".join(f"{word} {name}" for name, word in (entry.split(" ", 1) for entry in good))
    return f"{capital(words)}; {small(verdict(case))}"


def hello(case: Case) -> str:
    return "Hello. " + helped(case)


def helped(case: Case) -> str:
    return (
        "Ask about the quality of this image: score, verdict, findings and where they are, measured numbers, cause, "
        "effect and remedy."
    )


def noted(case: Case) -> str:
    return "Good. Ask again whenever you like."


def unclear(case: Case) -> str:
    return "I did not understand that. " + helped(case)


def again(case: Case) -> str:
    return case.history[-1][1] if case.history else helped(case)


def unknown(case: Case) -> str:
    return UNKNOWN


def score_of(case: Case) -> str:
    return vocab.score_text(case.line.score)


def _because(case: Case) -> str:
    if not case.found:
        return "; no degradation was found"
    return f", {'because of' if case.line.verdict != 'good' else 'despite'} {finding(case.found[0])}"


def _so(case: Case) -> str:
    return f" Effect: {case.found[0].impact}. Remedy: {case.found[0].remedy}." if case.found else ""


def finding(one: Finding) -> str:
    return f"{one.severity} {vocab.KIND[one.kind].plain}"


def measurement(one: Measurement) -> str:
    value = lines.measured([one]).split(" (expected")[0]
    if not one.expected:
        return f"{capital(value)}; no range is expected of it."
    state = {True: "within", False: "outside", None: "to be compared with"}[one.within]
    return f"{capital(value)}, {state} the expected {one.expected}."


def _chance(case: Case) -> str:
    share = case.assessment.reject_probability
    return "" if share is None else f"Probability of a reject: {100 * share:.0f} %."


def _no_setting(case: Case, plain: str) -> str:
    return f"There is no {plain} in {vocab.MODALITY_NAMES[case.modality]}."


def elsewhere(case: Case) -> str:
    """That the organ in question is not in the image; "" when it may be."""
    fact = case.assessment.anatomy
    parts = [(word, shown) for words, shown in ORGANS.items() for word in words.split() if case.says(word)]
    if not fact.sure or not parts or any(fact.value in shown for _, shown in parts):
        return ""
    scene, other = lines.spoken_scene(case.line.image).split(",")[0], parts[0][1][0]
    told = f"This is {article(scene)} {scene}: it does not show the {other}. Its own verdict is {case.line.verdict}."
    return case.assessment.hedged(told)


def _scene(case: Case) -> str:
    return f"{'probably ' if case.assessment.doubted else ''}{lines.spoken_scene(case.line.image)}"


def article(noun: str) -> str:
    return "an" if noun[:1] in "aeioAEIO" or noun.startswith(("MR ", "X-ray")) else "a"


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def small(text: str) -> str:
    return text[:1].lower() + text[1:]
