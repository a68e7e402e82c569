"""Values out of a DICOM header that may hold anything at all: the wanted type or None, never an exception."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from pydicom import Dataset

# Functional group macros of enhanced objects that hold what we read (PS3.3 C.7.6.16).
GROUPS = (
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelValueTransformationSequence",
    "FrameVOILUTSequence",
    "FrameAnatomySequence",
    "FrameContentSequence",
    "CTAcquisitionTypeSequence",
    "CTAcquisitionDetailsSequence",
    "CTReconstructionSequence",
    "CTExposureSequence",
    "CTXRayDetailsSequence",
    "CTTableDynamicsSequence",
    "CTImageFrameTypeSequence",
    "MRTimingAndRelatedParametersSequence",
    "MREchoSequence",
    "MRModifierSequence",
    "MRFOVGeometrySequence",
    "MRDiffusionSequence",
    "MRImageFrameTypeSequence",
    "PETFrameAcquisitionSequence",
)


def scopes(ds: Dataset, frame: int = 0) -> Iterator[Dataset]:
    """Datasets that may hold a value for `frame`, nearest first: its own groups, shared ones, top level."""
    own = item(ds, "PerFrameFunctionalGroupsSequence", frame)
    for group in (own, item(ds, "SharedFunctionalGroupsSequence")):
        if group is not None:
            for keyword in GROUPS:
                macro = item(group, keyword)
                if macro is not None:
                    yield macro
    yield ds


def item(ds: Dataset, keyword: str, index: int = 0) -> Dataset | None:
    """One item of a sequence, or None when there is no such sequence or item."""
    value = raw(ds, keyword)
    if not isinstance(value, Sequence) or isinstance(value, str) or not 0 <= index < len(value):
        return None
    found = value[index]
    return found if isinstance(found, Dataset) else None


def raw(ds: Dataset, keyword: str) -> object:
    """The value as pydicom gives it, None when it is absent or cannot be converted."""
    try:
        return ds.get(keyword)
    except Exception:  # any conversion of a hostile value may fail in any way; absent is the honest reading
        return None


def numbers(ds: Dataset, keyword: str) -> tuple[float, ...]:
    """All values as finite floats; () when absent or when one of them is not a number."""
    value = raw(ds, keyword)
    many: Sequence[Any] = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else (value,)
    out = []
    for one in many:
        try:
            out.append(float(one))
        except (TypeError, ValueError, OverflowError):
            return ()
    return tuple(out) if all(math.isfinite(x) for x in out) else ()


def number(ds: Dataset, keyword: str) -> float | None:
    """The first value as a finite float, or None."""
    found = numbers(ds, keyword)
    return found[0] if found else None


def whole(ds: Dataset, keyword: str, default: int) -> int:
    """The first value as an int, `default` when absent or not a number."""
    found = number(ds, keyword)
    return default if found is None else int(found)


def words(ds: Dataset, keyword: str) -> tuple[str, ...]:
    """All values as upper-case stripped strings; for comparing with closed lists only, never to be shown."""
    value = raw(ds, keyword)
    if value is None:
        return ()
    many = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else (value,)
    return tuple(str(one).strip().upper() for one in many if isinstance(one, str | int | float))


def word(ds: Dataset, keyword: str) -> str:
    """The first of `words`, "" when there is none."""
    found = words(ds, keyword)
    return found[0] if found else ""


def scoped_numbers(ds: Dataset, keyword: str, frame: int = 0) -> tuple[float, ...]:
    """`numbers` of the nearest scope of `frame` that has the keyword."""
    return next((found for scope in scopes(ds, frame) if (found := numbers(scope, keyword))), ())


def scoped_words(ds: Dataset, keyword: str, frame: int = 0) -> tuple[str, ...]:
    """`words` of the nearest scope of `frame` that has the keyword."""
    return next((found for scope in scopes(ds, frame) if (found := words(scope, keyword))), ())
