"""The ways to restore that the evaluation compares: the network as told, the product's loop, and raw data put back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from eval.classical_physics import HU, Frame, even_spectrum, kept_geometry, metal_place
from eval.lesions import grey
from eval.restoration_cases import Pair
from medq_vlm import restore as network
from medq_vlm import restoring
from medq_vlm.degrade import projection
from medq_vlm.degrade.fourier import to_kspace
from medq_vlm.degrade.mr_lines import sampling_mask
from medq_vlm.degrade.projection import Geometry
from medq_vlm.restore import Guidance, Restoration, Restorer
from medq_vlm.restore.consistency import keep_kspace, keep_projections
from medq_vlm.schema import ImageSample

if TYPE_CHECKING:
    from medq_vlm.pipeline import MedQ

STEPS = 3  # of keep_projections


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
    """`restored` with what the scanner measured put back, for the tasks whose simulation knows it; else None.

    MR undersampling: the acquired k-space samples. CT sparse view: the sinogram of the measured views. CT metal: the
    rays beside the metal. The classical methods that know as much say so in the same words.
    """
    shown, clean = (grey(sample).astype(np.float32) for sample in (restored, pair.clean))
    if pair.task.kind == "undersampling":
        mask = sampling_mask(pair.record.params, *clean.shape)
        image = keep_kspace(torch.from_numpy(shown), to_kspace(torch.from_numpy(clean)), mask).numpy()
    elif pair.task.kind in ("sparse_view", "metal"):
        image = _projections_kept(pair, shown / HU, clean / HU) * HU
    else:
        return None
    change = image - shown
    pixels = restored.pixels + (change[None] if restored.pixels.ndim == 3 else change[None, ..., None])
    return replace(restored, pixels=pixels.astype(np.float32))


def _projections_kept(pair: Pair, shown: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """(H, W) in 1000 HU."""
    record = pair.record.params
    frame = Frame(clean.shape, float(record["field_of_view_mm"]))
    if pair.task.kind == "sparse_view":
        geo = kept_geometry(frame.side, record)
        known = torch.ones(1, geo.views, 1, dtype=torch.bool)
    else:
        geo = projection.geometry(frame.side, projection.VIEWS // 2, torch.device("cpu"))
        known = projection.project(frame.padded(metal_place(clean.shape, record).astype(np.float32)), geo) < 0.05
    back = partial(_back, geo=geo, cutoff=float(record["kernel_cutoff"]))
    start, measured = frame.attenuation(shown), projection.project(frame.attenuation(clean), geo)
    kept = keep_projections(start, measured, known, lambda image: projection.project(image, geo), back, STEPS)
    return shown + frame.units(kept - start)


def _back(change: torch.Tensor, geo: Geometry, cutoff: float) -> torch.Tensor:
    return projection.back_project(even_spectrum(change, geo), geo, cutoff=cutoff)
