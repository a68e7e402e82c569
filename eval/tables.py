"""Plain tables that read the same in a terminal and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from eval.bootstrap import Estimate

Cell = Estimate | float | int | str | None


def cell(value: Cell, digits: int = 3) -> str:
    """One cell: `0.812 [0.774, 0.851]` for an Estimate, `-` for nothing or NaN, text as it is."""
    if isinstance(value, Estimate):
        if math.isnan(value.value):
            return "-"
        if math.isnan(value.low):
            return f"{value.value:.{digits}f} [one group]"  # nothing to resample: an interval would be invented
        return f"{value.value:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]], digits: int = 3) -> str:
    """A Markdown table with aligned columns; `header` (C,), each row (C,)."""
    lines = [list(header), *([cell(value, digits) for value in row] for row in rows)]
    widths = [max(3, *(len(line[c]) for line in lines)) for c in range(len(header))]
    padded = ["| " + " | ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)) + " |" for line in lines]
    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return "\n".join([padded[0], rule, *padded[1:]])
