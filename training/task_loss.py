"""What a degradation costs a reader's task: the loss of detectability of faint lesions put into the image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from eval import detectability
from eval.fidelity import view
from medq_vlm.degrade.sample import apply_record, intensity_scale
from medq_vlm.schema import DegradationRecord, ImageSample

LESION_RADIUS_PX = 5.0
CONTRAST_HU, CONTRAST = 20.0, 0.08  # of the inserted lesions, in HU and as a fraction of the range


def task_loss(clean: ImageSample, degraded: ImageSample, record: DegradationRecord) -> float:
    """Loss 0 to 1 of the detectability index of lesions inserted into `clean` before `record` is applied."""
    size = (clean.pixels.shape[1], clean.pixels.shape[2])
    centres = detectability.lesion_grid(size, LESION_RADIUS_PX)
    signal = detectability.lesion_signal(size, centres, LESION_RADIUS_PX)[0, 0].numpy()
    scale = intensity_scale(clean)
    contrast = (CONTRAST_HU if clean.modality == "ct" else CONTRAST) * (scale.white - scale.black)
    lesions = contrast * (signal if clean.pixels.ndim == 3 else signal[..., None])
    top = 255.0 if clean.bits is not None and clean.bits <= 8 else np.inf  # eight bits keep their fixed scale
    marked = replace(clean, pixels=np.minimum(clean.pixels + lesions, top).astype(np.float32))
    degraded_marked = apply_record(marked, record)
    low, width = view(clean.modality or "")

    def shown(sample: ImageSample) -> torch.Tensor:
        grey = sample.pixels[0] if sample.pixels.ndim == 3 else sample.pixels[0].mean(-1)
        contract = (grey - scale.black) / (scale.white - scale.black)
        return torch.from_numpy(np.clip((contract - low) / width, -0.5, 1.5).astype(np.float32))[None, None]

    before, after = (
        float(detectability.detectability(shown(without), shown(marked_one), centres, LESION_RADIUS_PX))
        for without, marked_one in ((clean, marked), (degraded, degraded_marked))
    )
    return 1.0 - min(1.0, after / max(before, 1e-6))
