"""The list of clean images an evaluation starts from: a CSV whose paths are relative to its own folder.

Columns used: path, modality, anatomy, group (subject or source unit), reference_quality. The source of an
image is the first folder of its path: whole sources are held out of training, so nothing of them may be
familiar.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from medq_vlm import vocab
from medq_vlm.schema import MedQError

Split = Literal["held-out", "all"]

CLEAN = ("pristine", "display_copy")  # values of reference_quality that may stand for quality 4
COLUMNS = ("path", "modality", "group", "reference_quality")
MODALITY_WORDS = {
    "ct": "ct", "mr": "mr", "mri": "mr", "xr": "xray", "cr": "xray", "dx": "xray", "mg": "mammography",
    "us": "ultrasound", "pt": "pet", "microscopy": "histopathology",
    **{name: name for name in vocab.MODALITIES},
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One image file of a manifest."""

    path: Path  # where the file is
    name: str  # as written in the manifest: a name without the folder of this machine
    source: str  # first folder of `name`
    group: str  # subject or source unit; images of one group are not independent
    modality: str  # vocab.MODALITIES
    reference_quality: str  # one of CLEAN, or a study of its own


def read_manifest(path: Path) -> list[Row]:
    """All rows of a manifest CSV. Raises MedQError for a missing file or column or an unknown modality."""
    if not path.is_file():
        raise MedQError(f"There is no manifest at {path}; give a CSV with the columns {', '.join(COLUMNS)}.")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise MedQError(f"The manifest {path} lacks the column(s) {', '.join(missing)}.")
        return [_row(path, number, fields) for number, fields in enumerate(reader, start=2)]


def clean_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows whose image is good enough to call its quality 4."""
    return [row for row in rows if row.reference_quality in CLEAN]


def split_rows(rows: Sequence[Row], held_out: Collection[str], split: Split) -> tuple[list[Row], list[Row]]:
    """(rows to evaluate, rows to train baselines on); with `all` nothing is left to train on.

    Raises MedQError when no row belongs to a held-out source, since a split that is not one would flatter.
    """
    if split == "all":
        return list(rows), []
    evaluated = [row for row in rows if row.source in held_out]
    if not evaluated:
        named = ", ".join(sorted(held_out)) or "none named"
        raise MedQError(
            f"No image of the manifest is in a held-out source ({named}); "
            "use --split all for a manifest of unfamiliar sources."
        )
    return evaluated, [row for row in rows if row.source not in held_out]


def spread(rows: Sequence[Row], limit: int | None, seed: int) -> list[Row]:
    """At most `limit` rows in a seeded order that takes sources in turn, and groups in turn within a source.

    Any prefix of the result covers as many sources and subjects as it can.
    """
    rng = np.random.default_rng(seed)
    shuffled = [rows[i] for i in rng.permutation(len(rows))]
    turn_in_group: dict[tuple[str, str], int] = defaultdict(int)
    by_source: dict[str, list[tuple[int, int, Row]]] = defaultdict(list)
    for number, row in enumerate(shuffled):
        by_source[row.source].append((turn_in_group[row.source, row.group], number, row))
        turn_in_group[row.source, row.group] += 1
    ordered = [
        (turn, source, row)
        for source, members in by_source.items()
        for turn, (_, _, row) in enumerate(sorted(members, key=lambda member: member[:2]))
    ]
    ordered.sort(key=lambda item: item[:2])
    return [row for _, _, row in ordered][:limit]


def _row(manifest: Path, line: int, fields: dict[str, str]) -> Row:
    modality = MODALITY_WORDS.get(fields["modality"].strip().lower())
    if modality is None:
        raise MedQError(
            f"Line {line} of {manifest} names the modality '{fields['modality']}'; "
            f"use one of: {', '.join(vocab.MODALITIES)}."
        )
    name = fields["path"]
    return Row(
        path=manifest.parent / name,
        name=name,
        source=Path(name).parts[0] if len(Path(name).parts) > 1 else manifest.parent.name,
        group=fields["group"] or name,
        modality=modality,
        reference_quality=fields["reference_quality"],
    )
