"""The assessment as a short prose description in six slots: identify, global, local, cause, impact, verdict.

A template text: it says only what the structure says. The slots follow MedQ-Bench (Liu et al.,
arXiv 2510.01691).
Wording varies with the content, not with chance: the same assessment always reads the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

from medq_vlm import vocab
from medq_vlm.report.content import capital, clean, place, plane
from medq_vlm.schema import Assessment, Finding, Location

LOCAL_LIMIT = 3  # findings named one by one
ATTRIBUTE_WORDS = {
    "sharpness": ("very poor", "limited", "fair", "good"),
    "contrast": ("very poor", "limited", "fair", "good"),
    "noise": ("very strong", "strong", "moderate", "low"),
    "exposure": ("very poor", "limited", "fair", "good"),
}  # for a value in [0, 0.25), [0.25, 0.5), [0.5, 0.75), [0.75, 1]


def describe(assessment: Assessment, seed: int | None = None) -> str:
    """Four to six sentences that end with "Overall, the quality of this image is good|usable|reject."

    Reads every field but `description`. `seed` chooses among equal wordings (for training texts); by default
    it follows from the content. When the image is not assessable: that and the reason, and no verdict.
    """
    variant = _content_seed(assessment) if seed is None else seed
    if not assessment.assessable or assessment.verdict is None:
        return f"The quality of this image was not assessed. Reason: {_clause(assessment.reason)}."
    found = [finding for finding in assessment.findings if finding.severity != "none"]
    found.sort(key=lambda finding: -finding.severity_value)
    sentences = [_identify(assessment, variant), _global(assessment, variant), _local(found, variant)]
    if found:
        sentences.append(_cause(found, variant))
    sentences.append(_impact(assessment, found, variant))
    sentences.append(f"Overall, the quality of this image is {assessment.verdict}.")
    return " ".join(sentences)


def _content_seed(assessment: Assessment) -> int:
    parts = [assessment.source.get("sha256", ""), assessment.verdict, *(f.kind for f in assessment.findings)]
    return zlib.crc32("/".join(map(str, parts)).encode())


def _pick(variant: int, slot: int, options: Sequence[str]) -> str:
    """One of `options`; each slot turns independently of the others."""
    return options[zlib.crc32(f"{variant}/{slot}".encode()) % len(options)]


def _clause(text: str) -> str:
    return clean(text).rstrip(".")


def _identify(assessment: Assessment, variant: int) -> str:
    assert assessment.modality.value is not None
    name = vocab.MODALITY_NAMES[assessment.modality.value]
    count = int(assessment.source.get("slices", 1))
    what = f"{name} image"
    if count > 1:
        whole = "volume" if plane(assessment) == "slice" else "sequence"
        what = f"{name} {whole} of {count} {plane(assessment)}s"
    article = "an" if name[0] in "aeiouAEIOUX" or name == "MR" else "a"
    anatomy = assessment.anatomy.value
    if anatomy is None:
        return _pick(variant, 1, (f"This is {article} {what}.", f"Shown is {article} {what}."))
    shown = f"a {anatomy}" if anatomy in ("tissue section", "blood smear") else f"the {anatomy}"
    link = "showing" if count > 1 else "of"
    options = (
        f"This is {article} {what} {link} {shown}.",
        f"This {what} shows {shown}.",
        f"Shown is {article} {what} {link} {shown}.",
    )
    return _pick(variant, 1, options)


def _global(assessment: Assessment, variant: int) -> str:
    words = {}
    for name, scale in ATTRIBUTE_WORDS.items():
        if name in assessment.attributes:
            words[name] = scale[min(3, int(4 * assessment.attributes[name]))]
    far = any(one.name == "noise_sd" and one.far for one in assessment.evidence)
    if far and words.get("noise") == "low":
        words["noise"] = "moderate"
    strong = [f"{words[n]} {n}" for n in words if assessment.attributes[n] >= 0.5]
    weak = [f"{words[n]} {n}" for n in words if assessment.attributes[n] < 0.5]
    if not words:
        return f"Globally, the score is {vocab.score_text(assessment.score or 0.0)} of 4 ({_level(assessment)})."
    if strong and weak:
        link = _pick(variant, 2, ("but suffers from", "but is limited by", "yet shows"))
        return f"Globally, the image has {_list(strong)}, {link} {_list(weak)}."
    verb = _pick(variant, 2, ("has", "shows"))
    return f"Globally, the image {verb} {_list(strong or weak)}."


def _local(found: Sequence[Finding], variant: int) -> str:
    if not found:
        options = (
            "Locally, no degradation was found.",
            "Locally, no artefact or other degradation was detected.",
        )
        return _pick(variant, 3, options)
    shown = found[:LOCAL_LIMIT]
    spread = [finding for finding in shown if _everywhere(finding)]
    placed = [finding for finding in shown if not _everywhere(finding)]
    seen = _pick(variant, 3, ("present", "seen", "visible"))
    clauses = []
    if placed:
        clauses.append(f"locally, {_list([_named(finding) for finding in placed])} {_be(placed)} {seen}")
    if spread:
        clauses.append(f"throughout the image, {_list([_named(f) for f in spread])} {_be(spread)} {seen}")
    rest = len(found) - len(shown)
    more = f", besides {rest} further {'finding' if rest == 1 else 'findings'}" if rest else ""
    return capital("; ".join(clauses)) + more + "."


def _everywhere(finding: Finding) -> bool:
    return finding.location.box is None and finding.location.words in ("", "whole image")


def _named(finding: Finding) -> str:
    """E.g. "severe low-dose noise (central, slices 3 to 9)"."""
    location = replace(finding.location, words="") if _everywhere(finding) else finding.location
    where = "" if location == Location() else f" ({place(location)})"
    return f"{finding.severity} {vocab.KIND[finding.kind].plain}{where}"


def _be(findings: Sequence[Finding]) -> str:
    return "is" if len(findings) == 1 and not _plural(findings[0]) else "are"


def _plural(finding: Finding) -> bool:
    plain = vocab.KIND[finding.kind].plain
    return plain.endswith("s") and not plain.endswith("ss")


def _cause(found: Sequence[Finding], variant: int) -> str:
    top = found[0]
    plain = vocab.KIND[top.kind].plain
    options = (
        f"The likely cause of the {plain} is {_clause(top.cause)}.",
        f"The {plain} most likely {'come' if _plural(top) else 'comes'} from {_clause(top.cause)}.",
        f"A usual cause of {plain} is {_clause(top.cause)}.",
    )
    return _pick(variant, 4, options)


def _impact(assessment: Assessment, found: Sequence[Finding], variant: int) -> str:
    if not found:
        return f"The score of {vocab.score_text(assessment.score or 0.0)} of 4 lies nearest to '{_level(assessment)}'."
    impact = _clause(found[0].impact)
    weight = {
        "mild": "To a small extent, ",
        "moderate": "As a result, ",
        "severe": "For interpretation this means that ",
    }
    return f"{weight[found[0].severity]}{impact}."


def _level(assessment: Assessment) -> str:
    assert assessment.score is not None
    return vocab.score_word(assessment.score)


def _list(items: Sequence[str]) -> str:
    if len(items) < 3:
        return " and ".join(items)
    return ", ".join(items[:-1]) + " and " + items[-1]
