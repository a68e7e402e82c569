"""A word tokenizer with byte fallback: the stock 49,408-word CLIP table would outweigh a nano model.

Ids are stable because they depend on the closed word lists alone; a checkpoint stores `VOCAB_SIZE` and is refused
when it differs.
"""

from __future__ import annotations

import re

import torch

from medq_vlm import vocab

CONTEXT_LENGTH = 56
PAD, START = 0, 1
_BYTES = 2  # ids 2 to 257: one per byte
LEARNED_CONTEXTS = 8  # ids of learned context tokens (CoOp), written as <ctx0> ... in a prompt
_WORDS_EXTRA = (
    "a", "abdominal", "accelerated", "acquired", "acquisition", "acute", "adult", "agent", "algorithm", "an", "and",
    "angiography", "angle", "archive", "arterial", "assessment", "at", "attenuation", "averaged", "averages", "axial",
    "back", "bad", "bed", "biopsy", "bleeding", "bone", "brain", "breath", "breathing", "bright", "bw",
    "calcification", "calcium", "camera", "cardiac", "cartilage", "catheter", "cell", "check", "child", "chronic",
    "clear", "coarse", "colonoscopy", "compressed", "compression", "confirm", "contrast", "control", "coronal",
    "coronary", "correction", "count", "counting", "counts", "ctdivol", "curved", "cyst", "day", "degrees", "delayed",
    "density", "dental", "detail", "detailed", "detect", "detection", "detector", "device", "diabetic", "diagnosis",
    "diagnostic", "diffusion", "direct", "disc", "distal", "doppler", "dose", "double", "dull", "dwi", "early",
    "echo", "effusion", "elderly", "emergency", "enhanced", "epi", "evaluation", "evident", "exam", "examination",
    "excellent", "exclude", "exposure", "factor", "fair", "fast", "fat", "fdg", "fetal", "field", "film", "filtered",
    "fine", "flair", "flip", "focal", "follow", "followup", "for", "force", "fracture", "free", "frozen", "fse",
    "full", "function", "gadolinium", "gated", "glaucoma", "good", "grading", "grainy", "gre", "grid", "growth",
    "guidance", "haemorrhage", "half", "handheld", "helical", "hemorrhage", "hidden", "high", "hold", "hz", "image",
    "imaging", "index", "infant", "initial", "inversion", "iodine", "is", "iterative", "joint", "kernel", "kidney",
    "know", "kvp", "large", "late", "lesion", "limited", "line", "linear", "liver", "localiser", "localizer", "long",
    "look", "low", "lung", "lymph", "macula", "macular", "magnification", "mammogram", "mas", "mass", "matrix",
    "measure", "measurement", "meniscus", "metastases", "mgy", "mhz", "microcalcifications", "microscope",
    "microscopy", "mild", "minute", "minutes", "mitosis", "mm", "moderate", "monitoring", "motion", "moved",
    "movement", "moving", "mprage", "mr", "ms", "multiple", "narrow", "native", "navigator", "needle", "nex", "no",
    "node", "nodule", "nodules", "noisy", "none", "normal", "nuclei", "nucleus", "number", "obese", "objective",
    "obstetric", "of", "on", "only", "optic", "oral", "orthopaedic", "overview", "pacemaker", "paediatric",
    "parallel", "part", "pediatric", "per", "perfusion", "phase", "phosphor", "photograph", "pitch", "pixel",
    "placement", "plain", "planar", "planning", "plaque", "pneumonia", "pneumothorax", "points", "polyp", "poor",
    "portable", "portal", "position", "preview", "projection", "projections", "prostate", "protocol", "purpose",
    "quality", "quantitative", "quarter", "quick", "radiograph", "radiotherapy", "rapid", "reconstruction", "reduced",
    "reference", "repeat", "research", "retinopathy", "rough", "routine", "s", "sagittal", "scan", "scanner",
    "sclerosis", "scoring", "scout", "screening", "search", "second", "seconds", "section", "sector", "sedated",
    "see", "segmentation", "severe", "sharp", "short", "sinus", "size", "slice", "slices", "small", "smartphone",
    "smear", "smooth", "soft", "sparse", "specialist", "spin", "spiral", "staging", "stain", "standard", "step",
    "stir", "stone", "storage", "stroke", "study", "surgery", "surgical", "survey", "suspected", "swi", "t", "t1",
    "t2", "te", "teaching", "tesla", "texture", "the", "thick", "thickness", "thin", "thorax", "thyroid", "ti",
    "tilt", "time", "tissue", "to", "tr", "tracer", "tractography", "train", "trauma", "tse", "tube", "tumor",
    "tumour", "turbo", "ultra", "unclear", "uncooperative", "undersampled", "up", "use", "value", "venous", "very",
    "vessel", "vessels", "view", "views", "volume", "volumetry", "weighted", "wide", "window", "with", "without",
    "worst", "x", "y", "years", "young",
)  # fmt: skip


def _word_table() -> dict[str, int]:
    words: set[str] = set(_WORDS_EXTRA)
    names = (*vocab.KIND_NAMES, *vocab.MODALITIES, *vocab.ANATOMIES, *vocab.ATTRIBUTES, *vocab.SEVERITIES)
    for name in names:
        words.update(re.split(r"[_ ]", name.lower()))
    first = _BYTES + 256 + LEARNED_CONTEXTS
    return {word: first + i for i, word in enumerate(sorted(words))}


WORDS = _word_table()
END = _BYTES + 256 + LEARNED_CONTEXTS + len(WORDS)  # the highest id: open_clip reads a text at its largest id
VOCAB_SIZE = END + 1
_PIECES = re.compile(r"<ctx(\d)>|[a-z]+\d*|\d|[^\sa-z\d]")


def tokenize(texts: list[str]) -> torch.Tensor:
    """Texts -> int64 (N, CONTEXT_LENGTH): START, words (unknown ones byte by byte), END, PAD; long texts are cut."""
    out = torch.full((len(texts), CONTEXT_LENGTH), PAD, dtype=torch.long)
    for row, text in enumerate(texts):
        ids = [START]
        for match in _PIECES.finditer(text.lower()):
            if match.group(1) is not None and int(match.group(1)) < LEARNED_CONTEXTS:
                ids.append(_BYTES + 256 + int(match.group(1)))
            elif match.group(0) in WORDS:
                ids.append(WORDS[match.group(0)])
            else:
                ids.extend(_BYTES + byte for byte in match.group(0).encode())
        ids = [*ids[: CONTEXT_LENGTH - 1], END]
        out[row, : len(ids)] = torch.tensor(ids)
    return out
