"""What differs between two assessments: of two studies, or of one before and after a new description."""

from __future__ import annotations

from medq_vlm import vocab
from medq_vlm.language.pair import certainty, not_comparable
from medq_vlm.report.content import ATTRIBUTE_NAMES, capital, measure_name, number, percent
from medq_vlm.schema import Assessment

SAME_SCORE = 0.05  # differences below this are not shown as a change
SAME_SEVERITY = 0.1
Row = tuple[str, str, str, str]  # name, first, second, change


def rows(first: Assessment, second: Assessment) -> list[Row]:
    """Score, verdict, findings, attributes and shared measurements side by side."""
    out: list[Row] = [
        ("Score, 0 to 4", _score(first.score), _score(second.score), _score_change(first.score, second.score)),
        ("Verdict", first.verdict or "none", second.verdict or "none", _differs(first.verdict, second.verdict)),
        ("Probability of reject", _share(first.reject_probability), _share(second.reject_probability), ""),
    ]
    ours = {f.kind: f for f in first.findings}
    theirs = {f.kind: f for f in second.findings}
    for kind in [*ours, *(kind for kind in theirs if kind not in ours)]:
        a, b = ours.get(kind), theirs.get(kind)
        change = _change(a.severity_value if a else 0.0, b.severity_value if b else 0.0, SAME_SEVERITY)
        words = [f.severity if f else "none" for f in (a, b)]
        out.append((capital(vocab.KIND[kind].plain), *words, change))  # type: ignore[arg-type]
    for name in vocab.ATTRIBUTES:
        if name in first.attributes and name in second.attributes:
            x, y = first.attributes[name], second.attributes[name]
            out.append((ATTRIBUTE_NAMES[name], percent(x), percent(y), _change(100 * x, 100 * y, 2.0)))
    measured = {m.name: m for m in second.evidence}
    for one in first.evidence:
        other = measured.get(one.name)
        if other is not None and other.unit == one.unit:
            unit = f" ({one.unit})" if one.unit else ""
            name = f"{capital(measure_name(one.name))}{unit}"
            out.append((name, number(one.value), number(other.value), ""))
    return out


def pair_sentence(first: Assessment, second: Assessment) -> str:
    """Which of two images is better, where they may be compared, and what each shows alone."""
    if first.score is None or second.score is None:
        return "One of the two could not be assessed."
    gap = _shown_gap(first.score, second.score)
    scores = f"{vocab.score_text(first.score)} and {vocab.score_text(second.score)} of 4"
    better = f"The {'second' if gap > 0 else 'first'} is better by {abs(gap):.1f}"
    words = f"{'Both are of one quality' if abs(gap) < SAME_SCORE else better} ({scores})"
    if apart := not_comparable(first, second):
        words = f"{apart} They are {scores}"
    for name, one, other in (("first", first, second), ("second", second, first)):
        known = {f.kind for f in other.findings}
        alone = ", ".join(vocab.KIND[f.kind].plain for f in one.findings if f.kind not in known)
        words += f"; only the {name} shows {alone}" if alone else ""
    unsure = "" if apart else certainty(first, second)
    return f"{words}. {unsure}".strip()


def _shown_gap(first: float, second: float) -> float:
    """Second minus first as a reader would work it out from the page, to one decimal like the scores there."""
    return round(float(vocab.score_text(second)) - float(vocab.score_text(first)), 1)


def sentence(first: Assessment, second: Assessment) -> str:
    """What changed, in one sentence."""
    if first.score is None or second.score is None:
        return "One of the two could not be assessed."
    if abs(_shown_gap(first.score, second.score)) < SAME_SCORE:
        words = f"The score stays at {vocab.score_text(second.score)}"
    else:
        words = f"The score goes from {vocab.score_text(first.score)} to {vocab.score_text(second.score)}"
    words += "" if first.verdict == second.verdict else f" and the verdict from {first.verdict} to {second.verdict}"
    came = [vocab.KIND[f.kind].plain for f in second.findings if f.kind not in {g.kind for g in first.findings}]
    went = [vocab.KIND[f.kind].plain for f in first.findings if f.kind not in {g.kind for g in second.findings}]
    words += f"; new: {', '.join(came)}" if came else ""
    words += f"; no longer named: {', '.join(went)}" if went else ""
    return words + "."


def _score(value: float | None) -> str:
    return "none" if value is None else vocab.score_text(value)


def _share(value: float | None) -> str:
    return "none" if value is None else percent(value)


def _differs(first: str | None, second: str | None) -> str:
    return "" if first == second else "changed"


def _score_change(first: float | None, second: float | None) -> str:
    gap = 0.0 if first is None or second is None else _shown_gap(first, second)
    return "" if abs(gap) < SAME_SCORE else f"{gap:+.1f}"


def _change(first: float | None, second: float | None, least: float) -> str:
    if first is None or second is None or abs(second - first) < least:
        return ""
    # of what is shown: a reader takes the difference of the page's own figures
    return f"{second - first:+.1f}" if least < 1 else f"{round(second) - round(first):+d}"
