"""What there is to say of an image that was not assessed: by what is asked of it, always with the reason."""

from __future__ import annotations

import re

from medq_vlm import vocab
from medq_vlm.language.terms import plain
from medq_vlm.schema import Assessment

# words of the reason -> what may help
HELPS = {
    "blank": "Check the export and its window, and open a file that holds an image",
    "pixels": "Export it at full size, and open it again",
    "colours": "Name its modality, or open the original rather than a coloured copy",
    "modality": "Name its modality if it is one that is known, or open another image",
    "photograph": "Open the medical image itself",
}
KNOWN = f"Known are {', '.join(vocab.MODALITY_NAMES.values())}."
ASKS = (
    (r"^(?:hello|hi|hey|good (?:morning|evening|afternoon|day)|greetings)\b",
     "Hello. Once an image is assessed, ask about its quality."),
    (r"\b(?:what|how) (?:should|can|could|do|shall|must|to)\b.*\b(?:i|we|do|help|fix|change|now)\b|\bremed\w+"
     r"|\bfix\w*\b|\bwhat (?:now|if)\b|\bexport\w*|\bsolve\b|\bhelp\b", "HELP"),
    (r"\brestor\w*|\brepair\w*|\bsav(?:e|ed)\b", "What was not assessed is not restored either."),
    (r"\bwhy\b|\breason\b|\bhow come\b|\bexplain\b", ""),
    (r"\b(?:score|verdict|grade|rating|good|bad|quality|usable|reject\w*|poor)\b", "There is no score and no verdict."),
    (r"\b(?:sure|certain|confident|wrong|disagree|reliable)\b",
     "If you know it to be a medical image, name its modality and assess it again: what you say goes before what was "
     "recognised."),
    (r"\b(?:modality|anatomy|body part|organ)\b", "MODALITY"),
    (r"\b(?:findings?|artefacts?|problems?|noise|where|see|which|any|(?:is|are) there|sharp|blur\w*|contrast)\b",
     "No degradation was looked for, so none can be named or ruled out."),
)  # fmt: skip


def told(assessment: Assessment, question: str = "") -> str:
    """The answer to any question about an image that was not assessed."""
    reason = f"The quality of this image was not assessed. Reason: {assessment.reason}"
    asked = plain(question)
    said = next((said for pattern, said in ASKS if re.search(pattern, asked)), "")
    if said == "HELP":
        helps = next((text for word, text in HELPS.items() if word in assessment.reason), HELPS["modality"])
        return f"{reason} {helps}. {KNOWN}" if "modality" in helps else f"{reason} {helps}."
    if "name its modality" in said and any(word in assessment.reason for word in ("blank", "pixels")):
        said = ""
    if said == "MODALITY":
        said = _modality(assessment)
    return " ".join(filter(None, (said, reason)))


def _modality(assessment: Assessment) -> str:
    fact = assessment.modality
    if fact.value is None or fact.from_ == "image":
        return "The file does not say its modality."
    how = "the file says so" if fact.from_ == "header" else "you said so"
    return f"It is taken for {vocab.MODALITY_NAMES[fact.value]}: {how}."
