"""How good restoration is: python -m eval.run_restoration --manifest FILE [--out results.json]

Held-out images are degraded by every task; the network led by the true description is compared with the degraded
input, tuned classical methods, no description and a wrong one, and the product's own loop. Then lesions that must
neither vanish nor appear, clean images that must stay, and seconds. Modalities without held-out sources show
validation subjects and phantoms, and their rows say so. Exits with 1 when a bound is broken.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eval import classical_restoration as classical
from eval import lesion_safety, restoration_summary, results
from eval.manifest import Row, clean_rows, read_manifest
from eval.outcomes import SliceScorer
from eval.restoration_cases import TASK, TASKS, Evidence, Pair, clean_contents, evidences, make_pair, pairs
from eval.restoration_guidance import right
from eval.restoration_outcomes import in_parallel, measure, measure_clean
from eval.restorers import Restorers, load
from medq_vlm.schema import MedQError

PARTS = ("tasks", "clean", "lesions", "speed")
RUNS = 5  # of which the median second counts
SPEED_PX = 512


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate, print the tables, write the JSON; returns the exit code."""
    from medq_vlm.pipeline import MedQ

    argv = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_args(argv)
    try:
        medq = None if args.classical_only else MedQ.load()
        ours = None if args.classical_only else load(args.weights, medq)
        beside = load(str(args.beside)) if args.beside else None
        rows = clean_rows(read_manifest(args.manifest))
        numbers = evaluate(args, rows, ours, medq, beside)
    except MedQError as error:
        print(f"eval.run_restoration: {error}", file=sys.stderr)
        return error.exit_code
    print(restoration_summary.report(numbers))
    if args.out:
        results.write(args.out, "eval.run_restoration", argv, numbers)
    return int(not all(numbers["bounds"].values()))


def evaluate(
    args: argparse.Namespace, rows: Sequence[Row], ours: Restorers | None, scorer: SliceScorer | None,
    beside: Restorers | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Everything between the arguments and the tables."""
    numbers: dict[str, Any] = {
        "weights": None if ours is None else {"name": ours.name, "sha256": ours.sha256},
        "intervals": f"95 %, bootstrap of {args.draws} draws over subjects",
        "psnr": "peak = range of the clean image's valid pixels, native units",
    }
    if "speed" in args.parts:  # first, while nothing else runs
        numbers["speed"] = speed(ours)
    outcomes = in_parallel(partial(measure, ours=ours, scorer=scorer, beside=beside),
                           task_pairs(args, rows), args.workers, "restore")  # fmt: skip
    numbers["pairs"] = len(outcomes)
    numbers["tasks"] = restoration_summary.by_task(outcomes, args.draws)
    numbers["classical"] = restoration_summary.by_method(outcomes, args.draws)
    if ours is not None:
        numbers["descriptions"] = restoration_summary.by_description(outcomes, args.draws)
        numbers["judges"] = restoration_summary.by_judge(outcomes, args.draws)
        if "clean" in args.parts:
            found = in_parallel(partial(measure_clean, ours=ours), clean_pairs(args, rows), args.workers, "clean")
            numbers["clean"] = restoration_summary.clean_numbers(found, args.draws)
        if "lesions" in args.parts:
            read = partial(lesion_safety.read, restore=ours.restore)
            tasks = [name for name in lesion_safety.TASKS if name in args.tasks]
            held = in_parallel(read, task_pairs(args, rows, tasks, first=True), args.workers, "lesions")
            seen = [reading for reading in held if reading is not None]
            if seen:
                numbers["lesions"] = lesion_safety.summary(seen, args.draws)
    numbers["bounds"] = restoration_summary.bounds(numbers)
    return numbers


def task_pairs(
    args: argparse.Namespace, rows: Sequence[Row], tasks: Sequence[str] = (), first: bool = False
) -> Iterator[Pair]:
    """The pairs of every task on all its evidence, or on the first of it."""
    for name in tasks or args.tasks:
        found: tuple[Evidence, ...] = evidences(rows, TASK[name]) if args.split == "held-out" else ("manifest",)
        for evidence in found[:1] if first else found:
            yield from pairs(rows, TASK[name], evidence, args.limit, args.severities, args.seed)


def clean_pairs(args: argparse.Namespace, rows: Sequence[Row]) -> Iterator[Pair]:
    """Clean images, each once, however many tasks show it."""
    seen: set[str] = set()
    for name in args.tasks:
        found: tuple[Evidence, ...] = evidences(rows, TASK[name]) if args.split == "held-out" else ("manifest",)
        for number, content in enumerate(clean_contents(rows, TASK[name], found[0], args.seed)):
            if number >= args.limit:
                break
            if content.name not in seen:
                seen.add(content.name)
                yield make_pair(TASK[name], content, found[0], 0.0)


def speed(ours: Restorers | None) -> dict[str, dict[str, Any]]:
    """Median seconds of one 512 x 512 CT phantom: ours, the whole loop, and total variation beside them."""
    pair = square_pair()
    tv = next(m for m in classical.METHODS["CT low dose"] if m.name == "total variation")
    params = classical.chosen("CT low dose", tv.name)
    work: dict[str, Callable[[], object]] = {
        "total variation": lambda: classical.restore(tv, pair, params, np.empty(0))
    }
    if ours is not None:
        guidance = right(pair)
        work["ours"] = lambda: ours.restore(pair.degraded, guidance)
        if ours.loop is not None:
            loop = ours.loop
            work["ours, own assessment"] = lambda: loop(pair.degraded)
    return {name: {"seconds": median_seconds(run), "size": f"{SPEED_PX} x {SPEED_PX}"} for name, run in work.items()}


def square_pair() -> Pair:
    """A phantom of SPEED_PX x SPEED_PX at a low dose."""
    content = next(clean_contents([], TASK["CT low dose"], "phantom", 0))
    plane = content.sample.pixels[0]
    padding = [(0, SPEED_PX - plane.shape[0]), (0, SPEED_PX - plane.shape[1])]
    sample = replace(content.sample, pixels=np.pad(plane, padding, mode="edge")[None], valid=None)
    return make_pair(TASK["CT low dose"], replace(content, sample=sample), "phantom", 3.0)


def median_seconds(run: Callable[[], object]) -> float:
    run()  # the first call loads and caches
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="eval.run_restoration", description=(__doc__ or "").splitlines()[0])
    p.add_argument("--manifest", type=Path, required=True, help="CSV of clean images, paths relative to its folder")
    p.add_argument("--weights", default="nano", help="nano, or a folder with restorer.safetensors")
    p.add_argument("--beside", type=Path, help="other weights compared in the same run, e.g. a single-task network")
    p.add_argument("--classical-only", action="store_true", help="no network: the bar it has to clear")
    p.add_argument("--split", choices=("held-out", "all"), default="held-out")
    p.add_argument("--tasks", nargs="+", choices=list(TASK), default=[task.name for task in TASKS], metavar="TASK")
    p.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS), help="what to measure beside the tasks")
    p.add_argument("--limit", type=int, default=4, help="images of each task")
    p.add_argument("--severities", type=float, nargs="+", default=[2.0, 3.0], help="they take turns")
    p.add_argument("--draws", type=int, default=500, help="bootstrap draws")
    p.add_argument("--workers", type=int, default=2, help="threads")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", type=Path, help="write all numbers to this JSON file")
    return p


if __name__ == "__main__":
    raise SystemExit(main())
