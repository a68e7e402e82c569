"""Files to image samples, in this process. The one place where a file kind meets its reader."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from medq_vlm.io.archive import ARCHIVE_FULL, Source, sources_of
from medq_vlm.io.common import joined_hash
from medq_vlm.io.dicom import quiet
from medq_vlm.io.limits import DEFAULT, Limits, out_of_memory
from medq_vlm.io.outcome import collect, refused
from medq_vlm.io.sniff import CLAIMS, RASTER, kind_of
from medq_vlm.io.study import Scan, Study, samples, scan
from medq_vlm.schema import ImageSample, IngestError

Outcome = tuple[int, ImageSample | IngestError]  # index of the (first) source, what became of it


def read(path: str | os.PathLike[str], limits: Limits = DEFAULT) -> list[ImageSample]:
    """Samples of a file, folder or zip, read in this very process.

    For files you trust, such as your own training data: a hostile file can crash or stall the process.
    Untrusted files go through `medq_vlm.io.load`. Raises IngestError when nothing in `path` can be read.
    """
    name = os.fspath(path)
    outcomes = [outcome for _, outcome in ingest(name, sources_of(name, limits), limits)]
    good = [one for one in outcomes if isinstance(one, ImageSample)]
    return collect(name, good, [one for one in outcomes if isinstance(one, IngestError)])


def ingest(
    path: str,
    sources: list[Source],
    limits: Limits,
    begin: Callable[[int], None] = lambda index: None,
    skip: frozenset[int] = frozenset(),
) -> Iterator[Outcome]:
    """What becomes of each file of `sources`, except the indices in `skip`; DICOM files are joined to stacks.

    begin(index) is called before each file is touched, so that a watcher knows the culprit. Among several
    files, those of no image kind are passed over, but for those whose name claims one.
    """
    scans: dict[int, Scan] = {}
    for index, source in enumerate(sources):
        if index in skip:
            continue
        begin(index)
        try:
            head = source.head()
            kind = kind_of(head)
            if kind == "dicom":
                scans[index] = scan(source, index, len(sources) == 1, limits)
            elif kind is not None and kind != "zip":
                yield index, _read_one(source, kind, limits)
            elif len(sources) == 1:
                yield index, _read_pair_or_refuse(source, head, limits)
            elif kind is None and source.name.lower().endswith(CLAIMS):
                yield index, refused(source.name, head)
        except IngestError as error:
            yield index, error
            if error.code == ARCHIVE_FULL:
                break
        except MemoryError:
            yield index, out_of_memory(source.name)
    yield from samples(Study(scans, sources, path, limits, begin))


def _read_one(source: Source, kind: str, limits: Limits) -> ImageSample:
    """A file that is no DICOM object. Raises IngestError."""
    with quiet():
        if kind.startswith("nifti"):
            from medq_vlm.io.nifti import read_nifti  # nibabel takes long to import

            sample, files = read_nifti(source, kind, limits)
            return replace(sample, sha256=joined_hash([hashlib.sha256(data).hexdigest() for data in files]))
        data = source.read(limits)
        if kind == "tiff":
            from medq_vlm.io.tiff import read_tiff

            sample = read_tiff(data, source.name, source.path, limits)
        else:
            from medq_vlm.io.raster import read_npy, read_picture

            if kind == "npy":
                sample = read_npy(data, source.name, source.path, limits)
            else:
                assert kind in RASTER
                sample = read_picture(data, kind, source.name, source.path, limits)
        return replace(sample, sha256=hashlib.sha256(data).hexdigest())


def _read_pair_or_refuse(source: Source, head: bytes, limits: Limits) -> ImageSample:
    """The pixels of a NIfTI pair have no magic number of their own. Raises IngestError."""
    partner = source.sibling(".hdr")
    if partner is not None and Path(source.path).suffix.lower() == ".img":
        kind = kind_of(partner.head())
        if kind == "nifti_pair":
            return replace(_read_one(partner, kind, limits), path=source.path)
    raise refused(source.name, head)
