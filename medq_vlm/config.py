"""Frozen configuration, one dataclass per part; it travels in a checkpoint's meta.json."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class ViewConfig:
    """How an image becomes the tower's input."""

    canonical_px: int = 448  # the body box is resampled to an area of canonical_px squared
    tile_px: int = 128  # side of a tile cut from the canonical plane
    stride_px: int = 112  # distance of neighbouring tiles
    global_px: int = 96  # side of the downsized square view of the whole plane


@dataclass(frozen=True)
class ScorerConfig:
    """Sizes of the scorer; the CLIP towers have a configuration of their own."""

    clip: str = "nano"  # towers: encoder/<name>.json, or local-dir:FOLDER or hf-hub:ORG/NAME in open_clip's format
    width: int = 192  # token width of the fusion head
    queries: int = 8  # learned queries over tile, global, statistics and context tokens
    heads: int = 4  # attention heads
    experts: int = 4  # small networks whose gated mean is the score; 1 is a linear layer
    dropout: float = 0.1  # on tokens and query outputs while training
    statistics: int = 0  # length of the statistics vector; 0 switches it off
    use_tower: bool = True  # False: statistics alone, the baseline to beat
    second_opinions: int = 0  # small networks that score from the statistics alone and count as one; 0: none
    tower_opinion: bool = False  # a second image tower and head for score and kinds, which count as one more
    implied_opinion: bool = False  # what the kinds leave of the quality counts as one more, beside the tower opinion
    pointer: bool = False  # a layer of its own tells where a local kind lies; False: the scores of windows do
    gate: bool = False  # a layer of its own tells medical images from others; False: one on the head's features does


@dataclass(frozen=True)
class RestorerConfig:
    """Sizes of the restoration network."""

    widths: tuple[int, ...] = (32, 48, 96, 128)  # channels at 1/2, 1/4, 1/8, 1/16 of the image
    blocks: tuple[int, ...] = (1, 1, 1, 2)  # residual blocks per level on the way down; the last is the middle
    up_blocks: tuple[int, ...] = (2, 1, 1)  # on the way up, from the finest level to the coarsest
    word_width: int = 64  # of a word, and of what a text is pooled into
    lead_width: int = 128  # of the vector that modulates every block
    context_width: int = 48  # of the small view of the whole image
    light_width: int = 32  # of the part that sets exposure and illumination right


@dataclass(frozen=True)
class VolumeConfig:
    """Sizes of the volume head."""

    channels: int = 8  # of the first convolution; later ones have two and four times as many
    width: int = 64  # of the convolutions along the slices
    thumb_px: int = 64  # side of the slice it is shown


def from_dict(cls: type[T], values: dict[str, Any]) -> T:
    """Build a config; an unknown key is an error, so that a typing slip cannot pass silently."""
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    unknown = set(values) - known
    if unknown:
        raise ValueError(f"Unknown {cls.__name__} key(s): {', '.join(sorted(unknown))}.")
    return cls(**values)
