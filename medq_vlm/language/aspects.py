"""What is asked of the findings in question: cause, remedy, place, degree, certainty, effect; quoted from each.

The model, asked for the second finding, speaks of the worst. Here referent.py says which are meant and a table which
of their sentences is. A question whose every word is known is answered at once (`told`), any other when scope.py has
let it pass (`let_in`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from medq_vlm import vocab
from medq_vlm.language import facts, limits, weighing
from medq_vlm.language import line as lines
from medq_vlm.language.case import FILLER, Case
from medq_vlm.language.referent import COUNTS, NUMBERED, WORST
from medq_vlm.language.terms import SYNONYMS, plain
from medq_vlm.schema import Finding

MOST = 3  # findings in one answer


@dataclass(frozen=True)
class Aspect:
    """One thing to ask of a finding."""

    pattern: str
    tell: Callable[[Case], str]


def grounds(one: Finding) -> str:
    """What a finding rests on: how sure it is, and the numbers measured with their ranges."""
    told = f"{facts.capital(facts.finding(one))}: confidence {one.confidence:.0%}.".replace("%", " %")
    if not one.evidence:
        return f"{told} No number was measured for it: it rests on what the model sees in the pixels."
    told += " " + " ".join(facts.measurement(each) for each in one.evidence[:2])
    if all(each.within for each in one.evidence):
        told += " What was measured lies in its range, so the finding rests on what the model sees in the pixels."
    return told


def certainty(case: Case) -> str:
    return " ".join(grounds(one) for one in case.about[:MOST])


def place(case: Case) -> str:
    return f"{facts.capital('; '.join(f'{facts.finding(one)}: {lines.item(one).place}' for one in case.about[:MOST]))}."


def effect(case: Case, most: int = MOST) -> str:
    return " ".join(f"{facts.capital(facts.finding(one))}: {one.impact}." for one in case.about[:most])


def use(case: Case) -> str:
    """To what can still be seen or measured: what the findings in question do to it, never a yes."""
    if (wrong := facts.elsewhere(case)) or not case.found or case.says("usable"):
        return wrong or facts.fitness(case)
    gone = "" if case.spoken.findings else facts.presence(case)
    return " ".join(filter(None, (gone, effect(case, 2), facts.YOURS)))


def mending(case: Case) -> str:
    """To whether it can be fixed: at the scanner and afterwards."""
    return f"{facts.remedy(case)} {weighing.treatment(case)}"


def whole(case: Case) -> str:
    """All that is known of the findings in question."""
    return " ".join(
        f"{facts.capital(facts.finding(one))} ({lines.item(one).place}): {one.impact}. Usual cause: {one.cause}. "
        f"Remedy: {one.remedy}."
        for one in case.about[:MOST]
    )


SEEING = (
    r"(?:see|seen|measured?|count(?:ed)?|assess(?:ed|able)?|judged?|evaluated?|graded?|read|segment(?:ed)?"
    r"|interpret(?:ed)?|identify|identified|detect(?:ed)?|make out|visuali[sz]ed?|delineated?|distinguish(?:ed)?"
    r"|recogni[sz]ed?|track(?:ed)?|quantif(?:y|ied)|compared?|rule out|exclude|tell apart|follow|use|used|usable"
    r"|visible|work with)"
)
USE = re.compile(
    rf"^(?:(?:and|but|so|then|ok) )*(?:can|could|may|might|will|would|am|is|are|do|does)\b.*\b{SEEING}\b|\b(?:possible"
    rf"|able|enough|good|fit|suitable|ok) (?:to|for) (?:\w+ )?{SEEING}\b"
)
OF_USE = re.compile(
    r"\b(?:still|beside|besides|despite|(?:in )?spite|through|behind|next to|near|around|under|with (?:the|this|that"
    r"|all)|in (?:the|this|that))\b|^(?:(?:and|but|so) )?(?:can|could|may) (?:i|we|one|you|they|the|a|an|small|fine"
    r"|it)\b"
)
ELSE = re.compile(r"^(?:and |but )?(?:what|anything) else$")
COMPARES = re.compile(r"\b(?:worse|better|(?:more|less) \w+|\w+er) than\b|\bcompared? (?:to|with)\b")
WHY_SO = re.compile(
    r"\b(?:why|how come|how can)\b.*\b(?:verdict|score|good|usable|accepted|passe[sd])\b.*\b(?:with|despite|when|though"
    r"|although|if|even)\b"
)  # holds a finding or a number against the verdict
WHY_SAY = re.compile(r"\bwhy (?:do|did|would) you (?:say|call|think|claim|rate|grade|judge|find)\b")
IT = r"(?:it|this|that|they|them|these|those|the (?:\w+ ){0,3}?\w+)"
ASPECTS: tuple[Aspect, ...] = (
    Aspect(r"\b(?:sure|certain|confident|reliable|confidence|certainty|likely|likelihood|odds|chance|chances"
           r"|probability|trustworthy|trust|rely|believe|real)\b", certainty),
    Aspect(rf"^(?:(?:and|but|so) )?(?:can|could|is|are|will|may) (?:(?:i|we|you|one|restore|software"
           rf"|restoration) )?(?:still )?(?:{IT} )?(?:be )?(?:\w+ )?(?:fix\w*|repair\w*|restor\w*|correct(?:ed|able)"
           rf"|sav(?:ed|able)"
           r"|salvag\w*|remov(?:e|ed|able)|rescued?)\b|\bfixable\b|\brepairable\b|\brestore\b", mending),
    Aspect(r"\b(?:remed(?:y|ies)|fix(?:es)?|avoid\w*|prevent\w*|get rid|reduced?|cures?|solv\w+|solution|counter\w*"
           r"|improved?|better|against|tackle|treat|eliminate|minimi[sz]e|help(?:s|ed)?|change|lower|correct|deal with"
           r"|(?:to|i|we|you|they) do)\b", facts.remedy),
    Aspect(r"\b(?:where(?!.*\bfrom\b)|place|location|located|which (?:side|part|region|area|slices?)|side|sit"
           r"|sits)\b", place),
    Aspect(r"\b(?:hides?|hiding|hidden|obscures?|obscuring|masks?|masking|conceals?|behind the)\b", effect),
    Aspect(r"\b(?:causes?|caused|cause of|reasons?|origin|why|due to|because|come from|comes from|from what|what from"
           r"|behind|made|makes|produced?|lead|leads|led|arise|responsible)\b|^(?:is|are|was"
           r"|were) \w+ (?:\w+ )*from\b", facts.cause),
    Aspect(r"\b(?:how (?:bad|severe|strong|much|serious|large|heavy|pronounced)|severity|degree|severe|serious|mild"
           r"|moderate|bad|worse|strong)\b", limits.degree),
    Aspect(r"\b(?:what (?:does|do|did|will|would)|effects?|impacts?|matters?|consequences?|disturbs?|spoils?|influence"
           r"|affects?|mean|harm|limit|limits)\b", effect),
    Aspect(r"\b(?:measured?|numbers?|figures?|evidence|proof|prove|know|values?|expected|normal|normally|should (?:it"
           r"|that|they) be|based on|backs?|indicates?)\b", certainty),
    Aspect(r"\b(?:tell me (?:\w+ )?about|explain|describe|details?|more (?:about|on)|what (?:is|are|was|about)"
           r"|whats)\b", whole),
)  # fmt: skip
ELLIPTIC = re.compile(
    r"^(?:and|or|but|so|also|then|ok|well|what about|how about|same|the same|what of|and what about|what else)\b"
)  # goes on with what was asked before, of something else
_WORDS = (
    "still could can would will may might do does did be been being has have had there here where why what which who "
    "how not no or than then so but also too again same about with without of for from by at as to on in if when "
    "because it its they them their these those that this one ones other others both each all two main worst least "
    "most more less severe serious mild moderate bad strong important certain sure confident reliable confidence "
    "certainty likely odds chance real remedy fix fixed fixable avoid avoided prevent prevented rid get reduce reduced "
    "solve solved solution improve improved against tackle help helps change correct corrected do done repair repaired "
    "restore restored cause causes caused reason reasons come comes place located location side sit severity degree "
    "effect effects impact hide hides matter matters numbers number figures evidence know tell describe more details "
    "finding findings problem problems artefact artefacts degradation issue issues fault faults defect defects worse "
    "better remove removed i we you your my our us usually normally usual typically ok okay really very quite just "
    "first last next exactly mean else trust rely believe former latter behind it's thing things something anything up "
    "down out off into"
)
KNOWN = FILLER | frozenset(_WORDS.split()) | {word for words in COUNTS for word in words}
TERMS = frozenset(
    word
    for kind in vocab.KIND_NAMES
    for form in (vocab.KIND[kind].plain, *SYNONYMS[kind])
    for word in plain(form).split()
)


def familiar(case: Case, more: frozenset[str] = frozenset()) -> bool:
    """Whether a question has no word but those for findings and what is asked of them, and so no other subject."""
    return set(case.asked.split()) <= KNOWN | TERMS | more


def usable(case: Case) -> str:
    """To what can still be seen or done with the image as it is."""
    asks = USE.search(case.asked) and OF_USE.search(case.asked) and not case.says("result", "results", "report")
    return use(case) if asks and not _mends(case.asked) and not _only_shown(case) else ""


def told(case: Case) -> str:
    """The answer to a question about findings it means, all of whose words are known; "" for any other."""
    return usable(case) or let_in(case) if familiar(case) else ""


def let_in(case: Case) -> str:
    """The same for a question that is known to be about quality."""
    if case.spoken.beyond:
        return _too_few(case)
    if not case.found:
        return ""
    if WHY_SO.search(case.asked):
        return f"{facts.limits(case)} {effect(case)}"
    if WHY_SAY.search(case.asked):
        return certainty(case)
    if ELSE.search(case.asked) and case.spoken.how != "counted":
        return f"Nothing else was found. {facts.listing(case)}"
    if COMPARES.search(case.asked) and case.spoken.meant and len(case.spoken.findings) > 1:
        return weighing.ranking(case)
    if case.spoken.how == "before" and case.spoken.absent and not case.spoken.findings:
        gone = " ".join(f"No {vocab.KIND[kind].plain} was found." for kind in case.spoken.absent)
        return f"{gone} {facts.listing(case)}"
    if not case.spoken.meant or not case.spoken.findings:
        return ""
    return next((answer for tell in _wanted(case) if (answer := tell(case))), "")


def _wanted(case: Case) -> Iterator[Callable[[Case], str]]:
    """What the question asks for; where it only goes on to another finding, what the one before it asked for."""
    own = _aspect(case.asked)
    going_on = ELLIPTIC.search(case.asked) or len(case.asked.split()) <= 4
    if own is not None and own is not whole:
        yield own
    elif case.history and going_on:
        for question, _ in reversed(case.history):
            before = _aspect(plain(question))
            if before is not None and before is not whole:
                yield before
                break
        yield whole
    elif (
        own is whole
        and not WORST.search(case.asked)
        and not (case.spoken.how == "named" and case.says("what", "whats"))
    ):
        yield whole  # but what noise is, the model knows


def _aspect(asked: str) -> Callable[[Case], str] | None:
    bare = NUMBERED.sub(" ", asked)  # "number two" asks for no number
    return next((aspect.tell for aspect in ASPECTS if re.search(aspect.pattern, bare)), None)


def _mends(asked: str) -> bool:
    return _aspect(asked) is mending


def _only_shown(case: Case) -> bool:
    """To "can you see streaks?": whether they are there, which presence answers."""
    shown = re.match(
        r"(?:can|could|do|did) (?:you|we|i|one) (?:still )?(?:see|detect|find|notice) (?:any |the |some )?(.*)",
        case.asked,
    )
    return bool(shown and case.named and len(shown.group(1).split()) <= 3)


def _too_few(case: Case) -> str:
    if not case.found:
        return f"There is no such finding. {facts.listing(case)}"
    count = facts.DIGITS[len(case.found)] if len(case.found) < len(facts.DIGITS) else str(len(case.found))
    return (
        f"There is no such finding. {facts.listing(case)}"
        if len(case.found) > 1
        else (f"{count} finding only: {facts.small(facts.listing(case).split(': ', 1)[1])}")
    )
