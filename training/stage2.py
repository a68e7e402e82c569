"""Stage 2 of train_quality: fine-tune the shipped scorer on a user's expert scores, calibrate, report before and after.

    python -m training.train_quality --stage 2 --manifest mine.csv --out runs/mine

Only the last layers move, and are held near where they were: a few hundred scores cannot teach a tower. What is
reported comes from folds that leave whole groups (subjects) out; the weights written are fitted to all.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from eval import correlation
from eval.bootstrap import Estimate, estimate
from medq_vlm import checkpoint, io, vocab
from medq_vlm.encoder.predict import encode
from medq_vlm.encoder.preprocess import canonical
from medq_vlm.encoder.scorer import UNKNOWN, Scorer
from medq_vlm.evidence.statistics import features as statistics_of
from medq_vlm.schema import MedQError
from medq_vlm.slice_scores import BINS
from training.expert_scores import ExpertScore, rater_agreement, read
from training.losses import ranked_probability, soft_cross_entropy, soft_levels

# the last layers of every opinion: where only one learns, the consensus hardly moves
MOVING = ("judge.", "to_score.", "second.networks.", "third.mix.", "third.to_score.")
RATE, BATCH = 1e-3, 32
STAY = 2e-2  # weight of the squared distance from the shipped weights
FOLDS, DRAWS = 5, 500
FEWEST = 10
# what checkpoint.save writes anew, what was measured of the base, and the volume head, which read the base's scores
NOT_TAKEN_OVER = ("name", "scorer", "view", "calibration", "sha256", "volume", "validation")
Measure = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Encoded:
    """Tower features of all labelled images; V is the most tiles of any."""

    tiles: torch.Tensor  # (N, V, P)
    padded: torch.Tensor  # (N, V) bool
    whole: torch.Tensor  # (N, P)
    statistics: torch.Tensor  # (N, F)
    modality: torch.Tensor  # (N,) id or UNKNOWN
    looks: torch.Tensor | None = None  # (N, 2 D) of the third opinion, where the scorer has one

    def __len__(self) -> int:
        return len(self.whole)


def encode_all(loaded: checkpoint.Checkpoint, labels: list[ExpertScore]) -> Encoded:
    """Middle slice of every labelled file. Raises MedQError (IngestError) for one that cannot be read."""
    parts, modalities = [], []
    for label in labels:
        sample = io.read(label.path)[0]
        view = canonical(sample, sample.slices // 2, loaded.view)
        parts.append(encode(loaded.model, view, partial(statistics_of, view.plane, view.mask), loaded.view))
        modality = sample.modality or label.modality
        modalities.append(vocab.MODALITIES.index(modality) if modality else UNKNOWN)
    most = max(len(p.tiles) for p in parts)
    tiles = torch.zeros(len(parts), most, parts[0].tiles.shape[1])
    padded = torch.ones(len(parts), most, dtype=torch.bool)
    for i, part in enumerate(parts):
        tiles[i, : len(part.tiles)], padded[i, : len(part.tiles)] = part.tiles, False
    whole, statistics = (torch.stack([getattr(p, name) for p in parts]) for name in ("whole", "statistics"))
    looks = [part.looks for part in parts if part.looks is not None]
    return Encoded(tiles, padded, whole, statistics, torch.tensor(modalities), torch.stack(looks) if looks else None)


def predict(model: Scorer, anchors: torch.Tensor, data: Encoded, rows: np.ndarray) -> torch.Tensor:
    """Score logits (len(rows), 21)."""
    i = torch.from_numpy(rows)
    looks = None if data.looks is None else data.looks[i]
    return model.fuse(
        data.tiles[i], data.whole[i], data.statistics[i], data.modality[i], anchors, data.padded[i], looks=looks
    ).score


def fine_tune(
    loaded: checkpoint.Checkpoint, data: Encoded, quality: np.ndarray, rows: np.ndarray, seed: int, epochs: int
) -> Scorer:
    """A copy of the model whose last layers have learnt the scores of `rows`."""
    model = copy.deepcopy(loaded.model)
    model.config = replace(model.config, implied_opinion=False)  # experts do not score what simulated kinds leave
    moving = {name: p for name, p in model.named_parameters() if name.startswith(MOVING)}
    start = {name: p.detach().clone() for name, p in moving.items()}
    for parameter in moving.values():
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(moving.values(), lr=RATE, weight_decay=0.0)
    model.train()
    rng = np.random.default_rng(seed)
    for epoch in range(epochs):
        for group in optimiser.param_groups:
            group["lr"] = RATE * 0.5 * (1 + np.cos(np.pi * epoch / epochs))
        order = rng.permutation(rows)
        for part in np.array_split(order, max(1, len(order) // BATCH)):
            logits = predict(model, loaded.anchors, data, part)
            wanted = torch.from_numpy(quality[part].astype(np.float32))
            target = soft_levels(wanted, vocab.SCORE_BINS, 4.0 / (vocab.SCORE_BINS - 1))
            fit = (0.3 * soft_cross_entropy(logits, target) + ranked_probability(logits, target)).mean()
            distance = torch.stack([(p - start[name]).square().sum() for name, p in moving.items()]).sum()
            loss = fit + 0.5 * _pairs(logits, wanted) + STAY * distance
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval().requires_grad_(False)


def _pairs(logits: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
    """Logistic loss on pairs that differ by more than 0.25 in the wrong order."""
    score = _mean_score(logits)
    apart = (quality[:, None] - quality[None, :]) > 0.25
    if not apart.any():
        return score.sum() * 0.0
    return torch.nn.functional.softplus(-3.0 * (score[:, None] - score[None, :])[apart]).mean()


def _mean_score(logits: torch.Tensor) -> torch.Tensor:
    return logits.softmax(-1) @ torch.linspace(0, 4, vocab.SCORE_BINS)


@torch.no_grad()
def distributions(model: Scorer, anchors: torch.Tensor, data: Encoded, rows: np.ndarray) -> np.ndarray:
    """Raw distributions over BINS (len(rows), 21)."""
    return predict(model, anchors, data, rows).softmax(-1).double().numpy()


def folds(groups: np.ndarray, count: int, seed: int) -> list[np.ndarray]:
    """Row indices of `count` parts; a group lies in one part whole."""
    names = np.random.default_rng(seed).permutation(np.unique(groups))
    return [np.flatnonzero(np.isin(groups, part)) for part in np.array_split(names, min(count, len(names)))]


def compare(before: np.ndarray, after: np.ndarray, quality: np.ndarray, groups: np.ndarray) -> dict[str, Estimate]:
    """SRCC and RMSE before and after, and the gain in SRCC, with 95 % intervals over groups."""

    def both(measure: Measure, score: np.ndarray) -> Estimate:
        return estimate(lambda r: measure(score[r], quality[r]), groups, 0, DRAWS)

    gain = estimate(
        lambda r: correlation.srcc(after[r], quality[r]) - correlation.srcc(before[r], quality[r]), groups, 0, DRAWS
    )
    return {
        "SRCC before": both(correlation.srcc, before),
        "SRCC after": both(correlation.srcc, after),
        "gain in SRCC": gain,
        "RMSE before": both(correlation.rmse, before),
        "RMSE after": both(correlation.rmse, after),
    }


def recalibrated(said: np.ndarray, quality: np.ndarray, old: checkpoint.Calibration) -> checkpoint.Calibration:
    """Straight line of quality on the raw score, never falling, and the interval that covers 90 % of the folds.

    said: raw distributions (N, 21). The interval's half width is `interval_scale` spreads, as in training.export.
    """
    raw = said @ BINS
    spread = np.sqrt(((BINS - raw[:, None]) ** 2 * said).sum(1))
    slope = max(0.2, float(np.cov(raw, quality)[0, 1] / max(raw.var(ddof=1), 1e-6)))
    ends = [float(np.clip(quality.mean() + slope * (x - raw.mean()), 0.0, 4.0)) for x in (0.0, 4.0)]
    error = np.abs(np.interp(raw, (0.0, 4.0), ends) - quality)
    scale = float(np.quantile(error / np.maximum(spread, 0.05), 0.9))
    # the reference images were scored on the old scale: no percentile is better than a wrong one
    return replace(old, score_raw=(0.0, 4.0), score_to=(ends[0], ends[1]), interval_scale=scale, reference={})


def run(args: argparse.Namespace) -> dict[str, Estimate]:
    """The whole stage: labels, features, folds, report, weights fitted to all in `args.out / "stage2"`."""
    labels = read(args.manifest, tuple(args.scale) if args.scale else None)
    if len(labels) < FEWEST or len({label.group for label in labels}) < 2:
        raise MedQError(f"{args.manifest} holds {len(labels)} images; at least {FEWEST} of two groups are needed.")
    base = args.base or "nano"
    loaded = checkpoint.load(base)
    data = encode_all(loaded, labels)
    quality = np.array([label.quality for label in labels])
    groups = np.array([label.group for label in labels])
    everything = np.arange(len(labels))
    before = np.interp(
        distributions(loaded.model, loaded.anchors, data, everything) @ BINS,
        loaded.calibration.score_raw, loaded.calibration.score_to,
    )  # fmt: skip
    after = np.zeros((len(labels), len(BINS)))
    for part in folds(groups, FOLDS, args.seed):
        rest = np.setdiff1d(everything, part)
        tuned = fine_tune(loaded, data, quality, rest, args.seed, args.epochs)
        after[part] = distributions(tuned, loaded.anchors, data, part)
    numbers = compare(before, after @ BINS, quality, groups)
    agreement = rater_agreement(labels)
    for name, number in numbers.items():
        print(f"{name:14s}{number.value:7.3f}  [{number.low:.3f}, {number.high:.3f}]")
    if agreement is not None:
        print(f"raters with one another (Pearson, mean of pairs): {agreement:.3f}")
    model = fine_tune(loaded, data, quality, everything, args.seed, args.epochs)
    story = {
        **{k: v for k, v in loaded.meta.items() if k not in NOT_TAKEN_OVER},
        "stage2": {
            "base": base, "images": len(labels), "groups": len(set(groups.tolist())),
            "folds": {name: [number.value, number.low, number.high] for name, number in numbers.items()},
            "rater_agreement": agreement,
        },
    }  # fmt: skip
    folder = Path(args.out) / "stage2"
    checkpoint.save(folder, model, loaded.view, recalibrated(after, quality, loaded.calibration), story)
    (folder / "report.json").write_text(json.dumps(story["stage2"], indent=1) + "\n")
    if numbers["gain in SRCC"].value > 0:
        print(f"wrote {folder}; use it with: medq assess --preset {folder} IMAGE")
    else:
        print(f"wrote {folder}, which agrees with the ratings no better than {base} does: better go on with {base}")
    return numbers
