"""Are the partial scores right: python -m eval.run_attributes --manifest FILE [--out results.json]

What a partial score should be is known of a degraded image: one minus a quarter of the worst severity of the kinds that
lower it. The error of the prompts alone is printed beside that of the prompts held to the findings, on partial scores
that something lowers and on those that nothing does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from eval import results
from eval.bootstrap import estimate
from eval.cases import Case, clean_case, contents, degraded_cases
from eval.manifest import clean_rows, read_manifest, split_rows, spread
from eval.tables import Cell, table
from medq_vlm import slice_scores, vocab
from medq_vlm.pipeline import MedQ


@dataclass(frozen=True)
class Partial:
    """One partial score of one image, 0 to 1, higher is better."""

    group: str
    attribute: str
    true: float
    prompted: float  # by the prompts alone
    told: float  # as in the result


def main(argv: Sequence[str] | None = None) -> int:
    """Assess clean and degraded images of the held-out sources, print the table, write the JSON."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--manifest", type=Path, required=True, help="clean images")
    parser.add_argument("--split", choices=("held-out", "all"), default="held-out")
    parser.add_argument("--images", type=int, default=5, help="for each modality")
    parser.add_argument("--kinds", type=int, default=2, help="ladders of each image")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(argv)
    medq = MedQ.load()
    rows, _ = split_rows(clean_rows(read_manifest(args.manifest)), medq.checkpoint.meta["held_out_sources"], args.split)
    found = [
        one
        for modality in vocab.MODALITIES
        for row in spread([row for row in rows if row.modality == modality], args.images, 0)
        for content in contents(row, 1)
        for case in (clean_case(content), *degraded_cases(content, 0, args.kinds, 0))
        for one in partial_scores(medq, case)
    ]
    print(report(found))
    if args.out:
        results.write(args.out, "eval.run_attributes", argv, {"scores": [asdict(one) for one in found]})
    return 0


def partial_scores(medq: MedQ, case: Case) -> Iterator[Partial]:
    """One for each attribute; none of an image that is not assessed."""
    encoded = medq.encode(case.sample)
    result = medq.assess_encoded(encoded)
    prompted = slice_scores.mean_attributes(encoded.able)
    for name, told in result.attributes.items():
        worst = max((s for kind, s in case.severities.items() if vocab.KIND[kind].attribute == name), default=0.0)
        yield Partial(case.content.group, name, 1.0 - worst / 4.0, prompted[name], told)


def report(found: Sequence[Partial]) -> str:
    """Mean absolute errors with intervals over subjects."""
    rows: list[list[Cell]] = []
    for words, lowered in (("lowered", True), ("not lowered", False)):
        chosen = [one for one in found if (one.true < 1.0) == lowered]
        row: list[Cell] = [words, len(chosen)]
        for name in ("prompted", "told"):
            errors = np.array([abs(getattr(one, name) - one.true) for one in chosen])
            row.append(
                estimate(lambda index, errors=errors: float(errors[index].mean()), [one.group for one in chosen])  # type: ignore[misc]
            )
        rows.append(row)
    return table(["partial scores", "n", "error of the prompts", "error in the result"], rows)


if __name__ == "__main__":
    sys.exit(main())
