"""The acquisition description: a sentence and a table from an allow-list of header fields.

Numbers must lie in a physical range; words must be members of a closed list. Everything else, and so every
name, identifier, date, institution, free text and instruction, stays behind.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydicom import Dataset

from medq_vlm.io import header
from medq_vlm.io.terms import anatomy_of, foreign_of, modality_of, xray_view_of

MODALITY_WORDS = {
    "ct": "CT", "mr": "MR", "xray": "radiograph", "mammography": "mammogram", "ultrasound": "ultrasound",
    "pet": "PET", "fundus": "fundus photograph", "endoscopy": "endoscopy", "histopathology": "microscopy",
    "oct": "OCT", "dermoscopy": "dermoscopy",
}  # fmt: skip


@dataclass(frozen=True)
class Quantity:
    """One allow-listed number."""

    name: str  # in the table, with its unit
    keywords: tuple[str, ...]  # DICOM keywords, the first that is there counts
    low: float  # physical range in the table's unit, both ends allowed
    high: float
    phrase: str  # format of the sentence, {} is the number
    scale: float = 1.0  # from the header's unit to the table's
    modalities: tuple[str, ...] = ()  # where it is told; () everywhere


XRAYS = ("xray", "mammography")
QUANTITIES = (
    Quantity("kvp", ("KVP",), 5, 500, "{} kVp", modalities=("ct", *XRAYS)),
    Quantity("exposure_mas", ("Exposure", "ExposureInmAs"), 0.001, 100_000, "{} mAs",
             modalities=("ct", *XRAYS)),
    Quantity("exposure_mas", ("ExposureInuAs",), 0.001, 100_000, "{} mAs", 0.001, ("ct", *XRAYS)),
    Quantity("tube_current_ma", ("XRayTubeCurrent", "XRayTubeCurrentInmA"), 0.01, 5000, "{} mA",
             modalities=("ct", *XRAYS)),
    Quantity("exposure_time_ms", ("ExposureTime", "ExposureTimeInms"), 0.01, 1_000_000, "{} ms exposure",
             modalities=("ct", *XRAYS)),
    Quantity("ctdi_vol_mgy", ("CTDIvol",), 0.001, 5000, "CTDIvol {} mGy", modalities=("ct",)),
    Quantity("pitch", ("SpiralPitchFactor",), 0.05, 10, "pitch {}", modalities=("ct",)),
    Quantity("body_part_thickness_mm", ("BodyPartThickness",), 1, 1000, "{} mm compressed", modalities=XRAYS),
    Quantity("exposure_index", ("ExposureIndex",), 0.1, 1e6, "exposure index {}", modalities=XRAYS),
    Quantity("deviation_index", ("DeviationIndex",), -100, 100, "deviation index {}", modalities=XRAYS),
    Quantity("field_strength_t", ("MagneticFieldStrength",), 0.01, 30, "{} T", modalities=("mr",)),
    Quantity("repetition_time_ms", ("RepetitionTime",), 0.1, 100_000, "TR {} ms", modalities=("mr",)),
    Quantity("echo_time_ms", ("EchoTime", "EffectiveEchoTime"), 0.01, 10_000, "TE {} ms", modalities=("mr",)),
    Quantity("inversion_time_ms", ("InversionTime",), 1, 20_000, "TI {} ms", modalities=("mr",)),
    Quantity("flip_angle_deg", ("FlipAngle",), 0.1, 360, "flip angle {} degrees", modalities=("mr",)),
    Quantity("b_value_s_mm2", ("DiffusionBValue",), 0, 100_000, "b = {} s/mm2", modalities=("mr",)),
    Quantity("averages", ("NumberOfAverages",), 0.1, 1000, "NEX {}", modalities=("mr",)),
    Quantity("echo_train_length", ("EchoTrainLength",), 1, 1000, "echo train {}", modalities=("mr",)),
    Quantity("bandwidth_hz_per_pixel", ("PixelBandwidth",), 1, 100_000, "{} Hz/pixel", modalities=("mr",)),
    Quantity("frame_duration_s", ("ActualFrameDuration",), 0.01, 100_000, "{} s per frame", 0.001, ("pet",)),
    Quantity("slice_thickness_mm", ("SliceThickness",), 0.01, 200, "{} mm slices",
             modalities=("ct", "mr", "pet")),
)  # fmt: skip

# Reconstruction kernels: vendors' names made of one or two letters and a number, and their fixed words.
KERNEL = re.compile(r"[A-Za-z]{1,2}\d{2,3}[a-z]{0,2}", re.ASCII)
KERNEL_WORDS = frozenset(
    [
        "STANDARD",
        "SOFT",
        "LUNG",
        "BONE",
        "BONEPLUS",
        "DETAIL",
        "EDGE",
        "CHST",
        "ULTRA",
        "SHARP",
        "SMOOTH",
        "MEDIUM",
        "A",
        "B",
        "C",
        "D",
        "E",
        "F",
        "L",
        "EB",
        "EC",
        "UA",
        "UB",
        "UC",
        "YA",
        "YB",
        "YC",
        "YD",
        "IMR",
        "BRAIN",
        "HEAD",
        "BODY",
    ]
)
SEQUENCES = {"SE": "spin echo", "IR": "inversion recovery", "GR": "gradient echo", "EP": "echo planar"}
DETECTORS = {"DIRECT": "direct detector", "SCINTILLATOR": "scintillator detector",
             "STORAGE": "storage phosphor",
             "FILM": "film"}  # fmt: skip
TRANSDUCERS = {"LINEAR", "CURVED LINEAR", "SECTOR", "SECTOR_PHASED", "SECTOR_MECH", "SECTOR_ANNULAR"}
ELEMENTS = {"FLUORINE": "F", "CARBON": "C", "NITROGEN": "N", "OXYGEN": "O", "GALLIUM": "Ga", "RUBIDIUM": "Rb",
            "COPPER": "Cu", "ZIRCONIUM": "Zr", "IODINE": "I"}  # fmt: skip
ELEMENTS |= {symbol.upper(): symbol for symbol in ELEMENTS.values()}
NUCLIDES = frozenset(("F-18", "C-11", "N-13", "O-15", "Ga-68", "Rb-82", "Cu-64", "Zr-89", "I-124"))
NO_AGENT = {"", "NONE", "NO", "N", "0", "NATIVE", "WITHOUT", "WITHOUT CONTRAST", "UNENHANCED"}


@dataclass(frozen=True)
class Told:
    """What a header is allowed to tell."""

    modality: str | None  # vocab.MODALITIES
    anatomy: str | None  # vocab.ANATOMIES
    view: str | None  # X-ray view position; None when the header has none
    pixel_spacing_mm: tuple[float | None, float | None]  # row, column
    foreign: str  # a modality outside vocab.MODALITIES, in words; "" when the header names none
    sentence: str
    fields: dict[str, str | float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def describe(ds: Dataset, frame: int, slice_spacing_mm: float | None) -> Told:
    """All that leaves the header of `ds`, for its 0-based `frame`."""
    modality, anatomy, view = modality_of(ds), anatomy_of(ds, frame), xray_view_of(ds)
    spacing = _pixel_spacing(ds, frame)
    fields: dict[str, str | float] = {}
    phrases: list[str] = []
    if modality:
        fields["modality"] = modality
    if anatomy:
        fields["body_part"] = anatomy
    if view:
        fields["view"] = view
    for quantity in QUANTITIES:
        if (quantity.modalities and modality not in quantity.modalities) or quantity.name in fields:
            continue
        value = _quantity(ds, frame, quantity)
        if value is not None:
            fields[quantity.name] = value
            phrases.append(quantity.phrase.format(_number(value, quantity)))
    if {"exposure_mas", "tube_current_ma"} <= fields.keys():  # the sentence needs one measure of the dose
        phrases = [p for p in phrases if not p.endswith((" mA", " ms exposure"))]
    for name, word, phrase in _words(ds, frame, modality):
        fields[name] = word
        phrases.append(phrase)
    if slice_spacing_mm is not None:
        fields["slice_spacing_mm"] = round(slice_spacing_mm, 3)
    rows, columns = header.whole(ds, "Rows", 0), header.whole(ds, "Columns", 0)
    fields["matrix"] = f"{columns} x {rows}"
    if spacing[0] is not None:
        fields["pixel_spacing_mm"] = round(spacing[0], 4)
    sentence = _sentence(modality, anatomy, view, phrases)
    return Told(modality, anatomy, view, spacing, foreign_of(ds), sentence, fields, _warnings(ds))


def _sentence(modality: str | None, anatomy: str | None, view: str | None, phrases: list[str]) -> str:
    """ "Chest CT, 120 kVp, 30 mAs, 1.0 mm slices, kernel B70f"; "" when the header tells the modality at most.

    A modality alone describes no acquisition, and the scorer has it already.
    """
    if not (anatomy or view or phrases):
        return ""
    subject = " ".join(part for part in (anatomy, MODALITY_WORDS.get(modality or "")) if part)
    parts = [subject or "image", *([f"{view} view"] if view else []), *phrases]
    sentence = ", ".join(parts)
    return sentence[0].upper() + sentence[1:]


def _quantity(ds: Dataset, frame: int, quantity: Quantity) -> float | None:
    for keyword in quantity.keywords:
        found = header.scoped_numbers(ds, keyword, frame)
        if found and quantity.low <= found[0] * quantity.scale <= quantity.high:
            return round(found[0] * quantity.scale, 4)
    return None


def _number(value: float, quantity: Quantity) -> str:
    if quantity.name == "slice_thickness_mm":
        return f"{value:.2f}".removesuffix("0")
    return f"{value:.4g}" if value < 10_000 else f"{value:.0f}"


def _words(ds: Dataset, frame: int, modality: str | None) -> list[tuple[str, str, str]]:
    """(name, value, phrase) of the fields whose values are words."""
    out: list[tuple[str, str, str]] = []
    if modality == "ct" and (kernel := _kernel(ds, frame)):
        out.append(("kernel", kernel, f"kernel {kernel}"))
    if modality == "mr":
        kinds = [SEQUENCES[code] for code in header.scoped_words(ds, "ScanningSequence", frame) if code in SEQUENCES]
        if kinds:
            out.append(("sequence", ", ".join(kinds), " ".join(kinds)))
        dimensions = header.scoped_words(ds, "MRAcquisitionType", frame)
        if dimensions and dimensions[0] in ("2D", "3D"):
            out.append(("acquisition_type", dimensions[0], dimensions[0]))
    if modality in XRAYS and (detector := DETECTORS.get(header.word(ds, "DetectorType"))):
        out.append(("detector", detector, detector))
    if modality == "ultrasound":
        out += _ultrasound(ds)
    if modality == "pet" and (nuclide := _nuclide(ds)):
        out.append(("radionuclide", nuclide, nuclide))
    if modality in ("ct", "mr", "xray", "mammography") and "ContrastBolusAgent" in ds:
        used = header.word(ds, "ContrastBolusAgent") not in NO_AGENT
        out.append(("contrast_agent", "yes" if used else "no", f"{'with' if used else 'without'} contrast agent"))
    return out


def _kernel(ds: Dataset, frame: int) -> str:
    """The kernel as the vendor writes it, "" unless it is of a known form."""
    for scope in header.scopes(ds, frame):
        value = header.raw(scope, "ConvolutionKernel")
        first = value[0] if isinstance(value, Sequence) and not isinstance(value, str) and value else value
        text = str(first or "").strip()
        if KERNEL.fullmatch(text) or text.upper() in KERNEL_WORDS:
            return text
    return ""


def _ultrasound(ds: Dataset) -> list[tuple[str, str, str]]:
    out: list[tuple[str, str, str]] = []
    kind = header.word(ds, "TransducerType")
    if kind in TRANSDUCERS:
        plain = kind.lower().replace("_", " ")
        out.append(("transducer", plain, f"{plain} transducer"))
    region = header.item(ds, "SequenceOfUltrasoundRegions")
    if region is not None:
        khz = header.number(region, "TransducerFrequency")
        if khz is not None and 100 <= khz <= 100_000:
            out.append(("transducer_frequency", f"{khz / 1000:.3g} MHz", f"{khz / 1000:.3g} MHz"))
    return out


def _nuclide(ds: Dataset) -> str:
    """ "F-18" of "^18^Fluorine", "18F" or "F-18"; "" unless it is a member of NUCLIDES."""
    drug = header.item(ds, "RadiopharmaceuticalInformationSequence")
    code = header.item(drug, "RadionuclideCodeSequence") if drug is not None else None
    meaning = header.word(code, "CodeMeaning") if code is not None else ""
    name, mass = re.findall(r"[A-Z]+", meaning), re.findall(r"\d+", meaning)
    if len(name) != 1 or len(mass) != 1:
        return ""
    nuclide = f"{ELEMENTS.get(name[0], '')}-{mass[0]}"
    return nuclide if nuclide in NUCLIDES else ""


def _pixel_spacing(ds: Dataset, frame: int) -> tuple[float | None, float | None]:
    """Row and column spacing in mm: of the patient plane where known, else of the detector."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        found = header.scoped_numbers(ds, keyword, frame)
        if len(found) == 2 and all(0 < x < 1000 for x in found):
            return found[0], found[1]
    region = header.item(ds, "SequenceOfUltrasoundRegions")
    if region is not None and header.whole(region, "PhysicalUnitsXDirection", 0) == 3:  # 3: centimetres
        column, row = header.number(region, "PhysicalDeltaX"), header.number(region, "PhysicalDeltaY")
        if column and row:
            return abs(row) * 10, abs(column) * 10
    return None, None


def _warnings(ds: Dataset) -> tuple[str, ...]:
    out = []
    burned = header.word(ds, "BurnedInAnnotation")
    sop_class = str(header.raw(ds, "SOPClassUID") or "")
    capture = sop_class.startswith("1.2.840.10008.5.1.4.1.1.7") or header.word(ds, "ConversionType") in (
        "WSD",
        "DV",
    )
    if burned == "YES":
        out.append("The header says that text is burned into the picture; it may name the patient.")
    elif burned != "NO" and (capture or header.word(ds, "Modality") in ("US", "IVUS")):
        out.append("Text may be burned into the picture; it may name the patient.")
    if header.word(ds, "Modality") == "SEG":
        out.append("This is a segmentation, not an acquired image.")
    if header.word(ds, "Modality") == "RTDOSE":
        out.append("This is a computed dose grid, not an acquired image.")
    if header.words(ds, "ImageType")[:1] == ("DERIVED",):
        out.append("The image is derived: it was processed after acquisition.")
    return tuple(out)
