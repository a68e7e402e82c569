"""Where an optical or ultrasound image shows anything: the exposed field within its black surround."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def lit_area(image: torch.Tensor, floor: float = 0.05) -> torch.Tensor:
    """Soft mask (B, 1, H, W) of the exposed field: 0 on the black surround of a fundus, endoscope or probe.

    The surround is darker than `floor`; the field reaches twice that somewhere in each neighbourhood of 8 %
    of the side, so that small dark spots inside belong to it.
    """
    h, w = image.shape[-2:]
    step = max(1, min(h, w) // 64)
    peak = F.max_pool2d(image.amax(dim=1, keepdim=True), step, ceil_mode=True)
    # Closing; beyond the image it is dark, so that a narrow gap between field and border stays a gap.
    peak = F.max_pool2d(F.pad(peak, (6, 6, 6, 6)), 7, stride=1)
    peak = -F.max_pool2d(-peak, 7, stride=1)
    lit = (peak / floor - 1).clamp(0.0, 1.0)
    lit = F.avg_pool2d(F.pad(lit, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    lit = (2 * lit - 1).clamp_min(0.0)  # the blurred rim lies inside the field
    return F.interpolate(lit, size=(h, w), mode="bilinear", align_corners=False)
