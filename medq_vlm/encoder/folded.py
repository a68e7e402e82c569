"""The scorer's towers made ready to look and no more: batch norms and activations inside their convolutions, channels
last.

All leave every map as it is but for rounding, and more than halve a tower's time on a CPU: a batch norm or an
activation is one more pass over memory, and depthwise convolutions are made for channels that lie side by side. A
folded tower cannot be trained, and
its state dict is another, so training and checkpoints stay with the unfolded one.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from medq_vlm.encoder.scorer import Scorer

# torch's compiler calls it for the same purpose; a torch without it keeps its activations apart
CLIPS = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


class ClippedConv(nn.Module):
    """A convolution and its ReLU6 in one pass over memory, to the same bits; on the CPU alone."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C', H', W'), 0 to 6."""
        conv = self.conv
        found: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, conv.weight, conv.bias, conv.padding, conv.stride, conv.dilation, conv.groups, "hardtanh", [0.0, 6.0], ""
        )
        return found


def fold(model: Scorer) -> Scorer:
    """The same scorer, its image towers folded in place; the model must be in eval mode, its towers our own."""
    towers: list[Any] = [model.clip.visual.trunk] + ([] if model.third is None else [model.third.layers])
    for tower in towers:
        _fold_norms(tower)
        tower.to(memory_format=torch.channels_last)
    return model


def _fold_norms(module: nn.Module) -> None:
    """Each batch norm that follows a convolution goes into it, with a ReLU6; another activation stays in its place.

    timm names a block's layers in the order in which they run (tests/test_encoder_folded.py compares the maps).
    """
    layers = list(module.named_children())
    for (before, conv), (name, norm) in pairwise(layers):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            folded = fuse_conv_bn_eval(conv, norm)
            clipped = CLIPS and isinstance(norm.act, nn.ReLU6)
            setattr(module, before, ClippedConv(folded) if clipped else folded)
            setattr(module, name, nn.Identity() if clipped else norm.act)
    for _, child in module.named_children():
        _fold_norms(child)
