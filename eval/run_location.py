"""Does the marked region lie where the artefact is: python -m eval.run_location [--manifest FILE] [--out results.json]

Local artefacts are put into clean images at a recorded place. The pointing game (Zhang et al., IJCV 126:1084, 2018)
asks whether the heat map's maximum lies in the recorded box; boxes are compared by intersection over union: the one the
result marks, and the heat map's. Baselines in the same run: the centre of the body box, and the brightest place.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from eval import results
from eval.bootstrap import estimate
from eval.cases import contents
from eval.manifest import clean_rows, read_manifest, split_rows, spread
from eval.tables import Cell, table
from medq_vlm import vocab
from medq_vlm.degrade.sample import degrade_sample
from medq_vlm.encoder.preprocess import grey_map
from medq_vlm.findings import find_box, hot_box
from medq_vlm.phantoms import phantom
from medq_vlm.pipeline import MedQ
from medq_vlm.schema import ImageSample

SEVERITY = 3.0
LARGEST_SHARE = 0.4  # a box of more than this share of the image is no place


@dataclass(frozen=True)
class Case:
    """One artefact and what pointed at it."""

    kind: str
    group: str
    pointed: bool  # the heat map's maximum lies in the box
    overlap: float  # intersection over union of the marked and the recorded box
    heat: float  # baseline: of the heat map's box
    centre: bool  # baseline: the centre of the body box
    brightest: bool  # baseline: the brightest pixel


def main(argv: Sequence[str] | None = None) -> int:
    """Mark every artefact, print the table, write the JSON."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--manifest", type=Path, help="clean held-out images; without it phantoms")
    parser.add_argument("--images", type=int, default=20, help="for each modality")
    parser.add_argument("--weights", default="nano")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(argv)
    medq = MedQ.load(args.weights)
    cases = list(marked(medq, clean_images(args.manifest, args.images, medq), args.seed))
    print(report(cases))
    if args.out:
        results.write(args.out, "eval.run_location", argv, {"cases": [asdict(case) for case in cases]})
    return 0


def clean_images(manifest: Path | None, images: int, medq: MedQ) -> Iterator[tuple[str, ImageSample]]:
    """(group, sample of one slice): phantoms, or held-out real images of the manifest."""
    if manifest is None:
        for modality in vocab.MODALITIES:
            for number in range(images):
                yield f"phantom/{modality}/{number}", phantom(modality, 80_000 + number)
        return
    rows, _ = split_rows(clean_rows(read_manifest(manifest)), medq.checkpoint.meta["held_out_sources"], "held-out")
    for modality in vocab.MODALITIES:
        for row in spread([row for row in rows if row.modality == modality], images, 0):
            for content in contents(row, 1):
                yield content.group, content.sample


def marked(medq: MedQ, images: Iterator[tuple[str, ImageSample]], seed: int) -> Iterator[Case]:
    """Every local kind of the modality on every image, where its box is small enough to be a place."""
    for number, (group, sample) in enumerate(images):
        assert sample.modality is not None
        for kind in sorted(set(vocab.LOCAL_KINDS) & set(vocab.kinds_for(sample.modality))):
            degraded, record = degrade_sample(sample, kind, SEVERITY, seed + number)
            h, w = sample.pixels.shape[1:3]
            if record.box is None or area(record.box) > LARGEST_SHARE * h * w:
                continue
            scores = medq.score_slice(degraded)
            heat = medq.heat(degraded, scores, kind)
            hot, found = hot_box(heat), find_box(degraded, lambda *_, heat=heat: heat, scores, kind)  # type: ignore[misc]
            grey = grey_map(replace(degraded, valid=None), 0)
            x0, y0, x1, y1 = scores.box
            yield Case(
                kind, group, inside(peak(heat), record.box), overlap(found, record.box) if found else 0.0,
                overlap(hot, record.box) if hot else 0.0,
                inside(((y0 + y1) // 2, (x0 + x1) // 2), record.box),
                inside(peak(grey.mean(-1) if grey.ndim == 3 else grey), record.box),
            )  # fmt: skip


def report(cases: Sequence[Case]) -> str:
    """One row per kind and one for all, with intervals over subjects."""
    rows: list[list[Cell]] = []
    for kind in ["all", *sorted({case.kind for case in cases})]:
        chosen = [case for case in cases if kind in ("all", case.kind)]
        groups = [case.group for case in chosen]
        row: list[Cell] = [kind, len(chosen)]
        for name in ("pointed", "overlap", "heat", "centre", "brightest"):
            values = np.array([getattr(case, name) for case in chosen], float)
            row.append(estimate(lambda index, values=values: float(values[index].mean()), groups))  # type: ignore[misc]
        rows.append(row)
    return table(["kind", "n", "pointed", "IoU", "IoU of heat", "centre", "brightest"], rows)


def peak(image: np.ndarray) -> tuple[int, int]:
    """(y, x) of the maximum."""
    y, x = np.unravel_index(int(np.argmax(image)), image.shape)
    return int(y), int(x)


def inside(point: tuple[int, int], box: tuple[int, int, int, int]) -> bool:
    return box[1] <= point[0] < box[3] and box[0] <= point[1] < box[2]


def area(box: tuple[int, int, int, int]) -> int:
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


def overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Intersection over union."""
    both = area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    return both / max(1, area(a) + area(b) - both)


if __name__ == "__main__":
    raise SystemExit(main())
