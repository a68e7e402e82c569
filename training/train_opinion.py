"""Train the third opinion (encoder/opinions.py): an image tower of its own beside a trained scorer.

    python -m training.train_opinion --shards runs/shards --out runs/opinion --minutes 60

It goes on from the base's own third opinion where there is one. Two passes, the first resumable: its layers and head
on single tiles, then its head on the looks of several tiles, as at inference. The scorer stays as it is;
training.join_opinion puts the two together. --batch 8 --minutes 0.1 is a run that tests the whole way. On the CPU
alone so far. Two such runs with different seeds lie in one basin; their mean is better than each (model soup, Wortsman
et al., ICML 2022):

    python -m training.train_opinion --shards runs/shards --mean runs/opinion runs/other --out runs/mean
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors.torch import load_file, save_file

from medq_vlm import checkpoint, vocab
from medq_vlm.config import ViewConfig
from medq_vlm.encoder import backbone
from medq_vlm.encoder.foreign import is_foreign
from medq_vlm.encoder.opinions import EARLY_BLOCKS, TowerOpinion
from medq_vlm.encoder.scorer import Scorer
from training.data import Labels, Shards, _three, decode
from training.fit_head import TOWER_BATCH, _some
from training.loop import MovingAverage, load_state, save_state, warm_cosine
from training.losses import kinds_loss, rank_loss, score_loss
from training.synthesize import VERSIONS
from training.train_quality import one_ahead
from training.validation import Figures

WEIGHTS, RECORD = "opinion.safetensors", "opinion.json"
LOG_EVERY, CHECK_EVERY = 50, 500
TRUNK_RATE = 0.3  # of the rate: the layers start from the scorer's
HEAD_TILES, HEAD_QUADS, HEAD_EPOCHS, HEAD_RATE = 4, 32, 6, 1e-3
LOOK_SAMPLES, LOOK_TILES = 8, 32  # images, and their tiles, that are looked at together
CHECKED = 1024  # validation versions of a report
BINS = torch.linspace(0, 4, vocab.SCORE_BINS)
Batch = tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor, Labels]


def opinion_loss(score: torch.Tensor, kinds: torch.Tensor, labels: Labels) -> dict[str, torch.Tensor]:
    """The scorer's terms (training/losses.py) that an opinion has: logits (B, 21) and (B, K, 5)."""
    medical = labels.medical > 0
    weight = medical.float() / medical.float().sum().clamp(min=1)
    return {
        "score": (score_loss(score, labels.quality) * weight).sum(),
        "kinds": 2.0 * kinds_loss(kinds, labels),
        "rank": 0.5 * rank_loss(score.softmax(-1) @ BINS, labels.quality, labels.quad, labels.medical),
    }


@torch.no_grad()
def early(model: Scorer, planes: torch.Tensor) -> list[torch.Tensor]:
    """What the opinion reads of views (B, 3, h, w); small batches stay in the allocator's memory."""
    parts = planes.contiguous(memory_format=torch.channels_last).split(TOWER_BATCH)
    maps = [backbone.early_maps(model.clip.visual.trunk, part, EARLY_BLOCKS) for part in parts]
    return [torch.cat(stage) for stage in zip(*maps, strict=True)]


def fit_layers(model: Scorer, opinion: TowerOpinion, check: Shards, args: argparse.Namespace) -> None:
    """The first pass; leaves the averaged weights in `opinion`. New shards train from the next epoch on."""
    accelerator = Accelerator(cpu=True)
    names = {id(p) for p in opinion.layers.parameters()}
    groups = [
        {"params": [p for p in opinion.parameters() if (id(p) in names) == ready], "factor": TRUNK_RATE if ready else 1}
        for ready in (False, True)
    ]
    optimiser = accelerator.prepare(torch.optim.AdamW(groups, lr=args.rate, weight_decay=0.02))
    accelerator.register_for_checkpointing(opinion)
    average = MovingAverage(opinion, 0.998)
    progress = load_state(accelerator, args.out / "layers", average)
    step, spent = int(progress.get("step", 0)), float(progress.get("spent_s", 0.0))
    while spent < 60.0 * args.minutes:
        train_mode(opinion)
        rng, started = np.random.default_rng([args.seed, step]), time.time()
        for views, stats, labels in one_ahead(batches(model, *training_samples(args), args.batch, rng)):
            for group in optimiser.param_groups:
                group["lr"] = args.rate * group["factor"] * warm_cosine(spent / (60.0 * args.minutes))
            looks = torch.cat([opinion.look(early(model, view)) for view in views], 1)
            score, kinds = opinion(looks, labels.given, stats)
            terms = opinion_loss(score, kinds, labels)
            loss = torch.stack(list(terms.values())).sum()
            optimiser.zero_grad()
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(opinion.parameters(), 2.0)
            optimiser.step()
            average.update(opinion)
            step += 1
            spent += time.time() - started
            started = time.time()
            ended = spent >= 60.0 * args.minutes
            if step % LOG_EVERY == 0:
                words = " ".join(f"{name} {float(value.detach()):.3f}" for name, value in terms.items())
                print(f"step {step} {words} ({spent:.0f} s)", flush=True)
            if step % args.check_every == 0 or ended:
                own = {name: value.clone() for name, value in opinion.state_dict().items()}
                opinion.load_state_dict(average.state)
                print(f"layers {step} {report(model, opinion, check)}", flush=True)
                opinion.load_state_dict(own)
                train_mode(opinion)
                save_state(accelerator, args.out / "layers", average, {"step": step, "spent_s": spent})
                started = time.time()
            if ended:
                break
    opinion.load_state_dict(average.state)


def train_mode(opinion: TowerOpinion) -> None:
    """Training mode, but the batch norms keep the statistics they start with: a fifth of a step's time."""
    opinion.train()
    opinion.layers.eval()


def training_samples(args: argparse.Namespace) -> tuple[Shards, np.ndarray]:
    """All shards there are, and which of their samples (N,) train."""
    data = Shards(args.shards, "train", ViewConfig())
    return data, ~np.isin(data.labels["source"], args.leave)


def batches(model: Scorer, data: Shards, keep: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[Batch]:
    """One epoch of views, (B, 3, t, t) and (B, 3, g, g), statistics (B, F) and labels of the quads that train."""
    quads = rng.permutation(np.flatnonzero(keep.reshape(-1, VERSIONS).all(1)))
    index = (quads[:, None] * VERSIONS + np.arange(VERSIONS)).ravel()
    for k in range(0, len(index) - size + 1, size):
        part = index[k : k + size]
        yield data.views(part, rng), disturbed(model, data, part, rng), data.batch_labels(part, rng)


def disturbed(model: Scorer, data: Shards, index: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """Standardised statistics (B, F) with noise, of some samples none."""
    found = data.disturbed_statistics(index, model.statistics_mean, model.statistics_std, rng)
    return model.standardised(found)


@torch.no_grad()
def looks_of(model: Scorer, opinion: TowerOpinion, data: Shards, index: np.ndarray, most: int | None) -> torch.Tensor:
    """Mean look at the tiles, at most `most` of them, and look at the whole view: (N, 2 D)."""
    opinion.eval()
    rows = []
    for part in np.array_split(index, max(1, len(index) // LOOK_SAMPLES)):
        tiles = [data.all_tiles(int(i)) for i in part]
        if most is not None:
            tiles = [_some(own, most, int(i)) for own, i in zip(tiles, part, strict=True)]
        flat = decode(np.stack([_three(tile) for own in tiles for tile in own]))
        seen = torch.cat([opinion.look(early(model, some)) for some in flat.split(LOOK_TILES)])
        small = opinion.look(early(model, decode(np.stack([_three(data.whole(int(i))) for i in part]))))
        means = torch.stack([own.mean(0) for own in seen.split([len(own) for own in tiles])])
        rows.append(torch.cat([means, small], 1))
    return torch.cat(rows)


@torch.no_grad()
def report(model: Scorer, opinion: TowerOpinion, check: Shards) -> Figures:
    """Validation figures of the opinion alone on four tiles and the whole view, modality told."""
    index = np.arange(min(len(check), CHECKED))
    looks = looks_of(model, opinion, check, index, HEAD_TILES)
    score, kinds = opinion(looks, check.batch_labels(index, None).given, model.standardised(check.statistics(index)))
    severities = kinds.softmax(-1) @ torch.arange(5.0)
    return Figures.of((score.softmax(-1) @ BINS).numpy(), severities.numpy(), check, index)


def fit_mix(
    model: Scorer, opinion: TowerOpinion, looks: torch.Tensor, data: Shards, index: np.ndarray, seed: int
) -> None:
    """The second pass: all but the layers, on the looks (N, 2 D) of the samples `index`, whole quads in a row.

    Half of the way is taken: the whole one forgets some of what the first pass taught.
    """
    heads = ("mix.", "to_", "modality_in.", "statistics_in.")
    own = [p for name, p in opinion.named_parameters() if name.startswith(heads)]
    before = {name: value.clone() for name, value in opinion.state_dict().items()}
    optimiser = torch.optim.AdamW(own, lr=HEAD_RATE, weight_decay=0.05)
    average = MovingAverage(opinion, 0.99)
    quads = np.arange(len(index) // VERSIONS)
    per_epoch = max(1, len(quads) // HEAD_QUADS)
    opinion.train()
    for epoch in range(HEAD_EPOCHS):
        rng = np.random.default_rng([seed, epoch])
        for number, part in enumerate(np.array_split(rng.permutation(quads), per_epoch)):
            rows = (part[:, None] * VERSIONS + np.arange(VERSIONS)).ravel()
            labels = data.batch_labels(index[rows], rng)
            share = (epoch * per_epoch + number) / (HEAD_EPOCHS * per_epoch)
            for group in optimiser.param_groups:
                group["lr"] = HEAD_RATE * warm_cosine(share)
            score, kinds = opinion(looks[rows], labels.given, disturbed(model, data, index[rows], rng))
            loss = torch.stack(list(opinion_loss(score, kinds, labels).values())).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            average.update(opinion)
    opinion.load_state_dict(mean_of([before, average.state]))
    opinion.eval()


def mean_of(states: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Mean weights of opinions that went on from the same one."""
    return {name: torch.stack([state[name].float() for state in states]).mean(0) for name in states[0]}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--base", default="nano", help="the scorer beside which it is trained, with a tower of ours")
    parser.add_argument("--mean", nargs="+", type=Path, help="folders of trained opinions: their mean, not a training")
    parser.add_argument("--fresh", action="store_true", help="do not go on from the base's third opinion")
    parser.add_argument("--leave", nargs="*", default=[], help="sources that do not train")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0, help="of the first pass")
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--head-samples", type=int, default=12_000)
    parser.add_argument("--check-every", type=int, default=CHECK_EVERY)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    set_seed(args.seed)
    check = Shards(args.shards, "validation", ViewConfig())
    model = checkpoint.load(args.base).model
    if is_foreign(model.config.clip):
        parser.error(f"'{args.base}' has towers of another make; a third opinion shares the early layers of ours.")
    went_on = model.third is not None and not args.fresh
    opinion = model.third if model.third is not None and went_on else model.take_tower_opinion()
    opinion.requires_grad_(True)
    model.to(memory_format=torch.channels_last)  # a step takes two thirds of the time
    if args.mean:
        args.out.mkdir(parents=True, exist_ok=True)
        firsts = [load_file(folder / "layers" / "average.safetensors") for folder in args.mean]
        opinion.load_state_dict(mean_of(firsts))  # the second pass is its own
        print(f"mean {report(model, opinion, check)}", flush=True)
    else:
        fit_layers(model, opinion, check, args)
    data, keep = training_samples(args)
    quads = np.flatnonzero(keep.reshape(-1, VERSIONS).all(1))
    quads = np.random.default_rng(args.seed).permutation(quads)[: args.head_samples // VERSIONS]
    index = (quads[:, None] * VERSIONS + np.arange(VERSIONS)).ravel()
    looks = looks_of(model, opinion, data, index, HEAD_TILES)
    fit_mix(model, opinion, looks, data, index, args.seed)
    print(f"head {report(model, opinion, check)}", flush=True)
    save_file({name: v.contiguous() for name, v in opinion.state_dict().items()}, args.out / WEIGHTS)
    steps = [
        json.loads((folder / "layers" / "progress.json").read_text())["step"] for folder in args.mean or [args.out]
    ]
    sources, counts = np.unique(data.labels["source"][keep], return_counts=True)
    record = {
        "samples": int(keep.sum()), "steps": sum(steps), "mean_of": len(steps), "batch": args.batch, "rate": args.rate,
        "head_samples": len(index), "left_out": args.leave, "went_on": went_on,
        "sources": dict(zip(sources.tolist(), counts.tolist(), strict=True)),
    }  # fmt: skip
    (args.out / RECORD).write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
