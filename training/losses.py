"""The training loss of the scorer, one function per term."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from medq_vlm import vocab
from medq_vlm.encoder.opinions import VALID
from medq_vlm.encoder.scorer import UNKNOWN, Outputs
from training.data import ATTRIBUTE_OF, Labels

PRESENT_WEIGHT = 4.0  # a kind that is there weighs more: each is absent from most images

BALANCE = 0.02  # weight of the experts' even use


def soft_levels(values: torch.Tensor, levels: int, step: float) -> torch.Tensor:
    """Continuous targets -> weights on the two neighbouring levels: (...,) -> (..., levels)."""
    position = (values / step).clamp(0, levels - 1)
    low = position.floor().clamp(max=levels - 2)
    share = (position - low).unsqueeze(-1)
    at = F.one_hot(low.long(), levels).float()
    above = F.one_hot(low.long() + 1, levels).float()
    return at * (1 - share) + above * share


def soft_cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return -(target * logits.log_softmax(-1)).sum(-1)


def ranked_probability(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Sum of squared differences of the two distribution functions (ranked probability score, Epstein 1969)."""
    return (logits.softmax(-1).cumsum(-1) - target.cumsum(-1)).square().sum(-1)


def score_loss(logits: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
    """Cross entropy and ranked probability score of score bins (B, 21) for qualities (B,), one value each."""
    target = soft_levels(quality, vocab.SCORE_BINS, 4.0 / (vocab.SCORE_BINS - 1))
    return soft_cross_entropy(logits, target) * 0.3 + ranked_probability(logits, target)


def rank_loss(score: torch.Tensor, quality: torch.Tensor, quad: torch.Tensor, medical: torch.Tensor) -> torch.Tensor:
    """Logistic loss on pairs of versions of one content whose qualities differ by more than 0.25; all (B,)."""
    same = quad[:, None] == quad[None, :]
    difference = quality[:, None] - quality[None, :]
    pairs = same & (difference > 0.25) & (medical[:, None] > 0)
    if not pairs.any():
        return score.sum() * 0.0
    return F.softplus(-3.0 * (score[:, None] - score[None, :])[pairs]).mean()


def kinds_loss(kinds: torch.Tensor, labels: Labels) -> torch.Tensor:
    """Cross entropy of severity logits (B, K, 5) over the kinds that each medical image's modality can have."""
    valid = VALID.to(labels.modality.device)[labels.modality.clamp(min=0)] & (labels.medical > 0)[:, None]
    per_kind = soft_cross_entropy(kinds, soft_levels(labels.severities, 5, 1.0))
    kind_weight = valid * torch.where(labels.severities > 0, PRESENT_WEIGHT, 1.0)
    return (per_kind * kind_weight).sum() / valid.sum().clamp(min=1)


def quality_loss(out: Outputs, labels: Labels) -> dict[str, torch.Tensor]:
    """All terms, weighted; the sum is what is minimised."""
    medical = labels.medical > 0
    weight = medical.float() / medical.float().sum().clamp(min=1)
    score = (score_loss(out.score, labels.quality) * weight).sum()

    seen = (labels.given == UNKNOWN) & (labels.modality >= 0)
    modality = _masked_ce(out.modality, labels.modality, seen)
    anatomy = _masked_ce(out.anatomy, labels.anatomy, labels.anatomy >= 0)
    attribute = (soft_cross_entropy(out.attributes, attribute_targets(labels.severities)).mean(1) * weight).sum()
    unseen = (labels.given == UNKNOWN).float()
    foreign = (F.binary_cross_entropy_with_logits(out.medical, labels.medical, reduction="none") * unseen).sum()
    return {
        "score": score,
        "kinds": 2.0 * kinds_loss(out.kinds, labels),
        "modality": 0.2 * modality,
        "anatomy": 0.1 * anatomy,
        "attributes": 0.3 * attribute,
        "medical": 0.4 * foreign / unseen.sum().clamp(min=1),
        "rank": 0.5 * rank_loss(out.score_mean(), labels.quality, labels.quad, labels.medical),
        "demand": 0.3 * F.smooth_l1_loss(out.demand, labels.demand),
        "utility": 0.3 * utility_loss(out.utility, labels.utility),
        "balance": BALANCE * balance(out.experts),
    }


def wording_loss(out: Outputs, labels: Labels, texts: torch.Tensor, attributes: np.ndarray) -> torch.Tensor:
    """Antonym pairs in other words, (2 P, E) good and bad in turn, on the attributes (P,) they speak of."""
    weight = labels.medical / labels.medical.sum().clamp(min=1)
    logits = (out.embed @ texts.T).unflatten(1, (-1, 2))
    target = attribute_targets(labels.severities)[:, torch.from_numpy(attributes).to(texts.device)]
    return 0.3 * (soft_cross_entropy(logits, target).mean(1) * weight).sum()


def utility_loss(logit: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross entropy with a soft target over the samples (B,) on which the task was tried."""
    tried = torch.isfinite(target)
    if not tried.any():
        return logit.sum() * 0.0
    return F.binary_cross_entropy_with_logits(logit[tried], target[tried])


def balance(shares: torch.Tensor) -> torch.Tensor:
    """How uneven the experts' mean use is: 0 when even, X - 1 when one does all (Switch Transformers, soft gates)."""
    return shares.shape[1] * shares.mean(0).square().sum() - 1.0


def attribute_targets(severities: torch.Tensor) -> torch.Tensor:
    """Severities (B, K) -> (B, A, 2): one minus the worst severity / 4 of the kinds that lower the attribute."""
    index = torch.from_numpy(ATTRIBUTE_OF).to(severities.device).expand_as(severities)
    worst = severities.new_zeros(severities.shape[0], len(vocab.ATTRIBUTES)).scatter_reduce(
        1, index, severities, reduce="amax"
    )
    good = 1.0 - worst / 4.0
    return torch.stack([good, 1.0 - good], -1)


def _masked_ce(logits: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    loss = F.cross_entropy(logits, target.clamp(min=0), reduction="none") * mask.float()
    return loss.sum() / mask.float().sum().clamp(min=1)
