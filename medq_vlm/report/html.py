"""The assessment as one self-contained HTML file: no script, no external resource, everything escaped."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from medq_vlm import vocab
from medq_vlm.report import charts, content
from medq_vlm.report.picture import Picture, data_uri, make_picture
from medq_vlm.schema import Assessment, Finding, Measurement

# Even a hole in the escaping could load or run nothing.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
SYMBOLS = {
    "good": "\u2713",
    "usable": "\u25b2",
    "reject": "\u2715",
    "none": "?",
}  # verdict without colour vision


def to_html(
    assessment: Assessment, images: Mapping[str, Any] | None = None, review: Sequence[tuple[str, str]] = ()
) -> str:
    """The whole document.

    `images` is described at picture.make_picture; None leaves the image out. `review`: (name, value) rows of what
    a person said of the image. Raises MedQError on a wrong image.
    """
    picture = make_picture(assessment, images) if images else None
    style = resources.files("medq_vlm.report").joinpath("report.css").read_text(encoding="utf-8")
    name = _e(content.image_name(assessment))
    sections = [_header(assessment), _top(assessment, picture)]
    if assessment.assessable:
        sections += [_findings(assessment), _charts(assessment, picture)]
    sections += [_review(review), _warnings(assessment), _acquisition(assessment)]
    sections += [_measures(assessment), _footer(assessment)]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Image quality: {name}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(section for section in sections if section)
        + "\n</main>\n</body>\n</html>\n"
    )


def _e(text: object) -> str:
    return html.escape(content.clean(text), quote=True)


def _header(assessment: Assessment) -> str:
    path = str(assessment.source["path"])
    line = f"{content.image_name(assessment)} \u00b7 {content.short_path(path, 78)}"
    return (
        f"<header><div><h1>Image quality report</h1>"
        f'<p title="{_e(path)}">{_e(line)}</p></div>'
        f'<p class="when">Assessed {_e(content.created(assessment))}</p></header>'
    )


def _top(assessment: Assessment, picture: Picture | None) -> str:
    figure = _figure(assessment, picture) if picture else ""
    bare = "" if picture else " bare"
    return f'<section class="top{bare}">{figure}<div>{_summary(assessment)}</div></section>'


def _summary(assessment: Assessment) -> str:
    verdict, meaning = content.verdict_head(assessment)
    css = assessment.verdict if assessment.assessable and assessment.verdict else "none"
    badge = f'<span class="badge {css}">{SYMBOLS[css]} {_e(verdict)}</span>'
    if assessment.score is None:
        return (
            f'<div class="verdict">{badge}</div><p class="level">{_e(meaning)}</p>'
            '<p class="fine">No score, verdict or findings are given, because they would be a guess.</p>'
        )
    word = vocab.score_word(assessment.score)
    level = vocab.SCORE_WORDS.index(word)
    interval = ""
    if assessment.score_interval:
        interval = f"; {content.interval_words(assessment.score_interval)}"
    context = "".join(f"<li>{_e(line)}</li>" for line in content.context_lines(assessment))
    prose = f'<p class="prose">{_e(assessment.prose)}</p>' if assessment.description else ""
    return (
        f'<div class="verdict">{badge}<span>{_e(meaning)}</span></div>'
        f'<div class="score">{vocab.score_text(assessment.score)} <small>of 4{interval}</small></div>'
        f'<p class="level">nearest to level {level}: <strong>{_e(word)}</strong></p>'
        f"{charts.gauge(assessment.score, assessment.score_interval)}"
        f'<p class="fine">Scale {_e(content.SCALE)}.</p>'
        f'<ul class="fine context">{context}</ul>{prose}'
    )


def _figure(assessment: Assessment, picture: Picture) -> str:
    width, height = picture.width, picture.height
    unit = max(width, height) / 100  # overlay lettering scales with the image
    layers = [f'<image width="{width}" height="{height}" href="{data_uri(picture.display)}"/>']
    switch = label = ""
    if picture.heat is not None:
        layers.append(f'<image class="heat-layer" width="{width}" height="{height}" href="{data_uri(picture.heat)}"/>')
        switch = '<input class="heat-switch" type="checkbox" id="heat">'
        label = '<label class="heat-label" for="heat">show or hide where quality is lost</label>'
    for mark in picture.marks:
        x0, y0, x1, y1 = mark.box
        rect = f'x="{x0}" y="{y0}" width="{x1 - x0}" height="{y1 - y0}"'
        layers.append(f'<rect class="box-under" {rect}/><rect class="box" {rect}/>')
    for mark in picture.marks:
        x0, y0 = mark.box[:2]
        tag = 5.2 * unit
        tag_y = y0 - tag if y0 >= tag else y0
        layers.append(
            f'<rect class="box-tag" x="{x0}" y="{tag_y:.1f}" width="{tag:.1f}" height="{tag:.1f}"/>'
            f'<text class="box-number" x="{x0 + tag / 2:.1f}" y="{tag_y + tag / 2:.1f}" text-anchor="middle" '
            f'dominant-baseline="central" style="font-size:{0.8 * tag:.1f}px">{mark.number}</text>'
        )
    count = int(assessment.source.get("slices", 1))
    caption = (
        f"{content.capital(content.plane(assessment))} {picture.slice_index + 1} of {count}. " if count > 1 else ""
    )
    caption += "Numbered boxes mark the findings." if picture.marks else ""
    return (
        f'<figure>{switch}<div class="frame"><svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{_e(content.image_name(assessment))}">{"".join(layers)}</svg></div>'
        f"<figcaption><span>{_e(caption)}</span>{label}</figcaption></figure>"
    )


def _findings(assessment: Assessment) -> str:
    findings = content.shown_findings(assessment)
    if not findings:
        return f"<h2>Findings</h2><p>{_e(content.without_findings(assessment))}</p>"
    rows = "".join(_finding(number, finding) for number, finding in enumerate(findings, start=1))
    return f'<h2>Findings</h2><table class="findings"><tbody>{rows}</tbody></table>'


def _finding(number: int, finding: Finding) -> str:
    level = vocab.SEVERITIES.index(finding.severity)
    blocks = "".join(f'<i class="{"on" if step <= level else ""}"></i>' for step in (1, 2, 3))
    rows = [
        ("Where", content.place(finding.location)),
        ("Evidence", content.evidence_line(finding.evidence)),
        ("Cause", finding.cause),
        ("Impact", finding.impact),
        ("Remedy", finding.remedy),
    ]
    details = "".join(f"<dt>{name}</dt><dd>{_e(content.capital(value))}</dd>" for name, value in rows if value)
    code = f"{finding.code['scheme']} {finding.code['value']}"
    return (
        f'<tr><td class="name"><span class="number">{number}</span>'
        f"<strong>{_e(content.finding_name(finding))}</strong>"
        f'<div class="severity {finding.severity}">{blocks} {_e(finding.severity)} '
        f"({finding.severity_value:.1f} of 4)</div>"
        f'<div class="fine">Confidence {content.percent(finding.confidence)}<br>Code {_e(code)}</div></td>'
        f"<td><dl>{details}</dl></td></tr>"
    )


def _charts(assessment: Assessment, picture: Picture | None) -> str:
    halves = []
    if assessment.attributes:
        halves.append(
            f"<div><h2>Partial scores (0 to 1, higher is better)</h2>{charts.attributes(assessment.attributes)}</div>"
        )
    if assessment.score_distribution:
        halves.append(
            f"<div><h2>How sure the score is</h2>{charts.distribution(assessment.score_distribution)}"
            f'<p class="fine">{content.DISTRIBUTION}</p></div>'
        )
    out = f'<section class="charts">{"".join(halves)}</section>' if halves else ""
    if len(assessment.slices) > 1:
        shown = picture.slice_index if picture else -1
        out += f"<h2>Score per slice</h2>{charts.slice_strip(assessment.slices, shown)}"
    return out


def _review(rows: Sequence[tuple[str, str]]) -> str:
    return f"<section><h2>Review by a person</h2>{_pairs(rows)}</section>" if rows else ""


def _warnings(assessment: Assessment) -> str:
    if not assessment.warnings:
        return ""
    items = "".join(f"<li>{_e(warning)}</li>" for warning in assessment.warnings)
    return f'<h2>Warnings</h2><ul class="warnings">{items}</ul>'


def _pairs(rows: Sequence[tuple[str, str]], code: bool = False) -> str:
    body = "".join(
        f"<tr><th>{_e(name)}</th><td>{'<code>' + _e(value) + '</code>' if code else _e(value)}</td></tr>"
        for name, value in rows
    )
    return f'<table class="pairs"><tbody>{body}</tbody></table>'


def _acquisition(assessment: Assessment) -> str:
    rows = content.acquisition_rows(assessment)
    if len(rows) < 8:
        return f"<h2>Acquisition</h2>{_pairs(rows)}"
    # The long sentence stays on its own line above two columns of short fields.
    head, rest = rows[:3], rows[3:]
    half = (len(rest) + 1) // 2
    columns = f'<div class="halves">{_pairs(rest[:half])}{_pairs(rest[half:])}</div>'
    return f"<h2>Acquisition</h2>{_pairs(head)}{columns}"


def _measures(assessment: Assessment) -> str:
    if not assessment.evidence:
        return ""
    words = {"higher": "higher is better", "lower": "lower is better", "": ""}
    rows = "".join(
        f"<tr><td>{_e(content.capital(content.measure_name(item.name)))}</td>"
        f'<td class="value">{_e(content.measurement_value(item))}</td>'
        f"<td>{_e(content.range_words(item))}{_outside(item)}</td><td>{words[item.better]}</td><td>{_e(item.source)}</td></tr>"
        for item in assessment.evidence
    )
    head = "<tr><th>Measure</th><th>Value</th><th>Expected</th><th>Direction</th><th>Method</th></tr>"
    return f'<h2>Measurements</h2><table class="measures"><thead>{head}</thead><tbody>{rows}</tbody></table>'


def _outside(item: Measurement) -> str:
    return " <strong>outside</strong>" if content.within(item) is False else ""


def _footer(assessment: Assessment) -> str:
    return (
        f"<h2>Versions</h2>{_pairs(content.version_rows(assessment), code=True)}"
        f"<footer><strong>{_e(content.DISCLAIMER)}</strong></footer>"
    )
