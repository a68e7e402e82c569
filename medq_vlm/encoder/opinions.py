"""Opinions beside the head's, each trained apart and wrong elsewhere; the result is their consensus.

Independent models that are averaged err less on what none of them knows than any of them does (deep ensembles,
Lakshminarayanan et al., NeurIPS 2017).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from medq_vlm import vocab
from medq_vlm.encoder.backbone import moments

EARLY_BLOCKS = 2  # of the trunk, to stride 4: shared with the scorer's tower
LATE_BLOCKS = 3  # to stride 16; what comes after knows contents, not quality
K, M = len(vocab.KIND_NAMES), len(vocab.MODALITIES)
LEVELS = 5  # severities 0 to 4
VALID = torch.tensor([[name in kind.modalities for kind in vocab.KINDS] for name in vocab.MODALITIES])  # (M, K)
ATTRIBUTE_OF = torch.tensor([vocab.ATTRIBUTES.index(kind.attribute) for kind in vocab.KINDS])  # (K,)
# Twenty kinds are doubted a little each and their product a lot: of its powers the root is the least biased on
# validation versions (training/LOG.md).
DOUBTS, LEAST_SPREAD = 0.5, 0.05


def consensus(logits: Sequence[torch.Tensor]) -> torch.Tensor:
    """Logits (B, ..., L) of several opinions -> logarithm of their mean distribution."""
    return torch.stack([one.log_softmax(-1) for one in logits]).logsumexp(0) - math.log(len(logits))


def implied(kinds: torch.Tensor, modality: torch.Tensor, demand: torch.Tensor) -> torch.Tensor:
    """What the severities of the kinds leave of the quality, as eval/severity.py defines it: logits (B, 21).

    kinds (B, K, 5) logits, modality (B,) ids, demand (B, A) log of what a description asks of the attributes. Mean and
    spread are those of a product of independent kinds.
    """
    severity = torch.arange(LEVELS, device=kinds.device) / (LEVELS - 1)
    asked = demand.exp()[:, ATTRIBUTE_OF.to(kinds.device)]  # (B, K)
    left = (1 - severity * asked[..., None]).clamp(0, 1)  # (B, K, 5)
    share, there = kinds.softmax(-1), VALID.to(kinds.device)[modality]
    mean, square = (
        torch.where(there, (share * part).sum(-1), 1.0).prod(1).clamp(min=1e-4) for part in (left, left.square())
    )
    at = mean**DOUBTS
    spread = (DOUBTS * at / mean * (square - mean.square()).clamp(min=0).sqrt()).clamp(min=LEAST_SPREAD)
    bins = torch.linspace(0, 1, vocab.SCORE_BINS, device=kinds.device)
    return -0.5 * ((bins - at[:, None]) / spread[:, None]).square()


class SecondOpinion(nn.Module):
    """Small networks that score from the standardised statistics alone, and ask what the description asks.

    On contents that nobody trained on they are wrong elsewhere than the tower is, and less sure of it.
    """

    def __init__(self, statistics: int, embed: int, count: int) -> None:
        super().__init__()
        self.networks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(statistics, 128), nn.GELU(), nn.Dropout(0.3),
                nn.Linear(128, 64), nn.GELU(), nn.Dropout(0.3),
                nn.Linear(64, vocab.SCORE_BINS),
            )
            for _ in range(count)
        )  # fmt: skip
        self.asked = nn.Linear(embed, vocab.SCORE_BINS, bias=False)  # no bias: no description, no effect
        nn.init.zeros_(self.asked.weight)

    def forward(self, stats: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
        """Statistics (B, F), prior (B, E) -> logarithm of the mean distribution (B, 21)."""
        return consensus([network(stats) + self.asked(prior) for network in self.networks])


class TowerOpinion(nn.Module):
    """Middle layers of an image tower of its own on the first one's early maps, and a head: score and kinds.

    It is trained on contents that nobody acquired more than on real ones.
    """

    def __init__(self, trunk: Any, embed: int, statistics: int, width: int = 192) -> None:
        super().__init__()
        self.layers = copy.deepcopy(trunk.blocks[EARLY_BLOCKS : EARLY_BLOCKS + LATE_BLOCKS])
        channels = {info["module"]: info["num_chs"] for info in trunk.feature_info}
        names = [f"blocks.{i}" for i in range(EARLY_BLOCKS + LATE_BLOCKS)]
        self.ends = [i - EARLY_BLOCKS for i, name in enumerate(names) if i >= EARLY_BLOCKS and name in channels]
        pooled = 2 * sum(channels.get(name, 0) for name in names)
        self.look_in = nn.Sequential(nn.LayerNorm(pooled), nn.Linear(pooled, width), nn.GELU())
        measured = nn.Linear(width, 2 * width, bias=False)
        nn.init.zeros_(measured.weight)  # what is seen comes first, then what is measured
        self.statistics_in = nn.Sequential(nn.Linear(max(1, statistics), width), nn.GELU(), nn.Dropout(0.2), measured)
        self.modality_in = nn.Embedding(M + 1, width)
        self.mix = nn.Sequential(
            nn.Linear(3 * width, 2 * width), nn.GELU(), nn.Dropout(0.2), nn.Linear(2 * width, width), nn.GELU()
        )
        self.to_score = nn.Linear(width, vocab.SCORE_BINS)
        self.to_kinds = nn.Linear(width, K * LEVELS)
        self.asked = nn.Linear(embed, vocab.SCORE_BINS, bias=False)  # no bias: no description, no effect
        nn.init.zeros_(self.asked.weight)
        with torch.no_grad():  # nearly every kind is absent from nearly every image
            self.to_kinds.bias.copy_(torch.tensor([2.0, 0.0, 0.0, 0.0, 0.0]).repeat(K))

    def look(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """The scorer's maps at stride 2 and 4 of views, (B, C, h, w) each -> what this tower sees of them, (B, D)."""
        stages, x = list(maps[:EARLY_BLOCKS]), maps[EARLY_BLOCKS - 1]
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number in self.ends:
                stages.append(x)
        found: torch.Tensor = self.look_in(torch.cat([part for stage in stages for part in moments(stage)], 1))
        return found

    def forward(
        self, looks: torch.Tensor, modality: torch.Tensor, stats: torch.Tensor, prior: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean look at the tiles and look at the whole view, (B, 2 D) -> logits of score (B, 21) and kinds (B, K, 5).

        modality (B,) ids with scorer.UNKNOWN, stats (B, F) of `Scorer.standardised`, prior (B, E) of
        `Scorer.read_prior`.
        """
        measured = self.statistics_in(stats if stats.shape[1] else looks.new_zeros(len(looks), 1))
        features = self.mix(torch.cat([looks + measured, self.modality_in(modality)], 1))
        score = self.to_score(features)
        if prior is not None:
            score = score + self.asked(prior)
        return score, self.to_kinds(features).unflatten(1, (K, LEVELS))
