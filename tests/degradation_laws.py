"""Laws that every degradation obeys, and the phantom they are tested on; used by the test_degrade_*.py files."""

from __future__ import annotations

import itertools
import json

import torch

from medq_vlm import degrade, vocab

STRENGTHS = (0.25, 0.5, 0.75, 1.0)


def phantom(height: int, width: int, channels: int, dark_surround: bool = True) -> torch.Tensor:
    """An ellipse with a bright and a dark inclusion and fine texture, (1, C, H, W), 0 to 1."""
    y = torch.linspace(-1, 1, height)[:, None]
    x = torch.linspace(-1, 1, width)[None, :]
    body = ((x / 0.75) ** 2 + (y / 0.85) ** 2 < 1).float()
    image = 0.55 * body
    image = image + 0.35 * (((x - 0.3) / 0.2) ** 2 + ((y - 0.2) / 0.25) ** 2 < 1)
    image = image - 0.3 * (((x + 0.3) / 0.2) ** 2 + ((y - 0.1) / 0.3) ** 2 < 1)
    image = (image + 0.1 * torch.sin(25 * x) * torch.sin(31 * y) * body).clamp_min(0.0)
    if not dark_surround:
        image = 0.8 * image + 0.12
    return image[None, None] * torch.tensor([1.0, 0.75, 0.6])[:channels, None, None]


def phantom_for(modality: str, height: int = 96, width: int = 80) -> torch.Tensor:
    dark = modality in ("mr", "ultrasound", "endoscopy", "fundus")
    return phantom(height, width, 3 if modality in vocab.COLOUR else 1, dark)


def size_of(image: torch.Tensor) -> tuple[int, int]:
    return int(image.shape[-2]), int(image.shape[-1])


def check_identity_at_zero(kind: str, modality: str) -> None:
    image = phantom_for(modality)
    record = degrade.draw_strength(kind, modality, 0.0, 3, size_of(image))
    assert torch.equal(degrade.apply(image, record), image)


def check_replay_and_shape(kind: str, modality: str) -> None:
    """Same record, same pixels; any size from 32 and not square; a batch; params survive JSON."""
    for height, width in ((32, 45), (70, 33)):
        image = phantom_for(modality, height, width).repeat(2, 1, 1, 1)
        for seed in range(4):
            record = degrade.draw_strength(kind, modality, 0.7, seed, (height, width))
            assert json.loads(json.dumps(record.params)) == record.params
            once, again = degrade.apply(image, record), degrade.apply(image, record)
            assert once.shape == image.shape and once.dtype == torch.float32
            assert torch.isfinite(once).all()
            assert torch.equal(once, again)
            assert not torch.equal(once, image)


def mean_losses(kind: str, modality: str, seeds: int = 12) -> list[float]:
    """Mean absolute change at each of STRENGTHS, over seeds."""
    image = phantom_for(modality)
    totals = [0.0] * len(STRENGTHS)
    for seed in range(seeds):
        for k, strength in enumerate(STRENGTHS):
            record = degrade.draw_strength(kind, modality, strength, seed, size_of(image))
            totals[k] += float((degrade.apply(image, record) - image).abs().mean()) / seeds
    return totals


def check_grows(kind: str, modality: str) -> None:
    losses = mean_losses(kind, modality)
    assert losses[0] > 1e-4
    assert all(low < high for low, high in itertools.pairwise(losses)), losses


def check_box_holds_the_change(kind: str, modality: str, share: float = 0.95) -> None:
    image = phantom_for(modality)
    for strength in (0.3, 0.8):
        for seed in range(6):
            record = degrade.draw_strength(kind, modality, strength, seed, size_of(image))
            if record.box is None:
                continue
            x0, y0, x1, y1 = record.box
            assert 0 <= x0 < x1 <= image.shape[-1] and 0 <= y0 < y1 <= image.shape[-2]
            change = (degrade.apply(image, record) - image).square()
            assert float(change[..., y0:y1, x0:x1].sum()) >= share * float(change.sum()), (strength, seed)


def apply_params(kind: str, modality: str, image: torch.Tensor, params: dict, seed: int = 0) -> torch.Tensor:
    """`image` degraded with given physical parameters instead of drawn ones."""
    return degrade.DEGRADATIONS[kind].apply(image, params, modality, torch.Generator().manual_seed(seed))


def drawn_params(kind: str, modality: str, image: torch.Tensor, strength: float = 0.5, **fixed: object) -> dict:
    """Drawn parameters with some of them set to known values."""
    params = dict(degrade.draw_strength(kind, modality, strength, 1, size_of(image)).params)
    unknown = set(fixed) - set(params)
    assert not unknown, f"no such parameters: {unknown}"
    return {**params, **fixed}
