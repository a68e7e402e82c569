"""Exposure and illumination: one curve of grey levels for the whole image, and a smooth gain, from its small view.

Both are closed forms that a small network fills in: a wrong exposure is a monotone curve (Hurter and Driffield, 1890),
uneven light a smooth factor (retinex: Land and McCann, J. Opt. Soc. Am. 61:1, 1971). Nothing else can come out of
them, so no detail can be invented here, and a view of 64 x 64 pixels is enough to learn them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from medq_vlm.restore.bands import PLANES
from medq_vlm.restore.text import MODALITY_WIDTH, NAMED, Wish

BLACK, RANGE = -2.0, 4.0  # of the network's numbers: level = (number - BLACK) / RANGE
KNOTS = 18  # of the curve, dense at both ends, where a film's curve bends
STEEPEST = 4.5  # logarithm of the steepest slope and of the largest gain
QUANTILES = 33
GAIN_PX = 16  # side of the grid of gains
OFFSET_GAIN = 0.2


@dataclass(frozen=True)
class Relit:
    """How light changes: number -> curve of its level, times the gain at its place."""

    offset: torch.Tensor  # (B, 1) of the curve at level 0
    slopes: torch.Tensor  # (B, KNOTS - 1) between the knots, above 0
    gains: torch.Tensor  # (B, 1, GAIN_PX, GAIN_PX) logarithm

    def apply(self, planes: torch.Tensor, gains: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Planes (B, 3, H, W) in new light, and how much steeper they are (B,): mean logarithm.

        gains: (B, 1, H, W), `self.gains` resampled to the planes. Computed as a change, which is exactly nothing where
        slopes are 1 and gains 0.
        """
        level = ((planes - BLACK) / RANGE).contiguous()
        knots = curve_knots().to(level)
        lift = (self.slopes - 1) * knots.diff()
        lifts = torch.cat([self.offset, self.offset + lift.cumsum(1)], 1)  # of the knots
        segment = torch.bucketize(level, knots[1:-1])  # B 3 H W
        flat = segment.flatten(1)
        slope = self.slopes.gather(1, flat).view_as(level)
        change = lifts.gather(1, flat).view_as(level) + (slope - 1) * (level - knots[segment])
        change = change + (level + change) * torch.expm1(gains)
        return planes + RANGE * change, (slope.log() + gains).mean((1, 2, 3))


def curve_knots() -> torch.Tensor:
    """(KNOTS,) levels 0 to 1, evenly spaced in the film's logarithmic exposure."""
    inner = torch.sigmoid(torch.linspace(-5.0, 5.0, KNOTS - 2))
    return torch.cat([torch.zeros(1), inner, torch.ones(1)])


class Light(nn.Module):
    """Small view and guidance -> Relit; the identity before it is trained."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.asked = nn.Linear(NAMED + MODALITY_WIDTH, 2 * width)
        self.stem = nn.Conv2d(PLANES + 2, width, 3, stride=2, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.deep = nn.Conv2d(2 * width, 2 * width, 3, padding=2, dilation=2)
        self.wide = nn.Conv2d(2 * width, 2 * width, 3, padding=4, dilation=4)
        self.field = nn.Conv2d(2 * width, 1, 1)
        self.tone = nn.Sequential(
            nn.Linear(QUANTILES + 6 * width, 4 * width), nn.GELU(), nn.Linear(4 * width, 4 * width), nn.GELU()
        )  # fmt: skip
        self.curve = nn.Linear(4 * width, KNOTS)
        for value in (*self.field.parameters(), *self.curve.parameters()):
            nn.init.zeros_(value)

    def forward(self, small: torch.Tensor, wish: Wish) -> Relit:
        """small: (B, 3, T, T) in the network's range."""
        level = ((small - BLACK) / RANGE).clamp(-0.2, 1.5)
        side = torch.linspace(-1, 1, small.shape[-1], device=small.device)
        place = torch.stack(torch.meshgrid(side, side, indexing="ij")).expand(len(small), -1, -1, -1)
        asked = self.asked(torch.cat([wish.named, wish.modality], 1))
        seen = F.relu(self.stem(torch.cat([torch.log(level.clamp_min(0) + 0.02), place], 1)))
        seen = F.relu(self.down(seen) + asked[:, :, None, None])
        seen = seen + self.deep(seen)
        seen = F.relu(seen + self.wide(F.relu(seen)))
        ordered = level[..., ::2, ::2].flatten(1).sort(1).values
        spread = ordered[:, torch.linspace(0, ordered.shape[1] - 1, QUANTILES, device=small.device).long()]
        told = torch.cat([torch.logit(spread.clamp(0.003, 0.997)) / 3, asked, seen.mean((2, 3)), seen.std((2, 3))], 1)
        offset, steep = self.curve(self.tone(told)).split((1, KNOTS - 1), 1)
        slopes = (STEEPEST * torch.tanh(steep / STEEPEST)).exp()
        gains = STEEPEST * torch.tanh(self.field(seen) / STEEPEST)
        return Relit(OFFSET_GAIN * offset, slopes, gains)
