"""Two classical measures without a reference, as baselines: one for sharpness, one for noise.

Images are (H, W), 0 black to 1 white.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import correlate, laplace

# The difference of two Laplacians: blind to constants, ramps and, mostly, to edges.
_NOISE_MASK = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])


def sharpness(image: np.ndarray) -> float:
    """Natural logarithm of the variance of the Laplacian; higher is sharper (and, its weakness, noisier).

    Source: Pech-Pacheco et al., ICPR 2000. The logarithm changes no rank and keeps a linear fit meaningful.
    """
    return float(np.log(np.var(laplace(image)) + 1e-12))


def noise_sd(image: np.ndarray) -> float:
    """Standard deviation of additive noise, in the unit of `image`, lower is better.

    Source: Immerkaer, Computer Vision and Image Understanding 64(2), 1996.
    """
    response = np.abs(correlate(np.asarray(image, dtype=np.float64), _NOISE_MASK))[1:-1, 1:-1]
    return float(np.sqrt(np.pi / 2) / 6 * response.mean())
