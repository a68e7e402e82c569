"""Small charts of the PDF report, drawn with fpdf2 rectangles; lengths in mm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fpdf import FPDF

from medq_vlm import vocab
from medq_vlm.report.charts import ZONES
from medq_vlm.report.content import ATTRIBUTE_NAMES

Colour = tuple[int, int, int]
INK: Colour = (22, 32, 42)
SOFT: Colour = (86, 99, 111)
LINE: Colour = (205, 212, 219)
PANEL: Colour = (244, 246, 248)
COLOURS: dict[str, Colour] = {
    "good": (0, 114, 178),
    "usable": (230, 159, 0),
    "reject": (213, 94, 0),
    "none": (105, 115, 125),
    "mark": (240, 228, 66),
}  # Okabe and Ito: told apart by every kind of colour vision
SEVERITY_COLOURS = {"mild": "good", "moderate": "usable", "severe": "reject"}


def _label(pdf: FPDF, text: str, x: float, y: float, width: float, align: str = "C", colour: Colour = SOFT) -> None:
    pdf.set_font("dejavu", "", 6.5)
    pdf.set_text_color(*colour)
    pdf.set_xy(x, y)
    pdf.cell(width, 3, text, align=align)


def _triangle(pdf: FPDF, x: float, y: float, half: float, height: float) -> None:
    """Filled, tip at (x, y); a negative height points down."""
    pdf.set_fill_color(*INK)
    pdf.polygon([(x, y), (x - half, y + height), (x + half, y + height)], style="F")


def gauge(pdf: FPDF, x: float, y: float, width: float, score: float, interval: tuple[float, float] | None) -> None:
    """Scale 0 to 4, 16 mm high: interval bar, score marker, verdict zones, numbers."""

    def at(value: float) -> float:
        return x + width * min(4.0, max(0.0, value)) / 4

    for name, low, high in ZONES:
        pdf.set_fill_color(*COLOURS[name])
        pdf.rect(at(low), y + 4.5, at(high) - at(low) - 0.5, 2.6, style="F")
        _label(pdf, name, at(low), y + 11, at(high) - at(low))
    for value in range(5):
        _label(pdf, str(value), at(value) - 3, y + 7.7, 6)
    if interval:
        pdf.set_fill_color(*INK)
        pdf.rect(at(interval[0]), y + 2.4, max(0.4, at(interval[1]) - at(interval[0])), 0.9, style="F")
    _triangle(pdf, at(score), y + 7.3, 1.7, -4.6)


def distribution(pdf: FPDF, x: float, y: float, width: float, height: float, levels: Sequence[float]) -> None:
    """Probability of the 21 score levels, coloured by the verdict of the level."""
    top = max(levels) or 1.0
    step = width / len(levels)
    base = y + height - 4
    for index, probability in enumerate(levels):
        level = 4 * index / (len(levels) - 1)
        bar = (height - 5) * probability / top
        pdf.set_fill_color(*COLOURS[vocab.verdict_word(level)])
        if bar > 0.05:
            pdf.rect(x + index * step, base - bar, step - 0.6, bar, style="F")
        if index % 5 == 0:
            _label(pdf, f"{level:.0f}", x + (index + 0.43) * step - 4, base + 0.6, 8)
    pdf.set_draw_color(*SOFT)
    pdf.line(x, base, x + width, base)


def attributes(pdf: FPDF, x: float, y: float, width: float, values: Mapping[str, float]) -> None:
    """Partial scores as horizontal bars, 4 mm a row."""
    start, span = x + 34, width - 44
    for row, name in enumerate(name for name in vocab.ATTRIBUTES if name in values):
        top = y + 4 * row
        _label(pdf, ATTRIBUTE_NAMES[name], x, top, 34, "L", INK)
        pdf.set_fill_color(*LINE)
        pdf.rect(start, top + 0.5, span, 2, style="F")
        pdf.set_fill_color(*COLOURS["good"])
        pdf.rect(start, top + 0.5, max(0.01, span * values[name]), 2, style="F")
        _label(pdf, f"{values[name]:.2f}", start + span, top, 10, "R", INK)


def slice_strip(
    pdf: FPDF,
    x: float,
    y: float,
    width: float,
    height: float,
    slices: Sequence[Mapping[str, float]],
    shown: int,
) -> None:
    """Score of each slice from first to last; a triangle marks the displayed slice."""
    step = width / len(slices)
    base = y + height
    pdf.set_draw_color(*LINE)
    for value in (0, 2, 4):
        line = base - height * value / 4
        pdf.line(x, line, x + width, line)
        _label(pdf, str(value), x - 5, line - 1.5, 4, "R")
    gap = 0.25 if step > 1 else -0.08  # many slices overlap a little: a seam between them is drawn as a hairline
    for position, item in enumerate(slices):
        bar = max(0.2, height * item["score"] / 4)
        pdf.set_fill_color(*COLOURS[vocab.verdict_word(item["score"])])
        pdf.rect(x + position * step, base - bar, step - gap, bar, style="F")
        if int(item["index"]) == shown:
            _triangle(pdf, x + (position + 0.5) * step, base + 0.4, 1.2, 2)
    _label(pdf, f"slice {int(slices[0]['index']) + 1}", x, base + 2.2, 20, "L")
    _label(pdf, f"slice {int(slices[-1]['index']) + 1}", x + width - 20, base + 2.2, 20, "R")
    pdf.set_y(y)


def severity_blocks(pdf: FPDF, x: float, y: float, level: int, severity: str) -> None:
    """Three blocks of which `level` are filled."""
    for step in range(3):
        filled = step < level
        pdf.set_fill_color(*(COLOURS[SEVERITY_COLOURS[severity]] if filled else LINE))
        pdf.rect(x + 4 * step, y, 3.4, 1.8, style="F")
