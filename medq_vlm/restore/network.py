"""One U-Net for all restoration tasks, led by the description through a modulation of every block.

Convolutions alone see the pixels, so that a tile is restored as the whole image would be; what must be known of the
whole image (exposure, light, kind of picture) comes from a small view of it, which every tile shares. First the light
is set right (light.py), then output = input plus a residual; where optics proposes a sharper image (proposal.py), the
network says where to trust it.
After NAFNet (Chen et al., ECCV 2022), with plain convolutions, which are faster on a CPU, and no normalisation; FiLM
(Perez et al., AAAI 2018).
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from medq_vlm.config import RestorerConfig
from medq_vlm.restore.bands import LEAST_ENERGY, LEVELS, PLANES, THUMBNAIL_PX, Bands, from_haar, take_apart, to_haar
from medq_vlm.restore.guidance import GuidanceTensors
from medq_vlm.restore.light import Light
from medq_vlm.restore.text import NAMED, Lead, Wish

INPUTS = (1 + 2 * LEVELS) * PLANES + 1  # means, bands, their energies, the place
WHOLE = PLANES + LEVELS  # planes of `whole_view`
DETAIL_GAIN = 5.0
# A step of the optimiser moves all pixels alike, so it moves them little.
NAMED_GAIN, RESIDUAL_GAIN, SHRINK_GAIN = 2.0, 0.1, 0.3
FIRST_TRUST = 0.3  # in a proposal, before anything is learnt of it
MAP_WIDTH = 16


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


class Stage(nn.ModuleList):
    """Blocks of one level, one after the other."""

    def __init__(self, width: int, lead_width: int, count: int) -> None:
        super().__init__(Block(width, lead_width) for _ in range(count))

    def forward(self, x: torch.Tensor, lead: torch.Tensor) -> torch.Tensor:
        for block in self:
            x = block(x, lead)
        return x


class Context(nn.Module):
    """The small view -> pooled features for the lead, then a map of features under it."""

    def __init__(self, width: int, lead_width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(WHOLE + 2, width, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )
        self.deep = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, width, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )
        self.blocks = nn.ModuleList([Block(width, lead_width) for _ in range(2)])
        self.map = nn.Conv2d(width, MAP_WIDTH, 1)

    def see(self, small: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, WHOLE, T, T) -> features (B, W, T / 4, T / 4), pooled (B, 2 W): mean and spread."""
        side = torch.linspace(-1, 1, small.shape[-1], device=small.device)
        place = torch.stack(torch.meshgrid(side, side, indexing="ij")).expand(small.shape[0], -1, -1, -1)
        features = self.deep(self.stem(torch.cat([small, place], 1)))
        return features, torch.cat([features.mean((2, 3)), features.std((2, 3))], 1)

    def forward(self, features: torch.Tensor, lead: torch.Tensor) -> torch.Tensor:
        """Map (B, MAP_WIDTH, t, t)."""
        for block in self.blocks:
            features = block(features, lead)
        return self.map(features)


class RestorationNet(nn.Module):
    """planes, place, thumbnail, guidance -> restored planes."""

    def __init__(self, config: RestorerConfig) -> None:
        super().__init__()
        self.config = config
        widths, lead = config.widths, config.lead_width
        self.lead = Lead(config.word_width, config.context_width, lead)
        self.light = Light(config.light_width)
        self.context = Context(config.context_width, lead)
        self.head = nn.Conv2d(INPUTS, widths[0], 3, padding=1)
        self.join = nn.Conv2d(MAP_WIDTH, widths[0], 1)
        self.down_blocks = nn.ModuleList(
            Stage(width, lead, count) for width, count in zip(widths, config.blocks, strict=True)
        )
        steps = list(pairwise(widths))
        self.downs = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.ups = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in steps)
        self.up_blocks = nn.ModuleList(
            Stage(width, lead, count) for width, count in zip(widths[:-1], config.up_blocks, strict=True)
        )
        self.tail = nn.Conv2d(widths[0], (4 + LEVELS) * PLANES, 3, padding=1)  # see `residual`
        self.wiener = nn.Linear(lead, 2 * LEVELS)
        self.offered = nn.Conv2d(4 * PLANES, widths[0], 3, padding=1, bias=False)  # a proposal's difference, seen
        self.trust = nn.Conv2d(widths[0], 2, 3, padding=1)  # in its means and in its fine detail
        for layer in (self.tail, self.wiener, self.offered, self.trust):
            _zero(layer)
        nn.init.constant_(self.trust.bias, FIRST_TRUST)  # type: ignore[arg-type]
        self.named = nn.Linear(NAMED, 2 * LEVELS, bias=False)  # adds to it
        _zero(self.named)
        for plain in (self.head, self.join, *self.downs):
            nn.init.kaiming_normal_(plain.weight, nonlinearity="linear")
        for up, (_, coarse) in zip(self.ups, steps, strict=True):  # a fine pixel comes from one coarse pixel
            nn.init.normal_(up.weight, std=coarse**-0.5)  # type: ignore[arg-type]

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
        proposal: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Restored planes (B, 3, H, W) in the network's range; of a grey image the middle one counts.

        planes: (B, 3, H, W), a tile or the whole; place: (B, 1, H, W), 1 where a finding lies; small: (B, WHOLE, T, T),
        `whole_view` of the image; box: (B, 4) x0, y0, x1, y1 of the tile as fractions of the whole, None: all;
        proposal: like planes, equal to them where nothing is proposed.
        """
        height, width = planes.shape[-2:]
        wish = self.lead.read(guidance)
        (planes, proposal), small = self.relight((planes, proposal), small, wish, box)
        features, seen = self.context.see(small)
        heights = small[:, PLANES:, 0, 0]  # B LEVELS
        lead = self.lead(wish, torch.cat([seen, heights / 4 + 1], 1))
        context_map = self.context(features, lead)
        padded = _pad(torch.cat([planes, place], 1), self.multiple)
        box = _grown(box, padded.shape[-2:], (height, width), planes)
        fine = (padded.shape[-2] // 2, padded.shape[-1] // 2)
        bands = take_apart(padded[:, :PLANES])
        # Neighbouring pixels are nearly equal: a network fed with pixels learns brightness first and noise very late.
        amplified = DETAIL_GAIN * torch.cat(bands.parts(), 1)
        energy = torch.cat([F.avg_pool2d(b.square(), 5, 1, 2, count_include_pad=False) for b in bands.parts()], 1)
        above = torch.log(energy + LEAST_ENERGY) - heights.repeat_interleave(PLANES, 1)[:, :, None, None]
        seen_here = torch.cat([bands.mean, amplified, above / 4, F.avg_pool2d(padded[:, PLANES:], 2)], 1)
        x = self.head(seen_here) + self.join(_window(context_map, box, fine))
        offer = None
        if proposal is not None:
            offer = to_haar(_pad(proposal - planes, self.multiple))
            x = x + self.offered(DETAIL_GAIN * offer)
        skips = []
        for level, stage in enumerate(self.down_blocks):
            x = stage(x, lead)
            if level < len(self.downs):
                skips.append(x)
                x = self.downs[level](x)
        for level in reversed(range(len(self.ups))):
            x = self.ups[level](x) + skips[level]
            x = self.up_blocks[level](x, lead)
        shrunk = self.shrink(self.wiener(lead) + NAMED_GAIN * self.named(wish.named), above)
        return planes + self.residual(x, bands, shrunk, offer)[..., :height, :width]

    def relight(
        self, images: tuple[torch.Tensor, torch.Tensor | None], small: torch.Tensor, wish: Wish,
        box: torch.Tensor | None,
    ) -> tuple[tuple[torch.Tensor, torch.Tensor | None], torch.Tensor]:  # fmt: skip
        """Planes, proposal and small view in the right light; noise grows with the slope of the curve."""
        planes, proposal = images
        relit = self.light(small[:, :PLANES], wish)
        whole = planes.new_tensor([0.0, 0.0, 1.0, 1.0]).expand(len(planes), 4)
        there = _window(relit.gains, whole if box is None else box, (planes.shape[-2], planes.shape[-1]))
        seen, steeper = relit.apply(small[:, :PLANES], _window(relit.gains, whole, (THUMBNAIL_PX, THUMBNAIL_PX)))
        levels = small[:, PLANES:] + 2 * steeper[:, None, None, None]  # logarithms of energies
        both = (relit.apply(planes, there)[0], None if proposal is None else relit.apply(proposal, there)[0])
        return both, torch.cat([seen, levels], 1)

    def shrink(self, rule: torch.Tensor, above: torch.Tensor) -> torch.Tensor:
        """Factor (B, LEVELS * 3, h, w) by which each band changes: the Wiener rule with a strength and a threshold.

        above: logarithm of the local energy over the image's level. Weak detail is noise and goes (strength above 0)
        or is what defocus took and grows (below 0). Both numbers (B, 2 LEVELS) come from the lead
        alone, so they are learnt first.
        """
        strength, threshold = rule.repeat_interleave(PLANES, 1)[:, :, None, None].chunk(2, 1)
        return -strength * torch.sigmoid(threshold + 1 - above)

    def residual(self, x: torch.Tensor, bands: Bands, shrunk: torch.Tensor, offer: torch.Tensor | None) -> torch.Tensor:
        """Features at half size -> what is added to the pixels: new detail, the old weakened or strengthened, an offer.

        Bands and offer give the direction, so that the network has only to say how much and where.
        """
        new, factor = self.tail(x).split((4 * PLANES, LEVELS * PLANES), 1)
        parts = (SHRINK_GAIN * factor + shrunk) * torch.cat(bands.parts(), 1)
        fine, near, far = parts.split((3 * PLANES, PLANES, PLANES), 1)
        added = RESIDUAL_GAIN * new
        out = torch.cat([added[:, :PLANES] + near + far, added[:, PLANES:] + fine], 1)
        if offer is not None:
            mean, detail = self.trust(x).split(1, 1)
            out = out + torch.cat([mean * offer[:, :PLANES], detail * offer[:, PLANES:]], 1)
        return from_haar(out)


def _zero(layer: nn.Module) -> None:
    for value in layer.parameters():
        nn.init.zeros_(value)


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
