"""Words of the field in a question -> short notes for the language model: what was found of it, what it means.

A small model cannot hold the physics of every artefact; it can read a note. The same notes are used in training.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher, get_close_matches

from medq_vlm import vocab
from medq_vlm.language.line import Line

MOST_NOTES = 2  # per question
NOTED = 3  # findings whose cause, effect and remedy the prompt notes anyway
DEFINING = re.compile(
    r"(?i)\b(what (is|are|does|causes?)|whats|what's|explain|define|mean|means|come from|arise|happens?|occurs?|appear"
    r"|physics|in general|usually|how (does|do)|why (does|do|is|are))\b"
)  # asks what something is, not whether it is there
# ways to say a kind, besides its plain name; a kind is only looked for in its own modalities first
SYNONYMS: dict[str, tuple[str, ...]] = {
    "noise": ("noise", "noisy", "grain", "grainy", "graininess", "snow", "snowy"),
    "blur": ("blur", "blurry", "blurred", "blurring", "unsharp", "unsharpness", "fuzzy", "smoothing", "not sharp"),
    "motion_blur": ("motion blur", "motion", "movement", "moved", "moving", "shaky", "smeared"),
    "low_resolution": ("low resolution", "resolution", "pixelated", "pixellated", "coarse pixels", "downsampled"),
    "low_contrast": ("low contrast", "poor contrast", "flat", "washed"),
    "compression": ("compression", "compressed", "jpeg", "blocky", "blocking", "blockiness", "blocks"),
    "clipping": ("clipping", "clipped", "saturation", "saturated", "cut off values"),
    "dropout": ("missing data", "missing lines", "dropout", "data loss", "gaps", "missing image data", "missing rows"),
    "low_dose_noise": ("low dose noise", "low-dose noise", "low dose", "photon starvation", "dose noise"),
    "sparse_view": ("sparse view", "sparse-view", "too few projections", "few views", "view aliasing", "streaks"),
    "limited_angle": ("limited angle", "limited-angle", "incomplete projections", "missing angle"),
    "metal": ("metal", "metal streaks", "metal artefact", "implant", "implants", "prosthesis", "screws"),
    "ring": ("ring", "rings", "ring artefact", "ring artifact", "circles"),
    "beam_hardening": ("beam hardening", "beam-hardening", "cupping", "dark bands"),
    "ct_motion": ("motion", "movement", "moved", "moving", "breathing", "respiratory motion", "motion artefact",
                  "double contours"),
    "mr_noise": ("snr", "low snr", "signal-to-noise", "signal to noise", "noise", "noisy", "grainy"),
    "mr_motion": ("motion", "movement", "moved", "moving", "motion artefact", "motion artifact"),
    "ghosting": ("ghosting", "ghost", "ghosts"),
    "undersampling": ("undersampling", "undersampled", "acceleration", "under-sampling", "aliasing"),
    "wraparound": ("wraparound", "wrap-around", "wrap around", "wrapping", "foldover", "fold-over", "folding", "folded",
                   "aliasing"),
    "gibbs_ringing": ("gibbs", "gibbs ringing", "ringing", "truncation"),
    "bias_field": ("bias field", "bias", "inhomogeneity", "inhomogeneous", "shading", "uneven signal",
                   "intensity nonuniformity", "uneven signal intensity"),
    "spike": ("spike", "spikes", "herringbone", "stripe pattern", "crisscross"),
    "susceptibility": ("susceptibility", "signal void", "field distortion"),
    "underexposure": ("underexposure", "underexposed", "under-exposed", "under exposed", "too dark"),
    "overexposure": ("overexposure", "overexposed", "over-exposed", "over exposed", "too bright", "washed out"),
    "quantum_mottle": ("quantum mottle", "mottle", "photon noise"),
    "scatter": ("scatter", "scattered", "scatter haze", "veil"),
    "grid_lines": ("grid", "grid lines", "gridlines", "grid cutoff", "moire"),
    "rotation": ("rotation", "rotated", "tilted", "positioning", "turned"),
    "collimation": ("collimation", "collimated", "cut off anatomy", "field too small", "cut off"),
    "speckle": ("speckle", "coarse speckle"),
    "gain": ("gain", "tgc", "wrong gain"),
    "shadow": ("shadow", "shadowing", "shadows", "acoustic shadow"),
    "reverberation": ("reverberation", "reverb", "reverberations", "comet tail"),
    "attenuation": ("attenuation", "depth loss", "loss of signal with depth", "penetration"),
    "low_count_noise": ("low count", "low counts", "low-count", "low-count noise", "counts", "count statistics"),
    "defocus": ("defocus", "out of focus", "focus", "defocused"),
    "uneven_illumination": ("uneven illumination", "illumination", "uneven light", "vignetting", "lighting"),
    "colour_cast": ("colour cast", "color cast", "tint", "white balance", "colour", "color"),
    "haze": ("haze", "hazy", "foggy", "fog", "cloudy"),
    "specular": ("specular", "reflection", "reflections", "glare", "highlights", "specular reflection"),
    "bubble": ("bubble", "bubbles", "air bubble"),
    "dark_spot": ("dark spot", "dark spots", "dust", "spots", "spot"),
    "stain": ("stain", "staining", "stain fault"),
    "fold": ("fold", "folds", "tissue fold", "folding"),
    "occlusion": ("occlusion", "occluded", "covered", "hair", "eyelid", "lashes", "obstructed"),
}  # fmt: skip
TOPICS: dict[str, tuple[tuple[str, ...], str]] = {
    "score": (("score", "scale", "0 to 4", "points", "out of 4"),
              "score: 0 to 4, higher is better; 0 nothing shown, 1 no interpretation, 2 limited, 3 diagnostic, "
              "4 anatomy evident"),
    "interval": (("interval", "uncertain", "uncertainty", "confidence", "how sure", "certain"),
                 "interval: range that holds the true score in about 90 % of cases"),
    "verdict": (("verdict", "reject", "usable", "threshold", "cut-off"),
                f"verdict: {vocab.LIMITS}"),
    "snr": (("snr", "signal-to-noise", "signal to noise"), "SNR: mean signal divided by the spread of the noise"),
    "cnr": (("cnr", "contrast-to-noise"), "CNR: difference of two tissues divided by the noise"),
    "noise sd": (("noise sd", "standard deviation", "sd"), "noise SD: spread of the values in an even region"),
    "kvp": (("kvp", "kv", "tube voltage"), "kVp: tube voltage; higher penetrates more and lowers contrast"),
    "mas": (("mas", "ma", "tube current"), "mAs: tube current times time; doubling it lowers noise by a factor 1.4"),
    "slice thickness": (("slice thickness", "thin slices", "thick slices", "thinner slices", "thicker slices"),
                        "slice thickness: thinner slices show more detail and more noise"),
    "kernel": (("kernel", "reconstruction filter"),
               "kernel: a sharp one shows detail and noise, a smooth one hides both"),
    "averages": (("averages", "nex", "nsa"), "averages: four times as many double the SNR and take four times as long"),
    "hu": (("hu", "hounsfield", "hounsfield units"), "HU: CT number; water 0, air -1000"),
    "k-space": (("k-space", "kspace", "k space"), "k-space: raw MR data; its centre holds contrast, its edge detail"),
    "partial volume": (("partial volume",), "partial volume: one voxel mixes several tissues"),
    "field of view": (("field of view", "fov"), "field of view: the region imaged; smaller pixels need a smaller one"),
    "matrix": (("matrix", "matrix size"), "matrix: number of pixels; a larger one shows finer detail with less signal"),
    "window": (("window", "windowing", "window level"), "window: range of values shown as grey; it changes no data"),
    "dose": (("dose", "radiation"), "dose: more photons mean less noise and more radiation for the patient"),
    "artefact": (("artefact", "artifact", "artefacts", "artifacts"),
                 "artefact: structure in the image that is not in the patient"),
}  # fmt: skip
_FAMILIES = {
    "motion": ("motion_blur", "ct_motion", "mr_motion"),
    "noise": ("noise", "low_dose_noise", "mr_noise", "quantum_mottle", "low_count_noise", "speckle"),
    "blur": ("blur", "motion_blur", "defocus"),
    "streak": ("metal", "sparse_view", "limited_angle", "beam_hardening"),
    "contrast": ("low_contrast", "haze", "scatter"),
    "dark": ("underexposure", "attenuation", "shadow", "uneven_illumination"),
    "bright": ("overexposure", "gain"),
}  # everyday words stand for whichever member was found
EVERYDAY = {
    "motion": ("motion", "movement", "moved", "moving", "move", "breathing"),
    "noise": ("noise", "noisy", "grain", "grainy"),
    "blur": ("blur", "blurry", "blurred", "unsharp", "fuzzy"),
    "streak": ("streak", "streaks", "streaking", "streaky"),
    "contrast": ("contrast",),
    "dark": ("dark", "darker"),
    "bright": ("bright", "brighter", "glare"),
}


def kinds_in(text: str, modality: str, found: Sequence[str] = ()) -> list[str]:
    """Kinds that `text` speaks of, in order of mention; an everyday word stands for the found member of its family."""
    words = _spelled(text, modality)
    own = set(vocab.kinds_for(modality))
    hits: dict[str, tuple[int, int]] = {}  # kind: place of its first mention, minus the length of the wording
    for kind in vocab.KIND_NAMES:
        for form in _forms(kind):
            at = _place(words, form)
            if at is not None:
                hits[kind] = min(hits.get(kind, (at, 0)), (at, -len(form)))
    family = {name for name, forms in EVERYDAY.items() if any(_place(words, form) is not None for form in forms)}
    for name in family:
        members = [kind for kind in found if kind in _FAMILIES[name]]
        at = min(place for form in EVERYDAY[name] if (place := _place(words, form)) is not None)
        if members and not any(kind in hits and len(_FAMILIES[name]) and hits[kind][1] < -9 for kind in members):
            for kind in _FAMILIES[name]:
                if kind in hits and hits[kind][0] == at and kind not in members:
                    del hits[kind]
            for kind in members:
                hits.setdefault(kind, (at, 0))

    # of two kinds at one place the found one, then the modality's, then the longer wording, then the more special kind
    def rank(kind: str) -> tuple[bool, bool, int, int]:
        return kind in found, kind in own, -hits[kind][1], -len(vocab.KIND[kind].modalities)

    named: list[str] = []
    end = -1
    for at, kind in sorted(((at, kind) for kind, (at, _) in hits.items()), key=lambda hit: hit[0]):
        rivals = [other for other, (place, _) in hits.items() if place == at]
        if kind == max(rivals, key=rank) and at >= end:
            named.append(kind)
            end = at + max((len(form.split()) for form in _forms(kind) if _place(words, form) == at), default=1)
    return named


def plain(question: str) -> str:
    """Small words without apostrophes or punctuation, spelled as the table spells them."""
    lower = question.lower().replace("\u2019", "'").replace("'", "")
    lower = lower.replace("artifact", "artefact").replace("color", "colour")
    return " ".join(word.strip(".-") for word in re.findall(r"[\w%./-]+", lower) if word.strip(".-"))


def plain_names(text: str) -> list[tuple[int, str]]:
    """Where `text` has plain names of kinds, in small letters; the longest: "low-dose noise" is not also "noise"."""
    lower = text.lower()
    taken = [False] * len(lower)
    hits = []
    for name in sorted({vocab.KIND[kind].plain.lower() for kind in vocab.KIND_NAMES}, key=len, reverse=True):
        for match in re.finditer(rf"(?<![\w-]){re.escape(name)}(?![\w-])", lower):
            if not any(taken[match.start() : match.end()]):
                taken[match.start() : match.end()] = [True] * len(name)
                hits.append((match.start(), name))
    return sorted(hits)


def same_word(text: str, kinds: Sequence[str], found: Sequence[str]) -> list[str]:
    """`kinds` with the other found ones that an everyday word of `text` stands for: "blurry" is a defocus and a motion.

    A kind called by its own name stands for itself.
    """
    padded = f" {_plainly(text)} "
    out = list(kinds)
    for name, forms in EVERYDAY.items():
        members = [kind for kind in kinds if kind in found and kind in _FAMILIES[name]]
        if not any(f" {form} " in padded for form in forms) or any(
            f" {vocab.KIND[k].plain} " in padded for k in members
        ):
            continue
        out += [kind for kind in found if members and kind in _FAMILIES[name] and kind not in out]
    return out


def topics_in(text: str) -> list[str]:
    """Names of the TOPICS that `text` speaks of."""
    lower = f" {_plainly(text)} "
    return [topic for topic, (forms, _) in TOPICS.items() if any(f" {form} " in lower for form in forms)]


def notes_for(question: str, before: str, line: Line, modality: str) -> list[str]:
    """Notes for a question; `before` is the last exchange, read when the question itself names nothing."""
    found = [item.kind for item in line.items]
    severity = {item.kind: item for item in line.items}
    notes = []
    for kind in kinds_in(question, modality, found)[:MOST_NOTES]:
        plain = vocab.KIND[kind].plain
        if kind in severity:
            notes.append(f"{plain}: found, {severity[kind].severity}")
        else:
            notes.append(f"{plain}: not found")
        if (DEFINING.search(question) and kind not in found[:NOTED]) or kind in found[NOTED:]:
            own = modality in vocab.KIND[kind].modalities
            cause, impact, fix = vocab.text_for(kind, modality if own else vocab.KIND[kind].modalities[0])
            notes[-1] += f". From {cause}; effect: {impact}" + (f"; remedy: {fix}" if kind in found else "")
    if not notes:
        notes += [TOPICS[topic][1] for topic in topics_in(question)]
    if not notes and before:
        earlier = [kind for kind in kinds_in(before, modality, found) if kind in severity]
        if earlier:
            notes.append(f"spoken of: {vocab.KIND[earlier[0]].plain}")
    return notes[:MOST_NOTES]


def _forms(kind: str) -> tuple[str, ...]:
    return (vocab.KIND[kind].plain.lower(), *SYNONYMS[kind])


def _plainly(text: str) -> str:
    lower = text.lower().replace("artifact", "artefact").replace("color", "colour")
    return " ".join(re.findall(r"[a-z0-9%-]+", lower))


def _place(words: list[str], form: str) -> int | None:
    wanted = _plainly(form).split()
    for at in range(len(words) - len(wanted) + 1):
        if words[at : at + len(wanted)] == wanted:
            return at
    return None


LONG_WORDS = sorted(
    {word for kind in vocab.KIND_NAMES for form in (vocab.KIND[kind].plain, *SYNONYMS[kind])
     for word in _plainly(form).split() if len(word) >= 5}
)  # fmt: skip
GOOD_WORDS = (
    "nothing count point points patient found moment string spoke image images missing colours lower slice "
    "field could resolve notice strong counter during shape angle place blood sharpness brightness contrast "
    "exposure pixel pixels things black block being bring position condition sharp level sounds bones brain again "
    "measure measured write while whole death spine spines ankle groin valve valves stair strain statin mental medal "
    "photo photos radio ration spare spice stall shall share showy strip stride strike value streams likes lives "
    "links bonds banks court county proton contract circle comes course noose smell spite titled sports "
)  # that lie near a term
ORDINARY = frozenset(GOOD_WORDS.split())
COMPARED = {"noisier": "noisy", "grainier": "grainy", "blurrier": "blurry", "streakier": "streaky"}
LONG, ALIKE = 9, 0.88  # letters of a long word, and how much of it must be right


def _spelled(text: str, modality: str) -> list[str]:
    """Words of `text` with slips of long terms put right ("nosie", "ghostting")."""
    out = []
    for word in _plainly(text).split():
        word = COMPARED.get(word, word)
        if len(word) >= 5 and word not in LONG_WORDS and word not in ORDINARY:
            close = get_close_matches(word, LONG_WORDS, 5, 0.7)
            word = next((term for term in close if _is_slip(word, term)), word)
        out.append(word)
    return out


def _is_slip(word: str, term: str) -> bool:
    """One letter too many, too few, wrong, or two exchanged, not the first; in a long word somewhat more.

    Less strict, and "measured" is smeared, the right lung bright, a fetal scan metal and a solution a resolution.
    """
    at = next(
        (i for i, (one, other) in enumerate(zip(word, term, strict=False)) if one != other), min(map(len, (word, term)))
    )
    left, right = word[at:], term[at:]
    if at == 0:
        return False
    if len(word) >= LONG and SequenceMatcher(None, word, term).ratio() >= ALIKE:
        return True
    exchanged = left[:2] == right[1::-1] and left[2:] == right[2:] and len(left) > 1
    return exchanged or left[1:] == right[1:] or left[1:] == right or left == right[1:]
