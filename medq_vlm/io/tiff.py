"""TIFF of any depth: 8 to 64 bits, integer or float, pages as slices."""

from __future__ import annotations

import io

import numpy as np
import tifffile

from medq_vlm.io.common import as_float32, finish
from medq_vlm.io.limits import Limits, check_claim, problem
from medq_vlm.io.raster import oriented, read_picture
from medq_vlm.schema import ImageSample, IngestError

OWN_CODECS = (1, 8, 32773, 32946)  # none, deflate, PackBits: tifffile needs no further package for these
GREY, GREY_INVERTED, RGB, PALETTE, YCBCR = 1, 0, 2, 3, 6  # photometric interpretation


def read_tiff(data: bytes, name: str, path: str, limits: Limits) -> ImageSample:
    """A TIFF as (S, H, W) or (S, H, W, 3), values as stored; pages of the first page's size are slices.

    LZW, JPEG and fax compression, CMYK and YCbCr go through Pillow, which keeps 8-bit colour and 16-bit or
    float grey; deeper colour so compressed is refused. Raises IngestError.
    """
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            first = file.pages[0]
            if not isinstance(first, tifffile.TiffPage):
                raise ValueError("no page")
            samples = 3 if first.samplesperpixel >= 3 or first.photometric == PALETTE else 1
            check_claim(name, (1, first.imagelength, first.imagewidth, samples), limits)
            if first.dtype is None or first.dtype.kind not in "biuf":
                raise problem("unsupported", name, "complex numbers are not supported", "save their magnitude")
            if first.photometric == YCBCR and first.compression in OWN_CODECS:
                raise problem(
                    "unsupported", name, "YCbCr colour is supported in JPEG compression only", "save it as RGB"
                )
            if first.compression not in OWN_CODECS or first.photometric not in (
                GREY,
                GREY_INVERTED,
                RGB,
                PALETTE,
            ):
                if first.bitspersample not in (1, 2, 4, 8) and samples > 1:
                    raise problem(
                        "unsupported",
                        name,
                        "deep colour in this TIFF compression is not supported",
                        "save it uncompressed or with deflate",
                    )
                return read_picture(data, "tiff", name, path, limits)
            return _own(file, first, name, path, limits)
    except (IngestError, MemoryError):
        raise
    except Exception as error:  # tifffile raises many types on damaged files
        raise problem("corrupt", name, "the TIFF is damaged", "save it again") from error


def _own(file: tifffile.TiffFile, first: tifffile.TiffPage, name: str, path: str, limits: Limits) -> ImageSample:
    pages: list[tifffile.TiffPage] = []
    left_out = 0
    for number, page in enumerate(file.pages):
        if number > limits.max_slices:
            raise problem("too_large", name, f"it has more than {limits.max_slices} pages", "give a part of it")
        if isinstance(page, tifffile.TiffFrame):
            page = page.aspage()
        alike = (page.shape, page.dtype, page.photometric) == (first.shape, first.dtype, first.photometric)
        if alike:
            pages.append(page)
        else:
            left_out += 1
    samples = 3 if first.samplesperpixel >= 3 or first.photometric == PALETTE else 1
    check_claim(name, (len(pages), first.imagelength, first.imagewidth, samples), limits)
    pixels = np.empty((len(pages), first.imagelength, first.imagewidth, *([3] if samples == 3 else [])), np.float32)
    for slot, page in zip(pixels, pages, strict=True):
        slot[...] = as_float32(_values(page), name)
    turn = first.tags.get("Orientation")
    warnings = (f"{left_out} pages of another size or type were left out.",) if left_out else ()
    return finish(
        ImageSample(
            oriented(pixels, int(turn.value) if turn is not None else 1),
            bits=16 if first.photometric == PALETTE else int(first.bitspersample),  # of the colours, not the index
            inverted=first.photometric == GREY_INVERTED,
            warnings=warnings,
            path=path,
        ),
        name,
    )


def _values(page: tifffile.TiffPage) -> np.ndarray:
    """(H, W) or (H, W, 3) of one page; planes moved last, alpha dropped, palette looked up."""
    array = page.asarray()
    if page.photometric == PALETTE:
        if page.colormap is None:
            raise ValueError("no palette")
        return np.moveaxis(page.colormap[:, array], 0, -1)  # 16-bit RGB
    if page.samplesperpixel > 1:
        array = np.moveaxis(array, page.axes.index("S"), -1)
        array = array[..., :3] if page.samplesperpixel >= 3 else array[..., 0]
    return np.squeeze(array)
