"""What the scorer sees of the gate's pictures, kept on disk: python -m training.gate_features --out runs/gate

    python -m training.gate_features --data DIR --not-medical DIR --out runs/gate

An interrupted run goes on where it stopped; a part holds BATCH pictures in a fixed shuffled order. `--split held-out`
makes features of clean and degraded images of sources that train nothing, `--phantoms MODALITY COUNT` more phantoms.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from medq_vlm import checkpoint, vocab
from medq_vlm.encoder import predict
from medq_vlm.encoder.predict import EncodedSlice, cut_views
from medq_vlm.encoder.preprocess import canonical
from medq_vlm.encoder.scorer import UNKNOWN
from medq_vlm.evidence.statistics import features
from medq_vlm.schema import ImageSample
from training.gate_pictures import Job, all_jobs, make, phantom_jobs

BATCH = 50
TILES = 6  # of a picture's 20 to 30, evenly: the gate reads their mean, and the tower is nearly all of the cost
MORE_FROM = 900_000  # seeds of `--phantoms`
SPLITS = {"train": ("train", "validation"), "held-out": ("held-out",)}


@dataclass(frozen=True)
class Pictures:
    """Features and facts of N pictures."""

    tiles: np.ndarray  # (N, P) mean over the tiles
    whole: np.ndarray  # (N, P)
    statistics: np.ndarray  # (N, F) raw
    fused: np.ndarray  # (N, D) the head's fused features, modality withheld
    modality: np.ndarray  # (N,) index, -1 of a foreign picture
    medical: np.ndarray  # (N,) bool
    validation: np.ndarray  # (N,) bool
    score: np.ndarray  # (N,) the scorer's raw score
    before: np.ndarray  # (N,) logit of the head's own layer for medical images
    source: np.ndarray
    group: np.ndarray
    version: np.ndarray

    def where(self, rows: np.ndarray) -> Pictures:
        return Pictures(**{name: value[rows] for name, value in vars(self).items()})

    def __len__(self) -> int:
        return len(self.medical)


@torch.no_grad()
def read(loaded: checkpoint.Checkpoint, sample: ImageSample) -> dict[str, np.ndarray]:
    """Features of one slice, of TILES of its tiles."""
    model = loaded.model
    view = canonical(sample, 0, loaded.view)
    tiles, whole, origins = cut_views(view.plane, loaded.view)
    few = np.unique(np.linspace(0, len(tiles) - 1, TILES).round().astype(int))
    encoded = EncodedSlice(
        model.view_tokens(tiles[few]), model.view_tokens(whole)[0],
        torch.from_numpy(features(view.plane, view.mask)), tuple(origins[k] for k in few), view.plane.shape[:2],
    )  # fmt: skip
    kept: list[torch.Tensor] = []
    hook = model.to_medical.register_forward_hook(lambda _module, given, _out: kept.append(given[0]))
    try:
        out = predict.predict(model, encoded, UNKNOWN, loaded.anchors)
        head = model.to_medical(kept[0])
    finally:
        hook.remove()
    return {
        "tiles": encoded.tiles.mean(0).numpy(), "whole": encoded.whole.numpy(),
        "statistics": encoded.statistics.numpy(), "fused": kept[0][0].numpy(),
        "score": out.score_mean()[0].numpy(), "before": head[0, 0].numpy(),
    }  # fmt: skip


def _row(loaded: checkpoint.Checkpoint, job: Job) -> dict[str, np.ndarray]:
    sample = make(job)
    known = vocab.MODALITIES.index(sample.modality) if sample.modality else -1
    facts = {
        "modality": known, "medical": job.medical, "validation": job.split == "validation", "source": job.source,
        "group": job.group, "version": job.version,
    }  # fmt: skip
    return read(loaded, sample) | {name: np.asarray(value) for name, value in facts.items()}


def load(folder: Path, split: str = "train") -> Pictures:
    """All parts that are there."""
    parts = [np.load(path) for path in sorted(folder.glob(f"{split}_*.npz"))]
    return Pictures(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0].files})


def main(argv: list[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    p.add_argument("--data", type=Path, nargs="+", default=[], help="folders with a manifest.csv; none: phantoms alone")
    p.add_argument("--not-medical", type=Path, help="folder of photographs, pages and screenshots")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--weights", default="nano")
    p.add_argument("--split", choices=tuple(SPLITS), default="train")
    p.add_argument(
        "--phantoms", nargs=2, metavar=("MODALITY", "COUNT"), help="so many phantoms of one modality instead"
    )
    p.add_argument("--most", type=int, help="no more than so many pictures")
    args = p.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    loaded = checkpoint.load(args.weights, with_volume_head=False)
    name = args.split
    if args.phantoms:
        name, jobs = (
            f"{args.split}_{args.phantoms[0]}",
            phantom_jobs(args.phantoms[0], int(args.phantoms[1]), MORE_FROM),
        )
    else:
        jobs = all_jobs(args.data, args.not_medical, SPLITS[args.split])[: args.most]
    print(f"{len(jobs)} pictures", flush=True)
    for first in range(0, len(jobs), BATCH):
        path = args.out / f"{name}_{first:05d}.npz"
        if path.exists():
            continue
        rows = [_row(loaded, job) for job in jobs[first : first + BATCH]]
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez(file, **{name: np.stack([row[name] for row in rows]) for name in rows[0]})  # type: ignore[arg-type]
        partial.rename(path)
        print(path.name, flush=True)


if __name__ == "__main__":
    main()
