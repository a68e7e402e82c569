"""Which images train, which validate and which are never seen: by source and subject, for training and evaluation."""

from __future__ import annotations

import hashlib
from typing import Literal

Split = Literal["train", "validation", "held-out"]

# Whole folders that no training image comes from.
HELD_OUT_SOURCES = (
    "ct_ge_head", "mr_fnndsc_brain", "us_hip_spj", "fundus_chase", "micro_bccd", "xr_chest_covidset_NC",
)  # fmt: skip
# Subjects kept for tests with human scores.
HELD_OUT_GROUPS = ("ct_mtdgan_reader_study/abdomen",)
# One subject each: the slices of one end of the body validate. That is a weak check, and no test.
ONE_SUBJECT_SOURCES = ("ct_fnndsc_chest", "pet_fnndsc_wb")
VALIDATION_SHARE = 0.12


def split_of(source: str, group: str) -> Split:
    """Held-out folders and subjects first; the rest of the subjects by a hash of their name."""
    if source in HELD_OUT_SOURCES or group in HELD_OUT_GROUPS:
        return "held-out"
    digest = int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    return "validation" if digest < VALIDATION_SHARE else "train"


def last_slices(paths: list[str], source: str) -> set[str]:
    """Paths of one end of the body of a ONE_SUBJECT_SOURCES source, the share that validates."""
    own = sorted(path for path in paths if path.startswith(source + "/"))
    return set(own[int((1 - VALIDATION_SHARE) * len(own)) :])
