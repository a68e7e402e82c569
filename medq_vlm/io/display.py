"""Pictures for people: native values through a window to 8 bits. Never used for measuring."""

from __future__ import annotations

import numpy as np

from medq_vlm.schema import ImageSample

# (centre, width) in HU. The usual presets of CT workstations.
CT_WINDOWS = {
    "soft tissue": (40.0, 400.0),
    "lung": (-600.0, 1500.0),
    "bone": (400.0, 1800.0),
    "brain": (40.0, 80.0),
    "mediastinum": (50.0, 350.0),
    "liver": (60.0, 160.0),
}
PERCENTILES = (0.5, 99.5)  # of the valid pixels, where nothing better is known


def to_display(sample: ImageSample, index: int, window: tuple[float, float] | None = None) -> np.ndarray:
    """Slice `index` as uint8, (H, W) or (H, W, 3), inverted last where small values are shown white.

    window: (centre, width) in native units; None takes `default_window`. Colour is only scaled to 8 bits.
    """
    pixels = sample.pixels[index]
    if sample.colour:
        top = 255.0 if (sample.bits or 8) <= 8 else float(2 ** min(sample.bits or 16, 16) - 1)
        if pixels.max(initial=0) <= 1 and sample.bits in (32, 64):
            top = 1.0  # float pictures run from 0 to 1
        return np.clip(np.rint(pixels * (255.0 / top)), 0, 255).astype(np.uint8)
    shown = linear(pixels, *(window or default_window(sample)))
    return 255 - shown if sample.inverted else shown


def linear(values: np.ndarray, centre: float, width: float) -> np.ndarray:
    """The VOI function LINEAR of PS3.3 C.11.2.1.2.1 to 0..255, as uint8 of the same shape; width 1 or more.

    Narrower windows, which floats may need and LINEAR does not allow, use LINEAR_EXACT (C.11.2.1.3.2).
    """
    values = np.asarray(values, np.float64)
    if width >= 1:
        low, span, middle = centre - 0.5 - (width - 1) / 2, width - 1, centre - 0.5
    else:
        low, span, middle = centre - width / 2, width, centre
    if span <= 0:
        scaled = np.where(values <= low, 0.0, 255.0)
    else:
        scaled = np.clip(((values - middle) / span + 0.5) * 255.0, 0, 255)
        scaled = np.where(values <= low, 0.0, scaled)
    return np.rint(scaled).astype(np.uint8)


def default_window(sample: ImageSample) -> tuple[float, float]:
    """(centre, width): the file's own, else the CT preset, else percentiles of the valid pixels."""
    if sample.window is not None:
        return sample.window
    if sample.modality == "ct" and sample.unit in ("HU", "HU_MOD"):
        return CT_WINDOWS["brain" if sample.anatomy == "head" else "soft tissue"]
    if sample.unit == "value" and sample.bits == 8 and sample.modality is None:
        return 128.0, 256.0  # a picture is shown as it is
    step = max(1, sample.pixels.size // 1_000_000)
    values = sample.pixels.reshape(-1)[::step]
    if sample.valid is not None:
        kept = values[sample.valid.reshape(-1)[::step]]
        values = kept if kept.size else values
    low, high = (float(v) for v in np.percentile(values, PERCENTILES))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    width = max(high - low, 1e-6)
    return (low + high) / 2, width
