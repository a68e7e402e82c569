"""The pointer: which windows of a plane show a kind that lies somewhere, fitted apart (training/fit_pointer.py).

It reads what the scorer's tower sees anyway and leaves every score as it is.
"""

from __future__ import annotations

import torch
from torch import nn

from medq_vlm import vocab

WINDOW_PX, STEP_PX = 32, 16  # on the canonical plane
WIDTH = 128


class Pointer(nn.Module):
    """Logits of the local kinds from the tower's pooled features of a window."""

    seen_mean: torch.Tensor
    seen_std: torch.Tensor

    def __init__(self, pooled: int) -> None:
        super().__init__()
        self.register_buffer("seen_mean", torch.zeros(pooled))
        self.register_buffer("seen_std", torch.ones(pooled))
        self.see = nn.Linear(pooled, WIDTH)
        self.modality_in = nn.Embedding(len(vocab.MODALITIES) + 1, WIDTH)
        self.act = nn.Sequential(nn.GELU(), nn.Dropout(0.2))
        self.to_kinds = nn.Linear(WIDTH, len(vocab.LOCAL_KINDS))
        nn.init.zeros_(self.modality_in.weight)

    def forward(self, windows: torch.Tensor, modality: torch.Tensor) -> torch.Tensor:
        """Pooled features (N, P) of windows, modality (N,) ids with scorer.UNKNOWN -> logits (N, L), L local kinds."""
        seen = ((windows - self.seen_mean) / self.seen_std).clamp(-6, 6)
        found: torch.Tensor = self.to_kinds(self.act(self.see(seen) + self.modality_in(modality)))
        return found
