"""The gate: is this a medical image at all? One linear layer beside the head, fitted apart (training/fit_gate.py).

It reads what the scorer sees anyway, so it costs nothing and leaves every score as it is. The head's own layer, which
saw more medical images and fewer others, has its say beside it: each errs where the other does not.
"""

from __future__ import annotations

import torch
from torch import nn

HEAD_SHARE = 0.5  # of the logit of the head's own layer, which is the surer of the two


class Gate(nn.Module):
    """Logit from the tower's pooled features of tiles and whole view and from the statistics."""

    seen_mean: torch.Tensor
    seen_std: torch.Tensor

    def __init__(self, pooled: int, statistics: int) -> None:
        super().__init__()
        self.register_buffer("seen_mean", torch.zeros(2 * pooled))
        self.register_buffer("seen_std", torch.ones(2 * pooled))
        self.weigh = nn.Linear(2 * pooled + statistics, 1)

    def seen(self, tiles: torch.Tensor, whole: torch.Tensor, stats: torch.Tensor) -> torch.Tensor:
        """Mean over the tiles (B, P) and whole view (B, P) in standard deviations of the training pictures, within 6,
        beside the standardised statistics (B, F): (B, 2P + F).
        """
        looks = ((torch.cat([tiles, whole], 1) - self.seen_mean) / self.seen_std).clamp(-6, 6)
        return torch.cat([looks, stats], 1)

    def forward(
        self, tiles: torch.Tensor, whole: torch.Tensor, stats: torch.Tensor, head: torch.Tensor
    ) -> torch.Tensor:
        """Logit (B,) of a medical image; arguments as of `seen`, and the logit (B,) of the head's own layer."""
        found: torch.Tensor = self.weigh(self.seen(tiles, whole, stats))[:, 0] + HEAD_SHARE * head
        return found


def tile_mean(tiles: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
    """(B, V, P) -> (B, P) over the tiles where padding (B, V) is False."""
    if padding is None:
        return tiles.mean(1)
    count = (~padding).sum(1, keepdim=True).clamp(min=1)
    return tiles.masked_fill(padding[..., None], 0.0).sum(1) / count
