"""Whether two images may be compared at all, how sure their order is, and what needs no model to be said."""

from __future__ import annotations

import re

from medq_vlm import vocab
from medq_vlm.language.guard import polished
from medq_vlm.language.line import Line
from medq_vlm.language.prompt import SIMILAR
from medq_vlm.schema import Assessment

AGAINST = re.compile(r"(is better by [\d.]+(?: points?)? )\((\d\.\d) against (\d\.\d)\)")


def not_comparable(first: Assessment, second: Assessment, names: tuple[str, str] = ("the first", "the second")) -> str:
    """A sentence where two images surely show different things; "" where they may be compared."""
    for one, other in ((first.modality, second.modality), (first.anatomy, second.anatomy)):
        if one.sure and other.sure and one.value != other.value:
            a, b = (vocab.MODALITY_NAMES.get(str(fact.value), str(fact.value)) for fact in (one, other))
            return f"Not comparable: {names[0]} is {a}, {names[1]} {b}; the scores are of different images."
    return ""


def each(a: Line, b: Line) -> str:
    """What each image is alone, for two that are not comparable."""
    return " ".join(f"Image {letter}: {_told(line)}." for letter, line in (("A", a), ("B", b)))


def without_findings(a: Line, b: Line) -> str:
    """The comparison of two images that show no finding: the model would give none as the reason; "" for others."""
    if a.items or b.items:
        return ""
    scores = f"{vocab.score_text(a.score)}, {a.verdict}, and {vocab.score_text(b.score)}, {b.verdict}"
    gap = round(a.score, 1) - round(b.score, 1)
    if abs(gap) < SIMILAR:
        return f"Both are of similar quality ({scores}), and no single degradation stands out in either."
    better = f"Image {'A' if gap > 0 else 'B'} is better by {abs(gap):.1f} ({scores})"
    return f"{better}; no single degradation stands out in either, so the scores are of the images as a whole."


def better_first(sentence: str) -> str:
    """ "B is better by 0.4 (2.6 against 3.0)" reads as if B had 2.6: the better one's score stands first."""

    def ordered(match: re.Match[str]) -> str:
        low, high = sorted((match.group(2), match.group(3)), key=float)
        return f"{match.group(1)}({high} against {low})"

    return AGAINST.sub(ordered, polished(sentence))


def certainty(first: Assessment, second: Assessment) -> str:
    """A sentence where the intervals of two scores that differ overlap; "" elsewhere."""
    if first.score is None or second.score is None or not (first.score_interval and second.score_interval):
        return ""
    if abs(round(first.score, 1) - round(second.score, 1)) < SIMILAR:
        return ""
    (low, high), (least, most) = first.score_interval, second.score_interval
    if high < least or most < low:
        return ""
    return (
        f"The intervals of the two scores overlap ({low:.1f} to {high:.1f} and {least:.1f} to {most:.1f}), "
        "so the order is likely, not certain."
    )


def _told(line: Line) -> str:
    named = ", ".join(f"{item.severity} {item.plain}" for item in line.items[:3]) or "no single degradation stands out"
    return f"{line.image}, {vocab.score_text(line.score)} of 4, {line.verdict}, {named}"
