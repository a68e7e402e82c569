"""An image taken apart into bands of detail, and the small view of the whole that every tile shares."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

PLANES = 3  # RGB, or the slice before, the slice, the slice after
THUMBNAIL_PX = 64
LEVELS = 5  # horizontal, vertical, diagonal, near, far
LEAST_ENERGY = 1e-5
_SAMPLED_PX = 128  # per side, enough for a median


def to_haar(x: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) -> (B, 4 C, H / 2, W / 2): means, then horizontal, vertical and diagonal differences."""
    a, b, c, d = x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]
    up, down, out, across = a + b, c + d, a - b, c - d
    return torch.cat([up + down, out + across, up - down, out - across], 1) / 4


def from_haar(bands: torch.Tensor) -> torch.Tensor:
    """The inverse of `to_haar`."""
    mean, horizontal, vertical, diagonal = bands.chunk(4, 1)
    up, down, out, across = mean + vertical, mean - vertical, horizontal + diagonal, horizontal - diagonal
    parts = torch.stack([up + out, up - out, down + across, down - across], 2)  # B C 4 h w
    return F.pixel_shuffle(parts.flatten(1, 2), 2)


@dataclass(frozen=True)
class Bands:
    """An image taken apart at half size; each (B, 3 or 9, H / 2, W / 2)."""

    mean: torch.Tensor  # Haar means
    fine: torch.Tensor  # Haar differences: horizontal, vertical, diagonal
    near: torch.Tensor  # the means without their surroundings of 3 x 3 ...
    far: torch.Tensor  # ... and of 9 x 9

    def parts(self) -> list[torch.Tensor]:
        """LEVELS tensors (B, 3, h, w)."""
        return [*self.fine.chunk(3, 1), self.near, self.far]


def take_apart(planes: torch.Tensor) -> Bands:
    mean, fine = to_haar(planes).split((PLANES, 3 * PLANES), 1)
    near = mean - F.avg_pool2d(mean, 3, 1, 1, count_include_pad=False)
    far = mean - F.avg_pool2d(mean, 9, 1, 4, count_include_pad=False)
    return Bands(mean, fine, near, far)


def whole_view(planes: torch.Tensor) -> torch.Tensor:
    """(B, 1 or 3, H, W) -> (B, 3 + LEVELS, T, T): thumbnail, and the level of each band as a constant plane."""
    small = thumbnail(planes)
    return torch.cat([small, levels(planes)[:, :, None, None].expand(-1, -1, THUMBNAIL_PX, THUMBNAIL_PX)], 1)


def levels(planes: torch.Tensor) -> torch.Tensor:
    """(B, LEVELS) logarithm of each band's median energy: mostly the noise, for detail is rare (Donoho, 1994)."""
    height, width = (side // 2 * 2 for side in planes.shape[-2:])
    bands = take_apart(planes[..., :height, :width].expand(-1, PLANES, -1, -1))
    step = max(1, -(-min(height, width) // (2 * _SAMPLED_PX)))
    energy = [part[..., ::step, ::step].square().mean(1).flatten(1).median(1).values for part in bands.parts()]
    return torch.log(torch.stack(energy, 1) + LEAST_ENERGY)


def thumbnail(planes: torch.Tensor) -> torch.Tensor:
    """(B, 1 or 3, H, W) -> (B, 3, THUMBNAIL_PX, THUMBNAIL_PX): the whole image, its aspect squeezed."""
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    small = F.interpolate(planes, size, mode="bilinear", antialias=True, align_corners=False)
    return small.expand(-1, PLANES, -1, -1)
