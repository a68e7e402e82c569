"""What a text claims about image quality: kinds with degree or denial, verdicts.

Written apart from the product's guard: the judge must not be the judged. Read sentence by sentence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from medq_vlm import vocab
from medq_vlm.schema import Assessment

SENTENCE = re.compile(r"(?<=[.!?;:])\s+")
DENIAL = re.compile(r"\b(no|not|without|never|nothing|none|neither|free of|absence|absent|isn't|aren't|wasn't)\b")
GENERAL = re.compile(r"\b(comes? from|caused by|means|is when|arises?|effect|hides?|may|can|reduce|against|from)\b")
OVERALL = re.compile(r"^globally\b")  # speaks of attributes, one of which is called noise as a kind is
VERDICT_AT = re.compile(
    r"\b(?:verdict|quality|image|it|overall|scan)\b[^.;]*?\b(good|usable|reject)(?:ed)?\b"
    r"(?! (?:sharpness|contrast|exposure))"
)


@dataclass(frozen=True)
class Claim:
    """One kind in one sentence."""

    kind: str  # plain name
    severity: str  # "" when none is said
    denied: bool
    general: bool  # said of the kind as such and not of this image


def sentences(text: str) -> list[str]:
    return [part for part in SENTENCE.split(text.strip()) if part]


def claims(text: str) -> list[Claim]:
    """Every mention of a kind by its plain name."""
    names = sorted({kind.plain.lower() for kind in vocab.KINDS}, key=len, reverse=True)
    pattern = re.compile(r"(?<![\w-])(" + "|".join(map(re.escape, names)) + r")(?![\w-])")
    out = []
    for sentence in sentences(text.lower()):
        for match in pattern.finditer(sentence):
            before, after = sentence[: match.start()], sentence[match.end() :]
            words = before.split()
            severity = words[-1] if words and words[-1] in vocab.SEVERITIES[1:] else ""
            said = re.match(r" (?:is|are) (mild|moderate|severe)\b", after)
            severity = severity or (said.group(1) if said else "")
            denied = bool(DENIAL.search(before.rsplit(",", 1)[-1])) or bool(
                re.match(r" (?:was|is|are|were) not\b", after)
            )
            level = re.match(r" (?:is|are) (?:very )?(?:low|strong|moderate)\b", after)
            if OVERALL.match(sentence) and match.group(1) in vocab.ATTRIBUTES:
                out.append(Claim(match.group(1), "", denied=False, general=True))
                continue
            general = (bool(GENERAL.search(sentence)) or bool(level)) and not severity
            out.append(Claim(match.group(1), severity, denied, general))
    return out


def wrong_claims(text: str, assessment: Assessment) -> list[str]:
    """Claims that the assessment does not support, in words; empty for a consistent text."""
    found = {vocab.KIND[f.kind].plain.lower(): f.severity for f in assessment.findings}
    out = []
    for claim in claims(text):
        if claim.kind not in found:
            if not claim.denied and not claim.general:
                out.append(f"{claim.kind} is not there")
        elif claim.severity and claim.severity != found[claim.kind] and not claim.denied:
            out.append(f"{claim.kind} is {found[claim.kind]}, not {claim.severity}")
        elif claim.denied and not claim.severity and not claim.general and "else" not in text.lower():
            out.append(f"{claim.kind} is there")
    for match in VERDICT_AT.finditer(text.lower()):
        denied = DENIAL.search(match.group())
        if match.group(1) != assessment.verdict and not denied:
            out.append(f"the verdict is {assessment.verdict}, not {match.group(1)}")
    return out


def named_kinds(text: str) -> dict[str, str]:
    """Plain names that a text says are there, with the degree it gives."""
    return {c.kind: c.severity for c in claims(text) if not c.denied and not (c.general and not c.severity)}
