"""The closed word lists: modalities, degradation kinds, severities, verdicts, attributes.

Single source for training, prompts, the JSON schema, reports and DICOM codes. The texts of the kinds lie
beside it in kinds.py, kinds_by_modality.py and prompts.py; everyone else reads them from here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from medq_vlm.kinds import KIND_TEXTS
from medq_vlm.kinds_by_modality import BY_MODALITY

MODALITIES = (
    "ct", "mr", "xray", "mammography", "ultrasound", "pet",
    "fundus", "endoscopy", "histopathology", "oct", "dermoscopy",
)  # fmt: skip
MODALITY_NAMES = {
    "ct": "CT",
    "mr": "MR",
    "xray": "X-ray",
    "mammography": "mammography",
    "ultrasound": "ultrasound",
    "pet": "PET",
    "fundus": "fundus",
    "endoscopy": "endoscopy",
    "histopathology": "histopathology",
    "oct": "OCT",
    "dermoscopy": "dermoscopy",
}  # plain names: "CT" image, "fundus" image
OPTICAL = ("fundus", "endoscopy", "histopathology", "oct", "dermoscopy")
COLOUR = ("fundus", "endoscopy", "histopathology", "dermoscopy")

ANATOMIES = (
    "head", "chest", "abdomen", "heart", "spine", "breast", "hip", "whole body",
    "retina", "gastrointestinal tract", "tissue section", "blood smear", "skin",
)  # fmt: skip

SEVERITIES = ("none", "mild", "moderate", "severe")
VERDICTS = ("reject", "usable", "good")
ATTRIBUTES = ("noise", "sharpness", "contrast", "artifact", "exposure", "coverage")

SCORE_BINS = 21  # ordinal classes 0.0, 0.2, ... 4.0
SCORE_WORDS = (
    "desired features not shown",
    "interpretation impossible",
    "limited interpretation",
    "diagnostic",
    "anatomy evident",
)


@dataclass(frozen=True)
class Kind:
    """One degradation kind and the general texts about it; `text_for` gives those of a modality."""

    name: str  # identifier used everywhere
    modalities: tuple[str, ...]  # where it can occur
    attribute: str  # the member of ATTRIBUTES it lowers

    @property
    def plain(self) -> str:
        """Plain-language name, a noun phrase."""
        return KIND_TEXTS[self.name].plain

    @property
    def cause(self) -> str:
        """Usual physical cause, a noun clause."""
        return KIND_TEXTS[self.name].cause

    @property
    def impact(self) -> str:
        """Effect on reading, a main clause."""
        return KIND_TEXTS[self.name].impact

    @property
    def remedy(self) -> str:
        """What to change, imperative."""
        return KIND_TEXTS[self.name].remedy

    @property
    def code(self) -> tuple[str, str, str]:
        """DICOM coding scheme, code value, code meaning."""
        return KIND_TEXTS[self.name].code


# The order is the order of the trained outputs: append, never reorder.
KINDS: tuple[Kind, ...] = (
    Kind("noise", MODALITIES, "noise"),
    Kind("blur", MODALITIES, "sharpness"),
    Kind("motion_blur", MODALITIES, "sharpness"),
    Kind("low_resolution", MODALITIES, "sharpness"),
    Kind("low_contrast", MODALITIES, "contrast"),
    Kind("compression", MODALITIES, "artifact"),
    Kind("clipping", MODALITIES, "exposure"),
    Kind("dropout", MODALITIES, "coverage"),
    Kind("low_dose_noise", ("ct",), "noise"),
    Kind("sparse_view", ("ct",), "artifact"),
    Kind("limited_angle", ("ct",), "artifact"),
    Kind("metal", ("ct",), "artifact"),
    Kind("ring", ("ct",), "artifact"),
    Kind("beam_hardening", ("ct",), "artifact"),
    Kind("ct_motion", ("ct",), "artifact"),
    Kind("mr_noise", ("mr",), "noise"),
    Kind("mr_motion", ("mr",), "artifact"),
    Kind("ghosting", ("mr",), "artifact"),
    Kind("undersampling", ("mr",), "artifact"),
    Kind("wraparound", ("mr",), "artifact"),
    Kind("gibbs_ringing", ("mr",), "artifact"),
    Kind("bias_field", ("mr",), "exposure"),
    Kind("spike", ("mr",), "artifact"),
    Kind("susceptibility", ("mr",), "artifact"),
    Kind("underexposure", ("xray", "mammography", *OPTICAL), "exposure"),
    Kind("overexposure", ("xray", "mammography", *OPTICAL), "exposure"),
    Kind("quantum_mottle", ("xray", "mammography"), "noise"),
    Kind("scatter", ("xray", "mammography"), "contrast"),
    Kind("grid_lines", ("xray", "mammography"), "artifact"),
    Kind("rotation", ("xray", "mammography"), "coverage"),
    Kind("collimation", ("xray", "mammography"), "coverage"),
    Kind("speckle", ("ultrasound",), "noise"),
    Kind("gain", ("ultrasound",), "exposure"),
    Kind("shadow", ("ultrasound",), "artifact"),
    Kind("reverberation", ("ultrasound",), "artifact"),
    Kind("attenuation", ("ultrasound",), "exposure"),
    Kind("low_count_noise", ("pet",), "noise"),
    Kind("defocus", OPTICAL, "sharpness"),
    Kind("uneven_illumination", OPTICAL, "exposure"),
    Kind("colour_cast", COLOUR, "exposure"),
    Kind("haze", OPTICAL, "contrast"),
    Kind("specular", ("endoscopy", "dermoscopy", "fundus"), "artifact"),
    Kind("bubble", ("endoscopy", "histopathology", "dermoscopy"), "artifact"),
    Kind("dark_spot", OPTICAL, "artifact"),
    Kind("stain", ("histopathology",), "artifact"),
    Kind("fold", ("histopathology",), "artifact"),
    Kind("occlusion", OPTICAL, "coverage"),
)
KIND_NAMES = tuple(kind.name for kind in KINDS)
# Kinds that lie somewhere in an image rather than all over it, in the order of the pointer's outputs.
LOCAL_KINDS = (
    "dropout", "metal", "susceptibility", "collimation", "shadow", "reverberation", "specular", "bubble", "dark_spot",
    "stain", "fold", "occlusion",
)  # fmt: skip
KIND = {kind.name: kind for kind in KINDS}


def kinds_for(modality: str) -> tuple[str, ...]:
    """Names of the kinds that can occur in `modality`, in table order."""
    return tuple(kind.name for kind in KINDS if modality in kind.modalities)


SEVERITY_FROM = (0.5, 1.5)  # a severity of so much is called mild, moderate; a finding is reported from mild on


def severity_word(value: float) -> str:
    """Severity word for a continuous severity 0 to 4: rounded, and 3 or more is severe."""
    return SEVERITIES[min(3, int(value + 0.5))]


USABLE_FROM, GOOD_FROM = 1.5, 2.5
QUALITY_REJECT = re.compile(r"(?i)\bquality of (this|the) image is reject\b")
ONE_DEFOCUS = re.compile(r"(?i)((?:throughout the image|locally), (?:mild|moderate|severe) defocus( \([^)]*\))?) are\b")
LIMITS = f"reject below {USABLE_FROM}, usable from {USABLE_FROM}, good from {GOOD_FROM}"


def verdict_word(score: float) -> str:
    """Verdict of a score 0 to 4: reject < 1.5 <= usable < 2.5 <= good, the score as in the JSON, to four decimals."""
    score = round(score, 4)
    return VERDICTS[int(score >= USABLE_FROM) + int(score >= GOOD_FROM)]


def in_good_english(text: str) -> str:
    """`text` with "the quality of this image is reject" as a verdict ("reject" is no adjective), one defocus as one.

    For readers alone: the networks were trained on the sentences as they were.
    """
    return ONE_DEFOCUS.sub(r"\1 is", QUALITY_REJECT.sub(r"verdict on \1 image is reject", text))


def with_doubt(text: str, names: Sequence[str]) -> str:
    """`text` with "probably" where it says that the image is, or shows, one of `names`. For readers alone."""
    either = "|".join(map(re.escape, names))
    text = re.sub(rf"\b(This|Shown|It|The image) is (?=an? (?:{either})\b)", r"\1 is probably ", text)
    return re.sub(rf"\b(This (?:{either})\b[^.]*?) shows (?=the |an? )", r"\1 probably shows ", text)


def score_text(score: float, decimals: int = 1) -> str:
    """A score for people: where rounding would carry it over a verdict's limit, two decimals, the last one down.

    What is usable must not read 2.5: 2.46 is "2.46", 2.497 is "2.49".
    """
    text = ""
    for digits in range(decimals, 3):
        text = f"{score:.{digits}f}"
        if verdict_word(float(text)) == verdict_word(score):
            return text
    return f"{float(text) - 0.01:.2f}"


def text_for(kind: str, modality: str) -> tuple[str, str, str]:
    """Cause, impact and remedy of `kind` as it shows in `modality`, each a clause without a full stop."""
    text = KIND_TEXTS[kind]
    return BY_MODALITY.get(kind, {}).get(modality, (text.cause, text.impact, text.remedy))


def score_word(score: float) -> str:
    """Words of the level nearest to a score 0 to 4."""
    return SCORE_WORDS[int(min(4.0, max(0.0, score)) + 0.5)]
