"""Second and third pass of train_quality: the head on all tiles, then calibration and export."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch

from medq_vlm import vocab
from medq_vlm.encoder.scorer import Outputs, Scorer
from training.data import Shards, _three, decode
from training.loop import MovingAverage, warm_cosine
from training.losses import quality_loss
from training.validation import summary

FEATURE_BATCH = 24  # images whose tiles go through the tower together
HEAD_BATCH = 128


@dataclass
class Features:
    """Pooled tower features of every sample of a split."""

    tiles: np.ndarray  # float16 (N, V, P), zero where padded
    padded: np.ndarray  # bool (N, V)
    whole: np.ndarray  # float16 (N, P)


@torch.no_grad()
def extract(model: Scorer, data: Shards, limit: int) -> Features:
    """Tower features of all tiles of the first `limit` samples."""
    model.eval()
    device = model.queries.device
    count = min(limit, len(data))
    most = max(
        len(data.all_tiles(int(i))) for i in np.unique(data.labels["shape"][:count], axis=0, return_index=True)[1]
    )
    width = model.pooled_width
    out = Features(
        np.zeros((count, most, width), np.float16),
        np.ones((count, most), bool),
        np.zeros((count, width), np.float16),
    )
    for start in range(0, count, FEATURE_BATCH):
        rows = range(start, min(count, start + FEATURE_BATCH))
        tiles = [[_three(t) for t in data.all_tiles(i)] for i in rows]
        flat = decode(np.stack([t for group in tiles for t in group]))
        pooled = torch.cat([model.view_tokens(part.to(device)).cpu() for part in flat.split(96)]).numpy()
        out.whole[start : start + len(rows)] = (
            model.view_tokens(decode(np.stack([_three(data.whole(i)) for i in rows])).to(device)).cpu().numpy()
        )
        position = 0
        for i, group in zip(rows, tiles, strict=True):
            out.tiles[i, : len(group)] = pooled[position : position + len(group)]
            out.padded[i, : len(group)] = False
            position += len(group)
    return out


def run_head(
    model: Scorer,
    features: Features,
    data: Shards,
    index: np.ndarray,
    given: torch.Tensor,
    anchors: torch.Tensor,
) -> Outputs:
    device = model.queries.device
    return model.fuse(
        torch.from_numpy(features.tiles[index].astype(np.float32)).to(device),
        torch.from_numpy(features.whole[index].astype(np.float32)).to(device),
        data.statistics(index).to(device),
        given.to(device),
        anchors,
        torch.from_numpy(features.padded[index]).to(device),
    )


def fit_head(
    model: Scorer,
    features: Features,
    data: Shards,
    check_features: Features,
    check: Shards,
    args: argparse.Namespace,
) -> None:
    """Train everything but the two towers on cached features; the averaged weights stay in the model."""
    for parameter in model.clip.parameters():
        parameter.requires_grad_(False)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.05)
    average = MovingAverage(model, 0.995)
    quads = len(features.whole) // 4
    per_epoch = max(1, quads * 4 // HEAD_BATCH)
    total, step = per_epoch * args.head_epochs, 0
    anchors = model.anchors().detach()
    model.train()
    for epoch in range(args.head_epochs):
        rng = np.random.default_rng([args.seed, 7, epoch])
        for part in np.array_split(rng.permutation(quads), per_epoch):
            index = (part[:, None] * 4 + np.arange(4)).ravel()
            labels = data.batch_labels(index, rng).to(model.queries.device)
            for group in optimiser.param_groups:
                group["lr"] = 1e-3 * warm_cosine(step / total)
            out = run_head(model, _drop_tiles(features, rng), data, index, labels.given, anchors)
            loss = torch.stack(list(quality_loss(out, labels).values())).sum()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 2.0)
            optimiser.step()
            average.update(model)
            step += 1
        if epoch % 5 == 4 or epoch == args.head_epochs - 1:
            own = {k: v.clone() for k, v in model.state_dict().items()}
            model.load_state_dict(average.state)
            print(f"head {epoch + 1}", summary(*head_scores(model, check_features, check, True), check,
                                               np.arange(len(check_features.whole))), flush=True)  # fmt: skip
            model.load_state_dict(own)
            model.train()
    model.load_state_dict(average.state)


def _drop_tiles(features: Features, rng: np.random.Generator) -> Features:
    """Hide a random third of the tiles, never all: sizes and crops differ at inference."""
    padded = features.padded | (rng.random(features.padded.shape) < 0.3)
    padded[padded.all(1)] = features.padded[padded.all(1)]
    return Features(features.tiles, padded, features.whole)


@torch.no_grad()
def head_scores(model: Scorer, features: Features, data: Shards, told: bool) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N,) and severities (N, K); `told`: the modality is given, otherwise withheld."""
    model.eval()
    anchors = model.anchors()
    scores, severities = [], []
    for index in np.array_split(np.arange(len(features.whole)), max(1, len(features.whole) // 256)):
        labels = data.batch_labels(index, None)
        given = labels.given if told else torch.full_like(labels.given, len(vocab.MODALITIES))
        out = run_head(model, features, data, index, given, anchors)
        scores.append(out.score_mean().cpu().numpy())
        severities.append(out.severities().cpu().numpy())
    return np.concatenate(scores), np.concatenate(severities)


def fit_head_and_export(model: Scorer, data: Shards, check: Shards, args: argparse.Namespace) -> None:
    """Cache features, train the head, calibrate, write weights."""
    from training.export import export

    features, check_features = (
        extract(model, data, args.head_samples),
        extract(model, check, args.head_samples),
    )
    fit_head(model, features, data, check_features, check, args)
    export(model, check_features, check, data, args)
