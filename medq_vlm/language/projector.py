"""From the scorer's outputs to soft tokens in the language model's input space.

Six finding slots (worst first) of three tokens each, then the scene (modality and anatomy), the global impression, and
four tokens read from the scorer's learned queries. A slot starts as the embeddings of its own words: the first piece of
the kind's name, the rest of it, the degree. So the language model can read it before any training. The query branch is
separate, so that it alone can be aligned again when the scorer's weights change.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from medq_vlm import vocab
from medq_vlm.language.features import LAYOUT, SIZES, A, K, M, N

SLOTS, PARTS, QUERY_TOKENS = 6, 3, 4
SOFT_TOKENS = SLOTS * PARTS + 2 + QUERY_TOKENS
SHARP = 0.03  # severities; how gradual the change from one word to the next is


class Projector(nn.Module):
    """Scorer vector (B, V) and queries (B, Q, D) -> soft tokens (B, SOFT_TOKENS, width)."""

    def __init__(self, width: int, queries: int = 8, query_width: int = 192) -> None:
        super().__init__()
        self.sizes = {"width": width, "queries": queries, "query_width": query_width}
        self.kind = nn.Parameter(torch.zeros(K, 2, width))  # first piece of the name, the rest
        self.severity = nn.Parameter(torch.zeros(3, width))  # mild, moderate, severe
        self.nothing = nn.Parameter(torch.zeros(width))
        self.modality = nn.Parameter(torch.zeros(M, width))
        self.anatomy = nn.Parameter(torch.zeros(N, width))
        self.slot = nn.Parameter(torch.zeros(SLOTS, PARTS, width))
        self.detail = nn.Sequential(nn.Linear(3, 64), nn.GELU(), nn.Linear(64, width))
        self.overall = nn.Sequential(
            nn.Linear(A + vocab.SCORE_BINS + LAYOUT, 128), nn.GELU(), nn.Linear(128, width)
        )  # fmt: skip
        self.query_norm = nn.LayerNorm(query_width)
        self.query_in = nn.Linear(query_width, width)
        self.query_mix = nn.Parameter(torch.randn(QUERY_TOKENS, queries) / queries**0.5)
        self.unseen = nn.Parameter(torch.zeros(QUERY_TOKENS, width))  # stands for queries that are not known
        for last in (self.detail[-1], self.overall[-1], self.query_in):
            assert isinstance(last, nn.Linear)
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)

    @torch.no_grad()
    def start_from_words(self, pieces: Callable[[str], torch.Tensor]) -> None:
        """Set every table to the embeddings of its own words; `pieces` gives those of a text, (T, width)."""

        def embed(text: str) -> torch.Tensor:
            return pieces(text).mean(0)

        for k, name in enumerate(vocab.KIND_NAMES):
            own = pieces(vocab.KIND[name].plain)
            self.kind[k] = torch.stack([own[0], own[1:].mean(0) if len(own) > 1 else own[0]])
        for s, word in enumerate(vocab.SEVERITIES[1:]):
            self.severity[s] = embed(word)
        self.nothing.copy_(embed(" nothing"))
        for m, name in enumerate(vocab.MODALITIES):
            self.modality[m] = embed(" " + vocab.MODALITY_NAMES[name])
        for n, name in enumerate(vocab.ANATOMIES):
            self.anatomy[n] = embed(" " + name)
        self.unseen.copy_(embed(" image").expand_as(self.unseen))

    def forward(self, vector: torch.Tensor, queries: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """`seen` (B,) bool: False where the row of `queries` is not known."""
        level, margin, present, attributes, modality, anatomy, distribution, layout = vector.split(SIZES, -1)
        shown = (margin / SHARP).sigmoid()
        order = torch.argsort(level * shown, dim=-1, descending=True, stable=True)[:, :SLOTS]  # B, SLOTS
        level, margin, present, shown = (v.gather(1, order)[..., None] for v in (level, margin, present, shown))
        above = [((level - bar) / SHARP).sigmoid() for bar in (1.5, 2.5)]
        degree = (
            (1 - above[0]) * self.severity[0] + (above[0] - above[1]) * self.severity[1] + above[1] * self.severity[2]
        )  # B SLOTS width
        degree = degree + self.detail(torch.cat([level, margin, present], -1))
        named = torch.cat([self.kind[order], degree[:, :, None]], 2)  # B SLOTS PARTS width
        shown = shown[..., None]
        slots = (shown * named + (1 - shown) * self.nothing + self.slot).flatten(1, 2)
        scene = (modality @ self.modality + anatomy @ self.anatomy) / 2
        overall = self.overall(torch.cat([attributes, distribution, layout], -1))
        read = self.query_mix @ self.query_in(self.query_norm(queries))  # B QUERY_TOKENS width
        read = torch.where(seen[:, None, None], read + self.unseen, self.unseen)
        return torch.cat([slots, scene[:, None], overall[:, None], read], 1)
