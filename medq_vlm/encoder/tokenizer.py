"""A word tokenizer with byte fallback: the stock 49,408-word CLIP table would outweigh a nano model.

Ids are stable because they depend on the closed word lists alone; a checkpoint stores `VOCAB_SIZE` and is refused
when it differs.
"""

from __future__ import annotations

import re

import torch

from medq_vlm import vocab

CONTEXT_LENGTH = 40
PAD, START = 0, 1
_BYTES = 2  # ids 2 to 257: one per byte
LEARNED_CONTEXTS = 8  # ids of learned context tokens (CoOp), written as <ctx0> ... in a prompt
_WORDS_EXTRA = (
    "a", "an", "and", "at", "axial", "bad", "clear", "contrast", "coronal", "dose", "dull", "evident", "excellent",
    "fair", "field", "flip", "good", "grainy", "hidden", "high", "image", "is", "kernel", "kvp", "low", "mas",
    "mild", "mm", "moderate", "mr", "ms", "no", "noisy", "none", "of", "on", "per", "plain", "poor", "portable",
    "quality", "sagittal", "sharp", "severe", "slices", "smooth", "t1", "t2", "te", "the", "thick", "thin", "ti",
    "tr", "tube", "unclear", "weighted", "with", "without", "worst",
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
