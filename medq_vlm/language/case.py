"""A question with the result that it is about, and the words for what a result holds: numbers, settings, organs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from medq_vlm import vocab
from medq_vlm.language import line as lines
from medq_vlm.language import referent
from medq_vlm.language.line import Line
from medq_vlm.language.referent import Spoken
from medq_vlm.schema import Assessment, Finding

ASKING = (
    "what whats which is was the a this it its of in on how much many high low big large are there used here "
    "image scan give tell show me and normal that value level number for you did measured expected ok okay "
    "ct mr x-ray pet ultrasound head chest abdomen range within limits outside usual typical acceptable "
    "please mean means does good bad exactly current now your were set settings parameters should be "
)
FILLER = frozenset(ASKING.split())  # words that ask for a number and nothing more
# what people call a measured number -> its name in the result
MEASURES = {
    "noise_sd": ("noise sd", "noise standard deviation", "noise level", "noise value", "standard deviation", "sd",
                 "hu is the noise", "noise in hu",
                 "noise level in numbers", "noise"),
    "snr": ("snr", "signal-to-noise", "signal to noise"),
    "cnr": ("cnr", "contrast-to-noise", "contrast to noise"),
    "edge_width": ("edge width", "spatial resolution", "mtf"),
    "entropy_focus": ("entropy", "entropy focus"),
    "ghost_ratio": ("ghost ratio", "ghosting ratio"),
    "bias_field_range": ("bias field range", "non-uniformity"),
    "streak_energy": ("streak energy",),
    "ring_amplitude": ("ring amplitude",),
    "clipped_fraction": ("clipped fraction", "clipped share", "pixels are clipped", "clipped pixels"),
    "blockiness": ("blockiness",),
    "brightness": ("mean brightness", "brightness value"),
    "contrast_range": ("contrast range",),
    "tilt": ("tilt angle",),
}  # fmt: skip
# what people call a setting -> (its name in the result, its plain name, unit, modalities that have it)
XRAYS = ("ct", "xray", "mammography")
SETTINGS = {
    ("slice thickness", "thick are the slices", "thick is a slice", "thinner slices", "thicker slices"):
        ("slice_thickness_mm", "slice thickness", "mm", ("ct", "mr", "pet", "oct")),
    ("kvp", "kv", "tube voltage"): ("kvp", "tube voltage", "kVp", XRAYS),
    ("mas", "exposure product"): ("exposure_mas", "exposure", "mAs", XRAYS),
    ("ma", "tube current"): ("tube_current_ma", "tube current", "mA", XRAYS),
    ("exposure time",): ("exposure_time_ms", "exposure time", "ms", XRAYS),
    ("ctdi", "ctdivol", "dose was used", "dose was given", "radiation dose was", "dlp"):
        ("ctdi_vol_mgy", "CT dose index", "mGy", ("ct",)),
    ("pitch",): ("pitch", "pitch", "", ("ct",)),
    ("kernel", "reconstruction filter"): ("kernel", "kernel", "", ("ct",)),
    ("exposure index",): ("exposure_index", "exposure index", "", ("xray", "mammography")),
    ("tr", "repetition time"): ("repetition_time_ms", "repetition time", "ms", ("mr",)),
    ("te", "echo time"): ("echo_time_ms", "echo time", "ms", ("mr",)),
    ("inversion time",): ("inversion_time_ms", "inversion time", "ms", ("mr",)),
    ("flip angle",): ("flip_angle_deg", "flip angle", "degrees", ("mr",)),
    ("field strength", "tesla"): ("field_strength_t", "field strength", "T", ("mr",)),
    ("averages", "nex", "nsa"): ("averages", "number of averages", "", ("mr",)),
    ("bandwidth",): ("bandwidth_hz_per_pixel", "bandwidth", "Hz per pixel", ("mr",)),
    ("b value", "b-value"): ("b_value_s_mm2", "b value", "s/mm2", ("mr",)),
    ("pixel size", "pixel spacing", "voxel size"): ("pixel_spacing_mm", "pixel size", "mm", vocab.MODALITIES),
}  # fmt: skip
OTHER_NUMBERS = ("sd", "snr", "cnr", *sorted((form for forms in SETTINGS for form in forms), key=len, reverse=True))
# organs and tasks of a question -> body parts that show them
ORGANS = {
    "brain bleed stroke subdural haematoma hematoma skull hippocampal": ("head", "whole body"),
    "lung lungs pulmonary pneumothorax rib ribs": ("chest", "whole body"),
    "liver kidney kidneys pancreas spleen bowel": ("abdomen", "whole body", "chest", "spine"),
    "heart myocardium cardiac coronary": ("heart", "chest", "whole body"),
    "spine vertebra vertebrae": ("spine", "chest", "abdomen", "whole body", "hip"),
    "disc discs": ("spine", "chest", "abdomen", "whole body", "hip", "retina"),
    "breast microcalcs microcalcifications": ("breast", "chest"),
    "retina macula fundus": ("retina",),
    "hip femur": ("hip", "whole body", "abdomen"),
    "mole melanoma": ("skin",),
}


@dataclass(frozen=True)
class Case:
    """A question, in plain small words, and the result that it is about."""

    assessment: Assessment
    asked: str  # as terms.plain gives it
    history: Sequence[tuple[str, str]] = ()

    @cached_property
    def line(self) -> Line:
        return lines.from_assessment(self.assessment)

    @property
    def modality(self) -> str:
        return str(self.assessment.modality.value)

    @cached_property
    def found(self) -> list[Finding]:
        """Findings, the most severe first."""
        found = [one for one in self.assessment.findings if one.severity != "none"]
        return sorted(found, key=lambda one: -one.severity_value)

    @cached_property
    def named(self) -> list[str]:
        """Kinds that the question names."""
        return referent.named(self.asked, self.modality, [one.kind for one in self.found])

    @cached_property
    def spoken(self) -> Spoken:
        """What the question speaks of, with the exchanges before it."""
        return referent.spoken(self.asked, self.history, self.found, self.modality)

    @property
    def about(self) -> list[Finding]:
        """Findings that the question means, or else all."""
        return list(self.spoken.findings) or self.found

    def says(self, *forms: str) -> bool:
        return any(f" {form} " in f" {self.asked} " for form in forms)

    def bare(self, *forms: str) -> bool:
        """Whether the question names one of `forms` and nothing else of weight, but for other numbers."""
        spaced = f" {self.asked} "
        named = [form for form in forms if f" {form} " in spaced]
        if not named:
            return False
        spaced = spaced.replace(f" {max(named, key=len)} ", " ")
        for other in OTHER_NUMBERS:
            spaced = spaced.replace(f" {other} ", " ")
        return set(spaced.split()) <= FILLER
