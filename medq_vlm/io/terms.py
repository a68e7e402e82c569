"""From DICOM's words to ours: modality, anatomy and view, by closed tables."""

from __future__ import annotations

import re

from pydicom import Dataset

from medq_vlm.io import header

MODALITIES = {
    "CT": "ct", "MR": "mr", "CR": "xray", "DX": "xray", "RG": "xray", "DR": "xray",
    "XA": "xray", "RF": "xray", "PX": "xray", "IO": "xray", "RTIMAGE": "xray", "DF": "xray", "DS": "xray",
    "VF": "xray", "MA": "mr",
    "MG": "mammography", "US": "ultrasound", "IVUS": "ultrasound", "EC": "ultrasound", "CD": "ultrasound",
    "DD": "ultrasound", "PT": "pet", "OP": "fundus", "FS": "fundus", "OPT": "oct", "IVOCT": "oct", "OCT": "oct",
    "ES": "endoscopy", "AS": "endoscopy", "CS": "endoscopy", "LP": "endoscopy",
    "SM": "histopathology", "GM": "histopathology", "DM": "histopathology",
}  # fmt: skip
# Acquired by other means than the model has learnt (PS3.3 C.7.3.1.1.1); other words, such as OT, say nothing.
FOREIGN = {
    "NM": "nuclear medicine", "ST": "SPECT", "TG": "thermography", "DG": "diaphanography",
    "FA": "fluorescein angiography",
    "BMD": "bone densitometry", "BDUS": "ultrasound bone densitometry", "PA": "photoacoustic imaging",
    "LS": "a laser surface scan", "OSS": "an optical surface scan", "OPM": "ophthalmic mapping",
    "OPV": "a visual field", "KER": "keratometry", "ECG": "electrocardiography", "EPS": "electrophysiology",
    "HD": "haemodynamics", "BI": "biomagnetic imaging", "MS": "MR spectroscopy",
}  # fmt: skip
DERMOSCOPIC_UID = "1.2.840.10008.5.1.4.1.1.77.1.7"  # Dermoscopic Photography Image Storage
DERIVED_OBJECTS = ("1.2.840.10008.5.1.4.1.1.66", "1.2.840.10008.5.1.4.1.1.481.2")  # segmentation, dose

# Whole words of the body part, region code or series description; the first row with a hit counts, so that
# "chest abdomen" is a chest. The text itself is never kept.
ANATOMY = (
    ("heart", "heart cardiac coronary cardio myocardium ventricle"),
    ("breast", "breast mamma mammo mammary"),
    ("spine", "spine cspine tspine lspine lumbar cervical thoracolumbar sacrum vertebra vertebrae"),
    ("chest", "chest thorax lung lungs rib ribs thx pulmonary"),
    ("head", "head brain skull neuro cranium schaedel cerebrum kopf sinus orbit"),
    ("abdomen", "abdomen abd liver kidney kidneys pancreas abdominal abdo spleen bladder prostate"),
    ("hip", "hip pelvis hips"),
    ("whole body", "wholebody wb whole_body"),
    ("retina", "retina eye fundus macula"),
    ("gastrointestinal tract", "gastrointestinal colon stomach rectum esophagus oesophagus duodenum"),
    ("skin", "skin"),
)  # fmt: skip
KEYWORDS = {word: anatomy for anatomy, words in reversed(ANATOMY) for word in words.split()}
XRAY_VIEWS = frozenset(
    [
        "AP",
        "PA",
        "LL",
        "RL",
        "LLD",
        "RLD",
        "LLO",
        "RLO",
        "LAT",
        "CC",
        "MLO",
        "ML",
        "LM",
        "LMO",
        "XCCL",
        "XCCM",
        "FB",
        "SIO",
        "RL",
        "LATERAL",
    ]
)


def modality_of(ds: Dataset) -> str | None:
    """Member of vocab.MODALITIES, None when the header does not say or the object is computed."""
    sop_class = str(header.raw(ds, "SOPClassUID") or "")
    if sop_class.startswith(DERMOSCOPIC_UID):
        return "dermoscopy"
    if sop_class.startswith(DERIVED_OBJECTS):
        return None
    return MODALITIES.get(header.word(ds, "Modality"))


def foreign_of(ds: Dataset) -> str:
    """What the header says the image was made by when that is no member of vocab.MODALITIES; "" otherwise."""
    return "" if modality_of(ds) else FOREIGN.get(header.word(ds, "Modality"), "")


def anatomy_of(ds: Dataset, frame: int = 0) -> str | None:
    """Member of vocab.ANATOMIES by keyword, the most reliable field first; None without a hit."""
    texts = [*header.scoped_words(ds, "BodyPartExamined", frame)]
    for scope in header.scopes(ds, frame):
        region = header.item(scope, "AnatomicRegionSequence")
        if region is not None:
            texts += header.words(region, "CodeMeaning")
    for keyword in ("ProtocolName", "SeriesDescription", "StudyDescription"):
        texts += header.words(ds, keyword)
    return next((found for text in texts if (found := anatomy_in(text))), None)


def anatomy_in(text: str) -> str | None:
    """The anatomy a text names, by the order of the table; None when it names none."""
    lower = text.lower()
    if "whole body" in lower:
        return "whole body"
    hits = {KEYWORDS[word] for word in re.findall(r"[a-z]+", lower) if word in KEYWORDS}
    return next((anatomy for anatomy, _ in ANATOMY if anatomy in hits), None)


def xray_view_of(ds: Dataset) -> str | None:
    """The projection, e.g. "PA" or "MLO", None when the header has none of the known ones."""
    found = header.word(ds, "ViewPosition")
    if found in XRAY_VIEWS:
        return found
    code = header.item(ds, "ViewCodeSequence")
    meaning = header.word(code, "CodeMeaning") if code is not None else ""
    return {"CRANIO-CAUDAL": "CC", "MEDIO-LATERAL OBLIQUE": "MLO", "POSTERO-ANTERIOR": "PA",
            "ANTERO-POSTERIOR": "AP", "LATERAL": "LAT"}.get(meaning)  # fmt: skip
