"""The line between two weights ends in both."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from medq_vlm import checkpoint
from medq_vlm.encoder.scorer import Scorer
from training import mix


def _gate(model: Scorer) -> torch.Tensor:
    return model.state_dict()["to_score.gate.weight"]


def test_the_ends_of_the_line_are_the_two_weights(tmp_path: Path) -> None:
    shipped = checkpoint.load("nano")
    other = checkpoint.load("nano").model
    with torch.no_grad():
        _gate(other).add_(1.0)
    checkpoint.save(tmp_path / "after", other, shipped.view, shipped.calibration, {})
    for share, at in ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0)):
        out = tmp_path / f"mixed{share}"
        mix.main(["nano", str(tmp_path / "after"), "--share", str(share), "--out", str(out)])
        moved = _gate(checkpoint.load(str(out)).model) - _gate(shipped.model)
        assert float(moved.mean()) == pytest.approx(at, abs=2e-3)
