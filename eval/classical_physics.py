"""Classical restoration that uses the physics: CT sinograms, k-space, the point spread, the resampling factor.

What a method knows beyond the degraded picture is written in its docstring and in the tables. Planes are float32
(H, W[, 3]) under the intensity contract of medq_vlm/degrade/base.py, except that CT is in 1000 HU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage
from skimage.restoration import denoise_tv_chambolle

from medq_vlm import projection
from medq_vlm.degrade.ct import MU_WATER_PER_MM
from medq_vlm.degrade.fourier import to_image, to_kspace
from medq_vlm.degrade.mr_lines import sampling_mask
from medq_vlm.degrade.optical import aperture
from medq_vlm.projection import Geometry

Params = Mapping[str, Any]
HU = 1000.0  # of one unit of a CT plane
_RESAMPLING = {"box": Image.Resampling.BOX, "bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}


def resampled(plane: np.ndarray, factors: tuple[float, float], down: str, up: str) -> np.ndarray:
    """To the coarse grid of `factors` (y, x) and back; knows the factors. down, up: box, bicubic, lanczos."""
    h, w = plane.shape[:2]
    coarse = (max(4, round(w / factors[1])), max(4, round(h / factors[0])))
    picture = Image.fromarray(plane.astype(np.float32))
    return np.asarray(picture.resize(coarse, _RESAMPLING[down]).resize((w, h), _RESAMPLING[up]))


def richardson_lucy(plane: np.ndarray, radius_px: float, iterations: int) -> np.ndarray:
    """Deconvolution of a blur disk of `radius_px` (Richardson 1972, Lucy 1974); negative values become 0."""
    image = torch.from_numpy(np.ascontiguousarray(np.atleast_3d(plane).transpose(2, 0, 1))).clamp_min(1e-6)
    kernel = aperture(radius_px, False)
    half = kernel.shape[-1] // 2
    pad = min(3 * half, *(n - 1 for n in image.shape[-2:]))
    padded = F.pad(image[None], (pad, pad, pad, pad), mode="reflect")[0]
    shape = padded.shape[-2:]
    point = torch.zeros(shape)
    point[: kernel.shape[0], : kernel.shape[1]] = kernel
    response = torch.fft.rfft2(point.roll((-half, -half), (0, 1))).real  # the disk is symmetric

    def spread(x: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(x) * response, s=shape)

    out = padded.clone()
    for _ in range(iterations):
        out = out * spread(padded / spread(out).clamp_min(1e-6))
    inner = out[:, pad : pad + image.shape[1], pad : pad + image.shape[2]].numpy().transpose(1, 2, 0)
    return inner[..., 0] if plane.ndim == 2 else inner


def compressed_sensing(clean: np.ndarray, record: Params, weight: float, iterations: int = 20) -> np.ndarray:
    """Total variation beside the acquired lines, projected in turn (Lustig et al., MRM 2007; POCS).

    Knows the mask and the acquired k-space (`clean` times the mask, as a scanner would hold it). The image stays
    complex: that this simulation's images are real is not used.
    """
    h, w = clean.shape
    mask = sampling_mask(dict(record), h, w)
    acquired = to_kspace(torch.from_numpy(clean)) * mask
    image = to_image(acquired)
    for _ in range(iterations):
        parts = [_tv(part.numpy(), weight, 8) for part in (image.real, image.imag)]
        smooth = torch.complex(*(torch.from_numpy(part) for part in parts))
        image = to_image(torch.where(mask, acquired, to_kspace(smooth)))
    return image.abs().numpy()


def sparse_view_tv(
    degraded: np.ndarray, clean: np.ndarray, record: Params, weight: float, iterations: int = 6
) -> np.ndarray:
    """Iterated back-projection of what the measured views still miss, with total variation between.

    Knows the sinogram of the measured views (Sidky and Pan, Phys. Med. Biol. 53:4777, 2008, in spirit).
    """
    frame = Frame(clean.shape, float(record["field_of_view_mm"]))
    geo = kept_geometry(frame.side, record)
    measured = projection.project(frame.attenuation(clean), geo)
    out = degraded
    for _ in range(iterations):
        missing = measured - projection.project(frame.attenuation(out), geo)
        step = projection.back_project(even_spectrum(missing, geo), geo, cutoff=float(record["kernel_cutoff"]))
        out = _tv(out + frame.units(step), weight)
    return out


def metal_interpolation(degraded: np.ndarray, record: Params, threshold_hu: float | None, margin_px: int) -> np.ndarray:
    """Linear interpolation over the metal's trace in the sinogram (Kalender et al., Radiology 164:576, 1987).

    The picture is projected again; metal is what lies above `threshold_hu`, or, with None, where the simulation
    put it ("knows the place of the metal").
    """
    metal = degraded * HU > threshold_hu if threshold_hu is not None else metal_place(degraded.shape, record)
    if threshold_hu is not None:
        metal = ndimage.binary_opening(metal)  # thin bone and noise are no metal
    if not metal.any():
        return degraded
    if margin_px:
        metal = ndimage.binary_dilation(metal, iterations=margin_px)
    frame = Frame(degraded.shape, float(record["field_of_view_mm"]))
    geo = projection.geometry(frame.side, projection.VIEWS // 2, torch.device("cpu"))
    line = projection.project(frame.attenuation(degraded), geo)[0].numpy()
    trace = projection.project(frame.padded(metal.astype(np.float32)), geo)[0].numpy() > 0.5
    place = np.arange(line.shape[1])
    filled = line.copy()
    for view, hidden in zip(filled, trace, strict=True):
        if hidden.any() and not hidden.all():
            view[hidden] = np.interp(place[hidden], place[~hidden], view[~hidden])
    change = torch.from_numpy(filled - line)[None]
    out = degraded + frame.units(projection.back_project(change, geo, cutoff=float(record["kernel_cutoff"])))
    return np.maximum(out, -1.024)


def metal_place(shape: tuple[int, ...], record: Params) -> np.ndarray:
    """(H, W) bool: inside the simulated inserts."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    inside = np.zeros(shape, bool)
    for insert in record["inserts"]:
        radius = insert["radius_mm"] * max(shape) / record["field_of_view_mm"]
        long, short = radius * insert["aspect"] ** 0.5, radius / insert["aspect"] ** 0.5
        angle = np.deg2rad(insert["angle_deg"])
        dx, dy = x - insert["x_px"], y - insert["y_px"]
        along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        inside |= (along / long) ** 2 + (across / short) ** 2 <= 1
    return inside


class Frame(projection.Frame):
    """A plane in the projector's square, and its units."""

    def __init__(self, shape: tuple[int, ...], field_of_view_mm: float) -> None:
        super().__init__(shape[0], shape[1])
        self.per_px = MU_WATER_PER_MM * field_of_view_mm / max(self.height, self.width)

    def attenuation(self, plane: np.ndarray) -> torch.Tensor:
        """1000 HU -> attenuation per pixel, (1, side, side)."""
        return self.padded((1 + np.maximum(plane, -1.0)).astype(np.float32) * self.per_px)

    def units(self, image: torch.Tensor) -> np.ndarray:
        """Change of attenuation (1, side, side) -> (H, W) in 1000 HU."""
        return self.cut(image) / self.per_px


def kept_geometry(side: int, record: Params) -> Geometry:
    """The measured views of a sparse scan alone (as medq_vlm/degrade/ct.py drops them), taken as evenly spread."""
    geo = projection.geometry(side, projection.VIEWS, torch.device("cpu"))
    kept = (torch.arange(record["views"]) * geo.views // record["views"] + record["first_view"]) % geo.views

    def pick(table: torch.Tensor) -> torch.Tensor:  # taps (V R) -> taps (kept R)
        return table.reshape(len(table), geo.views, -1)[:, kept].reshape(len(table), -1)

    columns, rows = pick(geo.cell_x), pick(geo.cell_y)
    return replace(
        geo, views=len(kept), cell_x=columns, cell_y=rows, weight_x=pick(geo.weight_x), weight_y=pick(geo.weight_y)
    )


def even_spectrum(sinogram: torch.Tensor, geo: Geometry) -> torch.Tensor:
    """Take back the ramp where the views lie farther apart than the spectrum's detail: steps there would overshoot."""
    radius = torch.arange(geo.frequencies, device=sinogram.device)
    apart = (2 * geo.views / np.pi) / radius.clamp_min(1)  # the grid is two times oversampled
    return torch.fft.irfft(torch.fft.rfft(sinogram) * apart.clamp_max(1.0), n=geo.grid)


def _tv(plane: np.ndarray, weight: float, iterations: int = 50) -> np.ndarray:
    return denoise_tv_chambolle(plane, weight=weight, max_num_iter=iterations).astype(np.float32)
