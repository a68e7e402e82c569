"""CT artefacts made where they arise: in the projections.

Filtered back-projection is linear, so a degraded image is the clean one plus the back-projected *change* of the
sinogram. Strength 0 is then the identity to the last bit, and the clean image keeps the resolution of its own kernel.
Images are HU, (B, 1, H, W); water attenuates 0.02 / mm (about 70 keV); projections are parallel-beam.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from medq_vlm import projection
from medq_vlm.degrade.base import Degradation, Params, uniform
from medq_vlm.projection import Geometry

MU_WATER_PER_MM = 0.02
_FEW_VIEWS = projection.VIEWS // 2
AIR_HU, TOP_HU = -1024.0, 3071.0  # the range of a 12-bit scanner

# sinogram (B, V, D), geometry, params, mm per pixel, generator -> changed sinogram, view weights or None
SinogramChange = Callable[
    [torch.Tensor, Geometry, Params, float, torch.Generator], tuple[torch.Tensor, torch.Tensor | None]
]


def _scanner(generator: torch.Generator) -> Params:
    """What every CT kind draws: the field of view over the longer edge and the sharpness of the kernel."""
    return {
        "field_of_view_mm": round(uniform(generator, 350.0, 500.0), 1),
        "kernel_cutoff": round(uniform(generator, 0.8, 1.4), 3),
    }


def _back(change: torch.Tensor, geo: Geometry, params: Params, weight: torch.Tensor | None) -> torch.Tensor:
    return projection.back_project(change, geo, weight, cutoff=params["kernel_cutoff"])


def _with_sinogram(change: SinogramChange, views: int = projection.VIEWS) -> Callable[..., torch.Tensor]:
    """Wrap a sinogram change into an `apply`: HU -> attenuation -> sinogram -> change -> HU added to the image.

    Half the views are enough (and twice as fast) where the change has no sharp edges that would alias.
    """

    def apply(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
        del modality
        height, width = image.shape[-2:]
        side = projection.padded_side(height, width)
        geo = projection.geometry(side, views, image.device)
        mm_per_px = params["field_of_view_mm"] / max(height, width)
        per_px = MU_WATER_PER_MM * mm_per_px
        top, left = (side - height) // 2, (side - width) // 2
        attenuation = (1 + image.mean(1).clamp(min=-1000.0) / 1000) * per_px
        attenuation = F.pad(attenuation, (left, side - width - left, top, side - height - top))
        sinogram = projection.project(attenuation, geo).clamp(min=0)
        difference, weight = change(sinogram, geo, params, mm_per_px, generator)
        hu = _back(difference, geo, params, weight)[:, top : top + height, left : left + width] * (1000 / per_px)
        out = image + hu[:, None]
        low = torch.minimum(image.amin(), image.new_tensor(AIR_HU))
        return out.clamp(float(low), float(torch.maximum(image.amax(), image.new_tensor(TOP_HU))))

    return apply


def _measured(line: torch.Tensor, photons: float, electronic_sd: float, generator: torch.Generator) -> torch.Tensor:
    """Line integrals after counting: Poisson photons plus electronic noise, floored at one count, logarithm."""
    expected = photons * torch.exp(-line)
    counts = torch.poisson(expected.cpu(), generator=generator)
    counts += electronic_sd * torch.randn(counts.shape, generator=generator)
    return math.log(photons) - counts.to(line.device).clamp(min=1.0).log()


# --- low dose -------------------------------------------------------------------------------------------------


def _draw_low_dose(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    full, least = 4e6, 4e3  # per ray of 360 views
    photons = full * (least / full) ** strength * math.exp(uniform(generator, -0.1, 0.1))
    return {
        **_scanner(generator),
        "photons_per_ray": round(photons, 1),
        "tube_current_fraction": round(photons / full, 6),
        "electronic_noise_photons": round(uniform(generator, 2.0, 8.0), 2),
    }


def _low_dose(
    line: torch.Tensor, geo: Geometry, params: Params, mm_per_px: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor | None]:
    noisy = _measured(line, params["photons_per_ray"], params["electronic_noise_photons"], generator)
    return noisy - line, None


# --- missing views --------------------------------------------------------------------------------------------


def _draw_sparse(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    views = max(24, round(projection.VIEWS * (24 / projection.VIEWS) ** strength))
    return {
        **_scanner(generator),
        "views": views,
        "first_view": int(uniform(generator, 0, projection.VIEWS // views)),
    }


def _sparse(
    line: torch.Tensor, geo: Geometry, params: Params, mm_per_px: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor | None]:
    kept = torch.zeros(geo.views, device=line.device)
    chosen = torch.arange(params["views"], device=line.device) * geo.views // params["views"] + params["first_view"]
    kept[chosen % geo.views] = geo.views / params["views"]
    return line, kept - 1


def _draw_limited(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    return {
        **_scanner(generator),
        "missing_angle_deg": round(100.0 * strength, 2),
        "missing_from_deg": round(uniform(generator, 0.0, 180.0), 1),
    }


def _limited(
    line: torch.Tensor, geo: Geometry, params: Params, mm_per_px: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor | None]:
    angle = torch.rad2deg(geo.angles_rad())
    missing = (angle - params["missing_from_deg"]) % 180 < params["missing_angle_deg"]
    # The rest is scaled up so that the mean stays, as a scanner's normalisation does.
    return line, torch.where(missing, -1.0, geo.views / float((~missing).sum()) - 1)


# --- metal ----------------------------------------------------------------------------------------------------


def _draw_metal(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    scanner = _scanner(generator)
    largest = 0.8 + 17.0 * strength**1.5
    inserts = []
    centre_x, centre_y = uniform(generator, -0.12, 0.12), uniform(generator, -0.12, 0.12)
    for index in range(1 + int(uniform(generator, 0, 3))):
        radius = largest * (1.0 if index == 0 else uniform(generator, 0.3, 0.8))
        if index:
            centre_x, centre_y = uniform(generator, -0.2, 0.2), uniform(generator, -0.2, 0.2)
        inserts.append(
            {
                "x_px": round(size[1] * (0.5 + centre_x), 1),
                "y_px": round(size[0] * (0.5 + centre_y), 1),
                "radius_mm": round(radius, 2),
                "aspect": round(uniform(generator, 1.0, 2.5), 2),
                "angle_deg": round(uniform(generator, 0, 180), 1),
            }
        )
    reach = [i["radius_mm"] * math.sqrt(i["aspect"]) * max(size) / scanner["field_of_view_mm"] + 2 for i in inserts]
    spots = list(zip(inserts, reach, strict=True))
    return {
        **scanner,
        "box": [
            max(0, int(min(i["x_px"] - r for i, r in spots))),
            max(0, int(min(i["y_px"] - r for i, r in spots))),
            min(size[1], math.ceil(max(i["x_px"] + r for i, r in spots))),
            min(size[0], math.ceil(max(i["y_px"] + r for i, r in spots))),
        ],
        "inserts": inserts,
        "mu_per_mm": round(uniform(generator, 0.2, 0.4) * (0.3 + 0.7 * strength), 4),  # titanium 0.24, steel 0.6
        "photons_per_ray": 5e4,
    }


def _metal(
    line: torch.Tensor, geo: Geometry, params: Params, mm_per_px: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor | None]:
    angle, detector = geo.angles_rad()[:, None], geo.detector_px()[None, :]
    metal_mm = torch.zeros(geo.views, geo.grid, device=line.device)
    for insert in params["inserts"]:
        # Ellipse of semi-axes a, b: chord 2ab sqrt(s^2 - d^2) / s^2 at distance d, s the half-width seen by the view.
        long_px = insert["radius_mm"] / mm_per_px * math.sqrt(insert["aspect"])
        short_px = insert["radius_mm"] / mm_per_px / math.sqrt(insert["aspect"])
        turned = angle - math.radians(insert["angle_deg"])
        seen = (long_px * torch.cos(turned)) ** 2 + (short_px * torch.sin(turned)) ** 2
        offset = insert["dx_px"] * torch.cos(angle) + insert["dy_px"] * torch.sin(angle)
        chord = torch.zeros_like(metal_mm)
        for part in (-0.375, -0.125, 0.125, 0.375):  # a detector element averages over its width
            chord += 0.25 * (seen - (detector + part - offset) ** 2).clamp(min=0).sqrt()
        metal_mm += 2 * long_px * short_px * chord / seen * mm_per_px
    # Three energies (about 50, 70, 100 keV): metal hardens the beam, the log of the mean is not the mean of the logs.
    passed = torch.zeros_like(line)
    for share, metal_factor, tissue_factor in ((0.3, 2.2, 1.15), (0.45, 1.0, 1.0), (0.25, 0.45, 0.85)):
        passed += share * torch.exp(-metal_mm * params["mu_per_mm"] * metal_factor - line * (tissue_factor - 1))
    hardened = -torch.log(passed) + torch.log(_tissue_only(line)) + line
    through = metal_mm > 0
    noisy = _measured(hardened, params["photons_per_ray"], 5.0, generator)
    return torch.where(through, noisy - line, torch.zeros_like(line)), None


def _tissue_only(line: torch.Tensor) -> torch.Tensor:
    """Transmission ratio of the same three energies without metal, so that rays beside the metal do not change."""
    passed = torch.zeros_like(line)
    for share, tissue_factor in ((0.3, 1.15), (0.45, 1.0), (0.25, 0.85)):
        passed += share * torch.exp(-line * (tissue_factor - 1))
    return passed


def _apply_metal(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    # Record in image pixels, physics about the projector's centre.
    height, width = image.shape[-2:]
    side = projection.padded_side(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    inserts = [
        {**i, "dx_px": i["x_px"] + left - side // 2, "dy_px": i["y_px"] + top - side // 2} for i in params["inserts"]
    ]
    return _with_sinogram(_metal)(image, {**params, "inserts": inserts}, modality, generator)


# --- rings, hardening, motion ---------------------------------------------------------------------------------


def _draw_ring(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    variant = ("elements", "band", "all")[int(uniform(generator, 0, 3))]
    return {
        **_scanner(generator),
        "variant": variant,
        "gain_error": round(0.6 * strength**2 * {"elements": 1.0, "band": 0.5, "all": 0.25}[variant], 5),
        "faulty_elements": 4 + int(uniform(generator, 0, 12)),
        "radius_fraction": round(uniform(generator, 0.03, 0.3), 3),
    }


def _ring(
    line: torch.Tensor, geo: Geometry, params: Params, mm_per_px: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor | None]:
    half, centre = geo.side // 2, geo.grid // 2
    gain = torch.randn(half, generator=generator)
    place = torch.zeros(half)
    if params["variant"] == "elements":
        place[(torch.rand(params["faulty_elements"], generator=generator) * half * 0.7).long()] = 1
    elif params["variant"] == "band":
        start = int(params["radius_fraction"] * geo.side)
        place[start : start + max(4, half // 12)] = 1
    else:
        place[:] = 1
    error = torch.zeros(geo.grid)
    # Over a full turn an element sees each ray from both sides, so the error is symmetric about the centre.
    error[centre : centre + half] = params["gain_error"] * gain * place
    error[centre - half + 1 : centre + 1] = error[centre : centre + half].flip(0)
    return error.to(line.device).expand_as(line).contiguous(), None


def _draw_hardening(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    return {
        **_scanner(generator),
        "water_coefficient": round(0.10 * strength**1.5 * uniform(generator, 0.7, 1.0), 5),
        "bone_coefficient": round(0.25 * strength**1.5 * uniform(generator, 0.7, 1.0), 5),
    }


def _apply_hardening(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    height, width = image.shape[-2:]
    side = projection.padded_side(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    per_px = MU_WATER_PER_MM * params["field_of_view_mm"] / max(height, width)
    bone = (image.mean(1) - 150).clamp(min=0) / 1000 * per_px
    bone = F.pad(bone, (left, side - width - left, top, side - height - top))

    def change(
        line: torch.Tensor, geo: Geometry, params: Params, mm_per_px: float, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        bone_line = projection.project(bone, geo).clamp(min=0)
        mean = (line**2).sum((1, 2), keepdim=True) / line.sum((1, 2), keepdim=True).clamp(min=1e-6)
        # The scanner's water calibration keeps the average ray right: long rays lose, short rays gain.
        water = -params["water_coefficient"] * line * (line - mean)
        return water - params["bone_coefficient"] * bone_line * line, None

    return _with_sinogram(change, _FEW_VIEWS)(image, params, modality, generator)


def _draw_motion(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    variant = ("step", "drift", "periodic")[int(uniform(generator, 0, 3))]
    return {
        **_scanner(generator),
        "variant": variant,
        "shift_mm": round(22.0 * strength**1.5, 3),
        "shift_direction_deg": round(uniform(generator, 0, 360), 1),
        "rotation_deg": round(10.0 * strength**1.5 * uniform(generator, -1, 1), 3),
        "start_view_fraction": round(uniform(generator, 0.25, 0.6), 3),
        "cycles": round(uniform(generator, 1.5, 4.0), 2),
    }


def _motion(
    line: torch.Tensor, geo: Geometry, params: Params, mm_per_px: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor | None]:
    time = torch.arange(geo.views, device=line.device) / geo.views
    if params["variant"] == "step":
        course = (time >= params["start_view_fraction"]).float()
    elif params["variant"] == "drift":
        course = ((time - params["start_view_fraction"]) / (1 - params["start_view_fraction"])).clamp(min=0)
    else:
        course = torch.sin(2 * math.pi * params["cycles"] * time)
    # A turned object at one view looks like the resting object at another view (and mirrored past half a turn).
    source = torch.arange(geo.views, device=line.device) - torch.round(
        course * params["rotation_deg"] / 180 * geo.views
    )
    mirrored = torch.roll(line.flip(-1), 1, -1)
    wrapped = (source < 0) | (source >= geo.views)
    index = source.long() % geo.views
    moved = torch.where(wrapped[None, :, None], mirrored[:, index], line[:, index])
    direction = geo.angles_rad() - math.radians(params["shift_direction_deg"])
    shift_px = params["shift_mm"] / mm_per_px * course * torch.cos(direction)
    frequency = torch.fft.rfftfreq(geo.grid, device=line.device)
    phase = torch.exp(-2j * math.pi * frequency[None, :] * shift_px[:, None])
    moved = torch.fft.irfft(torch.fft.rfft(moved, dim=-1) * phase, n=geo.grid, dim=-1)
    return moved - line, None


DEGRADATIONS = (
    Degradation("low_dose_noise", _draw_low_dose, _with_sinogram(_low_dose, _FEW_VIEWS)),
    Degradation("sparse_view", _draw_sparse, _with_sinogram(_sparse)),
    Degradation("limited_angle", _draw_limited, _with_sinogram(_limited)),
    Degradation("metal", _draw_metal, _apply_metal),
    Degradation("ring", _draw_ring, _with_sinogram(_ring, _FEW_VIEWS)),
    Degradation("beam_hardening", _draw_hardening, _apply_hardening),
    Degradation("ct_motion", _draw_motion, _with_sinogram(_motion)),
)
