"""Train the scorer: python -m training.train_quality --shards runs/shards --out runs/quality --steps 6000

Stage 1 learns from degradations whose physics is known; stage 2 (training/stage2.py) from a user's expert scores:
python -m training.train_quality --stage 2 --manifest mine.csv --out runs/mine

Stage 1 has three passes, each resumable: the tower with its head on single tiles; the head on the cached features of
several tiles, as at inference; the calibration on validation subjects. The last pass writes weights, meta.json and
card. Make the shards first (python -m training.synthesize); --steps 30 is a run of a minute that tests the whole way.
--clip hf-hub:ORG/NAME or local-dir:FOLDER trains on the towers of a CLIP made elsewhere, such as BiomedCLIP.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from medq_vlm import checkpoint
from medq_vlm.config import ScorerConfig, ViewConfig
from medq_vlm.encoder import foreign
from medq_vlm.encoder.scorer import Scorer
from medq_vlm.evidence.statistics import FEATURE_NAMES
from medq_vlm.schema import MedQError
from training.data import Labels, Shards
from training.export import export
from training.fit_head import HEAD_TILES, cached, fit_head
from training.fit_second import fit_second
from training.loop import MovingAverage, load_state, save_state, warm_cosine
from training.losses import quality_loss
from training.pretrained import start_from_imagenet
from training.validation import Figures

T = TypeVar("T")
LOG_EVERY = 50
ANCHOR_EVERY = 8
TRUNK_RATE = 0.3  # of the rate, for weights that start from ImageNet
READY_RATE = 0.02  # of the rate, for both towers of a CLIP made elsewhere: large transformers forget faster
EARLY_BLOCKS, EARLY_EVERY = 2, 4  # layers at full resolution, half the time of a step, learn on every fourth alone


def fit_tower(model: Scorer, data: Shards, check: Shards, args: argparse.Namespace) -> dict[str, torch.Tensor]:
    """Train everything on one random tile and the whole view of each sample; returns the averaged weights.

    One process on one device. The prompts' anchors are renewed, with their gradient, every ANCHOR_EVERY steps.
    """
    accelerator = Accelerator(cpu=args.cpu, dynamo_backend="inductor" if args.compile else "no")
    optimiser = torch.optim.AdamW(parameter_groups(model), lr=args.rate)
    model.to(memory_format=torch.channels_last)  # faster convolutions on a CPU
    wrapped, optimiser = accelerator.prepare(model, optimiser)
    average = MovingAverage(model, 0.998)
    progress = load_state(accelerator, args.out / "tower", average)
    step, spent = int(progress.get("step", 0)), float(progress.get("spent_s", 0.0))
    anchors: torch.Tensor | None = None
    share = _share(step, spent, args)
    while share < 1.0:
        started = time.time()
        train_mode(model)
        rng = np.random.default_rng([args.seed, step])
        for views, labels, statistics in one_ahead(batches(data, model, args.batch, rng)):
            for group in optimiser.param_groups:
                group["lr"] = args.rate * group["factor"] * warm_cosine(share)
            tiles, wholes = (v.to(accelerator.device) for v in views)
            labels = labels.to(accelerator.device)
            for layer in early_layers(model):
                layer.requires_grad_(step % EARLY_EVERY == 0)
            keep = anchors is not None and step % ANCHOR_EVERY != 0
            anchors = anchors.detach() if anchors is not None and keep else model.anchors()
            terms = quality_loss(
                wrapped(tiles, wholes, statistics.to(accelerator.device), labels.given, anchors), labels
            )
            loss = torch.stack(list(terms.values())).sum()
            optimiser.zero_grad()
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 2.0)
            optimiser.step()
            average.update(model)
            step += 1
            spent += time.time() - started
            share = _share(step, spent, args)
            if step % LOG_EVERY == 0:
                words = " ".join(f"{name} {float(value.detach()):.3f}" for name, value in terms.items())
                print(f"step {step} {words} ({spent:.0f} s, {share:.0%})", flush=True)
            if step % args.check_every == 0 or share >= 1.0:
                report(model, average, check, f"tower {step}", args.batch)
                save_state(accelerator, args.out / "tower", average, {"step": step, "spent_s": spent})
            started = time.time()
            if share >= 1.0:
                break
    return average.state


def early_layers(model: Scorer) -> list[torch.nn.Module]:
    """The layers of our own trunk at stride 2 and 4."""
    if foreign.is_foreign(model.config.clip):
        return []
    trunk = model.clip.visual.trunk
    return [trunk.conv_stem, trunk.bn1, *trunk.blocks[:EARLY_BLOCKS]]


def train_mode(model: Scorer) -> None:
    """Training mode, but early batch norms keep ImageNet's statistics: theirs cost most and tell least."""
    model.train()
    for layer in early_layers(model):
        layer.eval()


def parameter_groups(model: Scorer) -> list[dict[str, Any]]:
    """What knows something already learns slower; one-dimensional parameters do not decay."""
    ready = foreign.is_foreign(model.config.clip)
    slow, slower = (model.clip, READY_RATE) if ready else (model.clip.visual.trunk, TRUNK_RATE)
    trunk = {id(p) for p in slow.parameters()}
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for p in model.parameters():
        key = (slower if id(p) in trunk else 1.0, 0.02 if p.ndim >= 2 else 0.0)
        groups.setdefault(key, []).append(p)
    return [{"params": ps, "factor": factor, "weight_decay": decay} for (factor, decay), ps in groups.items()]


Batch = tuple[tuple[torch.Tensor, torch.Tensor], Labels, torch.Tensor]


def batches(data: Shards, model: Scorer, size: int, rng: np.random.Generator) -> Iterator[Batch]:
    """One epoch of views, labels and disturbed statistics."""
    mean, std = model.statistics_mean.cpu(), model.statistics_std.cpu()
    for index in data.quad_batches(size, rng):
        yield data.views(index, rng), data.batch_labels(index, rng), data.disturbed_statistics(index, mean, std, rng)


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each made in a thread while the one before it is used.

    The thread keeps to itself: its own team of OpenMP threads would fight the model's for the cores.
    """
    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item


def _share(step: int, spent_s: float, args: argparse.Namespace) -> float:
    """How much of the tower pass is done: by its steps, or by its minutes where they run out first."""
    by_time = spent_s / (60.0 * args.minutes) if args.minutes else 0.0
    return max(step / args.steps, by_time)


@torch.no_grad()
def report(model: Scorer, average: MovingAverage, check: Shards, name: str, size: int) -> None:
    """Validation figures of the averaged weights, on one tile and the whole view."""
    own = {key: value.clone() for key, value in model.state_dict().items()}
    model.load_state_dict(average.state)
    model.eval()
    rng = np.random.default_rng(0)
    index = np.arange(min(len(check), 1024))
    rows, anchors = [], model.anchors()
    for part in np.array_split(index, max(1, len(index) // size)):
        tiles, wholes = check.views(part, rng)
        labels = check.batch_labels(part, None)
        device = next(model.parameters()).device
        inputs = (tiles, wholes, check.statistics(part), labels.given)
        out = model(*(value.to(device) for value in inputs), anchors)
        rows.append((out.score_mean().cpu().numpy(), out.severities().cpu().numpy()))
    model.load_state_dict(own)
    train_mode(model)
    scores, severities = (np.concatenate(v) for v in zip(*rows, strict=True))
    print(name, Figures.of(scores, severities, check, index), flush=True)


def start(args: argparse.Namespace) -> Scorer:
    """The scorer before training: `--base`, or our towers, the image's from ImageNet, or a CLIP with its weights."""
    if args.base:
        model = checkpoint.load(args.base).model
        return model.requires_grad_(True)
    model = Scorer(ScorerConfig(clip=args.clip, statistics=len(FEATURE_NAMES)))
    if not foreign.is_foreign(args.clip):
        start_from_imagenet(model.clip.visual.trunk)
        return model
    origin = {"name": args.clip, "sha256": foreign.load_weights(model.clip, args.clip)}
    towers = foreign.Towers(model.clip, model.eye, model.tokenize)
    # the run's own copy of the configuration, which the export takes along
    model.config = replace(model.config, clip=foreign.bundle(args.clip, towers, args.out / "clip", origin))
    return model


def finish(model: Scorer, data: Shards, check: Shards, args: argparse.Namespace) -> None:
    """Cache features, train the head (not with 0 epochs), calibrate, write weights."""
    check_features = cached(args.out / "features_validation", model, check, args.head_samples)
    if args.head_epochs:
        features = cached(args.out / "features_train", model, data, args.head_samples, HEAD_TILES)
        fit_head(model, features, data, check_features, check, args)
    if args.second_opinions:
        fit_second(model, data, args.second_opinions, args.seed)
    export(model, check_features, check, data, args)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", type=int, choices=(1, 2), default=1)
    parser.add_argument("--shards", type=Path, help="stage 1: folder of training.synthesize")
    parser.add_argument(
        "--manifest", type=Path, help="stage 2: CSV or Parquet with path, score[, rater, group, modality]"
    )
    parser.add_argument(
        "--scale", type=float, nargs=2, metavar=("WORST", "BEST"), help="stage 2: ends of the score scale"
    )
    parser.add_argument(
        "--base", help="weights to start from, a preset or a folder; stage 1 without: ImageNet's, stage 2: nano"
    )
    parser.add_argument("--epochs", type=int, default=40, help="stage 2")
    parser.add_argument(
        "--clip", default="nano", help="stage 1: nano, or a CLIP in open_clip's format (local-dir:DIR, hf-hub:ID)"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6000, help="of the tower pass; 0 keeps the tower of --base")
    parser.add_argument("--minutes", type=float, help="end the tower pass after so many, its schedule with it")
    parser.add_argument("--head-epochs", type=int, default=16, help="0 keeps the head of the tower pass")
    parser.add_argument("--head-rate", type=float, default=1e-3, help="6e-4 for the head of a trained --base")
    parser.add_argument("--head-runs", type=int, default=3, help="whose mean is kept")
    parser.add_argument("--second-opinions", type=int, default=3, help="networks on the statistics alone; 0: none new")
    parser.add_argument("--unfamiliar", type=Path, help="of training.leave_out: calibrate on sources left out, too")
    parser.add_argument("--head-samples", type=int, default=100_000, help="cache features of at most so many")
    parser.add_argument("--batch", type=int, default=64, help="samples in a step, whole quads; fewer need less memory")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check-every", type=int, default=500)
    parser.add_argument("--compile", action="store_true", help="compile the model: a minute or two, then faster")
    parser.add_argument("--cpu", action="store_true", help="stay on the CPU where there is a GPU")
    args = parser.parse_args(argv)
    set_seed(args.seed)
    if args.stage == 2:
        if args.manifest is None:
            parser.error("--stage 2 needs --manifest")
        from training import stage2

        try:
            stage2.run(args)
        except MedQError as error:  # of the manifest or its images: a person's, and told to a person
            parser.error(str(error))
        return
    if args.shards is None:
        parser.error("--stage 1 needs --shards")
    view = ViewConfig()
    data, check = Shards(args.shards, "train", view), Shards(args.shards, "validation", view)
    model = start(args)
    if not args.base:
        statistics = data.labels["statistics"]
        model.statistics_mean.copy_(torch.from_numpy(statistics.mean(0)))
        model.statistics_std.copy_(torch.from_numpy(statistics.std(0) + 1e-3))
    if args.steps:
        model.load_state_dict(fit_tower(model, data, check, args))
    finish(model, data, check, args)


if __name__ == "__main__":
    main()
