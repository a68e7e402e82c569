"""What the viewer shows: slices through a window as PNG, values under the cursor, heat maps, presets.

Always from the native float pixels: nothing is windowed twice.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from app.engine import Engine
from app.store import Study
from medq_vlm.io.display import CT_WINDOWS, default_window, to_display
from medq_vlm.report.content import number, plane, shown_findings
from medq_vlm.report.picture import HEAT_RGB
from medq_vlm.schema import Assessment, ImageSample, MedQError
from medq_vlm.vocab import KIND, score_text, verdict_word

PNG_LEVEL = 1  # zlib: a 512 x 512 slice in some 10 ms; higher levels cost time and save little
HEAT_ALPHA = 170  # at most: the anatomy stays visible
UNITS = {"value": "", "BQML": "Bq/mL", "HU_MOD": "HU"}
Window = tuple[float, float]


def presets(sample: ImageSample) -> list[dict[str, Any]]:
    """Named windows (centre, width) for this image: the file's own, those of its modality, the full range."""
    if sample.colour:
        return []
    first = default_window(sample)
    out = [("from the file" if sample.window else "default", first)]
    if sample.modality == "ct" and sample.unit in ("HU", "HU_MOD"):
        out += list(CT_WINDOWS.items())
    else:
        centre, width = default_window(replace(sample, window=None, modality=None, bits=None))
        if sample.modality in ("mr", "pet", "xray", "mammography", "ultrasound"):
            out += [("bright", (centre - width / 4, width / 2)), ("dark", (centre + width / 4, width))]
        out += [("percentiles", (centre, width))]
    low, high = extent(sample)
    out.append(("full range", ((low + high) / 2, max(high - low, 1e-6))))
    return [{"name": name, "centre": centre, "width": width} for name, (centre, width) in out]


def extent(sample: ImageSample) -> tuple[float, float]:
    """Smallest and largest value."""
    return float(sample.pixels.min()), float(sample.pixels.max())


def slice_png(sample: ImageSample, index: int, window: Window | None = None) -> bytes:
    """Slice `index` as an 8-bit PNG. Raises MedQError when there is no such slice or window."""
    check_index(sample, index)
    if window is not None and not (np.isfinite(window).all() and window[1] > 0):
        raise MedQError("A window needs a finite centre and a width above 0.")
    return png(to_display(sample, index, window))


def png(picture: np.ndarray) -> bytes:
    """uint8 (H, W), (H, W, 3) or (H, W, 4) as PNG."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format="PNG", compress_level=PNG_LEVEL)
    return out.getvalue()


def heat_png(heat: np.ndarray) -> bytes:
    """A heat map (H, W), 0 to 1, as a transparent PNG to lay over the slice."""
    return png(heat_rgba(heat))


def heat_rgba(heat: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 4), transparent where nothing is."""
    rgba = np.empty((*heat.shape, 4), np.uint8)
    rgba[..., :3] = HEAT_RGB
    rgba[..., 3] = np.rint(np.clip(np.nan_to_num(heat), 0, 1) * HEAT_ALPHA)
    return rgba


def value_at(sample: ImageSample, index: int, x: int, y: int) -> str:
    """The native value of a pixel with its unit, e.g. "-1000 HU"; "padding" where there is no measurement."""
    check_index(sample, index)
    height, width = sample.pixels.shape[1:3]
    if not (0 <= x < width and 0 <= y < height):
        raise MedQError("That place is outside the image.")
    if sample.valid is not None and not sample.valid[index, y, x]:
        return "padding"
    value = sample.pixels[index, y, x]
    if sample.colour:
        return "R {} G {} B {}".format(*(number(float(v)) for v in value))
    return f"{number(float(value))} {UNITS.get(sample.unit, sample.unit)}".strip()


def check_index(sample: ImageSample, index: int) -> None:
    """Raises MedQError when there is no slice `index`."""
    if not 0 <= index < sample.slices:
        raise MedQError(f"There is no slice {index + 1}; this series has {sample.slices}.")


def worst_slice(result: Assessment) -> int | None:
    """Index of the slice with the lowest score, None without scores."""
    return int(min(result.slices, key=lambda row: row["score"])["index"]) if result.slices else None


def marked_png(engine: Engine, study: Study, number: int) -> bytes:
    """The worst slice of a finding with its box, or its heat map when it lies everywhere. Raises MedQError."""
    found = shown_findings(study.result) if study.result else []
    if not 0 <= number < len(found):
        raise MedQError("There is no such finding.")
    finding, rows = found[number], study.result.slices if study.result else ()
    first, last = finding.location.slices or (0, study.sample.slices - 1)
    index = int(min((r for r in rows if first <= r["index"] <= last), key=lambda r: r["score"])["index"])
    picture = Image.fromarray(to_display(study.sample, index)).convert("RGBA")
    if finding.location.box is not None:
        x0, y0, x1, y1 = finding.location.box
        width = max(2, max(picture.size) // 200)
        ImageDraw.Draw(picture).rectangle((x0, y0, x1 - 1, y1 - 1), outline=(240, 184, 73), width=width)
    else:
        picture.alpha_composite(Image.fromarray(heat_rgba(np.asarray(engine.heat(study, index, finding.kind)))))
    picture.thumbnail((480, 480))
    return png(np.asarray(picture.convert("RGB")))


def payload(study: Study) -> dict[str, Any]:
    """Everything the page needs to show a study; plain JSON, no pixels."""
    sample, result = study.sample, study.result
    height, width = sample.pixels.shape[1:3]
    row_mm, column_mm = sample.spacing_mm[1:]
    tall = row_mm / column_mm if row_mm and column_mm else 1.0
    return {
        "token": study.token,
        "name": study.label,
        "slices": sample.slices,
        "height": height,
        "width": width,
        "tall": tall if 0.1 < tall < 10 else 1.0,  # height of a pixel over its width
        "colour": sample.colour,
        "view": sample.view or "",
        "edges": edge_letters(sample),
        "unit": UNITS.get(sample.unit, sample.unit),
        "presets": presets(sample),
        "plane": plane(result) if result else "slice",
        "scores": [row["score"] for row in result.slices] if result else [],
        "said": [[score_text(row["score"]), verdict_word(row["score"])] for row in result.slices]
        if result else [],
        "worst": worst_slice(result) if result else None,
        "findings": [
            {"kind": f.kind, "plain": KIND[f.kind].plain, "severity": f.severity, "box": f.location.box,
             "slices": f.location.slices}
            for f in (shown_findings(result) if result else ())
        ],
    }  # fmt: skip


def edge_letters(sample: ImageSample) -> list[str]:
    """Letters of the patient's sides at the left, right, top and bottom edge; none where it is not known."""
    return list(sample.edges or ())
