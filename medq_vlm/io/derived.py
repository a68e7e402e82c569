"""An image derived from another, in the format and with the header of its original: what `medq restore` writes.

Nothing of a header goes anywhere but into the new file, and no file that exists as an input is ever written.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medq_vlm.io.derived_dicom import Story
from medq_vlm.io.dicom import open_dicom
from medq_vlm.io.files import put
from medq_vlm.io.limits import DEFAULT, Limits
from medq_vlm.io.originals import Original
from medq_vlm.schema import ImageSample

__all__ = ["Derived", "File", "Story", "derive", "save"]
ENDINGS = {"dicom": ".dcm", "nifti_gz": ".nii.gz", "nifti": ".nii", "jpeg": ".jpg", "tiff": ".tif"}
PICTURES = ("png", "jpeg", "bmp", "webp", "tiff")


@dataclass(frozen=True)
class File:
    """A file to be written; the name holds nothing of the patient."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Derived:
    """The files of one derived image and what must be told about them."""

    files: tuple[File, ...]
    ending: str  # of each file: ".dcm", ".nii.gz", ...
    notes: tuple[str, ...] = ()


def derive(
    original: Original,
    before: ImageSample,
    after: ImageSample,
    story: Story,
    wanted: str | None = None,
    limits: Limits = DEFAULT,
) -> Derived | None:
    """The files that hold `after`, which was `before` when it was read from `original`.

    DICOM: one object for each of the original's files. NIfTI: its affine and voxel type. Pictures: PNG of the same
    depth and colour, TIFF where PNG cannot hold it; JPEG, BMP and WebP become PNG. NumPy: float32. `wanted` is an
    ending; None comes back where the original's format does not have it. Raises MedQError.
    """
    files: list[File]
    if original.kind == "dicom" and wanted in (None, ".dcm"):
        files, clipped = _dicom(original, after, story, limits)
        ending = ".dcm"
    elif original.kind.startswith("nifti") and wanted in (None, ".nii", ".nii.gz"):
        from medq_vlm.io.derived_nifti import derive as derive_nifti  # nibabel takes long to import

        ending = wanted or (".nii.gz" if original.kind == "nifti_gz" else ".nii")
        data, clipped = derive_nifti(
            original.sources[0], original.kind, after.pixels, story.note, limits, ending == ".nii.gz"
        )
        files = [File(f"image{ending}", data)]
    elif original.kind in PICTURES and wanted in (None, ".png", ".tif", ".tiff"):
        tiff = original.kind == "tiff" if wanted is None else wanted != ".png"
        data, ending, clipped = picture(before, after, story.note, tiff)
        if wanted == ".png" and ending != ".png":
            return None
        files = [File(f"image{ending}", data)]
    elif original.kind == "npy" and wanted in (None, ".npy"):
        ending, clipped = ".npy", 0
        files = [File("image.npy", _npy(after.pixels))]
    else:
        return None
    return Derived(tuple(files), ending, (clipped_words(clipped),) if clipped else ())


def clipped_words(count: int) -> str:
    """The sentence about values that a format could not hold."""
    return f"{count:,} values beyond the range of the file format were clipped."


def copies(original: Original, wanted: str | None = None, limits: Limits = DEFAULT) -> Derived | None:
    """The original's own files, byte by byte: what is said to be unchanged is. None where the ending is another."""
    ending = ENDINGS.get(original.kind, f".{original.kind}")
    if original.kind == "nifti_pair" or wanted not in (None, ending):
        return None
    order = list(dict.fromkeys(frame.source for frame in original.frames)) or [0]
    names = [f"{number:04d}.dcm" if original.frames else f"image{ending}" for number in range(1, len(order) + 1)]
    files = [File(name, original.sources[member].read(limits)) for name, member in zip(names, order, strict=True)]
    return Derived(tuple(files), ending)


def _dicom(original: Original, after: ImageSample, story: Story, limits: Limits) -> tuple[list[File], int]:
    from pydicom.uid import generate_uid

    from medq_vlm.io import derived_dicom

    series_uid = generate_uid()
    rows: dict[int, list[tuple[int, int]]] = {}  # source: (frame number, row of the sample)
    for row, frame in enumerate(original.frames):
        rows.setdefault(frame.source, []).append((frame.index, row))
    files, clipped = [], 0
    for number, (member, places) in enumerate(rows.items(), start=1):
        source = original.sources[member]
        ds, claim = open_dicom(source.read(limits), source.name, limits)
        places.sort()  # the file's own order
        planes = after.pixels[[row for _, row in places]]
        data, lost = derived_dicom.derive(ds, claim, planes, [index for index, _ in places], series_uid, story)
        files.append(File(f"{number:04d}.dcm", data))
        clipped += lost
    return files, clipped


def picture(before: ImageSample, after: ImageSample, note: str, tiff: bool = False) -> tuple[bytes, str, int]:
    """A picture of the depth and colour of `before`: file, ending, clipped values."""
    bits = before.bits if before.bits in (8, 16) and whole_numbers(before.pixels) else 32
    pixels, clipped = after.pixels, 0
    if bits < 32:
        signed = bool(before.pixels.min() < 0)
        top = 2 ** (bits - signed) - 1
        rounded = np.rint(pixels)
        pixels = np.clip(rounded, -top - 1 if signed else 0, top)
        clipped = int((rounded != pixels).sum())
        pixels = pixels.astype(f"{'i' if signed else 'u'}{bits // 8}")
        if not tiff and after.slices == 1 and not signed:
            return png(pixels[0], note), ".png", clipped
    return _tiff(pixels, after, note), ".tif", clipped


def whole_numbers(pixels: np.ndarray) -> bool:
    """True when every value is a whole number."""
    return all(bool((plane == np.rint(plane)).all()) for plane in pixels)


def png(array: np.ndarray, note: str) -> bytes:
    """PNG of uint8 or uint16 (H, W) or (H, W, 3). Written here because Pillow has no 16-bit colour."""
    height, width = array.shape[:2]
    rows = np.ascontiguousarray(array, array.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    lines = np.zeros((height, rows.shape[1] + 1), np.uint8)  # each row begins with its filter: none
    lines[:, 1:] = rows
    head = struct.pack(">IIBBBBB", width, height, 8 * array.dtype.itemsize, 2 if array.ndim == 3 else 0, 0, 0, 0)
    text = b"Description\0" + note.encode("latin-1", "replace")
    chunks = ((b"IHDR", head), (b"tEXt", text), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def _tiff(pixels: np.ndarray, after: ImageSample, note: str) -> bytes:
    import tifffile

    out = io.BytesIO()
    photometric = "rgb" if after.colour else "miniswhite" if after.inverted else "minisblack"
    array = pixels[0] if len(pixels) == 1 else pixels
    tifffile.imwrite(out, array, photometric=photometric, description=note.encode("ascii", "replace"))
    return out.getvalue()


def _npy(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, np.ascontiguousarray(pixels[0] if len(pixels) == 1 else pixels, np.float32), allow_pickle=False)
    return out.getvalue()


def save(files: Sequence[File], out: Path) -> list[Path]:
    """Write to a folder, to a zip, or, one file alone, to a file: by the ending of `out`. Gives the paths written.

    A file appears whole or not at all, and a link is replaced, never followed.
    """
    if out.suffix.lower() == ".zip":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.writestr(file.name, file.data)
        return [put(out, packed.getvalue())]
    if len(files) == 1 and out.suffix and not out.suffix[1:].isdecimal():  # a date is no ending
        return [put(out, files[0].data)]
    return [put(out / file.name, file.data) for file in files]
