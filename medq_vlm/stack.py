"""The slices of a volume as a stack: how much each counts, which stand out, where slices are missing or displaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medq_vlm.checkpoint import Volume
from medq_vlm.encoder.volume import read, slice_row
from medq_vlm.outliers import FEWEST, outliers
from medq_vlm.slice_scores import SliceScores

LEAST_WEIGHT = 1e-3
MOST_NAMED = 5  # slices named in warnings


@dataclass(frozen=True)
class Stack:
    """Places are positions in the list of slices that was read, not slice numbers."""

    weights: np.ndarray  # (S,) sum 1
    apart: np.ndarray  # much worse than their neighbours, worst first
    gaps: np.ndarray  # slices are missing behind these
    moved: np.ndarray  # displaced against their neighbours


def look(scored: Sequence[SliceScores], volume: Volume | None) -> Stack:
    """Read the slices of one image; few slices, or a scorer without a volume head, go by body area and a rule."""
    scores = np.array([s.score for s in scored])
    none = np.zeros(0, int)
    if volume is None or len(scored) < FEWEST or any(s.thumb is None for s in scored):
        weights = np.array([max(LEAST_WEIGHT, s.body_share) for s in scored])
        return Stack(weights / weights.sum(), outliers(scores), none, none)
    rows = [slice_row(s.score, s.interval, s.body_share, s.severity) for s in scored]
    out = read(volume.head, rows, [s.thumb for s in scored if s.thumb is not None])
    apart, gaps, moved = (
        _above(values.numpy(), volume.thresholds[name])
        for name, values in (("stands_out", out.stands_out), ("gap", out.gap), ("moved", out.moved))
    )
    return Stack(out.attention.double().numpy(), apart, np.sort(gaps), np.sort(moved))


def warnings(stack: Stack, scored: Sequence[SliceScores]) -> tuple[str, ...]:
    """One sentence for each of the worst slices that fall out of their stack, and one for each other fault."""
    said = [
        f"Slice {scored[i].index + 1} is much worse than its neighbours (score {scored[i].score:.1f})."
        for i in stack.apart[:MOST_NAMED]
    ]
    said += [
        f"Slices seem to be missing between slice {scored[i].index + 1} and the next: the anatomy jumps."
        for i in stack.gaps[:MOST_NAMED]
    ]
    if len(stack.moved):
        first, last = scored[stack.moved[0]].index + 1, scored[stack.moved[-1]].index + 1
        where = f"Slice {first} is" if first == last else f"Slices {first} to {last} are"
        said.append(f"{where} displaced against the neighbours: the patient may have moved.")
    return tuple(said)


def _above(probability: np.ndarray, threshold: float) -> np.ndarray:
    """Places above the threshold, most probable first."""
    found = np.flatnonzero(probability > threshold)
    return found[np.argsort(-probability[found], kind="stable")]
