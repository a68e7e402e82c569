"""Train the volume head: which slices count and which stands out, where slices are missing or displaced.

    python -m training.train_volume --data images --out runs/volume --to medq_vlm/weights/nano

Two parts that share nothing but the file. What lies between slices is learnt from measured neighbours
(evidence/neighbours.py) and holds for any scorer; what slices are worth, from the scorer's reading of whole volumes.
Volumes are read once and kept in --out (the scorer's reading under its hash), the training goes on where it stopped.
The head is judged on other phantoms and subjects and always left in --out; --to puts it beside its scorer.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors.torch import save_file

from eval import correlation
from medq_vlm import checkpoint
from medq_vlm.config import VolumeConfig
from medq_vlm.encoder.preprocess import canonical
from medq_vlm.encoder.volume import VolumeHead, seven_slices, slice_row, thumb, weighted
from medq_vlm.evidence.neighbours import OF_STEPS
from medq_vlm.pipeline import MedQ
from medq_vlm.schema import ImageSample
from training.loop import MovingAverage, load_state, save_state, warm_cosine
from training.volumes import Arrays, Make, contents, measured_steps, read_slices

RATE = 2e-3
BETWEEN = ("between", "faults")  # layers of what lies between slices
BATCH = {"slices": 8, "between": 32}  # trials of one length
SAVE_EVERY = 250  # steps
LONGER = 1.5  # volumes whose steps are measured, against those that a scorer reads
PARTS = 3  # of a long series, whose steps are measured
FALSE = 0.04  # share of volumes without a fault that may be blamed for it
LEAST_THRESHOLD, LARGEST_THRESHOLD = 0.5, 0.999
RARE = 6.0  # weight of a slice that stands out, of a gap, of a displaced slice
EVEN_WEIGHT = 0.2  # of even attention where nothing is wrong

Trial = dict[str, torch.Tensor]  # of training/volumes.py; with B in front, a batch


def kept(folder: Path, name: str, make: Callable[[np.random.Generator], Iterable[Arrays]], seed: int) -> list[Trial]:
    """The trials of one volume, from the file of an earlier run where there is one."""
    key = zlib.crc32(name.encode())
    path = folder / f"{key:08x}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        found = list(make(np.random.default_rng([seed, key])))
        waiting = path.with_suffix(".part")
        with waiting.open("wb") as file:
            arrays: dict[str, Any] = {
                f"{n}.{key}": values for n, row in enumerate(found) for key, values in row.items()
            }
            np.savez(file, **arrays)
        waiting.replace(path)
    trials: dict[int, Trial] = defaultdict(dict)
    with np.load(path, allow_pickle=False) as file:
        for entry in file.files:
            number, field = entry.split(".")
            trials[int(number)][field] = torch.from_numpy(np.asarray(file[entry], np.float32))
    return [trials[number] for number in sorted(trials)]


def slices_of(args: argparse.Namespace, folder: Path, medq: MedQ, split: str, phantoms: int) -> list[Trial]:
    """Volumes as the scorer reads them."""
    side = VolumeConfig().thumb_px

    def score(sample: ImageSample, index: int) -> tuple[np.ndarray, np.ndarray]:
        s = medq.score_slice(sample, index)
        view = canonical(sample, index, medq.checkpoint.view)
        return slice_row(s.score, s.interval, s.body_share, s.severity), thumb(view.plane, side)

    found = []
    for name, clean in contents(args.data, split, phantoms, args.most_slices, 1):

        def read(rng: np.random.Generator, name: str = name, clean: Make = clean) -> Iterable[Arrays]:
            return read_slices(name, clean(rng), args.faults, score, rng)

        found += kept(folder / split, name, read, args.seed)
        print(f"{split} {name}: {len(found)} trials", flush=True)
    return found


def steps_of(args: argparse.Namespace, folder: Path, split: str, phantoms: int) -> list[Trial]:
    """Volumes whose neighbours were measured."""
    found = []
    for name, clean in contents(args.data, split, phantoms, int(LONGER * args.most_slices), PARTS):

        def measure(rng: np.random.Generator, name: str = name, clean: Make = clean) -> Iterable[Arrays]:
            return measured_steps(name, clean(rng), rng)

        found += kept(folder / split, name, measure, args.seed)
        print(f"{split} {name}: {len(found)} trials between slices", flush=True)
    return found


def loss_of_slices(head: VolumeHead, read: Trial) -> torch.Tensor:
    """The score of the whole, the slice that stands out, and even attention where nothing is wrong."""
    attention, stands_out = head.slices(read["rows"], read["thumbs"])
    score = F.smooth_l1_loss(weighted(read["rows"][..., 0] * 4, attention), read["label"])
    uneven = -(attention.log_softmax(-1).mean(-1) + np.log(attention.shape[-1]))  # divergence of even shares from it
    return score + _rare(stands_out, read["stands_out"]) + EVEN_WEIGHT * (uneven * read["clean"]).mean()


def loss_of_steps(head: VolumeHead, read: Trial) -> torch.Tensor:
    gap, moved = head.between_slices(read["beside"])
    return _rare(gap, read["gap"]) + _rare(moved, read["moved"])


def _rare(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(logits, target, torch.where(target > 0, RARE, 1.0))


def flipped(read: Trial) -> Trial:
    """Volumes (B, S, ...) from their other end; a step then leads from the slice that was behind it."""
    turned = {name: values.flip(1) if values.ndim > 1 else values for name, values in read.items()}
    if "gap" in read:
        steps = F.pad(turned["beside"][:, 1:, :OF_STEPS], (0, 0, 0, 1))
        turned["beside"] = torch.cat([steps, turned["beside"][..., OF_STEPS:]], -1)
        turned["gap"] = F.pad(turned["gap"][:, 1:], (0, 1))
    return turned


def batches(data: list[Trial], size: int, seed: int, first: int) -> Iterator[Trial]:
    """Endless batches of one length each, turned and shaken; what a step sees depends on its number."""
    by_length = defaultdict(list)
    for trial in data:
        by_length[len(trial["beside" if "beside" in trial else "rows"])].append(trial)
    groups = [by_length[length] for length in sorted(by_length)]
    share = np.array([len(group) for group in groups]) / len(data)
    step = first
    while True:
        rng = np.random.default_rng([seed, step])
        group = groups[int(rng.choice(len(groups), p=share))]
        chosen = [group[i] for i in rng.choice(len(group), min(size, len(group)), replace=False)]
        read = {name: torch.stack([one[name] for one in chosen]) for name in chosen[0]}
        read = flipped(read) if rng.random() < 0.5 else read
        if "thumbs" in read and rng.random() < 0.5:
            read["thumbs"] = read["thumbs"].flip(3)
        for name in {"rows", "beside"} & set(read):
            shake = rng.normal(0, 0.01, read[name].shape).astype(np.float32)
            read[name] = read[name] + torch.from_numpy(shake)
        yield read
        step += 1


def fit(
    head: VolumeHead, part: str, data: list[Trial], loss_of: Callable[[VolumeHead, Trial], torch.Tensor],
    args: argparse.Namespace, folder: Path,
) -> None:  # fmt: skip
    """Train one part and put its averaged weights into `head`; goes on from the state in `folder`."""
    torch.manual_seed(args.seed)
    accelerator, own = Accelerator(cpu=args.cpu), VolumeHead(head.config)
    optimiser = torch.optim.AdamW(own.parameters(), lr=RATE, weight_decay=0.02)
    wrapped, optimiser = accelerator.prepare(own, optimiser)
    average = MovingAverage(own, 0.99)
    step = int(load_state(accelerator, folder, average).get("step", 0))
    steps = max(1, args.epochs * len(data) // BATCH[part])
    for read in batches(data, BATCH[part], args.seed, step):
        if step >= steps:
            break
        for group in optimiser.param_groups:
            group["lr"] = RATE * warm_cosine(step / steps)
        loss = loss_of(wrapped, {name: values.to(accelerator.device) for name, values in read.items()})
        optimiser.zero_grad()
        accelerator.backward(loss)
        torch.nn.utils.clip_grad_norm_(own.parameters(), 1.0)
        optimiser.step()
        average.update(own)
        if step % 100 == 0:
            print(f"{part}: step {step} of {steps}, loss {float(loss.detach()):.3f}", flush=True)
        step += 1
        if step % SAVE_EVERY == 0 or step == steps:
            save_state(accelerator, folder, average, {"step": step})
    trained = {
        name: value for name, value in average.state.items() if (name.split(".")[0] in BETWEEN) == (part == "between")
    }
    head.load_state_dict(trained, strict=False)
    head.eval()


@torch.no_grad()
def judge(
    head: VolumeHead, slices: list[Trial], steps: list[Trial], trained_steps: list[Trial]
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """(figures, thresholds): agreement of a volume's score with its label for each way to weigh slices, and faults.

    A fault is told above the probability that FALSE of the volumes without it, and of those without any, reach. Between
    slices the training volumes must bear that too: there are more of them, and the part is too small to know them.
    """
    figures: dict[str, dict[str, float]] = {}
    read = [tuple(out[0] for out in head.slices(one["rows"][None], one["thumbs"][None])) for one in slices]
    scores = [one["rows"][:, 0] * 4 for one in slices]
    label = np.array([float(one["label"]) for one in slices])
    for name, found in (
        ("learned attention", [float(weighted(s[None], a[None])) for s, (a, _) in zip(scores, read, strict=True)]),
        ("seven slices", [float(s[seven_slices(len(s))].mean()) for s in scores]),
        ("mean", [float(s.mean()) for s in scores]),
    ):
        figures[name] = {"rmse": float(np.sqrt(np.mean((np.array(found) - label) ** 2)))}
        if not np.isnan(srcc := correlation.srcc(np.array(found), label)):  # a tiny run may hold one label alone
            figures[name]["srcc"] = srcc
    shares = [float(a.softmax(-1).max()) * len(a) for one, (a, _) in zip(slices, read, strict=True) if one["clean"]]
    figures["largest of the clean shares"] = {"median": float(np.median(shares)), "most": float(np.max(shares))}
    between, trained = (
        [[out[0] for out in head.between_slices(one["beside"][None])] for one in part]
        for part in (steps, trained_steps)
    )
    thresholds = {}
    for flag, trials, logits, more in (
        ("stands_out", slices, [out[1] for out in read], []),
        ("gap", steps, [out[0] for out in between], _rows("gap", trained_steps, [out[0] for out in trained])),
        ("moved", steps, [out[1] for out in between], _rows("moved", trained_steps, [out[1] for out in trained])),
    ):
        rows = _rows(flag, trials, logits)
        thresholds[flag] = max(_threshold(rows), _threshold(more))
        figures[flag] = _found(rows, thresholds[flag])
    return figures, thresholds


Row = tuple[torch.Tensor, torch.Tensor, bool]  # where a fault is, its probability (S,), whether the volume is clean


def _rows(flag: str, trials: list[Trial], logits: list[torch.Tensor]) -> list[Row]:
    return [(one[flag] > 0, p.sigmoid(), bool(one["clean"])) for one, p in zip(trials, logits, strict=True)]


def _threshold(rows: list[Row]) -> float:
    without = [(float(p.max()), clean) for true, p, clean in rows if not true.any()]
    levels = [np.quantile(part, 1 - FALSE) for part in ([p for p, _ in without], [p for p, c in without if c]) if part]
    return float(np.clip(max(levels, default=0.0), LEAST_THRESHOLD, LARGEST_THRESHOLD))


def _found(rows: list[Row], threshold: float) -> dict[str, float]:
    there = [(true, p) for true, p, _ in rows if true.any()]
    without = [(float(p.max()), clean) for true, p, clean in rows if not true.any()]
    shares = {
        "named first": [bool(true[p.argmax()]) for true, p in there],
        "found": [bool((p[true] > threshold).any()) for true, p in there],
        "blamed in a clean volume": [p > threshold for p, clean in without if clean],
        "blamed without": [p > threshold for p, _ in without],
    }
    found = {name: float(np.mean(values)) for name, values in shares.items() if values}
    return found | {"volumes": float(len(there))}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, nargs="+", default=(), help="folders with a manifest.csv; left out: phantoms alone"
    )
    parser.add_argument("--base", default="nano", help="scorer that reads the slices")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--to", type=Path, help="folder of weights to put the head into")
    parser.add_argument("--phantoms", type=int, default=6, help="of each modality, a third as many to validate")
    parser.add_argument("--faults", type=int, default=3, help="trials of a volume beside the clean one")
    parser.add_argument("--most-slices", type=int, default=16, help="of a volume")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpu", action="store_true")
    args = parser.parse_args(argv)
    set_seed(args.seed)
    loaded = checkpoint.load(args.base, with_volume_head=False)  # the head beside it may be of another version
    medq, head = MedQ(loaded, checkpoint.preset_folder(args.base)), VolumeHead(VolumeConfig())
    few = max(1, args.phantoms // 3)
    about = f"{args.most_slices}-{args.seed}"
    folder = args.out / f"between-{about}"
    trained, steps = steps_of(args, folder, "train", args.phantoms), steps_of(args, folder, "validation", few)
    fit(head, "between", trained, loss_of_steps, args, folder / f"state-{len(trained)}-{args.epochs}")
    folder = args.out / f"{medq.identity['sha256'][:12]}-{about}-{args.faults}"
    data, slices = (
        slices_of(args, folder, medq, "train", args.phantoms),
        slices_of(args, folder, medq, "validation", few),
    )
    fit(head, "slices", data, loss_of_slices, args, folder / f"state-{len(data)}-{args.epochs}")
    figures, thresholds = judge(head, slices, steps, trained)
    print(json.dumps(figures, indent=1))
    record = {"config": asdict(head.config), "thresholds": thresholds, "validation": figures}
    save_file(
        {name: value.contiguous() for name, value in head.state_dict().items()}, args.out / checkpoint.VOLUME_FILE
    )
    (args.out / "volume.json").write_text(json.dumps(record, indent=1) + "\n")
    if args.to:
        checkpoint.save_volume_head(args.to, head, record)


if __name__ == "__main__":
    main()
