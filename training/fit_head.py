"""Second and third pass of train_quality: the head on all tiles, then calibration and export."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from medq_vlm.encoder.foreign import is_foreign
from medq_vlm.encoder.scorer import UNKNOWN, Outputs, Scorer
from training import wordings
from training.data import Shards, _three, decode
from training.loop import MovingAverage, warm_cosine
from training.losses import quality_loss, wording_loss
from training.synthesize import VERSIONS
from training.validation import Figures

FEATURE_BATCH = 24  # images whose tiles go through the tower together
TOWER_BATCH = 8  # tiles: larger maps come from fresh memory each time, and the system then takes half of the time
HEAD_BATCH = 128
HEAD_TILES = 4  # of a training sample: a validation sample and a user's image bring all of theirs
TEXT_RATE, READY_TEXT_RATE = 0.5, 0.02  # of the rate, for the text tower: ours, one that can read already
ANCHOR_EVERY = 8  # steps between renewals of the prompts' anchors
TILE_DROP = 0.3  # share of tiles hidden: sizes and crops differ at inference


@dataclass
class Features:
    """Pooled tower features of every sample of a split."""

    tiles: np.ndarray  # float16 (N, V, P), zero where padded
    padded: np.ndarray  # bool (N, V)
    whole: np.ndarray  # float16 (N, P)
    looks: np.ndarray | None = None  # float16 (N, 2 D) of the third opinion, of all tiles

    def __len__(self) -> int:
        return len(self.whole)


def cached(folder: Path, model: Scorer, data: Shards, limit: int, most_tiles: int | None = None) -> Features:
    """`extract` of the first `limit` samples, kept in `folder` shard by shard.

    The head can be trained again without the tower, an interrupted run goes on, and new shards are all that costs.
    The name of a file says what it was made of: features of another tower or of shards made anew are not taken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts, first = [], 0
    tower = f"{most_tiles or 'all'}_{tower_key(model)}"
    for name, count in zip(data.names, np.bincount(data.shard), strict=True):
        if first >= limit:
            break
        path = folder / f"{name}_{count}_{tower}.npz"
        if not path.exists():
            part = extract(model, data, range(first, first + int(count)), most_tiles)
            partial = path.with_suffix(".partial.npz")
            np.savez(partial, tiles=part.tiles, padded=part.padded, whole=part.whole)
            partial.rename(path)
        kept = np.load(path)
        parts.append(Features(kept["tiles"], kept["padded"], kept["whole"]))
        first += int(count)
    return _joined(parts, limit)


def tower_key(model: Scorer) -> str:
    """Short hash of the image tower in half precision, the same while it is trained and once it was saved."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if name.startswith(("clip.visual.", "eye.")):
            digest.update(name.encode() + value.cpu().half().numpy().tobytes())
    return digest.hexdigest()[:8]


def _joined(parts: list[Features], limit: int) -> Features:
    """Features of several shards, whose samples have different numbers of tiles."""
    most = max(part.tiles.shape[1] for part in parts)

    def wider(values: np.ndarray, fill: float | bool) -> np.ndarray:
        room = [(0, 0), (0, most - values.shape[1]), *[(0, 0)] * (values.ndim - 2)]
        return np.pad(values, room, constant_values=fill)

    return Features(
        np.concatenate([wider(part.tiles, 0) for part in parts])[:limit],
        np.concatenate([wider(part.padded, True) for part in parts])[:limit],
        np.concatenate([part.whole for part in parts])[:limit],
    )


@torch.no_grad()
def extract(model: Scorer, data: Shards, samples: range, most_tiles: int | None = None) -> Features:
    """Tower features of the tiles of `samples`: all of them, or `most_tiles` drawn at random."""
    model.eval()
    device = model.queries.device
    count, first = len(samples), samples.start
    most = most_tiles or max(len(data.all_tiles(i)) for i in samples)
    width = model.pooled_width
    out = Features(
        np.zeros((count, most, width), np.float16),
        np.ones((count, most), bool),
        np.zeros((count, width), np.float16),
    )
    for start in range(0, count, FEATURE_BATCH):
        rows = range(start, min(count, start + FEATURE_BATCH))
        tiles = [[_three(t) for t in _some(data.all_tiles(first + i), most, first + i)] for i in rows]
        flat = decode(np.stack([t for group in tiles for t in group]))
        pooled = torch.cat([model.view_tokens(part.to(device)).cpu() for part in flat.split(TOWER_BATCH)]).numpy()
        out.whole[start : start + len(rows)] = (
            model.view_tokens(decode(np.stack([_three(data.whole(first + i)) for i in rows])).to(device)).cpu().numpy()
        )
        position = 0
        for i, group in zip(rows, tiles, strict=True):
            out.tiles[i, : len(group)] = pooled[position : position + len(group)]
            out.padded[i, : len(group)] = False
            position += len(group)
    return out


def _some(tiles: list[np.ndarray], most: int, seed: int) -> list[np.ndarray]:
    """At most `most` of the tiles, drawn by `seed`."""
    if len(tiles) <= most:
        return tiles
    chosen = np.random.default_rng(seed).permutation(len(tiles))[:most]
    return [tiles[i] for i in chosen]


def run_head(
    model: Scorer,
    features: Features,
    statistics: torch.Tensor,
    index: np.ndarray,
    padded: np.ndarray,
    given: torch.Tensor,
    anchors: torch.Tensor,
    prior: torch.Tensor | None = None,
    alone: bool = False,
) -> Outputs:
    """`fuse` of cached features; statistics (B, F), padded (B, V) and prior (B, E) belong to the samples `index`."""
    device = model.queries.device
    looks = None if features.looks is None else torch.from_numpy(features.looks[index].astype(np.float32)).to(device)
    return model.fuse(
        torch.from_numpy(features.tiles[index].astype(np.float32)).to(device),
        torch.from_numpy(features.whole[index].astype(np.float32)).to(device),
        statistics.to(device),
        given.to(device),
        anchors,
        torch.from_numpy(padded).to(device),
        prior,
        alone,
        looks,
    )


def fit_head(
    model: Scorer, features: Features, data: Shards, check_features: Features, check: Shards, args: argparse.Namespace
) -> None:
    """Train all but the image tower on cached features, `--head-runs` times, and leave the mean weights in the model.

    The text tower learns to read acquisition descriptions here; the same tower makes the prompts' anchors.

    Runs that start from one point and see another order of samples lie in one basin: their mean is better than each
    (model soup, Wortsman et al., ICML 2022).
    """
    for parameter in model.clip.visual.parameters():
        parameter.requires_grad_(False)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    total = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in start.items()}
    for run in range(args.head_runs):
        kept = args.out / f"head_{run}.safetensors"  # an interrupted run goes on with the next
        if not kept.exists():
            model.load_state_dict(start)
            state = one_run(model, features, data, args, run)
            save_file({name: value.contiguous() for name, value in state.items()}, kept)
        state = load_file(kept)
        _report(model, state, check_features, check, f"head run {run + 1}")
        for name, value in state.items():
            total[name] += value.double() / args.head_runs
    mean = {name: value.to(start[name].dtype) for name, value in total.items()}
    _report(model, mean, check_features, check, "head mean")
    model.load_state_dict(mean)


def one_run(
    model: Scorer, features: Features, data: Shards, args: argparse.Namespace, run: int,
    modality: bool = True, described: bool = True, quads: np.ndarray | None = None,
) -> dict[str, torch.Tensor]:  # fmt: skip
    """One run over the cached features, of the given `quads` or of all; its averaged weights.

    Without `modality` it is never told, without `described` no acquisition description is read (training/ablate.py).
    """
    parameters = [p for name, p in model.named_parameters() if p.requires_grad and not name.startswith("second.")]
    text = {id(p) for p in model.clip.parameters()}
    text_rate = READY_TEXT_RATE if is_foreign(model.config.clip) else TEXT_RATE
    groups = [
        {"params": [p for p in parameters if (id(p) in text) == towers], "factor": text_rate if towers else 1.0}
        for towers in (False, True)
    ]
    optimiser = torch.optim.AdamW(groups, lr=args.head_rate, weight_decay=0.05)
    average = MovingAverage(model, 0.99)
    quads = np.arange(len(features) // VERSIONS) if quads is None else quads
    per_epoch = max(1, len(quads) * VERSIONS // HEAD_BATCH)
    total, step = per_epoch * args.head_epochs, 0
    anchors = torch.empty(0)
    model.train()
    for epoch in range(args.head_epochs):
        rng = np.random.default_rng([args.seed, 7, run, epoch])
        for part in np.array_split(rng.permutation(quads), per_epoch):
            index = (part[:, None] * VERSIONS + np.arange(VERSIONS)).ravel()
            labels = data.batch_labels(index, rng, described=rng).to(model.queries.device)
            for group in optimiser.param_groups:
                group["lr"] = args.head_rate * group["factor"] * warm_cosine(step / total)
            if step % ANCHOR_EVERY == 0:
                texts, meant = wordings.draw(rng)
                anchors = model.anchors(texts)
            else:
                anchors = anchors.detach()
            statistics = data.disturbed_statistics(index, model.statistics_mean, model.statistics_std, rng)
            padded = drop_tiles(features.padded[index], rng)
            given = labels.given if modality else torch.full_like(labels.given, UNKNOWN)
            prior = model.read_prior(labels.texts if described else [""] * len(index))
            prompts, others = anchors[: -len(texts)], anchors[-len(texts) :]
            out = run_head(model, features, statistics, index, padded, given, prompts, prior, alone=True)
            terms = [*quality_loss(out, labels).values(), wording_loss(out, labels, others, meant)]
            loss = torch.stack(terms).sum()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 2.0)
            optimiser.step()
            average.update(model)
            step += 1
    return {name: value.clone() for name, value in average.state.items()}


def _report(model: Scorer, state: dict[str, torch.Tensor], features: Features, check: Shards, name: str) -> None:
    """A line of validation figures of the weights `state`, which stay in the model."""
    model.load_state_dict(state)
    figures = Figures.of(*head_scores(model, features, check), check, np.arange(len(features)))
    print(f"{name} {figures}", flush=True)


def drop_tiles(padded: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hide a share of the tiles (B, V), never all of an image."""
    hidden = padded | (rng.random(padded.shape) < TILE_DROP)
    hidden[hidden.all(1)] = padded[hidden.all(1)]
    return hidden


@torch.no_grad()
def head_scores(model: Scorer, features: Features, data: Shards) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N,) and severities (N, K), modality told."""
    model.eval()
    anchors = model.anchors()
    scores, severities = [], []
    for index in np.array_split(np.arange(len(features)), max(1, len(features) // 256)):
        given = data.batch_labels(index, None).given
        out = run_head(model, features, data.statistics(index), index, features.padded[index], given, anchors)
        scores.append(out.score_mean().cpu().numpy())
        severities.append(out.severities().cpu().numpy())
    return np.concatenate(scores), np.concatenate(severities)
