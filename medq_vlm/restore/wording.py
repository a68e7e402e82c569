"""Reads which degradations a text names and how severe it calls them, negations included. Rules, no model.

The network reads the same text itself; these findings go beside it, so that a person's edit leads even where the
network has not learnt a word.
"""

from __future__ import annotations

import re

from medq_vlm import vocab

# Words a person types instead of the plain names. A phrase of several kinds means the one of the image's modality.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "low dose": ("low_dose_noise",),
    "photon starvation": ("low_dose_noise",),
    "streaks": ("sparse_view", "metal"),
    "streaking": ("sparse_view", "metal"),
    "sparse view artefact": ("sparse_view",),
    "sparse views": ("sparse_view",),
    "sparse view": ("sparse_view",),
    "too few views": ("sparse_view",),
    "too few projections": ("sparse_view",),
    "metal": ("metal",),
    "metal artefact": ("metal",),
    "metallic streaks": ("metal",),
    "implant": ("metal",),
    "low snr": ("mr_noise",),
    "low signal to noise": ("mr_noise",),
    "motion": ("mr_motion", "ct_motion", "motion_blur"),
    "movement": ("mr_motion", "ct_motion", "motion_blur"),
    "undersampling": ("undersampling",),
    "undersampled": ("undersampling",),
    "aliasing": ("undersampling",),
    "acceleration": ("undersampling",),
    "ghosts": ("ghosting", "mr_motion"),
    "low resolution": ("low_resolution",),
    "coarse resolution": ("low_resolution",),
    "pixelated": ("low_resolution",),
    "super resolve": ("low_resolution",),
    "super resolution": ("low_resolution",),
    "upscale": ("low_resolution",),
    "increase the resolution": ("low_resolution",),
    "low count": ("low_count_noise",),
    "low counts": ("low_count_noise",),
    "mottle": ("quantum_mottle",),
    "noise": ("noise",),
    "noisy": ("noise",),
    "denoise": ("noise",),
    "denoising": ("noise",),
    "grain": ("noise",),
    "grainy": ("noise",),
    "underexposed": ("underexposure",),
    "under exposed": ("underexposure",),
    "too dark": ("underexposure",),
    "brighten": ("underexposure",),
    "overexposed": ("overexposure",),
    "over exposed": ("overexposure",),
    "too bright": ("overexposure",),
    "darken": ("overexposure",),
    "out of focus": ("defocus",),
    "defocused": ("defocus",),
    "blurred": ("blur",),
    "blurry": ("blur",),
    "unsharp": ("blur",),
    "deblur": ("blur",),
    "sharpen": ("blur",),
    "vignetting": ("uneven_illumination",),
    "uneven light": ("uneven_illumination",),
    "uneven lighting": ("uneven_illumination",),
    "uneven brightness": ("uneven_illumination",),
    "even out the light": ("uneven_illumination",),
    "shading": ("uneven_illumination", "bias_field"),
    "bias field": ("bias_field",),
    "rings": ("ring",),
    "hazy": ("haze",),
}
SEVERITY_WORDS: dict[str, float] = {
    "mild": 1.0, "slight": 1.0, "slightly": 1.0, "faint": 1.0, "minor": 1.0, "weak": 1.0, "light": 1.0,
    "mildly": 1.0, "moderate": 2.0, "moderately": 2.0, "medium": 2.0, "some": 2.0, "severe": 3.3, "severely": 3.3,
    "strong": 3.3, "strongly": 3.3, "heavy": 3.3, "heavily": 3.3, "marked": 3.3, "extreme": 3.8, "massive": 3.8,
}  # fmt: skip
UNSTATED = 2.0  # severity of a kind that is named without a severity word
NEGATIONS = (
    "no", "not", "without", "never", "nothing", "none", "dont", "isnt", "arent", "keep", "leave", "ignore", "except",
    "spare", "free",
)  # fmt: skip
_VERBS = ("remove", "reduce", "treat", "correct", "repair", "fix", "touch", "change")
TURNS = ("but", "only", "just", "however", "yet", *_VERBS)
_ABSENT = ("low", "little", "good", "fair", "least")  # directly before a bare attribute: "low noise" is no finding
# Sentences of a description that speak of attributes, causes and effects, not of findings.
_ASIDES = re.compile(
    r"^(globally|overall|as a result|for (interpretation|reading)|to a small extent|nothing found|no limit|the score"
    r"|the (likely )?cause|a usual cause|an? usual cause)|(most likely|probably) comes? from"
)
_SPELLING = str.maketrans({"-": " ", "/": " ", "'": "", "’": "", "(": " , ", ")": " , "})
_REACH = 4  # words before a name that may qualify it
_AFTER = re.compile(r"^ (?:is|are|looks|look|seems) (?:rather |very |quite )?(\w+)")
_BEHIND = re.compile(r"^ ?, ?(\w+) ?(?:,|$)")  # "noise, severe" and "noise (severe)", not "noise, severe blur"
_DENIED = re.compile(r"^ (?:is|are|was) (?:not|no)\b|^ isnt\b|^ arent\b")
_DEGREE_BEHIND = re.compile(rf":\s*({'|'.join(SEVERITY_WORDS)})\b(?=\s*(?:[,.;!?\n]|$))", re.IGNORECASE)


def _phrases() -> dict[str, tuple[str, ...]]:
    """Every phrase in plain spelling -> kinds; plain names first, several kinds may share one."""
    out: dict[str, tuple[str, ...]] = {}
    for name in vocab.KIND_NAMES:
        for phrase in (vocab.KIND[name].plain, name.replace("_", " ")):
            plain = _plain(phrase)
            out[plain] = tuple(dict.fromkeys((*out.get(plain, ()), name)))
    for phrase, kinds in SYNONYMS.items():
        out.setdefault(_plain(phrase), kinds)
    return out


def _plain(text: str) -> str:
    """Lower case, British artefact, no hyphens."""
    return " ".join(text.lower().translate(_SPELLING).replace("artifact", "artefact").split())


PHRASES = _phrases()
_NAMES = re.compile(r"\b(" + "|".join(sorted(map(re.escape, PHRASES), key=len, reverse=True)) + r")s?\b")


def read_findings(text: str, modality: str | None) -> dict[str, float]:
    """{kind: severity 0 to 4} of what `text` says is there or asks to have removed.

    A kind that is only denied ("no noise", "keep the blur") is not in the result; neither is one that does not occur
    in the modality. A kind named twice has the larger severity.
    """
    found: dict[str, float] = {}
    for sentence in re.split(r"[.;:!?\n]+\s*", _DEGREE_BEHIND.sub(r", \1", text)):
        plain = _plain(sentence)
        if _ASIDES.search(plain):
            continue
        for match in _NAMES.finditer(plain):
            kind = _of_modality(PHRASES[match.group(1)], modality)
            if kind is None or _denied(plain[: match.start()], match.group(1)) or _DENIED.match(plain[match.end() :]):
                continue
            found[kind] = max(found.get(kind, 0.0), _severity(plain, match))
    return found


def _of_modality(kinds: tuple[str, ...], modality: str | None) -> str | None:
    """The first of `kinds` that occurs in the modality; the first at all where that is unknown."""
    if modality is None:
        return kinds[0]
    return next((kind for kind in kinds if modality in vocab.KIND[kind].modalities), None)


def _denied(before: str, name: str) -> bool:
    """Whether the words before a name deny it: the last negation, unless a turn or a new item stands after it."""
    words = re.findall(r"\w+|,", before)
    if words and words[-1] in _ABSENT and name in ("noise", "blur"):
        return True
    for at in range(len(words) - 1, -1, -1):
        word, earlier = words[at], words[max(0, at - 2) : at]
        if word in NEGATIONS:
            return True
        if word in TURNS:  # "do not remove the noise" denies, "not only noise" and "but noise" do not
            return word in _VERBS and any(w in NEGATIONS for w in earlier)
        if word in SEVERITY_WORDS and "," in words[:at]:
            return False
    return False


def _severity(plain: str, match: re.Match[str]) -> float:
    """The severity word beside the name: up to _REACH words before it in its clause, or after a verb of being."""
    before = re.split(r",| and | or ", plain[: match.start()])[-1].split()[-_REACH:]
    for word in reversed(before):
        if word in SEVERITY_WORDS:
            return SEVERITY_WORDS[word]
    after = _AFTER.match(plain[match.end() :]) or _BEHIND.match(plain[match.end() :])
    return SEVERITY_WORDS.get(after.group(1), UNSTATED) if after else UNSTATED
