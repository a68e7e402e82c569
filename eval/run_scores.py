"""How good the scores are: python -m eval.run_scores --manifest FILE [--out results.json]

Reads the clean images of a manifest, degrades them in calibrated steps, scores every version with the shipped
model and with the baselines, and prints tables with intervals. By default only sources that the weights never
saw count (`held_out_sources` of their meta.json). The baselines learn from the other sources of the same
manifest, or, for statistics + MLP, from the model's own training shards.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from eval import baselines, results, summary
from eval.bootstrap import Estimate
from eval.cases import Case, Content, clean_case, contents, degraded_cases
from eval.manifest import Row, clean_rows, read_manifest, split_rows, spread
from eval.outcomes import Scored, SliceScorer, collect, outcomes
from eval.tables import table
from medq_vlm.config import ViewConfig
from medq_vlm.schema import IngestError, MedQError

TABLE = "kind and strength known"  # what the severity table says of the case: no reader of pixels knows that much
PART_COLUMNS = (
    "SRCC",
    f"SRCC of {baselines.STATISTICS}",
    "PLCC, logistic 5",
    "RMSE",
    summary.ORDERING,
    "macro F1, moderate or worse",
    "severity error",
    "clean: reject",
    "clean: good",
    "clean: modality recognised",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate, print the tables, write the JSON; returns the exit code."""
    from medq_vlm.pipeline import MedQ

    argv = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_args(argv)
    try:
        model = MedQ.load(preset=args.weights)
        numbers = evaluate(args, model, model.checkpoint.meta)
    except MedQError as error:
        print(f"eval.run_scores: {error}", file=sys.stderr)
        return error.exit_code
    print(report(numbers))
    if args.out:
        results.write(args.out, "eval.run_scores", argv, numbers)
    return 0


def evaluate(args: argparse.Namespace, model: SliceScorer, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Everything between the arguments and the tables; `meta` is the weights' meta.json."""
    held_out = set(meta.get("held_out_sources", ()))
    evaluated, training = split_rows(clean_rows(read_manifest(args.manifest)), held_out, args.split)
    fitted = fit_baselines(args, training)
    rows = spread(evaluated, args.limit, args.seed)
    unreadable: list[str] = []
    scored = collect(outcomes(model, fitted, evaluation_cases(args, rows, unreadable)))
    resample = summary.Resampling(args.draws, args.seed, args.cluster)
    return {
        "split": args.split,
        "held_out_sources": sorted(held_out),
        "weights": {"preset": args.weights, "sha256": meta.get("sha256")},
        "images": int(scored.clean.sum()),
        "cases": len(scored),
        "unreadable": unreadable,
        "intervals": f"95 %, bootstrap of {args.draws} draws over {args.cluster}s",
    } | summarise(scored, resample)


def fit_baselines(args: argparse.Namespace, training: Sequence[Row]) -> baselines.Baselines:
    """Baselines learned from images the evaluation does not contain."""
    records = baselines.load_records(args.training_shards) if args.training_shards else None
    rows = spread(training, args.baseline_images, args.seed)
    return baselines.fit(records, training_cases(args, rows), ViewConfig(), not args.no_reference)


def training_cases(args: argparse.Namespace, rows: Sequence[Row]) -> Iterator[Case]:
    """Clean and degraded versions of the baselines' training images; unreadable files are left out."""
    for row in tqdm(rows, desc="baselines", unit="image", disable=None):
        for content in readable(row, 1, []):
            yield clean_case(content)
            yield from degraded_cases(content, args.seed + 1, args.kinds, args.compositions)


def evaluation_cases(args: argparse.Namespace, rows: Sequence[Row], unreadable: list[str]) -> Iterator[Case]:
    """The clean images of all rows, and degraded versions of the first `--ladder-images` slices."""
    ladders = 0
    for row in tqdm(rows, desc="scores", unit="image", disable=None):
        for content in readable(row, args.slices, unreadable):
            yield clean_case(content)
            ladders += 1
            if ladders <= args.ladder_images:
                yield from degraded_cases(content, args.seed, args.kinds, args.compositions)


def readable(row: Row, slices: int, unreadable: list[str]) -> list[Content]:
    """The slices of a file; a file that cannot be read is named in `unreadable` and in the results."""
    try:
        return list(contents(row, slices))
    except IngestError as error:
        unreadable.append(f"{row.name}: {error}")
        return []


def summarise(scored: Scored, resample: summary.Resampling) -> dict[str, Any]:
    """All numbers as nested dictionaries; an image without degraded versions counts as a clean one only."""
    rated = scored.take(np.isin(scored.content, np.unique(scored.content[~scored.clean])))
    if not len(rated):
        raise MedQError("No image of the manifest could be read and degraded, so there is nothing to evaluate.")
    measures = {"MedQ": rated.score} | rated.baselines | {TABLE: rated.table_quality}
    return {
        "overall": summary.quality_numbers(rated, rated.score, resample) | summary.model_numbers(rated, resample),
        "gain": {name: summary.gain_over(rated, name, resample) for name in rated.baselines},
        "measures": {name: summary.quality_numbers(rated, score, resample) for name, score in measures.items()},
        "clean": summary.clean_numbers(scored, resample),
        "by modality": summary.by_part(rated, scored, "modality", resample),
        "by source": summary.by_part(rated, scored, "source", resample),
        "by severity": summary.by_severity(rated, resample),
        "by kind": summary.by_kind(rated, resample),
    }


def report(numbers: dict[str, Any]) -> str:
    """The tables a person reads."""
    overall = numbers["overall"] | {f"clean: {name}": value for name, value in numbers["clean"].items()}
    parts = [
        f"{numbers['images']} clean images, {numbers['cases']} cases, {numbers['intervals']}",
        "Overall\n" + table(("measure", "MedQ"), list(overall.items())),
        "Beside the baselines (PSNR, SSIM, VIF and HaarPSI see the clean original, the last row the recipe)\n"
        + nested("measure", numbers["measures"]),
        "SRCC of MedQ minus SRCC of\n" + table(("baseline", "gain"), list(numbers["gain"].items())),
        "By modality\n" + nested("modality", numbers["by modality"], PART_COLUMNS),
        "By source\n" + nested("source", numbers["by source"], PART_COLUMNS),
        "By severity of a single kind\n" + nested("severity", numbers["by severity"]),
        "By kind\n" + nested("kind", numbers["by kind"]),
    ]
    if numbers["unreadable"]:
        parts.append("Not read:\n" + "\n".join(numbers["unreadable"]))
    return "\n\n".join(parts)


def nested(name: str, rows: dict[str, dict[str, Estimate]], columns: Sequence[str] = ()) -> str:
    """A table of {row: {column: Estimate}}; columns default to those of the fullest row."""
    chosen = columns or max((list(row) for row in rows.values()), key=len, default=[])
    body = [(key, *(row.get(column) for column in chosen)) for key, row in rows.items()]
    return table((name, *chosen), body)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="eval.run_scores", description=(__doc__ or "").splitlines()[0])
    p.add_argument("--manifest", type=Path, required=True, help="CSV of clean images, paths relative to its folder")
    p.add_argument("--weights", default="nano", help="nano, or a folder with weights")
    p.add_argument("--split", choices=("held-out", "all"), default="held-out")
    p.add_argument("--out", type=Path, help="write all numbers to this JSON file")
    p.add_argument("--limit", type=int, help="at most this many files, spread over sources and subjects")
    p.add_argument("--ladder-images", type=int, default=120, help="slices that get degraded versions")
    p.add_argument("--slices", type=int, default=3, help="slices of a volume")
    p.add_argument("--kinds", type=int, default=4, help="ladders for each slice, 0: every kind of the modality")
    p.add_argument("--compositions", type=int, default=2, help="compositions of two kinds for each slice")
    p.add_argument("--training-shards", type=Path, help="the model's training shards, for statistics + MLP")
    p.add_argument("--baseline-images", type=int, default=60, help="files the baselines learn from")
    p.add_argument("--no-reference", action="store_true", help="leave the full-reference measures out")
    p.add_argument("--cluster", choices=("group", "source"), default="group", help="unit of the bootstrap")
    p.add_argument("--draws", type=int, default=500, help="bootstrap draws")
    p.add_argument("--seed", type=int, default=0)
    return p


if __name__ == "__main__":
    raise SystemExit(main())
