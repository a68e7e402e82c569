"""Does restoration erase or invent lesions?  python -m eval.lesion_safety --manifest FILE [--out FILE]

Faint lesions are put into clean images before they are degraded; controls get none, and the same noise. Both are
restored. Reported, before and after: the area under the ROC curve of a channelised Hotelling observer who knows the
anatomy (noise and artefacts alone hide a lesion) and of one who does not; the share of lesions erased (less than half
of the contrast they had in the degraded image); the share of empty tissue places that look like a lesion of at least
half the inserted contrast, and of those that do so after restoration alone ("made").
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from eval import lesions, restoration_cases, results
from eval.bootstrap import Estimate, estimate
from eval.lesions import FEWEST
from eval.manifest import clean_rows, read_manifest
from eval.restoration_cases import Pair
from eval.restoration_guidance import right
from eval.tables import table
from medq_vlm.degrade.sample import apply_record, intensity_scale
from medq_vlm.restore import Guidance, Restoration
from medq_vlm.schema import ImageSample, MedQError

TASKS = ("CT low dose", "CT sparse view", "MR undersampling", "MR noise", "PET low count", "X-ray mottle")
SPACINGS, DENSE = (8.0, 6.0), 5.0  # of lesions (closer in a small image) and of empty places, in radii
SEEN = 0.25  # of the inserted contrast: a lesion that the degraded image shows less of cannot be erased

Restore = Callable[[ImageSample, Guidance], Restoration]


class Twins(NamedTuple):
    """One image without and with lesions."""

    without: ImageSample
    marked: ImageSample


@dataclass(frozen=True)
class Reading:
    """What the observers say of one image, before and after restoration."""

    task: str
    name: str
    group: str
    lesions: int
    auc: tuple[float, float]  # area under the curve of an observer who knows the anatomy
    auc_anatomy: tuple[float, float]  # of one who does not
    erased: float  # share of the lesions
    false: tuple[float, float]  # share of empty places that look like a lesion
    made: float  # share of empty places that look like one after restoration alone


def read(pair: Pair, restore: Restore, seed: int = 0) -> Reading | None:
    """Put lesions in, degrade, restore, observe; None where the image has no room for lesions."""
    rooms = (lesions.tissue_places(pair.clean, spacing, seed) for spacing in SPACINGS)
    places = next((room for room in rooms if len(room) >= FEWEST), None)
    if places is None:
        return None
    empty = lesions.tissue_places(pair.clean, DENSE, seed + 1)
    marked = lesions.with_lesions(pair.clean, places)
    guidance = right(pair)
    before = Twins(pair.degraded, apply_record(marked, pair.record))  # the same noise
    after = Twins(*(restore(sample, guidance).sample for sample in (before.without, before.marked)))
    contrast = lesions.contrast_of(pair.clean, intensity_scale(pair.clean))
    shown, kept = (
        (lesions.contrast_at(twins.marked, places) - lesions.contrast_at(twins.without, places)) / contrast
        for twins in (before, after)
    )
    visible = shown >= SEEN
    true = lesions.contrast_at(pair.clean, empty)
    noise, left = (((lesions.contrast_at(twins.without, empty) - true) / contrast) for twins in (before, after))
    return Reading(
        pair.task.name, pair.content.name, pair.content.group, len(places),
        (lesions.auc(*before, places, pair.clean), lesions.auc(*after, places, pair.clean)),
        (lesions.auc(*before, places), lesions.auc(*after, places)),
        float((kept[visible] < 0.5 * shown[visible]).mean()) if visible.any() else float("nan"),
        (float((noise > 0.5).mean()), float((left > 0.5).mean())),
        float((left - np.maximum(noise, 0) > 0.5).mean()),
    )  # fmt: skip


def summary(readings: Sequence[Reading], draws: int = 500, seed: int = 0) -> dict[str, dict[str, Estimate]]:
    """Per task and over all: means with 95 % intervals over subjects."""
    if not readings:
        raise MedQError("No image had room for lesions.")
    out = {}
    for task in (*dict.fromkeys(r.task for r in readings), "all tasks"):
        part = [r for r in readings if task in (r.task, "all tasks")]
        columns = {
            "AUC degraded": [r.auc[0] for r in part],
            "AUC restored": [r.auc[1] for r in part],
            "AUC gain": [r.auc[1] - r.auc[0] for r in part],
            "AUC gain, anatomy unknown": [r.auc_anatomy[1] - r.auc_anatomy[0] for r in part],
            "erased": [r.erased for r in part],
            "lesion-like, degraded": [r.false[0] for r in part],
            "lesion-like, restored": [r.false[1] for r in part],
            "made": [r.made for r in part],
        }
        groups = [r.group for r in part]
        out[task] = {name: _mean(np.array(values), groups, draws, seed) for name, values in columns.items()}
    return out


def _mean(values: np.ndarray, groups: Sequence[str], draws: int, seed: int) -> Estimate:
    def mean(rows: np.ndarray) -> float:
        picked = values[rows]
        return float(np.nanmean(picked)) if np.isfinite(picked).any() else float("nan")

    return estimate(mean, groups, seed, draws)


def readings_of(pairs: Iterable[Pair], restore: Restore) -> list[Reading]:
    """`read` of every pair that has room."""
    return [reading for pair in pairs if (reading := read(pair, restore)) is not None]


def report(numbers: dict[str, dict[str, Estimate]]) -> str:
    """One row for each task."""
    columns = list(next(iter(numbers.values())))
    return table(("lesions", *columns), [(task, *(row[c] for c in columns)) for task, row in numbers.items()])


def main(argv: Sequence[str] | None = None) -> int:
    from eval.restorers import load

    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(prog="eval.lesion_safety", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--weights", default="nano", help="nano, or a folder with restorer.safetensors")
    parser.add_argument("--limit", type=int, default=4, help="images of each task")
    parser.add_argument("--severities", type=float, nargs="+", default=[2.0, 3.0])
    parser.add_argument("--tasks", nargs="+", choices=list(restoration_cases.TASK), default=list(TASKS))
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(argv)
    try:
        rows = clean_rows(read_manifest(args.manifest))
        restore = load(args.weights).restore
        done = []
        for name in tqdm(args.tasks, desc="lesions", disable=None):
            task = restoration_cases.TASK[name]
            evidence = restoration_cases.evidences(rows, task)[0]
            done += readings_of(restoration_cases.pairs(rows, task, evidence, args.limit, args.severities), restore)
        numbers = summary(done, args.draws)
    except MedQError as error:
        print(f"eval.lesion_safety: {error}", file=sys.stderr)
        return error.exit_code
    print(report(numbers))
    if args.out:
        found: dict[str, Any] = {"images": len(done), "lesions": sum(r.lesions for r in done), "numbers": numbers}
        results.write(args.out, "eval.lesion_safety", argv, found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
