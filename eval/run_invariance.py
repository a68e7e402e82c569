"""Changes that must not change the score: python -m eval.run_invariance [--manifest FILE] [--out FILE]

Pads, flips, turns, crops to the body and enlarges an image by two, halves an oversampled 2048-pixel one, and
compares the scores. The bound is 0.3 of the 0 to 4 scale; repeated runs, alone and among other slices, must
agree exactly.
Images: those bundled with pydicom, phantoms of every modality, and clean images of a manifest when one is
given.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.data import get_testdata_file

from eval import results
from eval.cases import contents, one_slice
from eval.manifest import clean_rows, read_manifest, spread
from eval.outcomes import SliceScorer
from eval.tables import Cell, table
from medq_vlm import io, vocab
from medq_vlm.encoder.preprocess import body_box, grey_map, resize
from medq_vlm.phantoms import phantom
from medq_vlm.schema import ImageSample, MedQError

BOUND = 0.3
RUNS = 10
OVERSAMPLED_PX = 2048
PYDICOM_IMAGES = (
    "CT_small.dcm", "MR_small.dcm", "693_J2KI.dcm", "examples_overlay.dcm", "examples_palette.dcm",
    "examples_jpeg2k.dcm",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """Scores of one image before and after one change."""

    image: str
    change: str
    before: float
    after: float

    @property
    def difference(self) -> float:
        """Absolute difference of the scores, 0 to 4."""
        return abs(self.after - self.before)


def main(argv: Sequence[str] | None = None) -> int:
    """Score all variants, print the tables, write the JSON; 1 when a bound is broken."""
    from medq_vlm.pipeline import MedQ

    argv = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_args(argv)
    try:
        model = MedQ.load(preset=args.weights)
        images = list(bundled()) + list(phantoms(args.phantoms, args.seed))
        if args.manifest:
            images += list(listed(args.manifest, args.limit, args.seed))
    except MedQError as error:
        print(f"eval.run_invariance: {error}", file=sys.stderr)
        return error.exit_code
    changes = [change for name, sample in images for change in changes_of(model, name, sample)]
    spreads = {name: repeat_spread(model, sample) for name, sample in images[: args.repeated]}
    print(report(changes, spreads))
    if args.out:
        numbers: dict[str, Any] = {
            "bound": BOUND,
            "summary": summary(changes),
            "repeat_spread": spreads,
            "changes": [{**vars(change), "difference": change.difference} for change in changes],
        }
        results.write(args.out, "eval.run_invariance", argv, numbers)
    return int(max(c.difference for c in changes) > BOUND or max(spreads.values(), default=0.0) > 0.0)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="eval.run_invariance", description=(__doc__ or "").splitlines()[0])
    p.add_argument("--weights", default="nano", help="nano, or a folder with weights")
    p.add_argument("--manifest", type=Path, help="CSV of clean images to add")
    p.add_argument("--limit", type=int, default=20, help="images of the manifest")
    p.add_argument("--phantoms", type=int, default=2, help="phantoms of each modality")
    p.add_argument("--repeated", type=int, default=5, help="images that are scored ten times")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", type=Path, help="write all scores to this JSON file")
    return p


def bundled() -> Iterator[tuple[str, ImageSample]]:
    """(name, middle slice) of the images that come with pydicom."""
    for name in PYDICOM_IMAGES:
        for volume in io.read(Path(str(get_testdata_file(name, download=False)))):
            yield name, one_slice(volume, volume.slices // 2)


def phantoms(count: int, seed: int) -> Iterator[tuple[str, ImageSample]]:
    """(name, first slice) of `count` phantoms of every modality."""
    for modality in vocab.MODALITIES:
        for number in range(seed, seed + count):
            yield f"phantom {modality} {number}", one_slice(phantom(modality, number), 0)


def listed(manifest: Path, limit: int, seed: int) -> Iterator[tuple[str, ImageSample]]:
    """(name, slice) of clean images of a manifest, spread over sources."""
    for row in spread(clean_rows(read_manifest(manifest)), limit, seed):
        for content in contents(row, 1):
            yield content.name, content.sample


def changes_of(model: SliceScorer, name: str, sample: ImageSample) -> Iterator[Change]:
    """Scores of every variant of one single-slice sample beside its own."""
    before = float(model.score_slice(sample).score)
    for change, variant in variants(sample).items():
        yield Change(name, change, before, float(model.score_slice(variant).score))
    oversampled = resized(sample, OVERSAMPLED_PX / max(sample.pixels.shape[1:3]))
    pair = [float(model.score_slice(image).score) for image in (oversampled, resized(oversampled, 0.5))]
    yield Change(name, f"{OVERSAMPLED_PX} px halved", *pair)


def variants(sample: ImageSample) -> dict[str, ImageSample]:
    """The same single-slice image padded, flipped, turned, cropped to the body and enlarged by two (bicubic)."""
    (x0, y0, x1, y1), _ = body_box(grey_map(sample, 0))
    return {
        "padded": padded(sample, 0.125),
        "flipped left-right": _geometry(sample, np.s_[:, :, ::-1]),
        "flipped up-down": _geometry(sample, np.s_[:, ::-1]),
        "turned a quarter": turned(sample),
        "cropped to the body": _geometry(sample, np.s_[:, y0:y1, x0:x1]),
        "enlarged by two": resized(sample, 2.0),
    }


def padded(sample: ImageSample, share: float) -> ImageSample:
    """A constant border, at the smallest value, of `share` of the image on each side."""
    _, h, w = sample.pixels.shape[:3]
    border = ((0, 0), (int(h * share),) * 2, (int(w * share),) * 2)
    colour = ((0, 0),) * (sample.pixels.ndim - 3)
    pixels = np.pad(sample.pixels, border + colour, constant_values=float(sample.pixels.min()))
    valid = None if sample.valid is None else np.pad(sample.valid, border, constant_values=False)
    return replace(sample, pixels=pixels, valid=valid)


def turned(sample: ImageSample) -> ImageSample:
    """A quarter counter-clockwise, spacing with it, as some archives store images."""
    depth, row, column = sample.spacing_mm
    valid = None if sample.valid is None else np.rot90(sample.valid, axes=(1, 2)).copy()
    return replace(
        sample, pixels=np.rot90(sample.pixels, axes=(1, 2)).copy(), valid=valid, spacing_mm=(depth, column, row)
    )


def resized(sample: ImageSample, factor: float) -> ImageSample:
    """One slice resampled (bicubic, antialiased when shrinking) within its own range, spacing adjusted."""
    pixels = sample.pixels[0]
    low, high = float(pixels.min()), float(pixels.max())
    size = (max(1, round(pixels.shape[0] * factor)), max(1, round(pixels.shape[1] * factor)))
    span = max(high - low, 1e-6)
    out = np.clip(resize((pixels - low) / span, size), 0.0, 1.0) * span + low
    if np.array_equal(pixels, np.round(pixels)):
        out = np.round(out)  # an export stores whole numbers again
    valid = None
    if sample.valid is not None:
        valid = (resize(sample.valid[0].astype(np.float32), size) > 0.5)[None]
    depth, row, column = sample.spacing_mm
    spacing = (depth, row and row / factor, column and column / factor)
    return replace(sample, pixels=out[None].astype(np.float32), valid=valid, spacing_mm=spacing)


def repeat_spread(model: SliceScorer, sample: ImageSample) -> float:
    """Largest minus smallest score over ten runs alone and ten as slices of one stack; 0 is right."""
    stack = replace(
        sample,
        pixels=np.repeat(sample.pixels, RUNS, axis=0),
        valid=None if sample.valid is None else np.repeat(sample.valid, RUNS, axis=0),
    )
    alone = [float(model.score_slice(sample).score) for _ in range(RUNS)]
    together = [float(model.score_slice(stack, index).score) for index in range(RUNS)]
    return max(alone + together) - min(alone + together)


def summary(changes: Sequence[Change]) -> dict[str, dict[str, float | str]]:
    """Per change: mean and worst difference, the share within the bound, and the worst image."""
    out: dict[str, dict[str, float | str]] = {}
    for name in dict.fromkeys(change.change for change in changes):
        part = [change for change in changes if change.change == name]
        worst = max(part, key=lambda change: change.difference)
        out[name] = {
            "mean": float(np.mean([change.difference for change in part])),
            "worst": worst.difference,
            "within bound": float(np.mean([change.difference <= BOUND for change in part])),
            "worst image": worst.image,
        }
    return out


def report(changes: Sequence[Change], spreads: dict[str, float]) -> str:
    """One row per change, one line for the repeated runs."""
    rows: list[list[Cell]] = [[name, *values.values()] for name, values in summary(changes).items()]
    worst = max(spreads.values(), default=float("nan"))
    return "\n".join([
        table(("change", "mean |difference|", "worst", f"within {BOUND:g}", "worst image"), rows),
        f"{RUNS} runs alone and {RUNS} in a stack, {len(spreads)} images: largest spread {worst:g}",
    ])  # fmt: skip


def _geometry(sample: ImageSample, where: Any) -> ImageSample:
    valid = None if sample.valid is None else np.ascontiguousarray(sample.valid[where])
    return replace(sample, pixels=np.ascontiguousarray(sample.pixels[where]), valid=valid)


if __name__ == "__main__":
    raise SystemExit(main())
