"""The pointer: a tiny training, that nothing else changes in the weights, and that the shipped one points."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medq_vlm import checkpoint, vocab
from medq_vlm.degrade.sample import degrade_sample
from medq_vlm.encoder import predict
from medq_vlm.findings import hot_box
from medq_vlm.phantoms import phantom
from medq_vlm.pipeline import MedQ
from training import fit_pointer

CASES = [("dermoscopy", "bubble"), ("endoscopy", "specular"), ("histopathology", "fold"), ("fundus", "dark_spot"),
         ("ultrasound", "shadow"), ("mr", "susceptibility")]  # fmt: skip


def test_what_is_shown_lies_inside_the_recorded_box() -> None:
    clean = phantom("fundus", 4, 160)
    degraded, record = degrade_sample(clean, "dark_spot", 3.0, 2)
    shown = fit_pointer.shown(clean, degraded, record)
    assert record.box is not None
    x0, y0, x1, y1 = record.box
    assert shown[y0:y1, x0:x1].sum() == shown.sum() > 0
    assert not fit_pointer.shown(clean, clean, record).any()


def test_training_writes_the_pointer_and_leaves_every_other_tensor(tmp_path: Path) -> None:
    home = checkpoint.preset_folder("nano")
    folder = shutil.copytree(home, tmp_path / "nano")
    fit_pointer.main(["--images", "3", "--check", "1", "--out", str(folder)])
    before, after = load_file(home / checkpoint.WEIGHTS_FILE), load_file(folder / checkpoint.WEIGHTS_FILE)
    assert set(before) == set(after)
    for name in before:
        if not name.startswith("pointer."):
            assert before[name].dtype == after[name].dtype and before[name].equal(after[name]), name
    loaded = checkpoint.load(str(folder))
    assert loaded.meta["pointer"]["images"] == 3
    assert loaded.model.pointer is not None


@pytest.fixture(scope="module")
def medq() -> MedQ:
    return MedQ.load()


def test_the_shipped_pointer_finds_what_lies_somewhere(medq: MedQ) -> None:
    """Within 12 pixels of the hottest place something changed, in 15 of 18 faults or more."""
    hit = []
    for modality, kind in CASES:
        for number in range(3):
            clean = phantom(modality, 70_000 + number)
            degraded, record = degrade_sample(clean, kind, 3.5, number)
            heat = medq.heat(degraded, medq.score_slice(degraded), kind)
            y, x = np.unravel_index(int(heat.argmax()), heat.shape)
            shown = fit_pointer.shown(clean, degraded, record)
            hit.append(bool(shown[max(0, y - 12) : y + 13, max(0, x - 12) : x + 13].any()))
    assert sum(hit) >= 15, hit


def test_the_box_is_around_all_that_is_hot_but_for_specks() -> None:
    heat = np.zeros((60, 80))
    heat[10:20, 5:15], heat[30:40, 50:70], heat[50:52, 1:3] = 1.0, 0.6, 0.9
    heat[0:5] = 0.2
    assert hot_box(heat) == (5, 10, 70, 40)
    assert hot_box(heat, share=0.7) == (5, 10, 15, 20)
    assert hot_box(np.zeros((4, 4))) is None


def test_a_window_of_two_steps_is_the_mean_of_what_it_covers() -> None:
    fine, coarse = torch.rand(1, 2, 16, 16), torch.rand(1, 3, 4, 4)  # strides 8 and 32 of a tile of 128
    tokens = predict.window_tokens([fine, coarse], 128, 32, 16)
    assert tokens.shape == (1, 7, 7, 2 + 2 + 3)
    assert torch.allclose(tokens[0, 1, 2, :2], fine[0, :, 2:6, 4:8].mean((1, 2)))
    assert torch.allclose(tokens[0, 1, 2, 4:], (coarse[0, :, 0, 1] + coarse[0, :, 1, 1]) / 2)
    assert set(vocab.LOCAL_KINDS) <= set(vocab.KIND_NAMES)
