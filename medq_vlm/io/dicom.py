"""A DICOM file opened with care: what it is, and whether its claims may be believed, before anything is
decoded."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import pydicom
from pydicom import Dataset
from pydicom.uid import RLELossless

from medq_vlm.io import header
from medq_vlm.io.limits import MIB, Limits, check_claim, problem

DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
RLE_BEST_RATIO = 64  # two bytes of PackBits stand for at most 128 (PS3.5 Annex G)

# SOP classes without an image, by the start of their UID: a noun phrase for the sentence. Longest match
# first.
NOT_IMAGES = (
    ("1.2.840.10008.5.1.4.1.1.88.59", "a key object selection"),
    ("1.2.840.10008.5.1.4.1.1.88", "a structured report"),
    ("1.2.840.10008.5.1.4.1.1.104", "an encapsulated document"),
    ("1.2.840.10008.5.1.4.1.1.11", "a presentation state"),
    ("1.2.840.10008.5.1.4.1.1.9", "a waveform"),
    ("1.2.840.10008.5.1.4.1.1.66", "registration or segmentation data without pixels"),
    ("1.2.840.10008.5.1.4.1.1.481", "a radiotherapy object without pixels"),
    ("1.2.840.10008.5.1.4.34", "a radiotherapy instruction"),
    ("1.2.840.10008.5.1.4.43", "a procedure or hanging object"),
    ("1.2.840.10008.5.1.4.38", "a hanging protocol"),
    ("1.2.840.10008.5.1.4.39", "a colour palette"),
    ("1.2.840.10008.5.1.4.1.1.4.2", "a spectrum"),
)


@dataclass(frozen=True)
class Claim:
    """What the header says about the pixels."""

    frames: int
    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    photometric: str
    keyword: str  # member of PIXEL_KEYWORDS


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the readers' warnings and logs: they quote header values.

    Values are read without validation; what is used is checked here.
    """
    loggers = [logging.getLogger(name) for name in ("pydicom", "nibabel.global", "PIL", "tifffile")]
    levels = [logger.level for logger in loggers]
    mode = pydicom.config.settings.reading_validation_mode
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL + 1)
            pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
            yield
        finally:
            pydicom.config.settings.reading_validation_mode = mode
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def open_dicom(data: bytes, name: str, limits: Limits) -> tuple[Dataset, Claim]:
    """The dataset of one image object and its checked claim. `data`: the whole file.

    Raises IngestError: 'dicomdir', 'no_image' (a kind of object without pixels), 'no_pixels', 'corrupt', 'too_large',
    'too_small', 'too_deep'.
    """
    if transfer_syntax(data) == DEFLATED:
        data = _inflated(data, name, limits)
    try:
        with quiet():
            ds = pydicom.dcmread(io.BytesIO(data))
            sop_class = str(ds.get("SOPClassUID") or ds.file_meta.get("MediaStorageSOPClassUID") or "")
    except RecursionError as error:
        raise problem("too_deep", name, "its sequences are nested too deeply", "export it again") from error
    except MemoryError:
        raise
    except Exception as error:  # pydicom raises many types on damaged files
        raise problem("corrupt", name, "the DICOM header is damaged", "export or send the file again") from error
    with quiet():
        if sop_class == MEDIA_DIRECTORY or "DirectoryRecordSequence" in ds:
            raise problem(
                "dicomdir",
                name,
                "this is a DICOMDIR, an index without pixels",
                "give the folder that holds the images",
            )
        try:
            claim = _claim(ds, sop_class, name)
        except (AttributeError, TypeError, ValueError) as error:
            raise problem("corrupt", name, "the DICOM header is damaged", "export the file again") from error
        check_claim(name, (claim.frames, claim.rows, claim.columns, claim.samples), limits)
        _check_length(ds, claim, name)
    return ds, claim


def _claim(ds: Dataset, sop_class: str, name: str) -> Claim:
    keyword = next((key for key in PIXEL_KEYWORDS if key in ds), "")
    if not keyword or "Rows" not in ds or "Columns" not in ds:
        what = next((text for uid, text in NOT_IMAGES if (sop_class + ".").startswith(uid + ".")), "")
        raise problem(
            "no_image" if what else "no_pixels",
            name,
            f"this DICOM object is {what}, not an image" if what else "this DICOM object holds no pixels",
            "give the image objects of the study" if what else "send it again, for it may be cut short, or give images",
        )
    allocated = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}.get(keyword, header.whole(ds, "BitsAllocated", 0))
    stored = header.whole(ds, "BitsStored", allocated) if keyword == "PixelData" else allocated
    claim = Claim(
        frames=max(1, header.whole(ds, "NumberOfFrames", 1)),
        rows=header.whole(ds, "Rows", 0),
        columns=header.whole(ds, "Columns", 0),
        samples=header.whole(ds, "SamplesPerPixel", 1),
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=header.whole(ds, "HighBit", stored - 1),
        signed=header.whole(ds, "PixelRepresentation", 0) == 1,
        photometric=header.word(ds, "PhotometricInterpretation"),
        keyword=keyword,
    )
    good_bits = claim.bits_allocated in (1, 8, 16, 32, 64) and 1 <= claim.bits_stored <= claim.bits_allocated
    if not good_bits or claim.samples not in (1, 3):
        raise problem(
            "unsupported",
            name,
            f"the header declares {claim.samples} samples of {claim.bits_stored} bits stored in "
            f"{claim.bits_allocated}, which no image has",
            "export the file again",
        )
    return claim


def _check_length(ds: Dataset, claim: Claim, name: str) -> None:
    """The pixels that are there must be able to hold what the header promises."""
    try:
        there = len(ds[claim.keyword].value or b"")
    except Exception as error:  # a damaged element of any kind
        raise problem("corrupt", name, "the pixel data is damaged", "export the file again") from error
    samples = claim.samples
    if claim.photometric == "YBR_FULL_422":
        samples = 2  # chroma at half width
    promised = math.ceil(claim.frames * claim.rows * claim.columns * samples * claim.bits_allocated / 8)
    syntax = ds.file_meta.get("TransferSyntaxUID") if hasattr(ds, "file_meta") else None
    compressed = bool(syntax and syntax.is_transfer_syntax and syntax.is_encapsulated)
    ratio = (RLE_BEST_RATIO if syntax == RLELossless else math.inf) if compressed else 1
    if there == 0 or there * ratio < promised:
        raise problem(
            "corrupt",
            name,
            f"the header promises {promised:,} bytes of pixels and the file holds {there:,}",
            "export or send the file again",
        )


def transfer_syntax(data: bytes) -> str:
    """Transfer syntax UID of the file meta group, always explicit little endian (PS3.10 section 7.1), or "".

    Read here because pydicom inflates a deflated file before it can be stopped.
    """
    at = 132
    while at + 8 <= len(data) and data[at : at + 2] == b"\x02\x00":
        element, vr, short = struct.unpack_from("<H2sH", data, at + 2)
        start, length = at + 8, short
        if vr in (b"OB", b"OW", b"UN", b"SQ", b"UT"):
            if at + 12 > len(data):
                return ""
            start, length = at + 12, struct.unpack_from("<I", data, at + 8)[0]
        if element == 0x0010:
            return data[start : start + length].rstrip(b"\0 ").decode("ascii", "replace")
        at = start + length
    return ""


def _inflated(data: bytes, name: str, limits: Limits) -> bytes:
    """The same file, dataset inflated under the ceiling, as explicit little endian. Raises IngestError."""
    at = 132
    meta_end = at
    while at + 8 <= len(data) and data[at : at + 2] == b"\x02\x00":
        vr, short = struct.unpack_from("<2sH", data, at + 4)
        long_form = vr in (b"OB", b"OW", b"UN", b"SQ", b"UT")
        if long_form and at + 12 > len(data):
            break
        at += 12 + struct.unpack_from("<I", data, at + 8)[0] if long_form else 8 + short
        meta_end = at
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        body = inflater.decompress(data[meta_end:], limits.max_deflated_bytes + 1)
    except zlib.error as error:
        raise problem("corrupt", name, "the deflated part is damaged", "export the file again") from error
    if len(body) > limits.max_deflated_bytes:
        raise problem(
            "too_large",
            name,
            f"it inflates to more than {limits.max_deflated_bytes // MIB} MB",
            "give a part of it",
        )
    meta = data[132:meta_end].replace(_padded(DEFLATED), _padded_to(EXPLICIT_LITTLE, len(_padded(DEFLATED))))
    return data[:132] + meta + body


def _padded(uid: str) -> bytes:
    return uid.encode() + b"\0" * (len(uid) % 2)


def _padded_to(uid: str, length: int) -> bytes:
    return uid.encode().ljust(length, b"\0")
