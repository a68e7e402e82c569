"""The quality prompts: what the text tower reads to become the classifiers of the image tower.

Every fixed text starts with learned context tokens (CoOp, Zhou et al. 2022) and comes in antonym or ordered sets:
pairs per attribute (CLIP-IQA+, Wang et al. 2023), a joint text of severity and kind (LIQE, Zhang et al. 2023).
"""

from __future__ import annotations

from medq_vlm import vocab

_CONTEXT = "<ctx0><ctx1><ctx2><ctx3>"
LEVELS = ("no", "mild", "moderate", "severe", "worst")  # severity 0, 1, 2, 3, 4

_ANTONYMS = {
    "noise": ("a clear smooth image", "a noisy grainy image"),
    "sharpness": ("a sharp image", "a blur low resolution image"),
    "contrast": ("an image of high contrast", "a dull image of low contrast"),
    "artifact": ("an image without artifact", "an image with artifact"),
    "exposure": ("an image of good exposure", "an image of bad exposure"),
    "coverage": ("an image with the anatomy evident", "an image with the anatomy hidden"),
}


def words(name: str) -> str:
    return name.replace("_", " ")


def kind_texts() -> list[str]:
    """K x 5 texts, the five severities of one kind after the other."""
    return [f"{_CONTEXT} an image with {level} {words(kind)}" for kind in vocab.KIND_NAMES for level in LEVELS]


def attribute_texts() -> list[str]:
    """A x 2 texts: the good one, then the bad one."""
    return [f"<ctx4><ctx5> {text}" for name in vocab.ATTRIBUTES for text in _ANTONYMS[name]]


def modality_texts() -> list[str]:
    return [f"<ctx6> a {name} image" for name in vocab.MODALITIES]


def anatomy_texts() -> list[str]:
    return [f"<ctx7> an image of the {name}" for name in vocab.ANATOMIES]


def all_texts() -> list[str]:
    """Every prompt in the order in which `split` cuts the anchors."""
    return kind_texts() + attribute_texts() + modality_texts() + anatomy_texts()


def split_sizes() -> tuple[int, int, int, int]:
    """Numbers of kind, attribute, modality and anatomy texts."""
    return (
        len(vocab.KIND_NAMES) * len(LEVELS), 2 * len(vocab.ATTRIBUTES),
        len(vocab.MODALITIES), len(vocab.ANATOMIES),
    )  # fmt: skip
