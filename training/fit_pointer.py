"""Fit the pointer (medq_vlm/encoder/pointer.py): where does a kind lie that lies somewhere?

    python -m training.fit_pointer --data DIR --images 2000 --out medq_vlm/weights/nano

Contents are degraded by one local kind each; a window shows it by the share of its pixels that changed inside the
recorded box. Without --data phantoms alone. --out puts the pointer beside the scorer that the features are of; nothing
else of it changes, bit by bit. Half a second an image on one core.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from medq_vlm import checkpoint, degrade, vocab
from medq_vlm.degrade.sample import SMALLEST_PX, apply_record
from medq_vlm.encoder.pointer import STEP_PX, WINDOW_PX, Pointer
from medq_vlm.encoder.predict import cut_views, window_tokens
from medq_vlm.encoder.preprocess import canonical, resize
from medq_vlm.schema import DegradationRecord, ImageSample
from training.export import put_layer
from training.rendering import render_before
from training.sources import by_modality, real_contents
from training.synthesize import draw_content

LEAST_SEVERITY = 1.0
CHANGED = 0.2  # of the largest change: less is the far end of a streak
KEPT_SHOWN, KEPT_OTHER = 80, 120  # windows of a training image, at most
EPOCHS, BATCH, RATE = 6, 1024, 1e-3


@dataclass(frozen=True)
class Windows:
    """N windows of several images, each with one local kind."""

    seen: torch.Tensor  # (N, P) half precision
    share: torch.Tensor  # (N,) of the window that shows the kind, 0 to 1
    kind: torch.Tensor  # (N,) of vocab.LOCAL_KINDS
    modality: torch.Tensor  # (N,) ids
    image: torch.Tensor  # (N,)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", default=[], help="folders with a manifest.csv each")
    parser.add_argument("--images", type=int, default=2000, help="degraded images to train on")
    parser.add_argument("--check", type=int, default=240, help="validation images")
    parser.add_argument("--weights", default="nano", help="the scorer whose tower it reads")
    parser.add_argument("--out", type=Path, help="folder of weights to put the pointer into")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    torch.manual_seed(args.seed)
    loaded = checkpoint.load(args.weights, with_volume_head=False)
    found, check = (
        look(loaded, args.data, split, count, args.seed, few=split == "train")
        for split, count in (("train", args.images), ("validation", args.check))
    )
    pointer = fit(Pointer(loaded.model.pooled_width), found)
    record = {
        "images": args.images,
        "windows": len(found.seen),
        "epochs": EPOCHS,
        "validation": figures(pointer, check),
    }
    print(json.dumps(record, indent=1))
    if args.out:
        put_layer(args.out, "pointer", pointer, {"pointer": record})
        print(f"wrote {args.out}")


def look(loaded: checkpoint.Checkpoint, data: list[Path], split: str, count: int, seed: int, few: bool) -> Windows:
    """Windows of `count` degraded images of a split; `few`: not all of an image, so that more images fit in memory."""
    pools = by_modality([content for folder in data for content in real_contents(folder, (split,))])
    rng = np.random.default_rng(seed)
    parts: list[tuple[torch.Tensor, ...]] = []
    while len(parts) < count:
        clean = render_before(draw_content(pools, rng, split).sample, rng)
        kinds = [kind for kind in vocab.kinds_for(str(clean.modality)) if kind in vocab.LOCAL_KINDS]
        size = clean.pixels.shape[1:3]
        if not kinds or min(size) < SMALLEST_PX:
            continue
        kind, severity = str(rng.choice(kinds)), float(rng.uniform(LEAST_SEVERITY, 4.0))
        record = degrade.draw(kind, str(clean.modality), severity, int(rng.integers(1 << 31)), size)
        degraded = apply_record(clean, record)
        where = shown(clean, degraded, record)
        if not where.any():
            continue
        seen, share = read(loaded, degraded, where)
        if few:
            rows = torch.from_numpy(rng.permutation(len(seen)))
            much = share[rows] > 0.5
            rows = torch.cat([rows[much][:KEPT_SHOWN], rows[~much][:KEPT_OTHER]])
            seen, share = seen[rows], share[rows]
        ids = (vocab.LOCAL_KINDS.index(kind), vocab.MODALITIES.index(str(clean.modality)), len(parts))
        parts.append((seen.half(), share, *(torch.full((len(seen),), number) for number in ids)))
        if len(parts) % 100 == 0:
            print(f"{split} {len(parts)} images", flush=True)
    return Windows(*(torch.cat(column) for column in zip(*parts, strict=True)))


def shown(clean: ImageSample, degraded: ImageSample, record: DegradationRecord) -> np.ndarray:
    """float32 (H, W): 1 where the first slice changed by its kind, inside the record's box where there is one."""
    change = np.abs(degraded.pixels[0] - clean.pixels[0])
    change = change if change.ndim == 2 else change.mean(-1)
    changed = change > CHANGED * np.percentile(change[change > 0], 95) if change.any() else change > 0
    if record.box is not None:
        x0, y0, x1, y1 = record.box
        inside = np.zeros_like(changed)
        inside[y0:y1, x0:x1] = changed[y0:y1, x0:x1]
        changed = inside
    return changed.astype(np.float32)


@torch.no_grad()
def read(loaded: checkpoint.Checkpoint, sample: ImageSample, where: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Pooled features (N, P) of all windows of a slice, and the share (N,) of each that `where` (H, W) covers."""
    view, tile = canonical(sample, 0, loaded.view), loaded.view.tile_px
    tiles, _, origins = cut_views(view.plane, loaded.view)
    seen = window_tokens(loaded.model.maps(tiles), tile, WINDOW_PX, STEP_PX)
    x0, y0, x1, y1 = view.box
    h, w = view.plane.shape[:2]
    covered = np.clip(resize(where[y0:y1, x0:x1], (h, w)), 0, 1)
    padded = np.pad(covered, ((0, max(0, tile - h)), (0, max(0, tile - w))))
    cut = torch.from_numpy(np.stack([padded[y : y + tile, x : x + tile] for y, x in origins]))
    return seen.flatten(0, 2), F.avg_pool2d(cut[:, None], WINDOW_PX, STEP_PX).flatten()


def fit(pointer: Pointer, found: Windows) -> Pointer:
    """Binary cross-entropy of the kind that is there; what other kinds would look like nobody asks."""
    pointer.seen_mean.copy_(found.seen.float().mean(0))
    pointer.seen_std.copy_(found.seen.float().std(0).clamp(min=1e-3))
    optimiser = torch.optim.AdamW(pointer.parameters(), lr=RATE, weight_decay=0.05)
    slower = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.6)
    pointer.train()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(found.seen)).split(BATCH):
            loss = nn.functional.binary_cross_entropy_with_logits(said(pointer, found, rows), found.share[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        slower.step()
    return pointer.eval()


def said(pointer: Pointer, found: Windows, rows: torch.Tensor) -> torch.Tensor:
    """Logit (R,) of each window's own kind; the modality is withheld from none."""
    logits = pointer(found.seen[rows].float(), found.modality[rows])
    return logits.gather(1, found.kind[rows][:, None])[:, 0]


@torch.no_grad()
def figures(pointer: Pointer, check: Windows) -> dict[str, float]:
    """Of the images: how often the likeliest window shows the kind (on a third of it), and how often any one does."""
    likely = said(pointer, check, torch.arange(len(check.seen)))
    hit, chance = [], []
    for image in range(int(check.image.max()) + 1):
        own = check.image == image
        there = check.share[own] > 1 / 3
        hit.append(float(there[likely[own].argmax()]))
        chance.append(float(there.float().mean()))
    return {"images": len(hit), "pointed at": float(np.mean(hit)), "by chance": float(np.mean(chance))}


if __name__ == "__main__":
    main()
