"""Metal streaks of CT taken out in the projections: what the rays through the metal should have measured.

The picture is projected again, the metal's trace is interpolated over and the change is projected back. A prior of air,
soft tissue and bone flattens the projections before, so that no edge beside the metal is drawn across it (NMAR: Meyer
et al., Medical Physics 37:5482, 2010). Linear in the rays beside the metal, which stay as they were.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from medq_vlm import projection

METAL_HU = 2400.0  # above dense bone
AIR_HU, BONE_HU = -500.0, 350.0  # borders of the prior's tissues
SMOOTH_PX = 1.5  # SD of the mean that classes are told apart in
VIEWS = projection.VIEWS // 2
LEAST_WATER_PX = 4.0  # of a prior's ray, pixels of water; shorter ones cannot be divided by
CUTOFF = 1.25  # of the reconstruction kernel, which the picture does not tell
LOWEST_HU = -1024.0
LARGEST_PX = 1024  # of a side: the projector needs memory of a hundred bytes and more for each pixel


def metal_of(hu: np.ndarray) -> np.ndarray:
    """(H, W) HU -> bool: metal with a margin of a pixel; thin bone and noise are none."""
    return ndimage.binary_dilation(ndimage.binary_opening(hu > METAL_HU))


def take_out_metal(hu: np.ndarray) -> np.ndarray:
    """(H, W) float32 HU -> the same without the metal and its streaks.

    Without metal, or with a side above LARGEST_PX, the same object: nothing is changed.
    """
    if max(hu.shape) > LARGEST_PX:
        return hu
    metal = metal_of(hu)
    if not metal.any():
        return hu
    frame = projection.Frame(*hu.shape)
    geo = projection.geometry(frame.side, VIEWS, torch.device("cpu"))
    line = _project(frame, _water(hu), geo)
    trace = _project(frame, metal.astype(np.float32), geo) > 0.5
    first = hu + _changed(frame, _bridged(line, trace) - line, geo)
    prior = _project(frame, _prior(first), geo)
    there = prior > LEAST_WATER_PX
    flat = np.where(there, line / np.maximum(prior, LEAST_WATER_PX), 0.0)
    filled = np.where(there, _bridged(flat, trace) * prior, _bridged(line, trace))
    out = hu + _changed(frame, np.where(trace, filled, line) - line, geo)
    return np.maximum(out, LOWEST_HU).astype(np.float32)


def _water(hu: np.ndarray) -> np.ndarray:
    """Attenuation as a multiple of water's."""
    return (1 + np.maximum(hu, -1000.0) / 1000).astype(np.float32)


def _prior(hu: np.ndarray) -> np.ndarray:
    """Air, soft tissue and bone of a picture that has lost most of its streaks; bone keeps its values."""
    smooth = ndimage.gaussian_filter(hu, SMOOTH_PX)
    soft = np.where(smooth < AIR_HU, 0.0, 1.0)
    return np.where(smooth > BONE_HU, _water(smooth), soft).astype(np.float32)


def _project(frame: projection.Frame, plane: np.ndarray, geo: projection.Geometry) -> np.ndarray:
    """(H, W) -> (V, D)."""
    return projection.project(frame.padded(plane), geo)[0].numpy()


def _changed(frame: projection.Frame, change: np.ndarray, geo: projection.Geometry) -> np.ndarray:
    """Change of the projections (V, D), multiples of water -> HU (H, W)."""
    rays = torch.from_numpy(change.astype(np.float32))[None]
    return 1000 * frame.cut(projection.back_project(rays, geo, cutoff=CUTOFF))


def _bridged(line: np.ndarray, trace: np.ndarray) -> np.ndarray:
    """Projections (V, D) with the trace interpolated linearly, view by view."""
    place = np.arange(line.shape[1])
    out = line.copy()
    for view, hidden in zip(out, trace, strict=True):
        if hidden.any() and not hidden.all():
            view[hidden] = np.interp(place[hidden], place[~hidden], view[~hidden])
    return out
