"""Which findings a question speaks of: named now, counted ("the second"), those of the exchange before, or all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from medq_vlm import vocab
from medq_vlm.language.terms import kinds_in, plain, plain_names, same_word
from medq_vlm.schema import Finding

REMEMBERED = 3  # exchanges that a pronoun reaches back
NOUN = (
    r"(?:ones?|findings?|problems?|artefacts?|degradations?|issues?|faults?|defects?|limitations?|of (?:the|them|these"
    r"|those|your)\b)"
)
COUNTS = (
    ("first", "1st", "one", "1", "former"), ("second", "2nd", "two", "2", "latter"), ("third", "3rd", "three", "3"),
    ("fourth", "4th", "four", "4"), ("fifth", "5th", "five", "5"), ("sixth", "6th", "six", "6"),
)  # fmt: skip
_NTH = "|".join(word for words in COUNTS for word in words if word not in ("one", "two", "three", "four", "five", "six")
                and not word.isdigit())  # fmt: skip
# "the second" ends its phrase or has a noun of ours: a second scan and the first slice are no findings
COUNTED = re.compile(
    rf"\b({_NTH}|last|next) (?:(?:most \w+|worst|biggest|main) )?{NOUN}|\bthe ({_NTH}|last)(?= (?:is|was|be|has|than"
    rf"|what|then|too|as|does|can|could|to|more|less|worse|or|first)\b|$)|^(?:(?:and|or|but|so|the|for|what|about"
    rf"|how) )*({_NTH})$"
)
NUMBERED = re.compile(r"\b(?:number|finding|problem|no) (one|two|three|four|five|six|[1-6])\b")
OTHER_IMAGE = re.compile(r"\bthan (?:the |my |our )?(?:last|next)\b|\b(?:image|scan|picture|study)\b.*\bthan\b")
OTHER = re.compile(
    rf"\bothers?(?: (?:\w+ )?{NOUN})\b|\b(?:the|and) others?$|\bother one\b|\bthe other(?= (?:is|was)\b)|^(?:and "
    rf"|but )?(?:what|anything) else$"
)
SUREST = re.compile(r"\b(?:most (?:certain|sure|likely|confident|reliable)|surest)\b")
LEAST = re.compile(r"\b(?:least (?:severe|serious|bad|important|strong)|mildest|smallest|weakest|slightest)\b")
UNSUREST = re.compile(r"\bleast (?:certain|sure|likely|confident|reliable)\b")
WORST = re.compile(
    rf"(?<!second )(?<!third )(?<!next )\b(?:worst|main|chief|major|biggest|most (?:severe|serious|important)) {NOUN}"
)
SEVERAL = re.compile(
    r"\b(?:both|which of (?:them|these|those)|the two|(?:all|each|either) of (?:them|these|those)|all findings"
    r"|each finding)\b"
)
POINTING = re.compile(r"\b(?:it|its|that|this|they|them|their|these|those|there|such|same|itself)\b")
OF_THE_IMAGE = re.compile(r"\b(?:this|that|the|these|its) (?:image|scan|picture|study|series|slice|exam|photo|verdict"
                          r"|score)s?\b|\bis there\b|\bare there\b")  # fmt: skip
ELLIPTIC = 4  # words: so short a question goes on from the one before
GRID = re.compile(r"\bgrid ?lines?\b|\bgrid (?:cut-?off|artefact|pattern)|\bmoire\b")
GRID_IN_USE = re.compile(
    r"\b(?:us(?:e|ed|ing)|with|without|anti-?scatter|buc?ky|have|has|had|would|should) (?:\w+ )*grid\b"
)
MEASURED = re.compile(
    r"\b(?:speckle index|streak energy|ghost(?:ing)? ratio|ring amplitude|bias field range|metal share"
    r"|colou?r cast value|blur anisotropy|illumination range|contrast range|(?:the |an? )?snr"
    r"|signal[- ]to[- ]noise(?: ratio)?|contrast[- ]to[- ]noise(?: ratio)?|noise sd|specular fraction"
    r"|clipped fraction)\b"
)  # numbers whose names hold that of a kind


@dataclass(frozen=True)
class Spoken:
    """What a question speaks of."""

    findings: tuple[Finding, ...]  # in the order of mention; all of them, the worst first, where none is meant
    how: str  # named, counted, before or all
    absent: tuple[str, ...] = ()  # kinds that are named and were not found
    beyond: int = 0  # "the third" of two

    @property
    def meant(self) -> bool:
        """Whether the question means these and not just any."""
        return self.how != "all"


def named(asked: str, modality: str, found: Sequence[str]) -> list[str]:
    """Kinds that a question names; a grid in use against scatter is no grid line, and an SNR no finding."""
    bare = MEASURED.sub(" ", asked)
    kinds = same_word(bare, kinds_in(bare, modality, found), found)
    lines = GRID.search(bare) or ("grid_lines" in found and not GRID_IN_USE.search(bare))
    return kinds if lines else [kind for kind in kinds if kind != "grid_lines"]


def spoken(asked: str, history: Sequence[tuple[str, str]], found: Sequence[Finding], modality: str) -> Spoken:
    """The findings that `asked` (plain words) speaks of; `found` are all, the worst first."""
    kinds = named(asked, modality, [one.kind for one in found])
    if kinds:
        here = tuple(one for kind in kinds for one in found if one.kind == kind)
        return Spoken(here, "named", tuple(kind for kind in kinds if kind not in {one.kind for one in here}))
    earlier = list(history)[-REMEMBERED:]
    if (chosen := _counted(asked, earlier, found, modality)) is not None:
        return chosen
    pointing = POINTING.search(OF_THE_IMAGE.sub(" ", asked)) or len(asked.split()) <= ELLIPTIC
    if earlier and pointing and (before := _before(earlier, found, modality)) is not None:
        return before
    return Spoken(tuple(found), "all")


def _counted(
    asked: str, history: Sequence[tuple[str, str]], found: Sequence[Finding], modality: str
) -> Spoken | None:  # fmt: skip
    """Those that are counted out: the second, the other one, the worst, both; None where none is."""
    if SEVERAL.search(asked):
        return Spoken(tuple(found), "counted")
    order = _listed(history, found)
    for pattern, rank in ((UNSUREST, 1), (SUREST, -1)):
        if pattern.search(asked):
            return Spoken(tuple(sorted(found, key=lambda one: rank * one.confidence)[:1]), "counted")
    if LEAST.search(asked):
        return Spoken(tuple(found[-1:]), "counted")
    if OTHER.search(asked):
        before = _before(history, found, modality) if history else None
        if asked.endswith("else") and (before is None or len(before.findings) == len(found)):
            return None
        now = (before.findings if before and len(before.findings) < len(found) else order[:1]) if order else ()
        return Spoken(tuple(one for one in order if one not in now), "counted", (), 0 if len(found) > 1 else 2)
    wanted: list[int] = []
    for match in [] if OTHER_IMAGE.search(asked) else [*COUNTED.finditer(asked), *NUMBERED.finditer(asked)]:
        word = next(group for group in match.groups() if group)
        if word == "next":
            before = _before(history, found, modality) if history else None
            wanted.append(order.index(before.findings[-1]) + 1 if before and before.findings else 1)
        else:
            wanted.append(len(order) - 1 if word == "last" else _number(word))
    if wanted:
        here = tuple(order[number] for number in wanted if 0 <= number < len(order))
        return Spoken(here, "counted", (), 0 if here else max(wanted) + 1)
    return Spoken(tuple(found[:1]), "counted") if WORST.search(asked) else None


def _number(word: str) -> int:
    return next(number for number, words in enumerate(COUNTS) if word in words)


def _listed(history: Sequence[tuple[str, str]], found: Sequence[Finding]) -> list[Finding]:
    """All findings in the order in which an answer told them last: "the second" counts in it."""
    for _, answer in reversed(history):
        told = mentioned(answer, found)
        if len(told) > 1:
            return [*told, *(one for one in found if one not in told)]
    return list(found)


def _before(history: Sequence[tuple[str, str]], found: Sequence[Finding], modality: str) -> Spoken | None:
    """What the exchange before was about: its question says so, or else its answer does."""
    question, answer = history[-1]
    last = spoken(plain(question), history[:-1], found, modality)
    if last.meant:
        return Spoken(last.findings, "before", last.absent, last.beyond)
    told = mentioned(answer, found)
    return Spoken(tuple(told), "before") if told else None


def mentioned(answer: str, found: Sequence[Finding]) -> list[Finding]:
    """Findings that an answer names, in its order: by plain name, as causes and remedies hold words for other kinds."""
    by_name = {vocab.KIND[one.kind].plain.lower(): one for one in found}
    told: list[Finding] = []
    for _, name in plain_names(answer):
        if name in by_name and by_name[name] not in told:
            told.append(by_name[name])
    return told
