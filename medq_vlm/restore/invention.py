"""Guard against invention: is a restoration's change larger, or of another shape, than its findings justify?

Three questions, asked slice by slice:
1. How much: the rms change against what a degradation of the found kinds and severities does to an image
   (`JUSTIFIED`, measured). Noise that was measured in the image allows its own size.
2. Where noise alone was treated, how much of the change follows the anatomy: noise is blind to it.
3. Where noise alone was treated, is there a spot whose pixels all moved the same way: noise has none, a lesion that
   was made or erased is one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from medq_vlm import vocab
from medq_vlm.restore.restoration import Restoration
from medq_vlm.schema import Assessment, ImageSample

# rms change at severity 1, 2, 3, 4 as a share of the image's range: python -m training.justified_change
JUSTIFIED: dict[str, dict[str, tuple[float, float, float, float]]] = {
    "low_dose_noise": {"ct": (0.004, 0.004, 0.007, 0.025)},
    "sparse_view": {"ct": (0.007, 0.016, 0.033, 0.063)},
    "metal": {"ct": (0.012, 0.027, 0.074, 0.172)},
    "noise": {
        "ct": (0.009, 0.019, 0.031, 0.062),
        "mr": (0.038, 0.067, 0.112, 0.174),
        "xray": (0.022, 0.045, 0.067, 0.106),
        "mammography": (0.032, 0.072, 0.129, 0.223),
        "pet": (0.018, 0.039, 0.065, 0.095),
        "optical": (0.063, 0.116, 0.186, 0.246),
    },
    "undersampling": {"mr": (0.063, 0.094, 0.118, 0.130)},
    "mr_motion": {"mr": (0.020, 0.046, 0.106, 0.183)},
    "low_resolution": {"mr": (0.041, 0.062, 0.086, 0.135)},
    "mr_noise": {"mr": (0.025, 0.049, 0.092, 0.154)},
    "quantum_mottle": {"xray": (0.013, 0.033, 0.064, 0.086), "mammography": (0.008, 0.020, 0.039, 0.056)},
    "underexposure": {
        "xray": (0.217, 0.342, 0.455, 0.580),
        "mammography": (0.123, 0.184, 0.242, 0.415),
        "optical": (0.676, 0.965, 1.174, 1.374),
    },
    "overexposure": {
        "xray": (0.164, 0.213, 0.269, 0.321),
        "mammography": (0.116, 0.245, 0.346, 0.401),
        "optical": (0.551, 0.739, 0.741, 0.741),
    },
    "low_count_noise": {"pet": (0.020, 0.030, 0.064, 0.094)},
    "blur": {"optical": (0.044, 0.065, 0.087, 0.123)},
    "defocus": {"optical": (0.050, 0.068, 0.092, 0.132)},
    "uneven_illumination": {"optical": (0.365, 0.430, 0.488, 0.591)},
}
NOISES = ("noise", "low_dose_noise", "mr_noise", "low_count_noise", "quantum_mottle")
UNNAMED = 1.0  # severity that a kind counts for when a person names it and the assessment does not
DOUBT = 0.5  # severities are estimates: half a grade more is still justified
MARGIN = 1.25  # of the largest change that was measured
TONES = ("underexposure", "overexposure", "uneven_illumination")
TONE_MARGIN = 2.0  # how much a curve of tones moves depends on the content more than on the severity
NOISE_FACTOR = 1.6  # rms of what is taken away over the measured noise, which is the most frequent, not the mean
STRUCTURE_FROM = 0.35  # share of a noise residual that may follow the anatomy
SPOT_FROM = 1.6  # mean of a spot over the rms around it
SPOT_PX, AROUND_PX = 3.0, 33  # a lesion's radius, the neighbourhood it is compared with
LEAST_SPOT = 0.02  # of the range: smaller changes are no lesion
BLOCK_PX = 16
_SAMPLED = 200_000  # pixels, enough for a percentile


@dataclass(frozen=True)
class Spot:
    """A place where neighbouring pixels moved together."""

    slice_index: int
    box: tuple[int, int, int, int]  # x0, y0, x1, y1
    strength: float  # mean change over the rms of the change around it
    change: float  # mean change, native units


@dataclass(frozen=True)
class Justification:
    """What the guard found."""

    change_share: float  # of the worst slice: rms change over the image's range
    allowed_share: float  # that the findings justify; infinite where nothing can be said
    structure: float  # 0 to 1: share of the change that follows the anatomy, worst slice
    spot: Spot | None  # the strongest, noise restorations alone
    warnings: tuple[str, ...]

    @property
    def justified(self) -> bool:
        return not self.warnings


def check(before: ImageSample, restoration: Restoration, assessment: Assessment) -> Justification:
    """Judge a restoration of `before` by the findings of `assessment`, never by what a person asked for."""
    after = restoration.sample
    if restoration.unchanged:
        return Justification(0.0, 0.0, 0.0, None, ())
    modality = str(assessment.modality.value)
    found = {finding.kind: finding.severity_value for finding in assessment.findings}
    severities = {kind: found.get(kind, UNNAMED) for kind in restoration.treated}
    shares = [change_share(before.pixels[i : i + 1], after.pixels[i : i + 1]) for i in range(before.slices)]
    span = max(_range(before.pixels), _range(after.pixels))
    noise_share = noise_of(assessment) / (span if before.unit == "HU" else 1.0)
    allowed = allowed_share(severities, modality, noise_share)
    warnings = []
    worst = int(np.argmax(shares))
    if shares[worst] > allowed:
        warnings.append(
            f"The restoration changed more than the findings justify ({_percent(shares[worst])} of the range"
            f"{_slice_words(worst, before.slices)}, at most {_percent(allowed)} expected): what it shows may be "
            "invented."
        )
    noise_only = bool(restoration.treated) and all(kind in NOISES for kind in restoration.treated)
    residual = grey(restoration.residual)
    parts = [structure(residual[i], grey(after.pixels)[i]) for i in range(before.slices)]
    spot = None
    if noise_only:
        if max(parts) > STRUCTURE_FROM:
            warnings.append(
                f"{_percent(max(parts))} of what was taken away as noise"
                f"{_slice_words(int(np.argmax(parts)), before.slices)} follows the anatomy: fine detail may be lost."
            )
        spots = [one for i in range(before.slices) if (one := strongest_spot(residual[i], i)) is not None]
        spot = max(spots, key=lambda one: one.strength, default=None)
        if spot is not None and spot.strength > SPOT_FROM and abs(spot.change) > LEAST_SPOT * span:
            x0, y0, x1, y1 = spot.box
            warnings.append(
                f"A compact spot changed as a whole at x {x0} to {x1}, y {y0} to {y1}"
                f"{_slice_words(spot.slice_index, before.slices)}, which noise does not do: compare with the original "
                "there."
            )
    return Justification(shares[worst], allowed, max(parts), spot, tuple(warnings))


def group_of(modality: str) -> str:
    """Column of JUSTIFIED: the modality, "optical" for all optical ones."""
    return "optical" if modality in vocab.OPTICAL else modality


def allowed_share(severities: dict[str, float], modality: str, noise_share: float = 0.0) -> float:
    """Largest justified rms change as a share of the range; independent causes add as squares.

    noise_share: noise SD that was measured, as a share of the range; it counts where a kind of noise was treated.
    """
    squares = [0.0]
    for kind, severity in severities.items():
        row = JUSTIFIED.get(kind, {}).get(group_of(modality))
        if row is None:
            continue
        margin = TONE_MARGIN if kind in TONES else MARGIN
        table = margin * float(np.interp(severity + DOUBT, (0, 1, 2, 3, 4), (0.0, *row)))
        squares.append(max(table, NOISE_FACTOR * noise_share if kind in NOISES else 0.0) ** 2)
    return float(np.sqrt(sum(squares)))


def noise_of(assessment: Assessment) -> float:
    """Measured noise SD: HU of CT, else a share of the range; 0 where it was not measured."""
    return next((m.value for m in assessment.evidence if m.name == "noise_sd" and np.isfinite(m.value)), 0.0)


def change_share(before: np.ndarray, after: np.ndarray) -> float:
    """rms of (after - before) over the wider of their robust ranges (1st to 99th percentile)."""
    rms = float(np.sqrt(np.mean(np.square(after - before, dtype=np.float64))))
    return rms / max(_range(before), _range(after), 1e-9)


def structure(residual: np.ndarray, restored: np.ndarray) -> float:
    """Share of the energy of a residual (H, W) that the restored image's edges explain, 0 (noise) to 1.

    In blocks, least squares of the residual on both gradients and the Laplacian of the smoothed image, with R squared
    corrected for three free coefficients (Theil 1961), weighted by the residual's energy.
    """
    smooth = ndimage.gaussian_filter(restored.astype(np.float32), 1.0)
    rows, columns = (n // BLOCK_PX * BLOCK_PX for n in residual.shape)
    if not rows or not columns:
        return 0.0
    basis = [*np.gradient(smooth), ndimage.laplace(smooth)]
    x = np.stack([_blocks(one[:rows, :columns]) for one in basis], -1)  # block, pixel, 3
    y = _blocks(residual[:rows, :columns].astype(np.float32))
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    x /= np.sqrt(np.square(x).mean(1, keepdims=True)) + 1e-12
    gram = np.einsum("npi,npj->nij", x, x) + 1e-3 * np.eye(3, dtype=np.float32)
    cross = np.einsum("npi,np->ni", x, y)
    explained = np.einsum("ni,ni->n", np.linalg.solve(gram, cross[..., None])[..., 0], cross)
    energy = np.square(y).sum(1)
    n = BLOCK_PX * BLOCK_PX
    left = np.minimum((energy - explained) * (n - 1) / (n - 4), energy)
    return float(np.clip(1 - left.sum() / max(float(energy.sum()), 1e-12), 0, 1))


def strongest_spot(residual: np.ndarray, slice_index: int = 0) -> Spot | None:
    """The place of a residual (H, W) where the mean over a lesion's size stands out most from the rms around it."""
    work = residual.astype(np.float32)
    mean = ndimage.gaussian_filter(work, SPOT_PX)
    around = np.sqrt(np.maximum(ndimage.uniform_filter(work * work, AROUND_PX), 0))
    floor = 0.25 * float(np.sqrt(np.mean(np.square(work)))) + 1e-12  # nothing stands out from next to nothing
    ratio = np.abs(mean) / np.maximum(around, floor)
    y, x = np.unravel_index(int(ratio.argmax()), ratio.shape)
    if ratio[y, x] <= 0:
        return None
    half = round(2 * SPOT_PX)
    height, width = work.shape
    box = (max(0, int(x) - half), max(0, int(y) - half), min(width, int(x) + half), min(height, int(y) + half))
    return Spot(slice_index, box, float(ratio[y, x]), float(mean[y, x]))


def grey(pixels: np.ndarray) -> np.ndarray:
    """(S, H, W) of (S, H, W) or (S, H, W, 3)."""
    return pixels.mean(-1) if pixels.ndim == 4 else pixels


def _range(pixels: np.ndarray) -> float:
    values = pixels.reshape(-1)
    low, high = np.percentile(values[:: max(1, values.size // _SAMPLED)], (1, 99))
    return float(high - low)


def _blocks(plane: np.ndarray) -> np.ndarray:
    """(H, W) -> (blocks, pixels of a block)."""
    rows, columns = (n // BLOCK_PX for n in plane.shape)
    return plane.reshape(rows, BLOCK_PX, columns, BLOCK_PX).swapaxes(1, 2).reshape(rows * columns, -1)


def _percent(share: float) -> str:
    return f"{100 * share:.{0 if share >= 0.1 else 1}f} %"


def _slice_words(index: int, slices: int) -> str:
    return f" in slice {index + 1}" if slices != 1 else ""
