"""Pictures keep every grey level, lose their alpha, stand upright, and are refused when they are bombs."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from medq_vlm.io import Limits, read
from medq_vlm.io.raster import oriented
from medq_vlm.schema import ImageSample, IngestError

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
COLOUR = np.stack([RAMP, RAMP[::-1], RAMP.T], -1)


def from_bytes(tmp_path: Path, data: bytes) -> ImageSample:
    (tmp_path / "file").write_bytes(data)
    (sample,) = read(tmp_path / "file")
    return sample


def pillow(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, pixels, **options)  # type: ignore[arg-type]
    return out.getvalue()


def png(width: int, height: int, depth: int, colour_type: int, body: bytes, palette: bytes = b"") -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    table = chunk(b"PLTE", palette) if palette else b""
    return b"\x89PNG\r\n\x1a\n" + head + table + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def png16(pixels: np.ndarray, line_filter: int = 0) -> bytes:
    """A 16-bit PNG of (H, W[, 2 or 3 or 4]), each line with the same filter: 0 none, 2 up."""
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    height, width, samples = pixels.shape
    lines = pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    if line_filter == 2:
        lines = np.concatenate([lines[:1], lines[1:] - lines[:-1]])
    body = b"".join(bytes([line_filter]) + line.tobytes() for line in lines)
    return png(width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[samples], body)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("palette", [False, True])
def test_the_bits_of_a_png_span_its_values(tmp_path: Path, depth: int, palette: bool) -> None:
    """Grey of 2 and 4 bits and palettes are read as 0 to 255, one bit as 0 and 1."""
    levels = np.tile(np.arange(64) * (2**depth - 1) // 63, (64, 1))
    bits = (levels[..., None] >> np.arange(depth)[::-1]) & 1  # H W bit, the highest first
    packed = np.packbits(bits.reshape(64, -1).astype(bool), axis=1)
    table = bytes(np.repeat(np.linspace(0, 255, 2**depth).astype(np.uint8), 3)) if palette else b""
    body = b"".join(b"\0" + line.tobytes() for line in packed)
    sample = from_bytes(tmp_path, png(64, 64, depth, 3 if palette else 0, body, table))
    assert sample.bits == (1 if depth == 1 and not palette else 8)
    assert sample.pixels.max() == 2**sample.bits - 1


@pytest.mark.parametrize("line_filter", [0, 2])
def test_16_bit_png_keeps_4096_levels(tmp_path: Path, line_filter: int) -> None:
    sample = from_bytes(tmp_path, png16(RAMP, line_filter))
    np.testing.assert_array_equal(sample.pixels[0], RAMP)
    assert sample.bits == 16


@pytest.mark.parametrize("line_filter", [0, 2])
def test_16_bit_colour_png_keeps_every_level(tmp_path: Path, line_filter: int) -> None:
    np.testing.assert_array_equal(from_bytes(tmp_path, png16(COLOUR, line_filter)).pixels[0], COLOUR)
    alpha = np.concatenate([COLOUR, RAMP[..., None]], -1)
    np.testing.assert_array_equal(from_bytes(tmp_path, png16(alpha, line_filter)).pixels[0], COLOUR)


def test_16_bit_grey_and_alpha_png(tmp_path: Path) -> None:
    grey = np.stack([RAMP, RAMP[::-1]], -1)
    np.testing.assert_array_equal(from_bytes(tmp_path, png16(grey)).pixels[0], RAMP)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "f4", "f8"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_of_every_depth(tmp_path: Path, dtype: str, compression: str | None) -> None:
    values = (RAMP % 256 if dtype == "u1" else RAMP).astype(dtype)
    sample = from_bytes(tmp_path, tiff(values, compression=compression))
    np.testing.assert_array_equal(sample.pixels[0], values.astype(np.float32))


def test_tiff_pages_become_slices_and_16_bit_colour_is_kept(tmp_path: Path) -> None:
    pages = np.stack([RAMP, RAMP + 1, RAMP + 2])
    np.testing.assert_array_equal(from_bytes(tmp_path, tiff(pages, photometric="minisblack")).pixels, pages)
    np.testing.assert_array_equal(from_bytes(tmp_path, tiff(COLOUR, photometric="rgb")).pixels[0], COLOUR)
    planar = tiff(np.moveaxis(COLOUR, -1, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(from_bytes(tmp_path, planar).pixels[0], COLOUR)


def test_tiff_min_is_white_is_flagged_not_turned(tmp_path: Path) -> None:
    sample = from_bytes(tmp_path, tiff(RAMP, photometric="miniswhite"))
    np.testing.assert_array_equal(sample.pixels[0], RAMP)
    assert sample.inverted


def test_lzw_tiff_keeps_16_bits(tmp_path: Path) -> None:
    data = pillow(Image.fromarray(RAMP), "TIFF", compression="tiff_lzw")
    np.testing.assert_array_equal(from_bytes(tmp_path, data).pixels[0], RAMP)


def test_palette_tiff(tmp_path: Path) -> None:
    table = np.stack([np.arange(256) * 257, np.arange(256), np.zeros(256)]).astype(np.uint16)
    values = (RAMP % 256).astype(np.uint8)
    sample = from_bytes(tmp_path, tiff(values, photometric="palette", colormap=table))
    np.testing.assert_array_equal(sample.pixels[0, ..., 0], values * 257.0)
    assert sample.bits == 16


def test_grey_in_colour_channels_becomes_one_channel(tmp_path: Path) -> None:
    grey = Image.fromarray((RAMP % 256).astype(np.uint8))
    for mode in ("RGB", "RGBA", "LA", "P"):
        sample = from_bytes(tmp_path, pillow(grey.convert(mode), "PNG"))
        np.testing.assert_array_equal(sample.pixels[0], RAMP % 256)


def test_alpha_is_dropped_not_blended(tmp_path: Path) -> None:
    rgba = np.dstack([COLOUR % 256, np.zeros((64, 64))]).astype(np.uint8)
    sample = from_bytes(tmp_path, pillow(Image.fromarray(rgba, "RGBA"), "PNG"))
    np.testing.assert_array_equal(sample.pixels[0], rgba[..., :3])


def test_jpeg_is_lossy_and_cmyk_becomes_rgb(tmp_path: Path) -> None:
    red = Image.new("RGB", (32, 32), (200, 20, 20))
    sample = from_bytes(tmp_path, pillow(red.convert("CMYK"), "JPEG"))
    assert sample.lossy
    np.testing.assert_allclose(sample.pixels[0, 16, 16], [200, 20, 20], atol=6)
    assert not from_bytes(tmp_path, pillow(red, "PNG")).lossy


@pytest.mark.parametrize(("kind", "lossy"), [("BMP", False), ("WEBP", True)])
def test_bmp_and_webp(tmp_path: Path, kind: str, lossy: bool) -> None:
    sample = from_bytes(tmp_path, pillow(Image.new("RGB", (32, 24), (200, 20, 20)), kind))
    assert sample.pixels.shape == (1, 24, 32, 3)
    assert sample.lossy == lossy


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation(tmp_path: Path, turn: int) -> None:
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8] = 255, 0, 0
    undo = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[turn]
    stored = Image.fromarray(np.ascontiguousarray(oriented(upright[None], undo)[0]))
    exif = Image.Exif()
    exif[0x0112] = turn
    sample = from_bytes(tmp_path, pillow(stored, "PNG", exif=exif))
    np.testing.assert_array_equal(sample.pixels[0], upright)


def test_animation_becomes_slices(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), (n, 0, 0)) for n in (10, 20, 30)]
    data = pillow(frames[0], "PNG", save_all=True, append_images=frames[1:])
    sample = from_bytes(tmp_path, data)
    np.testing.assert_array_equal(sample.pixels[:, 0, 0, 0], [10, 20, 30])


def test_float_tiff_with_nan(tmp_path: Path) -> None:
    values = RAMP.astype(np.float32)
    values[0, 0] = np.nan
    sample = from_bytes(tmp_path, tiff(values))
    assert sample.valid is not None
    assert not sample.valid[0, 0, 0]
    assert np.isfinite(sample.pixels).all()


def npy(array: np.ndarray, allow_pickle: bool = False) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=allow_pickle)
    return out.getvalue()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((16, 20), (1, 16, 20)),
        ((5, 16, 20), (5, 16, 20)),
        ((16, 20, 3), (1, 16, 20, 3)),
        ((5, 16, 20, 3), (5, 16, 20, 3)),
        ((2, 5, 16, 20), (5, 16, 20)),
        ((16, 20, 4), (1, 16, 20, 3)),
        ((5, 16, 20, 4), (5, 16, 20, 3)),
    ],
)
def test_npy_shapes(tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(size=shape)
    sample = from_bytes(tmp_path, npy(array))
    assert sample.pixels.shape == expected
    kept = array[..., :3] if shape[-1] == 4 else array  # alpha is dropped
    np.testing.assert_array_equal(sample.pixels.ravel(), kept.astype(np.float32).ravel()[: sample.pixels.size])


@pytest.mark.parametrize(
    "array", [np.array([object()]), np.ones((16, 16), complex), np.ones(5), np.array([["a"] * 9] * 9)]
)
def test_npy_without_plain_numbers_is_refused(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(IngestError):
        from_bytes(tmp_path, npy(array, allow_pickle=True))


def test_npy_that_promises_more_than_it_holds(tmp_path: Path) -> None:
    with pytest.raises(IngestError) as caught:
        from_bytes(tmp_path, npy(np.ones((64, 64)))[:-8])
    assert caught.value.code == "corrupt"


@pytest.mark.parametrize(("size", "code"), [((1, 1), "too_small"), ((1, 4000), "too_small")])
def test_pictures_too_small_to_judge(tmp_path: Path, size: tuple[int, int], code: str) -> None:
    with pytest.raises(IngestError) as caught:
        from_bytes(tmp_path, pillow(Image.new("L", size), "PNG"))
    assert caught.value.code == code


def test_declared_size_is_checked_before_decoding(tmp_path: Path) -> None:
    for data in (pillow(Image.new("L", (64, 64)), "PNG"), tiff(RAMP), npy(RAMP)):
        (tmp_path / "file").write_bytes(data)
        with pytest.raises(IngestError) as caught:
            read(tmp_path / "file", Limits(max_pixels=4095))
        assert caught.value.code == "too_large"


def sentence(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(IngestError) as caught:
        from_bytes(tmp_path, data)
    assert caught.value.code == "unsupported"
    return str(caught.value)


@pytest.mark.parametrize("kind", [npy, tiff])
@pytest.mark.parametrize(
    ("values", "words"),
    [
        (RAMP * 1e38, "beyond"),
        (RAMP * 1e300, "beyond"),
        (RAMP * 1e-300, "too little"),
        (RAMP.astype(np.float32) * np.float32(1e-40), "too little"),
        (RAMP % 7 + np.int64(2**62), "too little"),
    ],
)
def test_values_that_32_bits_cannot_hold_are_told(
    tmp_path: Path, kind: Callable[[np.ndarray], bytes], values: np.ndarray, words: str
) -> None:
    assert words in sentence(tmp_path, kind(values))


def test_large_and_small_values_within_reason_are_read(tmp_path: Path) -> None:
    for factor in (1e20, 1e-20):
        values = RAMP * factor
        values[0, :2] = np.nan, np.inf
        assert np.ptp(from_bytes(tmp_path, npy(values)).pixels) > 0


def test_what_is_not_supported_is_not_called_damaged(tmp_path: Path) -> None:
    ycbcr = Image.new("RGB", (64, 64), (200, 20, 20)).convert("YCbCr")
    assert "YCbCr" in sentence(tmp_path, pillow(ycbcr, "TIFF"))
    assert "complex" in sentence(tmp_path, tiff(np.ones((64, 64), np.complex64)))
    assert "empty" in sentence(tmp_path, npy(np.zeros((0, 20))))


def test_sizes_are_columns_by_rows(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="300 x 4 pixels"):
        from_bytes(tmp_path, npy(np.zeros((4, 300))))


def test_an_array_with_channels_first_is_told_where_they_belong(tmp_path: Path) -> None:
    for shape in ((3, 40, 50), (40, 50, 3), (4, 40, 50)):
        np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 255, shape, np.uint8))
        told = ("(3, 40, 50) is read as three grey slices; a colour picture is (40, 50, 3).",)
        assert read(tmp_path / "a.npy")[0].warnings == (told if shape == (3, 40, 50) else ())
