"""Wishes for a form, a reader or a language rather than for other facts: looked at before the scope is."""

from __future__ import annotations

import re

from medq_vlm.language import facts, limits, weighing
from medq_vlm.language import line as lines
from medq_vlm.language.case import Case

ENGLISH_ONLY = "I answer in English only."
LANGUAGE = re.compile(
    r"\b(?:in|into|auf|en|to|speak|po) (?:german|deutsch|french|francais|français|spanish|español|espanol|italian"
    r"|italiano|portuguese|dutch|polish|russian|turkish|arabic|chinese|mandarin|japanese|korean|hindi|greek|swedish"
    r"|danish|czech|ukrainian)\b|\btranslat\w+\b"
)
ONLY_LANGUAGE = re.compile(rf"(?:(?:please|now|and|the same|again|ok) )*(?:{LANGUAGE.pattern})(?: please)?")
TELL = (
    r"(?:explain|describe|tell|say|put|give|write|rewrite|phrase|word|summari[sz]e|sum|make|fill|format|list|show|state"
    r"|report|need|want|answer|present|prepare|draft)"
)
RESULT = (
    r"(?:it|this|that|them|these|result|results|finding|findings|outcome|assessment|quality|verdict|score|image|scan"
    r"|answer|problem|form|all|everything|summary|table|bullets?|sentences?|words?|me|us)"
)
LAY = (
    r"(?:patients?|laym[ae]n|lay (?:person|people|reader)s?|laypersons?|beginners?|child|children|kids?|parents?|family"
    r"|famil(?:y|ies)|relatives?|mother|father|mum|mom|dad|wife|husband|grandm\w+|grandf\w+|grandpa\w*|non-?experts?"
    r"|friend|nobody)"
)
FOR_LAY = re.compile(
    rf"\b(?:for|to|so|that|like|as) (?:\w+ ){{0,3}}?{LAY}\b|\b(?:simple|plain|easy|lay|everyday|understandable"
    rf"|non-?technical|laymans)"
    r" (?:words?|terms?|language|english|way)\b|\bsimply\b"
)
FIELDS = re.compile(
    r"\b(?:qa|qc|quality|quality assurance|quality control|structured|audit|log|incident) (?:\w+ )?(?:forms?|sheet|log"
    r"|record|report|protocol|entry|template|database|fields?)\b|\b(?:in|as|into) (?:\w+ )?(?:a )?(?:fields?|key value"
    r"|structured form\w*)\b|\bstructured (?:result|answer|output)\b"
)
ROWS = re.compile(r"\b(?:bullets?|bullet points?|table|tabular|list form)\b")
BRIEFLY = re.compile(
    r"\b(?:in|as|with) (?:just |only )?(?:one|a single|a|two|2|few) (?:short )?(?:sentences?|lines?)\b"
    r"|\bone[- ](?:sentence|line\w*)\b|\b(?:for|to) (?:the |my |our |a )?(?:\w+ )?(?:doctor|physician|clinician"
    r"|referrer|colleague|radiologist|surgeon|meeting|handover)$"
)
OTHER_THING = re.compile(
    r"\b(?:treat\w*|therap\w*|prognos\w*|pathology|lesions?|surgery|letter|contrast|consent|prepar(?:e|ation) for|dose"
    r"|risk|protocol for|poem|joke|story|exam (?:is|was)|radiology|procedure|disease|anatomy|code|python|discharge"
    r"|medication|report(?!s? (?:form|field)))\b"
)


WISH = re.compile(
    rf"^(?:(?:please|now|and|so|ok|but|then|also|can|could|would|will|you|i|we|need|want|like|to|the same) )*{TELL}\b"
    rf"|^(?:in|as|now)\b"
)


def told(case: Case) -> str:
    """The result in the form that is wished for; "" where none is."""
    if case.history and ONLY_LANGUAGE.fullmatch(case.asked):
        return f"{ENGLISH_ONLY} {facts.summary(case)}"
    if OTHER_THING.search(case.asked) or not WISH.search(case.asked):
        return ""
    about_it = re.search(rf"\b{RESULT}\b", case.asked)
    if LANGUAGE.search(case.asked) and about_it:
        return f"{ENGLISH_ONLY} {facts.summary(case)}"
    if not about_it:
        return ""
    return next((tell(case) for pattern, tell in FORMS if pattern.search(case.asked)), "")


def fields(case: Case) -> str:
    """The result as a form has it, one field to a line."""
    low, high = case.line.interval
    rows = [
        ("Image", lines.spoken_scene(case.line.image)),
        ("Verdict", case.line.verdict),
        ("Score", f"{facts.score_of(case)} of 4 (90 % interval {low:.1f} to {high:.1f})"),
        ("Findings", "; ".join(f"{facts.finding(one)} ({lines.item(one).place}), confidence "
                               f"{one.confidence:.0%}".replace("%", " %")
                               for one in case.found) or "none"),
        ("Measured", "; ".join(dict.fromkeys(lines.measured(one.evidence) for one in case.found if one.evidence))),
        ("Effect", "; ".join(dict.fromkeys(one.impact for one in case.found[:3]))),
        ("Remedy", "; ".join(dict.fromkeys(one.remedy for one in case.found[:3]))),
        ("Model", f"{case.assessment.model['name']} {case.assessment.model['version']}"),
    ]  # fmt: skip
    return "\n".join(f"{name}: {value}" for name, value in rows if value)


FORMS = ((FIELDS, fields), (FOR_LAY, limits.simply), (ROWS, weighing.listed), (BRIEFLY, facts.summary))
