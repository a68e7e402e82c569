"""The types that travel between the parts: ImageSample in, DegradationRecord beside it, Assessment out."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from medq_vlm import vocab

SCHEMA_VERSION = "medq/1"
FAR = 1.5  # times beyond its range, at which a measurement speaks against the model


class MedQError(Exception):
    """A failure with one clear sentence for a person; `exit_code` is the command line's."""

    exit_code = 2


class IngestError(MedQError):
    """A file that cannot be read. `code` is a short machine name, e.g. 'not_an_image', 'too_large', 'timeout'."""

    exit_code = 3

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ModelError(MedQError):
    """Weights missing, corrupt, or of another version."""

    exit_code = 5


@dataclass(frozen=True)
class ImageSample:
    """One image or volume in native units, free of identity."""

    pixels: np.ndarray  # float32, (S, H, W) or (S, H, W, 3); CT in HU, everything else modality-LUT values
    unit: str = "value"  # "HU", "BQML", ..., or "value" when the file does not say
    modality: str | None = None  # vocab.MODALITIES, None when the file does not say
    modality_from: str = "header"  # who named it: the file ("header"), a person ("user"), or its values ("image")
    foreign: str = ""  # what the file says it is when that is none of vocab.MODALITIES: "nuclear medicine"
    anatomy: str | None = None  # vocab.ANATOMIES, None when the file does not say
    view: str | None = None  # e.g. "axial", "PA"
    spacing_mm: tuple[float | None, float | None, float | None] = (None, None, None)  # slice, row, column
    edges: tuple[str, str, str, str] | None = (
        None  # patient's side at the left, right, top, bottom edge: "R", "HA", ...
    )
    grid: tuple[float, ...] | None = None  # 3 x 4, row by row: (column, row, slice, 1) -> mm to the right, front, head
    acquisition: str = ""  # sentence built from allow-listed header fields, or a person's
    acquisition_from: str = "header"  # or "user"
    acquisition_fields: dict[str, str | float] = field(default_factory=dict)  # the same as a table, name: value
    window: tuple[float, float] | None = None  # VOI centre and width, for display only
    inverted: bool = False  # MONOCHROME1: the smallest value is shown white
    valid: np.ndarray | None = None  # bool (S, H, W), False on padding; None: everything valid
    bits: int | None = None  # stored bits per sample
    lossy: bool = False  # a lossy compression is part of the file's history
    warnings: tuple[str, ...] = ()  # sentences: missing slices, mixed orientation, ...
    breaks: tuple[int, ...] = ()  # slices whose next one is known to be no neighbour: some are missing, or it is a cine
    path: str = ""  # as given by the caller
    first_file: str = ""  # of a series: where its first slice lies
    sha256: str = ""  # of the file, or of the sorted file hashes of a series

    def told(
        self, modality: str | None = None, anatomy: str | None = None, acquisition: str | None = None
    ) -> ImageSample:
        """With what a person says of the image; where the file says the same, it stays the file's word."""
        out = replace(self, anatomy=anatomy or self.anatomy)
        if modality not in (None, self.modality):
            out = replace(out, modality=modality, modality_from="user")
        for said, own in ((out.modality, self.modality), (out.anatomy, self.anatomy)):
            if said and own and said != own:
                names = [vocab.MODALITY_NAMES.get(word, word) for word in (own, said)]
                note = f"The file says {names[0]}, and the image is assessed as {names[1]}, as the user says."
                out = replace(out, warnings=(*out.warnings, note))
        if acquisition not in (None, self.acquisition):
            out = replace(out, acquisition=acquisition or "", acquisition_from="user")
        return out

    def checked(self) -> ImageSample:
        """Itself with float32 pixels. Raises MedQError for what a caller built and no reader would give."""
        pixels = self.pixels
        if not isinstance(pixels, np.ndarray) or pixels.dtype.kind not in "fiu":
            kind = pixels.dtype if isinstance(pixels, np.ndarray) else type(pixels).__name__
            raise MedQError(f"The pixels are a NumPy array of numbers, and these are {kind}; np.asarray makes one.")
        if pixels.ndim not in (3, 4) or pixels.shape[3:] not in ((), (3,)) or 0 in pixels.shape:
            raise MedQError(
                f"The pixels are (slices, height, width), or (slices, height, width, 3) in colour, and these are "
                f"{pixels.shape}; one grey picture is pixels[None]."
            )
        if self.valid is not None and (self.valid.dtype != bool or self.valid.shape != pixels.shape[:3]):
            raise MedQError(
                f"`valid` is boolean and {pixels.shape[:3]}, as the pixels are, and not {self.valid.shape}."
            )
        for name, known in (("modality", vocab.MODALITIES), ("anatomy", vocab.ANATOMIES)):
            if getattr(self, name) not in (None, *known):
                raise MedQError(f"'{getattr(self, name)}' is no {name}; use one of {', '.join(known)}.")
        return self if pixels.dtype == np.float32 else replace(self, pixels=pixels.astype(np.float32))

    @property
    def slices(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def colour(self) -> bool:
        return self.pixels.ndim == 4


@dataclass(frozen=True)
class DegradationRecord:
    """What was done to an image; the training label. `apply` with the same record gives the same pixels."""

    kind: str  # vocab.KIND_NAMES
    modality: str  # vocab.MODALITIES
    severity: float  # calibrated, 0 to 4
    strength: float  # 0 to 1, the kind's own scale (severity_table.json maps severity to it)
    seed: int  # of all chance in `apply`
    params: dict[str, Any] = field(default_factory=dict)  # physical parameters with units in their names
    box: tuple[int, int, int, int] | None = None  # x0, y0, x1, y1 of a local artefact, pixels; None: everywhere


@dataclass(frozen=True)
class Measurement:
    """One measured number shown as evidence."""

    name: str
    value: float
    unit: str
    better: str = ""  # "higher", "lower" or "" when neither
    expected: str = ""  # range for this modality in words, e.g. "<= 25"; "" when there is none
    source: str = ""  # paper or standard of the method

    @property
    def times_bound(self) -> float | None:
        """How many times beyond the one-sided range it lies, 1 at its bound; None where there is no such range."""
        found = re.match(r"(<=|>=) ([\d.]+)", self.expected)
        if not found or not (bound := float(found.group(2))):
            return None
        return self.value / bound if found.group(1) == "<=" else bound / max(self.value, 1e-9)

    @property
    def far(self) -> bool:
        """Whether it lies so far beyond a one-sided range that no attribute may say otherwise."""
        return (self.times_bound or 0.0) > FAR

    @property
    def within(self) -> bool | None:
        """Whether the value lies in the range expected of a good image; None where there is none."""
        if self.expected == "0":
            return self.value <= 0
        if sides := re.match(r"([\d.]+) to ([\d.]+)", self.expected):
            return float(sides.group(1)) <= self.value <= float(sides.group(2))
        return None if self.times_bound is None else self.times_bound <= 1


@dataclass(frozen=True)
class Location:
    """Where a finding is: first and last slice, box in pixels (x0, y0, x1, y1), words."""

    slices: tuple[int, int] | None = None
    box: tuple[int, int, int, int] | None = None
    words: str = ""


@dataclass(frozen=True)
class Finding:
    kind: str
    severity: str
    severity_value: float
    confidence: float
    location: Location
    evidence: tuple[Measurement, ...]
    cause: str
    impact: str
    remedy: str
    code: dict[str, str]  # scheme, value, meaning


SURE_FROM = 0.8  # probability of a fact recognised from the image


@dataclass(frozen=True)
class Recognised:
    """A recognised fact: value (None when unknown), where it came from, and how sure."""

    value: str | None
    from_: str  # "header", "image" or "user"
    confidence: float

    @property
    def sure(self) -> bool:
        """Whether it is said without "probably"."""
        return self.value is not None and (self.from_ != "image" or self.confidence >= SURE_FROM)


@dataclass(frozen=True)
class Assessment:
    """The one result type; `to_dict` follows assessment.schema.json."""

    source: dict[str, Any]  # path, sha256, slices
    modality: Recognised
    anatomy: Recognised
    acquisition: str
    score: float | None  # None when not assessable
    score_interval: tuple[float, float] | None
    score_distribution: tuple[float, ...]
    percentile: float | None  # against the reference set of the modality
    verdict: str | None
    assessable: bool
    reason: str  # why not assessable, "" otherwise
    reject_probability: float | None
    attributes: dict[str, float]  # vocab.ATTRIBUTES, 0 to 1, higher is better
    findings: tuple[Finding, ...]
    slices: tuple[dict[str, float], ...]  # index, score, weight
    evidence: tuple[Measurement, ...]  # all measures, findings or not
    warnings: tuple[str, ...]
    description: str
    model: dict[str, str]  # name, version, sha256
    created: str  # ISO 8601, UTC
    utility: dict[str, Any] | None = None
    acquisition_from: str = "header"  # or "user"
    acquisition_fields: dict[str, str | float] = field(default_factory=dict)
    prompts: tuple[dict[str, Any], ...] = ()  # good, bad, score 0 to 1 of each pair a user wrote

    @property
    def prose(self) -> str:
        """The description as people read it; `description` is what the restoration network reads."""
        return self.hedged(vocab.in_good_english(self.description))

    def hedged(self, text: str) -> str:
        """`text` with "probably" where it says what the image is, if that is doubted."""
        if not self.doubted:
            return text
        names = [str(fact.value) for fact in (self.anatomy, self.modality) if fact.value is not None]
        return vocab.with_doubt(text, [vocab.MODALITY_NAMES.get(name, name) for name in names])

    @property
    def doubted(self) -> bool:
        """Whether anatomy or modality was recognised too unsurely to be stated."""
        return any(fact.value is not None and not fact.sure for fact in (self.anatomy, self.modality))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, `schema` first; numbers rounded to four decimals."""
        out: dict[str, Any] = {"schema": SCHEMA_VERSION}
        out.update(plain(asdict(self), four_decimals))
        out["description"] = self.prose
        for key in ("modality", "anatomy"):
            out[key]["from"] = out[key].pop("from_")
        return out


def plain_path(path: str | os.PathLike[str]) -> str:
    """A path as text that JSON and any table can hold: bytes of a name that are no UTF-8 are written out."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def four_decimals(value: float) -> float:
    return round(value, 4)


def plain(value: Any, rounded: Callable[[float], float]) -> Any:
    """Nested dicts, lists, tuples and numpy numbers -> JSON types; every float goes through `rounded`."""
    if isinstance(value, dict):
        return {key: plain(item, rounded) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, rounded) for item in value]
    if isinstance(value, float | np.floating):
        return rounded(float(value))
    if isinstance(value, np.integer):
        return int(value)
    return value
