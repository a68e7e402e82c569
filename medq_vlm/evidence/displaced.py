"""Which slices of a stack lie beside the others, from the jumps between neighbours.

The volume head says where a stack is disturbed, and flags the slices on either side of a jump alike. Here the jumps
tell which of them moved: all between the first and the last of neighbouring jumps (a restless patient), all between
two jumps that undo one another (one movement and back), or the shorter side of a jump that nothing undoes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medq_vlm.evidence.neighbours import Neighbours

LEAST_PX = 0.8  # of a jump
LEAST_TIMES = 4.0  # the median step, below which a step is no jump
SHARE = 0.35  # of the largest jump: the median that a jump is held against is off by as much beside it
STILL = 2  # steps without a jump that do not end a restless run: two slices may have moved alike
UNDONE = 0.5  # of the larger of two jumps that their sum may be


@dataclass(frozen=True)
class Displaced:
    places: np.ndarray  # in their order
    by_px: np.ndarray  # (S,) how far each slice of the stack lies beside the others, where it is displaced


def localise(flagged: np.ndarray, near: Neighbours) -> Displaced:
    """The displaced slices among those about `flagged`, which are returned as they are where no jump is clear."""
    count = len(near.table)
    size = np.hypot(*near.jumps_px.T) * near.steps
    clear = np.zeros(count - 1, bool)
    if near.steps.any():
        clear = size > max(LEAST_PX, LEAST_TIMES * float(np.median(size[near.steps])))
    about = np.zeros(count, bool)
    about[[k for place in flagged for k in (place - 1, place, place + 1) if 0 <= k < count]] = True
    jumps = np.flatnonzero(clear & (about[:-1] | about[1:]))
    if not len(jumps):
        return Displaced(np.sort(flagged), near.beside_px)
    jumps = jumps[size[jumps] >= SHARE * size[jumps].max()]
    by = np.zeros(count)
    alone = []
    for run in np.split(jumps, np.flatnonzero(np.diff(jumps) > STILL + 1) + 1):
        if len(run) == 1:
            alone.append(int(run[0]))
        restless = slice(run[0] + 1, run[-1] + 1)
        by[restless] = np.maximum(near.beside_px[restless], LEAST_PX)
    elsewhere = [int(k) for k in np.flatnonzero(clear) if k not in jumps]
    while alone:
        out = alone.pop(0)
        backs = [k for k in alone if _undo(near.jumps_px, out, k)][:1]
        alone = [k for k in alone if k not in backs]
        if not backs:
            backs = sorted((k for k in elsewhere if _undo(near.jumps_px, out, k)), key=lambda k: abs(k - out))[:1]
        by[_moved(out, backs, count)] = size[out]
    return Displaced(np.flatnonzero(by), by)


def _undo(jumps: np.ndarray, one: int, other: int) -> bool:
    """Whether the second jump leads back to where the first came from."""
    sizes = np.hypot(*jumps[[one, other]].T)
    return float(np.hypot(*(jumps[one] + jumps[other]))) < UNDONE * float(sizes.max())


def _moved(out: int, backs: list[int], count: int) -> slice:
    """The slices between a jump and the one back; without one, those on its shorter side."""
    if backs:
        return slice(min(out, backs[0]) + 1, max(out, backs[0]) + 1)
    return slice(out + 1, count) if count - 1 - out <= out + 1 else slice(0, out + 1)
