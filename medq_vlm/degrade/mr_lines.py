"""MR faults of the line-by-line acquisition: motion, ghosting, undersampling. All act on k-space lines.

Line n of N lies at spatial frequency (n - N // 2) / N along the phase-encode axis ('row': stacked downwards).
"""

from __future__ import annotations

import math

import torch

from medq_vlm.degrade.base import Degradation, Params, uniform
from medq_vlm.degrade.fields import choose, ellipse, rotate, seed_from
from medq_vlm.degrade.fourier import AXES, centre_lines, frequency, lines, magnitude, to_kspace

MAX_POSES = 6  # each rotated pose costs one interpolation and one transform


def _draw_motion(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Rigid motion up to 6 % of the field of view and 14 degrees; breathing up to 3 %."""
    variant = choose(generator, "sudden", "periodic", "continuous")
    axis = choose(generator, "row", "column")
    direction_deg = uniform(generator, 0.0, 180.0)
    onset = uniform(generator, 0.01, 0.07)  # distance of the motion from the centre of k-space
    side = 1.0 if uniform(generator, 0.0, 1.0) < 0.5 else -1.0
    turn = uniform(generator, 0.3, 1.0)
    return {
        "variant": variant,
        "phase_encode_axis": axis,
        "shift_px": strength * (0.03 if variant == "periodic" else 0.06) * min(size),
        "angle_deg": strength * 14.0 * turn * side,
        "direction_deg": direction_deg,
        "onset_fraction": 0.5 + side * onset,  # of the acquisition, at which a sudden motion happens
        "cycles": uniform(generator, 3.0, 14.0),  # breaths during the acquisition
        "shots": int(choose(generator, "1", "1", "4")),  # 1: lines in order; 4: interleaved shots
        "trajectory_seed": seed_from(generator),
    }


def _acquisition_time(n: int, shots: int, device: torch.device) -> torch.Tensor:
    """When each line (n,) is acquired, 0 to 1: in order, or every `shots`-th line in turn."""
    index = torch.arange(n, device=device)
    order = (index % shots) * math.ceil(n / shots) + index // shots
    return order / max(1, n - 1)


def _apply_motion(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """Each line sees the object in its pose at that moment; the pose at the k-space centre is rest."""
    axis = params["phase_encode_axis"]
    n = image.shape[AXES[axis]]
    time = _acquisition_time(n, params["shots"], image.device)
    if params["variant"] == "periodic":
        # Breathing: translation along a fixed direction, a phase ramp per line.
        wave = torch.sin(2 * math.pi * params["cycles"] * (time - time[n // 2]))
        return magnitude(_translate(to_kspace(image), params, wave * params["shift_px"], axis))
    if params["variant"] == "sudden":
        late = time >= params["onset_fraction"]
        amount = torch.where(late == late[n // 2], 0.0, 1.0)
        poses = torch.tensor([0.0, 1.0])
    else:
        walk = torch.randn(MAX_POSES, generator=torch.Generator().manual_seed(params["trajectory_seed"])).cumsum(0)
        # Positions of the head at MAX_POSES moments, the largest 1, at rest when the centre is acquired.
        moment = (time * MAX_POSES).long().clamp_max(MAX_POSES - 1)
        walk = walk - walk[int(moment[n // 2])]
        poses = walk / walk.abs().max().clamp_min(1e-6)
        amount = poses.to(image.device)[moment]
    kspace = torch.zeros_like(image, dtype=torch.complex64)
    for pose in poses.unique().tolist():
        posed = image if pose == 0 else rotate(image, pose * params["angle_deg"], padding="zeros")
        kspace = kspace + to_kspace(posed) * lines(amount == pose, axis)
    return magnitude(_translate(kspace, params, amount * params["shift_px"], axis))


def _translate(kspace: torch.Tensor, params: Params, shift_px: torch.Tensor, axis: str) -> torch.Tensor:
    """Shift the object by shift_px[n] along direction_deg during line n (Fourier shift theorem)."""
    h, w = kspace.shape[-2:]
    fy, fx = frequency(h, kspace.device)[:, None], frequency(w, kspace.device)[None, :]
    angle = math.radians(params["direction_deg"])
    along = fy * math.sin(angle) + fx * math.cos(angle)
    return kspace * torch.exp(-2j * math.pi * along * lines(shift_px, axis))


def _draw_ghosting(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Ghosts of up to 0.8 of the signal."""
    h, w = size
    variant = choose(generator, "amplitude", "phase", "shot", "pulsation")
    return {
        "variant": variant,
        "phase_encode_axis": choose(generator, "row", "column"),
        "ghosts": 2 + int(uniform(generator, 0.0, 4.0)),  # lines per period: copies every FOV / ghosts
        "ghost_fraction": 0.8 * strength,
        "shot_seed": seed_from(generator),
        "pulsating_y_px": uniform(generator, 0.35, 0.65) * h,
        "pulsating_x_px": uniform(generator, 0.35, 0.65) * w,
        "pulsating_radius_px": uniform(generator, 0.2, 0.35) * min(h, w),
    }


def _apply_ghosting(image: torch.Tensor, params: Params, modality: str, generator: torch.Generator) -> torch.Tensor:
    """Lines modulated with a period of `ghosts` lines: copies of the object at multiples of FOV / ghosts."""
    axis, period, amount = params["phase_encode_axis"], params["ghosts"], params["ghost_fraction"]
    n = image.shape[AXES[axis]]
    line = torch.arange(n, device=image.device) - n // 2
    wave = torch.cos(2 * math.pi * line / period)  # period 2: +1, -1
    if params["variant"] == "phase":
        # cos(a) of the object stays, sin(a) goes to the ghosts.
        factor = torch.exp(1j * math.asin(amount) * wave)
    elif params["variant"] == "shot":
        seeds = torch.Generator().manual_seed(params["shot_seed"])
        shot = torch.randn((2, max(period, 3)), generator=seeds).to(image.device)
        shot = (shot - shot.mean(dim=1, keepdim=True)) / shot.std(dim=1, keepdim=True)
        of_line = line % shot.shape[1]
        factor = (1 + 0.5 * amount * shot[0][of_line]) * torch.exp(1j * amount * shot[1][of_line])
    else:
        factor = (1 + amount * wave).to(torch.complex64)
    if params["variant"] != "pulsation":
        return magnitude(to_kspace(image) * lines(factor, axis))
    # Heart or vessel: one region changes from line to line out of step with the lines, the rest is still.
    y, x, radius = (params[f"pulsating_{name}_px"] for name in ("y", "x", "radius"))
    moving = image * ellipse(image, y, x, radius, radius, rim_px=radius / 2)
    pulse = 2 * amount * torch.cos(2 * math.pi * line / (period + 0.37))
    return magnitude(to_kspace(image) + to_kspace(moving) * lines(pulse, axis))


def _draw_undersampling(strength: float, modality: str, generator: torch.Generator, size: tuple[int, int]) -> Params:
    """Acceleration 1 to 8 (radial: to 22) with a fully sampled centre of 4 to 10 % of the lines."""
    variant = choose(generator, "uniform", "random", "jittered", "radial", "partial_fourier")
    return {
        "variant": variant,
        "phase_encode_axis": choose(generator, "row", "column"),
        "acceleration": 8.0 ** (strength * (1.5 if variant == "radial" else 1.0)),
        "centre_fraction": uniform(generator, 0.04, 0.1),
        "missing_fraction": 0.45 * strength,  # of the lines, from one end (partial Fourier)
        "offset_lines": int(uniform(generator, 0.0, 8.0)),
        "mask_seed": seed_from(generator),
    }


def sampling_mask(params: Params, h: int, w: int) -> torch.Tensor:
    """Which k-space samples are acquired, bool (H, W), zero frequency at the centre.

    Line masks: every R-th line (uniform), density falling from the centre (random), one line at random in
    each run of R (jittered, Poisson-disc-like), one end missing and the root of the acceleration
    (partial_fourier); radial: spokes through the centre on the Cartesian grid. Lustig et al., MRM 2007.
    """
    axis, rate = params["phase_encode_axis"], params["acceleration"]
    n = h if axis == "row" else w
    seeds = torch.Generator().manual_seed(params["mask_seed"])
    if params["variant"] == "radial":
        y = torch.arange(h)[:, None] - h // 2
        x = (torch.arange(w)[None, :] - w // 2) * (h / w)
        spokes = max(4, round(math.pi / 2 * h / rate))
        turn = torch.atan2(y.float(), x) * spokes / math.pi + float(torch.rand((), generator=seeds))
        distance_px = torch.hypot(y.float(), x) * (turn - turn.round()).abs() * math.pi / spokes
        return distance_px <= 0.75
    line = torch.arange(n)
    if params["variant"] == "uniform":
        keep = ((line + params["offset_lines"]) / rate).floor() != ((line + params["offset_lines"] - 1) / rate).floor()
    elif params["variant"] == "jittered":
        cell = (line / rate).floor().long()
        chance = torch.rand(n, generator=seeds)
        best = torch.zeros(int(cell.max()) + 1).scatter_reduce(0, cell, chance, "amax")
        keep = chance == best[cell]
    else:
        partial = params["variant"] == "partial_fourier"
        density = (1 - (line - n // 2).abs() / (n / 2)).clamp_min(0.05) ** (0.0 if partial else 1.0)
        order = (torch.rand(n, generator=seeds).clamp_min(1e-9).log() / density).argsort(descending=True)
        keep = torch.zeros(n, dtype=torch.bool)
        keep[order[: round(n / (rate**0.5 if partial else rate))]] = True
        if partial:
            keep[: round(params["missing_fraction"] * n)] = False
    keep = keep | centre_lines(n, round(params["centre_fraction"] * n), torch.device("cpu"))
    return lines(keep, axis).expand(h, w)


def _apply_undersampling(
    image: torch.Tensor, params: Params, modality: str, generator: torch.Generator
) -> torch.Tensor:
    mask = sampling_mask(params, image.shape[-2], image.shape[-1]).to(image.device)
    return magnitude(to_kspace(image) * mask)


DEGRADATIONS = (
    Degradation("mr_motion", _draw_motion, _apply_motion),
    Degradation("ghosting", _draw_ghosting, _apply_ghosting),
    Degradation("undersampling", _draw_undersampling, _apply_undersampling),
)
