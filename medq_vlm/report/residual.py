"""The residual as a picture: what a restoration added (red) and took away (blue), with its scale."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from medq_vlm.report.content import number

BAR_PX, MARGIN_PX, LABEL_PX = 18, 12, 84
TOP = 99.8  # percentile of the size of the change that has full colour
STOPS = ((5, 48, 97), (67, 147, 195), (247, 247, 247), (214, 96, 77), (103, 0, 31))  # ColorBrewer RdBu, blue to red


def coloured(residual: np.ndarray, top: float) -> np.ndarray:
    """(H, W) native change as uint8 (H, W, 3); -top is dark blue, 0 white, top dark red."""
    place = np.clip(residual / max(top, 1e-12), -1, 1)
    ends = np.linspace(-1, 1, len(STOPS))
    return np.stack([np.interp(place, ends, [stop[c] for stop in STOPS]) for c in range(3)], -1).astype(np.uint8)


def full_scale(residual: np.ndarray) -> float:
    """The change that has full colour."""
    return float(np.percentile(np.abs(residual), TOP)) or float(np.abs(residual).max())


def residual_png(residual: np.ndarray, unit: str, top: float | None = None) -> bytes:
    """PNG of one slice's change (H, W) or (H, W, 3), of colour the mean, with a scale in native units at the right."""
    plane = residual.mean(-1) if residual.ndim == 3 else residual
    top = full_scale(plane) if top is None else top
    picture = coloured(plane, top)
    height, width = plane.shape
    tall = max(height, 120)
    page = Image.new("RGB", (width + MARGIN_PX + BAR_PX + LABEL_PX, tall), "white")
    page.paste(Image.fromarray(picture), (0, 0))
    ramp = np.repeat(np.linspace(top, -top, tall - 32)[:, None], BAR_PX, 1) if top else np.zeros((tall - 32, BAR_PX))
    left = width + MARGIN_PX
    page.paste(Image.fromarray(coloured(ramp, top)), (left, 16))
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(12)
    words = "" if unit == "value" else f" {unit}"
    for value, y in ((top, 16), (0.0, tall // 2), (-top, tall - 17)):
        sign = "+" if value > 0 else "-" if value < 0 else ""  # the font has no minus sign
        draw.text((left + BAR_PX + 6, y), f"{sign}{number(abs(value))}{words}", "black", font, anchor="lm")
    out = io.BytesIO()
    page.save(out, "PNG", optimize=True)
    return out.getvalue()
