"""MR degradations: noise, aliasing, truncation, spikes, shading, susceptibility (lines: mr_lines.py).

Magnitude images, linear intensity; an artefact is made in k-space or by the physics of the signal.
"""

from __future__ import annotations

import math

import torch

from medq_vlm.degrade import mr_lines
from medq_vlm.degrade.base import Degradation, Params, uniform
from medq_vlm.degrade.fields import choose, clip_box, grid, normal, seed_from, smooth_field, soft_step
from medq_vlm.degrade.fourier import AXES, centre_lines, lines, magnitude, to_image, to_kspace


def _draw_noise(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """SD of each channel up to 0.3 of the robust maximum, i.e. a signal-to-noise ratio down to about 3."""
    return {
        "variant": choose(generator, "uniform", "uniform", "g_factor", "interpolated"),
        "noise_sd": 0.3 * strength**1.5,
        "map_seed": seed_from(generator),
        "matrix_fraction": uniform(generator, 0.5, 0.8),  # acquired part of an interpolated matrix
    }


def _apply_noise(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """Rician noise: the magnitude of signal plus complex Gaussian noise (Gudbjartsson & Patz, MRM 1995)."""
    real, imaginary = normal(generator, image), normal(generator, image)
    sd = params["noise_sd"]
    if params["variant"] == "interpolated":
        # Zero-filled to a larger matrix: the noise is smooth, with the same SD.
        kept = params["matrix_fraction"]
        h, w = image.shape[-2:]
        mask = centre_lines(h, round(kept * h), image.device)[:, None]
        mask = mask & centre_lines(w, round(kept * w), image.device)[None, :]
        noise = to_image(to_kspace(torch.complex(real, imaginary)) * mask) / mask.float().mean().sqrt()
        real, imaginary = noise.real, noise.imag
    elif params["variant"] == "g_factor":
        # Parallel imaging: noise amplified where the coils overlap least, towards the middle of the object.
        y, x = grid(image)
        h, w = image.shape[-2:]
        middle = torch.exp(-2.5 * (((y / h - 0.5) ** 2) + ((x / w - 0.5) ** 2)) * 4)
        sd = sd * (0.5 + 1.1 * middle) * (0.2 * smooth_field(params["map_seed"], image, 3)).exp()
    return torch.hypot(image + sd * real, sd * imaginary)


def _draw_wraparound(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Up to half of the object's extent folds over."""
    return {
        "variant": choose(generator, "fold", "fold", "one_sided", "two_sided"),
        "phase_encode_axis": choose(generator, "row", "column"),
        "overlap_fraction": 0.5 * strength,
        "folded_gain": uniform(generator, 0.7, 1.0),  # the folded part lies farther from the coil
        "from_end": uniform(generator, 0.0, 1.0) < 0.5,
    }


def fold(image: torch.Tensor, start_px: int, period_px: int) -> torch.Tensor:
    """The image (..., H, W) as seen with a field of view of rows start to start + period, black outside.

    Rows farther out appear inside at a distance of whole periods (aliasing: y and y + n * period are one).
    """
    h = image.shape[-2]
    rows = torch.arange(h, device=image.device)
    inside = (rows - start_px) % period_px + start_px
    out = torch.zeros_like(image).index_add(-2, inside.clamp(0, h - 1), image)
    return out


def _extent(profile: torch.Tensor) -> tuple[int, int]:
    """First row and number of rows of the object in a profile (H,): above 8 % of its largest value."""
    lit = torch.nonzero(profile > 0.08 * profile.max()).flatten()
    if len(lit) == 0:
        return 0, len(profile)
    return int(lit[0]), int(lit[-1] - lit[0]) + 1


def _apply_wraparound(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """Field of view smaller than the object along the phase-encode axis; the extent is measured per image."""
    across = params["phase_encode_axis"] == "column"
    upright = image.transpose(-2, -1) if across else image
    folded = torch.stack([_wrap_one(one, params) for one in upright])
    return folded.transpose(-2, -1) if across else folded


def _wrap_one(image: torch.Tensor, params: Params) -> torch.Tensor:
    """(C, H, W) folded along the rows."""
    h = image.shape[-2]
    first, extent = _extent(image.amax(dim=0).clamp_min(0.0).mean(dim=-1))
    overlap = round(params["overlap_fraction"] * extent)
    if params["variant"] == "fold":
        period = extent - overlap
        start = first + overlap // 2
        rows = torch.arange(h, device=image.device)
        inside = (rows >= start) & (rows < start + period)
        gain = torch.where(inside, 1.0, params["folded_gain"])[:, None]
        return fold(image * gain, start, period)
    # An object longer than the image: its far end, alike to the one seen, comes in from the other side.
    out = image
    ends = (False, True) if params["variant"] == "two_sided" else (params["from_end"],)
    reach = overlap if len(ends) == 1 else overlap // 2 + overlap % 2
    for end in ends:
        tail = torch.zeros_like(image)
        if reach > 0 and end:
            tail[:, :reach] = image[:, first + extent - reach : first + extent]
        elif reach > 0:
            tail[:, h - reach :] = image[:, first : first + reach]
        out = out + params["folded_gain"] * tail
    return out


def _draw_gibbs(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Down to an eighth of the lines, on one axis or both."""
    return {
        "axes": choose(generator, "row", "column", "both", "both"),
        "kept_fraction": 0.125**strength,
    }


def truncate(kspace: torch.Tensor, axes: str, kept_fraction: float) -> torch.Tensor:
    """Zero the k-space outside the central `kept_fraction` of the lines of 'row', 'column' or 'both' axes."""
    for axis in ("row", "column"):
        if axes in (axis, "both"):
            n = kspace.shape[AXES[axis]]
            kspace = kspace * lines(centre_lines(n, round(kept_fraction * n), kspace.device), axis)
    return kspace


def _apply_gibbs(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    return magnitude(truncate(to_kspace(image), params["axes"], params["kept_fraction"]))


def _draw_bias(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Brightest to darkest place up to 36 dB (a factor of 63)."""
    return {
        "variant": choose(generator, "polynomial", "coil", "random"),
        "range_db": 36.0 * strength,
        "side_deg": uniform(generator, 0.0, 360.0),  # where the coil lies
        "field_seed": seed_from(generator),
    }


def bias_gain(image: torch.Tensor, params: Params) -> torch.Tensor:
    """Multiplicative field (H, W) with max / min = range_db and mean 1."""
    h, w = image.shape[-2:]
    y, x = grid(image)
    y, x = 2 * y / (h - 1) - 1, 2 * x / (w - 1) - 1
    if params["variant"] == "polynomial":
        seeds = torch.Generator().manual_seed(params["field_seed"])
        c = torch.randn(9, generator=seeds).tolist()
        field = c[0] * y + c[1] * x + c[2] * x * y + c[3] * y * y + c[4] * x * x
        field = field + 0.5 * (c[5] * y**3 + c[6] * x**3 + c[7] * y * x * x + c[8] * y * y * x)
    elif params["variant"] == "coil":
        # Surface coil just outside the object: sensitivity falls with the square of the distance.
        angle = math.radians(params["side_deg"])
        field = -torch.log((y - 1.2 * math.sin(angle)) ** 2 + (x - 1.2 * math.cos(angle)) ** 2 + 0.3)
    else:
        field = smooth_field(params["field_seed"], image, 1.5)
    field = torch.tanh((field - field.mean()) / field.std().clamp_min(1e-6))  # the corners do not take all the range
    field = (field - field.min()) / (field.max() - field.min()).clamp_min(1e-6) - 0.5
    gain = 10 ** (params["range_db"] / 20 * field)
    return gain / gain.mean()


def _apply_bias(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    shaded = image * bias_gain(image, params)
    # The scanner scales each image, so that the mean brightness stays.
    mean, shaded_mean = (each.mean(dim=(1, 2, 3), keepdim=True) for each in (image, shaded))
    return shaded * torch.where(shaded_mean > 1e-6, mean / shaded_mean.clamp_min(1e-6), 1.0)


def _draw_spike(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Stripes of up to half the robust maximum from one to four discharges of one to three samples."""
    points = 1 + int(3.999 * uniform(generator, 0.0, 1.0) ** 2)
    spikes = [
        {
            "radius_fraction": uniform(generator, 0.03, 0.6),  # of the Nyquist frequency
            "angle_deg": uniform(generator, 0.0, 360.0),
            "phase_deg": uniform(generator, 0.0, 360.0),
            "samples": 1 + int(3 * uniform(generator, 0.0, 1.0) ** 2),  # in a row along the readout
        }
        for _ in range(points)
    ]
    return {"stripe_amplitude": 0.5 * strength**1.5 / math.sqrt(points), "spikes": spikes}


def _apply_spike(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """A discharge adds to single k-space samples: stripes over the whole image, also over air."""
    h, w = image.shape[-2:]
    kspace = to_kspace(image).clone()
    for spike in params["spikes"]:
        angle, radius = math.radians(spike["angle_deg"]), spike["radius_fraction"] / 2
        row = min(h - 1, h // 2 + round(radius * math.sin(angle) * h))
        column = min(w - 1, w // 2 + round(radius * math.cos(angle) * w))
        phase = math.radians(spike["phase_deg"])
        height = params["stripe_amplitude"] * h * w / math.sqrt(spike["samples"])
        bad = slice(column, column + spike["samples"])
        kspace[..., row, bad] += height * complex(math.cos(phase), math.sin(phase))
    return magnitude(kspace)


def _draw_susceptibility(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """A metal object of up to 9 % of the shorter side in diameter."""
    h, w = size
    y, x = uniform(generator, 0.25, 0.75) * h, uniform(generator, 0.25, 0.75) * w
    radius = strength * 0.09 * min(size)
    reach = 3.2 * radius
    return {
        "readout_axis": choose(generator, "row", "column"),
        "y_px": y,
        "x_px": x,
        "radius_px": radius,
        "polarity": 1.0 if uniform(generator, 0.0, 1.0) < 0.5 else -1.0,
        "field_angle_deg": choose_angle(generator),
        "dephasing": uniform(generator, 0.2, 1.0) ** 2,  # spin echo small, gradient echo large: the size of the void
        "box": clip_box(x - reach, y - reach, x + reach, y + reach, size),
    }


def choose_angle(generator: torch.Generator) -> float:
    """Direction of the main field in the image plane, degrees."""
    return float(choose(generator, "0", "90")) + uniform(generator, -20.0, 20.0)


def _apply_susceptibility(
    image: torch.Tensor, params: Params, modality: str, generator: torch.Generator
) -> torch.Tensor:
    """Dipole field of a cylinder: dephasing makes a void, misplacement along the readout piles signal up."""
    radius = params["radius_px"]
    if radius <= 0:
        return image
    x0, y0, x1, y1 = params["box"]
    near = image[..., y0:y1, x0:x1]
    y, x = grid(near)
    dy, dx = y + y0 - params["y_px"], x + x0 - params["x_px"]
    distance = torch.hypot(dy, dx)
    # Field outside a long cylinder across the main field: (a / r)^2 cos 2 theta (Schenck, Med Phys 1996).
    ratio = radius / distance.clamp_min(radius)
    theta = torch.atan2(dy, dx) - math.radians(params["field_angle_deg"])
    edge = 1 - soft_step(distance - 2.7 * radius, radius)  # nothing beyond the box
    field = ratio**2 * torch.cos(2 * theta) * edge
    metal = soft_step(distance - radius, 0.4 * radius + 1)
    void = torch.exp(-params["dephasing"] * 6 * ratio**4 * edge) * metal
    out = image.clone()
    shift_px = params["polarity"] * 1.3 * radius * field
    moved = _misplace(near * void, shift_px, params["readout_axis"])
    out[..., y0:y1, x0:x1] = near + edge * (moved - near)
    return out


def _misplace(image: torch.Tensor, shift_px: torch.Tensor, axis: str, parts: int = 4) -> torch.Tensor:
    """Move the signal of each pixel by shift_px (H, W) along an axis; signal is kept.

    Every pixel is moved in `parts` pieces, each split between two pixels, so that a stretched region stays
    smooth.
    """
    dim = AXES[axis]
    n = image.shape[dim]
    if n < 2:
        return image
    index = torch.arange(n, device=image.device, dtype=torch.float32)
    slope = torch.gradient(shift_px, dim=dim)[0]
    out = torch.zeros_like(image)
    for piece in range(parts):
        inside = (piece + 0.5) / parts - 0.5
        to = (lines(index, axis) + inside + shift_px + inside * slope).clamp(0, n - 1)
        low = to.floor().clamp_max(n - 2)
        part = to - low
        at = low.long().expand(image.shape)
        out.scatter_add_(dim, at, image * (1 - part) / parts)
        out.scatter_add_(dim, at + 1, image * part / parts)
    return out


DEGRADATIONS = (
    Degradation("mr_noise", _draw_noise, _apply_noise),
    *mr_lines.DEGRADATIONS,
    Degradation("wraparound", _draw_wraparound, _apply_wraparound),
    Degradation("gibbs_ringing", _draw_gibbs, _apply_gibbs),
    Degradation("bias_field", _draw_bias, _apply_bias),
    Degradation("spike", _draw_spike, _apply_spike),
    Degradation("susceptibility", _draw_susceptibility, _apply_susceptibility),
)
