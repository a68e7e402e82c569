"""The structured line: one compact JSON object that the model completes and every later text is conditioned on.

{"image":"chest CT","global":"...","findings":[{"kind":...,"place":...,"evidence":...,"severity":...}],
"score":1.7,"interval":[1.4,2.1],"verdict":"usable"}

The scorer computes scene, global words, score, interval and verdict; measurements and places are quoted. The
language model chooses which kinds stand in the list and how severe each is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from medq_vlm import vocab
from medq_vlm.schema import Assessment, Finding, Measurement

ATTRIBUTE_WORDS = {
    "sharpness": ("very poor", "limited", "fair", "good"),
    "contrast": ("very poor", "limited", "fair", "good"),
    "noise": ("very strong", "strong", "moderate", "low"),
    "exposure": ("very poor", "limited", "fair", "good"),
}  # for a value in [0, 0.25), [0.25, 0.5), [0.5, 0.75), [0.75, 1]
EVERYWHERE = "whole image"


@dataclass(frozen=True)
class Item:
    """One finding of the line."""

    kind: str  # vocab.KIND_NAMES
    place: str
    evidence: str  # "" when nothing was measured for the kind
    severity: str  # mild, moderate or severe

    @property
    def plain(self) -> str:
        return vocab.KIND[self.kind].plain

    def opening(self) -> str:
        """The part that chooses the kind."""
        return f'{{"kind":{_text(self.plain)}'

    def quoted(self) -> str:
        """The part that quotes place and measurement."""
        evidence = f',"evidence":{_text(self.evidence)}' if self.evidence else ""
        return f',"place":{_text(self.place)}{evidence},"severity":"'

    def closing(self) -> str:
        """The part that chooses the severity."""
        return f'{self.severity}"}}'


@dataclass(frozen=True)
class Line:
    """The whole structured result as the language model reads it."""

    image: str  # e.g. "chest CT, 24 slices"
    overall: str  # attribute words
    items: tuple[Item, ...]
    score: float
    interval: tuple[float, float]
    verdict: str

    def head(self) -> str:
        return f'{{"image":{_text(self.image)},"global":{_text(self.overall)},"findings":['

    def tail(self) -> str:
        low, high = self.interval
        return f',"score":{vocab.score_text(self.score)},"interval":[{low:.1f},{high:.1f}],"verdict":"{self.verdict}"}}'

    def parts(self) -> Iterator[tuple[str, bool]]:
        """The text in pieces; True marks a piece that the model chooses."""
        yield self.head(), False
        for number, item in enumerate(self.items):
            yield ("," if number else "") + item.opening(), True
            yield item.quoted(), False
            yield item.closing(), True
        yield "]", True
        yield self.tail(), False

    def text(self) -> str:
        return "".join(part for part, _ in self.parts())


def from_assessment(assessment: Assessment) -> Line:
    """The line as the structured result has it. The assessment must be assessable."""
    assert assessment.score is not None and assessment.score_interval is not None and assessment.verdict is not None
    return Line(
        image=scene(assessment),
        overall=overall(assessment.attributes, assessment.evidence),
        items=tuple(item(finding) for finding in assessment.findings if finding.severity != "none"),
        score=assessment.score,
        interval=assessment.score_interval,
        verdict=assessment.verdict,
    )


def scene(assessment: Assessment) -> str:
    """E.g. "chest CT, 24 slices"."""
    modality = vocab.MODALITY_NAMES[assessment.modality.value or ""]
    name = f"{assessment.anatomy.value} {modality}" if assessment.anatomy.value else f"{modality} image"
    count = int(assessment.source.get("slices", 1))
    return f"{name}, {count} slices" if count > 1 else name


def overall(attributes: dict[str, float], evidence: Sequence[Measurement] = ()) -> str:
    """E.g. "sharpness good, contrast fair, noise strong, exposure good"."""
    words = {name: ATTRIBUTE_WORDS[name][min(3, int(4 * attributes[name]))] for name in ATTRIBUTE_WORDS
             if name in attributes}  # fmt: skip
    far = any(one.name == "noise_sd" and one.far for one in evidence)
    if far and words.get("noise") == "low":
        words["noise"] = "moderate"
    return ", ".join(f"{name} {word}" for name, word in words.items())


def spoken_scene(image: str) -> str:
    """The scene as people say it: a "retina fundus" is a "fundus image of the retina"."""
    return image.replace("retina fundus", "fundus image of the retina").replace("fundus image image", "fundus image")


def item(finding: Finding) -> Item:
    """A finding as the line has it."""
    words = finding.location.words or EVERYWHERE
    if finding.location.slices is not None:
        first, last = finding.location.slices
        span = f"slice {first + 1}" if first == last else f"slices {first + 1} to {last + 1}"
        words = span if words == EVERYWHERE else f"{words}, {span}"
    return Item(finding.kind, words, measured(finding.evidence), finding.severity)


def measured(evidence: Sequence[Measurement]) -> str:
    """The first measurement in words: "noise SD 41.2 HU (expected <= 25)"."""
    if not evidence:
        return ""
    first = evidence[0]
    value = f"{first.value:.0f}" if abs(first.value) >= 100 else f"{first.value:.3g}"
    unit = "" if first.unit in ("", "fraction", "ratio", "range") else f" {first.unit}"
    expected = f" (expected {first.expected})" if first.expected else ""
    return f"{measure_name(first.name)} {value}{unit}{expected}"


def measure_name(name: str) -> str:
    """noise_sd -> noise SD; cnr -> CNR."""
    words = name.split("_")
    return " ".join(word.upper() if word in ("sd", "snr", "cnr") else word for word in words)


def parse(text: str, modality: str) -> Line:
    """The line behind a JSON text. Raises ValueError when it is not a line of this modality."""
    data = json.loads(text)
    kinds = {vocab.KIND[name].plain: name for name in vocab.kinds_for(modality)}
    items = []
    for row in data["findings"]:
        if row["kind"] not in kinds or row["severity"] not in vocab.SEVERITIES[1:]:
            raise ValueError(f"'{row['kind']}', '{row['severity']}' is no finding of {modality}.")
        items.append(Item(kinds[row["kind"]], row["place"], row.get("evidence", ""), row["severity"]))
    low, high = data["interval"]
    return Line(data["image"], data["global"], tuple(items), data["score"], (low, high), data["verdict"])


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
