"""How long one assessment takes from nothing: python -m eval.run_cold_start [--image FILE] [--out FILE]

Starts `medq assess FILE`, with the description and without, in a fresh process several times, in turn with an empty
Python and an `import torch`, so that all four meet the same machine. The default image is a 512 x 512 CT slice bundled
with pydicom.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from pydicom.data import get_testdata_file

from eval import results
from eval.processes import MEDQ, Measured, measure
from eval.tables import Cell, table

IMAGE_512 = "693_J2KI.dcm"
PLAIN, WITH_TEXT = "medq assess --no-text", "medq assess"
LIMITS = {PLAIN: (4.0, 1200.0), WITH_TEXT: (25.0, 1536.0)}  # seconds (median), MiB


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the JSON; 1 when the median run of medq is above a limit or fails."""
    argv = sys.argv[1:] if argv is None else list(argv)
    p = argparse.ArgumentParser(prog="eval.run_cold_start", description=(__doc__ or "").splitlines()[0])
    p.add_argument("--image", type=Path, default=Path(str(get_testdata_file(IMAGE_512, download=False))))
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--out", type=Path, help="write all runs to this JSON file")
    args = p.parse_args(argv)
    commands = {
        "python alone": (sys.executable, "-c", "pass"),
        "import torch": (sys.executable, "-c", "import torch"),
        PLAIN: (*MEDQ, "assess", str(args.image), "--no-text"),
        WITH_TEXT: (*MEDQ, "assess", str(args.image)),
    }
    runs: dict[str, list[Measured]] = {name: [] for name in commands}
    for _ in range(args.runs):
        for name, command in commands.items():
            runs[name].append(measure(command))
    failed = [run for all_runs in runs.values() for run in all_runs if run.code != 0]
    for run in failed[:1]:
        print(
            f"eval.run_cold_start: a run ended with exit code {run.code}: {run.stderr.strip()}",
            file=sys.stderr,
        )
    numbers = {name: summary(all_runs) for name, all_runs in runs.items()}
    print(report(numbers))
    if args.out:
        answer = {
            "image": args.image.name,
            "runs": args.runs,
            "failed": len(failed),
            "load": os.getloadavg()[0],
            "numbers": numbers,
        }
        results.write(args.out, "eval.run_cold_start", argv, answer)
    over = [
        name for name, (most_s, most_mib) in LIMITS.items()
        if numbers[name]["median_s"] > most_s or numbers[name]["peak_mib"] > most_mib
    ]  # fmt: skip
    return int(bool(failed) or bool(over))


def summary(runs: Sequence[Measured]) -> dict[str, float]:
    """First, median, shortest and longest wall time in seconds, and the highest peak memory in MiB.

    The first run may find nothing in the file cache; the others are new processes on a warm disk.
    """
    seconds = [run.seconds for run in runs]
    return {
        "first_s": seconds[0],
        "median_s": statistics.median(seconds),
        "min_s": min(seconds),
        "max_s": max(seconds),
        "peak_mib": max(run.peak_mib for run in runs),
    }


def report(numbers: dict[str, dict[str, float]]) -> str:
    """One row per command, and the limits they are held against."""
    header = ("command", "first s", "median s", "min s", "max s", "peak MiB")
    rows: list[list[Cell]] = [[name, *values.values()] for name, values in numbers.items()]
    limits = (
        f"limit of {name}: {most_s:g} s (median), {most_mib:g} MiB" for name, (most_s, most_mib) in LIMITS.items()
    )
    return "\n".join((table(header, rows, digits=2), *limits))


if __name__ == "__main__":
    raise SystemExit(main())
