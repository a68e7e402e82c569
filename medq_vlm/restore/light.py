"""Exposure and illumination: one curve of grey levels for the whole image, and a smooth gain, from its small view.

Both are closed forms that a small network fills in: a wrong exposure is a monotone curve (Hurter and Driffield, 1890),
uneven light a smooth factor (retinex: Land and McCann, J. Opt. Soc. Am. 61:1, 1971). Nothing else can come out of
them, so no detail can be invented here, and a view of 64 x 64 pixels is enough to learn them. Where a fault of light is
named, the network starts from what needs no training, histogram matching to the modality's usual levels and division by
the smoothed light: it decides how much of each to believe, and bends the result. Where an exposure is named whose curve
can be run backwards, exposure.py finds that curve, and the network's own is not asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from medq_vlm import vocab
from medq_vlm.restore.bands import PLANES, THUMBNAIL_PX
from medq_vlm.restore.exposure import likely_curve, told_severities
from medq_vlm.restore.guidance import KINDS
from medq_vlm.restore.text import MODALITY_WIDTH, NAMED, Wish
from medq_vlm.treated import LIGHT_KINDS

BLACK, RANGE = -2.0, 4.0  # of the network's numbers: level = (number - BLACK) / RANGE
KNOTS = 18  # of the curve, dense at both ends, where a film's curve bends
STEEPEST = 4.5  # logarithm of the steepest slope and of the largest gain
QUANTILES = 33
GAIN_PX = 16  # side of the grid of gains
OFFSET_GAIN = 0.2
MOST_SHARE = 1.2  # of a closed form: a little more than all of it
LIGHT_SD_PX = (4.0, 8.0, 14.0)  # of the Gaussian means that stand for the light, in the small view
DARK = 0.02  # level below which there is surround, no tissue


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
    """Small view and guidance -> Relit. Before training the identity, but for a tenth of the closed forms."""

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
        self.usual = nn.Linear(
            MODALITY_WIDTH, QUANTILES
        )  # levels of clean images, `training.fit_light` solves for them
        self.believed = nn.Linear(4 * width, 1 + len(LIGHT_SD_PX))  # shares of the closed forms
        for value in (*self.field.parameters(), *self.curve.parameters(), *self.believed.parameters()):
            nn.init.zeros_(value)
        nn.init.constant_(self.believed.bias, -2.4)

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
        bent = self.tone(told)
        offset, steep = self.curve(bent).split((1, KNOTS - 1), 1)
        usual = self.usual(wish.modality)
        matched, evened = (MOST_SHARE * torch.sigmoid(self.believed(bent)) * named_light(wish)).split(
            (1, len(LIGHT_SD_PX)), 1
        )
        lifts = matched * (match(spread, usual) - curve_knots().to(small))
        slopes = _slopes(lifts)
        slopes = (slopes.log() + STEEPEST * torch.tanh(steep / STEEPEST)).clamp(-STEEPEST, STEEPEST).exp()
        offset = lifts[:, :1] + OFFSET_GAIN * offset
        even = (evened[:, :, None, None] * unevenness(level)).sum(1, keepdim=True)
        gains = STEEPEST * torch.tanh((self.field(seen) - even) / STEEPEST)
        severities = told_severities(wish)
        if bool((severities > 0).any()):
            there = (severities > 0).any(1, keepdim=True)
            knots = curve_knots().to(small)
            lifts = likely_curve(knots, spread, usual, severities, wish.index) - knots
            offset = torch.where(there, lifts[:, :1], offset)
            slopes = torch.where(there, _slopes(lifts), slopes)
            even_too = wish.named[:, [vocab.KIND_NAMES.index("uneven_illumination")]] > 0
            gains = torch.where((there & ~even_too)[:, :, None, None], 0.0, gains)
        return Relit(offset, slopes, gains)


def _slopes(lifts: torch.Tensor) -> torch.Tensor:
    """(B, KNOTS) what the knots' levels gain -> slopes (B, KNOTS - 1) between them."""
    steep = 1 + lifts.diff() / curve_knots().to(lifts).diff()
    return steep.clamp(math.exp(-STEEPEST), math.exp(STEEPEST))


def named_light(wish: Wish) -> torch.Tensor:
    """(B, 1): 1 where the findings name a fault of light; elsewhere no closed form may touch a pixel.

    Not by the text: its learnt reading never says exactly nothing, and what a person names becomes findings anyway.
    """
    columns = [vocab.KIND_NAMES.index(kind) for kind in LIGHT_KINDS]
    return (wish.named[:, :KINDS][:, columns] > 0).any(1, keepdim=True).float()


def match(own: torch.Tensor, usual: torch.Tensor) -> torch.Tensor:
    """Histogram matching: (B, KNOTS) levels that the curve's knots get when quantiles `own` (B, Q) become `usual`.

    Beyond the darkest and the brightest level the curve goes on with slope 1.
    """
    knots = curve_knots().to(own).expand(len(own), -1).contiguous()
    usual = usual.cummax(1).values
    own = (own + 1e-4 * torch.arange(own.shape[1], device=own.device)).contiguous()  # rising, so that it divides
    right = torch.searchsorted(own, knots).clamp(1, own.shape[1] - 1)
    (x0, x1), (y0, y1) = ((v.gather(1, right - 1), v.gather(1, right)) for v in (own, usual))
    inside = y0 + (y1 - y0) * ((knots - x0) / (x1 - x0)).clamp(0, 1)
    return inside + (knots - own[:, :1]).clamp_max(0) + (knots - own[:, -1:]).clamp_min(0)


def unevenness(level: torch.Tensor) -> torch.Tensor:
    """(B, 3, T, T) levels -> (B, len(LIGHT_SD_PX), GAIN_PX, GAIN_PX): logarithm of the smooth light over its median.

    Means of the lit pixels alone: a black surround is no shadow.
    """
    grey = level.mean(1, keepdim=True).clamp_min(0)
    lit = (grey > DARK).to(grey)
    fields = []
    for sd_px in LIGHT_SD_PX:
        light = _smooth(lit * grey, sd_px) / _smooth(lit, sd_px).clamp_min(1e-3)
        fields.append(F.avg_pool2d(torch.log(light.clamp_min(DARK)), THUMBNAIL_PX // GAIN_PX))
    field = torch.cat(fields, 1)
    return field - field.flatten(2).median(2).values[:, :, None, None]


def _smooth(plane: torch.Tensor, sd_px: float) -> torch.Tensor:
    """Gaussian mean of (B, 1, T, T) with repeated edges, as two matrix products."""
    at = torch.arange(plane.shape[-1], device=plane.device)
    kernel = torch.exp(-0.5 * ((at[:, None] - at) / sd_px) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    return kernel @ plane @ kernel.T
