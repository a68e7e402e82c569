"""Ladders: one content made worse step by step must get a lower score at every step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np


def pair_outcomes(ladder: Sequence[Hashable], severity: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of unequal severities within one ladder.

    Args:
        ladder: (N,) the ladder of each row, e.g. (content, kind). The clean image belongs to several ladders:
            give it once in each.
        severity: (N,) larger is worse.
        score: (N,) higher is better.

    Returns:
        in_order (P,) bool, strict, so a tie is a miss; row (P,) int, the pair's worse member.
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for row, name in enumerate(ladder):
        members[name].append(row)
    in_order, worse = [], []
    for rows in members.values():
        for a in rows:
            for b in rows:
                if severity[a] < severity[b]:
                    in_order.append(bool(score[a] > score[b]))
                    worse.append(b)
    return np.array(in_order, dtype=bool), np.array(worse, dtype=int)
