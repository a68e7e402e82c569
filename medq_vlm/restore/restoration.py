"""What a restoration gives back: the restored image, what was taken away, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medq_vlm.schema import ImageSample

CHANGED_FROM = 0.01  # of the image's range: a pixel that moved by more counts as changed
_SAMPLED = 200_000  # pixels, enough for a percentile


@dataclass(frozen=True)
class Restoration:
    """One restored image or volume. The residual is what was added: input = sample.pixels - residual."""

    sample: ImageSample  # restored; native units, shape, spacing and header facts of the input
    residual: np.ndarray  # float32, shape of the pixels: restored - input, native units
    treated: tuple[str, ...] = ()  # kinds of vocab.KIND_NAMES that were treated, worst first
    unchanged: bool = False  # the pixels came back bit-identical
    warnings: tuple[str, ...] = ()  # plain sentences
    change: dict[str, Any] = field(default_factory=dict)  # `measure_change`


def measure_change(before: ImageSample, residual: np.ndarray) -> dict[str, Any]:
    """How much changed, in native units and as a share of the input's robust range (1st to 99th percentile).

    Keys: unit, range, rms, rms_share, largest, largest_share, changed_share (of the pixels, by CHANGED_FROM of the
    range), box (x0, y0, x1, y1 around the changed pixels of all slices, None where there are none).
    """
    values = before.pixels if before.valid is None else before.pixels[before.valid]
    values = values.reshape(-1)
    low, high = np.percentile(values[:: max(1, values.size // _SAMPLED)], (1, 99)) if values.size else (0.0, 1.0)
    span = max(float(high - low), 1e-6)
    size = np.abs(residual)
    if size.ndim == 4:
        size = size.max(-1)  # S H W 3 -> S H W
    changed = size > CHANGED_FROM * span
    rms, largest = float(np.sqrt(np.mean(np.square(residual, dtype=np.float64)))), float(size.max(initial=0.0))
    return {
        "unit": before.unit, "range": span, "rms": rms, "rms_share": rms / span, "largest": largest,
        "largest_share": largest / span, "changed_share": float(changed.mean()), "box": _box(changed.any(0)),
    }  # fmt: skip


def _box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """Smallest box (x0, y0, x1, y1) around True of (H, W)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def untouched(sample: ImageSample, *warnings: str) -> Restoration:
    """The sample itself with a residual of zero."""
    residual = np.zeros(sample.pixels.shape, np.float32)
    return Restoration(sample, residual, (), True, warnings, measure_change(sample, residual))
