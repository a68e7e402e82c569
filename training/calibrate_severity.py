"""Make medq_vlm/degrade/severity_table.json: severity 1 to 4 at equal steps of measured loss.

For every kind and modality the kind is applied to clean images at a ladder of strengths, and the loss is the mean of
four numbers from 0 to 1: what SSIM, HaarPSI and VIF in native range say is lost, and how far the detectability of
inserted faint lesions falls. Severity 4 is at the common target loss, or at strength 1 when the kind never gets
there (a local artefact hardly moves a global measure, but its strength 1 is chosen as clearly non-diagnostic);
1, 2 and 3 are at a quarter, a half and three quarters of that loss.

    python -m training.calibrate_severity --data FOLDER_WITH_MANIFEST      # real images
    python -m training.calibrate_severity                                  # procedural phantoms
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from eval import detectability, full_reference
from medq_vlm import degrade, vocab
from training.clean_images import clean_images

Measure = Callable[..., torch.Tensor]  # (reference, image, black, range) -> (B,), higher is better
TABLE = Path(degrade.__file__).parent / "severity_table.json"
STRENGTHS = (0.0, 0.06, 0.14, 0.26, 0.44, 0.7, 1.0)
TARGET_LOSS = 0.6
# Positioning is a finding and no pixel loss, and the measures above see luminance alone: equal steps of the angle and
# of the colour shift instead.
BY_STRENGTH = ("rotation", "colour_cast")
# (black, range, lesion contrast) in HU: the soft-tissue range, where dose and streaks decide first.
CT_VIEWS = ((-200.0, 500.0, 20.0),)
OTHER_VIEWS = ((0.0, 1.0, 0.08),)
LESION_RADIUS_PX = 5.0


def views(modality: str) -> tuple[tuple[float, float, float], ...]:
    """Display ranges the loss is measured in, with the contrast of the inserted lesions, in the image's unit."""
    return CT_VIEWS if modality == "ct" else OTHER_VIEWS


def loss(clean: torch.Tensor, kind: str, modality: str, strength: float, seed: int) -> float:
    """Loss 0 to 1 of one image (1, C, H, W) at `strength`."""
    size = (clean.shape[-2], clean.shape[-1])
    centres = detectability.lesion_grid(size, LESION_RADIUS_PX)
    lesions = views(modality)[0][2] * detectability.lesion_signal(size, centres, LESION_RADIUS_PX)
    record = degrade.draw_strength(kind, modality, strength, seed, size)
    degraded = degrade.apply(clean, record)
    pixel_loss = 1 - np.mean([_fidelity(clean, degraded, modality, low, width) for low, width, _ in views(modality)])
    before = _detectability(clean, clean + lesions, centres, modality)
    after = _detectability(degraded, degrade.apply(clean + lesions, record), centres, modality)
    task_loss = 1 - min(1.0, after / max(before, 1e-6))
    return float(0.75 * pixel_loss + 0.25 * task_loss)


def _fidelity(clean: torch.Tensor, degraded: torch.Tensor, modality: str, low: float, width: float) -> float:
    """Mean of SSIM, HaarPSI and VIF in one display range, 0 to 1."""
    if modality == "ct":  # what a window does not show cannot be missed in it
        clean, degraded = clean.clamp(low, low + width), degraded.clamp(low, low + width)
    kept = [
        float(measure(clean, degraded, low, width).clamp(0, 1))
        for measure in (full_reference.ssim, full_reference.haarpsi, full_reference.vif)
    ]
    return float(np.mean(kept))


def _detectability(without: torch.Tensor, with_lesions: torch.Tensor, centres: torch.Tensor, modality: str) -> float:
    low, width, _ = views(modality)[0]
    shown = [((image.mean(1, keepdim=True) - low) / width).clamp(-0.5, 1.5) for image in (without, with_lesions)]
    return float(detectability.detectability(shown[0], shown[1], centres, LESION_RADIUS_PX))


def ladder(kind: str, modality: str, images: Sequence[torch.Tensor], draws: int) -> list[float]:
    """Mean loss at STRENGTHS, made non-decreasing; image i with draw j keeps its seed along the ladder."""
    pairs = [(image, 1000 * draw + index) for draw in range(draws) for index, image in enumerate(images)]
    means = [
        float(np.mean([loss(image, kind, modality, strength, seed) for image, seed in pairs])) if strength else 0.0
        for strength in STRENGTHS
    ]
    return [float(v) for v in np.maximum.accumulate(means)]


def steps(losses: Sequence[float], target: float = TARGET_LOSS) -> tuple[list[float], list[float]]:
    """Strengths and losses at severity 0 to 4: equal steps of loss up to min(target, the last loss)."""
    top = min(target, losses[-1])
    if top <= 0:
        raise ValueError(f"The losses {list(losses)} never rise: the kind does nothing to these images.")
    # A flat stretch has no inverse: a hair of slope makes the strengths distinct.
    rising = np.asarray(losses) + 1e-6 * np.arange(len(losses))
    wanted = [top * severity / 4 for severity in range(5)]
    strengths = np.interp(wanted, rising, STRENGTHS)
    strengths[0] = 0.0
    return [round(float(v), 4) for v in strengths], [round(v, 4) for v in wanted]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder with manifest.csv; without it: phantoms")
    parser.add_argument("--images", type=int, default=6, help="clean images for each modality")
    parser.add_argument("--draws", type=int, default=2, help="random draws for each image and strength")
    parser.add_argument("--side", type=int, default=288, help="shorter edge in pixels")
    parser.add_argument("--kinds", nargs="*", help="only these; the rest of the table stays")
    parser.add_argument("--modalities", nargs="*", default=list(vocab.MODALITIES))
    parser.add_argument("-o", "--output", type=Path, default=TABLE)
    args = parser.parse_args(argv)
    images = clean_images(args.data, args.modalities, args.images, args.side)
    table = (
        json.loads(args.output.read_text()) if args.output.exists() else {"strength": {}, "loss": {}, "measured": {}}
    )
    for modality in args.modalities:
        for kind in vocab.kinds_for(modality):
            if args.kinds and kind not in args.kinds:
                continue
            if kind in BY_STRENGTH:
                table["strength"].setdefault(kind, {})[modality] = [0.0, 0.25, 0.5, 0.75, 1.0]
                continue
            losses = ladder(kind, modality, images[modality], args.draws)
            strengths, at = steps(losses)
            for name, values in (("strength", strengths), ("loss", at), ("measured", [round(v, 4) for v in losses])):
                table[name].setdefault(kind, {})[modality] = values
            print(f"{modality:15s}{kind:22s}{strengths} loss at 1: {losses[-1]:.3f}", file=sys.stderr, flush=True)
    table["strengths_measured"] = list(STRENGTHS)
    table["made_by"] = "python -m training.calibrate_severity"
    table["images"] = {modality: len(images[modality]) for modality in args.modalities}
    args.output.write_text(json.dumps(table) + "\n")


if __name__ == "__main__":
    main()
