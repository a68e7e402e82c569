"""Random records without an image: which kinds, how severe, where, what was measured -> assessment and features.

A record stands for what the scorer says of an image. Kinds below their reporting threshold keep small severities, as
they do in real outputs, so that the language model learns to name what is reported and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medq_vlm import vocab
from medq_vlm.evidence import for_kind
from medq_vlm.evidence.expected import MEASURE, expected_for
from medq_vlm.findings import place_words
from medq_vlm.language.features import ImageFeatures
from medq_vlm.schema import Assessment, Finding, Location, Measurement, Recognised

ANATOMY_OF = {
    "ct": ("head", "chest", "abdomen", "spine", "hip", "heart"),
    "mr": ("head", "spine", "heart", "abdomen", "hip", "breast"),
    "xray": ("chest", "hip", "spine", "abdomen"),
    "mammography": ("breast",),
    "ultrasound": ("breast", "abdomen", "heart", "hip"),
    "pet": ("whole body", "head", "chest"),
    "fundus": ("retina",),
    "endoscopy": ("gastrointestinal tract",),
    "histopathology": ("tissue section", "blood smear"),
    "oct": ("retina",),
    "dermoscopy": ("skin",),
}
ACQUISITIONS = {
    "ct": ("{a} CT, {kv} kVp, {ma} mA, {mm} mm slices, {k} kernel", "CT of the {a}, {kv} kVp, {mm} mm"),
    "mr": ("{a} MR, {t} T, TR {tr} ms, TE {te} ms, {mm} mm slices", "MR {a}, {t} T"),
    "xray": ("{a} X-ray, {kv} kVp, {mas} mAs", "Portable {a} X-ray, {kv} kVp"),
    "mammography": ("Mammography, {mkv} kVp, {mas} mAs", "Mammography, compression force {n} N"),
    "ultrasound": ("{a} ultrasound, {mhz} MHz probe",),
    "pet": ("FDG PET, {min} min per bed position", "PET, {mm} mm slices"),
}
COUNTS = (0.22, 0.28, 0.28, 0.15, 0.07)  # share of records with 0, 1, 2, 3, 4 findings
VOLUME_SHARE = 0.15


@dataclass(frozen=True)
class Example:
    """One record as the language model meets it."""

    assessment: Assessment
    features: ImageFeatures


def draw(rng: np.random.Generator, modality: str | None = None, findings: int | None = None) -> Example:
    """One random record."""
    modality = modality or str(rng.choice(vocab.MODALITIES, p=_MODALITY_SHARES))
    anatomy = str(rng.choice(ANATOMY_OF[modality]))
    count = int(rng.choice(len(COUNTS), p=COUNTS)) if findings is None else findings
    kinds = vocab.kinds_for(modality)
    chosen = [str(k) for k in rng.choice(kinds, size=min(count, len(kinds)), replace=False)]
    slices = int(rng.integers(3, 120)) if modality in ("ct", "mr", "pet", "oct") and rng.random() < VOLUME_SHARE else 1
    bar = vocab.SEVERITY_FROM[0]
    level = np.zeros(len(vocab.KIND_NAMES))
    for name in kinds:
        k = vocab.KIND_NAMES.index(name)
        if name in chosen:
            level[k] = rng.uniform(bar + 0.01, 3.8)
        else:
            level[k] = min(bar - 0.01, rng.beta(1.0, 4.0) * 0.7)
    found = [_finding(rng, name, float(level[vocab.KIND_NAMES.index(name)]), modality, slices) for name in chosen]
    found.sort(key=lambda f: -f.severity_value)
    score = _score(rng, [f.severity_value for f in found])
    attributes = _attributes(rng, found)
    margin = np.array([level[k] - bar if vocab.KIND_NAMES[k] in kinds else -2.0 for k in range(len(level))])
    present = np.clip(level / 2.0 + rng.normal(0, 0.1, len(level)), 0, 1)
    spread = rng.uniform(0.15, 0.6)
    bins = np.linspace(0, 4, vocab.SCORE_BINS)
    distribution = np.exp(-0.5 * ((bins - score) / spread) ** 2)
    distribution /= distribution.sum()
    sure = float(rng.uniform(0.5, 1.0))
    features = ImageFeatures(
        level=level, margin=margin, present=present,
        attributes=np.array([attributes[name] for name in vocab.ATTRIBUTES]),
        modality=_peaked(rng, vocab.MODALITIES, modality), anatomy=_peaked(rng, vocab.ANATOMIES, anatomy),
        distribution=distribution,
        layout=np.array([np.log(slices), 0.0 if slices == 1 else rng.uniform(0, 1.5), 1 / slices]),
    )  # fmt: skip
    assessment = Assessment(
        source={"path": "record", "sha256": "", "slices": slices},
        modality=Recognised(modality, str(rng.choice(["header", "image"])), sure),
        anatomy=Recognised(anatomy, "image", sure) if rng.random() < 0.95 else Recognised(None, "image", 0.2),
        acquisition=acquisition(rng, modality, anatomy) if rng.random() < 0.6 else "",
        score=score,
        score_interval=(max(0.0, score - 1.6 * spread), min(4.0, score + 1.6 * spread)),
        score_distribution=tuple(distribution.tolist()),
        percentile=None,
        verdict=vocab.verdict_word(score),
        assessable=True,
        reason="",
        reject_probability=float(distribution[bins < vocab.USABLE_FROM].sum()),
        attributes=attributes,
        findings=tuple(found),
        slices=(),
        evidence=(),
        warnings=(),
        description="",
        model={"name": "record", "version": "", "sha256": ""},
        created="",
    )
    return Example(assessment, features)


def acquisition(rng: np.random.Generator, modality: str, anatomy: str) -> str:
    """A description as a header would give it; "" for modalities whose files say nothing."""
    forms = ACQUISITIONS.get(modality)
    if not forms:
        return ""
    return str(rng.choice(forms)).format(
        a=anatomy.capitalize(), kv=rng.choice([70, 80, 100, 120, 140]), ma=rng.integers(20, 400),
        mm=rng.choice(["0.6", "1.0", "2.0", "3.0", "5.0"]), k=rng.choice(["sharp", "smooth", "bone", "standard"]),
        t=rng.choice(["0.5", "1.5", "3"]), tr=rng.integers(400, 6000), te=rng.integers(8, 120),
        mas=rng.integers(1, 90), mkv=rng.integers(25, 33), n=rng.integers(60, 160), mhz=rng.integers(2, 15),
        min=rng.integers(1, 5),
    )  # fmt: skip


_MODALITY_SHARES = np.array([5, 5, 3, 1.5, 2.5, 1.5, 2, 2, 2, 1.5, 1.5]) / 27.5


def _finding(rng: np.random.Generator, kind: str, level: float, modality: str, slices: int) -> Finding:
    words, box = "whole image", None
    if kind in vocab.LOCAL_KINDS and rng.random() < 0.9:
        x, y = rng.integers(0, 240, 2)
        box = (int(x), int(y), int(x) + 40, int(y) + 40)
        words = place_words(box, (0, 0, 280, 280))
    span = None
    if slices > 1:
        first, last = sorted(rng.integers(0, slices, 2).tolist())
        span = (int(first), int(last))
    cause, impact, remedy = vocab.text_for(kind, modality)
    scheme, value, meaning = vocab.KIND[kind].code
    word = vocab.severity_word(level)
    return Finding(
        kind, "mild" if word == "none" else word, level, float(rng.uniform(0.5, 1)), Location(span, box, words),
        _evidence(rng, kind, modality, level), cause, impact, remedy,
        {"scheme": scheme, "value": value, "meaning": meaning},
    )  # fmt: skip


def _evidence(rng: np.random.Generator, kind: str, modality: str, level: float) -> tuple[Measurement, ...]:
    names = sorted(for_kind(kind), key=list(MEASURE).index)
    if not names or rng.random() < 0.2:
        return ()
    row = MEASURE[names[0]]
    big = row.unit in ("HU", "dB", "levels", "degrees")
    value = float(rng.lognormal(3.0 if big else -1.5, 0.8)) * (1 + 0.3 * level)
    return (Measurement(row.name, value, row.unit, row.better, expected_for(row.name, modality), row.source),)


def _score(rng: np.random.Generator, severities: list[float]) -> float:
    worst = max(severities, default=0.0)
    rest = sum(severities) - worst
    base = 3.4 - 0.75 * worst - 0.15 * rest
    return float(np.clip(base + rng.normal(0, 0.35), 0.1, 3.9))


def _attributes(rng: np.random.Generator, found: list[Finding]) -> dict[str, float]:
    out = {}
    for name in vocab.ATTRIBUTES:
        worst = max((f.severity_value for f in found if vocab.KIND[f.kind].attribute == name), default=0.0)
        out[name] = float(np.clip(0.9 - 0.22 * worst + rng.normal(0, 0.12), 0.02, 0.98))
    return out


def _peaked(rng: np.random.Generator, names: tuple[str, ...], value: str) -> np.ndarray:
    out = rng.dirichlet(np.full(len(names), 0.3)) * rng.uniform(0.0, 0.4)
    out[names.index(value)] += 1.0 - out.sum()
    return np.asarray(out)
