"""The pictures of a report: the displayed slice, the heat overlay, and which boxes belong on it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from medq_vlm.report.content import shown_findings
from medq_vlm.schema import Assessment, MedQError

LONGEST_SIDE = 1200  # pixels embedded; boxes keep the native coordinates
HEAT_RGB = (230, 159, 0)  # Okabe-Ito orange, told from grey by every kind of colour vision


@dataclass(frozen=True)
class Mark:
    """A finding's region on the displayed slice, native pixels."""

    number: int  # the finding's number in the report, from 1
    box: tuple[int, int, int, int]  # x0, y0, x1, y1


@dataclass(frozen=True)
class Picture:
    """What a report draws. Sizes and boxes are in native pixels; the embedded image may be smaller."""

    width: int
    height: int
    display: Image.Image
    heat: Image.Image | None  # RGBA, alpha is the heat
    marks: tuple[Mark, ...]
    slice_index: int


def make_picture(assessment: Assessment, images: Mapping[str, Any]) -> Picture:
    """Check `images` and prepare them.

    `images`: "display" uint8 (H, W) or (H, W, 3), windowed for the eye; optional "heat" float (H, W), 0 to 1,
    1 = contributes most to the loss of quality; optional "slice_index", from 0. Boxes are drawn when their
    finding lies on the displayed slice. Raises MedQError when an array has another type or shape.
    """
    display = np.asarray(images["display"])
    if display.dtype != np.uint8 or display.ndim not in (2, 3) or (display.ndim == 3 and display.shape[2] != 3):
        given = f"{display.dtype} {display.shape}"
        raise MedQError(f"A report needs a display image of uint8 (H, W) or (H, W, 3), not {given}.")
    height, width = display.shape[:2]
    size = _fitted(width, height)
    heat = None
    if images.get("heat") is not None:
        values = np.asarray(images["heat"], dtype=np.float64)
        if values.shape != (height, width):
            raise MedQError(f"The heat map {values.shape} must have the size of the image {(height, width)}.")
        alpha = np.rint(np.clip(np.nan_to_num(values), 0, 1) * 190).astype(np.uint8)  # 190: the anatomy stays visible
        rgba = np.empty((height, width, 4), np.uint8)
        rgba[..., :3], rgba[..., 3] = HEAT_RGB, alpha
        heat = Image.fromarray(rgba).resize(size, Image.Resampling.BILINEAR)
    slice_index = int(images.get("slice_index") or 0)
    return Picture(
        width=width,
        height=height,
        display=Image.fromarray(display).resize(size, Image.Resampling.LANCZOS),
        heat=heat,
        marks=_marks(assessment, slice_index, width, height),
        slice_index=slice_index,
    )


def _fitted(width: int, height: int) -> tuple[int, int]:
    factor = min(1.0, LONGEST_SIDE / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _marks(assessment: Assessment, slice_index: int, width: int, height: int) -> tuple[Mark, ...]:
    marks = []
    for number, finding in enumerate(shown_findings(assessment), start=1):
        location = finding.location
        if location.box is None:
            continue
        if location.slices is not None and not location.slices[0] <= slice_index <= location.slices[1]:
            continue
        x0, y0, x1, y1 = location.box
        box = (max(0, x0), max(0, y0), min(width, x1), min(height, y1))
        if box[2] > box[0] and box[3] > box[1]:
            marks.append(Mark(number, box))
    return tuple(marks)


def data_uri(image: Image.Image) -> str:
    """PNG data URI."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
