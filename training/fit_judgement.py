"""Train how the head judges, score and kinds, on other contents than those its tower learnt to see on.

What it sees and recognises stays as it is, and with it the query tokens that the describer, the volume head and the
gate were trained on. training/join_opinion.py calls it.
"""

from __future__ import annotations

import numpy as np
import torch

from medq_vlm.encoder.scorer import Scorer
from training.data import Shards
from training.fit_head import Features, drop_tiles, run_head
from training.loop import MovingAverage, warm_cosine
from training.losses import kinds_loss, rank_loss, score_loss
from training.synthesize import VERSIONS

PARTS = ("judge.", "to_kinds.", "kind_text.", "kind_bias", "to_score.", "prior_score.")
EPOCHS, QUADS, RATE, DECAY = 6, 32, 3e-4, 0.05


def fit_judgement(model: Scorer, features: Features, data: Shards, seed: int, keep: np.ndarray | None = None) -> None:
    """Train PARTS of `model` on cached features of `data`, of samples where `keep` (N,) says so."""
    torch.manual_seed(seed)
    usable = np.ones(len(features), bool) if keep is None else keep[: len(features)]
    quads = np.flatnonzero(usable.reshape(-1, VERSIONS).all(1))
    own = [parameter for name, parameter in model.named_parameters() if name.startswith(PARTS)]
    before = {id(parameter): parameter.requires_grad for parameter in model.parameters()}
    model.requires_grad_(False)
    for parameter in own:
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(own, lr=RATE, weight_decay=DECAY)
    average = MovingAverage(model, 0.99)
    anchors = model.eval().anchors()
    model.train()
    per_epoch = max(1, len(quads) // QUADS)
    for step in range(EPOCHS * per_epoch):
        if step % per_epoch == 0:
            rng = np.random.default_rng([seed, step // per_epoch])
            parts = np.array_split(rng.permutation(quads), per_epoch)
        index = (parts[step % per_epoch][:, None] * VERSIONS + np.arange(VERSIONS)).ravel()
        labels = data.batch_labels(index, rng, described=rng)
        statistics = data.disturbed_statistics(index, model.statistics_mean, model.statistics_std, rng)
        prior, padded = model.read_prior(labels.texts), drop_tiles(features.padded[index], rng)
        out = run_head(model, features, statistics, index, padded, labels.given, anchors, prior, alone=True)
        weight = labels.medical / labels.medical.sum().clamp(min=1)
        loss = (score_loss(out.score, labels.quality) * weight).sum() + 2.0 * kinds_loss(out.kinds, labels)
        loss = loss + 0.5 * rank_loss(out.score_mean(), labels.quality, labels.quad, labels.medical)
        for group in optimiser.param_groups:
            group["lr"] = RATE * warm_cosine(step / (EPOCHS * per_epoch))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(own, 2.0)
        optimiser.step()
        average.update(model)
    model.load_state_dict(average.state)
    for parameter in model.parameters():
        parameter.requires_grad_(before[id(parameter)])
    model.eval()
