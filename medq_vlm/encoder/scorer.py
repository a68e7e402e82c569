"""The scorer: tokens of the views and the statistics, learned queries over them, prompts as classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from medq_vlm import vocab
from medq_vlm.config import ScorerConfig
from medq_vlm.encoder import backbone, prompts
from medq_vlm.encoder.gate import Gate, tile_mean
from medq_vlm.encoder.opinions import SecondOpinion, TowerOpinion, consensus, implied
from medq_vlm.encoder.pointer import Pointer
from medq_vlm.encoder.prior import legible

K, A, M, N = len(vocab.KIND_NAMES), len(vocab.ATTRIBUTES), len(vocab.MODALITIES), len(vocab.ANATOMIES)
KIND_WIDTH = 32  # of the space in which an image meets the severity texts of one kind
UNKNOWN = M  # modality id of an image whose header does not say


@dataclass
class Outputs:
    """Logits of one batch."""

    score: torch.Tensor  # (B, 21)
    kinds: torch.Tensor  # (B, K, 5): severity 0, 1, 2, 3, 4
    attributes: torch.Tensor  # (B, A, 2): good, bad
    modality: torch.Tensor  # (B, M)
    anatomy: torch.Tensor  # (B, N)
    medical: torch.Tensor  # (B,): an image of a known modality and not a photograph, page or blank frame
    utility: torch.Tensor  # (B,): logit of the fitness for finding faint lesions
    queries: torch.Tensor  # (B, Q, D): the tokens that later parts read
    experts: torch.Tensor  # (B, X): how much each expert of the score counts, sum 1
    embed: torch.Tensor  # (B, E): meets texts of `anchors`; the product is a logit
    demand: torch.Tensor  # (B, A): log of how much more than usual the acquisition description asks of an attribute

    def score_mean(self) -> torch.Tensor:
        """Expected score 0 to 4, (B,)."""
        bins = torch.linspace(0, 4, vocab.SCORE_BINS, device=self.score.device)
        return (self.score.softmax(-1) * bins).sum(-1)

    def severities(self) -> torch.Tensor:
        """Expected severity 0 to 4 per kind, (B, K)."""
        return (self.kinds.softmax(-1) * torch.arange(5.0, device=self.kinds.device)).sum(-1)


class Experts(nn.Module):
    """Gated mixture of small networks over the fused queries, every one consulted (MedQM's regressor)."""

    def __init__(self, width: int, count: int, out: int) -> None:
        super().__init__()
        self.count = count
        self.gate = nn.Linear(width, count)
        self.inner = nn.Linear(width, count * width // 2)
        self.outer = nn.Parameter(torch.randn(count, width // 2, out) * (width // 2) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(count, out))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, D) -> mixed outputs (B, out), shares of the experts (B, X)."""
        shares = self.gate(x).softmax(-1)
        inner = F.gelu(self.inner(x)).view(len(x), self.count, -1)
        each = torch.einsum("bxh,xho->bxo", inner, self.outer) + self.bias
        return torch.einsum("bx,bxo->bo", shares, each), shares


class OneExpert(nn.Linear):
    """What `Experts` is compared with: one linear layer."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        return super().forward(x), x.new_ones(len(x), 1)


class Scorer(nn.Module):
    """Weights of the towers and of the fusion head."""

    clip: Any  # open_clip's CustomTextCLIP
    eye: Any  # how the image tower is shown a view
    pooled_width: int  # length of a view's pooled tower features
    prompt_ids: torch.Tensor
    statistics_mean: torch.Tensor
    statistics_std: torch.Tensor

    def __init__(self, config: ScorerConfig) -> None:
        super().__init__()
        self.config = config
        towers = backbone.build(config.clip)
        self.clip, self.eye, self.tokenize = towers.clip, towers.eye, towers.tokenize
        dim = config.width
        self.register_buffer("statistics_mean", torch.zeros(config.statistics))
        self.register_buffer("statistics_std", torch.ones(config.statistics))
        self.pooled_width = self.eye.width
        self.view_in = nn.Sequential(nn.LayerNorm(self.pooled_width), nn.Linear(self.pooled_width, dim))
        self.view_type = nn.Parameter(torch.zeros(2, dim))  # tile, global
        self.statistics_in = nn.Sequential(
            nn.Linear(max(1, config.statistics), 2 * dim),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(2 * dim, dim),
        )
        self.modality_in = nn.Embedding(M + 1, dim)
        embed = self.clip.text.output_dim
        self.prior_in = nn.Linear(embed, dim, bias=False)  # no bias anywhere: no description, no effect
        self.prior_query = nn.Linear(embed, dim, bias=False)
        self.prior_score = nn.Linear(embed, 2 * dim, bias=False)  # gain and shift of what the experts see
        self.to_demand = nn.Linear(embed, A, bias=False)
        for layer in (self.prior_in, self.prior_query, self.prior_score, self.to_demand):
            nn.init.zeros_(layer.weight)
        self.queries = nn.Parameter(torch.randn(config.queries, dim) * 0.02)
        self.attend = nn.MultiheadAttention(dim, config.heads, batch_first=True)
        self.norm = nn.LayerNorm(dim)
        self.drop = nn.Dropout(config.dropout)
        self.mix, self.judge = (
            nn.Sequential(
                nn.Linear((config.queries + 2) * dim, 2 * dim),
                nn.GELU(),
                nn.Dropout(config.dropout),
                nn.Linear(2 * dim, dim),
            )
            for _ in range(2)
        )  # what it is, and how good it is: the second is trained again on its own (training/fit_judgement.py)
        self.to_kinds = nn.Linear(dim, K * KIND_WIDTH)
        self.kind_text = nn.Linear(embed, KIND_WIDTH, bias=False)
        self.to_embed = nn.Linear(dim, embed)
        self.kind_bias = nn.Parameter(torch.tensor([2.0, 0.0, 0.0, 0.0, 0.0]).repeat(K, 1))
        self.to_score = (
            Experts(dim, config.experts, vocab.SCORE_BINS) if config.experts > 1 else OneExpert(dim, vocab.SCORE_BINS)
        )
        self.to_medical = nn.Linear(dim, 1)
        self.to_utility = nn.Linear(dim, 1)
        self.second: SecondOpinion | None = None
        if config.second_opinions:
            self.take_second_opinions(config.second_opinions)
        self.third: TowerOpinion | None = None
        if config.tower_opinion:
            self.take_tower_opinion()
        self.gate: Gate | None = None
        if config.gate:
            self.take_gate()
        self.pointer: Pointer | None = None
        if config.pointer:
            self.take_pointer()
        self.register_buffer("prompt_ids", self.tokenize(prompts.all_texts()), persistent=False)

    def take_second_opinions(self, count: int) -> SecondOpinion:
        """Put fresh networks beside the head, as after it was trained (training/fit_second.py)."""
        self.config = replace(self.config, second_opinions=count)
        self.second = SecondOpinion(self.config.statistics, self.clip.text.output_dim, count)
        return self.second

    def take_tower_opinion(self) -> TowerOpinion:
        """Put a tower of its own beside the head, its layers as the scorer's are (training/train_opinion.py)."""
        self.config = replace(self.config, tower_opinion=True)
        self.third = TowerOpinion(self.clip.visual.trunk, self.clip.text.output_dim, self.config.statistics)
        return self.third

    def take_gate(self) -> Gate:
        """Put a fresh gate beside the head, as after it was fitted (training/fit_gate.py)."""
        self.config = replace(self.config, gate=True)
        self.gate = Gate(self.pooled_width, self.config.statistics)
        return self.gate

    def take_pointer(self) -> Pointer:
        """Put a fresh pointer beside the head, as after it was fitted (training/fit_pointer.py)."""
        self.config = replace(self.config, pointer=True)
        self.pointer = Pointer(self.pooled_width)
        return self.pointer

    def standardised(self, statistics: torch.Tensor) -> torch.Tensor:
        """Raw statistics (B, F) in standard deviations of the training images, within 6."""
        return ((statistics - self.statistics_mean) / self.statistics_std).clamp(-6, 6)

    def maps(self, planes: torch.Tensor) -> list[torch.Tensor]:
        """Views (B, 1 or 3, H, W) -> the image tower's feature maps (B, C, h, w)."""
        found: list[torch.Tensor] = self.eye(self.clip.visual.trunk, planes)
        return found

    def view_tokens(self, planes: torch.Tensor) -> torch.Tensor:
        """Views (B, 1 or 3, H, W) -> pooled tower features (B, P)."""
        return backbone.pool(self.maps(planes))

    def anchors(self, more: Sequence[str] = ()) -> torch.Tensor:
        """Text-tower embeddings of all prompts and of `more` texts about the prompts' mean, unit length, (T, E).

        The mean is what every prompt shares; left in, it hides the difference of two prompts for most of a training.
        """
        ids = torch.cat([self.prompt_ids, self.tokenize(list(more)).to(self.prompt_ids.device)])
        embedded = self.clip.encode_text(ids)
        return F.normalize(embedded - embedded[: len(self.prompt_ids)].mean(0), dim=-1)

    def read_prior(self, texts: list[str]) -> torch.Tensor:
        """Acquisition descriptions -> embeddings (B, E); 0 for one without a word that `prior.legible` lets through."""
        kept = [legible(text) for text in texts]
        told = sorted(set(kept) - {""})
        nothing = self.prior_in.weight.new_zeros(1, self.prior_in.in_features)
        if not told:
            return nothing.expand(len(texts), -1)
        read = F.normalize(self.clip.encode_text(self.tokenize(told).to(nothing.device)), dim=-1)
        rows = {text: row for row, text in enumerate(["", *told])}
        return torch.cat([nothing, read])[[rows[text] for text in kept]]

    def forward(
        self, tiles: torch.Tensor, whole: torch.Tensor, statistics: torch.Tensor, modality: torch.Tensor,
        anchors: torch.Tensor,
    ) -> Outputs:  # fmt: skip
        """One tile and the whole view of each image, (B, 3, t, t) and (B, 3, g, g), as in training."""
        tokens = self.view_tokens(tiles)[:, None]  # B 1 P
        return self.fuse(tokens, self.view_tokens(whole), statistics, modality, anchors)

    def fuse(
        self, tiles: torch.Tensor, whole: torch.Tensor, statistics: torch.Tensor, modality: torch.Tensor,
        anchors: torch.Tensor, tile_mask: torch.Tensor | None = None, prior: torch.Tensor | None = None,
        alone: bool = False, looks: torch.Tensor | None = None,
    ) -> Outputs:  # fmt: skip
        """Pooled features -> logits; `alone`: the head by itself, without other opinions and gate, as it is trained.

        tiles (B, V, P), whole (B, P), statistics (B, F) raw, modality (B,) ids with UNKNOWN, anchors (T, E),
        tile_mask (B, V) True where a tile is padding, prior (B, E) of `read_prior`, looks (B, 2 D) of the third
        opinion, which is not asked without.
        """
        b = tiles.shape[0]
        stats = self.standardised(statistics) if self.config.statistics else statistics[:, :0]
        stat = self.statistics_in(stats if self.config.statistics else tiles.new_zeros(b, 1))
        prior = prior if prior is not None else tiles.new_zeros(b, self.prior_in.in_features)
        context = self.modality_in(modality) + self.prior_in(prior)
        tokens = [stat[:, None], context[:, None]]
        mask = torch.zeros(b, 2, dtype=torch.bool, device=tiles.device)
        if self.config.use_tower:
            views = torch.cat(
                [self.view_in(tiles) + self.view_type[0], (self.view_in(whole) + self.view_type[1])[:, None]],
                1,
            )
            tokens.append(views)
            pad = tile_mask if tile_mask is not None else mask.new_zeros(b, tiles.shape[1])
            mask = torch.cat([mask, pad, mask.new_zeros(b, 1)], 1)
        sequence = self.drop(self.norm(torch.cat(tokens, 1)))  # B, 2 + V + 1, D
        query = self.queries + self.prior_query(prior)[:, None]
        read = self._read(query, sequence, mask)
        known = torch.cat([read.flatten(1), stat, context], 1)
        out = self._classify(self.mix(known), self.judge(known), read, anchors, prior)
        if alone:
            return out
        if self.gate is not None:
            out = replace(out, medical=self.gate(tile_mean(tiles, tile_mask), whole, stats, out.medical))
        scores = [out.score]
        if self.second is not None:
            scores.append(self.second(stats, prior))
        if self.third is not None and looks is not None:
            score, kinds = self.third(looks, modality, stats, prior)
            scores.append(score)
            out = replace(out, kinds=consensus([out.kinds, kinds]))
            if self.config.implied_opinion:
                likeliest = torch.where(modality == UNKNOWN, out.modality.argmax(-1), modality)
                scores.append(implied(out.kinds, likeliest, out.demand))
        return replace(out, score=consensus(scores)) if len(scores) > 1 else out

    def _read(self, query: torch.Tensor, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`self.attend` of query (B, Q, D) over sequence (B, S, D); mask (B, S) True where there is nothing.

        Its own forward loads sympy, half a second of a cold start, to ask whether the shapes are symbolic.
        """
        parts = zip(
            (query, sequence, sequence), self.attend.in_proj_weight.chunk(3), self.attend.in_proj_bias.chunk(3),
            strict=True,
        )  # fmt: skip
        q, k, v = (
            F.linear(x, weight, bias).unflatten(-1, (self.config.heads, -1)).transpose(1, 2)  # B H S D/H
            for x, weight, bias in parts
        )
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=~mask[:, None, None, :])
        return self.attend.out_proj(read.transpose(1, 2).flatten(2))

    def _classify(
        self, features: torch.Tensor, judged: torch.Tensor, read: torch.Tensor, anchors: torch.Tensor,
        prior: torch.Tensor,
    ) -> Outputs:  # fmt: skip
        """What it is from features (B, D), how good it is from judged (B, D)."""
        kind_anchor, attribute_anchor, modality_anchor, anatomy_anchor = anchors.split(prompts.split_sizes())
        b = features.shape[0]
        scale = self.clip.logit_scale.exp().clamp(max=50.0)
        per_kind = self.to_kinds(judged).view(b, K, KIND_WIDTH)
        levels = self.kind_text(kind_anchor).view(K, 5, KIND_WIDTH)
        kinds = scale * torch.einsum("bkd,kld->bkl", per_kind, levels) + self.kind_bias
        embed = scale * F.normalize(self.to_embed(features), dim=-1)
        gain, shift = self.prior_score(prior).chunk(2, -1)
        score, experts = self.to_score(judged * (1 + gain) + shift)
        return Outputs(
            score=score,
            kinds=kinds,
            attributes=(embed @ attribute_anchor.T).view(b, A, 2),
            modality=embed @ modality_anchor.T,
            anatomy=embed @ anatomy_anchor.T,
            medical=self.to_medical(features)[:, 0],
            utility=self.to_utility(features)[:, 0],
            queries=read,
            experts=experts,
            embed=embed,
            demand=self.to_demand(prior),
        )
