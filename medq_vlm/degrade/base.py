"""Draw, apply, record: the shape every degradation has.

Intensity contract: CT images are HU; every other modality is linear intensity with 0 = black and 1 = the robust
maximum (values above 1 are allowed). Images are float32 tensors (B, C, H, W), C = 1 or 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

Params = dict[str, Any]
Draw = Callable[[float, str, torch.Generator, tuple[int, int]], Params]
Apply = Callable[[torch.Tensor, Params, str, torch.Generator], torch.Tensor]


@dataclass(frozen=True)
class Degradation:
    """One kind.

    draw(strength, modality, generator, (H, W)) -> params. strength 0 to 1 sets the loss, the generator the nuisance
        (angles, places). Params are JSON-plain, units in their names; a local kind puts "box": [x0, y0, x1, y1].
    apply(image, params, modality, generator) -> image of the same shape. strength 0 gives the image back unchanged.
    """

    kind: str
    draw: Draw
    apply: Apply


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    """One float in [low, high) from `generator` (a CPU generator, so that draws agree between devices)."""
    return low + (high - low) * float(torch.rand((), generator=generator))
