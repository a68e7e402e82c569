"""Structure in what was taken away as noise goes back into the image: a lesion is no noise.

A denoiser that minimises the squared error weakens what is faint. Yet noise of zero mean averages out over a few
pixels, and a lesion does not: local means of what was taken away (the "method noise" of Buades et al., SIAM Multiscale
Model. Simul. 4:2, 2005) that stand out of the others are put back, less the threshold (Donoho, 1995).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from medq_vlm.restore.guidance import Guidance

# Noise of zero mean. That of MR and PET is none: in the dark it only brightens.
KINDS = {"ct": ("low_dose_noise",), "xray": ("quantum_mottle", "noise"), "mammography": ("quantum_mottle", "noise")}
SD_PX = 2.5  # of the Gaussian means
# Standard deviations of these means. CT noise is nearly all finer than a lesion: what goes back costs nothing.
THRESHOLDS = {"ct": 0.0, "xray": 1.0, "mammography": 1.0}


def averages_out(guidance: Guidance) -> bool:
    """Whether all that is treated is noise of zero mean."""
    kinds = KINDS.get(guidance.modality or "", ())
    return bool(guidance.treated) and all(kind in kinds for kind in guidance.treated)


def put_back(change: np.ndarray, threshold: float, valid: np.ndarray | None = None) -> np.ndarray:
    """Change (H, W) of a slice by denoising -> the change without the structure in it.

    threshold: in spreads of the means. valid: (H, W), True where there is an image; the spread is that of its inside.
    """
    means = ndimage.gaussian_filter(change, SD_PX)
    inside = means if valid is None or not valid.any() else means[valid]
    spread = 1.4826 * float(np.median(np.abs(inside - np.median(inside))))  # robust SD: structure is rare
    structure = np.sign(means) * np.maximum(np.abs(means) - threshold * spread, 0)
    return np.asarray(change - structure, np.float32)
