"""One U-Net for all restoration tasks, led by the description through a modulation of every block.

Convolutions alone see the pixels, so that a tile is restored as the whole image would be; what must be known of the
whole image (exposure, light, kind of picture) comes from a small view of it, which every tile shares. Output = input
plus a smooth curve of the small view plus a residual, both zero at first: an untrained network is the identity.
After NAFNet (Chen et al., ECCV 2022), with plain convolutions, which are faster on a CPU, and no normalisation; FiLM
(Perez et al., AAAI 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from medq_vlm.config import RestorerConfig
from medq_vlm.restore.guidance import GuidanceTensors
from medq_vlm.restore.text import Lead

THUMBNAIL_PX = 64
PLANES = 3  # RGB, or the slice before, the slice, the slice after
BLACK, RANGE = -2.0, 4.0  # of the network's numbers
BANDS = 6 * PLANES + 1  # mean, three fine ones, near, far, and the place
DETAIL_GAIN = 5.0
CURVE_GAIN, RESIDUAL_GAIN, SHRINK_GAIN = (
    0.1,
    0.1,
    0.3,
)  # a step of the optimiser moves all pixels alike, so it moves them little
MAP_WIDTH = 16
CURVE_TERMS = 3  # constant, linear, square


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


def take_apart(planes: torch.Tensor) -> Bands:
    mean, fine = to_haar(planes).split((PLANES, 3 * PLANES), 1)
    near = mean - F.avg_pool2d(mean, 3, 1, 1, count_include_pad=False)
    far = mean - F.avg_pool2d(mean, 9, 1, 4, count_include_pad=False)
    return Bands(mean, fine, near, far)


def thumbnail(planes: torch.Tensor) -> torch.Tensor:
    """(B, 1 or 3, H, W) -> (B, 3, THUMBNAIL_PX, THUMBNAIL_PX): the whole image, its aspect squeezed."""
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    small = F.interpolate(planes, size, mode="bilinear", antialias=True, align_corners=False)
    return small.expand(-1, PLANES, -1, -1)


class Block(nn.Module):
    """Convolution, modulation, rectifier, convolution, added to the input."""

    def __init__(self, width: int, lead_width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.film = nn.Linear(lead_width, 2 * width)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)
        nn.init.kaiming_normal_(self.first.weight, nonlinearity="relu")
        nn.init.kaiming_normal_(self.second.weight, nonlinearity="linear")
        with torch.no_grad():
            self.second.weight.mul_(0.5)  # no normalisation: small steps keep the sum of many blocks in range

    def forward(self, x: torch.Tensor, lead: torch.Tensor) -> torch.Tensor:
        scale, shift = self.film(lead)[:, :, None, None].chunk(2, 1)
        # one pass over the pixels each: memory, not arithmetic, is what full resolution costs
        return x + self.second(F.relu_(torch.addcmul(shift, self.first(x), 1 + scale)))


class Context(nn.Module):
    """The small view -> pooled features for the lead, then a map of features and of curves under it."""

    def __init__(self, width: int, lead_width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(PLANES + 2, width, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )
        self.deep = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, width, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )
        self.blocks = nn.ModuleList([Block(width, lead_width) for _ in range(2)])
        self.map = nn.Conv2d(width, MAP_WIDTH, 1)
        self.curve = nn.Conv2d(width, CURVE_TERMS * PLANES, 1)
        nn.init.zeros_(self.curve.weight)
        nn.init.zeros_(self.curve.bias)

    def see(self, small: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 3, T, T) -> features (B, W, T / 4, T / 4), pooled (B, 2 W): mean and spread."""
        side = torch.linspace(-1, 1, small.shape[-1], device=small.device)
        place = torch.stack(torch.meshgrid(side, side, indexing="ij")).expand(small.shape[0], -1, -1, -1)
        features = self.deep(self.stem(torch.cat([small, place], 1)))
        return features, torch.cat([features.mean((2, 3)), features.std((2, 3))], 1)

    def forward(self, features: torch.Tensor, lead: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (B, MAP_WIDTH, t, t) and curve terms (B, 9, t, t)."""
        for block in self.blocks:
            features = block(features, lead)
        return self.map(features), self.curve(features)


class RestorationNet(nn.Module):
    """planes, place, thumbnail, guidance -> restored planes."""

    def __init__(self, config: RestorerConfig) -> None:
        super().__init__()
        self.config = config
        widths, lead = config.widths, config.lead_width
        self.lead = Lead(config.word_width, config.context_width, lead)
        self.context = Context(config.context_width, lead)
        self.head = nn.Conv2d(BANDS, widths[0], 3, padding=1)
        self.join = nn.Conv2d(MAP_WIDTH, widths[0], 1)
        self.down_blocks = nn.ModuleList(
            nn.ModuleList(Block(width, lead) for _ in range(count))
            for width, count in zip(widths, config.blocks, strict=True)
        )
        steps = list(pairwise(widths))
        self.downs = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.ups = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in steps)
        self.up_blocks = nn.ModuleList(
            nn.ModuleList(Block(width, lead) for _ in range(count))
            for width, count in zip(widths[:-1], config.up_blocks, strict=True)
        )
        self.tail = nn.Conv2d(widths[0], 9 * PLANES, 3, padding=1)  # see `residual`
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)
        for plain in (self.head, self.join, *self.downs):
            nn.init.kaiming_normal_(plain.weight, nonlinearity="linear")
        for up in self.ups:  # a pixel of the fine level has one pixel of the coarse one
            nn.init.normal_(up.weight, std=up.in_channels**-0.5)

    @property
    def multiple(self) -> int:
        """Sides are padded to a multiple of this many pixels."""
        return 2 ** len(self.config.widths)

    def forward(
        self,
        planes: torch.Tensor,
        place: torch.Tensor,
        small: torch.Tensor,
        guidance: GuidanceTensors,
        box: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Restored planes (B, 3, H, W) in the network's range; of a grey image the middle one counts.

        planes: (B, 3, H, W), a tile or the whole; place: (B, 1, H, W), 1 where a finding lies; small: (B, 3, T, T),
        `thumbnail` of the whole image; box: (B, 4) x0, y0, x1, y1 of the tile as fractions of the whole, None: all.
        """
        height, width = planes.shape[-2:]
        features, seen = self.context.see(small)
        lead = self.lead(guidance, seen)
        context_map, curve_map = self.context(features, lead)
        padded = _pad(torch.cat([planes, place], 1), self.multiple)
        box = _grown(box, padded.shape[-2:], (height, width), planes)
        fine = (padded.shape[-2] // 2, padded.shape[-1] // 2)
        bands = take_apart(padded[:, :PLANES])
        # Neighbouring pixels are nearly equal: a network fed with pixels learns brightness first and noise very late.
        amplified = DETAIL_GAIN * torch.cat([bands.fine, bands.near, bands.far / 2], 1)
        seen_here = torch.cat([bands.mean, amplified, F.avg_pool2d(padded[:, PLANES:], 2)], 1)
        x = self.head(seen_here) + self.join(_window(context_map, box, fine))
        skips = []
        for level, blocks in enumerate(self.down_blocks):
            for block in blocks:
                x = block(x, lead)
            if level < len(self.downs):
                skips.append(x)
                x = self.downs[level](x)
        for level in reversed(range(len(self.ups))):
            x = self.ups[level](x) + skips[level]
            for block in self.up_blocks[level]:
                x = block(x, lead)
        residual = self.residual(x, bands)[..., :height, :width]
        curves = CURVE_GAIN * _window(curve_map, box, (padded.shape[-2], padded.shape[-1]))[..., :height, :width]
        constant, linear, square = curves.chunk(CURVE_TERMS, 1)
        level = (planes - BLACK) / RANGE
        return planes + residual + constant + level * (linear + square * level)

    def residual(self, x: torch.Tensor, bands: Bands) -> torch.Tensor:
        """Features at half size -> what is added to the pixels: new detail, and the old weakened or strengthened.

        Weakened by so much in the bands is shrinkage, the classical denoiser; strengthened is sharpening. Both are
        learnt in few steps because the band itself gives the direction.
        """
        new, fine, near, far = self.tail(x).split((4 * PLANES, 3 * PLANES, PLANES, PLANES), 1)
        added = RESIDUAL_GAIN * new
        mean = added[:, :PLANES] + SHRINK_GAIN * (near * bands.near + far * bands.far)
        return from_haar(torch.cat([mean, added[:, PLANES:] + SHRINK_GAIN * fine * bands.fine], 1))


def _pad(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Pad (B, C, H, W) at the bottom and the right by its last row and column."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def _grown(
    box: torch.Tensor | None, padded: torch.Size | tuple[int, ...], size: tuple[int, int], like: torch.Tensor
) -> torch.Tensor:
    """The box (B, 4) of the padded tile."""
    if box is None:
        box = like.new_tensor([0.0, 0.0, 1.0, 1.0]).expand(like.shape[0], 4)
    x0, y0, x1, y1 = box.unbind(1)
    return torch.stack([x0, y0, x0 + (x1 - x0) * (padded[1] / size[1]), y0 + (y1 - y0) * (padded[0] / size[0])], 1)


def _window(whole: torch.Tensor, box: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The part of a low-resolution map (B, C, t, t) under `box`, bilinear, resampled to `size`.

    Two matrix products: their gradient costs a tenth of grid_sample's.
    """
    x0, y0, x1, y1 = box.unbind(1)
    rows = _weights(y0, y1, size[0], whole.shape[2])  # B h t
    columns = _weights(x0, x1, size[1], whole.shape[3])  # B w t
    return rows[:, None] @ whole @ columns[:, None].mT


def _weights(first: torch.Tensor, last: torch.Tensor, count: int, cells: int) -> torch.Tensor:
    """(B, count, cells) bilinear weights of pixel centres spread from `first` to `last`, fractions of the cells."""
    step = (torch.arange(count, device=first.device) + 0.5) / count
    at = (first[:, None] + (last - first)[:, None] * step) * cells - 0.5
    at = at.clamp(0, cells - 1)
    return (1 - (at[..., None] - torch.arange(cells, device=first.device)).abs()).clamp(min=0)
