"""DICOM files to image samples: frames grouped and ordered by geometry, decoded into one array per stack."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from pydicom import Dataset

from medq_vlm.io import acquisition, header, pixels
from medq_vlm.io.archive import Source
from medq_vlm.io.common import finish, joined_hash
from medq_vlm.io.dicom import Claim, open_dicom, quiet
from medq_vlm.io.limits import Limits, check_claim, out_of_memory
from medq_vlm.io.series import Frame, Stack, edges_of, grid_of, stacks
from medq_vlm.schema import ImageSample, IngestError

Opened = tuple[Dataset, Claim]


@dataclass(frozen=True)
class Scan:
    """One DICOM file after its header was read."""

    frames: list[Frame]
    sha256: str
    opened: Opened | None  # kept only when it is the only file: a folder is read twice instead of held


def scan(source: Source, number: int, keep: bool, limits: Limits) -> Scan:
    """Header records of all frames of a file. `number`: its index among the sources. Raises IngestError."""
    data = source.read(limits)
    ds, claim = open_dicom(data, source.name, limits)
    with quiet():
        frames = [_frame(ds, claim, number, index) for index in range(claim.frames)]
    return Scan(frames, hashlib.sha256(data).hexdigest(), (ds, claim) if keep else None)


def _frame(ds: Dataset, claim: Claim, number: int, index: int) -> Frame:
    def six(keyword: str, length: int) -> tuple[float, ...] | None:
        found = header.scoped_numbers(ds, keyword, index)
        return found if len(found) == length else None

    return Frame(
        source=number,
        index=index,
        series=str(header.raw(ds, "SeriesInstanceUID") or f"file {number}"),
        instance=str(header.raw(ds, "SOPInstanceUID") or ""),
        number=header.number(ds, "InstanceNumber") or 0.0,
        shape=(claim.rows, claim.columns, 3 if claim.photometric == "PALETTE COLOR" else claim.samples),
        localiser="LOCALIZER" in header.words(ds, "ImageType"),
        orientation=six("ImageOrientationPatient", 6),
        position=six("ImagePositionPatient", 3),
    )


@dataclass(frozen=True)
class Study:
    """The DICOM files of one input and how they may be read."""

    scans: dict[int, Scan]  # by source index
    sources: list[Source]
    path: str  # of a sample made of several files
    limits: Limits
    begin: Callable[[int], None]  # called with the source index before a file is opened


@dataclass
class Filled:
    """The pixels of a stack as they come in."""

    pixels: np.ndarray  # float32 (S, H, W) or (S, H, W, 3)
    valid: np.ndarray | None  # made when the first padding is met
    about: tuple[Dataset, Claim, int] | None  # header, claim and frame number that describe the stack
    failed: dict[int, IngestError]  # source index: why it could not be decoded


def samples(study: Study) -> Iterator[tuple[int, ImageSample | IngestError]]:
    """One (index of the first source, sample or error) per stack of `study`."""
    for stack in stacks([frame for one in study.scans.values() for frame in one.frames]):
        first = min(frame.source for frame in stack.frames)
        try:
            yield first, _sample(study, stack)
        except IngestError as error:
            yield first, error
        except MemoryError:
            yield first, out_of_memory(study.sources[first].name)


def _sample(study: Study, stack: Stack) -> ImageSample:
    members = sorted({frame.source for frame in stack.frames})
    name = study.sources[members[0]].name if len(members) == 1 else study.path
    rows, columns, channels = stack.frames[0].shape
    check_claim(name, (len(stack.frames), rows, columns, channels), study.limits)
    filled = _fill(study, stack, members)
    if filled.about is None:
        raise next(iter(filled.failed.values()))
    out, valid, notes, breaks = filled.pixels, filled.valid, stack.warnings, stack.breaks
    frames = stack.frames
    if filled.failed:
        keep = [row for row, frame in enumerate(stack.frames) if frame.source not in filled.failed]
        out, valid = out[keep], None if valid is None else valid[keep]
        frames = tuple(stack.frames[row] for row in keep)
        breaks = tuple(
            row
            for row, (one, other) in enumerate(pairwise(keep))
            if set(range(one, other)) & {*breaks, *range(one + 1, other)}
        )
        notes += (f"{len(filled.failed)} of {len(members)} files of the series could not be read.",)
    ds, claim, index = filled.about
    hashes = sorted(study.scans[member].sha256 for member in members)
    with quiet():
        told = acquisition.describe(ds, index, stack.spacing_mm)
        sample = ImageSample(
            out,
            unit=pixels.unit_of(ds) if out.ndim == 3 else "value",
            modality=told.modality,
            foreign=told.foreign,
            anatomy=told.anatomy,
            view=told.view or stack.view,
            spacing_mm=(stack.spacing_mm, *told.pixel_spacing_mm),
            edges=edges_of(stack.frames[0].orientation),
            grid=grid_of(frames, (stack.spacing_mm, *told.pixel_spacing_mm)),
            acquisition=told.sentence,
            acquisition_fields=told.fields,
            window=pixels.window_of(ds, index) if out.ndim == 3 else None,
            inverted=claim.photometric == "MONOCHROME1",
            valid=valid,
            bits=claim.bits_stored,
            lossy=pixels.is_lossy(ds),
            warnings=(*notes, *told.warnings),
            breaks=breaks,
            path=study.sources[members[0]].path if len(members) == 1 else study.path,
            first_file=study.sources[stack.frames[0].source].path if len(members) > 1 else "",
            sha256=joined_hash(hashes),
        )
    return finish(sample, name)


def _fill(study: Study, stack: Stack, members: list[int]) -> Filled:
    """Each file is opened once, whatever the order of its frames in the stack."""
    rows, columns, channels = stack.frames[0].shape
    shape = (len(stack.frames), rows, columns)
    filled = Filled(np.zeros((*shape, 3) if channels == 3 else shape, np.float32), None, None, {})
    middle = stack.frames[len(stack.frames) // 2]
    places: dict[int, list[tuple[int, int]]] = {member: [] for member in members}  # row, frame number
    for row, frame in enumerate(stack.frames):
        places[frame.source].append((row, frame.index))
    for member in members:
        source = study.sources[member]
        try:
            study.begin(member)
            opened = study.scans[member].opened
            ds, claim = opened or open_dicom(source.read(study.limits), source.name, study.limits)
            decoded = pixels.frames(ds, claim, source.name, [index for _, index in places[member]])
            for (row, _), (values, mask) in zip(places[member], decoded, strict=True):
                filled.pixels[row] = values
                if mask is not None:
                    filled.valid = np.ones(shape, bool) if filled.valid is None else filled.valid
                    filled.valid[row] = mask
        except IngestError as error:
            filled.failed[member] = error
            continue
        if filled.about is None or member == middle.source:
            filled.about = ds, claim, middle.index if member == middle.source else 0
    return filled
