"""What a file is, by its first bytes. The extension is never asked: it lies."""

from __future__ import annotations

import struct
import zlib

HEAD_BYTES = 4096  # what `kind_of` needs of a file

RASTER = ("png", "jpeg", "tiff", "bmp", "webp")

# Known, not read: what to say instead of "unknown".
FOREIGN = (
    (b"%PDF", "a PDF document"),
    (b"GIF8", "a GIF picture"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"PK\x03\x04", "a zip archive inside another"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 file without a DICOM header"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 codestream without a DICOM header"),
    (b"NRRD", "an NRRD volume"),
    (b"ObjectType", "a MetaImage header"),
    (b"\x89HDF", "an HDF5 file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"BZh", "a bzip2 archive"),
    (b"MZ", "a program"),
    (b"\x7fELF", "a program"),
    (b"<", "a text or web page"),
    (b"{", "a text file"),
)


# Names that claim an image: what is none inside, such as an empty file of a broken transfer, is told.
CLAIMS = (".dcm", ".ima", ".nii", ".nii.gz", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".npy")


def kind_of(head: bytes) -> str | None:
    """Kind of the file that starts with `head` (HEAD_BYTES of it): 'dicom', one of RASTER, 'npy', 'zip',
    'nifti', 'nifti_pair' (header only, pixels in the .img beside it), 'nifti_gz', or None.

    DICOM goes first: a TIFF or a program header may legally stand in the 128-byte preamble.
    """
    if head[128:132] == b"DICM":
        return "dicom"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if head[:2] == b"BM" and len(head) >= 26 and head[6:10] == b"\0\0\0\0":
        return "bmp"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head.startswith(b"\x1f\x8b"):
        return "nifti_gz" if _nifti(_inflated_head(head)) else None
    return _nifti(head)


def foreign_name(head: bytes) -> str:
    """A noun phrase for a file that is not read, "" when nothing is known about it."""
    if not head:
        return "an empty file"
    if head.startswith(b"\x1f\x8b"):
        return "a gzip archive without a NIfTI volume"
    return next((name for magic, name in FOREIGN if head.lstrip().startswith(magic)), "")


def _nifti(head: bytes) -> str | None:
    """NIfTI-1 has its size, 348, first and its magic at 344; NIfTI-2 has 540 and its magic at 4."""
    if len(head) < 348:
        return None
    sizes = (struct.unpack("<i", head[:4])[0], struct.unpack(">i", head[:4])[0])
    magic = head[344:348] if 348 in sizes else head[4:8] if 540 in sizes else b""
    if magic in (b"n+1\0", b"n+2\0"):
        return "nifti"
    return "nifti_pair" if magic in (b"ni1\0", b"ni2\0") else None


def _inflated_head(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(head, 600)
    except zlib.error:
        return b""
