"""Do the expected ranges of the evidence hold: python -m eval.run_ranges --manifest FILE [--out results.json]

A range of medq_vlm/evidence/expected.py is right when clean images lie in it, of whichever source, and when images with
the degradation that the measure backs lie outside. Both shares are printed for every measure and modality, sources
counted alike, with the spread of the clean values.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from eval import results
from eval.bootstrap import Estimate, estimate
from eval.cases import Content, contents
from eval.manifest import clean_rows, read_manifest, spread
from eval.tables import Cell, table
from medq_vlm import evidence, vocab
from medq_vlm.degrade.sample import degrade_sample
from medq_vlm.schema import ImageSample

SEVERITY = 3.0


@dataclass(frozen=True)
class Reading:
    """One number measured on one image."""

    measure: str
    modality: str
    source: str
    group: str
    kind: str  # the degradation put in, "" for a clean image
    value: float
    expected: str
    outside: bool


@dataclass(frozen=True)
class Range:
    """One expected range and what lies outside it."""

    measure: str
    modality: str
    expected: str
    n: int  # clean images
    clean_spread: tuple[float, float, float]  # 5th, 50th and 95th percentile
    clean_outside: Estimate | None
    degraded_outside: Estimate | None  # where a finding of the modality rests on the measure


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all images, print the table, write the JSON."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--manifest", type=Path, required=True, help="clean images")
    parser.add_argument("--images", type=int, default=24, help="for each modality")
    parser.add_argument("--degraded", type=int, default=8, help="of these for each modality")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(argv)
    found = ranges(list(read(args.manifest, args.images, args.degraded)))
    print(report(found))
    if args.out:
        results.write(args.out, "eval.run_ranges", argv, {"ranges": [asdict(one) for one in found]})
    return 0


def read(manifest: Path, images: int, degraded: int) -> Iterator[Reading]:
    """What is measured on the clean images, and for each kind on the degraded ones what backs it."""
    rows = clean_rows(read_manifest(manifest))
    for modality in vocab.MODALITIES:
        for number, row in enumerate(spread([row for row in rows if row.modality == modality], images, 0)):
            for content in contents(row, 1):
                yield from readings(content, content.sample, "")
                for kind in vocab.kinds_for(modality) if number < degraded else ():
                    worse, _ = degrade_sample(content.sample, kind, SEVERITY, number)
                    backing = evidence.for_kind(kind)
                    yield from (one for one in readings(content, worse, kind) if one.measure in backing)


def readings(content: Content, sample: ImageSample, kind: str) -> Iterator[Reading]:
    """Every number measured on a slice; the modality is the manifest's."""
    valid = None if sample.valid is None else sample.valid[0]
    spacing = sample.spacing_mm[1], sample.spacing_mm[2]
    values = evidence.values(sample.pixels[0], sample.modality, sample.unit, spacing, valid, sample.inverted)
    for one in evidence.stamped(values, sample.modality, sample.unit, spacing, sample.anatomy):
        if one.expected:
            yield Reading(one.name, content.modality, content.source, content.group, kind, one.value, one.expected,
                          one.within is False)  # fmt: skip


def ranges(found: Sequence[Reading]) -> list[Range]:
    """One for each measure and modality, in the order of the tables."""
    out = []
    for measure in evidence.MEASURES:
        for modality in vocab.MODALITIES:
            here = [one for one in found if (one.measure, one.modality) == (measure.name, modality)]
            clean, worse = [one for one in here if not one.kind], [one for one in here if one.kind]
            if not clean:
                continue
            weight = [1 / sum(other.source == one.source for other in clean) for one in clean]
            low, middle, high = np.quantile(
                [one.value for one in clean], (0.05, 0.5, 0.95), weights=weight, method="inverted_cdf"
            )
            expected = " or ".join(sorted({one.expected for one in clean}))
            spread_of = (float(low), float(middle), float(high))
            out.append(Range(measure.name, modality, expected, len(clean), spread_of, share(clean), share(worse)))
    return out


def report(found: Sequence[Range]) -> str:
    """A row for each; shares outside with intervals over subjects."""
    header = ["measure", "modality", "expected", "n", "5 / 50 / 95 %", "clean outside", "degraded outside"]
    rows: list[list[Cell]] = [
        [one.measure, one.modality, one.expected, one.n, " / ".join(f"{value:.3g}" for value in one.clean_spread),
         one.clean_outside, one.degraded_outside]
        for one in found
    ]  # fmt: skip
    return table(header, rows)


def share(found: Sequence[Reading]) -> Estimate | None:
    """Share outside the range, sources counted alike, with an interval over subjects; None of nothing."""
    if not found:
        return None
    flags = np.array([one.outside for one in found], float)
    sources = np.array([one.source for one in found])

    def balanced(index: np.ndarray) -> float:
        names = sources[index]
        return float(np.mean([flags[index][names == name].mean() for name in np.unique(names)]))

    return estimate(balanced, [one.group for one in found])


if __name__ == "__main__":
    sys.exit(main())
