"""Small files that ask for a lot: what the guard must survive. Each is bytes."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import nibabel as nib
import numpy as np
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from tests.dicom_files import as_bytes, dataset, ramp


def bombs() -> dict[str, bytes]:
    """Name: file, for all of them."""
    return {
        "deflated": deflated(),
        "rle": claims(RLELossless, Rows=65535, Columns=65535),
        "rle_ratio": claims(RLELossless, Rows=10000, Columns=10000),
        "jpeg2000": claims(JPEG2000Lossless, Rows=65535, Columns=65535, NumberOfFrames=99),
        "frames": as_bytes(dataset(ramp(), NumberOfFrames=10**9)),
        "negative": as_bytes(dataset(ramp(), NumberOfFrames=-1, Rows=0)),
        **{f"nested_{depth}": nested(depth) for depth in (100, 1000, 20_000)},
        **{f"undefined_{depth}": nested(depth, undefined=True) for depth in (100, 1000, 20_000)},
        "nifti_zeros": nifti((512, 512, 2000)),
        "png": png(60_000, 60_000),
        "png_text": png(64, 64, text=True),
        "png_line": png(1, 65_535),
        "tiff": tiff(60_000, 60_000),
        "tiff_directory": b"II*\0\x08\0\0\0\xff\xff" + bytes(100),
        "zip": zipped(b"\x89PNG\r\n\x1a\n" + bytes(1 << 24), 4),
        "npy": npy(99_999),
    }  # fmt: skip


def deflated() -> bytes:
    """A deflated DICOM file whose header alone inflates to 320 MB, above the ceiling."""
    head = io.BytesIO()
    ds = dataset(ramp())
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    del ds.PixelData
    dcmwrite(head, ds, enforce_file_format=True)
    data = head.getvalue()
    start = 144 + struct.unpack("<I", data[140:144])[0]  # after the file meta group
    squeeze = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    element = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 80 << 22)
    body = squeeze.compress(element) + b"".join(squeeze.compress(bytes(1 << 22)) for _ in range(80))
    return data[:start] + body + squeeze.flush()


def claims(syntax: object, **tags: int) -> bytes:
    """A compressed image whose header promises far more than the stream can hold."""
    ds = dataset(ramp(), **tags)
    ds.PixelData = encapsulate([struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\x00" * 8] * 1)
    return as_bytes(ds, syntax)  # type: ignore[arg-type]


def nested(depth: int, undefined: bool = False) -> bytes:
    """An image with a private sequence within a sequence, `depth` times."""
    inner = b""
    for _ in range(depth):
        if undefined:
            inner = (
                struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF)
                + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
                + inner
                + struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
            )
        else:
            inner = (
                struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, len(inner) + 8)
                + struct.pack("<HHI", 0xFFFE, 0xE000, len(inner))
                + inner
            )
    data = as_bytes(dataset(ramp()))
    at = data.index(struct.pack("<HH", 0x7FE0, 0x0010))
    return data[:at] + inner + data[at:]


def nifti(shape: tuple[int, int, int]) -> bytes:
    """The start of a gzip stream of zeros whose header promises a gigabyte."""
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.int16)
    header["magic"], header["vox_offset"] = b"n+1\0", 352
    squeeze = zlib.compressobj(1, zlib.DEFLATED, 31)
    data = squeeze.compress(header.binaryblock + bytes(4))
    return data + squeeze.compress(bytes(1 << 24)) + squeeze.flush()


def png(width: int, height: int, text: bool = False) -> bytes:
    """A PNG header of any size over almost no data, or with a compressed comment of 64 MB."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    comment = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 26), 1)) if text else b""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    lines = zlib.compress(bytes((width + 1) * height) if width * height < 1e6 else bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + head + comment + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def tiff(width: int, height: int) -> bytes:
    """A TIFF that promises one huge uncompressed strip."""
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1),
            (278, 4, height), (279, 4, 100)]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4)


def npy(side: int) -> bytes:
    """The header of a square array of doubles, and nothing behind it."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({side}, {side})}}"
    return b"\x93NUMPY\x01\0\x76\0" + header.ljust(117).encode() + b"\n"


def zipped(member: bytes, copies: int) -> bytes:
    """A zip of `copies` of `member`."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(copies):
            archive.writestr(f"{number}.png", member)
    return out.getvalue()
