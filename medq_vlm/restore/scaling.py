"""Native units to the network's range and back: one invertible line per slice, nothing clipped, float32.

CT in HU has a fixed scale, for its numbers mean the same everywhere; eight bits span 0 to 255; everything else goes
by robust percentiles. The network's range is about -2 (black) to 2 (white); what lies outside stays outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medq_vlm.intensity import robust_range
from medq_vlm.schema import ImageSample

HU_CENTRE, HU_SPAN = -300.0, 500.0  # lung -1.1, water 0.6, dense bone 3


@dataclass(frozen=True)
class Scale:
    """network = (native - offset) / span; a negative span turns an inverted image round."""

    offset: float
    span: float

    def to_network(self, native: np.ndarray) -> np.ndarray:
        return ((native - self.offset) / self.span).astype(np.float32)

    def to_native(self, network: np.ndarray) -> np.ndarray:
        return (network * self.span + self.offset).astype(np.float32)


def slice_scale(sample: ImageSample, index: int) -> Scale:
    """The scale of slice `index`; its neighbours are put on the same."""
    if sample.unit == "HU":
        return Scale(HU_CENTRE, HU_SPAN)
    values = sample.pixels[index]
    if sample.valid is not None and sample.valid[index].any():
        values = values[sample.valid[index]]
    low, high = robust_range(values, sample.bits)
    span = (high - low) / 4.0
    return Scale((low + high) / 2.0, -span if sample.inverted else span)
