"""The slices of a volume as one: which of them decide, which stands out, and what no slice shows alone.

Hybrid convolution (CMMIQA): every slice is read in two dimensions, then slices and their neighbours in three. Salient
slices (MedIQA, which has a fixed rule of seven) are found by attention learned from the content.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from medq_vlm import vocab
from medq_vlm.config import VolumeConfig

SCALARS = 3  # score, width of its interval, share of the body
WIDTH_IN = SCALARS + len(vocab.KIND_NAMES)
BESIDE_IN = 10  # of evidence/neighbours.py, MEASURES
SEVEN = 7
EVEN = 0.7  # largest log weight of an ordinary slice: the most counts four times as much as the least
STANDING_OUT = 2.0  # log weight on top of it for a slice that is surely worse than its neighbours


@dataclass
class VolumeOutputs:
    """What the volume head says of S slices."""

    attention: torch.Tensor  # (B, S) logits: how much a slice counts, -EVEN to EVEN + STANDING_OUT
    stands_out: torch.Tensor  # (B, S) logits: worse than its neighbours
    gap: torch.Tensor  # (B, S) logits: slices are missing between this one and the next
    moved: torch.Tensor  # (B, S) logits: displaced against its neighbours


class VolumeHead(nn.Module):
    """Small network over whole volumes; any number of slices from two."""

    def __init__(self, config: VolumeConfig) -> None:
        super().__init__()
        self.config = config
        c, d = config.channels, config.width
        self.plane = nn.Sequential(  # two dimensions: each slice for itself
            nn.Conv3d(1, c, (1, 5, 5), stride=(1, 2, 2), padding=(0, 2, 2)), nn.GELU(),
            nn.Conv3d(c, 2 * c, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)), nn.GELU(),
        )  # fmt: skip
        self.space = nn.Sequential(  # three dimensions: with the neighbours
            nn.Conv3d(2 * c, 2 * c, 3, stride=(1, 2, 2), padding=1), nn.GELU(),
            nn.Conv3d(2 * c, 4 * c, 3, stride=(1, 2, 2), padding=1), nn.GELU(),
        )  # fmt: skip
        self.rows = nn.Sequential(nn.Linear(2 * WIDTH_IN, d), nn.GELU())
        self.along = _along(8 * c + d, d)
        self.heads = nn.Conv1d(d, 2, 1)
        # gaps and motion go by measured neighbours alone: small views of a few hundred volumes are learnt by heart
        self.between = _along(BESIDE_IN, d)
        self.faults = nn.Conv1d(d, 2, 1)

    def forward(self, rows: torch.Tensor, thumbs: torch.Tensor, beside: torch.Tensor) -> VolumeOutputs:
        """rows (B, S, WIDTH_IN) of `slice_row`, thumbs (B, S, t, t) in 0 to 1, beside (B, S, BESIDE_IN)."""
        return VolumeOutputs(*self.slices(rows, thumbs), *self.between_slices(beside))

    def slices(self, rows: torch.Tensor, thumbs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of the attention and of a slice that stands out, (B, S) each."""
        seen = self.plane(thumbs[:, None] - thumbs.mean((1, 2, 3), keepdim=True)[:, None])  # B C S h w
        step = F.pad(seen[:, :, 1:] - seen[:, :, :-1], (0, 0, 0, 0, 0, 1))  # to the next slice
        seen = self.space(seen + step)
        pooled = torch.cat([seen.mean((3, 4)), seen.amax((3, 4))], 1)  # B 8C S
        about = rows - rows.median(1, keepdim=True).values  # how a slice differs from the usual one of its volume
        given = self.rows(torch.cat([rows, about], -1)).transpose(1, 2)  # B D S
        plain, stands_out = self.heads(self.along(torch.cat([pooled, given], 1))).unbind(1)
        # Free logits once put two thirds of a clean head CT on one slice.
        attention = EVEN * plain.tanh() + STANDING_OUT * stands_out.detach().sigmoid()
        return attention, stands_out

    def between_slices(self, beside: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of gaps and of displaced slices, (B, S) each."""
        gap, moved = self.faults(self.between(beside.transpose(1, 2))).unbind(1)
        return gap, moved


def _along(width_in: int, width: int) -> nn.Sequential:
    """Convolutions along the slices, three on either side: (B, width_in, S) -> (B, width, S)."""
    return nn.Sequential(
        nn.Conv1d(width_in, width, 3, padding=1, padding_mode="replicate"), nn.GELU(),
        nn.Conv1d(width, width, 3, padding=2, dilation=2, padding_mode="replicate"), nn.GELU(),
    )  # fmt: skip


def slice_row(score: float, interval: tuple[float, float], body_share: float, severity: dict[str, float]) -> np.ndarray:
    """What the head is told of one slice, (WIDTH_IN,): all in about 0 to 1."""
    row = np.zeros(WIDTH_IN, np.float32)
    row[:SCALARS] = score / 4, (interval[1] - interval[0]) / 4, body_share
    for kind, value in severity.items():
        row[SCALARS + vocab.KIND_NAMES.index(kind)] = value / 4
    return row


def thumb(plane: np.ndarray, side: int) -> np.ndarray:
    """Canonical plane (h, w[, 3]) -> (side, side) float16, 0 to 1."""
    grey = plane.mean(-1) if plane.ndim == 3 else plane
    small = F.interpolate(
        torch.from_numpy(np.ascontiguousarray(grey, np.float32))[None, None], (side, side), mode="area"
    )
    return small[0, 0].clamp(0, 1).numpy().astype(np.float16)


def seven_slices(count: int) -> list[int]:
    """MedIQA's fixed rule, the baseline of learned salience: seven places about the middle, the ends included.

    n slices, m = n // 2, s = n // 6: m and two steps of s to either side, the first slice within reach and the last.
    """
    middle, step = count // 2, count // 6
    places = [middle - 2 * step, middle - step, middle, middle + step, middle + 2 * step, 0, count - 1]
    return sorted({min(max(p, 0), count - 1) for p in places})[:SEVEN]


def weighted(scores: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
    """Slice scores and attention logits (B, S) -> scores of the volumes (B,)."""
    return (attention.softmax(-1) * scores).sum(-1)


@torch.no_grad()
def read(
    head: VolumeHead, rows: Sequence[np.ndarray], thumbs: Sequence[np.ndarray], beside: np.ndarray
) -> VolumeOutputs:
    """The head's reading of one volume, with probabilities in place of logits; attention sums to 1."""
    given = (np.stack(rows), np.stack(thumbs), beside)
    out = head(*(torch.from_numpy(np.asarray(part, np.float32))[None] for part in given))
    return VolumeOutputs(
        out.attention[0].softmax(-1), out.stands_out[0].sigmoid(), out.gap[0].sigmoid(), out.moved[0].sigmoid()
    )
