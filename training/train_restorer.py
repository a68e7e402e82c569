"""Train the restorer: python -m training.train_restorer --pairs runs/restore_pairs --out runs/restorer --minutes 65

First the text encoder learns to read what a description states, then the part for exposure and illumination learns from
--views (`training.restoration_views`), then the rest restores. The last is resumable and sized by --minutes of work or
--steps, whichever comes first; files that `training.restoration_pairs` writes in the meantime are taken in at every
check. --base goes on from weights. --steps 20 --read-steps 20 --light-steps 20 is a run of a minute that tests it all.
Then `python -m training.export_restorer` writes the weights that ship.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import set_seed

from medq_vlm import vocab
from medq_vlm.config import RestorerConfig
from medq_vlm.restore.guidance import from_findings, tensors
from medq_vlm.restore.network import RestorationNet
from medq_vlm.restore.weights import load
from training.fit_light import fit_light
from training.loop import MovingAverage, load_state, save_state, warm_cosine
from training.restoration_data import Batch, Pairs, checked_task, collate, cut, random_record
from training.restoration_pairs import Pair
from training.restoration_texts import Lesson, draw_lesson, product_text, target_of
from training.restoration_views import load_views
from training.train_quality import one_ahead

LOG_EVERY = 25
ROUND = 0.01  # of the network's range of 4: errors below it count by their square
FLOOR = (0.04, 0.006)  # error of a patch below which its share no longer counts in full: at the start, at the end
SAME_WEIGHT = (4.0, 12.0)  # of patches that must stay as they are
EDGE_SHARE, SPOT_SHARE, READ_SHARE = 0.25, 0.25, 0.1
SPOT_PX = 5  # of the means that "spot" counts, taken twice
RESUME_STEPS = 40  # over which the rate rises again after a start
CHECK_PX = 256  # of a validation crop
BEGUN_FILE = "begun.json"  # what came before the pairs


def restoration_loss(restored: torch.Tensor, batch: Batch, share: float = 1.0) -> dict[str, torch.Tensor]:
    """Each patch's mean error as a share of that of its degraded input, so that no task is starved.

    FLOOR and SAME_WEIGHT keep patches that are nearly or fully clean from outweighing all others: in full, they teach
    the network to do nothing before it understands the guidance. They count more as the run goes on (`share` of it
    done). "edge" is the same for differences of neighbouring pixels, "spot" for local means: noise and streaks average
    out in them, so that what a network does to a faint lesion is most of their error.
    """
    before, after = batch.planes - batch.target, restored - batch.target
    clean = _mean(before, batch) < 1e-3

    def loss(measure: Callable[[torch.Tensor, Batch], torch.Tensor]) -> torch.Tensor:
        return _as_share(measure(before, batch), measure(after, batch), clean, share)

    return {"pixel": loss(_mean), "edge": EDGE_SHARE * loss(_mean_edge), "spot": SPOT_SHARE * loss(_mean_spot)}


def _as_share(before: torch.Tensor, after: torch.Tensor, clean: torch.Tensor, share: float) -> torch.Tensor:
    """(B,) errors of input and output, and whether the input is clean -> mean loss."""
    floor = FLOOR[1] + (FLOOR[0] - FLOOR[1]) * (1 - min(share, 1.0)) ** 2
    same = SAME_WEIGHT[0] + (SAME_WEIGHT[1] - SAME_WEIGHT[0]) * min(share, 1.0)
    return (torch.where(clean, same, 1 / (before + floor)) * after).mean()


def _mean(difference: torch.Tensor, batch: Batch) -> torch.Tensor:
    """(B, 3, h, w) -> (B,): absolute, rounded off near zero, over the planes that count."""
    size = torch.sqrt(difference**2 + ROUND**2) - ROUND
    return size.mul(batch.counts).sum(1).mean((1, 2))


def _mean_edge(difference: torch.Tensor, batch: Batch) -> torch.Tensor:
    across, down = difference[..., 1:] - difference[..., :-1], difference[..., 1:, :] - difference[..., :-1, :]
    return (_mean(across, batch) + _mean(down, batch)) / 2


def _mean_spot(difference: torch.Tensor, batch: Batch) -> torch.Tensor:
    for _ in range(2):
        difference = F.avg_pool2d(difference, SPOT_PX, 1, SPOT_PX // 2, count_include_pad=False)
    return _mean(difference, batch)


def reading_loss(stated: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Squared error of the severities that the text encoder reads, named kinds ten times."""
    weight = 1 + 9 * (truth > 0).float()
    return (weight * (stated - truth) ** 2).mean()


def fit_reader(model: RestorationNet, args: argparse.Namespace) -> None:
    """The text encoder alone, on texts without images: words come cheap."""
    reader = model.lead.reader
    optimiser = torch.optim.AdamW(reader.parameters(), lr=3e-3)
    for step in range(args.read_steps):
        rng = np.random.default_rng([args.seed, 7, step])
        lessons = [draw_lesson(random_record(rng), rng) for _ in range(48)]
        lessons = [lesson for lesson in lessons if lesson.guidance.text]
        truth = torch.from_numpy(np.stack([lesson.stated for lesson in lessons])).float()
        _, stated = reader(tensors([lesson.guidance for lesson in lessons]).tokens)
        loss = reading_loss(stated, truth)
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * warm_cosine(step / args.read_steps)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 100 == 0 or step == args.read_steps - 1:
            right = ((stated > 0.5) == (truth > 0.5)).all(1).float().mean()
            print(f"reader {step} loss {float(loss.detach()):.4f} kinds exactly right {float(right):.2f}", flush=True)


def fit(model: RestorationNet, data: Pairs, check: Pairs, args: argparse.Namespace) -> None:
    """Train everything; state under args.out / "state" every args.check_every seconds."""
    accelerator = Accelerator(cpu=args.cpu)
    trained = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim >= 2]
    plain = [p for p in trained if p.ndim < 2]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 1e-3}, {"params": plain, "weight_decay": 0.0}],
        lr=args.rate, betas=(0.9, 0.98),
    )  # fmt: skip
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster convolutions on a CPU
    wrapped, optimiser = accelerator.prepare(model, optimiser)
    average = MovingAverage(model, 0.997)
    progress = load_state(accelerator, args.out / "state", average)
    step, spent = int(progress.get("step", 0)), float(progress.get("spent_s", 0.0))
    checked, first = spent, step
    if args.base and not step:
        report(model, average, check, "base")
    sums: dict[str, float] = defaultdict(float)
    started = time.time()
    for batch in one_ahead(batches(data, step, args)):
        share = max(step / args.steps, spent / (60 * args.minutes))
        for group in optimiser.param_groups:
            group["lr"] = args.rate * warm_cosine(share, 0.03) * min(1.0, (step - first + 1) / RESUME_STEPS)
        device = accelerator.device
        planes = batch.planes.to(device, memory_format=torch.channels_last)
        restored = wrapped(
            planes, batch.place.to(device), batch.small.to(device), batch.guidance.to(device), batch.box.to(device),
            batch.proposal.to(device, memory_format=torch.channels_last),
        )  # fmt: skip
        terms = restoration_loss(restored, batch, share)
        _, stated = model.lead.reader(batch.guidance.tokens.to(device))
        terms["read"] = READ_SHARE * reading_loss(stated, batch.stated.to(device))
        loss = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), args.clip)
        optimiser.step()
        average.update(model)
        step += 1
        spent += time.time() - started
        started = time.time()
        for name, value in terms.items():
            sums[name] += float(value.detach())
        if step % LOG_EVERY == 0:
            words = " ".join(f"{name} {value / LOG_EVERY:.3f}" for name, value in sums.items())
            print(f"step {step} {words} ({spent:.0f} s, {share:.0%}, {len(data)} pairs)", flush=True)
            sums.clear()
        over = share >= 1.0
        if over or spent - checked > args.check_every:
            save_state(accelerator, args.out / "state", average, {"step": step, "spent_s": spent})
            (args.out / "restorer.json").write_text(json.dumps({"step": step, "spent_s": spent, "pairs": len(data)}))
            report(model, average, check, f"check {step}")
            data.refresh()
            checked, started = spent, time.time()
        if over:
            break


def batches(data: Pairs, first: int, args: argparse.Namespace) -> Iterator[Batch]:
    """Endless batches; what a step sees depends on its number (and on the pairs there are)."""
    step = first
    while True:
        yield data.batch(args.batch, args.side, np.random.default_rng([args.seed, 1, step]))
        step += 1


@torch.no_grad()
def gains(model: RestorationNet, check: Pairs, mode: str) -> dict[str, list[float]]:
    """{task: PSNR gains in dB} on centre crops of single-kind pairs; mode: right, none or wrong description."""
    out: dict[str, list[float]] = defaultdict(list)
    for number, pair in enumerate(check.items):
        kinds = pair.record["kinds"]
        if len(kinds) != 1:
            continue
        lesson = check_lesson(pair, mode, np.random.default_rng(number))
        height, width = pair.planes.shape[1:]
        h, w = min(CHECK_PX, height), min(CHECK_PX, width)
        batch = collate([cut(pair, lesson, ((height - h) // 2, (width - w) // 2, h, w))])
        restored = model(batch.planes, batch.place, batch.small, batch.guidance, batch.box, batch.proposal)
        before, after = (
            float(((x - batch.target) ** 2).mul(batch.counts).sum(1).mean()) for x in (batch.planes, restored)
        )
        out[checked_task(pair)].append(10 * float(np.log10(max(before, 1e-9) / max(after, 1e-9))))
    return out


def check_lesson(pair: Pair, mode: str, rng: np.random.Generator) -> Lesson:
    """The clean target under the right description, none, or one of another kind."""
    record = pair.record
    modality, kind = record["modality"], record["kinds"][0]
    named = {kind: record["severities"][0]}
    if mode == "wrong":
        absent = [k for k in vocab.kinds_for(modality) if target_of([kind], [k], modality) < 0]
        named = {str(rng.choice(absent)): record["severities"][0]}
    text = "" if mode == "none" else product_text(named, modality, record["anatomy"], rng)
    guidance = from_findings({} if mode == "none" else named, modality, text)
    return Lesson(guidance, guidance.severities, 0)


def report(model: RestorationNet, average: MovingAverage, check: Pairs, name: str) -> None:
    """PSNR gain per task of the averaged weights, and what description, none and a wrong one give on average."""
    if not len(check):
        return
    own = {key: value.clone() for key, value in model.state_dict().items()}
    model.load_state_dict(average.state)
    model.eval()
    means = {}
    for mode in ("right", "none", "wrong"):
        found = gains(model, check, mode)
        means[mode] = float(np.mean([np.mean(v) for v in found.values()])) if found else float("nan")
        if mode == "right":
            words = " ".join(f"{task} {np.mean(v):+.2f}" for task, v in sorted(found.items()))
            print(f"{name} dB: {words}", flush=True)
    print(f"{name} mean dB: " + " ".join(f"{mode} {value:+.2f}" for mode, value in means.items()), flush=True)
    model.load_state_dict(own)
    model.train()


def begin(model: RestorationNet, args: argparse.Namespace) -> None:
    """What comes before the pairs: the weights of --base, the text encoder, the light."""
    begun: dict[str, Any] = {}
    if args.base:
        base = load(args.base)
        model.load_state_dict(base.model.state_dict())
        begun["before"] = base.meta["training"]
    else:
        fit_reader(model, args)
    if args.views:
        views, check = (load_views(args.views, split) for split in ("train", "validation"))
        fit_light(model, views, check, args.light_steps, args.light_rate, args.seed)
        begun["light"] = {"steps": args.light_steps, "views": len(views)}
    (args.out / BEGUN_FILE).write_text(json.dumps(begun))


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True, help="folder made by training.restoration_pairs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=(), metavar="TASK", help="learn these alone, e.g. 'noise xray'")
    parser.add_argument("--stress", nargs="+", default=(), metavar="TASK", help="draw these more often")
    parser.add_argument("--minutes", type=float, default=65.0)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--base", type=Path, help="go on from the restorer in this folder")
    parser.add_argument("--read-steps", type=int, default=1500, help="of the text encoder alone")
    parser.add_argument("--views", type=Path, help="folder made by training.restoration_views; none: light stays")
    parser.add_argument("--light-steps", type=int, default=3000, help="of the part for exposure and illumination")
    parser.add_argument("--light-rate", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--side", type=int, default=128, help="of a patch, pixels")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--clip", type=float, default=2.0, help="largest norm of the gradient")
    parser.add_argument("--check-every", type=float, default=280.0, help="seconds of work between saved states")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpu", action="store_true")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    torch.set_num_threads(args.threads)
    set_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    model = RestorationNet(RestorerConfig())
    if not (args.out / "state" / "progress.json").exists():
        begin(model, args)
    for ready in (model.light, model.lead.modality):  # a patch does not tell the light of the whole
        ready.requires_grad_(False)
    data, check = (Pairs(args.pairs, split, args.only, args.stress) for split in ("train", "validation"))
    fit(model, data, check, args)


if __name__ == "__main__":
    main()
