"""Which native values of an image count as black and white, where no unit says it."""

from __future__ import annotations

import numpy as np

PERCENTILES = (0.5, 99.5)
_SAMPLED = 200_000  # pixels, enough for a percentile


def robust_range(values: np.ndarray, bits: int | None) -> tuple[float, float]:
    """Black and white of native values of any shape, white above black.

    Eight bits span 0 to 255. Otherwise black is zero, or the low percentile where there are negative values, and white
    the high percentile.
    """
    values = values.reshape(-1)
    least, most = float(values.min()), float(values.max())
    if bits is not None and bits <= 8 and least >= 0 and 1 < most <= 255:
        return 0.0, 255.0
    low, high = (float(v) for v in np.percentile(values[:: max(1, values.size // _SAMPLED)], PERCENTILES))
    low = min(0.0, low)
    if high <= low:  # nearly blank: a few bright pixels, or one value
        high = most if most > low else low + 1.0
    return low, high
