"""The volume head: laws that hold for any weights, and what its labels say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eval.volume_faults import make, trials
from medq_vlm import checkpoint, stack
from medq_vlm.config import VolumeConfig
from medq_vlm.encoder.volume import WIDTH_IN, VolumeHead, read, seven_slices, slice_row, thumb
from medq_vlm.phantoms import phantom_volume
from medq_vlm.schema import ModelError
from training import train_volume


@pytest.fixture
def head() -> VolumeHead:
    torch.manual_seed(0)
    return VolumeHead(VolumeConfig()).eval()


@pytest.mark.parametrize("slices", [2, 5, 23])
def test_attention_of_any_number_of_slices_sums_to_one(head: VolumeHead, slices: int) -> None:
    rng = np.random.default_rng(slices)
    rows = list(rng.random((slices, WIDTH_IN), np.float32))
    out = read(head, rows, list(rng.random((slices, 64, 64), np.float32)))
    assert out.attention.shape == (slices,)
    assert float(out.attention.sum()) == pytest.approx(1.0, abs=1e-5)
    assert ((out.gap >= 0) & (out.gap <= 1)).all()


def test_a_slice_is_read_with_its_neighbours(head: VolumeHead) -> None:
    rows = [np.zeros(WIDTH_IN, np.float32)] * 9
    still = [np.full((64, 64), 0.5, np.float32)] * 9
    jump = [*still[:4], np.eye(64, dtype=np.float32), *still[5:]]
    change = (read(head, rows, jump).moved - read(head, rows, still).moved).abs()
    assert change[3] > 1e-7 and change[5] > 1e-7  # the neighbours of the slice that jumped see it


def test_the_fixed_rule_takes_the_middle_and_the_end() -> None:
    assert seven_slices(31) == [0, 5, 10, 15, 20, 25, 30]
    assert set(seven_slices(4)) <= set(range(4))


def test_a_row_holds_scores_as_shares() -> None:
    row = slice_row(2.0, (1.0, 3.0), 0.5, {"noise": 4.0})
    assert row[:3].tolist() == [0.5, 0.5, 0.5] and row.max() == 1.0
    assert thumb(np.ones((100, 80, 3), np.float32), 64).shape == (64, 64)


def test_labels_of_a_gap_and_of_one_bad_slice() -> None:
    rng = np.random.default_rng(0)
    clean = phantom_volume("mr", 5, 12, 96)
    content = np.full(12, 1 / 12)
    gap = make("x", clean, content, "gap", rng)
    behind = int(np.flatnonzero(gap.gap)[0])
    assert gap.origin[behind + 1] - gap.origin[behind] > 1
    assert np.array_equal(gap.volume.pixels[behind], clean.pixels[gap.origin[behind]])
    assert gap.label == pytest.approx(4.0)
    bad = make("x", clean, content, "one slice", rng)
    assert len(bad.changed) == 1 and bad.quality[bad.changed[0]] == bad.quality.min()
    assert bad.label < bad.quality.mean()  # the worse slice counts more


def test_the_first_trial_of_a_volume_is_the_clean_one() -> None:
    clean = phantom_volume("pet", 3, 8, 96)
    first = next(trials("x", clean, 3, np.random.default_rng(1)))
    assert first.fault == "none" and np.array_equal(first.volume.pixels, clean.pixels) and first.label == 4.0


def test_few_slices_go_by_body_area_and_the_rule() -> None:
    from medq_vlm.pipeline import MedQ

    medq = MedQ.load()
    encoded = medq.encode(phantom_volume("ct", 2, 3, 96))
    found = stack.look(encoded.able, medq.checkpoint.volume)
    body = np.array([s.body_share for s in encoded.able])
    assert found.weights == pytest.approx(body / body.sum())


def test_a_tiny_run_writes_a_head_that_the_scorer_loads_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    weights = tmp_path / "nano"
    weights.mkdir()
    for name in (checkpoint.WEIGHTS_FILE, checkpoint.META_FILE, checkpoint.VOLUME_FILE, "restorer.safetensors"):
        source = checkpoint.PRESETS / "nano" / name
        if source.is_file():
            (weights / name).write_bytes(source.read_bytes())
    train_volume.main(
        ["--out", str(tmp_path / "run"), "--to", str(weights), "--phantoms", "1", "--faults", "1", "--epochs", "1",
         "--most-slices", "8", "--cpu"]
    )  # fmt: skip
    loaded = checkpoint.load(str(weights))
    assert loaded.volume is not None and set(loaded.volume.thresholds) == {"stands_out", "gap", "moved"}
    data = bytearray((weights / checkpoint.VOLUME_FILE).read_bytes())
    data[-1] ^= 1
    (weights / checkpoint.VOLUME_FILE).write_bytes(data)
    with pytest.raises(ModelError, match="corrupt"):
        checkpoint.load(str(weights))


def test_a_displaced_run_of_slices_is_told_in_one_sentence() -> None:
    from medq_vlm.slice_scores import SliceScores

    base = SliceScores(0, 3.0, (2.5, 3.5), np.ones(21) / 21, 0.1, {}, {}, {}, {}, {}, "mr", True, "", (0, 0, 1, 1), 0.5)
    scored = [replace(base, index=i) for i in range(6)]
    none = np.zeros(0, int)
    said = stack.warnings(stack.Stack(np.ones(6) / 6, none, np.array([1]), np.array([3, 4])), scored)
    assert said == (
        "Slices seem to be missing between slice 2 and the next: the anatomy jumps.",
        "Slices 4 to 5 are displaced against the neighbours: the patient may have moved.",
    )
