"""Artefacts nobody trained on must lower the score, too: python -m eval.run_unseen --manifest FILE [--out FILE]

Each clean image gets every artefact of eval/unseen.py in four steps; every pair of steps, the clean image among them,
should be in order.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eval import bootstrap, results
from eval.cases import contents
from eval.manifest import clean_rows, read_manifest, split_rows, spread
from eval.ordering import pair_outcomes
from eval.outcomes import SliceScorer
from eval.tables import Cell, table
from eval.unseen import ARTEFACTS, STEPS, spoiled
from medq_vlm.schema import MedQError

BOUND = 0.9  # issue 3: ladders in order


@dataclass(frozen=True)
class Rung:
    """One scored image of a ladder; step 0 is the clean image."""

    content: str
    group: str
    artefact: str
    step: int
    score: float


def main(argv: Sequence[str] | None = None) -> int:
    """Score all ladders, print the table, write the JSON; 1 when too few pairs are in order."""
    from medq_vlm.pipeline import MedQ

    argv = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_args(argv)
    try:
        model = MedQ.load(preset=args.weights)
        held_out = set(model.checkpoint.meta.get("held_out_sources", ()))
        rows, _ = split_rows(clean_rows(read_manifest(args.manifest)), held_out, args.split)
        rungs = list(ladders(model, spread(rows, args.limit, args.seed), args.seed))
        numbers = summary(rungs, args.draws)
    except MedQError as error:
        print(f"eval.run_unseen: {error}", file=sys.stderr)
        return error.exit_code
    body: list[list[Cell]] = [
        [name, row["in order"], row["clean"], *[float(v) for v in row["steps"]]] for name, row in numbers.items()
    ]
    print(table(["artefact", "pairs in order", "clean", *(f"step {n + 1}" for n in range(STEPS))], body))
    if args.out:
        told = {"split": args.split, "images": len({r.content for r in rungs}), "artefacts": numbers}
        results.write(args.out, "eval.run_unseen", argv, told)
    return int(numbers["all"]["in order"].value < BOUND)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="eval.run_unseen", description=(__doc__ or "").splitlines()[0])
    p.add_argument("--weights", default="nano", help="nano, or a folder with weights")
    p.add_argument("--manifest", type=Path, required=True, help="CSV of clean images")
    p.add_argument("--split", choices=("held-out", "all"), default="held-out")
    p.add_argument("--limit", type=int, default=24, help="images of the manifest")
    p.add_argument("--draws", type=int, default=500, help="of the bootstrap")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", type=Path, help="write all figures to this JSON file")
    return p


def ladders(model: SliceScorer, rows: Sequence[Any], seed: int) -> Iterator[Rung]:
    """Every artefact of every image, the clean image once in each ladder."""
    for row in rows:
        for content in contents(row, 1):
            clean = float(model.score_slice(content.sample).score)
            for name in ARTEFACTS:
                chance = zlib.crc32(f"{seed}{content.name}{name}".encode())
                yield Rung(content.name, content.group, name, 0, clean)
                for step in range(STEPS):
                    said = model.score_slice(spoiled(content.sample, name, step, chance))
                    yield Rung(content.name, content.group, name, step + 1, float(said.score))


def summary(rungs: Sequence[Rung], draws: int) -> dict[str, dict[str, Any]]:
    """By artefact and for all: share of pairs in order with its interval over subjects, mean score of each step."""
    out = {}
    for name in (*ARTEFACTS, "all"):
        some = [rung for rung in rungs if name in (rung.artefact, "all")]
        step = np.array([rung.step for rung in some])
        score = np.array([rung.score for rung in some])
        right, row = pair_outcomes([(rung.content, rung.artefact) for rung in some], step, score)
        groups = np.array([rung.group for rung in some])[row]
        out[name] = {
            "in order": bootstrap.estimate(partial(_share, right), groups, draws=draws),
            "clean": float(score[step == 0].mean()),
            "steps": [float(score[step == n + 1].mean()) for n in range(STEPS)],
        }
    return out


def _share(right: np.ndarray, rows: np.ndarray) -> float:
    return float(right[rows].mean())


if __name__ == "__main__":
    raise SystemExit(main())
