"""Second opinions on the score: small networks on the statistics alone, trained after the head and apart from it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from medq_vlm import vocab
from medq_vlm.encoder.scorer import Scorer
from training.data import Shards
from training.loop import warm_cosine
from training.losses import rank_loss, score_loss
from training.synthesize import VERSIONS

EPOCHS, QUADS, RATE, DECAY = 40, 48, 2e-3, 0.1
NOISE = 0.3  # standard deviations, on every statistic
DESCRIBED, ASKED_STEPS, ASKED_BATCH = 3000, 300, 256  # samples with descriptions, and steps on them

Say = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def fit_second(model: Scorer, data: Shards, count: int, seed: int, keep: np.ndarray | None = None) -> None:
    """Train `count` networks on the medical quads of `data`, of samples where `keep` (N,) says so, into the model.

    Apart from the head: trained as one, the head would only learn what these leave over.
    """
    torch.manual_seed(seed)
    second = model.take_second_opinions(count).train()
    usable = data.labels["medical"] if keep is None else data.labels["medical"] & keep
    quads = np.flatnonzero(usable.reshape(-1, VERSIONS).all(1))
    stats = model.standardised(data.statistics(np.arange(len(data))))
    for number, network in enumerate(second.networks):
        _fit(network, stats, data, quads, np.random.default_rng([seed, number]))
    second.eval()
    rng = np.random.default_rng([seed, count])
    rows = (rng.permutation(quads)[: DESCRIBED // VERSIONS, None] * VERSIONS + np.arange(VERSIONS)).ravel()
    shown = stats[rows]
    fit_asked(model, second.asked, lambda pick, prior: second(shown[pick], prior), data, rows, rng)


def _fit(
    network: torch.nn.Module, stats: torch.Tensor, data: Shards, quads: np.ndarray, rng: np.random.Generator
) -> None:
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    bins = torch.linspace(0, 4, vocab.SCORE_BINS)
    quality = torch.from_numpy(data.labels["quality"].astype(np.float32))
    per_epoch = max(1, len(quads) // QUADS)
    for step in range(EPOCHS * per_epoch):
        if step % per_epoch == 0:
            parts = np.array_split(rng.permutation(quads), per_epoch)
        part = parts[step % per_epoch]
        index = torch.from_numpy((part[:, None] * VERSIONS + np.arange(VERSIONS)).ravel())
        noise = torch.from_numpy(rng.standard_normal((len(index), stats.shape[1]), np.float32))
        logits = network(stats[index] + NOISE * noise)
        wanted, quad = quality[index], index // VERSIONS
        rank = rank_loss(logits.softmax(-1) @ bins, wanted, quad, torch.ones_like(wanted))
        loss = score_loss(logits, wanted).mean() + 0.5 * rank
        for group in optimiser.param_groups:
            group["lr"] = RATE * warm_cosine(step / (EPOCHS * per_epoch))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def fit_asked(
    model: Scorer, asked: torch.nn.Linear, say: Say, data: Shards, rows: np.ndarray, rng: np.random.Generator
) -> None:
    """How a description moves an opinion's scores: its one linear layer, the rest and the text tower as they are.

    say(pick, prior): logits (B, 21) of the samples `rows[pick]` under descriptions read as `prior` (B, E).
    """
    labels = data.batch_labels(rows, None, described=rng)
    with torch.no_grad():
        prior = torch.cat([model.read_prior(labels.texts[i : i + 256]) for i in range(0, len(rows), 256)])
    optimiser = torch.optim.AdamW(asked.parameters(), lr=RATE, weight_decay=DECAY)
    for _ in range(ASKED_STEPS):
        pick = torch.from_numpy(rng.integers(0, len(rows), ASKED_BATCH))
        loss = score_loss(say(pick, prior[pick]), labels.quality[pick]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
