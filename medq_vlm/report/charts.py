"""Small charts of the HTML report as inline SVG; colours come from the style sheet by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medq_vlm import vocab
from medq_vlm.report.content import ATTRIBUTE_NAMES

ENDS = (0.0, vocab.USABLE_FROM, vocab.GOOD_FROM, 4.0)
ZONES = tuple(zip(vocab.VERDICTS, ENDS[:-1], ENDS[1:], strict=True))  # name, start, end


def gauge(score: float, interval: tuple[float, float] | None) -> str:
    """Scale 0 to 4 with the verdict zones, the interval as a bar and the score as a marker."""
    left, span = 10, 300

    def x(value: float) -> float:
        return left + span * min(4.0, max(0.0, value)) / 4

    parts = [
        f'<svg class="gauge" viewBox="0 0 320 62" role="img" aria-label="Score {vocab.score_text(score)} on a '
        'scale from 0 to 4">'
    ]
    for name, low, high in ZONES:
        start, end = x(low), x(high)
        parts.append(
            f'<rect class="zone-{name}" x="{start:.1f}" y="22" width="{end - start - 1.5:.1f}" height="9"/>'
            f'<text class="tick" x="{(start + end) / 2:.1f}" y="58" text-anchor="middle">{name}</text>'
        )
    for value in range(5):
        parts.append(f'<text class="tick" x="{x(value):.1f}" y="44" text-anchor="middle">{value}</text>')
    if interval:
        start, end = x(interval[0]), x(interval[1])
        parts.append(f'<rect class="interval" x="{start:.1f}" y="15" width="{max(1.0, end - start):.1f}" height="3"/>')
    parts.append(f'<path class="marker" d="M{x(score):.1f} 33 l-6 -15 h12 z"/></svg>')
    return "".join(parts)


def distribution(probabilities: Sequence[float]) -> str:
    """The 21 ordinal levels as bars, coloured by the verdict they belong to."""
    left, base, height, step = 8, 92, 76, 14.2
    top = max(probabilities, default=0.0) or 1.0
    parts = ['<svg class="bars" viewBox="0 0 314 112" role="img" aria-label="Probability of each score level">']
    for index, probability in enumerate(probabilities):
        level = 4 * index / (len(probabilities) - 1)
        bar = height * probability / top
        x = left + index * step
        parts.append(
            f'<rect class="zone-{vocab.verdict_word(level)}" x="{x:.1f}" y="{base - bar:.1f}" '
            f'width="{step - 2.2:.1f}" height="{bar:.1f}">'
            f"<title>{level:.1f}: {100 * probability:.1f} %</title></rect>"
        )
        if index % 5 == 0:
            centre = x + step / 2 - 1.1
            parts.append(f'<text class="tick" x="{centre:.1f}" y="106" text-anchor="middle">{level:.0f}</text>')
    parts.append(f'<line class="axis" x1="{left}" x2="306" y1="{base}" y2="{base}"/></svg>')
    return "".join(parts)


def attributes(values: Mapping[str, float]) -> str:
    """Partial scores 0 to 1 as horizontal bars with their numbers."""
    rows = [(ATTRIBUTE_NAMES[name], values[name]) for name in vocab.ATTRIBUTES if name in values]
    height = 18 * len(rows) + 4
    parts = [f'<svg class="bars" viewBox="0 0 314 {height}" role="img" aria-label="Partial scores 0 to 1">']
    for index, (name, value) in enumerate(rows):
        y = 18 * index + 4
        parts.append(
            f'<text class="label" x="0" y="{y + 9}">{name}</text>'
            f'<rect class="track" x="140" y="{y + 1}" width="140" height="8"/>'
            f'<rect class="fill" x="140" y="{y + 1}" width="{140 * value:.1f}" height="8"/>'
            f'<text class="label" x="314" y="{y + 9}" text-anchor="end">{value:.2f}</text>'
        )
    return "".join(parts) + "</svg>"


def slice_strip(slices: Sequence[Mapping[str, float]], shown: int) -> str:
    """Score of each slice as a bar from first to last, the displayed slice marked by a triangle."""
    left, base, height, span = 22, 74, 64, 930
    step = span / len(slices)
    gap = 1.0 if step > 4 else 0.0
    parts = ['<svg class="strip" viewBox="0 0 960 104" role="img" aria-label="Score of each slice">']
    for value in (0, 1, 2, 3, 4):
        y = base - height * value / 4
        parts.append(
            f'<line class="grid" x1="{left}" x2="{left + span}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{value}</text>'
        )
    for position, item in enumerate(slices):
        bar = max(1.0, height * item["score"] / 4)
        x = left + position * step
        number = int(item["index"]) + 1
        parts.append(
            f'<rect class="zone-{vocab.verdict_word(item["score"])}" x="{x:.2f}" y="{base - bar:.1f}" '
            f'width="{step - gap:.2f}" height="{bar:.1f}">'
            f"<title>slice {number}: {vocab.score_text(item['score'])}</title></rect>"
        )
        if int(item["index"]) == shown:
            centre = x + step / 2
            parts.append(f'<path class="marker" d="M{centre:.1f} 76 l-5 9 h10 z"/>')
    first, last = int(slices[0]["index"]) + 1, int(slices[-1]["index"]) + 1
    parts.append(
        f'<text class="tick" x="{left}" y="100">slice {first}</text>'
        f'<text class="tick" x="{left + span}" y="100" text-anchor="end">slice {last}</text></svg>'
    )
    return "".join(parts)
