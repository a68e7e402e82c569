"""The ways to restore that the evaluation compares: the network as told, the product's loop, and raw data put back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from skimage.restoration import denoise_tv_chambolle

from eval.classical_physics import HU, Frame, even_spectrum, kept_geometry
from eval.classical_restoration import chosen, plane_scale
from eval.lesions import grey
from eval.restoration_cases import Pair
from medq_vlm import projection, restoring
from medq_vlm import restore as network
from medq_vlm.degrade.fourier import to_kspace
from medq_vlm.degrade.mr_lines import sampling_mask
from medq_vlm.projection import Geometry
from medq_vlm.restore import Guidance, Restoration, Restorer
from medq_vlm.restore.consistency import from_kspace, from_projections
from medq_vlm.schema import ImageSample

if TYPE_CHECKING:
    from medq_vlm.pipeline import MedQ


@dataclass(frozen=True)
class Looped:
    """What the product's loop gives back."""

    sample: ImageSample
    unchanged: bool
    flagged: bool  # the guard against invention warned


@dataclass(frozen=True)
class Restorers:
    """restore: as told. loop: assess, then restore, as the product does; None where there is no scorer."""

    name: str
    restore: Callable[[ImageSample, Guidance], Restoration]
    loop: Callable[[ImageSample], Looped] | None = None
    sha256: str = ""


def load(weights: str, medq: MedQ | None = None) -> Restorers:
    """Restorer of "nano" or of a folder with restorer.safetensors; `medq` assesses for the loop.

    Raises ModelError when weights are missing.
    """
    restorer = network.load() if weights == "nano" else network.load(Path(weights))
    loop = None if medq is None else partial(_loop, medq, restorer)
    return Restorers(weights, restorer.restore, loop, str(restorer.meta.get("sha256", "")))


def _loop(medq: MedQ, restorer: Restorer, sample: ImageSample) -> Looped:
    done = restoring.restore(sample, medq.assess_sample(sample), lambda: restorer)
    return Looped(done.restoration.sample, done.restoration.unchanged, bool(done.justification.warnings))


def consistent(pair: Pair, restored: ImageSample) -> ImageSample | None:
    """`restored` brought to agree with what the scanner measured, for the tasks whose simulation knows it; else None.

    MR undersampling: the acquired k-space samples. CT sparse view: the sinogram of the measured views. The classical
    methods that know as much say so in the same words, and lend their total variation, tuned for them, as prior.
    """
    black, span = plane_scale(pair.degraded)
    shown, clean = ((grey(sample).astype(np.float32) - black) / span for sample in (restored, pair.clean))
    if pair.task.kind == "undersampling":
        weight = float(chosen(pair.task.name, "compressed sensing, TV")["weight"])
        mask = sampling_mask(pair.record.params, *clean.shape)
        measured = to_kspace(torch.from_numpy(clean))
        image = from_kspace(torch.from_numpy(shown), measured, mask, partial(_prior, weight=weight, iterations=8))
        change = image.numpy() - shown
    elif pair.task.kind == "sparse_view":
        change = _projections_kept(pair, shown, clean) - shown
    else:
        return None
    pixels = restored.pixels + span * (change[None] if restored.pixels.ndim == 3 else change[None, ..., None])
    return replace(restored, pixels=pixels.astype(np.float32))


def _projections_kept(pair: Pair, shown: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """(H, W) in 1000 HU."""
    record = pair.record.params
    frame = Frame(clean.shape, float(record["field_of_view_mm"]))
    geo = kept_geometry(frame.side, record)
    known = torch.ones(1, geo.views, 1, dtype=torch.bool)
    back = partial(_back, geo=geo, cutoff=float(record["kernel_cutoff"]))
    start, measured = frame.attenuation(shown), projection.project(frame.attenuation(clean), geo)
    weight = float(chosen(pair.task.name, "iterative TV")["weight_hu"]) / HU * frame.per_px
    kept = from_projections(
        start, measured, known, lambda image: projection.project(image, geo), back, partial(_prior, weight=weight)
    )
    return shown + frame.units(kept - start)


def _prior(image: torch.Tensor, weight: float, iterations: int = 50) -> torch.Tensor:
    """Total variation of (H, W) or (1, H, W)."""
    plane = denoise_tv_chambolle(image.squeeze(0).numpy(), weight=weight, max_num_iter=iterations)
    return torch.from_numpy(plane.astype(np.float32)).view_as(image)


def _back(change: torch.Tensor, geo: Geometry, cutoff: float) -> torch.Tensor:
    return projection.back_project(even_spectrum(change, geo), geo, cutoff=cutoff)
