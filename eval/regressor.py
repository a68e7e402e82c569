"""Features to quality by a small multilayer perceptron: the baseline every learned part must beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from medq_vlm.schema import MedQError

SEEDS = (0, 1, 2)
CLIP_SD = 5.0  # standardised features beyond this say "unfamiliar", not "ten times as bad"


@dataclass(frozen=True)
class FitConfig:
    """How the perceptron is trained; sized for 10^3 to 10^5 records on one core."""

    hidden: tuple[int, ...] = (128, 64)  # widths of the hidden layers
    epochs: int = 120  # passes over the records, within most_steps
    most_steps: int = 3000
    batch: int = 256  # records a step
    rate: float = 2e-3  # peak learning rate, cosine to zero
    decay: float = 1e-2  # AdamW weight decay
    dropout: float = 0.1
    holdout: float = 0.15  # share of groups that choose the step
    check_every: int = 50  # steps between looks at the held-out groups


@dataclass(frozen=True)
class Regressor:
    """Mean of the perceptrons of several seeds on standardised features."""

    mean: np.ndarray  # (F,)
    deviation: np.ndarray  # (F,)
    networks: tuple[nn.Module, ...]

    def predict(self, features: np.ndarray) -> np.ndarray:
        """`features` (N, F) -> predicted quality (N,)."""
        x = _standardise(features, self.mean, self.deviation)
        with torch.no_grad():
            return torch.stack([network(x)[:, 0] for network in self.networks]).mean(0).numpy().astype(float)


def fit(
    features: np.ndarray,
    quality: np.ndarray,
    group: np.ndarray,
    seeds: tuple[int, ...] = SEEDS,
    config: FitConfig = FitConfig(),
) -> Regressor:
    """Train one perceptron per seed and keep each at its best step on groups it did not see.

    Args:
        features: (N, F) any finite numbers.
        quality: (N,) the label.
        group: (N,) subject or source; whole groups are held out to choose the step.

    Raises MedQError for fewer than two groups or unequal lengths.
    """
    groups = np.unique(group)
    if len(groups) < 2 or not len(features) == len(quality) == len(group):
        raise MedQError("The regressor needs equally long features, qualities and groups, from two groups or more.")
    mean = features.mean(0)
    deviation = features.std(0) + 1e-6
    x, y = _standardise(features, mean, deviation), torch.from_numpy(np.asarray(quality, dtype=np.float32))
    networks = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        aside = rng.permutation(groups)[: max(1, round(config.holdout * len(groups)))]
        held = torch.from_numpy(np.isin(group, aside))
        networks.append(_train(x[~held], y[~held], x[held], y[held], seed, config))
    return Regressor(mean, deviation, tuple(networks))


def _train(
    x: torch.Tensor, y: torch.Tensor, x_held: torch.Tensor, y_held: torch.Tensor, seed: int, config: FitConfig
) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):  # layer initialisation and dropout know only the global generator
        torch.manual_seed(seed)
        network = _network(x.shape[1], float(y.mean()), config)
        optimiser = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=config.decay)
        batch = min(config.batch, len(x))
        steps = min(config.most_steps, config.epochs * len(x) // batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        best, best_loss = network.state_dict(), float("inf")
        for step in range(steps):
            pick = torch.randint(len(x), (batch,), generator=generator)
            loss = nn.functional.smooth_l1_loss(network(x[pick])[:, 0], y[pick])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            if (step + 1) % config.check_every == 0:
                network.eval()
                with torch.no_grad():
                    held_loss = float(nn.functional.smooth_l1_loss(network(x_held)[:, 0], y_held))
                network.train()
                if held_loss < best_loss:
                    best_loss = held_loss
                    best = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(best)
    return network.eval()


def _network(features: int, start: float, config: FitConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    width = features
    for hidden in config.hidden:
        layers += [nn.Linear(width, hidden), nn.GELU(), nn.Dropout(config.dropout)]
        width = hidden
    last = nn.Linear(width, 1)
    nn.init.constant_(last.bias, start)
    return nn.Sequential(*layers, last)


def _standardise(features: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> torch.Tensor:
    scaled = np.clip((features - mean) / deviation, -CLIP_SD, CLIP_SD)
    return torch.from_numpy(scaled.astype(np.float32))
