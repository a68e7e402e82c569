"""Text encoder and lead: a description, findings and a view of the whole image become one vector.

Two convolutions see a word with its neighbours, so that "severe noise, mild blur" and its reverse differ; learned
queries then pool the words.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from medq_vlm import vocab
from medq_vlm.restore.bands import LEVELS
from medq_vlm.restore.guidance import KINDS, GuidanceTensors
from medq_vlm.restore.tokens import PAD, VOCAB_SIZE

QUERIES = 8
MODALITY_WIDTH = 16
NAMED = 3 * KINDS


@dataclass(frozen=True)
class Wish:
    """What a guidance asks for."""

    named: torch.Tensor  # (B, NAMED): severity, whether, and severity by the text, 0 to 1
    text: torch.Tensor  # (B, word_width)
    modality: torch.Tensor  # (B, MODALITY_WIDTH)
    index: torch.Tensor  # (B,) of the modality


class TextReader(nn.Module):
    """Words -> one vector, and the severities that the text states (learnt with its own loss)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCAB_SIZE, width, padding_idx=PAD)
        self.near = nn.Conv1d(width, width, 3, padding=1)
        self.wide = nn.Conv1d(width, width, 3, padding=2, dilation=2)
        self.attend = nn.Conv1d(width, QUERIES, 1)
        self.pool = nn.Linear(QUERIES * width, width)
        self.stated = nn.Linear(QUERIES * width, KINDS)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, L) ids -> vector (B, W), stated severities (B, K); an empty text gives zeros of both."""
        there = tokens != PAD
        x = self.words(tokens).transpose(1, 2)  # B W L
        x = x + F.gelu(self.near(x))
        x = x + F.gelu(self.wide(x))
        weight = self.attend(x).masked_fill(~there[:, None], -1e4).softmax(-1)
        pooled = torch.einsum("bql,bwl->bqw", weight, x).flatten(1)
        told = there.any(1, keepdim=True).float()
        return told * torch.tanh(self.pool(pooled)), told * F.softplus(self.stated(pooled))


class Lead(nn.Module):
    """Everything known about an image -> the vector that modulates every block."""

    def __init__(self, word_width: int, context_width: int, width: int) -> None:
        super().__init__()
        self.reader = TextReader(word_width)
        self.modality = nn.Embedding(len(vocab.MODALITIES) + 1, MODALITY_WIDTH)
        known = NAMED + word_width + MODALITY_WIDTH + 2 * context_width + LEVELS
        # the same without a detour: what is named shall tell at once
        self.direct = nn.Linear(NAMED, width, bias=False)
        nn.init.zeros_(self.direct.weight)
        self.mix = nn.Sequential(nn.Linear(known, 2 * width), nn.GELU(), nn.Linear(2 * width, width), nn.GELU())

    def read(self, guidance: GuidanceTensors) -> Wish:
        """What the guidance asks for, before the image is seen."""
        vector, stated = self.reader(guidance.tokens)
        level = guidance.severities / 4
        named = torch.cat([level, (level > 0).float(), stated / 4], 1)
        return Wish(named, vector, self.modality(guidance.modality), guidance.modality)

    def forward(self, wish: Wish, seen: torch.Tensor) -> torch.Tensor:
        """`seen` (B, 2 context_width + LEVELS): pooled features and band levels of the whole. Returns (B, width)."""
        known = torch.cat([wish.named, wish.text, wish.modality, seen], 1)
        return self.mix(known) + self.direct(wish.named)
