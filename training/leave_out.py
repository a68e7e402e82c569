"""How the scorer does on sources it never saw: the head trained without some, and what it says of them.

    python -m training.leave_out --shards runs/shards --features runs/quality/features_train --base runs/first/nano \
        --leave us_deid_heart histo_cmu1 --out runs/unfamiliar.npz

Validation subjects come from known sources, and a score calibrated on them alone is too sure of unfamiliar images: good
ones are rejected. `training.train_quality --unfamiliar` calibrates on both. The base must not have seen the sources.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from medq_vlm import checkpoint, vocab
from medq_vlm.config import ViewConfig
from medq_vlm.encoder.scorer import UNKNOWN
from training.data import Shards
from training.fit_head import HEAD_TILES, cached, one_run, run_head
from training.fit_second import fit_second
from training.synthesize import VERSIONS
from training.unfamiliar import Unfamiliar


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument(
        "--features", type=Path, required=True, help="cached by training.train_quality, made if missing"
    )
    parser.add_argument("--base", required=True, help="weights that never saw the sources")
    parser.add_argument("--leave", nargs="+", required=True, help="sources to leave out; phantoms always train")
    parser.add_argument("--head-epochs", type=int, default=2)
    parser.add_argument("--head-rate", type=float, default=6e-4)
    parser.add_argument("--second-opinions", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    data = Shards(args.shards, "train", ViewConfig())
    left = np.isin(data.labels["source"], args.leave)
    rows = np.flatnonzero(left & data.labels["medical"])
    if not len(rows):
        raise ValueError(f"No medical version of {', '.join(args.leave)} in {args.shards}.")
    model = checkpoint.load(args.base).model.requires_grad_(True)
    features = cached(args.features, model, data, len(data), HEAD_TILES)
    for parameter in model.clip.visual.parameters():
        parameter.requires_grad_(False)
    quads = np.flatnonzero(~left.reshape(-1, VERSIONS).any(1))
    torch.manual_seed(args.seed)
    model.load_state_dict(one_run(model, features, data, args, 0, quads=quads))
    fit_second(model, data, args.second_opinions, args.seed, ~left)
    model.eval()
    anchors, parts = model.anchors().detach(), []
    with torch.no_grad():
        for index in np.array_split(rows, max(1, len(rows) // 256)):
            unknown = torch.full((len(index),), UNKNOWN)
            out = run_head(model, features, data.statistics(index), index, features.padded[index], unknown, anchors)
            parts.append((out.score.softmax(-1).numpy(), out.severities().numpy()))
    distribution, severities = (np.concatenate(p) for p in zip(*parts, strict=True))
    quality, truth, modality = (data.labels[name][rows] for name in ("quality", "severities", "modality"))
    Unfamiliar(distribution, quality, severities, truth, modality).save(args.out)
    score, clean = distribution @ np.linspace(0, 4, vocab.SCORE_BINS), quality >= 4.0
    print(
        f"{len(rows)} versions of {len(args.leave)} sources: SRCC {stats.spearmanr(score, quality).statistic:.3f}, "
        f"mean error {np.abs(score - quality).mean():.2f}, clean: "
        f"{(score[clean] < vocab.USABLE_FROM).mean():.2f} reject, {(score[clean] >= vocab.GOOD_FROM).mean():.2f} good"
    )


if __name__ == "__main__":
    main()
