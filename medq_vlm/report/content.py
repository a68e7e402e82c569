"""What every report says, in words and rows; the writers (text.py, html.py, pdf.py) only lay it out."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime

from medq_vlm import vocab
from medq_vlm.schema import SCHEMA_VERSION, Assessment, Finding, Location, Measurement, Recognised

DISCLAIMER = (
    "Not a medical device. This report rates the technical quality of the image, from its pixels alone; "
    "it makes no diagnosis and does not replace the judgement of qualified staff."
)
SCALE = "0 to 4, higher is better: " + ", ".join(f"{i} {word}" for i, word in enumerate(vocab.SCORE_WORDS))
DISTRIBUTION = "Probability of each of the 21 score levels; the score is their mean."
VERDICT_ADVICE = {
    "good": "fit for reading",
    "usable": "readable with limits",
    "reject": "repeat or correct before reading",
}
ATTRIBUTE_NAMES = {
    "noise": "Low noise",
    "sharpness": "Sharpness",
    "contrast": "Contrast",
    "artifact": "Freedom from artefacts",
    "exposure": "Exposure",
    "coverage": "Coverage",
}  # named so that 1 is always good
VOLUMES = ("ct", "mr", "pet", "oct")  # several images are slices here, frames elsewhere


def clean(text: object) -> str:
    """`text` on one line without control and direction characters.

    Paths and header text come from strangers: escape sequences could drive a terminal, direction overrides
    could disguise a file name.
    """
    spaced = "".join(" " if char.isspace() else char for char in str(text))
    kept = (char if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn") else "\ufffd" for char in spaced)
    return "".join(kept).strip()


def short_path(path: str, limit: int) -> str:
    """`path` in at most `limit` characters: the middle is left out, the file name stays if it fits."""
    text = clean(path)
    if len(text) <= limit:
        return text
    tail = max(limit * 2 // 3, min(len(text.replace("\\", "/").rsplit("/", 1)[-1]) + 1, limit - 4))
    return text[: limit - tail - 1] + "\u2026" + text[-tail:]


def capital(text: str) -> str:
    """`text` with a capital first letter and the rest as it is."""
    return text[:1].upper() + text[1:]


def number(value: float) -> str:
    """Three significant digits, no exponent for ordinary sizes: 41.2, 0.0004, 1204."""
    return f"{value:.0f}" if 100 <= abs(value) < 1e7 else f"{value:.3g}"


def percent(share: float) -> str:
    """Share 0 to 1 as "94 %"."""
    return f"{100 * share:.0f}\u00a0%"


def without_findings(assessment: Assessment) -> str:
    """What is said where no finding is listed: neither a score below good nor a measure far off is explained away."""
    noise = next((item for item in assessment.evidence if item.name == "noise_sd" and item.far), None)
    if noise is not None:
        measured = f"{measure_name(noise.name)} is {measurement_value(noise)} ({expected_words(noise)})"
        return f"The model found no degradation, but {measured}: look at the noise before you rely on the score."
    if assessment.verdict in (None, "good"):
        return "No degradation was found."
    return "No single degradation stands out; the score is that of the image as a whole."


def image_name(assessment: Assessment) -> str:
    """E.g. "Chest CT, 300 slices", "Probably heart MR"; "Image" when nothing was recognised or can be assessed."""
    parts = []
    facts = (assessment.anatomy, assessment.modality)
    if any(known(assessment, fact) and doubted(fact) for fact in facts):
        parts.append("probably")
    if known(assessment, assessment.anatomy):
        parts.append(str(assessment.anatomy.value))
    if known(assessment, assessment.modality):
        parts.append(vocab.MODALITY_NAMES[str(assessment.modality.value)])
    count = int(assessment.source.get("slices", 1))
    name = capital(" ".join(parts)) or "Image"
    return f"{name}, {count} {plane(assessment)}s" if count > 1 else name


def known(assessment: Assessment, fact: Recognised) -> bool:
    """Whether a recognised fact is worth saying: what a blank picture looks like is not."""
    return fact.value is not None and (assessment.assessable or fact.from_ != "image")


def doubted(fact: Recognised) -> bool:
    """Whether what was recognised is too unsure to be stated."""
    return fact.value is not None and not fact.sure


def plane(assessment: Assessment) -> str:
    """What one image of several is called: "slice" of a volume, "frame" of a sequence."""
    return "slice" if assessment.modality.value in (None, *VOLUMES) else "frame"


def recognised_line(fact: Recognised) -> str:
    """E.g. "CT (from the header)", "probably heart (recognised from the image, 62 %)"."""
    if fact.value is None:
        return "unknown"
    name = vocab.MODALITY_NAMES.get(fact.value, fact.value)
    if fact.from_ == "image":
        return f"{'probably ' if doubted(fact) else ''}{name} (recognised from the image, {percent(fact.confidence)})"
    return f"{name} (given by the user)" if fact.from_ == "user" else f"{name} (from the header)"


def score_line(assessment: Assessment) -> str:
    """E.g. "1.7 of 4 (90 % interval 1.4 to 2.1), nearest to 2, limited interpretation"; "no score" without one."""
    if assessment.score is None:
        return "no score"
    line = f"{vocab.score_text(assessment.score)} of 4"
    if assessment.score_interval:
        line += f" ({interval_words(assessment.score_interval)})"
    level = vocab.SCORE_WORDS.index(vocab.score_word(assessment.score))
    return f"{line}, nearest to {level}, {vocab.SCORE_WORDS[level]}"


def interval_words(interval: tuple[float, float]) -> str:
    """E.g. "90 % interval 1.4 to 2.1": it is calibrated to hold the truth nine times of ten."""
    return f"90\u00a0% interval {interval[0]:.1f} to {interval[1]:.1f}"


def context_lines(assessment: Assessment) -> list[str]:
    """Sentences that place the score: percentile, probability of reject, utility, the user's own prompts."""
    lines = []
    if assessment.percentile is not None and assessment.modality.value:
        name = vocab.MODALITY_NAMES[assessment.modality.value]
        lines.append(
            f"{_higher_than(assessment.percentile)} the {name} reference images, clean ones that the scale was set on."
        )
    if assessment.reject_probability is not None:
        lines.append(f"Probability that it deserves 'reject': {percent(assessment.reject_probability)}.")
    if assessment.utility and not hides_lesions(assessment):
        task, score = clean(assessment.utility["task"]), assessment.utility["score"]
        lines.append(f"Fitness for {task}: {float(score):.2f} of 1.")
    for pair in assessment.prompts:
        lines.append(f"'{clean(pair['good'])}' rather than '{clean(pair['bad'])}': {percent(pair['score'])}.")
    return lines


def _higher_than(percentile: float) -> str:
    """What stands before "the reference images": the ends of the scale in words."""
    share = round(percentile)
    return {0: "Lower than all of", 100: "Higher than all of"}.get(share, f"Higher than {share}\u00a0% of")


def hides_lesions(assessment: Assessment) -> bool:
    """Whether a fitness for finding lesions would contradict the verdict or what a finding says is hidden."""
    hidden = any(word in finding.impact for finding in assessment.findings for word in ("lesion", "hide", "hidden"))
    return hidden or assessment.verdict == "reject"


def finding_name(finding: Finding) -> str:
    """E.g. "Low-dose noise", "Possible low-dose noise" below half confidence."""
    doubt = "possible " if finding.confidence < 0.5 else ""
    return capital(doubt + vocab.KIND[finding.kind].plain)


def shown_findings(assessment: Assessment) -> list[Finding]:
    """Findings in report order: the most severe first."""
    return sorted(assessment.findings, key=lambda finding: -finding.severity_value)


def place(location: Location) -> str:
    """E.g. "central, slices 3 to 9"; "whole image" when open. Slices count from 1 for people."""
    parts = []
    if location.words:
        parts.append(clean(location.words))
    elif location.box:
        parts.append("marked region")
    if location.slices:
        first, last = location.slices[0] + 1, location.slices[1] + 1
        parts.append(f"slice {first}" if first == last else f"slices {first} to {last}")
    return ", ".join(parts) or "whole image"


def measurement_value(measurement: Measurement) -> str:
    """E.g. "41.2 HU"; a ratio or a fraction has no unit worth reading."""
    unit = "" if measurement.unit in ("ratio", "fraction") else clean(measurement.unit)
    return f"{number(measurement.value)} {unit}".strip()


def within(measurement: Measurement) -> bool | None:
    """Whether the value lies in the range expected of a good image; None where there is none."""
    return measurement.within


def told_evidence(measurements: Sequence[Measurement]) -> list[Measurement]:
    """What stands outside its expected range first, what lies inside last."""
    return sorted(measurements, key=lambda item: (False, None, True).index(within(item)))


def expected_words(measurement: Measurement) -> str:
    """E.g. "expected \u2264 25", "as expected, \u2264 25"; "" where no range is known."""
    if not measurement.expected:
        return ""
    return f"{'as expected,' if within(measurement) else 'expected'} {range_words(measurement)}"


def range_words(measurement: Measurement) -> str:
    """The expected range for people: "\u2264 25"; it stands in brackets, so it has none of its own."""
    words = re.sub(r" \(([^()]*)\)", r", \1", clean(measurement.expected))
    return words.replace("<=", "\u2264").replace(">=", "\u2265")


MODEL_ALONE = "no measure is outside its range: this rests on what the model sees"


def evidence_line(measurements: Sequence[Measurement]) -> str:
    """E.g. "noise SD 41.2 HU (expected \u2264 25)"; "" when there are none."""
    parts = []
    for item in told_evidence(measurements):
        expected = f" ({words})" if (words := expected_words(item)) else ""
        parts.append(f"{measure_name(item.name)} {measurement_value(item)}{expected}")
    if parts and all(within(item) for item in measurements):
        parts.append(MODEL_ALONE)
    return "; ".join(parts)


def measure_name(name: str) -> str:
    """Readable form of a measure's identifier: "noise_sd" -> "noise SD"."""
    upper = {
        "sd": "SD",
        "snr": "SNR",
        "cnr": "CNR",
        "mtf": "MTF",
        "hu": "HU",
        "efc": "EFC",
        "fber": "FBER",
        "cjv": "CJV",
    }
    return " ".join(upper.get(word, word) for word in clean(name).replace("_", " ").split())


UNIT_ENDINGS = (  # of field names; longer endings first
    ("_hz_per_pixel", "Hz per pixel"), ("_s_mm2", "s/mm²"), ("_mas", "mAs"), ("_mgy", "mGy"), ("_deg", "degrees"),
    ("_ma", "mA"), ("_mm", "mm"), ("_ms", "ms"), ("_t", "T"), ("_s", "s"),
)  # fmt: skip


def acquisition_rows(assessment: Assessment) -> list[tuple[str, str]]:
    """(name, value) rows of the acquisition table; the recognised facts first."""
    facts = (("Modality", assessment.modality), ("Anatomy", assessment.anatomy))
    rows = [(name, recognised_line(fact) if known(assessment, fact) else "unknown") for name, fact in facts]
    if assessment.acquisition:
        said = " (given by the user)" if assessment.acquisition_from == "user" else ""
        rows.append(("Acquisition", f"{clean(assessment.acquisition)}{said}"))
    for name, value in assessment.acquisition_fields.items():
        if name not in ("modality", "anatomy"):  # already in the first rows
            shown = number(value) if isinstance(value, float) else clean(value)
            rows.append((field_name(name), shown))
    return rows


def field_name(name: str) -> str:
    """The field's name for people: "echo_time_ms" -> "Echo time (ms)"."""
    if name == "kvp":
        return "Tube voltage (kVp)"
    for ending, unit in UNIT_ENDINGS:
        if name.endswith(ending):
            return f"{capital(clean(name.removesuffix(ending)).replace('_', ' '))} ({unit})"
    return capital(clean(name).replace("_", " "))


def version_rows(assessment: Assessment) -> list[tuple[str, str]]:
    """(name, value) rows that make the result traceable."""
    model = assessment.model
    return [
        ("Model", clean(f"{model.get('name', '')} {model.get('version', '')}")),
        ("Weights SHA-256", clean(model.get("sha256", "")) or "none"),
        ("Image SHA-256", clean(assessment.source.get("sha256", "")) or "none"),
        ("Result schema", SCHEMA_VERSION),
        ("Assessed", created(assessment)),
    ]


def created(assessment: Assessment) -> str:
    """E.g. "2026-11-21 03:50 UTC"."""
    return f"{created_time(assessment):%Y-%m-%d %H:%M} UTC"


def created_time(assessment: Assessment) -> datetime:
    """The time stamp; ISO 8601 in UTC by the schema."""
    return datetime.fromisoformat(assessment.created.replace("Z", "+00:00"))


def verdict_head(assessment: Assessment) -> tuple[str, str]:
    """(word, meaning), e.g. ("USABLE", "readable with limits"); the reason when not assessable."""
    if assessment.verdict is None or not assessment.assessable:
        return "NOT ASSESSABLE", clean(assessment.reason)
    return assessment.verdict.upper(), VERDICT_ADVICE[assessment.verdict]
