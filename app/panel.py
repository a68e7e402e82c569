"""The assessment as HTML for the page: score, findings with review chips, measurements. All text is escaped."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence

from app.compare import Row
from app.review import ANSWERS, Review
from app.store import Study
from app.viewer import payload
from medq_vlm import vocab
from medq_vlm.report import content
from medq_vlm.report.charts import ZONES
from medq_vlm.schema import Assessment, Finding, Measurement

EMPTY = (
    '<div class="mq-empty"><h3>No study open</h3><p>Drop DICOM files, a series, a zip, NIfTI or a picture at the left, '
    "or open an example. The score, the findings and what to do about them appear here.</p></div>"
)
FORMS = (
    ("zip", "File report", "PDF, HTML, JSON, your review and its labels in one zip"),
    ("pdf", "PDF", ""),
    ("html", "HTML", ""),
    ("json", "JSON", ""),
    ("csv", "Labels CSV", "your review as training labels"),
)
REVIEWED = ("csv",)  # of FORMS: nothing without a review


def viewer_data(study: Study | None) -> str:
    """The hidden element from which the viewer's script learns what to show."""
    data = json.dumps(payload(study), allow_nan=False) if study else ""
    return f'<div hidden data-view="{_e(data, raw=True)}"></div>'


def panel(study: Study | None) -> str:
    """The whole assessment panel of a study."""
    if study is None:
        return EMPTY
    result = study.result
    if result is None and study.problem:
        return f'<div class="mq-empty"><h3>The assessment failed</h3><p>{_e(study.problem)}</p></div>'
    if result is None:
        return '<div class="mq-empty"><h3>Not assessed yet</h3><p>The images can be viewed already.</p></div>'
    parts = [_verdict(result), _facts(result), warnings(result.warnings)]
    if result.assessable:
        parts.append(_findings(result, study.review))
    parts += [_review(result, study.review), _downloads(study)]
    if result.assessable:
        parts += [_attributes(result), _details("Description", f"<p>{_e(result.prose)}</p>")]
    parts += [_details("Measurements", _measures(result.evidence)), _versions(result)]
    return f'<section class="mq-panel" data-study="{_e(study.token)}">{"".join(parts)}</section>'


def _verdict(result: Assessment) -> str:
    word, meaning = content.verdict_head(result)
    if result.score is None:
        return f'<header class="mq-verdict none"><div><strong>{_e(word)}</strong><p>{_e(meaning)}</p></div></header>'
    interval = ""
    if result.score_interval:
        low, high = result.score_interval
        interval = f"90\u00a0% interval {low:.1f} to {high:.1f}"
    level = vocab.score_word(result.score)
    context = "".join(f"<li>{_e(line)}</li>" for line in content.context_lines(result))
    return (
        f'<header class="mq-verdict {result.verdict}"><div class="mq-score"><b>{vocab.score_text(result.score)}</b>'
        f"<span>of 4</span></div><div><strong>{_e(word)}</strong> <span>{_e(meaning)}</span>"
        f'<p>Nearest level: {_e(level)}. {interval}</p></div></header>{_gauge(result)}<ul class="mq-context">'
        f"{context}</ul>"
    )


def _gauge(result: Assessment) -> str:
    """The scale 0 to 4 with the three verdicts, the interval as a band and the score as a mark."""
    assert result.score is not None
    low, high = result.score_interval or (result.score, result.score)
    ticks = "".join(f'<i style="left:{25 * n}%">{n}</i>' for n in range(5))
    names = "".join(
        f'<em style="left:{25 * start:g}%;width:{25 * (end - start):g}%">{name}</em>' for name, start, end in ZONES
    )
    words = "; ".join(f"{n} {word}" for n, word in enumerate(vocab.SCORE_WORDS))
    score = vocab.score_text(result.score)
    return (
        f'<div class="mq-gauge" role="img" aria-label="Score {score} on a scale of 0 to 4, '
        f'interval {low:.1f} to {high:.1f}" title="{_e(words)}">{names}'
        f'<div class="mq-bar"><u style="left:{25 * low:.1f}%;width:{25 * (high - low):.1f}%"></u>'
        f'<b style="left:{25 * result.score:.1f}%"></b></div>'
        f'<div class="mq-ticks">{ticks}</div></div>'
    )


def _facts(result: Assessment) -> str:
    told = [content.recognised_line(fact) for fact in (result.modality, result.anatomy) if content.known(result, fact)]
    return f'<p class="mq-facts">{" ".join(f"<b>{_e(words)}</b>" for words in told)}</p>'


def _findings(result: Assessment, review: Review) -> str:
    found = content.shown_findings(result)
    body = "".join(_finding(number, finding, review) for number, finding in enumerate(found, start=1))
    body = body or f'<p class="mq-soft">{_e(content.without_findings(result))}</p>'
    missed = [kind for kind in review.findings if kind not in {f.kind for f in found}]
    body += "".join(
        f'<article class="mq-finding added" data-kind="{kind}"><div class="mq-head"><span class="mq-name">'
        f"{_e(content.capital(vocab.KIND[kind].plain))}</span><span>added by you</span></div>"
        f"{_chips(kind, review)}</article>"
        for kind in missed
    )
    return f'<h3>Findings</h3><div class="mq-findings">{body}</div>'


def _finding(number: int, finding: Finding, review: Review) -> str:
    level = vocab.SEVERITIES.index(finding.severity)
    blocks = "".join(f'<i class="{"on" if step <= level else ""}"></i>' for step in (1, 2, 3))
    rows = [("Where", _e(content.capital(content.place(finding.location)))), ("Evidence", _evidence(finding.evidence)),
            *((name, _e(content.capital(value))) for name, value in
              (("Cause", finding.cause), ("Impact", finding.impact), ("Remedy", finding.remedy)))]  # fmt: skip
    details = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows if value)
    name = _e(content.finding_name(finding))
    return (
        f'<article class="mq-finding {finding.severity}" data-kind="{finding.kind}">'
        f'<button type="button" class="mq-head" data-finding="{number - 1}" aria-expanded="{str(number == 1).lower()}" '
        f'title="Show on the image"><span class="mq-number">{number}</span><span class="mq-name">{name}</span>'
        f'<span class="mq-severity">{blocks} {finding.severity}</span>'
        f'<span class="mq-soft">{content.percent(finding.confidence)} sure</span></button>'
        f"<dl>{details}</dl>{_chips(finding.kind, review)}</article>"
    )


def _evidence(measured: Sequence[Measurement]) -> str:
    """One line for each measurement: name, value, expected range; those inside it last and quiet."""
    lines = "".join(
        f"<div{' class=mq-soft' if content.within(m) else ''}>{_e(content.capital(content.measure_name(m.name)))} "
        f"<b>{_e(content.measurement_value(m))}</b> <span>{_e(content.expected_words(m))}</span></div>"
        for m in content.told_evidence(measured)
    )
    if measured and all(content.within(m) for m in measured):
        lines += f'<div class="mq-soft">{_e(content.capital(content.MODEL_ALONE))}.</div>'
    return lines


def _chips(kind: str, review: Review) -> str:
    chosen = review.findings.get(kind)
    plain = vocab.KIND[kind].plain
    chips = "".join(
        f'<button type="button" data-review="{answer}" aria-pressed="{str(answer == chosen).lower()}" '
        f'aria-label="{_e(plain)}: {answer}">{answer}</button>'
        for answer in ANSWERS
    )
    return f'<div class="mq-chips" role="group" aria-label="Your review of {_e(plain)}">{chips}</div>'


def _review(result: Assessment, review: Review) -> str:
    """Own verdict, a finding that was missed, and a comment; each is saved when it changes."""
    verdicts = "".join(
        f'<option value="{name}"{" selected" if name == review.verdict else ""}>{name or "no own verdict"}</option>'
        for name in ("", *vocab.VERDICTS)
    )
    return (
        '<h3>Your review</h3><div class="mq-review"><label>Verdict<select data-verdict aria-label="Your verdict">'
        f"{verdicts}</select></label>{_missed(result, review) if result.assessable else ''}"
        f'<label class="wide">Comment<textarea data-comment rows="2" maxlength="2000" aria-label="Your comment" '
        f'placeholder="For the report and the labels">{_e(review.comment)}</textarea></label>'
        f'<output data-saved role="status">{"Saved" if review else ""}</output></div>'
    )


def _missed(result: Assessment, review: Review) -> str:
    """The list from which a missed finding is added."""
    named = {f.kind for f in result.findings} | set(review.findings)
    kinds = vocab.kinds_for(str(result.modality.value)) if result.modality.value else vocab.KIND_NAMES
    missed = "".join(
        f'<option value="{kind}">{_e(vocab.KIND[kind].plain)}</option>' for kind in kinds if kind not in named
    )
    return (
        '<label>Missed finding<select data-missed aria-label="Add a finding that was missed">'
        f'<option value="">add\u2026</option>{missed}</select></label>'
    )


def _downloads(study: Study) -> str:
    hidden = "" if study.review else " hidden"  # until there is a review: a download has no way to say why it failed
    links = "".join(
        f'<a class="mq-button{" main" if form == "zip" else ""}" data-export="{form}" title="{_e(words)}" '
        f'href="/medq/study/{study.token}/export/{form}" download{hidden if form in REVIEWED else ""}>{name}</a>'
        for form, name, words in FORMS
    )
    return f'<nav class="mq-downloads" aria-label="Report">{links}</nav>'


def _attributes(result: Assessment) -> str:
    rows = "".join(
        f'<dt>{_e(content.ATTRIBUTE_NAMES[name])}</dt><dd><i style="width:{100 * value:.0f}%"></i>'
        f"<span>{content.percent(value)}</span></dd>"
        for name, value in result.attributes.items()
    )
    return _details("Partial scores", f'<dl class="mq-bars">{rows}</dl>', opened=True)


def _measures(measured: Sequence[Measurement]) -> str:
    rows = "".join(
        f"<tr><td>{_e(content.capital(content.measure_name(m.name)))}</td><td>{_e(content.measurement_value(m))}</td>"
        f"<td>{_e(content.range_words(m))}</td></tr>"
        for m in measured
    )
    head = "<tr><th>Measure</th><th>Value</th><th>Expected</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>" if rows else ""


def warnings(sentences: Sequence[str]) -> str:
    """What must be known, as a list."""
    items = "".join(f"<li>{_e(one)}</li>" for one in sentences)
    return f'<ul class="mq-warnings">{items}</ul>' if items else ""


def _versions(result: Assessment) -> str:
    rows = "".join(f"<dt>{_e(name)}</dt><dd>{_e(value)}</dd>" for name, value in content.version_rows(result))
    return _details("Versions", f'<dl class="mq-pairs">{rows}</dl>')


def acquisition(study: Study | None) -> str:
    """The fields of the header that were kept, as a table."""
    if study is None or study.result is None:
        return ""
    rows = "".join(f"<dt>{_e(n)}</dt><dd>{_e(v)}</dd>" for n, v in content.acquisition_rows(study.result))
    return f'<dl class="mq-pairs">{rows}</dl>'


def comparison(words: str, names: tuple[str, str], rows: Sequence[Row]) -> str:
    """Two results side by side."""
    body = "".join(
        f"<tr><td>{_e(name)}</td><td>{_e(a)}</td><td>{_e(b)}</td><td>{_e(change)}</td></tr>"
        for name, a, b, change in rows
    )
    head = f"<tr><th></th><th>{_e(names[0])}</th><th>{_e(names[1])}</th><th>Change</th></tr>"
    return (
        f'<p class="mq-lead">{_e(words)}</p><table class="mq-table"><thead>{head}</thead><tbody>{body}</tbody></table>'
    )


def notice(words: str, kind: str = "info") -> str:
    """A line of status: kind "info", "busy" or "error"."""
    if not words:
        return '<div class="mq-status" role="status"></div>'
    role = "alert" if kind == "error" else "status"
    return f'<div class="mq-status {kind}" role="{role}">{_e(words)}</div>'


def progress(words: str, share: float | None = None) -> str:
    """Status with a bar; `share` 0 to 1, None when nobody knows how far it is."""
    value = "" if share is None else f' value="{100 * share:.0f}"'
    bar = f'<progress max="100"{value}></progress>'
    return f'<div class="mq-status busy" role="status">{_e(words)}{bar}</div>'


def _details(title: str, body: str, opened: bool = False) -> str:
    return f"<details{' open' if opened else ''}><summary>{title}</summary>{body}</details>" if body else ""


def _e(text: object, raw: bool = False) -> str:
    return html.escape(str(text) if raw else content.clean(text), quote=True)
