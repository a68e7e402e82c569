"""Measured numbers with unit, direction, expected range and source: what an assessment rests on besides the scorer."""

from __future__ import annotations

import math

import numpy as np

from medq_vlm import vocab
from medq_vlm.evidence import compression, coverage, ct, exposure, mr, noise, optical, sharpness
from medq_vlm.evidence import spectrum as spectral
from medq_vlm.evidence.expected import MEASURE, MEASURES, expected_for, for_kind
from medq_vlm.evidence.filters import picks
from medq_vlm.evidence.foreground import foreground, luminance
from medq_vlm.evidence.stats_spectrum import by_rings, power_of
from medq_vlm.intensity import linear_quantiles
from medq_vlm.schema import Measurement, MedQError

__all__ = ["MEASURES", "expected_for", "for_kind", "foreground", "stamped", "values"]

SMALLEST = 32  # pixels a side; below it no measure has enough pixels to stand on


def values(
    pixels: np.ndarray,
    modality: str | None,
    unit: str,
    spacing_mm: tuple[float | None, float | None],
    valid: np.ndarray | None,
    inverted: bool = False,
) -> dict[str, float]:
    """Measured numbers of one slice by name; NaN where a measure cannot be read.

    pixels: (H, W) or (H, W, 3) in native units; unit: "HU" for CT numbers; spacing_mm: row, column, None unknown;
    valid: (H, W) bool, False on padding; inverted: small values are shown white. A measure is left out when it has no
    meaning in the modality; an image under 32 pixels a side has none. Raises MedQError for another shape.
    """
    shape_is_right = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    if not shape_is_right or (valid is not None and valid.shape != pixels.shape[:2]):
        raise MedQError(
            f"Evidence is measured on one slice, (H, W) or (H, W, 3), with a mask of its size; got {pixels.shape}"
            + (f" with {valid.shape}." if valid is not None else ".")
        )
    if min(pixels.shape[:2]) < SMALLEST:
        return {}
    finite = np.isfinite(pixels)
    if not finite.all():
        usable = finite if pixels.ndim == 2 else finite.all(2)
        valid = usable if valid is None else valid & usable
        pixels = np.where(finite, pixels, np.float32(0))
    pixels = np.asarray(pixels, np.float32)
    mask = foreground(pixels, modality, unit, valid, inverted)
    if np.count_nonzero(mask) < SMALLEST * SMALLEST // 4:
        return {}
    grey = luminance(pixels)
    if valid is not None and not valid.all():
        # padding often lies far outside the range; the body's minimum keeps it from making edges and spectra
        grey = np.where(valid, grey, grey[valid].min())
    return _values(pixels, grey, mask, modality, unit, spacing_mm, inverted)


def stamped(
    values: dict[str, float],
    modality: str | None,
    unit: str,
    spacing_mm: tuple[float | None, float | None],
    anatomy: str | None = None,
) -> tuple[Measurement, ...]:
    """Measured numbers with unit, direction, expected range and source, in the order of MEASURES.

    What could not be read from the image (a ghost where there is no air, and so on) is left out. anatomy: of
    vocab.ANATOMIES, where sure; the rest as for `values`.
    """
    known_spacing = None not in spacing_mm
    return tuple(
        _stamp(name, values[name], expected_for(name, modality, anatomy), unit, known_spacing)
        for name in MEASURE
        if name in values and math.isfinite(values[name])
    )


def _values(
    pixels: np.ndarray,
    grey: np.ndarray,
    mask: np.ndarray,
    modality: str | None,
    unit: str,
    spacing_mm: tuple[float | None, float | None],
    inverted: bool,
) -> dict[str, float]:
    body = grey.ravel()[picks(mask, 50_000)]
    low, high = linear_quantiles(body, (0.005, 0.995))
    scale = high - low
    if scale <= 0:
        scale = float(grey.max() - grey.min())
    if scale <= 0:
        return {"body_share": coverage.body_share(mask), "lost_fraction": coverage.lost_fraction(grey, mask)}
    sd = noise.noise_sd(grey, mask, unit)
    edges = sharpness.strong_edges(grey, mask)
    row, column = spacing_mm
    spacing = (row, column) if row is not None and column is not None else (1.0, 1.0)
    peak, streaks, missing = _spectral(grey, low, high, scale)
    out = {
        "noise_sd": sd if unit == "HU" else sd / scale,
        "snr": noise.snr(grey, mask, sd, unit),
        "cnr": noise.cnr(grey, mask, sd, unit),
        "edge_width": sharpness.edge_width(edges, spacing),
        "blur_anisotropy": sharpness.blur_anisotropy(edges),
        "edge_overshoot": sharpness.edge_overshoot(grey, edges),
        "spectral_peak": peak,
        "clipped_fraction": exposure.clipped_fraction(grey, mask),
        "grey_levels": compression.grey_levels(grey if pixels.ndim == 2 else pixels[..., 1], mask),
        "blockiness": compression.blockiness(grey),
        "contrast_range": exposure.contrast_range(grey, mask, unit),
        "body_share": coverage.body_share(mask),
        "cut_outline": coverage.cut_outline(mask),
        "lost_fraction": coverage.lost_fraction(grey, mask),
        "tilt": coverage.tilt(mask),
    }
    if unit != "HU":
        # a level shown as void has a meaning where the range starts at black; HU zero is water
        out["brightness"] = exposure.brightness(grey, mask, inverted)
        out["void_share"] = exposure.void_share(-grey if inverted else grey, mask)
    if modality == "ct":
        out["streak_energy"] = streaks
        out["missing_angle"] = missing
        out["ring_amplitude"] = ct.ring_amplitude(grey, mask)
        if unit == "HU":
            out["cupping"] = ct.cupping(grey, mask)
            out["metal_share"] = ct.metal_share(grey, mask)
        else:
            out["ring_amplitude"] /= scale
    if modality == "mr":
        air = mr.air_of(mask)
        out["entropy_focus"] = mr.entropy_focus(grey)
        out["background_energy_ratio"] = mr.foreground_background_energy(grey, mask, air)
        out["joint_variation"] = mr.joint_variation(grey, mask)
        out["ghost_ratio"] = mr.ghost_ratio(grey, mask, air)
        out["bias_field_range"] = exposure.field_range(grey, mask)
        out["streak_energy"] = streaks
    if modality == "ultrasound":
        out["depth_falloff"] = exposure.depth_falloff(grey, mask, inverted)
        out["speckle_index"] = exposure.speckle_index(grey, mask)
    if modality in ("xray", "mammography"):
        out["asymmetry"] = coverage.asymmetry(grey, mask)
    if modality in vocab.OPTICAL:
        out["illumination_range"] = exposure.field_range(grey, mask)
    if pixels.ndim == 3:
        out["specular_fraction"] = optical.specular_fraction(pixels, mask)
        out["colour_cast"] = optical.colour_cast(pixels, mask)
        out["veil"] = optical.veil(pixels, mask)
    return out


def _spectral(grey: np.ndarray, low: float, high: float, scale: float) -> tuple[float, float, float]:
    """Peak, streak energy and missing angle; the spectrum takes ten bytes a pixel and is let go with this."""
    shown = np.clip(grey, low, high)
    shown -= np.float32(low)
    shown *= np.float32(1.0 / scale)
    power = power_of(shown)
    del shown
    found = by_rings(power, grey.shape[1])
    return spectral.spectral_peak(found), spectral.streak_energy(found), spectral.missing_angle(found)


def _stamp(name: str, value: float, words: str, unit: str, known_spacing: bool) -> Measurement:
    row = MEASURE[name]
    shown = row.unit
    if (row.unit == "HU" or name in ("noise_sd", "contrast_range")) and unit == "HU":
        shown = "HU"
    elif shown == "HU":
        shown = "range"
    elif shown == "mm" and not known_spacing:
        shown = "px"
    if (" HU" in words and unit != "HU") or (" mm" in words and name == "edge_width" and shown != "mm"):
        words = ""  # a range in another unit would mislead
    if shown == "HU" and " HU" not in words:
        words = ""  # of another modality, in shares of the range
    if " px" in words and shown != "px":
        words = ""
    return Measurement(name, value, shown, row.better, words, row.source)
