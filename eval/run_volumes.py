"""Faults of volumes: are they found, and does the score of the whole agree with what a reader would weigh?

    python -m eval.run_volumes [--manifest FILE] [--out FILE]

Volumes of phantoms, and held-out series of the manifest, get the faults of eval/volume_faults.py. Found: the fault is
told, and its place first. Beside the learned volume head: the rule of falls below the neighbours (medq_vlm/outliers.py)
for the one bad slice, the fixed seven slices (MedIQA) and the plain mean for the score.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from eval import correlation, results
from eval.bootstrap import Estimate, estimate
from eval.manifest import clean_rows, read_manifest
from eval.tables import Cell, table
from eval.volume_faults import Trial, trials, unbroken
from medq_vlm import io, stack
from medq_vlm.encoder.volume import seven_slices
from medq_vlm.outliers import outliers
from medq_vlm.phantoms import THICK, THIN, VOLUME_MODALITIES, phantom_volume
from medq_vlm.schema import ImageSample, IngestError

if TYPE_CHECKING:
    from medq_vlm.pipeline import MedQ
    from medq_vlm.slice_scores import SliceScores

LEAST_SLICES = 10  # of a real series
FIRST_SEED = 7_000_000  # of phantoms that train nothing


@dataclass(frozen=True)
class Told:
    """One trial and what was said of it."""

    trial: Trial
    stack: stack.Stack
    by_rule: np.ndarray  # slices that fall out by the rule, worst first
    scores: np.ndarray  # (S,)

    def weighed(self, way: str) -> float:
        """The score of the whole."""
        if way == "learned attention":
            return float(self.stack.weights @ self.scores)
        return float(
            self.scores[seven_slices(len(self.scores))].mean() if way == "seven slices" else self.scores.mean()
        )


WAYS = ("learned attention", "seven slices", "mean")


def volumes(
    manifest: Path | None, held_out: Sequence[str], slices: int, count: int
) -> Iterator[tuple[str, ImageSample]]:
    """Phantom volumes of every modality that has them, then the held-out series."""
    for modality in VOLUME_MODALITIES:
        for seed in range(count):
            step = float(np.geomspace(THIN, THICK, max(2, count))[seed])
            yield f"phantom {modality} {seed}", phantom_volume(modality, FIRST_SEED + seed, slices, 256, step)
    if manifest is None:
        return
    for source in sorted({row.source for row in clean_rows(read_manifest(manifest))} & set(held_out)):
        for number, found in enumerate(_series(manifest.parent / source)):
            sample = unbroken(found)
            if sample.slices >= LEAST_SLICES and sample.modality in VOLUME_MODALITIES:
                yield f"{source} {number}", sample


def _series(folder: Path) -> Sequence[ImageSample]:
    try:
        return io.load(folder)
    except IngestError:
        return ()


def told(medq: MedQ, name: str, volume: ImageSample, faults: int, seed: int) -> Iterator[Told]:
    """The clean volume and `faults` faults of it; untouched slices are scored once."""
    rng = np.random.default_rng([seed, volume.slices, len(name)])
    known: dict[int, SliceScores] = {}
    for trial in trials(name, volume, faults, rng):
        scored = []
        for place, origin in enumerate(trial.origin):
            if place in trial.changed:
                scored.append(medq.score_slice(trial.volume, place))
                continue
            if origin not in known:
                known[origin] = medq.score_slice(trial.volume, place)
            scored.append(replace(known[origin], index=place))
        scores = np.array([s.score for s in scored])
        yield Told(trial, stack.look(trial.volume, scored, medq.checkpoint.volume), outliers(scores), scores)


def summary(done: Sequence[Told]) -> dict[str, Estimate]:
    """Shares and agreements with 95 % intervals over volumes."""
    found: dict[str, Estimate] = {}

    def share(label: str, rows: Sequence[Told], values: Sequence[bool]) -> None:
        names = np.array([row.trial.name for row in rows])
        numbers = np.array(values, float)
        if len(numbers):
            found[label] = estimate(lambda at: float(numbers[at].mean()), names)

    for label, flag, places in (
        ("bad slice", "stands_out", lambda t: t.stack.apart),
        ("bad slice, by the rule", "stands_out", lambda t: t.by_rule),
        ("gap", "gap", lambda t: t.stack.gaps),
        ("displaced slices", "moved", lambda t: t.stack.moved),
    ):
        there = [row for row in done if getattr(row.trial, flag).any()]
        none = [row for row in done if row.trial.fault == "none"]
        share(f"{label}: found", there, [bool(getattr(r.trial, flag)[places(r)].any()) for r in there])
        share(f"{label}: first named", there, [bool(getattr(r.trial, flag)[places(r)[:1]].any()) for r in there])
        if flag == "moved":
            named = [set(places(r).tolist()) == set(np.flatnonzero(r.trial.moved).tolist()) for r in there]
            share(f"{label}: all of them named, and no others", there, named)
        share(f"{label}: blamed in an untouched volume", none, [bool(len(places(r))) for r in none])
    names = np.array([row.trial.name for row in done])
    labels = np.array([row.trial.label for row in done])
    for way in WAYS:
        score = np.array([row.weighed(way) for row in done])
        found[f"SRCC of {way}"] = estimate(_srcc(score, labels), names)
    return found


def _srcc(score: np.ndarray, label: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda at: correlation.srcc(score[at], label[at])


def main(argv: Sequence[str] | None = None) -> int:
    from medq_vlm.pipeline import MedQ

    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(prog="eval.run_volumes", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--manifest", type=Path, help="held-out series of it are tried too")
    parser.add_argument("--slices", type=int, default=50, help="of a phantom volume")
    parser.add_argument("--count", type=int, default=2, help="phantom volumes of each modality")
    parser.add_argument("--faults", type=int, default=8, help="tried on each volume")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(argv)
    medq = MedQ.load()
    held_out = medq.checkpoint.meta.get("held_out_sources", ())
    done: list[Told] = []
    for name, volume in tqdm(list(volumes(args.manifest, held_out, args.slices, args.count)), disable=None):
        done += told(medq, name, volume, args.faults, args.seed)
    numbers = summary(done)
    print(report(numbers))
    if args.out:
        results.write(args.out, "eval.run_volumes", argv, {"trials": len(done), "numbers": numbers})
    return 0


def report(numbers: dict[str, Estimate]) -> str:
    rows: list[list[Cell]] = [[name, number] for name, number in numbers.items()]
    return table(["", "value"], rows)


if __name__ == "__main__":
    raise SystemExit(main())
