"""Building blocks of the degradations: pixel grids, seeded noise and smooth fields, blur, soft shapes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

Box = list[int]


def grid(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixel coordinates (y as (H, 1), x as (1, W)) of an image (..., H, W), on its device."""
    h, w = image.shape[-2:]
    y = torch.arange(h, device=image.device, dtype=torch.float32)[:, None]
    x = torch.arange(w, device=image.device, dtype=torch.float32)[None, :]
    return y, x


def normal(generator: torch.Generator, like: torch.Tensor) -> torch.Tensor:
    """Standard normal values shaped like `like`; drawn on the CPU so that every device sees the same."""
    return torch.randn(like.shape, generator=generator).to(like.device)


def poisson(mean: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Counts with mean and variance `mean` (>= 0), from normal values by inverting the square-root transform.

    Anscombe (Biometrika 1948): 2 sqrt(k + 3/8) is nearly N(2 sqrt(mean + 1/8), 1). Mean exact and variance
    mean + 1/4 before rounding to counts; unlike torch.poisson it agrees between devices.
    """
    root = (mean + 0.125).sqrt() + 0.5 * normal(generator, mean)
    return (root.square() - 0.375).round().clamp_min(0.0)


def seed_from(generator: torch.Generator) -> int:
    """A seed to keep in params for structure that `apply` builds again, e.g. the outline of a blob."""
    return int(torch.randint(2**31 - 1, (), generator=generator))


def choose(generator: torch.Generator, *options: str) -> str:
    """One of `options` with equal chance."""
    return options[int(torch.randint(len(options), (), generator=generator))]


def smooth_field(seed: int, image: torch.Tensor, cells: float) -> torch.Tensor:
    """Random smooth field (H, W), mean 0 and SD 1, with about `cells` bumps along the shorter side."""
    h, w = image.shape[-2:]
    short = min(h, w)
    rows, columns = (max(2, round(cells * n / short)) + 3 for n in (h, w))
    coarse = torch.randn((1, 1, rows, columns), generator=torch.Generator().manual_seed(seed))
    field = F.interpolate(coarse, size=(h, w), mode="bicubic", align_corners=True)[0, 0]
    field = (field - field.mean()) / field.std().clamp_min(1e-6)
    return field.to(image.device)


def blur(image: torch.Tensor, sd_px: float) -> torch.Tensor:
    """Gaussian blur of (B, C, H, W) with reflected edges; a wide one runs on a reduced grid."""
    if sd_px < 0.05:
        return image
    h, w = image.shape[-2:]
    step = min(int(sd_px // 4), h // 8, w // 8)
    if step >= 2:
        small = F.adaptive_avg_pool2d(image, (math.ceil(h / step), math.ceil(w / step)))
        small = blur(small, sd_px / step)
        return F.interpolate(small, size=(h, w), mode="bilinear", align_corners=False)
    pad = max(1, min(math.ceil(3 * sd_px), h - 1, w - 1))
    padded = F.pad(image, (pad, pad, pad, pad), mode="reflect")
    rows, columns = padded.shape[-2:]
    fy = torch.fft.fftfreq(rows, device=image.device)[:, None]
    fx = torch.fft.rfftfreq(columns, device=image.device)[None, :]
    response = torch.exp(-2 * (math.pi * sd_px) ** 2 * (fy * fy + fx * fx))
    out = torch.fft.irfft2(torch.fft.rfft2(padded) * response, s=(rows, columns))
    return out[..., pad : pad + h, pad : pad + w]


def warp(image: torch.Tensor, y: torch.Tensor, x: torch.Tensor, padding: str = "border") -> torch.Tensor:
    """Sample (B, C, H, W) at pixel coordinates y, x (H, W), bilinear. padding: 'border' or 'zeros'."""
    b, _, h, w = image.shape
    y, x = torch.broadcast_tensors(y, x)
    at = torch.stack((2 * x / (w - 1) - 1, 2 * y / (h - 1) - 1), dim=-1)  # (H, W, 2), x first
    at = at[None].expand(b, *at.shape)
    return F.grid_sample(image, at, mode="bilinear", padding_mode=padding, align_corners=True)


def rotate(image: torch.Tensor, angle_deg: float, padding: str = "border") -> torch.Tensor:
    """Turn (B, C, H, W) about its centre by `angle_deg` (counter-clockwise as seen), same size."""
    h, w = image.shape[-2:]
    y, x = grid(image)
    y, x = y - (h - 1) / 2, x - (w - 1) / 2
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return warp(image, c * y + s * x + (h - 1) / 2, c * x - s * y + (w - 1) / 2, padding)


def soft_step(value: torch.Tensor, width: float) -> torch.Tensor:
    """0 below -width / 2, 1 above width / 2, a smooth cubic between."""
    t = (value / max(width, 1e-6) + 0.5).clamp(0.0, 1.0)
    return t * t * (3 - 2 * t)


def ellipse(
    image: torch.Tensor,
    cy: float,
    cx: float,
    ry: float,
    rx: float,
    angle_deg: float = 0.0,
    rim_px: float = 1.0,
) -> torch.Tensor:
    """Filled ellipse (H, W), 1 inside and 0 outside, with a soft rim of `rim_px` inwards; all in pixels."""
    y, x = grid(image)
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    u = ((x - cx) * c + (y - cy) * s) / max(rx, 1e-3)
    v = ((y - cy) * c - (x - cx) * s) / max(ry, 1e-3)
    inside_px = (1 - (u * u + v * v).sqrt()) * min(rx, ry)
    return soft_step(inside_px - rim_px / 2, rim_px)


def clip_box(x0: float, y0: float, x1: float, y1: float, size: tuple[int, int]) -> Box:
    """Integer box [x0, y0, x1, y1] that covers the given one, kept inside an image of `size` (H, W)."""
    h, w = size
    left, top = min(max(0, math.floor(x0)), w - 1), min(max(0, math.floor(y0)), h - 1)
    return [left, top, max(left + 1, min(w, math.ceil(x1))), max(top + 1, min(h, math.ceil(y1)))]


def join_boxes(boxes: list[Box]) -> Box:
    """The smallest box around all of `boxes` (at least one)."""
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return [min(x0), min(y0), max(x1), max(y1)]
