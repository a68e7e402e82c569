"""The files behind a sample, found again by their sha256: a derived file takes its header from them.

They are parsed in this process, headers only: the very bytes (the hash says so) that the guarded reader survived.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, replace

from pydicom import Dataset

from medq_vlm.io import header
from medq_vlm.io.archive import Source, sources_of
from medq_vlm.io.common import joined_hash
from medq_vlm.io.dicom import open_dicom
from medq_vlm.io.limits import DEFAULT, Limits
from medq_vlm.io.series import Frame, Stack, edges_of, stacks
from medq_vlm.io.sniff import kind_of
from medq_vlm.io.study import Scan, scan
from medq_vlm.schema import ImageSample, IngestError, MedQError

REFERRED_BY = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
BELONGS_TO = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip


@dataclass(frozen=True)
class Original:
    """Where one sample came from."""

    kind: str  # as sniff.kind_of says
    sources: tuple[Source, ...]  # its files; of NIfTI pairs the header
    frames: tuple[Frame, ...] = ()  # DICOM: one per slice in display order; `source` indexes `sources`


def referred(original: Original, limits: Limits = DEFAULT) -> list[Dataset]:
    """What a report may say of the DICOM objects of `original`, in display order. Raises MedQError."""
    if original.kind != "dicom":
        raise MedQError("Only DICOM images belong to a study, and this is none; write .pdf, .html or .json.")
    out = []
    for member in dict.fromkeys(frame.source for frame in original.frames):
        source = original.sources[member]
        ds, _ = open_dicom(source.read(limits), source.name, limits)
        out.append(referable(ds))
    return out


def referable(ds: Dataset) -> Dataset:
    """Patient, study and UIDs of an image object, and nothing else. Raises MedQError where a UID is missing."""
    out = Dataset()
    for keyword in REFERRED_BY:
        value = str(header.raw(ds, keyword) or "")
        if not re.fullmatch(r"[0-9.]{1,64}", value):
            raise MedQError(f"The image's header has no {keyword}, so no report can refer to it.")
        setattr(out, keyword, value)
    for keyword in BELONGS_TO:  # type 2: they must be there and may be empty
        setattr(out, keyword, header.raw(ds, keyword))
    for keyword in ("SpecificCharacterSet", "NumberOfFrames", "FrameOfReferenceUID", "Rows", "Columns"):
        if (told := header.raw(ds, keyword)) is not None:
            setattr(out, keyword, told)
    return out


class Originals:
    """The files below a path, looked through once."""

    def __init__(self, path: str | os.PathLike[str], limits: Limits = DEFAULT) -> None:
        self.limits = limits
        self.path = os.fspath(path)
        self.sources = sources_of(self.path, limits)
        self._kinds: dict[int, str] = {}
        self._scans: dict[int, Scan] = {}
        self._stacks: list[Stack] | None = None

    def of(self, sample: ImageSample) -> Original:
        """The files that `sample` was read from. Raises MedQError when they changed or cannot be told apart."""
        self._look()
        assert self._stacks is not None
        fitting = [stack for stack in self._stacks if self._fits(stack, sample)]
        if len(fitting) == 1:
            frames = fitting[0].frames
            members = sorted({frame.source for frame in frames})
            own = tuple(replace(frame, source=members.index(frame.source)) for frame in frames)
            return Original("dicom", tuple(self.sources[member] for member in members), own)
        if fitting:
            raise MedQError(f"'{self.path}' holds several stacks of one shape in one file; write .npy instead.")
        for index, kind in self._kinds.items():
            if kind != "dicom" and self._sha256(index, kind) == sample.sha256:
                return Original(kind, (self.sources[index],))
        raise MedQError(
            f"The files of '{sample.path}' changed, or a part of the series could not be read; write .nii.gz or .npy."
        )

    def _look(self) -> None:
        if self._stacks is not None:
            return
        for index, source in enumerate(self.sources):
            try:
                kind = kind_of(source.head())
                if kind == "dicom":
                    self._scans[index] = scan(source, index, False, self.limits)
                if kind is not None:
                    self._kinds[index] = kind
                elif (partner := source.sibling(".hdr")) is not None and kind_of(partner.head()) == "nifti_pair":
                    self.sources[index] = partner  # the .img of a pair was given
                    self._kinds[index] = "nifti_pair"
            except IngestError:  # the reader has already told it
                continue
        self._stacks = stacks([frame for one in self._scans.values() for frame in one.frames])

    def _fits(self, stack: Stack, sample: ImageSample) -> bool:
        hashes = [self._scans[member].sha256 for member in {frame.source for frame in stack.frames}]
        return (
            joined_hash(sorted(hashes)) == sample.sha256
            and (len(stack.frames), *stack.frames[0].shape[:2]) == sample.pixels.shape[:3]
            and edges_of(stack.frames[0].orientation) == sample.edges
        )

    def _sha256(self, index: int, kind: str) -> str:
        source = self.sources[index]
        try:
            files = [source.read(self.limits)]
            if kind == "nifti_pair" and (image := source.sibling(".img")) is not None:
                files.append(image.read(self.limits))
        except IngestError:
            return ""
        return joined_hash([hashlib.sha256(data).hexdigest() for data in files])
