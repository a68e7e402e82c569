"""Train the volume head on the scorer's own reading of whole volumes.

    python -m training.train_volume --data images --out runs/volume --to medq_vlm/weights/nano

Two passes: volumes are made, degraded and read slice by slice (kept in --out, so that the second pass can be run
again), then the head learns which slices count, which one stands out, where slices are missing or displaced. It is
judged against the fixed seven-slice rule and the plain mean on other phantoms and subjects.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import set_seed
from scipy.stats import spearmanr

from eval.volume_faults import Trial, trials
from medq_vlm import checkpoint
from medq_vlm.config import VolumeConfig
from medq_vlm.encoder.preprocess import canonical
from medq_vlm.encoder.volume import VolumeHead, VolumeOutputs, seven_slices, slice_row, thumb, weighted
from medq_vlm.pipeline import MedQ
from medq_vlm.schema import ImageSample
from training.loop import MovingAverage, warm_cosine
from training.volumes import contents, encoded

RATE, BATCH = 2e-3, 8
FLAGS = ("stands_out", "gap", "moved")
FALSE = 0.03  # share of volumes without a fault that may be blamed for it
LARGEST_THRESHOLD = 0.99
RARE = 6.0  # weight of a slice that stands out, of a gap, of a displaced slice


@dataclass
class Read:
    """A trial as the head sees it, and its labels."""

    rows: torch.Tensor  # (S, WIDTH_IN)
    thumbs: torch.Tensor  # (S, t, t)
    label: float
    name: str
    fault: str
    stands_out: torch.Tensor  # (S,) 0 or 1
    gap: torch.Tensor
    moved: torch.Tensor

    @property
    def scores(self) -> torch.Tensor:
        return self.rows[:, 0] * 4


def make(args: argparse.Namespace, split: str, phantoms: int) -> list[Read]:
    """Read the trials of a split, or take them from the file that an earlier run left."""
    path = args.out / f"{split}.pt"
    if path.exists():
        return [Read(**row) for row in torch.load(path, weights_only=True)]
    medq, config = MedQ.load(args.base), VolumeConfig()
    rng = np.random.default_rng([args.seed, split == "train"])
    most = args.most_slices

    def score(sample: ImageSample, index: int) -> tuple[np.ndarray, np.ndarray]:
        s = medq.score_slice(sample, index)
        view = canonical(sample, index, medq.checkpoint.view)
        return slice_row(s.score, s.interval, s.body_share, s.severity), thumb(view.plane, config.thumb_px)

    found: list[Read] = []
    for name, clean in contents(args.data, split, phantoms, most, rng):
        for trial, rows, thumbs in encoded(trials(name, clean, args.faults, rng), score):
            found.append(_read(trial, rows, thumbs))
        print(f"{split} {name}: {len(found)} trials", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    torch.save([vars(read) for read in found], path)
    return found


def _read(trial: Trial, rows: np.ndarray, thumbs: np.ndarray) -> Read:
    stands_out, gap, moved = (torch.from_numpy(getattr(trial, flag).astype(np.float32)) for flag in FLAGS)
    return Read(
        torch.from_numpy(rows), torch.from_numpy(thumbs.astype(np.float32)), trial.label, trial.name, trial.fault,
        stands_out, gap, moved,
    )  # fmt: skip


def loss_of(out: VolumeOutputs, read: Read) -> torch.Tensor:
    """One trial: the score of the whole, and three faults slice by slice."""
    whole = F.smooth_l1_loss(weighted(read.scores[None], out.attention)[0], torch.tensor(read.label))
    terms = [whole]
    for logits, target in ((out.stands_out, read.stands_out), (out.gap, read.gap), (out.moved, read.moved)):
        weight = torch.where(target > 0, RARE, 1.0)
        terms.append(F.binary_cross_entropy_with_logits(logits[0], target, weight))
    return torch.stack(terms).sum()


def flipped(read: Read) -> Read:
    """The volume from its other end; a gap lies behind the slice before it."""
    gap = F.pad(read.gap.flip(0)[1:], (0, 1))
    turned = {name: getattr(read, name).flip(0) for name in ("rows", "thumbs", "stands_out", "moved")}
    return replace(read, gap=gap, **turned)


def fit(head: VolumeHead, data: list[Read], args: argparse.Namespace) -> None:
    """Train in place and leave the averaged weights; one volume at a time, BATCH of them to a step."""
    accelerator = Accelerator(cpu=args.cpu)
    optimiser = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=0.02)
    average = MovingAverage(head, 0.99)
    steps = max(1, args.epochs * len(data) // BATCH)
    rng = np.random.default_rng(args.seed)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * warm_cosine(step / steps)
        total = torch.zeros(())
        for i in rng.integers(len(data), size=BATCH):
            read = flipped(data[i]) if rng.random() < 0.5 else data[i]
            thumbs = read.thumbs.flip(2) if rng.random() < 0.5 else read.thumbs
            rows = read.rows + 0.01 * torch.from_numpy(rng.normal(size=read.rows.shape).astype(np.float32))
            total = total + loss_of(head(rows[None], thumbs[None]), read) / BATCH
        optimiser.zero_grad()
        accelerator.backward(total)
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimiser.step()
        average.update(head)
        if step % 50 == 0:
            print(f"step {step} of {steps}: loss {float(total.detach()):.3f}", flush=True)
    head.load_state_dict(average.state)


@torch.no_grad()
def judge(head: VolumeHead, data: list[Read]) -> dict[str, dict[str, float]]:
    """Agreement of a volume's score with its label for each way to weigh slices, and how well faults are found."""
    head.eval()
    outs = [head(read.rows[None], read.thumbs[None]) for read in data]
    label = np.array([read.label for read in data])
    ways: dict[str, Callable[[Read, VolumeOutputs], float]] = {
        "learned attention": lambda r, o: float(weighted(r.scores[None], o.attention)),
        "seven slices": lambda r, o: float(r.scores[seven_slices(len(r.scores))].mean()),
        "mean": lambda r, o: float(r.scores.mean()),
    }
    found: dict[str, dict[str, float]] = {}
    for name, way in ways.items():
        score = np.array([way(read, out) for read, out in zip(data, outs, strict=True)])
        found[name] = {"srcc": float(spearmanr(score, label).statistic),
                       "rmse": float(np.sqrt(np.mean((score - label) ** 2)))}  # fmt: skip
    for fault, flag in (("one slice", "stands_out"), ("gap", "gap"), ("moved", "moved")):
        there = [(r, getattr(o, flag)[0].sigmoid()) for r, o in zip(data, outs, strict=True) if getattr(r, flag).any()]
        none = [getattr(o, flag)[0].sigmoid() for r, o in zip(data, outs, strict=True) if not getattr(r, flag).any()]
        found[fault] = {
            "named first": float(np.mean([bool(getattr(r, flag)[p.argmax()]) for r, p in there])),
            "found": float(np.mean([bool(p.max() > 0.5) for _, p in there])),
            "blamed without": float(np.mean([bool(p.max() > 0.5) for p in none])),
            "volumes": float(len(there)),
        }
    return found


@torch.no_grad()
def believed_from(head: VolumeHead, data: list[Read]) -> dict[str, float]:
    """Probability above which a fault is told: one volume in FALSE without the fault reaches it."""
    found = {}
    for flag in FLAGS:
        most = [
            float(getattr(head(r.rows[None], r.thumbs[None]), flag).max()) for r in data if not getattr(r, flag).any()
        ]
        logit = float(np.quantile(most, 1 - FALSE)) if most else 0.0
        found[flag] = min(LARGEST_THRESHOLD, max(0.5, 1 / (1 + float(np.exp(-logit)))))
    return found


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with manifest.csv; left out: phantoms alone")
    parser.add_argument("--base", default="nano", help="scorer that reads the slices")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--to", type=Path, help="folder of weights to put the head into")
    parser.add_argument("--phantoms", type=int, default=14, help="of each modality, a third as many to validate")
    parser.add_argument("--faults", type=int, default=7, help="trials of a volume beside the clean one")
    parser.add_argument("--most-slices", type=int, default=24, help="of a volume")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpu", action="store_true")
    args = parser.parse_args(argv)
    set_seed(args.seed)
    data, check = make(args, "train", args.phantoms), make(args, "validation", max(1, args.phantoms // 3))
    head = VolumeHead(VolumeConfig())
    fit(head, data, args)
    figures, thresholds = judge(head, check), believed_from(head, check)
    print(json.dumps(figures, indent=1))
    if args.to:
        checkpoint.save_volume_head(
            args.to, head, {"config": asdict(head.config), "thresholds": thresholds, "validation": figures}
        )


if __name__ == "__main__":
    main()
