"""The slices of a volume as a stack: how much each counts, which stand out, where slices are missing or displaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from medq_vlm import vocab
from medq_vlm.checkpoint import Volume
from medq_vlm.encoder.volume import read, slice_row
from medq_vlm.evidence import displaced, neighbours
from medq_vlm.outliers import FEWEST, outliers
from medq_vlm.schema import ImageSample
from medq_vlm.slice_scores import SliceScores

LEAST_WEIGHT = 1e-3
LEAST_STEPS = 7  # compared, below which no gap and no motion is told: the head has seen no shorter clean series
MOST_NAMED = 5  # slices, gaps or runs of slices named in warnings
LEAST_TOLD_PX = 1.0  # a displacement is given as a length from here on


@dataclass(frozen=True)
class Stack:
    """Places are positions in the list of slices that was read, not slice numbers."""

    weights: np.ndarray  # (S,) sum 1
    apart: np.ndarray  # much worse than their neighbours, worst first
    gaps: np.ndarray  # slices are missing behind these, most probable first
    moved: np.ndarray  # displaced against their neighbours, in their order
    beside_px: np.ndarray  # (S,) how far each slice lies beside its neighbours, of those displaced


def look(sample: ImageSample, scored: Sequence[SliceScores], volume: Volume | None) -> Stack:
    """Read the slices of one image; few slices, or a scorer without a volume head, go by body area and a rule."""
    scores = np.array([s.score for s in scored])
    none = np.zeros(0, int)
    if volume is None or len(scored) < FEWEST or any(s.thumb is None for s in scored):
        weights = np.array([max(LEAST_WEIGHT, s.body_share) for s in scored])
        return Stack(weights / weights.sum(), outliers(scores), none, none, np.zeros(len(scored)))
    rows = [slice_row(s.score, s.interval, s.body_share, s.severity) for s in scored]
    near = compared(sample, [s.index for s in scored])
    out = read(volume.head, rows, [s.thumb for s in scored if s.thumb is not None], near.table)
    apart, gaps, moved = (
        _above(values.numpy(), volume.thresholds[name])
        for name, values in (("stands_out", out.stands_out), ("gap", out.gap), ("moved", out.moved))
    )
    # nothing is said of a step that was not compared, nor of a slice without one
    steps = near.steps & (int(near.steps.sum()) >= LEAST_STEPS)
    behind = np.append(steps, False)
    either = behind | np.insert(steps, 0, False)
    aside = displaced.localise(moved[either[moved]], near)
    return Stack(out.attention.double().numpy(), apart, gaps[behind[gaps]], aside.places, aside.by_px)


def compared(sample: ImageSample, indices: Sequence[int]) -> neighbours.Neighbours:
    """The slices of `sample` at ascending `indices`, each against the next, but not across the breaks of its header."""
    together = [b - a == 1 and a not in sample.breaks for a, b in pairwise(indices)]
    return neighbours.measure(sample.pixels[list(indices)], sample.unit, sample.bits, together)


def warnings(sample: ImageSample, stack: Stack, scored: Sequence[SliceScores]) -> tuple[str, ...]:
    """One sentence for each of the worst slices that fall out of their stack, and for each gap and displaced run.

    Where the header itself says that slices are missing, that warning stands already and no gap is looked for.
    """
    said = [
        f"Slice {scored[i].index + 1} is much worse than its neighbours (score {vocab.score_text(scored[i].score)})."
        for i in stack.apart[:MOST_NAMED]
    ]
    even = "although the file gives even slice positions" if sample.spacing_mm[0] and not sample.breaks else ""
    said += [
        f"Slices seem to be missing between slices {scored[i].index + 1} and {scored[i].index + 2}: the anatomy jumps"
        + (f", {even}." if even else ".")
        for i in np.sort(stack.gaps[:MOST_NAMED])
    ]
    for first, last in _runs(stack.moved)[:MOST_NAMED]:
        one = first == last
        where = f"Slice {scored[first].index + 1} is" if one else (
            f"Slices {scored[first].index + 1} to {scored[last].index + 1} are"
        )  # fmt: skip
        far = _length(float(stack.beside_px[first : last + 1].max()), sample.spacing_mm[1])
        said.append(
            f"{where} displaced against {'its' if one else 'their'} neighbours{far}: the patient may have moved."
        )
    return tuple(said)


def _length(pixels: float, spacing_mm: float | None) -> str:
    if pixels < LEAST_TOLD_PX:
        return ""
    return f" by about {pixels:.0f} pixels" if spacing_mm is None else f" by about {pixels * spacing_mm:.1f} mm"


def _runs(places: np.ndarray) -> list[tuple[int, int]]:
    """First and last of each run of consecutive places."""
    parts = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    return [(int(part[0]), int(part[-1])) for part in parts if len(part)]


def _above(probability: np.ndarray, threshold: float) -> np.ndarray:
    """Places above the threshold, most probable first."""
    found = np.flatnonzero(probability > threshold)
    return found[np.argsort(-probability[found], kind="stable")]
