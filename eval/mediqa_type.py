"""A network of MedIQA's shape, untrained, to measure what such an architecture costs. It scores nothing.

ViT-B/8 at 224 px, the tokens of its blocks 6 to 9 side by side, two stages of transposed attention and shifted windows
with the prompt added, patch scores weighed by patch weights (MANIQA, Yang et al., CVPR Workshops 2022; MedIQA, Xun et
al., arXiv 2507.19004).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

SIDE_PX, GRID, WIDTH = 224, 28, 768  # of a slice, of its patches, of a token
TAPPED = (6, 7, 8, 9)  # blocks whose tokens are read
SLICES = 7
PROMPTS = 64  # combinations of modality, region and type
SCALE = 0.8  # of what a window stage adds to


class TransposedAttention(nn.Module):
    """Attention between channels, with linear maps over the positions."""

    def __init__(self, positions: int) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(positions, positions) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, positions) -> the same."""
        q, k, v = self.q(x), self.k(x), self.v(x)
        weights = (q @ k.transpose(1, 2) * q.shape[-1] ** -0.5).softmax(-1)
        return x + weights @ v


class Windows(nn.Module):
    """Two layers of two shifted-window blocks each, with the prompt added after every layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        from timm.models.swin_transformer import SwinTransformerStage

        self.layers = nn.ModuleList(
            SwinTransformerStage(
                width, width, (GRID, GRID), 2, downsample=False, num_heads=4, window_size=4, mlp_ratio=WIDTH / width
            )
            for _ in range(2)
        )
        self.prompt = nn.Linear(PROMPTS, width)

    def forward(self, x: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
        """(B, width, GRID, GRID), prompt (B, PROMPTS) -> the same shape."""
        x = x.permute(0, 2, 3, 1)
        told = self.prompt(prompt)[:, None, None]
        for layer in self.layers:
            x = SCALE * layer(x) + x + told
        return x.permute(0, 3, 1, 2)


class MedIQAType(nn.Module):
    """Seven slices (7, 3, 224, 224) and a prompt (64,) -> one number."""

    def __init__(self) -> None:
        super().__init__()
        import timm

        self.trunk: Any = timm.create_model("vit_base_patch8_224", pretrained=False, num_classes=0)
        positions, half = GRID * GRID, WIDTH // 2
        self.first = nn.Sequential(*(TransposedAttention(positions) for _ in range(2)))
        self.second = nn.Sequential(*(TransposedAttention(positions) for _ in range(2)))
        self.narrow = nn.ModuleList((nn.Conv2d(len(TAPPED) * WIDTH, WIDTH, 1), nn.Conv2d(WIDTH, half, 1)))
        self.windows = nn.ModuleList((Windows(WIDTH), Windows(half)))
        self.score = nn.Sequential(nn.Linear(half, half), nn.ReLU(), nn.Dropout(0.1), nn.Linear(half, 1), nn.ReLU())
        self.weight = nn.Sequential(nn.Linear(half, half), nn.ReLU(), nn.Dropout(0.1), nn.Linear(half, 1), nn.Sigmoid())

    @torch.no_grad()
    def forward(self, slices: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
        maps = self.trunk.forward_intermediates(slices, indices=list(TAPPED), intermediates_only=True)
        x = torch.cat(maps, 1)  # B 3072 28 28
        told = prompt.expand(len(x), -1)
        for attend, narrow, windows in zip((self.first, self.second), self.narrow, self.windows, strict=True):
            x = windows(narrow(attend(x.flatten(2)).unflatten(2, (GRID, GRID))), told)
        tokens = x.flatten(2).transpose(1, 2)
        score, weight = self.score(tokens), self.weight(tokens)
        each = (score * weight).sum((1, 2)) / weight.sum((1, 2))
        return each.mean()
