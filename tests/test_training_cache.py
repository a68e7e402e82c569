"""What training keeps on disk belongs to what it was made of, and is never half written."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medq_vlm import checkpoint
from training import fit_head, join_opinion


def tower(weight: float) -> Any:
    model = nn.Module()
    model.clip = nn.Module()
    model.clip.visual = nn.Linear(3, 3)
    nn.init.constant_(model.clip.visual.weight, weight)
    nn.init.zeros_(model.clip.visual.bias)
    return model


def shards(*counts: int) -> Any:
    return SimpleNamespace(
        names=[f"train_{i:05d}" for i in range(len(counts))], shard=np.repeat(np.arange(len(counts)), counts)
    )


def test_kept_features_are_of_this_tower_and_these_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[range] = []

    def extract(model: Any, data: Any, samples: range, most: int | None = None) -> fit_head.Features:
        read.append(samples)
        return fit_head.Features(
            np.zeros((len(samples), 1, 2)), np.zeros((len(samples), 1), bool), np.zeros((len(samples), 2))
        )

    monkeypatch.setattr(fit_head, "extract", extract)
    model = tower(0.1)
    assert len(fit_head.cached(tmp_path, model, shards(4, 4), 8)) == 8 and len(read) == 2
    saved = tower(0.1)
    saved.load_state_dict({name: value.half().float() for name, value in model.state_dict().items()})
    fit_head.cached(tmp_path, saved, shards(4, 4), 8)
    assert len(read) == 2
    fit_head.cached(tmp_path, tower(0.2), shards(4, 4), 8)
    assert len(read) == 4
    fit_head.cached(tmp_path, model, shards(4, 4), 8, most_tiles=2)
    assert len(read) == 6
    assert len(fit_head.cached(tmp_path, model, shards(4, 5), 9)) == 9 and read[-1] == range(4, 9)


def test_an_interrupted_write_leaves_the_weights_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "nano"
    shutil.copytree(checkpoint.preset_folder("nano"), folder)
    loaded = checkpoint.load(str(folder))
    assert loaded.model.second is not None
    with torch.no_grad():
        next(loaded.model.second.parameters()).add_(1.0)

    def interrupted(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(join_opinion, "card", interrupted)
        patched.setattr(join_opinion.checkpoint, "file_sha256", interrupted)
        with pytest.raises(KeyboardInterrupt):
            join_opinion.write(folder, loaded.model, loaded.calibration, {})
    checkpoint.load(str(folder))
