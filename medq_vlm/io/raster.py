"""PNG, JPEG, BMP, WebP and NumPy arrays: every grey level kept, colour as RGB, alpha dropped."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image

from medq_vlm.io.common import finish
from medq_vlm.io.limits import Limits, check_claim, problem
from medq_vlm.schema import ImageSample, IngestError

FORMATS = {"png": "PNG", "jpeg": "JPEG", "bmp": "BMP", "webp": "WEBP", "tiff": "TIFF"}
GREY_MODES = {"1", "L", "I", "I;16", "I;16B", "I;16L", "F"}
EXIF_ORIENTATION = 0x0112


def read_picture(data: bytes, kind: str, name: str, path: str, limits: Limits) -> ImageSample:
    """A picture as (S, H, W) or (S, H, W, 3), S the pages of an animation; values as stored (0 to 255, 0 to
    65535).

    kind: a key of FORMATS. Raises IngestError.
    """
    try:
        # formats= keeps every other, less looked-after parser of Pillow out of reach
        with Image.open(io.BytesIO(data), formats=[FORMATS[kind]]) as image:
            pages = int(getattr(image, "n_frames", 1))
            samples = 1 if image.mode in GREY_MODES else 3
            check_claim(name, (pages, image.height, image.width, samples), limits)
            frames = _frames(image, data, kind, pages)
            bits = _bits(image, data, kind)
            inverted = kind == "tiff" and image.tag_v2.get(262) == 0  # type: ignore[attr-defined]
            turn = int(image.getexif().get(EXIF_ORIENTATION, 1))
    except (IngestError, MemoryError):
        raise
    except Image.DecompressionBombError as error:  # Pillow looks before we can
        raise problem("too_large", name, "the picture declares too many pixels", "give a smaller one") from error
    except Exception as error:  # Pillow raises many types on damaged files
        raise problem(
            "corrupt",
            name,
            f"the {kind.upper()} picture is damaged or of a rare kind",
            "save it again as PNG or TIFF",
        ) from error
    same = [frame for frame in frames if frame.shape == frames[0].shape]
    warnings = [] if len(same) == pages else [f"{pages - len(same)} pages of another size were left out."]
    pixels = oriented(np.stack(same) if pages > 1 else same[0][None], turn)
    lossy = kind == "jpeg" or (kind == "webp" and b"VP8 " in data[:4096]) or _jpeg_inside(kind, data)
    return finish(
        ImageSample(pixels, bits=bits, lossy=lossy, inverted=inverted, warnings=tuple(warnings), path=path),
        name,
    )


def _jpeg_inside(kind: str, data: bytes) -> bool:
    return kind == "tiff" and b"\xff\xd8\xff" in data


def _frames(image: Image.Image, data: bytes, kind: str, pages: int) -> list[np.ndarray]:
    """float32 (H, W) or (H, W, 3) of each page."""
    if kind == "png" and _png_depth(data) == 16 and _png_colour(data) in (2, 4, 6):
        return [_png16(data)]
    out = []
    size = image.size
    for page in range(pages):
        if pages > 1:
            image.seek(page)
        if image.size == size:  # the claim of other pages was not checked
            out.append(_values(image))
    return out


def _values(image: Image.Image) -> np.ndarray:
    if image.mode in GREY_MODES:
        return np.asarray(image).astype(np.float32)
    if image.mode in ("LA", "La", "PA"):
        return np.asarray(image.convert("LA"))[..., 0].astype(np.float32)
    # Palette, CMYK, YCbCr, LAB and alpha end as RGB; alpha is dropped, not blended.
    if image.mode == "P" and "transparency" in image.info:
        return np.asarray(image.convert("RGBA"))[..., :3].astype(np.float32)
    return np.asarray(image.convert("RGBA" if image.mode in ("RGBA", "RGBa") else "RGB"))[..., :3].astype(np.float32)


def _png_depth(data: bytes) -> int:
    return data[24] if len(data) > 25 else 0


def _png_colour(data: bytes) -> int:
    return data[25] if len(data) > 25 else 0


def _png16(data: bytes) -> np.ndarray:
    """float32 (H, W) or (H, W, 3) of a PNG with 16-bit colour or grey and alpha.

    Pillow undoes the row filters over whole 16-bit samples but hands out the high bytes only; read again as
    if the samples were little endian, it hands out the low bytes.
    """
    if _png_colour(data) == 4:  # grey and alpha: four bytes a pixel, read as if they were RGBA
        quads = _png_bytes(data, "RGBA", "RGBA").astype(np.float32)
        return quads[..., 0] * 256 + quads[..., 1]
    mode = "RGB" if _png_colour(data) == 2 else "RGBA"
    high, low = (_png_bytes(data, mode, f"{mode};16{end}").astype(np.float32) for end in "BL")
    return (high * 256 + low)[..., :3]


def _png_bytes(data: bytes, mode: str, raw_mode: str) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        image._mode = mode
        image.tile = [tile._replace(args=raw_mode) for tile in image.tile]  # type: ignore[attr-defined]
        image.load()
        return np.asarray(image)


def _bits(image: Image.Image, data: bytes, kind: str) -> int:
    if kind == "png" and image.mode != "1":
        return max(8, _png_depth(data))  # Pillow spreads grey of 2 and 4 bits, and palettes, over 0 to 255
    return {"1": 1, "I": 32, "F": 32, "I;16": 16, "I;16B": 16, "I;16L": 16}.get(image.mode, 8)


def oriented(pixels: np.ndarray, turn: int) -> np.ndarray:
    """(S, H, W[, 3]) turned upright. turn: EXIF orientation, 1 to 8."""
    if turn in (5, 6, 7, 8):
        pixels = pixels.swapaxes(1, 2)
    if turn in (3, 4, 7, 8):
        pixels = pixels[:, ::-1]
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, :, ::-1]
    return pixels


def read_npy(data: bytes, name: str, path: str, limits: Limits) -> ImageSample:
    """A NumPy array: (H, W), (S, H, W), (H, W, 3), (S, H, W, 3), or (T, S, H, W) of which the first volume is
    read. Four channels are colour and alpha, which is dropped.

    Numbers only; objects (pickles) are refused. Raises IngestError.
    """
    handle = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(handle)
        reader = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}[version[0]]
        shape, _, dtype = reader(handle)
    except (ValueError, KeyError, SyntaxError, OverflowError, RecursionError, TypeError) as error:
        raise problem("corrupt", name, "the header of the NumPy file is damaged", "save the array again") from error
    if dtype.kind not in "biuf" or dtype.hasobject:
        raise problem("unsupported", name, "the array does not hold plain numbers", "save it as integers or floats")
    if min(shape, default=0) < 1:
        raise problem("unsupported", name, "the array is empty or a single number", "give (slices, rows, columns)")
    if not 2 <= len(shape) <= 4:
        raise problem("unsupported", name, f"the array has {len(shape)} axes", "give (slices, rows, columns)")
    warnings: tuple[str, ...] = ()
    colour = len(shape) >= 3 and shape[-1] in (3, 4)
    volume = (shape if len(shape) == 4 else (1, *shape)) if colour else (1, 1, *shape)[-3:]
    if len(shape) == 4 and not colour:
        warnings = (f"The file holds {shape[0]} volumes; the first is read.",) if shape[0] > 1 else ()
    if len(shape) == 3 and shape[0] == 3 and not colour:
        warnings = (f"{shape} is read as three grey slices; a colour picture is {(*shape[1:], 3)}.",)
    check_claim(name, (*volume[:3], 3 if colour else 1), limits)
    if math.prod(shape) * dtype.itemsize > len(data) - handle.tell():
        raise problem("corrupt", name, "the file is shorter than its header promises", "copy it again")
    handle.seek(0)
    array = np.lib.format.read_array(handle, allow_pickle=False)
    if len(shape) == 4 and not colour:
        array = array[0]
    if colour:
        array, volume = array[..., :3], (*volume[:3], 3)
    return finish(ImageSample(array.reshape(volume), bits=dtype.itemsize * 8, warnings=warnings, path=path), name)
