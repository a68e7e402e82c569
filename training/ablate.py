"""What each part of the scorer's head is worth: the head trained again without it, on the same cached features.

    python -m training.ablate --shards runs/shards --features runs/quality --base nano --out eval/results/ablation.json

Every variant starts from the same tower and sees the same samples in the same order, once, for --head-epochs. Figures
are of validation subjects, with 95 % intervals over subjects; the difference to the full head is paired.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from eval import results
from eval.bootstrap import Estimate, estimate
from eval.tables import Cell, table
from medq_vlm import checkpoint
from medq_vlm.config import ScorerConfig, ViewConfig
from medq_vlm.encoder.scorer import UNKNOWN, Scorer
from medq_vlm.evidence.statistics import FEATURE_NAMES
from training.data import Shards
from training.fit_head import HEAD_TILES, Features, cached, one_run, run_head
from training.validation import macro_f1

DRAWS = 300
TOWERS = ("clip.", "statistics_mean", "statistics_std")  # of a scorer's weights: all that is not head


@dataclass(frozen=True)
class Variant:
    """The full head with something left out."""

    name: str
    experts: int = 4
    queries: int = 8
    statistics: bool = True
    tower: bool = True
    modality: bool = True  # told when known
    described: bool = True  # acquisition descriptions are read

    def config(self) -> ScorerConfig:
        return ScorerConfig(
            statistics=len(FEATURE_NAMES) if self.statistics else 0, experts=self.experts, queries=self.queries,
            use_tower=self.tower,
        )  # fmt: skip


VARIANTS = (
    Variant("full"),
    Variant("one expert (no mixture)", experts=1),
    Variant("one query", queries=1),
    Variant("modality never told", modality=False),
    Variant("descriptions not read", described=False),
    Variant("no statistics", statistics=False),
    Variant("no tower (statistics + MLP)", tower=False),
)


def train(
    variant: Variant, tower: dict[str, torch.Tensor], features: Features, data: Shards, args: argparse.Namespace
) -> Scorer:
    """The head of `variant` on the tower's cached features."""
    torch.manual_seed(args.seed)
    model = Scorer(variant.config())
    own = model.state_dict()
    kept = {name: value for name, value in tower.items() if name in own and own[name].shape == value.shape}
    model.load_state_dict(kept, strict=False)
    for parameter in model.clip.visual.parameters():
        parameter.requires_grad_(False)
    state = one_run(model, features, data, args, 0, variant.modality, variant.described)
    model.load_state_dict(state)
    return model


@torch.no_grad()
def judge(variant: Variant, model: Scorer, features: Features, data: Shards, seed: int) -> dict[str, np.ndarray]:
    """Scores against the quality for the purpose described, and severities, of all validation samples."""
    model.eval()
    anchors, rng = model.anchors(), np.random.default_rng(seed)
    parts: dict[str, list[np.ndarray]] = {"score": [], "quality": [], "severities": [], "described": []}
    for index in np.array_split(np.arange(len(features)), max(1, len(features) // 256)):
        labels = data.batch_labels(index, None, described=rng)
        given = labels.given if variant.modality else torch.full_like(labels.given, UNKNOWN)
        prior = model.read_prior(labels.texts if variant.described else [""] * len(index))
        out = run_head(model, features, data.statistics(index), index, features.padded[index], given, anchors, prior)
        values = {
            "score": out.score_mean(), "quality": labels.quality, "severities": out.severities(),
            "described": (labels.demand != 0).any(1),
        }  # fmt: skip
        for name, value in values.items():
            parts[name].append(value.cpu().numpy())
    return {name: np.concatenate(value) for name, value in parts.items()}


def figures(found: dict[str, np.ndarray], full: dict[str, np.ndarray], data: Shards) -> dict[str, Estimate | float]:
    """SRCC, its difference to the full head, SRCC where a purpose is described, macro F1."""
    lab = {name: value[: len(found["score"])] for name, value in data.labels.items()}
    rows = np.flatnonzero(lab["medical"])
    groups = lab["group"][rows]

    def srcc(of: dict[str, np.ndarray], at: np.ndarray) -> float:
        return float(stats.spearmanr(of["score"][rows[at]], of["quality"][rows[at]]).statistic)

    def where_described(at: np.ndarray) -> float:
        return srcc(found, at[found["described"][rows[at]]])

    return {
        "srcc": estimate(lambda r: srcc(found, r), groups, 0, DRAWS),
        "difference": estimate(lambda r: srcc(found, r) - srcc(full, r), groups, 0, DRAWS),
        "srcc_described": estimate(where_described, groups, 0, DRAWS),
        "macro_f1": macro_f1(found["severities"], lab),
    }


def main(argv: Sequence[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--features", type=Path, required=True, help="--out of train_quality, with its tower")
    parser.add_argument("--base", help="a preset whose towers are used instead; every head starts from nothing")
    parser.add_argument("--head-epochs", type=int, default=8)
    parser.add_argument("--head-rate", type=float, default=1e-3)
    parser.add_argument("--head-samples", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(argv)
    from safetensors.torch import load_file

    view = ViewConfig()
    data, check = Shards(args.shards, "train", view), Shards(args.shards, "validation", view)
    if args.base:
        state = checkpoint.load(args.base, with_volume_head=False).model.state_dict()
        tower = {name: value for name, value in state.items() if name.startswith(TOWERS)}
    else:
        tower = load_file(args.features / "tower" / "average.safetensors")
    whole = Scorer(VARIANTS[0].config())
    whole.load_state_dict(tower, strict=False)
    features = cached(args.features / "features_train", whole, data, args.head_samples, HEAD_TILES)
    check_features = cached(args.features / "features_validation", whole, check, args.head_samples)
    found: dict[str, dict[str, np.ndarray]] = {}
    numbers: dict[str, dict[str, Estimate | float]] = {}
    for variant in VARIANTS:
        model = train(variant, tower, features, data, args)
        found[variant.name] = judge(variant, model, check_features, check, args.seed)
        numbers[variant.name] = figures(found[variant.name], found["full"], check)
        print(variant.name, numbers[variant.name], flush=True)
    columns = ["srcc", "difference", "srcc_described", "macro_f1"]
    rows: list[list[Cell]] = [[name, *(row[column] for column in columns)] for name, row in numbers.items()]
    print(table(["", *columns], rows))
    if args.out:
        results.write(args.out, "training.ablate", argv, {"samples": len(check_features), "numbers": numbers})


if __name__ == "__main__":
    main()
