"""What a machine's screen does to the score: python -m eval.run_screens --manifest FILE [--out results.json]

Clean ultrasound and endoscopy of the manifest, alone and on the screen of a machine (eval/screens.py). The score should
stay; beside it stands the score with the writing left in, and with --manifest left out the pictures are phantoms.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from eval import results
from eval.bootstrap import estimate
from eval.cases import contents
from eval.manifest import clean_rows, read_manifest, spread
from eval.screens import STYLES, on_screen
from eval.tables import Cell, table
from medq_vlm.annotations import SCREENS
from medq_vlm.beside import worker
from medq_vlm.judge import judge
from medq_vlm.phantoms import phantom
from medq_vlm.pipeline import MedQ
from medq_vlm.schema import ImageSample

FIRST_SEED = 7_100_000  # of phantoms that train nothing


@dataclass(frozen=True)
class Shown:
    """One picture on one kind of screen."""

    group: str
    modality: str
    style: str
    alone: float  # score of the picture itself
    left_out: float  # on the screen, as the product scores it
    left_in: float  # on the screen, with all that is written there


def pictures(manifest: Path | None, count: int) -> Iterator[tuple[str, ImageSample]]:
    """(group, sample of eight bits) of each modality that has screens."""
    for modality in SCREENS:
        if manifest is None:
            for seed in range(count):
                yield f"phantom {seed}", phantom(modality, FIRST_SEED + seed, 320)
            continue
        rows = [row for row in clean_rows(read_manifest(manifest)) if row.modality == modality]
        for row in spread(rows, count, 0):
            for content in contents(row, 1):
                if content.sample.bits is not None and content.sample.bits <= 8:
                    yield content.group, content.sample


def shown(medq: MedQ, group: str, sample: ImageSample) -> Iterator[Shown]:
    """One picture on every kind of screen."""
    alone = medq.score_slice(sample).score
    for style, name in enumerate(STYLES):
        screen = replace(sample, pixels=on_screen(sample.pixels[0], style)[None], valid=None)
        with worker() as beside:
            left_in = judge(medq._read(screen, 0, False, beside), screen).score
        yield Shown(group, str(sample.modality), name, alone, medq.score_slice(screen).score, left_in)


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--manifest", type=Path, help="clean images; left out: phantoms")
    parser.add_argument("--images", type=int, default=12, help="for each modality")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(argv)
    medq = MedQ.load()
    found = [one for group, sample in pictures(args.manifest, args.images) for one in shown(medq, group, sample)]
    print(report(found))
    if args.out:
        results.write(args.out, "eval.run_screens", argv, {"screens": [asdict(one) for one in found]})
    return 0


def report(found: Sequence[Shown]) -> str:
    """Mean change of the score by modality and screen, with 95 % intervals over groups."""
    rows: list[list[Cell]] = []
    for modality in SCREENS:
        for style in STYLES:
            some = [one for one in found if (one.modality, one.style) == (modality, style)]
            if not some:
                continue
            groups = np.array([one.group for one in some])
            rows.append([modality, style, len(some)])
            for name in ("left_out", "left_in"):
                change = np.array([getattr(one, name) - one.alone for one in some])
                rows[-1].append(estimate(partial(_mean, change), groups))
    return table(["", "screen", "images", "change of the score", "with the writing left in"], rows)


def _mean(change: np.ndarray, at: np.ndarray) -> float:
    return float(change[at].mean())


if __name__ == "__main__":
    raise SystemExit(main())
