"""To a doubt or an objection: what the result rests on, and how the person overrules it. Never the verdict once "
"more."""

from __future__ import annotations

import re

from medq_vlm import vocab
from medq_vlm.language import aspects, facts, figures
from medq_vlm.language.case import Case
from medq_vlm.schema import Measurement

SAYING = r"(?:agree|believe|buy|think|see|accept|trust|find|share)"
WHO = (
    r"(?:my|our|the|a|another) (?:\w+ )?(?:colleague|boss|chief|radiologist|radiographer|physicist|technologist|tech"
    r"|reader|doctor)"
)
OBJECTS = re.compile(
    rf"\bdisagree\b|\bnot with\b|\bmakes? no sense\b|\bi (?:really )?(?:do not|dont|cant|cannot|can not|would not"
    rf"|wouldnt|could not|couldnt|wont) (?:\w+ )?{SAYING}\b"
    r"|^(?:but |hm |well |so )?(?:are|r) you (?:really |quite |absolutely |very |that )?(?:sure|certain|serious)\b"
    r"|^(?:no way|nonsense|rubbish|impossible|bullshit|come on|really|seriously|i doubt|doubtful|objection)\b|^(?:but "
    r"|no |sorry |well )*(?:that|this|it|there|they|these|those)(?:s| is| are|re)? (?:surely |clearly |definitely "
    r"|really )?(?:not|no|isnt|arent|wrong|incorrect|nonsense|false)\b|^(?:that|this|it|there|they) (?:isnt|arent)\b"
    r"|\byou(?:re| are| must be) (?:wrong|mistaken|exaggerating|too (?:strict|harsh|severe|critical))\b|^(?:but |well "
    r"|sorry |no )*i (?:(?:do|can|clearly|still|definitely|really|only|just|barely|hardly) )*(?:see|doubt|find)\b"
    rf"|\blooks? (?:\w+ )?(?:fine|good|ok|okay|normal|right|clean|sharp|clear|correct|perfect)\b(?: (?:to|for) {WHO}"
    rf"| to me)?$"
    r"|^(?:no |but )*(?:this|the|that) (?:image|scan|picture|one) is (?:\w+ )?(?:fine|good|ok|okay|perfect|clean"
    r"|sharp)$"
    rf"|\b(?:convince|prove) (?:me|it|that)\b|^{WHO} (?:says|said|thinks|finds|claims|believes|disagrees)\b"
    r"|^(?:id|i would|id rather|i) (?:say|call|rather|think|guess|believe|bet)\b|\bmore like(?:ly)?\b.*\bthan\b$"
)
ASKS_FOR_MORE = re.compile(r"\b(?:what|which|how|when|where|could you|can you|please)\b")
OVERRULE = (
    "You decide: in the app, mark a finding as absent or unsure with its review chips, add a missed one or set your "
    "own verdict under Your review; the report then tells both."
)


_WORDS = (
    "dont must make makes sense should disagree agree believe buy think see accept trust find share doubt doubtful say "
    "call rather guess bet convince prove me am cannot cant wont isnt arent wouldnt couldnt no way nonsense rubbish "
    "impossible come seriously wrong incorrect false mistaken exaggerating too strict harsh severe critical clearly "
    "definitely surely absolutely completely totally perfectly fine good okay normal right clean sharp clear correct "
    "perfect looks look thats thing nothing any way sorry well hm now verdict score quality still always much id more "
    "like likely objection serious never only just barely hardly bit little"
)
WORDS = frozenset(_WORDS.split())


def told(case: Case) -> str:
    """The grounds of what is objected to, in no other words; "" for what is no objection."""
    return let_in(case) if aspects.familiar(case, WORDS) else ""


def let_in(case: Case) -> str:
    """The grounds of what is objected to; "" for what is no objection."""
    if not OBJECTS.search(case.asked) or ASKS_FOR_MORE.search(case.asked):
        return ""
    spoken = case.spoken
    if not spoken.meant:
        return " ".join((_of_the_result(case), OVERRULE))
    told = [aspects.grounds(one) for one in spoken.findings[: aspects.MOST]]
    told += [_absent(case, kind) for kind in spoken.absent[:2]]
    return " ".join((*told, OVERRULE))


def _of_the_result(case: Case) -> str:
    if not case.found:
        outside = [one for one in case.assessment.evidence if one.within is False]
        numbers = " ".join(facts.measurement(one) for one in outside[:2])
        none = "" if outside else "Every number measured lies in its range."
        return " ".join(filter(None, (facts.score(case), numbers, none)))
    return " ".join((facts.score(case), *(aspects.grounds(one) for one in case.about[:2])))


def _absent(case: Case, kind: str) -> str:
    """What speaks against a kind that was not found."""
    name = vocab.KIND[kind].plain
    numbers = [facts.measurement(one) for one in _telling(case, kind)]
    return " ".join((f"No {name} was found.", *numbers))


def _telling(case: Case, kind: str) -> list[Measurement]:
    """The number that would show a kind."""
    words = set(vocab.KIND[kind].plain.lower().split()) | {kind.split("_")[0], vocab.KIND[kind].attribute}
    names = [name for forms, names in figures.LOOSELY.items() if words & set(forms) for name in names]
    return [one for one in case.assessment.evidence if one.name in names][:1]
