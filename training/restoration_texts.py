"""Guidance for a training pair: what is named, in which words, and which target follows from it.

Words are the product's own descriptions (template and language model) and the short instructions of a person. What is
named is taken away, what is not named stays: also where an image has two degradations, and where the description is
simply wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from medq_vlm import vocab
from medq_vlm.language.line import EVERYWHERE, Item, Line
from medq_vlm.report.describe import ATTRIBUTE_WORDS, describe
from medq_vlm.restore.guidance import Guidance, from_findings
from medq_vlm.restore.wording import read_findings
from medq_vlm.schema import Assessment, Finding, Location, Recognised
from medq_vlm.treated import LIGHT_KINDS, tasks_for, treats
from training.describe_grammar import expand, hurried, pick
from training.describe_text import description

FAMILY = {
    "low_dose_noise": "noise", "mr_noise": "noise", "low_count_noise": "noise", "quantum_mottle": "noise",
    "blur": "defocus",
}  # fmt: skip  # kinds that a person, and the scorer too, may call by one another's name
BLIND_SHARE, TEXT_SHARE, FINDINGS_SHARE = 0.15, 0.15, 0.15  # the rest has text and findings
WRONG_SHARE, NOTHING_SHARE = 0.12, 0.04  # described: another kind than there is; nothing at all
ONE_OF_TWO_SHARE = 0.5
PERSON_SHARE = 0.35  # texts typed by a person
SEVERITY_ERROR = 0.4  # SD of the severities that the network is told
SPOKEN = {
    "noise": ("noise", "grain", "image noise"),
    "low_dose_noise": ("low-dose noise", "noise", "CT noise", "photon noise"),
    "mr_noise": ("noise", "low signal-to-noise ratio", "MR noise", "low SNR"),
    "low_count_noise": ("low-count noise", "noise"),
    "quantum_mottle": ("quantum mottle", "noise", "mottle"),
    "sparse_view": ("sparse-view streaks", "streaks from few projections", "sparse view artefacts"),
    "metal": ("metal streaks", "metal artefacts", "metal artifact", "streaks of the metal implant"),
    "undersampling": ("undersampling artefacts", "aliasing", "undersampling"),
    "mr_motion": ("motion artefacts", "motion", "motion artefact", "patient movement"),
    "low_resolution": ("low resolution", "coarse resolution"),
    "underexposure": ("underexposure", "too dark exposure"),
    "overexposure": ("overexposure", "too bright exposure"),
    "blur": ("blur", "unsharp image"),
    "defocus": ("defocus", "blur", "out of focus blur"),
    "uneven_illumination": ("uneven illumination", "vignetting", "uneven light"),
}
VERBS = {
    "noise": ("denoise", "denoise <this|the image|please>", "it is noisy"),
    "defocus": ("sharpen", "deblur", "sharpen <this|the image>", "deblur the picture"),
    "low_resolution": ("super-resolve", "increase the resolution", "upscale"),
    "underexposure": ("brighten", "brighten the image", "it is too dark"),
    "overexposure": ("darken", "darken it", "it is too bright"),
    "uneven_illumination": ("even out the light",),
}
SEVERE_WORDS = {
    "mild": "<mild|slight|minor|faint>",
    "moderate": "<moderate|some|medium>",
    "severe": "<severe|strong|heavy|marked>",
}


@dataclass(frozen=True)
class Lesson:
    """Guidance of one example, what its text states, and which target it asks for."""

    guidance: Guidance
    stated: np.ndarray  # (K,) severities that the text states
    target: int  # index into Pair.targets; -1: the degraded image itself


def family(kind: str) -> str:
    return FAMILY.get(kind, kind)


def draw_lesson(record: dict[str, Any], rng: np.random.Generator, light_ready: bool = False) -> Lesson:
    """Guidance for a pair's record.

    `light_ready`: what the light does to a patch is no longer learnt. A fault of light is then named at its severity or
    not at all, and asked away only where the findings name it: a curve drawn by mistake no convolution takes back.
    """
    modality, kinds = str(record["modality"]), list(record["kinds"])
    there = dict(zip(kinds, record["severities"], strict=True))
    boxes = {k: b for k, b in zip(kinds, record["boxes"], strict=True) if b is not None}
    share = rng.random()
    if share < BLIND_SHARE:
        gone = [kind for kind in kinds if not (light_ready and kind in LIGHT_KINDS)]
        return Lesson(_blank(modality if rng.random() < 0.5 else None), _zeros(), target_of(kinds, gone, modality))
    named = draw_named(there, modality, rng, LIGHT_KINDS if light_ready else ())
    told = {k: float(np.clip(s + rng.normal(0, SEVERITY_ERROR), 0.5, 4.0)) for k, s in named.items()}
    exact = {k: s for k, s in named.items() if light_ready and k in LIGHT_KINDS}
    told |= exact
    if rng.random() < PERSON_SHARE and named:
        text = instruction(told, rng)
        findings = read_findings(text, modality)
        if light_ready:
            findings = {k: exact.get(k, s) for k, s in findings.items() if k in exact or k not in LIGHT_KINDS}
    else:
        text = product_text(told, modality, record.get("anatomy"), rng)
        findings = told
    stated = from_findings(read_findings(text, modality), modality).severities
    if share < BLIND_SHARE + TEXT_SHARE:
        findings = {}
    elif share < BLIND_SHARE + TEXT_SHARE + FINDINGS_SHARE:
        text, stated = "", _zeros()
    gone = [k for k in named if k in findings or k not in exact]
    places: dict[str, Sequence[float]] = {
        k: _shaken(b, rng) for k, b in boxes.items() if k in findings and rng.random() < 0.7
    }
    return Lesson(from_findings(findings, modality, text, places), stated, target_of(kinds, gone, modality))


def draw_named(
    there: dict[str, float], modality: str, rng: np.random.Generator, never_wrong: Sequence[str] = ()
) -> dict[str, float]:
    """{kind: severity} that the description names: all, one of two, another one (not in `never_wrong`), or none."""
    chance = rng.random()
    if chance < WRONG_SHARE or (not there and chance < 0.5):
        absent = [k for k in tasks_for(modality) if family(k) not in map(family, there) and k not in never_wrong]
        if absent:
            return {str(rng.choice(absent)): float(rng.uniform(0.8, 4.0))}
    if chance < WRONG_SHARE + NOTHING_SHARE:
        return {}
    named = dict(there)
    if len(there) == 2 and rng.random() < ONE_OF_TWO_SHARE:
        treated = [k for k in there if treats(k, modality)] or list(there)
        kept = str(rng.choice(treated))
        named = {kept: there[kept]}
    return {_called(kind, modality, rng): severity for kind, severity in named.items()}


def _called(kind: str, modality: str, rng: np.random.Generator) -> str:
    """Now and then another kind of the same family that occurs in the modality."""
    others = [k for k in tasks_for(modality) if family(k) == family(kind)]
    return str(rng.choice(others)) if others and rng.random() < 0.2 else kind


def target_of(kinds: Sequence[str], named: Sequence[str], modality: str) -> int:
    """Which target is left when the named and treated kinds are taken away; -1 when nothing is."""
    families = {family(kind) for kind in named if treats(kind, modality)}
    gone = [treats(kind, modality) and family(kind) in families for kind in kinds]
    if not any(gone):
        return -1
    return 0 if all(gone) else 1 if gone[0] else 2


def instruction(named: dict[str, float], rng: np.random.Generator) -> str:
    """What a person types."""
    parts = []
    for kind, severity in named.items():
        own = VERBS.get(family(kind), ())
        if own and rng.random() < 0.25 and len(named) == 1:
            return _typed(pick(rng, own), rng)
        name = str(rng.choice(SPOKEN.get(kind, (vocab.KIND[kind].plain,))))
        word = expand(rng, SEVERE_WORDS[vocab.severity_word(max(severity, 0.6))]) + " " if rng.random() < 0.6 else ""
        parts.append(word + name)
    what = " and ".join(parts)
    absent = [str(k) for k in rng.choice(list(SPOKEN), 2) if family(str(k)) not in map(family, named)]
    denied = ""
    if absent and rng.random() < 0.3:
        other = SPOKEN[absent[0]][0]
        denied = pick(
            rng, (f", no {other}", f", but keep the {other}", f"; do not remove the {other}", f", without {other}")
        )
    text = pick(
        rng,
        (
            f"<please |>remove the {what}", f"<please |>reduce the {what}", f"only <remove|treat|correct> the {what}",
            f"there is {what}", what, f"<fix|repair|treat> {what}", f"the image <has|shows> {what}",
        ),
    )  # fmt: skip
    return _typed(text + denied, rng)


def _typed(text: str, rng: np.random.Generator) -> str:
    if rng.random() < 0.15:
        return hurried(rng, text)
    return text[:1].upper() + text[1:] + "." if rng.random() < 0.4 else text


def product_text(named: dict[str, float], modality: str, anatomy: str | None, rng: np.random.Generator) -> str:
    """The description as the report's template or the language model words it."""
    spread = {name: float(rng.uniform(0.3, 1.0)) for name in vocab.ATTRIBUTES}
    for kind, severity in named.items():
        name = vocab.KIND[kind].attribute
        spread[name] = min(spread[name], float(np.clip(1 - severity / 4 + rng.normal(0, 0.1), 0, 1)))
    worst = max(named.values(), default=0.0)
    score = float(np.clip(4 - worst + rng.normal(0, 0.3), 0, 4))
    order = sorted(named.items(), key=lambda item: -item[1])
    if rng.random() < 0.5:
        items = tuple(
            Item(k, EVERYWHERE, "", vocab.severity_word(max(s, 0.6))) for k, s in order
        )  # fmt: skip
        overall = ", ".join(f"{n} {scale[min(3, int(4 * spread[n]))]}" for n, scale in ATTRIBUTE_WORDS.items())
        image = f"{anatomy} {vocab.MODALITY_NAMES[modality]}" if anatomy else f"{vocab.MODALITY_NAMES[modality]} image"
        line = Line(image, overall, items, score, (score, score), vocab.verdict_word(score))
        return description(rng, line, modality)
    findings = tuple(_finding(kind, severity, modality) for kind, severity in order)
    unknown = Recognised(anatomy, "image", 1.0)
    assessment = Assessment(
        {"slices": 1}, Recognised(modality, "header", 1.0), unknown, "", score, (score, score), (), None,
        vocab.verdict_word(score), True, "", None, spread, findings, (), (), (), "", {}, "",
    )  # fmt: skip
    return describe(assessment, seed=int(rng.integers(1 << 30)))


def _finding(kind: str, severity: float, modality: str) -> Finding:
    why, effect, remedy = vocab.text_for(kind, modality)
    word = vocab.severity_word(max(severity, 0.6))
    return Finding(kind, word, severity, 1.0, Location(None, None, "whole image"), (), why, effect, remedy, {})


def _shaken(box: Sequence[float], rng: np.random.Generator) -> list[float]:
    """A box as the scorer finds it: moved and resized by some per cent of the image."""
    x0, y0, x1, y1 = np.asarray(box) + rng.normal(0, 0.03, 4)
    return [float(v) for v in np.clip([min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)], 0, 1)]


def _blank(modality: str | None) -> Guidance:
    return replace(Guidance(), modality=modality)


def _zeros() -> np.ndarray:
    return np.zeros(len(vocab.KIND_NAMES), np.float32)
