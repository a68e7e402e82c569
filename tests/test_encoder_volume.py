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
from medq_vlm.encoder.volume import BESIDE_IN, EVEN, WIDTH_IN, VolumeHead, read, seven_slices, slice_row, thumb
from medq_vlm.phantoms import phantom_volume
from medq_vlm.schema import ImageSample, ModelError
from medq_vlm.slice_scores import SliceScores
from training import train_volume


@pytest.fixture
def head() -> VolumeHead:
    torch.manual_seed(0)
    return VolumeHead(VolumeConfig()).eval()


@pytest.mark.parametrize("slices", [2, 5, 23])
def test_attention_of_any_number_of_slices_sums_to_one(head: VolumeHead, slices: int) -> None:
    rng = np.random.default_rng(slices)
    rows = list(rng.random((slices, WIDTH_IN), np.float32))
    out = read(head, rows, list(rng.random((slices, 64, 64), np.float32)), rng.random((slices, BESIDE_IN)))
    assert out.attention.shape == (slices,)
    assert float(out.attention.sum()) == pytest.approx(1.0, abs=1e-5)
    assert ((out.gap >= 0) & (out.gap <= 1)).all()


def test_a_slice_is_read_with_its_neighbours(head: VolumeHead) -> None:
    rows = [np.zeros(WIDTH_IN, np.float32)] * 9
    still = [np.full((64, 64), 0.5, np.float32)] * 9
    jump = [*still[:4], np.eye(64, dtype=np.float32), *still[5:]]
    beside = np.zeros((9, BESIDE_IN))
    change = (read(head, rows, jump, beside).stands_out - read(head, rows, still, beside).stands_out).abs()
    assert change[3] > 1e-7 and change[5] > 1e-7  # the neighbours of the slice that jumped see it


def test_an_ordinary_slice_counts_at_most_four_times_as_much_as_another(head: VolumeHead) -> None:
    with torch.no_grad():
        head.heads.weight *= 100  # however sure the head is of its attention
        head.heads.bias[1] = -1e4  # and no slice stands out
    rng = np.random.default_rng(0)
    rows, thumbs = list(rng.random((12, WIDTH_IN), np.float32)), list(rng.random((12, 64, 64), np.float32))
    share = read(head, rows, thumbs, np.zeros((12, BESIDE_IN))).attention
    assert float(share.max() / share.min()) <= np.exp(2 * EVEN) + 1e-4


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
    found = stack.look(encoded.sample, encoded.able, medq.checkpoint.volume)
    body = np.array([s.body_share for s in encoded.able])
    assert found.weights == pytest.approx(body / body.sum())


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_tiny_run_writes_a_head_that_the_scorer_loads_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    weights = tmp_path / "nano"
    weights.mkdir()
    for name in (checkpoint.WEIGHTS_FILE, checkpoint.META_FILE, checkpoint.VOLUME_FILE, "restorer.safetensors"):
        source = checkpoint.PRESETS / "nano" / name
        if source.is_file():
            (weights / name).write_bytes(source.read_bytes())
    arguments = (
        ["--out", str(tmp_path / "run"), "--to", str(weights), "--phantoms", "1", "--faults", "1", "--epochs", "1",
         "--most-slices", "8", "--cpu"]
    )  # fmt: skip
    train_volume.main(arguments[:2] + arguments[4:])
    assert (tmp_path / "run" / checkpoint.VOLUME_FILE).is_file()  # kept without --to
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.npz")}
    train_volume.main(arguments)  # goes on from what was read
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.npz")}
    loaded = checkpoint.load(str(weights))
    assert loaded.volume is not None and set(loaded.volume.thresholds) == {"stands_out", "gap", "moved"}
    data = bytearray((weights / checkpoint.VOLUME_FILE).read_bytes())
    data[-1] ^= 1
    (weights / checkpoint.VOLUME_FILE).write_bytes(data)
    with pytest.raises(ModelError, match="corrupt"):
        checkpoint.load(str(weights))


def test_a_displaced_run_of_slices_is_told_in_one_sentence_with_its_length() -> None:
    sample, scored = series(spacing_mm=(None, 0.5, 0.5))
    none, far = np.zeros(0, int), np.array([0, 0, 0, 4.0, 6.0, 0])
    said = stack.warnings(sample, stack.Stack(np.ones(6) / 6, none, np.array([1]), np.array([0, 3, 4]), far), scored)
    assert said == (
        "Slices seem to be missing between slices 2 and 3: the anatomy jumps.",
        "Slice 1 is displaced against its neighbours: the patient may have moved.",
        "Slices 4 to 5 are displaced against their neighbours by about 3.0 mm: the patient may have moved.",
    )


def test_a_gap_that_contradicts_the_file_says_so() -> None:
    sample, scored = series(spacing_mm=(2.0, None, None))
    none = np.zeros(0, int)
    said = stack.warnings(sample, stack.Stack(np.ones(6) / 6, none, np.array([3]), none, np.zeros(6)), scored)
    assert said == (
        "Slices seem to be missing between slices 4 and 5: "
        "the anatomy jumps, although the file gives even slice positions.",
    )


def test_what_the_header_tells_is_not_told_twice() -> None:
    """The same hole: told of where the header is silent, and not where it has said so."""
    whole = phantom_volume("mr", 5, 20, 96, step=0.08)
    holed = replace(whole, pixels=np.delete(whole.pixels, range(8, 13), axis=0))
    told = replace(holed, breaks=(7,))
    steps = [stack.compared(sample, range(sample.slices)).steps for sample in (holed, told)]
    assert steps[0].all() and np.flatnonzero(~steps[1]).tolist() == [7]


def series(**known: object) -> tuple[ImageSample, list[SliceScores]]:
    base = SliceScores(0, 3.0, 0.5, np.ones(21) / 21, 0.1, {}, {}, {}, {}, {}, "mr", True, "", (0, 0, 1, 1), 0.5)
    return replace(ImageSample(np.zeros((6, 8, 8), np.float32)), **known), [replace(base, index=i) for i in range(6)]  # type: ignore[arg-type]
