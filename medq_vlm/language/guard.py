"""Does a sentence contradict the structured result? Finds kinds that are not there, wrong degrees, verdicts, scores."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from medq_vlm import vocab
from medq_vlm.language.line import ATTRIBUTE_WORDS, EVERYWHERE, Line
from medq_vlm.language.prompt import SIMILAR
from medq_vlm.language.terms import EVERYDAY, SYNONYMS, kinds_in, plain_names

DEGREES = "|".join(vocab.SEVERITIES[1:])
NEGATION = re.compile(r"(?i)\b(no|not|without|never|none|neither|nor|absent|free|isn't|aren't|wasn't|nothing)\b")
VERDICT = re.compile(
    r"(?i)\b(?:verdict (?:is|was|stays|remains|of)|quality (?:of (?:this|the) image )?is|verdict:|image is)\s+"
    r"(?:rated )?(?:a )?(reject|usable|good)\b"
)
SCORE = re.compile(r"(?i)\bscore (?:is|of|stays|was)\s*(?:at )?(\d(?:\.\d+)?)\b(?! to)|\b(\d\.\d) of 4\b")
CLEAN = re.compile(
    r"(?i)\bno (?:other )?(?:degradation|artefact|artifact|problem|finding|defect)s?\b(?! (?:backs|stands))|"
    r"\bnothing (?:was found|has to be changed|found limits)"
)
IT_IS = re.compile(
    r"(?i)(?:^|[.;:,] )\s*(?:(?:yes|no), )?it is (not )?(?:quite )?(?:a )?(good|usable|reject(?:ed)?|bad|poor)"
    r"\b(?! (?:sharpness|contrast))"
)
CALLED = {"rejected": "reject", "bad": "reject", "poor": "reject"}  # words for a verdict
RANGE = re.compile(r"(?i)\b(?:between|interval (?:is|of|from)|lies from)\s+(\d+(?:\.\d+)?) (?:and|to) (\d+(?:\.\d+)?)")
UNASSESSED = re.compile(r"(?i)\bquality (?:was|is|has) not (?:been )?assess\w*|\bnot assessable\b")
NEAREST = re.compile(r"(?i)\bnearest to ['\"]?(?:\d, )?([a-z ]+)['\"]?")
REPEATED = re.compile(r"(?i)\b(\w{4,}),? (?:and )?\1\b")  # "a thin, thin, thick, good and good": no sentence any more
NO_FINDING = re.compile(r"(?i)\bfinding (?:is|was) no (?:degradation|finding|problem)\b")
DEGREE_AFTER = re.compile(rf"\s+(?:is|are|was|were|appears?)\s+(?:only |rather |also )?({DEGREES})\b")
NO_DEGREE = ("", "")
QUOTING = 3  # words: so much of a text is quoted and not met by chance
GLOBAL = re.compile(r"(?i)\s*globally\b")  # opens the sentence on attributes
OTHER = re.compile(r"(?i)\b(else|other|further|more|besides)\b")
SEEN = re.compile(r"(?i)^\s*(?:is|are)\s+(?:clearly |also )?(?:seen|present|visible|found|mild|moderate|severe)\b")
FOUND = re.compile(
    rf"(?i)(?:^\W*(?:yes|no|not quite)?\W*|[;:] )((?!yes\b|no\b)(?:\w[\w'-]* ?){{1,6}}?) (?:is|are|was|were) "
    rf"(?:not (?:found|seen|present)|present|(?:{DEGREES})[.,;])"
)  # what a sentence claims to be a finding, or none
ABSENT = re.compile(
    r"(?i)(?:^|[.;:,] |\b(?:and|but) )(?:there (?:is|are)|i (?:can )?see) no (\w[\w'-]*(?: \w[\w'-]*){0,1}?)"
    r"(?: here| visible| present| in (?:this|the) (?:image|picture|scan|study))*(?:[.,;]|$)"
)  # of what a sentence says that there is none: no part of the body, no disease
SPOKEN_OF = re.compile(
    r"(?i)\b(limits?|reasons?|doubts?|need|signs?|information|evidence|measures?|measurements?|remed(?:y|ies)|repeat"
    r"|slices?|gaps?|settings?|values?|numbers?|header|tube|dose|description|change|difference|way|harm|risk|tables?)\b"
)  # what may be absent though it is no finding
SO_CALLED = re.compile(r"(?i)\b([a-z][\w-]+) arte?i?facts?\b")
# what may stand before "artefact": the words of the kinds' own names and texts, and those that make no name
_ORDINARY = (
    "the an a this that these those no any other main worst only such all same severe moderate mild strong image "
    "each first second third and or of is are has shows called found further more single biggest chief visible "
    "imaging least from by its with as several two three which what some one"
)
_NAMES = [form for kind in vocab.KIND_NAMES for form in (vocab.KIND[kind].plain, *SYNONYMS[kind])]
_TEXTS = [text for kind in vocab.KINDS for modality in kind.modalities for text in vocab.text_for(kind.name, modality)]
OF_ARTEFACTS = frozenset(
    [
        *_ORDINARY.split(),
        *re.findall(r"[\w-]+", " ".join([*_NAMES, *(form for forms in EVERYDAY.values() for form in forms)]).lower()),
        *re.findall(r"([\w-]+) artefact", " ".join(_TEXTS).lower()),
    ]
)
OWN_WORDS = re.compile(
    r"(?i)\b(it|this|that|these|they|nothing|none|degradations?|findings?|artefacts?|artifacts?|faults?|quality|image"
    r"|sharpness|contrast|noise|exposure|impression|severity|score|verdict|other|effect|cause|problem|place)\b"
)


@dataclass(frozen=True)
class Contradiction:
    """What is wrong in a sentence and where it begins."""

    start: int  # character of the sentence
    words: str
    reason: str


def contradiction(sentence: str, line: Line, modality: str) -> Contradiction | None:
    """The first contradiction between a sentence and the line, None when there is none."""
    checks = _kinds(sentence, line, modality), _verdict(sentence, line), _score(sentence, line), _range(sentence, line)
    more = _level(sentence, line), _invented(sentence, line, modality), _swapped(sentence, line, modality)
    found = [one for one in (*checks, *more) if one]
    return min(found, key=lambda c: c.start) if found else None


def _invented(sentence: str, line: Line, modality: str) -> Contradiction | None:
    """A finding that is none: "the fracture line is present", "the flash is moderate"."""
    for match in FOUND.finditer(sentence):
        said = match.group(1)
        if not OWN_WORDS.search(said) and not kinds_in(said, modality, [item.kind for item in line.items]):
            return Contradiction(match.start(1), said, "that is no finding")
    for match in SO_CALLED.finditer(sentence):
        if match.group(1).lower() not in OF_ARTEFACTS:
            return Contradiction(match.start(1), match.group(), "that is no finding")
    for match in ABSENT.finditer(sentence):
        said = match.group(1)
        named = OWN_WORDS.search(said) or SPOKEN_OF.search(said)
        if not named and not kinds_in(said, modality, [item.kind for item in line.items]):
            return Contradiction(match.start(1), said, "that is no finding")
    return None


def _swapped(sentence: str, line: Line, modality: str) -> Contradiction | None:
    """One finding with the cause, effect or remedy of another: "to reduce the ghosting: enlarge the field of view"."""
    lower = sentence.lower()
    texts = {item.plain.lower(): vocab.text_for(item.kind, modality) for item in line.items}
    spoken = {name for _, name in plain_names(sentence) if name in texts}
    if len(spoken) != 1:
        return None
    own = " ".join(texts[next(iter(spoken))]).lower()
    for name in texts.keys() - spoken:
        for text in texts[name]:
            clause = re.split(r", | or | and ", text.lower())[0]
            if len(clause.split()) >= QUOTING and clause in lower and clause not in own:
                return Contradiction(lower.index(clause), clause, f"that is of {name}")
    return None


def _kinds(sentence: str, line: Line, modality: str) -> Contradiction | None:
    items = {item.plain.lower(): item for item in line.items}
    known = " ".join(" ".join(vocab.text_for(item.kind, modality)) for item in line.items).lower()
    lower = sentence.lower()
    for start, name in plain_names(sentence):
        before, after = lower[:start], lower[start + len(name) :]
        degree = re.search(rf"\b({DEGREES})\s+(?:and \w+ )?$", before)
        denied = bool(NEGATION.search(_clause_before(before))) or bool(re.match(r"\s+(?:was|were|is|are) not\b", after))
        if name not in items:
            claimed = degree or SEEN.match(after) or re.search(r"\bthe $", before)
            if claimed and not denied and not _attribute(name, after, line) and not _quoted(before, name, after, known):
                at = degree.start() if degree else start
                return Contradiction(at, name, f"{name} was not found")
            continue
        if GLOBAL.match(sentence) and name not in line.overall and not denied:
            opening = re.split(r"[ -]", name)[0]  # "limited sharpness" was to come, and "limited-angle" came
            at = degree.start() if degree else start + (len(opening) if opening in line.overall else 0)
            return Contradiction(at, name, f"{name} is no attribute of the whole")
        later = None if degree else DEGREE_AFTER.match(after)
        said = (degree or later or NO_DEGREE)[1]
        if said and said != items[name].severity and not denied:
            # what is wrong is the degree: banned at its name, the model would make up another name
            at = degree.start() if degree else start + len(name) + (later.start(1) if later else 0)
            return Contradiction(at, said, f"{name} is {items[name].severity}")
        if denied and not degree and not OTHER.search(lower):
            return Contradiction(max(0, len(before) - len(_clause_before(before))), name, f"{name} was found")
    if items and (clean := CLEAN.search(sentence)) and not OTHER.search(sentence):
        return Contradiction(clean.start(), clean.group(), "degradations were found")
    return None


def _clause_before(before: str) -> str:
    """The words of the same clause."""
    return re.split(r"[;:.]|\bbut\b|\binstead\b|\bexcept\b|\bmain finding\b|\bonly\b", before)[-1]


def _attribute(name: str, after: str, line: Line) -> bool:
    """ "The noise is low" speaks of the global impression, not of a finding."""
    match = re.match(r"\s+(?:is|are)\s+((?:very )?\w+)", after)
    return bool(match and f"{name} {match.group(1)}" in line.overall)


def _quoted(before: str, name: str, after: str, known: str) -> bool:
    """Whether the name stands in a quoted cause, effect or remedy of a kind that was found."""
    words = " ".join([*before.split()[-2:], name, *after.split()[:1]]).strip(" .,;")
    return words in known


def _verdict(sentence: str, line: Line) -> Contradiction | None:
    for match in VERDICT.finditer(sentence):
        if match.group(1).lower() != line.verdict and not NEGATION.search(match.group()):
            return Contradiction(match.start(1), match.group(1), f"the verdict is {line.verdict}")
    if unassessed := UNASSESSED.search(sentence):
        return Contradiction(unassessed.start(), unassessed.group(), "the image was assessed")
    for match in IT_IS.finditer(sentence):
        said = CALLED.get(match.group(2).lower(), match.group(2).lower())
        if (said == line.verdict) == bool(match.group(1)):
            return Contradiction(match.start(2), match.group(2), f"the verdict is {line.verdict}")
    return None


def _range(sentence: str, line: Line) -> Contradiction | None:
    """An interval that is not the score's."""
    for match in RANGE.finditer(sentence):
        if any(abs(float(match.group(n)) - round(line.interval[n - 1], 1)) > 0.051 for n in (1, 2)):
            low, high = line.interval
            return Contradiction(match.start(1), match.group(), f"the interval is {low:.1f} to {high:.1f}")
    return None


def _level(sentence: str, line: Line) -> Contradiction | None:
    """A level of the score that is not the nearest, a finding that is none, or a word twice."""
    right = vocab.score_word(line.score)
    for match in NEAREST.finditer(sentence):
        if not match.group(1).lower().startswith(right):
            return Contradiction(match.start(1), match.group(1), f"the score is nearest to '{right}'")
    for pattern, reason in ((NO_FINDING, "no finding is no finding"), (REPEATED, "the same word twice")):
        if empty := pattern.search(sentence):
            return Contradiction(empty.start(), empty.group(), reason)
    return None


def _score(sentence: str, line: Line) -> Contradiction | None:
    for match in SCORE.finditer(sentence):
        value = float(match.group(1) or match.group(2))
        if "." in match.group() and abs(value - round(line.score, 1)) > 0.051:
            told = f"the score is {vocab.score_text(line.score)}"
            return Contradiction(match.start(match.lastindex or 0), match.group(), told)
    return None


SCALES = "|".join(sorted({word for scale in ATTRIBUTE_WORDS.values() for word in scale}, key=len, reverse=True))
PLURALS = "|".join(
    sorted({kind.plain for kind in vocab.KINDS if re.search(r"[^su]s$", kind.plain)}, key=len, reverse=True)
)
SLIPS = (
    (re.compile(rf"(?i)(?<!of )(?<!of the )\b({PLURALS}) was\b"), r"\1 were"),
    (re.compile(rf"(?i)(?<!of )(?<!of the )\b({PLURALS}) is\b"), r"\1 are"),
    (re.compile(rf"(?i)\bthere is no ({PLURALS})\b"), r"there are no \1"),
    (re.compile(r"^(\s*)No, (?:an? |the )?([a-z][\w -]*) (was|were) not found"), r"\1No \2 \3 found"),
    (re.compile(r"(?i)\b(verdict is good(?:, with a score of [\d.]+ of 4)?): mainly\b"), r"\1, despite"),
    (re.compile(r"(?i)\ba retina fundus\b"), "a fundus image of the retina"),
    (re.compile(r"\(([^()]*) \(([^()]*)\)\)"), r"(\1, \2)"),  # brackets in brackets, from the line's evidence
    (re.compile(r"^(\s*)Why not (\w)([^?]*)\?"), lambda hit: f"{hit[1]}{hit[2].upper()}{hit[3]}."),
)  # of the model's English; what they say stays


def polished(sentence: str, line: Line | None = None) -> str:
    """The same in better English, with the places of `line`, and its words on attributes: it has no "good noise"."""
    for item in line.items if line is not None else ():
        if item.place != EVERYWHERE:
            sentence = re.sub(rf"(?i)\b({item.plain}) throughout the image", rf"\1 ({item.place})", sentence)
    if line is not None and GLOBAL.match(sentence):
        for entry in filter(None, line.overall.split(", ")):
            name, word = entry.split(" ", 1)
            sentence = re.sub(rf"\b(?:{SCALES}) {name}\b", f"{word} {name}", sentence)
    for slip, better in SLIPS:
        sentence = slip.sub(better, sentence)
    return vocab.in_good_english(sentence)


LED = re.compile(r"(?i)^\s*(?:yes\b|no[,:;])[,:;]?\s+(?=\S)")  # "No noise was found" leads with no answer
STATED = re.compile(
    r"(?i)\b(?:is|are|was|were) (?:not )?(?:found|seen|present|visible|throughout|in the)\b|\bmoderate|\bsevere|\bmild"
)
# a question whether something is there: the only one that its presence answers with yes or no
PRESENCE = re.compile(
    r"(?i)^\W*(?:(?:and|but|so|ok|please|tell me|then) )*(?:(?:is|are|was|were) there\b|any\b|(?:does|do|did|has"
    r"|have|is|are|was|were)\b"
    r"(?! (?:i|we|you) (?:able|allowed))|(?:can|could) you (?:see|find|detect|notice)\b)|\b(?:is|are) (?:there"
    r"|present|visible)\b"
    r"|\b(?:right|correct|true|isnt it|isn't it)\W*$"
)


# "is it twice as noisy?" begins alike and asks for another thing
COMPARING = re.compile(r"(?i)\b(?:than|twice|thrice|half|times|as \w+ as|enough|worth|ok|okay|better|worse|fine)\b")


def unled(sentence: str, question: str) -> str:
    """`sentence` without a leading yes or no to a question that asks for something else than what it says is there."""
    if (
        (PRESENCE.search(question) and not COMPARING.search(question))
        or not LED.search(sentence)
        or not STATED.search(sentence)
    ):
        return sentence
    bare = LED.sub("", sentence)
    return f"{sentence[: len(sentence) - len(sentence.lstrip())]}{bare[:1].upper()}{bare[1:]}"


RESULT = "(From the structured result:)"  # marks what stands in the model's place


def replacement(line: Line) -> str:
    """A sentence from the structured result, marked as such."""
    named = ", ".join(f"{item.severity} {item.plain}" for item in line.items[:3])
    found = f"found {named}" if named else "no degradation found"
    score = vocab.score_text(line.score)
    return f"{RESULT} {found}; score {score} of 4, verdict {line.verdict}."


BETTER = re.compile(r"(?i)\bimage ([AB]) is (?:of )?better\b")
EQUAL = re.compile(r"(?i)\b(similar|equal|the same) (?:in )?quality\b|\bsimilar in quality\b")
NUMBER = re.compile(r"\b\d\.\d\b")
PAIR_VERDICT = re.compile(r"(?i)\b(reject|usable|good) for (A|B)\b")
IMAGE = re.compile(r"(?i)\bimage ([AB])\b")


def pair_contradiction(sentence: str, pair: Sequence[Line], modalities: Sequence[str]) -> Contradiction | None:
    """The first contradiction between a sentence of a comparison and the lines of its two images."""
    scores = [round(line.score, 1) for line in pair]
    gap = scores[0] - scores[1]
    winner = "" if abs(gap) < SIMILAR else "A" if gap > 0 else "B"
    for match in BETTER.finditer(sentence):
        if match.group(1).upper() != winner:
            return Contradiction(match.start(1), match.group(), f"better is {winner or 'neither'}")
    equal = EQUAL.search(sentence)
    if equal and winner:
        return Contradiction(equal.start(), equal.group(), f"better is {winner}")
    for match in NUMBER.finditer(sentence):
        if min(abs(float(match.group()) - value) for value in (*scores, abs(gap))) > 0.051:
            return Contradiction(match.start(), match.group(), f"the scores are {scores[0]} and {scores[1]}")
    for match in PAIR_VERDICT.finditer(sentence):
        line = pair["AB".index(match.group(2).upper())]
        if match.group(1).lower() != line.verdict:
            return Contradiction(match.start(), match.group(), f"{match.group(2)} is {line.verdict}")
    places = [(match.start(), match.group(1).upper()) for match in IMAGE.finditer(sentence)]
    for number, (at, letter) in enumerate(places):
        which = "AB".index(letter)
        end = places[number + 1][0] if number + 1 < len(places) else len(sentence)
        found = _kinds(sentence[at:end], pair[which], modalities[which])
        if found is not None:
            return Contradiction(at + found.start, found.words, f"image {letter}: {found.reason}")
    return None


def pair_replacement(a: Line, b: Line) -> str:
    """A comparison from the structured results, marked as such."""
    gap = round(a.score, 1) - round(b.score, 1)
    lead = "similar quality" if abs(gap) < SIMILAR else f"image {'A' if gap > 0 else 'B'} is better by {abs(gap):.1f}"
    parts = []
    for letter, line in (("A", a), ("B", b)):
        named = ", ".join(f"{item.severity} {item.plain}" for item in line.items[:3]) or "no degradation"
        parts.append(f"{letter} {vocab.score_text(line.score)}, {line.verdict}, {named}")
    return f"(From the structured results:) {lead}; {'; '.join(parts)}."
