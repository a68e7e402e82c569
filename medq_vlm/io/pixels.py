"""DICOM frames in native units: decoding, unused bits, padding, colour, modality LUT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.pixels import get_decoder
from pydicom.pixels.processing import apply_color_lut

from medq_vlm.io import header
from medq_vlm.io.common import as_float32
from medq_vlm.io.dicom import Claim, quiet
from medq_vlm.io.limits import problem
from medq_vlm.schema import IngestError

# The decoder plugins we trust, in this order, by transfer syntax. GDCM is left out on purpose: open
# memory-safety advisories without a fix. pylibjpeg's libjpeg is the optional extra `jpeg`.
JPEG = ("pylibjpeg", "pillow")
PLUGINS: dict[str, tuple[str, ...]] = {
    "1.2.840.10008.1.2.4.50": ("pillow", "pylibjpeg"),
    "1.2.840.10008.1.2.4.51": JPEG,
    "1.2.840.10008.1.2.4.57": ("pylibjpeg",),
    "1.2.840.10008.1.2.4.70": ("pylibjpeg",),
    "1.2.840.10008.1.2.4.80": ("pyjpegls",),
    "1.2.840.10008.1.2.4.81": ("pyjpegls",),
    "1.2.840.10008.1.2.4.90": ("pylibjpeg",),
    "1.2.840.10008.1.2.4.91": ("pylibjpeg",),
    "1.2.840.10008.1.2.4.201": ("pylibjpeg",),
    "1.2.840.10008.1.2.4.202": ("pylibjpeg",),
    "1.2.840.10008.1.2.4.203": ("pylibjpeg",),
    "1.2.840.10008.1.2.5": ("pylibjpeg", "pydicom"),
}
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
NEEDS_JPEG_EXTRA = ("1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
LOSSY = (
    "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.203",
)  # fmt: skip

RGB_ALREADY = ("RGB", "YBR_RCT", "YBR_ICT")  # JPEG 2000 decoders undo their own transforms

# Units a header may name: RescaleType (PS3.3 C.11.1.1.2) and PET Units (C.8.9.1.1.3). US means unspecified.
UNITS = frozenset(
    [
        "OD",
        "HU",
        "MGML",
        "Z_EFF",
        "ED",
        "EDW",
        "HU_MOD",
        "PCT",
        "CNTS",
        "CM2",
        "CM2ML",
        "PCNT",
        "CPS",
        "BQML",
        "MGMINML",
        "UMOLMINML",
        "MLMING",
        "MLG",
        "1CM",
        "UMOLML",
        "PROPCNTS",
        "PROPCPS",
        "MLMINML",
        "MLML",
        "GML",
        "STDDEV",
    ]
)


def frames(
    ds: Dataset, claim: Claim, name: str, wanted: Sequence[int]
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """The frames `wanted`, in that order: float32 (H, W) or (H, W, 3) in native units and the valid mask (H,
    W), None when the header names no padding.

    Raises IngestError 'missing_decoder', 'unsupported' or 'corrupt'.
    """
    for index, stored in zip(wanted, _stored(ds, claim, name, wanted), strict=True):
        if claim.samples == 3:
            yield stored.astype(np.float32), None  # the decoder has made it RGB
        elif claim.photometric == "PALETTE COLOR":
            yield _palette(stored, ds, name), None
        else:
            yield as_float32(_modality(stored, ds, index), name), _valid(stored, ds, claim)


def unit_of(ds: Dataset) -> str:
    """Unit of the native values: a word of UNITS, "HU" for CT that does not say, "value" otherwise."""
    for keyword in ("RescaleType", "Units"):
        found = header.scoped_words(ds, keyword)
        if found and found[0] in UNITS:
            return found[0]
    return "HU" if header.word(ds, "Modality") == "CT" and "RescaleType" not in ds else "value"


def window_of(ds: Dataset, frame: int = 0) -> tuple[float, float] | None:
    """First VOI window (centre, width) of a frame in native units, None without one.

    For a VOI LUT its input range: the curve itself is not kept.
    """
    centres = header.scoped_numbers(ds, "WindowCenter", frame)
    widths = header.scoped_numbers(ds, "WindowWidth", frame)
    if centres and widths and widths[0] > 0:
        return centres[0], widths[0]
    lut = header.item(ds, "VOILUTSequence")
    descriptor = header.numbers(lut, "LUTDescriptor") if lut is not None else ()
    if len(descriptor) == 3:
        entries = descriptor[0] or 65536
        return descriptor[1] + entries / 2, entries
    return None


def is_lossy(ds: Dataset) -> bool:
    """True when the header or the transfer syntax says that a lossy compression was used."""
    return header.word(ds, "LossyImageCompression") == "01" or _syntax(ds) in LOSSY


def _syntax(ds: Dataset) -> str:
    return str(ds.file_meta.get("TransferSyntaxUID") or "") if hasattr(ds, "file_meta") else ""


def _stored(ds: Dataset, claim: Claim, name: str, wanted: Sequence[int]) -> Iterator[np.ndarray]:
    """Stored values of each frame, (H, W) or (H, W, 3), unused bits cleared, colour still as stored or
    RGB."""
    syntax = _syntax(ds)
    plugin = _plugin(syntax, name)
    options: Any = {"correct_unused_bits": syntax not in NATIVE}  # pydicom ignores HighBit: see _used_bits
    try:
        with quiet():
            decoder = get_decoder(syntax)
            for index in wanted:
                array, properties = decoder.as_array(ds, index=index, decoding_plugin=plugin, **options)
                if claim.samples == 3 and properties["photometric_interpretation"] not in RGB_ALREADY:
                    raise _unsupported(name, "its colour space")
                if claim.keyword == "PixelData" and claim.samples == 1 and syntax in NATIVE:
                    array = _used_bits(array, claim)
                yield array
    except (MemoryError, IngestError, GeneratorExit):
        raise
    except Exception as error:  # decoders raise many types on damaged streams
        if syntax == "1.2.840.10008.1.2.4.51" and claim.bits_stored > 8:
            raise _needs_extra(name) from error
        raise problem(
            "corrupt",
            name,
            "the pixel data cannot be decoded",
            "export the file again, uncompressed if possible",
        ) from error


def _plugin(syntax: str, name: str) -> str:
    if syntax in NATIVE:
        return ""
    if syntax not in PLUGINS:
        raise _unsupported(name, "its compression (transfer syntax)")
    available = get_decoder(syntax).available_plugins
    for plugin in PLUGINS[syntax]:
        if plugin in available:
            return plugin
    if syntax in NEEDS_JPEG_EXTRA:
        raise _needs_extra(name)
    raise problem("missing_decoder", name, "its decoder is not installed", "install medq-vlm again")


def _unsupported(name: str, what: str) -> IngestError:
    return problem("unsupported", name, f"{what} is not supported", "export it uncompressed, colours as RGB")


def _needs_extra(name: str) -> IngestError:
    return problem(
        "missing_decoder",
        name,
        "lossless and 12-bit JPEG need an optional decoder",
        'install it with: pip install "medq-vlm[jpeg]" (GPL-3 licence), or export the file uncompressed',
    )


def _used_bits(array: np.ndarray, claim: Claim) -> np.ndarray:
    """Bits outside BitsStored cleared, sign extended (PS3.5 section 8.1.1): they may hold overlays."""
    if claim.bits_allocated == 1 or claim.bits_stored == claim.bits_allocated:
        return array
    array = array.astype(array.dtype.newbyteorder("="))  # a copy: the buffer may be read-only
    above = max(0, claim.bits_allocated - 1 - claim.high_bit)
    np.left_shift(array, above, out=array)
    return np.right_shift(array, claim.bits_allocated - claim.bits_stored, out=array)


def _valid(stored: np.ndarray, ds: Dataset, claim: Claim) -> np.ndarray | None:
    """False where the stored value lies in the padding range (PS3.3 C.7.5.1.1.2), both ends included."""
    value = header.number(ds, "PixelPaddingValue")
    if value is None or claim.keyword != "PixelData":
        return None
    limit = header.number(ds, "PixelPaddingRangeLimit")
    low, high = sorted((value, value if limit is None else limit))
    span = 2**claim.bits_stored
    if claim.signed and low >= span // 2:  # written with the unsigned representation of a negative number
        low, high = sorted((low - 2**claim.bits_allocated, high - 2**claim.bits_allocated))
    mask = (stored < low) | (stored > high)
    return None if mask.all() or not mask.any() else mask


def _modality(stored: np.ndarray, ds: Dataset, index: int) -> np.ndarray:
    """Modality LUT: the table where there is one, otherwise slope and intercept of the frame."""
    table = header.item(ds, "ModalityLUTSequence")
    if table is not None:
        looked_up = _table(stored, table)
        if looked_up is not None:
            return looked_up
    slope = header.scoped_numbers(ds, "RescaleSlope", index)
    intercept = header.scoped_numbers(ds, "RescaleIntercept", index)
    out = stored.astype(np.float64)
    if slope and slope[0] != 0:
        out *= slope[0]
    if intercept:
        out += intercept[0]
    return out


def _table(stored: np.ndarray, table: Dataset) -> np.ndarray | None:
    descriptor = header.numbers(table, "LUTDescriptor")
    values = header.raw(table, "LUTData")
    if isinstance(values, bytes):
        values = np.frombuffer(values[: len(values) // 2 * 2], "<u2")
    if len(descriptor) != 3 or not isinstance(values, Sequence | np.ndarray) or len(values) == 0:
        return None
    entries = np.asarray(values, np.float32)
    place = np.clip(stored.astype(np.int64) - int(descriptor[1]), 0, len(entries) - 1)
    return entries[place]


def _palette(stored: np.ndarray, ds: Dataset, name: str) -> np.ndarray:
    try:
        with quiet():
            return apply_color_lut(stored, ds)[..., :3].astype(np.float32)
    except Exception as error:  # a damaged table fails in many ways
        raise problem("corrupt", name, "its colour table is damaged", "export the file again") from error
