"""The assessment as plain text for a terminal."""

from __future__ import annotations

import textwrap

from medq_vlm.report import content
from medq_vlm.schema import Assessment, Finding

BAR_CELLS = 40
# Blue, yellow and red tell apart for colour-blind readers, and the word always stands beside the colour.
ANSI = {"GOOD": "\x1b[1;94m", "USABLE": "\x1b[1;93m", "REJECT": "\x1b[1;91m", "NOT ASSESSABLE": "\x1b[1;95m"}
RESET = "\x1b[0m"


def to_text(assessment: Assessment, colour: bool = False, width: int = 100) -> str:
    """Verdict and score first, then findings, acquisition, warnings, versions, disclaimer.

    `width` is in characters (at least 60 are used); `colour` adds ANSI codes around the verdict. Ends without
    a line break.
    """
    width = max(60, width)
    verdict, meaning = content.verdict_head(assessment)
    shown = f"{ANSI[verdict]}{verdict}{RESET}" if colour else verdict
    lines = [content.short_path(assessment.source["path"], width), content.image_name(assessment), ""]
    if assessment.score is None:
        lines += [shown, *_wrap(meaning, width, "  ")]
    else:
        lines += [f"{shown}  {meaning}", f"Score {content.score_line(assessment)}", _bar(assessment)]
        lines += _wrap("Scale " + content.SCALE + ".", width)
        lines += [line for context in content.context_lines(assessment) for line in _wrap(context, width)]
    if assessment.description and assessment.assessable:
        lines += ["", *_wrap(content.clean(assessment.prose), width)]
    if assessment.assessable:
        lines += ["", *_findings(assessment, width)]
    lines += ["", "Acquisition", *_rows(content.acquisition_rows(assessment), width)]
    if assessment.warnings:
        lines += ["", "Warnings"]
        for warning in assessment.warnings:
            lines += _wrap(content.clean(warning), width, "  - ", "    ")
    lines += ["", "Versions", *_rows(content.version_rows(assessment), width)]
    lines += ["", *_wrap(content.DISCLAIMER, width)]
    return "\n".join(lines)


def _findings(assessment: Assessment, width: int) -> list[str]:
    findings = content.shown_findings(assessment)
    if not findings:
        return ["Findings", *_wrap(content.without_findings(assessment), width, "  ", "  ")]
    lines = ["Findings"]
    for index, finding in enumerate(findings, start=1):
        lines += _finding(index, finding, width)
    return lines


def _finding(index: int, finding: Finding, width: int) -> list[str]:
    title = f"{content.finding_name(finding)}: {finding.severity}"
    lines = _wrap(
        f"{title} ({finding.severity_value:.1f} of 4), confidence {content.percent(finding.confidence)}",
        width,
        f" {index:>2}. ",
        "     ",
    )
    rows = [
        ("where", content.place(finding.location)),
        ("evidence", content.evidence_line(finding.evidence)),
        ("cause", content.clean(finding.cause)),
        ("impact", content.clean(finding.impact)),
        ("remedy", content.clean(finding.remedy)),
    ]
    return lines + _rows([row for row in rows if row[1]], width, indent=5, label_width=9)


def _rows(rows: list[tuple[str, str]], width: int, indent: int = 2, label_width: int = 0) -> list[str]:
    label_width = label_width or min(26, max(len(name) for name, _ in rows) + 2)
    lines = []
    for name, value in rows:
        first = " " * indent + f"{name:<{label_width}}"
        lines += _wrap(value, width, first if first.endswith(" ") else first + " ", " " * (indent + label_width))
    return lines


def _bar(assessment: Assessment) -> str:
    """`0 [-----=====#===-----] 4`: # the score, = its interval."""
    assert assessment.score is not None
    cells = ["-"] * (BAR_CELLS + 1)
    low, high = assessment.score_interval or (assessment.score, assessment.score)
    for cell in range(round(low / 4 * BAR_CELLS), round(high / 4 * BAR_CELLS) + 1):
        cells[cell] = "="
    cells[round(assessment.score / 4 * BAR_CELLS)] = "#"
    return "0 [" + "".join(cells) + "] 4"


def _wrap(text: str, width: int, first: str = "", rest: str | None = None) -> list[str]:
    following = first if rest is None else rest
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=following, break_on_hyphens=False) or [
        first.rstrip()
    ]
