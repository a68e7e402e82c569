"""The codes of a report that machines read: DICOM's own, SNOMED CT, UCUM units, and what none of these names."""

from __future__ import annotations

from typing import NamedTuple

from medq_vlm.report import content
from medq_vlm.schema import Measurement

OWN = "99MEDQ"  # the private coding scheme


class Code(NamedTuple):
    value: str
    scheme: str
    meaning: str


RATING = Code("111029", "DCM", "Image Quality Rating")
ASSESSMENT = Code("111050", "DCM", "Quality Assessment")
FINDING = Code("111052", "DCM", "Quality Finding")
VERDICTS = {  # CID 6044
    "reject": Code("111235", "DCM", "Unusable - Quality Renders Image Unusable"),
    "usable": Code("111236", "DCM", "Usable - Does not meet the quality control standard"),
    "good": Code("111237", "DCM", "Usable - Meets the quality control standard"),
}
SEVERITY = Code("246112005", "SCT", "Severity")
SEVERITIES = {
    "mild": Code("255604002", "SCT", "Mild"),
    "moderate": Code("6736007", "SCT", "Moderate"),
    "severe": Code("24484000", "SCT", "Severe"),
}
REJECTABLE = Code("REJECTP", OWN, "Probability of reject")
DEGREE = Code("SEVERITY", OWN, "Severity, 0 to 4")
PROCEDURE = Code("363679005", "SCT", "Imaging")
FAMILY = Code("123109", "DCM", "Artificial Intelligence")
UNITS = {
    "HU": Code("[hnsf'U]", "UCUM", "Hounsfield unit"),
    "mm": Code("mm", "UCUM", "mm"),
    "px": Code("{pixels}", "UCUM", "pixels"),
    "degrees": Code("deg", "UCUM", "degree"),
    "dB": Code("dB", "UCUM", "decibel"),
}
ONE = Code("1", "UCUM", "no units")


def measure(item: Measurement) -> Code:
    """A measure in the private scheme; a code value holds 16 characters."""
    return Code(item.name.replace("_", "").upper()[:16], OWN, content.capital(content.measure_name(item.name)))


def unit(item: Measurement) -> Code:
    return UNITS.get(item.unit, ONE)
