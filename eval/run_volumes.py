"""Is one corrupted slice among many found and pointed at?  python -m eval.run_volumes [--manifest FILE] [--out FILE]

A volume of a phantom, or of a held-out series of the manifest, gets one slice degraded severely (calibrated severity
3.5) by a kind of its modality. Found: the result names that slice first among the slices that fall out of their
stack. Beside it: the rule of the lowest score alone, and how often an untouched volume is blamed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from eval import results
from eval.bootstrap import Estimate, estimate
from eval.cases import one_slice
from eval.manifest import clean_rows, read_manifest
from eval.tables import Cell, table
from medq_vlm import io, vocab
from medq_vlm.degrade.sample import degrade_sample
from medq_vlm.outliers import outliers
from medq_vlm.phantoms import VOLUME_MODALITIES, phantom_volume
from medq_vlm.schema import ImageSample, IngestError

if TYPE_CHECKING:
    from medq_vlm.pipeline import MedQ

SEVERITY = 3.5
LEAST_SLICES = 10  # of a real series
POSITIONING = ("wraparound",)  # what a slice may show without being worse to look at


@dataclass(frozen=True)
class Trial:
    """One volume with one corrupted slice."""

    volume: str
    kind: str
    found: bool  # named first
    lowest: bool  # has the lowest score
    blamed: bool  # the untouched volume has an outlier


def volumes(
    manifest: Path | None, held_out: Sequence[str], slices: int, count: int
) -> Iterator[tuple[str, ImageSample]]:
    """Phantom volumes of every modality that has them, then the held-out series."""
    for modality in VOLUME_MODALITIES:
        for seed in range(count):
            yield f"phantom {modality} {seed}", phantom_volume(modality, 7_000_000 + seed, slices, 256)
    if manifest is None:
        return
    for row in clean_rows(read_manifest(manifest)):
        if row.source not in held_out:
            continue
        try:
            found = io.read(row.path)
        except IngestError:
            continue
        for sample in found:
            if sample.slices >= LEAST_SLICES:
                yield row.name, replace(sample, modality=sample.modality or row.modality)


def trials(medq: MedQ, name: str, volume: ImageSample, kinds: int, seed: int) -> Iterator[Trial]:
    """Corrupt one slice, once for each of `kinds` kinds; untouched slices are scored once."""
    clean = np.array([medq.score_slice(volume, i).score for i in range(volume.slices)])
    rng = np.random.default_rng([seed, volume.slices, len(name)])
    possible = [kind for kind in vocab.kinds_for(str(volume.modality)) if kind not in POSITIONING]
    for kind in rng.permutation(possible)[:kinds]:
        place = int(rng.integers(volume.slices))
        worse, _ = degrade_sample(one_slice(volume, place), str(kind), SEVERITY, int(rng.integers(2**31)))
        scores = clean.copy()
        scores[place] = medq.score_slice(worse).score
        named = outliers(scores)
        found = bool(len(named)) and int(named[0]) == place
        yield Trial(name, str(kind), found, int(np.argmin(scores)) == place, bool(len(outliers(clean))))


def main(argv: Sequence[str] | None = None) -> int:
    from medq_vlm.pipeline import MedQ

    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(prog="eval.run_volumes", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--manifest", type=Path, help="held-out series of it are tried too")
    parser.add_argument("--slices", type=int, default=50, help="of a phantom volume")
    parser.add_argument("--count", type=int, default=2, help="phantom volumes of each modality")
    parser.add_argument("--kinds", type=int, default=6, help="kinds tried on each volume")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(argv)
    medq = MedQ.load()
    held_out = medq.checkpoint.meta.get("held_out_sources", ())
    done: list[Trial] = []
    for name, volume in tqdm(list(volumes(args.manifest, held_out, args.slices, args.count)), disable=None):
        done += trials(medq, name, volume, args.kinds, args.seed)
    numbers = summary(done)
    print(report(numbers))
    if args.out:
        results.write(args.out, "eval.run_volumes", argv, {"trials": len(done), "numbers": numbers})
    return 0


def summary(done: Sequence[Trial]) -> dict[str, Estimate]:
    """Shares with 95 % intervals over volumes."""
    names = np.array([trial.volume for trial in done])

    def share(column: str) -> Estimate:
        values = np.array([getattr(trial, column) for trial in done], float)
        return estimate(lambda rows: float(values[rows].mean()), names)

    return {
        "corrupted slice named first": share("found"),
        "corrupted slice has the lowest score": share("lowest"),
        "untouched volume blamed": share("blamed"),
    }


def report(numbers: dict[str, Estimate]) -> str:
    rows: list[list[Cell]] = [[name, number] for name, number in numbers.items()]
    return table(["", "share"], rows)


if __name__ == "__main__":
    raise SystemExit(main())
