"""Clean images under the degradations' intensity contract, for calibration and contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from medq_vlm.degrade.sample import intensity_scale
from medq_vlm.encoder.preprocess import body_box, grey_map
from medq_vlm.schema import ImageSample
from training.sources import Content, by_modality, phantom_content, real_contents

LEAST_PHANTOMS = 2


def clean_images(
    folder: Path | None, modalities: Sequence[str], count: int, side: int
) -> dict[str, list[torch.Tensor]]:
    """Per modality `count` images (1, C, H, W), shorter edge `side`, cut to the body box.

    Real training images of `folder` spread over its subjects where there are any, the rest phantoms.
    """
    pools = by_modality(real_contents(folder, ("train",)) if folder else [])
    return {m: [contract_tensor(c.sample, side) for c in _choose(pools[m], m, count)] for m in modalities}


def _choose(pool: list[Content], modality: str, count: int) -> list[Content]:
    real = min(len(pool), count - min(LEAST_PHANTOMS, count - 1))
    first_of = {c.group: c for c in pool}
    subjects = list(first_of.values()) if len(first_of) >= real else pool
    picked = [subjects[int(i)] for i in np.linspace(0, len(subjects) - 1, real)] if real else []
    return picked + [phantom_content(modality, 9000 + k) for k in range(count - len(picked))]


def contract_tensor(sample: ImageSample, side: int) -> torch.Tensor:
    """The first slice as (1, C, H, W) under the contract, cut to the body box, shorter edge `side` pixels."""
    x0, y0, x1, y1 = body_box(grey_map(sample, 0))[0]
    scale = intensity_scale(sample)
    pixels = (sample.pixels[0, y0:y1, x0:x1].astype(np.float32) - scale.black) / (scale.white - scale.black)
    image = (
        torch.from_numpy(pixels)[None, None] if pixels.ndim == 2 else torch.from_numpy(pixels).permute(2, 0, 1)[None]
    )
    factor = side / min(image.shape[-2:])
    size = [max(32, round(v * factor)) for v in image.shape[-2:]]
    return F.interpolate(image, size=size, mode="bicubic", antialias=True, align_corners=False)
