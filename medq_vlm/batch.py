"""A folder of images to one table: every file and series, one bad file never stops it, resumable."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import tee
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from medq_vlm import io, vocab
from medq_vlm.io.outcome import PASSED_OVER
from medq_vlm.io.sniff import CLAIMS, HEAD_BYTES, RASTER, foreign_name, kind_of
from medq_vlm.schema import Assessment, ImageSample, IngestError, MedQError, plain_path

if TYPE_CHECKING:
    from medq_vlm.pipeline import MedQ

COLUMNS = (
    "path", "series", "first_file", "modality", "anatomy", "slices", "score", "score_low", "score_high", "percentile",
    "verdict", "reject_probability", "uncertainty", "worst_kind", "worst_severity", "findings", *vocab.ATTRIBUTES,
    "assessable", "reason", "warnings", "acquisition", "sha256", "model", "model_sha256", "created", "error",
)  # fmt: skip
KINDS = (*RASTER, "dicom", "npy", "zip", "nifti", "nifti_pair", "nifti_gz", "misnamed", "unreadable")  # of units
READ_AS = ("unit", "stamp")  # of a table on disk: what a resumed run compares with the folder
Row = dict[str, Any]
Assess = Callable[["MedQ", ImageSample], Assessment]


@dataclass(frozen=True)
class Unit:
    """What is read as one: the DICOM files that lie in one folder, or another image file."""

    path: Path
    files: tuple[Path, ...] = ()
    stamp: str = ""  # see stamp_of

    @property
    def name(self) -> str:
        """Its path as text that any table can hold."""
        return plain_path(self.path)


@dataclass
class Survey:
    """What a folder and all below it hold; a unit is read, and the rest is told by reason."""

    units: list[Unit] = field(default_factory=list)  # by path
    left_out: dict[str, list[Path]] = field(default_factory=dict)


@dataclass
class Done:
    """A unit that was gone through."""

    unit: Unit
    rows: list[Row] = field(default_factory=list)
    passed: int = 0  # DICOM objects without an image, which are passed over


@dataclass
class Earlier:
    """What a run that goes on has of the one before."""

    rows: list[Row] = field(default_factory=list)  # of units that were finished, without an error, and are unchanged
    begun: dict[tuple[str, Any], Row] = field(default_factory=dict)  # by unit and series: of others that are unchanged


def stamp_of(files: Sequence[Path]) -> str:
    """What changes when the files do, of before they are read; "" when they cannot be looked at."""
    try:
        found = [file.stat() for file in files]
    except OSError:
        return ""
    size, newest = sum(one.st_size for one in found), max((one.st_mtime_ns for one in found), default=0)
    return f"{len(found)} files, {size} bytes, {newest} ns" if found else ""


def survey(folder: Path, own: Collection[Path] = ()) -> Survey:
    """All DICOM files of a folder as one, each other image alone; so for the folders below.

    Links are not followed; hidden files and files of no image kind are left out, unless their name claims one, and
    counted; `own` are passed over. A folder that may not be read is a unit too: reading it says so.
    """
    out = Survey()
    try:
        inner = sorted(path for path in folder.iterdir() if path not in own)
        folders = [path for path in inner if path.is_dir() and not path.is_symlink()]
        kinds = {path: _kind(path) for path in inner if path.is_file() or path.is_symlink()}
    except OSError:
        return Survey([Unit(folder)])
    images = {path: kind for path, kind in kinds.items() if kind in KINDS}
    dicom = tuple(path for path, kind in images.items() if kind == "dicom")
    inside = {path: _files(path, kind) for path, kind in images.items() if kind != "dicom"}
    inside |= {folder: dicom} if dicom else {}
    out.units += [Unit(path, files, stamp_of(files)) for path, files in inside.items()]
    read = {file for unit in out.units for file in unit.files}
    for path, reason in kinds.items():
        if path not in images and path not in read:
            out.left_out.setdefault(reason, []).append(path)
    for sub in folders:
        below = survey(sub, own)
        out.units += below.units
        for reason, paths in below.left_out.items():
            out.left_out.setdefault(reason, []).extend(paths)
    out.units.sort(key=lambda unit: unit.path)
    return out


def _files(path: Path, kind: str) -> tuple[Path, ...]:
    """The pixels of a NIfTI pair lie beside its header."""
    other = path.with_suffix(".img")
    return (path, other) if kind == "nifti_pair" and other.is_file() else (path,)


def _kind(path: Path) -> str:
    """One of KINDS, or why the file is left out."""
    if path.is_symlink():
        return "links are not followed"
    if path.name.startswith("."):
        return "hidden files are not read"
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return "unreadable"  # it is tried, and named when it fails
    claimed = path.name.lower().endswith(CLAIMS)
    what = foreign_name(head) or (f"a '{path.suffix}' file" if path.suffix else "a file of an unknown format")
    return kind_of(head) or ("misnamed" if claimed else f"MedQ does not read {what}")


def run(
    load: Callable[[], MedQ],
    assess: Assess,
    work: Iterable[Unit],
    journal: IO[str],
    begun: Mapping[tuple[str, Any], Row],
    begin: Callable[[str], None] = lambda name: None,
) -> Iterator[Done]:
    """Assess what `work` holds; each row is in `journal` as soon as it is made, and then the end of its unit.

    Gives each unit when it is done, and only then asks `work` for the next. `load` is called once, before the first
    image; begin(name) for each file that is read, maybe twice. What cannot be read gives a row with `error` set.
    """
    model = None
    work, again = tee(work)
    read = io.load_each((unit.path for unit in again), progress=begin, flat=True)
    for unit, outcomes in zip(work, read, strict=True):
        done = Done(unit)
        for number, outcome in enumerate(outcomes, 1):
            if not isinstance(outcome, IngestError):
                known = begun.get((unit.name, number))
                if known is None or known["sha256"] != outcome.sha256:
                    model = model or load()
                    known = keep(_assessed(model, assess, outcome, number), unit, journal)
                done.rows.append(known)
            elif outcome.code in PASSED_OVER:
                done.passed += 1
            else:
                done.rows.append(keep(failed_row(unit.name, str(outcome)), unit, journal))
        end(unit, journal)
        yield done


def keep(row: Row, unit: Unit, journal: IO[str]) -> Row:
    """The row as the table has it, written to the journal."""
    told = {name: plain_path(value) if isinstance(value, str) else value for name, value in row.items()}
    told |= {"unit": unit.name, "stamp": unit.stamp}
    _append(journal, told)
    return told


def end(unit: Unit, journal: IO[str]) -> None:
    """Write that all rows of the unit are in the journal."""
    _append(journal, {"finished": unit.name})


def _append(journal: IO[str], line: Row) -> None:
    journal.write(json.dumps(line, allow_nan=False) + "\n")
    journal.flush()


def _assessed(model: MedQ, assess: Assess, sample: ImageSample, number: int) -> Row:
    try:
        return row_of(sample.path, number, assess(model, sample), sample.first_file)
    except MedQError as error:
        return failed_row(sample.path, str(error)) | {"series": number, "sha256": sample.sha256}


def failed_row(path: str, problem: str) -> Row:
    """The row of what could not be read or assessed."""
    return dict.fromkeys(COLUMNS, None) | {"path": path, "error": problem}


def row_of(path: str, series: int, result: Assessment, first_file: str = "") -> Row:
    """One assessment as one flat row; the columns are COLUMNS. What a picture that is none looks like is left out."""
    plain = result.to_dict()
    modality, anatomy = (
        fact.value if result.assessable or fact.from_ != "image" else None for fact in (result.modality, result.anatomy)
    )
    low, high = plain["score_interval"] or (None, None)
    worst = plain["findings"][0] if plain["findings"] else {}
    return {
        "path": path,
        "series": series,
        "first_file": first_file,
        "modality": modality,
        "anatomy": anatomy,
        "slices": plain["source"]["slices"],
        "score": plain["score"],
        "score_low": low,
        "score_high": high,
        "percentile": plain["percentile"],
        "verdict": plain["verdict"],
        "reject_probability": plain["reject_probability"],
        "uncertainty": uncertainty(result.score_distribution) if result.assessable else None,
        "worst_kind": worst.get("kind"),
        "worst_severity": worst.get("severity"),
        "findings": "; ".join(f"{f['kind']} {f['severity']}" for f in plain["findings"]),
        **{name: plain["attributes"].get(name) for name in vocab.ATTRIBUTES},
        "assessable": plain["assessable"],
        "reason": plain["reason"],
        "warnings": " ".join(plain["warnings"]),
        "acquisition": plain["acquisition"],
        "sha256": plain["source"]["sha256"],
        "model": f"{plain['model']['name']} {plain['model']['version']}",
        "model_sha256": plain["model"]["sha256"],
        "created": plain["created"],
        "error": None,
    }


def uncertainty(distribution: tuple[float, ...]) -> float:
    """How doubtful the verdict is: the probability of the other two verdicts, 0 to 2/3 (least confidence sampling)."""
    mass = dict.fromkeys(vocab.VERDICTS, 0.0)
    for position, share in enumerate(distribution):
        mass[vocab.verdict_word(4.0 * position / (len(distribution) - 1))] += share
    return round(1.0 - max(mass.values()), 4)


def rank(rows: Iterable[Row]) -> list[Row]:
    """The most doubtful first, what was not assessed last: the order in which a person's label teaches most."""
    return sorted(rows, key=lambda row: -1.0 if row["uncertainty"] is None else row["uncertainty"], reverse=True)


def earlier_of(rows: Iterable[Row], finished: set[str], found: Sequence[Unit]) -> Earlier:
    """What of `rows` still holds: a unit is done again when it was not finished, holds an error, or changed."""
    stamps = {unit.name: unit.stamp for unit in found}
    rows = list(rows)
    again = {row["unit"] for row in rows if row["error"] or stamps.get(row["unit"], row["stamp"]) != row["stamp"]}
    out = Earlier()
    for row in rows:
        if row["unit"] in finished and row["unit"] not in again:
            out.rows.append(row)
        elif not row["error"] and row["stamp"] and stamps.get(row["unit"]) == row["stamp"]:
            out.begun[row["unit"], row["series"]] = row
    return out
