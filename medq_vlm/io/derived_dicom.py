"""A derived DICOM object: the header of the original, new pixels, and the truth about where they come from.

PS3.3 C.7.6.1.1.2 (image type), C.12.4 (derivation, source image, contributing equipment), C.11.1 (rescale).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from medq_vlm.io import header
from medq_vlm.io.dicom import Claim, quiet
from medq_vlm.io.pixels import LOSSY
from medq_vlm.schema import MedQError

GREY16 = 16
SAME_PIXELS = (  # they describe the stored values, codes or thumbnails of the original
    "SmallestImagePixelValue", "LargestImagePixelValue", "SmallestPixelValueInSeries", "LargestPixelValueInSeries",
    "IconImageSequence", "ModalityLUTSequence", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
    "DigitalSignaturesSequence", "MACParametersSequence", "EncryptedAttributesSequence", "InstanceCreatorUID",
    "OriginalAttributesSequence", "ReferencedImageEvidenceSequence",
)  # fmt: skip
LOSSY_METHOD = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1", "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1", "1.2.840.10008.1.2.4.91": "ISO_15444_1",
    "1.2.840.10008.1.2.4.203": "ISO_15444_15",
}  # fmt: skip
FRAME_TYPES = ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence", "PETFrameTypeSequence",
               "XAXRFFrameCharacteristicsSequence")  # fmt: skip
PER_FRAME = ("FrameTimeVector", "GridFrameOffsetVector", "RadialPosition", "FrameLabelVector")


@dataclass(frozen=True)
class Story:
    """What a derived file says of its making."""

    note: str  # a sentence: what was done
    label: str  # appended to the series description
    program: str  # name of the software
    version: str


@dataclass(frozen=True)
class Rescale:
    """native = slope * stored + intercept."""

    slope: float = 1.0
    intercept: float = 0.0


def derive(
    ds: Dataset, claim: Claim, planes: np.ndarray, frames: Sequence[int], series_uid: str, story: Story
) -> tuple[bytes, int]:
    """A file with `planes` (F, H, W) or (F, H, W, 3), native units, in place of `frames` of `ds`, which is used up.

    The rescale and the bits stay where the values fit, otherwise the values are shifted, and only then scaled anew;
    16 bits at most, 32 where the original has them. Colour is RGB. Private elements and signatures, which speak of the
    original's bytes, are left out; the patient, study and frame of reference stay. Second: values that had to be
    clipped. Raises MedQError when the header cannot be written again.
    """
    syntax = str(ds.file_meta.get("TransferSyntaxUID") or "") if hasattr(ds, "file_meta") else ""
    if syntax == ExplicitVRBigEndian:
        _swap_words(ds)
    with quiet(), _unchecked_writing():
        try:
            clipped = _pixels(ds, claim, planes, frames)
            if len(frames) < claim.frames:
                _keep_frames(ds, frames, claim.frames)
            _tell(ds, series_uid, story, syntax)
            return _file(ds), clipped
        except (MemoryError, MedQError):
            raise
        except Exception as error:  # a header may break every rule
            raise MedQError("The header of this DICOM file cannot be written again; write .nii.gz or .npy.") from error


def _pixels(ds: Dataset, claim: Claim, planes: np.ndarray, frames: Sequence[int]) -> int:
    """Put the values into `ds`; gives the number of clipped ones."""
    for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"):
        if keyword in ds and keyword != claim.keyword:
            delattr(ds, keyword)
    colour = claim.samples == 3 or claim.photometric == "PALETTE COLOR"
    if colour and planes.ndim == 3:  # grey in three equal channels was read as one
        planes = np.repeat(planes[..., None], 3, axis=-1)
    if claim.keyword != "PixelData":
        kind = "<f4" if claim.keyword == "FloatPixelData" else "<f8"
        setattr(ds, claim.keyword, np.ascontiguousarray(planes, kind).tobytes())
        return 0
    if colour:
        return _colour(ds, planes)
    return _grey(ds, claim, planes, frames)


def _colour(ds: Dataset, planes: np.ndarray) -> int:
    palette = "RedPaletteColorLookupTableData" in ds  # its entries may be wider than its indices
    top = 255 if planes.max(initial=0) <= 255 or (ds.BitsAllocated == 8 and not palette) else 65535
    whole = np.rint(planes)
    stored = np.clip(whole, 0, top)
    for name in [element.keyword for element in ds if "PaletteColorLookupTable" in element.keyword]:
        delattr(ds, name)
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    _bits(ds, 8 if top == 255 else 16, 8 if top == 255 else 16, signed=False)
    _store(ds, stored.astype("u1" if top == 255 else "<u2"))
    return int((whole != stored).sum())


def _grey(ds: Dataset, claim: Claim, planes: np.ndarray, frames: Sequence[int]) -> int:
    own = [_rescale(ds, index) for index in frames]
    kept = "ModalityLUTSequence" not in ds and claim.bits_allocated in (8, 16, 32)
    native = planes.astype(np.float64)
    padding = [ds.get(keyword) for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if kept:
        stored = np.stack([np.rint((plane - r.intercept) / r.slope) for plane, r in zip(native, own, strict=True)])
        for allocated, bits in ((claim.bits_allocated, claim.bits_stored), (claim.bits_allocated, claim.bits_allocated),
                                (max(GREY16, claim.bits_allocated),) * 2):  # fmt: skip
            if _fits(stored, bits, claim.signed):
                _bits(ds, allocated, bits, claim.signed)
                _store(ds, stored.astype(f"<{'i' if claim.signed else 'u'}{allocated // 8}"))
                return 0
    pet = ds.get("Modality") == "PT"  # C.8.9.4.1.6: its intercept is 0
    one = own[0] if kept and len(set(own)) == 1 and not pet else None
    low, high = float(native.min()), float(native.max())
    if one is not None and (high - low) / abs(one.slope) < 2**GREY16 - 1:  # the same steps from another start
        start = np.floor((low if one.slope > 0 else high) / one.slope - one.intercept / one.slope)
        first = -(2 ** (GREY16 - 1)) if claim.signed else 0
        new = Rescale(one.slope, _short(one.intercept + one.slope * (start - first)))
    else:
        first = -(2 ** (GREY16 - 1)) + 1 if claim.signed else 0
        slope = _short((high - low) / (2**GREY16 - 2) or 1.0)
        new = Rescale(slope, _short(low - slope * first))
        if pet:
            new = Rescale(_short(max(abs(low), abs(high)) / -first if claim.signed else high / (2**GREY16 - 1)) or 1.0)
    stored = np.rint((native - new.intercept) / new.slope)
    bottom, top = _range(GREY16, claim.signed)
    whole = np.clip(stored, bottom, top)
    _bits(ds, GREY16, GREY16, claim.signed)
    _store(ds, whole.astype("<i2" if claim.signed else "<u2"))
    if "ModalityLUTSequence" in ds:
        table = header.item(ds, "ModalityLUTSequence")
        unit = str(table.get("ModalityLUTType", "US")) if table is not None else "US"
        padding = [None, None]  # the table made them values like any other
    else:
        unit = next(iter(header.scoped_words(ds, "RescaleType")), "HU" if ds.get("Modality") == "CT" else "US")
    _set_rescale(ds, new, unit)
    for keyword, value in zip(("PixelPaddingValue", "PixelPaddingRangeLimit"), padding, strict=True):
        if keyword in ds:
            delattr(ds, keyword)
        if value is not None:
            span = 2**claim.bits_allocated
            number = int(value) - (span if claim.signed and int(value) >= span // 2 else 0)
            moved = np.rint((own[0].slope * number + own[0].intercept - new.intercept) / new.slope)
            if bottom <= moved <= top:
                ds.add_new(keyword, "SS" if claim.signed else "US", int(moved))
    return int((whole != stored).sum())


def _rescale(ds: Dataset, index: int) -> Rescale:
    slope = header.scoped_numbers(ds, "RescaleSlope", index)
    intercept = header.scoped_numbers(ds, "RescaleIntercept", index)
    return Rescale(slope[0] if slope and slope[0] != 0 else 1.0, intercept[0] if intercept else 0.0)


def _set_rescale(ds: Dataset, new: Rescale, unit: str) -> None:
    """One rescale for all frames, where an object of this kind keeps it."""
    home = ds
    shared = header.item(ds, "SharedFunctionalGroupsSequence")
    if shared is not None:
        for group in ds.get("PerFrameFunctionalGroupsSequence") or []:
            if "PixelValueTransformationSequence" in group:
                del group.PixelValueTransformationSequence
        home = Dataset()
        shared.PixelValueTransformationSequence = [home]
    home.RescaleSlope, home.RescaleIntercept, home.RescaleType = _text(new.slope), _text(new.intercept), unit


def _text(value: float) -> str:
    """A decimal string of at most 16 characters."""
    return f"{value:.10g}"


def _short(value: float) -> float:
    """`value` as the file will hold it."""
    return float(_text(float(value)))


def _range(bits: int, signed: bool) -> tuple[int, int]:
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def _fits(stored: np.ndarray, bits: int, signed: bool) -> bool:
    low, high = _range(bits, signed)
    return bool(stored.min() >= low and stored.max() <= high)


def _bits(ds: Dataset, allocated: int, stored: int, signed: bool) -> None:
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = allocated, stored, stored - 1, int(signed)


def _store(ds: Dataset, array: np.ndarray) -> None:
    data = np.ascontiguousarray(array).tobytes()
    if "PixelData" in ds:
        del ds.PixelData
    ds.add_new("PixelData", "OB" if array.dtype.itemsize == 1 else "OW", data + b"\0" * (len(data) % 2))


def _keep_frames(ds: Dataset, frames: Sequence[int], there: int) -> None:
    """Only `frames` of what is told for each of `there` frames."""
    ds.NumberOfFrames = len(frames)
    groups = ds.get("PerFrameFunctionalGroupsSequence")
    if groups is not None and len(groups) == there:
        ds.PerFrameFunctionalGroupsSequence = [groups[index] for index in frames]
    for keyword in PER_FRAME:
        values = ds.get(keyword)
        if isinstance(values, Sequence) and not isinstance(values, str) and len(values) == there:
            setattr(ds, keyword, [values[index] for index in frames])


def _tell(ds: Dataset, series_uid: str, story: Story, syntax: str) -> None:
    """New identity, old study, and where it comes from."""
    if "SOPClassUID" not in ds:
        ds.SOPClassUID = ds.file_meta.get("MediaStorageSOPClassUID", SecondaryCaptureImageStorage)
    source = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = ds.SOPClassUID, ds.get("SOPInstanceUID", "")
    source.PurposeOfReferenceCodeSequence = [_code("121322", "DCM", "Source image for image processing operation")]
    ds.remove_private_tags()
    for keyword in SAME_PIXELS:
        if keyword in ds:
            delattr(ds, keyword)
    for group in {element.tag.group for element in ds if element.tag.group & 0xFF01 == 0x6000}:
        if (group, 0x3000) not in ds:  # its plane lay in unused bits of the pixels
            for element in [one for one in ds if one.tag.group == group]:
                del ds[element.tag]
    now = datetime.now().astimezone()  # dates and times of an object are local
    enhanced = "SharedFunctionalGroupsSequence" in ds
    ds.ImageType = _derived_type(ds.get("ImageType"), "PRIMARY" if enhanced else "SECONDARY")
    for group in [
        *(ds.get("SharedFunctionalGroupsSequence") or []),
        *(ds.get("PerFrameFunctionalGroupsSequence") or []),
    ]:
        for keyword in FRAME_TYPES:
            for item in group.get(keyword) or []:
                item.FrameType = _derived_type(item.get("FrameType"), "PRIMARY")
    ds.SOPInstanceUID, ds.SeriesInstanceUID = generate_uid(), series_uid
    ds.InstanceCreationDate = ds.ContentDate = now.strftime("%Y%m%d")
    ds.InstanceCreationTime = ds.ContentTime = now.strftime("%H%M%S")
    note = story.note[:1024]
    code = _code("RESTORED", "99MEDQ", "Image restoration by a neural network")
    earlier = str(ds.get("DerivationDescription") or "")[: max(0, 1023 - len(note))]
    ds.SourceImageSequence = [source]
    ds.DerivationDescription = f"{earlier} {note}".strip()
    ds.DerivationCodeSequence = [*(ds.get("DerivationCodeSequence") or []), code]
    if enhanced:
        _tell_frames(ds, note, code, source)
    text = str(ds.get("SeriesDescription") or "")
    ds.SeriesDescription = f"{text[: 63 - len(story.label)]} {story.label}".strip()
    number = header.number(ds, "SeriesNumber")
    ds.SeriesNumber = str(int(number or 0) % 100_000_000 + 9000)
    equipment = Dataset()
    equipment.PurposeOfReferenceCodeSequence = [_code("109103", "DCM", "Modifying Equipment")]
    equipment.Manufacturer, equipment.ManufacturerModelName = story.program, f"{story.program} restore"
    equipment.SoftwareVersions = story.version
    equipment.ContributionDateTime = now.strftime("%Y%m%d%H%M%S%z")
    equipment.ContributionDescription = story.note[:1024]
    ds.ContributingEquipmentSequence = [*(ds.get("ContributingEquipmentSequence") or []), equipment]
    if syntax in LOSSY and header.word(ds, "LossyImageCompression") != "01":
        ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", LOSSY_METHOD[syntax]


def _tell_frames(ds: Dataset, note: str, code: Dataset, source: Dataset) -> None:
    """One more derivation in the functional groups, where the object tells earlier ones: PS3.3 C.7.6.16.2.6."""
    told = Dataset()
    told.DerivationDescription, told.DerivationCodeSequence, told.SourceImageSequence = note, [code], [source]
    groups = list(ds.get("PerFrameFunctionalGroupsSequence") or [])
    if not any("DerivationImageSequence" in group for group in groups):
        groups = list(ds.SharedFunctionalGroupsSequence)[:1]
    for group in groups:
        group.DerivationImageSequence = [*(group.get("DerivationImageSequence") or []), told]


def _derived_type(value: object, second: str) -> list[str]:
    words = [str(one) for one in value] if isinstance(value, Sequence) and not isinstance(value, str) else []
    return ["DERIVED", second, *words[2:]]


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _swap_words(ds: Dataset) -> None:
    """Sixteen-bit words of a big endian file other than its pixels, which pydicom leaves as they are."""
    for element in ds:
        if element.VR == "OW" and element.keyword != "PixelData" and isinstance(element.value, bytes):
            element.value = np.frombuffer(element.value[: len(element.value) // 2 * 2], ">u2").astype("<u2").tobytes()


def _file(ds: Dataset) -> bytes:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    out = io.BytesIO()
    dcmwrite(out, ds, enforce_file_format=True, implicit_vr=False, little_endian=True)
    return out.getvalue()


@contextlib.contextmanager
def _unchecked_writing() -> Iterator[None]:
    """The original's values are written as they were read, right or wrong; ours are right."""
    mode = pydicom.config.settings.writing_validation_mode
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    try:
        yield
    finally:
        pydicom.config.settings.writing_validation_mode = mode
