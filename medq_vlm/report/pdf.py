"""The assessment as a PDF, A4, one page when it fits; drawn with fpdf2, DejaVu Sans embedded as a subset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fpdf import FPDF
from fpdf.enums import MethodReturnValue
from fpdf.fonts import TTFFont

from medq_vlm import __version__, vocab
from medq_vlm.report import content, pdf_charts
from medq_vlm.report.pdf_charts import COLOURS, INK, LINE, PANEL, SOFT
from medq_vlm.report.picture import Picture, make_picture
from medq_vlm.schema import Assessment, Finding, Measurement, MedQError

FONTS = Path(__file__).parent / "fonts"
MARGIN, WIDTH, FOOTER = 14.0, 182.0, 14.0  # mm; WIDTH is A4 without the margins
IMAGE_BOX = (72.0, 63.0)  # mm, width and height at most
RIGHT = MARGIN + IMAGE_BOX[0] + 7  # left edge of the summary beside the image
TOP = 11.0  # mm
LEAD = 1.3  # line height over letter height
POINT_MM = 25.4 / 72
LONGEST_TEXT = 1200
NAME_WIDTH = 36.0  # mm of the name beside a value


class _Report(FPDF):
    """FPDF with this report's letters, colours and footer."""

    def __init__(self) -> None:
        super().__init__(format="A4")
        self.add_font("dejavu", "", FONTS / "DejaVuSans.ttf")
        self.add_font("dejavu", "B", FONTS / "DejaVuSans-Bold.ttf")
        self.set_margin(MARGIN)
        self.set_top_margin(TOP)
        self.c_margin = 0
        self.set_auto_page_break(False)
        font = self.fonts["dejavu"]
        assert isinstance(font, TTFFont)
        self.glyphs = set(font.cmap)

    def footer(self) -> None:
        self.set_y(-FOOTER + 1)
        self.set_draw_color(*INK)
        self.line(MARGIN, self.get_y(), MARGIN + WIDTH, self.get_y())
        self.ln(1.5)
        write(self, content.DISCLAIMER, 7, MARGIN, WIDTH - 24, style="B")
        self.set_y(-FOOTER + 2.5)
        write(self, f"page {self.page_no()} of {{nb}}", 7, MARGIN + WIDTH - 24, 24, SOFT, align="R")


def to_pdf(
    assessment: Assessment, images: Mapping[str, Any] | None, path: str | Path, review: Sequence[tuple[str, str]] = ()
) -> None:
    """Write the report to `path`; the same assessment and images give the same bytes.

    `images` is described at picture.make_picture; None leaves the image out; the heat map is left to HTML.
    `review`: (name, value) rows of what a person said of the image.
    Raises MedQError on a wrong image or when the file cannot be written.
    """
    picture = make_picture(assessment, images) if images else None
    pdf = _Report()
    pdf.set_title(f"Image quality report: {content.image_name(assessment)}")
    pdf.set_creator(f"MedQ-VLM {__version__}")
    pdf.set_producer(f"MedQ-VLM {__version__}")
    pdf.set_lang("en")
    pdf.set_creation_date(content.created_time(assessment))
    pdf.add_page()
    _header(pdf, assessment)
    _top(pdf, assessment, picture)
    if assessment.assessable:
        if assessment.description:
            _prose(pdf, assessment.prose)
        _findings(pdf, assessment)
        _charts(pdf, assessment, picture)
    if review:
        _pairs(pdf, "Review by a person", review, wide=len(review))
    if assessment.warnings:
        _title(pdf, "Warnings", 8)
        for warning in assessment.warnings:
            line = f"\u2022 {content.clean(warning)}"
            _room(pdf, _height(pdf, line, 8, WIDTH))
            write(pdf, line, 8, MARGIN, WIDTH)
    _pairs(pdf, "Acquisition", content.acquisition_rows(assessment), wide=3)
    if assessment.evidence:
        rows = [(content.capital(content.measure_name(item.name)), _measured(item)) for item in assessment.evidence]
        _pairs(pdf, "Measurements", rows)
    model, weights, image, schema, _ = content.version_rows(assessment)  # when it was assessed stands at the top
    _pairs(pdf, "Versions", [weights, image, model, schema], wide=2)
    try:
        pdf.output(str(path))
    except OSError as error:
        raise MedQError(f"The report could not be written to {path}: {error.strerror}.") from error


def write(
    pdf: _Report,
    text: str,
    size: float,
    x: float,
    width: float,
    colour: tuple[int, int, int] = INK,
    style: str = "",
    align: str = "L",
) -> None:
    """Wrapped text of `size` points at `x` mm from the current height, which moves below it."""
    pdf.set_font("dejavu", style, size)
    pdf.set_text_color(*colour)
    pdf.set_x(x)
    shown = drawable(pdf, text)
    pdf.multi_cell(
        width,
        size * POINT_MM * LEAD,
        shown,
        align=align,
        new_x="LMARGIN",
        new_y="NEXT",
    )


def drawable(pdf: _Report, text: str) -> str:
    """`text` with characters that the font lacks written as <U+XXXX>, so that a path stays exact.

    Cut at LONGEST_TEXT characters, which fill less than a page in the narrowest column.
    """
    cut = text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "\u2026"
    return "".join(char if ord(char) in pdf.glyphs else f"<U+{ord(char):04X}>" for char in cut)


def _height(pdf: _Report, text: str, size: float, width: float, style: str = "") -> float:
    """Height in mm that `write` would use."""
    pdf.set_font("dejavu", style, size)
    shown = drawable(pdf, text)
    height = pdf.multi_cell(
        width,
        size * POINT_MM * LEAD,
        shown,
        dry_run=True,
        output=MethodReturnValue.HEIGHT,
    )
    return float(height)  # type: ignore[arg-type]


def _room(pdf: _Report, height: float) -> None:
    """Start a new page unless `height` mm are left."""
    if pdf.get_y() + height > pdf.h - FOOTER:
        pdf.add_page()


def _title(pdf: _Report, text: str, needed: float, x: float = MARGIN) -> None:
    """Section title with room for `needed` mm below it on the same page."""
    _room(pdf, needed + 7)
    pdf.ln(2.4)
    write(pdf, text.upper(), 7, x, WIDTH - (x - MARGIN), SOFT, "B")
    pdf.ln(0.6)


def _header(pdf: _Report, assessment: Assessment) -> None:
    write(pdf, "Image quality report", 15, MARGIN, 120, style="B")
    pdf.set_y(TOP + 2.4)
    write(pdf, f"Assessed {content.created(assessment)}", 8, MARGIN + 112, 70, SOFT, align="R")
    pdf.set_y(TOP + 8)
    path = content.short_path(str(assessment.source["path"]), 88)
    write(pdf, f"{content.image_name(assessment)}  \u00b7  {path}", 8, MARGIN, WIDTH, SOFT)
    pdf.set_draw_color(*INK)
    pdf.set_line_width(0.4)
    pdf.line(MARGIN, pdf.get_y() + 1.2, MARGIN + WIDTH, pdf.get_y() + 1.2)
    pdf.set_line_width(0.2)
    pdf.ln(4.5)


def _top(pdf: _Report, assessment: Assessment, picture: Picture | None) -> None:
    start = pdf.get_y()
    bottom = start
    if picture is not None:
        bottom = _image(pdf, assessment, picture, start)
    pdf.set_y(start)
    _summary(pdf, assessment, RIGHT if picture else MARGIN)
    pdf.set_y(max(bottom, pdf.get_y()))


def _image(pdf: _Report, assessment: Assessment, picture: Picture, top: float) -> float:
    """Draw the image with its marks; returns the height below its caption."""
    scale = min(IMAGE_BOX[0] / picture.width, IMAGE_BOX[1] / picture.height)  # mm per pixel
    width, height = picture.width * scale, picture.height * scale
    left = MARGIN
    pdf.image(picture.display, left, top, width, height)
    for mark in picture.marks:
        x0, y0, x1, y1 = (value * scale for value in mark.box)
        for colour, thickness in (((0, 0, 0), 0.9), (COLOURS["mark"], 0.45)):
            pdf.set_draw_color(*colour)
            pdf.set_line_width(thickness)
            pdf.rect(left + x0, top + y0, x1 - x0, y1 - y0)
        pdf.set_fill_color(*COLOURS["mark"])
        tag = top + y0 - 3.6 if y0 >= 3.6 else top + y0
        pdf.rect(left + x0, tag, 3.6, 3.6, style="F")
        pdf.set_y(tag + 0.35)
        write(pdf, str(mark.number), 7, left + x0, 3.6, style="B", align="C")
    pdf.set_line_width(0.2)
    pdf.set_y(top + height + 1)
    count = int(assessment.source.get("slices", 1))
    caption = (
        f"{content.capital(content.plane(assessment))} {picture.slice_index + 1} of {count}. " if count > 1 else ""
    )
    caption += "Numbered boxes mark the findings." if picture.marks else ""
    if caption:
        write(pdf, caption, 7, MARGIN, IMAGE_BOX[0], SOFT)
    return pdf.get_y()


def _summary(pdf: _Report, assessment: Assessment, left: float) -> None:
    width = MARGIN + WIDTH - left
    verdict, meaning = content.verdict_head(assessment)
    top = pdf.get_y()
    pdf.set_font("dejavu", "B", 13)
    badge = pdf.get_string_width(verdict) + 8
    key = assessment.verdict if assessment.assessable and assessment.verdict else "none"
    pdf.set_fill_color(*COLOURS[key])
    pdf.rect(left, top, badge, 8.4, style="F", round_corners=True, corner_radius=1)
    pdf.set_y(top + 1.1)
    write(pdf, verdict, 13, left, badge, INK if key == "usable" else (255, 255, 255), "B", "C")
    if assessment.score is None:
        pdf.set_y(top + 11)
        write(pdf, meaning, 9, left, width)
        pdf.ln(1.5)
        write(
            pdf,
            "No score, verdict or findings are given, because they would be a guess.",
            8,
            left,
            width,
            SOFT,
        )
        return
    pdf.set_y(top + 2.2)
    write(pdf, meaning, 8.5, left + badge + 4, width - badge - 4)
    pdf.set_y(top + 11)
    write(pdf, vocab.score_text(assessment.score), 25, left, 18, style="B")
    pdf.set_y(top + 14.6)
    interval = assessment.score_interval
    written = f"of 4; {content.interval_words(interval)}" if interval else "of 4"
    write(pdf, written, 10, left + 19, width - 19, SOFT)
    pdf.set_y(top + 24)
    word = vocab.score_word(assessment.score)
    write(pdf, f"nearest to level {vocab.SCORE_WORDS.index(word)}: {word}", 9.5, left, width, style="B")
    pdf_charts.gauge(pdf, left, pdf.get_y() + 2.5, min(width, 92), assessment.score, interval)
    pdf.set_y(top + 46)
    write(pdf, f"Scale {content.SCALE}.", 7, left, width, SOFT)
    pdf.ln(1)
    for line in content.context_lines(assessment):
        write(pdf, line, 8, left, width)


def _prose(pdf: _Report, text: str) -> None:
    shown = content.clean(text)
    height = _height(pdf, shown, 8.5, WIDTH - 8) + 4
    _room(pdf, height + 3)
    pdf.ln(3)
    pdf.set_fill_color(*PANEL)
    pdf.rect(MARGIN, pdf.get_y(), WIDTH, height, style="F")
    bottom = pdf.get_y() + height
    pdf.ln(2)
    write(pdf, shown, 8.5, MARGIN + 4, WIDTH - 8)
    pdf.set_y(bottom)


def _findings(pdf: _Report, assessment: Assessment) -> None:
    findings = content.shown_findings(assessment)
    _title(pdf, "Findings", 18)
    if not findings:
        write(pdf, content.without_findings(assessment), 8.5, MARGIN, WIDTH)
    for number, finding in enumerate(findings, start=1):
        _finding(pdf, number, finding)


def _finding(pdf: _Report, number: int, finding: Finding) -> None:
    rows = [
        ("Where", content.place(finding.location)),
        ("Evidence", content.evidence_line(finding.evidence)),
        ("Cause", content.clean(finding.cause)),
        ("Impact", content.clean(finding.impact)),
        ("Remedy", content.clean(finding.remedy)),
    ]
    rows = [(name, content.capital(value)) for name, value in rows if value]
    label, left, size = 54.0, 68.0, 7.5
    width = WIDTH - left
    height = sum(_height(pdf, value, size, width) for _, value in rows) + 2.2
    _room(pdf, max(height, 14))
    top = pdf.get_y()
    pdf.set_draw_color(*LINE)
    pdf.line(MARGIN, top, MARGIN + WIDTH, top)
    pdf.set_y(top + 1)
    write(pdf, str(number), 8.5, MARGIN, 6, style="B")
    pdf.set_y(top + 1)
    write(pdf, content.finding_name(finding), 8.5, MARGIN + 6, label - 8, style="B")
    level = vocab.SEVERITIES.index(finding.severity)
    pdf_charts.severity_blocks(pdf, MARGIN + 6, pdf.get_y() + 1, level, finding.severity)
    write(pdf, f"{finding.severity} ({finding.severity_value:.1f} of 4)", 7.5, MARGIN + 19, label - 20)
    code = f"{finding.code['scheme']} {finding.code['value']}"
    write(pdf, f"confidence {content.percent(finding.confidence)}, {code}", 6.5, MARGIN + 6, label - 7, SOFT)
    bottom = pdf.get_y()
    pdf.set_y(top + 1)
    for name, value in rows:
        line = pdf.get_y()
        write(pdf, name, size, MARGIN + label, 14, SOFT)
        pdf.set_y(line)
        write(pdf, value, size, MARGIN + left, width)
    pdf.set_y(max(bottom, pdf.get_y()) + 1.2)


def _charts(pdf: _Report, assessment: Assessment, picture: Picture | None) -> None:
    half = WIDTH / 2 - 5
    if assessment.attributes or assessment.score_distribution:
        _room(pdf, 32)
        top = pdf.get_y()
        _title(pdf, "How sure the score is", 25, MARGIN + half + 10)
        pdf.set_y(top)
        _title(pdf, "Partial scores (0 to 1, higher is better)", 25)
        top = pdf.get_y()
        pdf_charts.attributes(pdf, MARGIN, top, half, assessment.attributes)
        if assessment.score_distribution:
            pdf_charts.distribution(pdf, MARGIN + half + 10, top, half, 23, assessment.score_distribution)
            pdf.set_y(top + 22.8)
            write(pdf, content.DISTRIBUTION, 6.5, MARGIN + half + 10, half, SOFT)
        pdf.set_y(top + 25)
    if len(assessment.slices) > 1:
        _title(pdf, "Score per slice", 21)
        pdf.ln(1)
        shown = picture.slice_index if picture else -1
        pdf_charts.slice_strip(pdf, MARGIN + 4, pdf.get_y(), WIDTH - 4, 16, assessment.slices, shown)
        pdf.set_y(pdf.get_y() + 21)


def _pairs(pdf: _Report, title: str, rows: Sequence[tuple[str, str]], wide: int = 0) -> None:
    """Name and value rows in two columns; the first `wide` rows take the whole width."""
    size = 7.5
    # never a title with one line below it; the rest may go over to the next page
    lines = len(rows[:wide]) + (len(rows[wide:]) + 1) // 2
    _title(pdf, title, min(3, lines) * size * POINT_MM * LEAD)
    for name, value in rows[:wide]:
        _room(pdf, _pair_height(pdf, name, value, WIDTH, size))
        _pair(pdf, name, value, MARGIN, WIDTH, size)
    column = WIDTH / 2 - 5
    rest = rows[wide:]
    for index in range(0, len(rest), 2):
        line = rest[index : index + 2]
        _room(pdf, max(_pair_height(pdf, name, value, column, size) for name, value in line))
        top, bottom = pdf.get_y(), pdf.get_y()
        for position, (name, value) in enumerate(line):
            pdf.set_y(top)
            _pair(pdf, name, value, MARGIN + position * (WIDTH / 2 + 2), column, size)
            bottom = max(bottom, pdf.get_y())
        pdf.set_y(bottom)


def _pair_height(pdf: _Report, name: str, value: str, width: float, size: float) -> float:
    value_width = width - NAME_WIDTH - 2
    return max(_height(pdf, name, size, NAME_WIDTH), _height(pdf, value, size, value_width))


def _pair(pdf: _Report, name: str, value: str, x: float, width: float, size: float) -> None:
    top = pdf.get_y()
    write(pdf, name, size, x, NAME_WIDTH, SOFT)
    below = pdf.get_y()
    pdf.set_y(top)
    write(pdf, value, size, x + NAME_WIDTH + 2, width - NAME_WIDTH - 2)
    pdf.set_y(max(below, pdf.get_y()))


def _measured(item: Measurement) -> str:
    words = content.expected_words(item)
    return content.measurement_value(item) + (f" ({words})" if words else "")
