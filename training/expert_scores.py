"""A user's own expert scores: a CSV or Parquet manifest, any scale, several raters, to one label per image.

Columns: path (relative to the manifest), score; optional: rater, group (subject; what belongs together in a split),
modality (a word of vocab.MODALITIES, for files that do not say).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from medq_vlm import vocab
from medq_vlm.schema import MedQError


@dataclass(frozen=True)
class ExpertScore:
    """What the raters say of one image."""

    path: Path
    quality: float  # mean over raters, each rater's own offset removed, mapped to 0 to 4, higher is better
    group: str
    modality: str | None
    by_rater: dict[str, float]  # rater: score on the 0 to 4 scale as given


def read(manifest: Path, scale: tuple[float, float] | None = None) -> list[ExpertScore]:
    """Labels of a manifest; `scale` gives the scores of the worst and the best image (5 1 for a scale where 1 is best).

    Without `scale` the lowest and highest score that occur are taken, higher being better. Raises MedQError for a
    missing file, column or number, an unknown modality, or scores that are all the same.
    """
    rows = _rows(manifest)
    values = np.array([_number(row, manifest, line) for line, row in enumerate(rows, start=2)])
    worst, best = scale or (float(values.min()), float(values.max()))
    if not np.isfinite((worst, best)).all():
        raise MedQError(f"--scale {worst:g} {best:g}: both ends must be numbers.")
    for line, value in enumerate(values, start=2):
        if not min(worst, best) <= value <= max(worst, best):
            raise MedQError(
                f"{manifest}, line {line}: the score {value:g} lies outside the scale {worst:g} to {best:g}."
            )
    if worst == best:
        raise MedQError(f"All scores in {manifest} are {worst:g}; there is nothing to learn from them.")
    mapped = np.clip(4.0 * (values - worst) / (best - worst), 0.0, 4.0)
    raters = ["" if row.get("rater") is None else str(row["rater"]) for row in rows]
    mean = float(mapped.mean())
    offset = {rater: float(mapped[[r == rater for r in raters]].mean()) - mean for rater in set(raters)}
    images: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        images[str(row["path"])].append(index)
    out = []
    for name, indices in images.items():
        first = rows[indices[0]]
        modality = str(first["modality"]) if first.get("modality") else None
        if modality is not None and modality not in vocab.MODALITIES:
            raise MedQError(f"{manifest}: '{modality}' is no modality; use one of {', '.join(vocab.MODALITIES)}.")
        out.append(
            ExpertScore(
                path=manifest.parent / name,
                quality=float(np.clip(np.mean([mapped[i] - offset[raters[i]] for i in indices]), 0.0, 4.0)),
                group=name if first.get("group") in (None, "") else str(first["group"]),  # 0 is a group
                modality=modality,
                by_rater={raters[i]: float(mapped[i]) for i in indices},
            )
        )
    return out


def _rows(manifest: Path) -> list[dict[str, object]]:
    """The table's rows through `datasets`, which reads both formats."""
    if not manifest.is_file():
        raise MedQError(f"There is no manifest {manifest}.")
    kind = {".csv": "csv", ".parquet": "parquet"}.get(manifest.suffix.lower())
    if kind is None:
        raise MedQError(f"{manifest} is neither .csv nor .parquet.")
    from datasets import Dataset

    try:
        with TemporaryDirectory() as cache:  # else the ratings stay in the cache of `datasets`
            read_table = Dataset.from_csv if kind == "csv" else Dataset.from_parquet
            table = read_table(str(manifest), cache_dir=cache, keep_in_memory=True)
            rows = list(table)
    except Exception as error:  # `datasets` and its readers raise types of their own
        raise MedQError(
            f"{manifest} cannot be read as a table with a header and rows ({type(error).__name__})."
        ) from None
    missing = [name for name in ("path", "score") if name not in table.column_names]
    if missing:
        raise MedQError(f"{manifest} lacks the column(s) {', '.join(missing)}; it has {', '.join(table.column_names)}.")
    if not rows:
        raise MedQError(f"{manifest} has a header and no rows.")
    return rows


def _number(row: dict[str, object], manifest: Path, line: int) -> float:
    value = row["score"]
    if not isinstance(value, int | float) or not np.isfinite(value):
        raise MedQError(f"{manifest}, line {line}: the score '{value}' of {row['path']} is no number.")
    return float(value)


def rater_agreement(scores: list[ExpertScore]) -> float | None:
    """Mean Pearson correlation of each pair of raters over the images both scored; None with fewer than two."""
    raters = sorted({rater for one in scores for rater in one.by_rater})
    found = []
    for i, first in enumerate(raters):
        for second in raters[i + 1 :]:
            pairs = np.array(
                [(s.by_rater[first], s.by_rater[second]) for s in scores if {first, second} <= set(s.by_rater)]
            )
            if len(pairs) > 2 and (pairs.std(0) > 0).all():
                found.append(float(np.corrcoef(pairs.T)[0, 1]))
    return float(np.mean(found)) if found else None
