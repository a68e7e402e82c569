"""What a degradation costs a reader's task: the loss of detectability of faint lesions put into the image."""

from __future__ import annotations

import numpy as np
import torch

from eval import detectability
from eval.fidelity import view
from eval.lesions import LESION_RADIUS_PX, grey, with_lesions
from medq_vlm.degrade.sample import apply_record, intensity_scale
from medq_vlm.schema import DegradationRecord, ImageSample


def task_loss(clean: ImageSample, degraded: ImageSample, record: DegradationRecord) -> float:
    """Loss 0 to 1 of the detectability index of lesions inserted into `clean` before `record` is applied."""
    size = (clean.pixels.shape[1], clean.pixels.shape[2])
    centres = detectability.lesion_grid(size, LESION_RADIUS_PX)
    scale = intensity_scale(clean)
    marked = with_lesions(clean, centres)
    degraded_marked = apply_record(marked, record)
    low, width = view(clean.modality or "")

    def shown(sample: ImageSample) -> torch.Tensor:
        contract = (grey(sample) - scale.black) / (scale.white - scale.black)
        return torch.from_numpy(np.clip((contract - low) / width, -0.5, 1.5).astype(np.float32))[None, None]

    before, after = (
        float(detectability.detectability(shown(without), shown(marked_one), centres, LESION_RADIUS_PX))
        for without, marked_one in ((clean, marked), (degraded, degraded_marked))
    )
    return 1.0 - min(1.0, after / max(before, 1e-6))
