"""What every training script here needs: schedule, moving average of weights, saved state."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn


def warm_cosine(share: float, warm: float = 0.05) -> float:
    """Learning-rate factor at a share 0 to 1 of the run: linear to 1 during `warm`, cosine to 0.01 at the end."""
    if share < warm:
        return max(0.01, share / warm)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (min(1.0, share) - warm) / (1 - warm)))


class MovingAverage:
    """Exponential moving average of all floating-point entries of a state dict."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.step = 0
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.step += 1
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        for name, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)


def save_state(accelerator: Accelerator, folder: Path, average: MovingAverage, progress: dict) -> None:
    """Model, optimiser, average and progress; the progress file goes last, so that half a state is never used."""
    from safetensors.torch import save_file

    if not accelerator.is_main_process:
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "progress.json").unlink(missing_ok=True)
    accelerator.save_state(str(folder))
    save_file({k: v.contiguous() for k, v in average.state.items()}, str(folder / "average.safetensors"))
    (folder / "progress.json").write_text(json.dumps(progress | {"average_step": average.step}))


def load_state(accelerator: Accelerator, folder: Path, average: MovingAverage) -> dict:
    """Progress of a saved state, {} when there is none."""
    from safetensors.torch import load_file

    if not (folder / "progress.json").exists():
        return {}
    progress = json.loads((folder / "progress.json").read_text())
    accelerator.load_state(str(folder))
    average.state = load_file(str(folder / "average.safetensors"))
    average.step = progress["average_step"]
    return dict(progress)
