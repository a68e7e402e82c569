"""The training way from shards to weights on phantoms, in a minute: it runs, resumes and explains itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medq_vlm import checkpoint, vocab
from medq_vlm.config import ViewConfig
from medq_vlm.phantoms import phantom
from training import join_opinion, leave_out, synthesize, train_opinion, train_quality
from training.data import SIDEWAYS, Shards, _lay
from training.rendering import _calm, as_picture, render_after, render_before
from training.sources import HELD_OUT_SOURCES, split_of


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    before = synthesize.QUADS_PER_SHARD
    synthesize.QUADS_PER_SHARD = 8
    try:
        for split in ("train", "validation"):
            synthesize.main(["--out", str(folder), "--shards", "2", "--split", split])
    finally:
        synthesize.QUADS_PER_SHARD = before
    return folder


def test_a_shard_depends_on_its_number_alone(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesize, "QUADS_PER_SHARD", 8)
    synthesize.main(["--out", str(tmp_path), "--shards", "2", "--first", "1"])
    for name in ("train_00001.planes.npy", "train_00001.wholes.npy"):
        assert np.array_equal(np.load(shards / name), np.load(tmp_path / name))


def test_labels_hold_what_was_done(shards: Path) -> None:
    rows = dict(np.load(shards / "train_00000.npz"))
    assert set(rows["medical"].tolist()) <= {True, False}
    for strengths, losses, modality in zip(rows["strengths"], rows["losses"], rows["modality"], strict=True):
        kinds = [vocab.KIND_NAMES[k] for k in np.flatnonzero(strengths)]
        if modality >= 0:
            assert set(kinds) <= set(vocab.kinds_for(vocab.MODALITIES[modality]))
        assert (losses[strengths == 0] == 0).all() and (losses >= 0).all() and (losses <= 1).all()
    data = Shards(shards, "train", ViewConfig())
    assert (data.labels["quality"][data.labels["medical"] & ~data.labels["strengths"].any(1)] == 4).all()
    assert (data.labels["quality"][~data.labels["medical"]] == 0).all()
    assert np.isfinite(rows["statistics"]).all()


def test_whole_views_are_seen_in_all_eight_ways_and_depth_mostly_upright() -> None:
    whole = np.arange(4).reshape(2, 2, 1)
    upright = {whole.tobytes(), whole[:, ::-1].tobytes()}
    for depth, usual in ((False, (1 - SIDEWAYS) / 2 + SIDEWAYS / 4), (True, 1 - SIDEWAYS * 3 / 4)):
        rng = np.random.default_rng(0)
        seen = [_lay(whole, depth, rng).tobytes() for _ in range(4000)]
        assert len(set(seen)) == 8
        assert np.mean([one in upright for one in seen]) == pytest.approx(usual, abs=0.03)


def test_training_resumes_and_writes_weights_that_load(shards: Path, tmp_path: Path) -> None:
    common = ["--shards", str(shards), "--out", str(tmp_path), "--head-epochs", "1", "--cpu"]
    train_quality.main([*common, "--steps", "1", "--check-every", "1"])
    first = json.loads((tmp_path / "tower" / "progress.json").read_text())
    train_quality.main([*common, "--steps", "2", "--check-every", "1"])
    second = json.loads((tmp_path / "tower" / "progress.json").read_text())
    assert (first["step"], second["step"], second["average_step"]) == (1, 2, 2)
    loaded = checkpoint.load(str(tmp_path / "nano"))
    assert loaded.meta["held_out_sources"] == list(HELD_OUT_SOURCES)
    assert loaded.anchors.shape[0] > 200
    assert "Not a medical device" in (tmp_path / "nano" / "CARD.md").read_text()
    nobody = ["--shards", str(shards), "--features", str(tmp_path), "--base", "nano", "--leave", "nobody"]
    with pytest.raises(ValueError, match="No medical version of nobody"):
        leave_out.main([*nobody, "--out", str(tmp_path / "unfamiliar.npz")])
    score = np.eye(vocab.SCORE_BINS)
    kinds, ct = np.zeros((len(score), len(vocab.KIND_NAMES))), np.zeros(len(score), int)
    leave_out.Unfamiliar(score, np.full(len(score), 3.0), kinds, kinds, ct).save(tmp_path / "unfamiliar.npz")
    further = ["--base", str(tmp_path / "nano"), "--steps", "0", "--unfamiliar", str(tmp_path / "unfamiliar.npz")]
    train_quality.main(["--shards", str(shards), "--out", str(tmp_path / "more"), "--head-epochs", "0", *further])
    record = checkpoint.load(str(tmp_path / "more" / "nano")).meta["training"]
    assert (record["before"]["head_epochs"], record["calibrated_on_left_out"]) == (1, len(score))
    assert "head 1 epochs" in (tmp_path / "more" / "nano" / "CARD.md").read_text()


def test_a_third_opinion_is_trained_and_joins_the_scorer(shards: Path, tmp_path: Path) -> None:
    few = tmp_path / "shards"
    few.mkdir()
    for path in shards.glob("*_00000.*"):
        (few / path.name).symlink_to(path)
    path = few / "train_00000.npz"
    labels = dict(np.load(path))
    path.unlink()  # a link
    labels["source"] = labels["source"].astype("<U9")
    labels["source"][: 2 * synthesize.VERSIONS] = "elsewhere"
    np.savez(path, **labels)
    common = ["--shards", str(few), "--base", "nano"]
    ran = ["--out", str(tmp_path), "--minutes", "0.001", "--batch", "8", "--check-every", "1", "--head-samples", "8"]
    ran += ["--leave", "elsewhere"]
    train_opinion.main([*common, *ran])
    progress = json.loads((tmp_path / "layers" / "progress.json").read_text())
    train_opinion.main([*common, *ran])  # goes on, and there is nothing left to do
    assert json.loads((tmp_path / "layers" / "progress.json").read_text()) == progress
    mean = [*common, "--mean", str(tmp_path), str(tmp_path), "--out", str(tmp_path / "mean"), "--head-samples", "8"]
    train_opinion.main(mean)
    one, two = (load_file(path / train_opinion.WEIGHTS) for path in (tmp_path, tmp_path / "mean"))
    assert all(torch.allclose(one[name].float(), two[name].float()) for name in one if name.startswith("layers."))
    folder = tmp_path / "nano"
    shutil.copytree(checkpoint.preset_folder("nano"), folder)
    before = checkpoint.load(str(folder))
    again = ["--second", "--judgement", str(tmp_path / "features_train")]
    join_opinion.main([*common[:2], "--opinion", str(tmp_path), "--out", str(folder), *again])
    after = checkpoint.load(str(folder))
    left = after.meta["opinion"]["left out"]
    assert left["sources"] == ["elsewhere"] and left["versions"] > 0 and after.model.config.implied_opinion
    assert after.model.third is not None and "third opinion" in (folder / "CARD.md").read_text()
    assert after.calibration.bar(False) == before.calibration.bar(False)
    kept = after.model.state_dict()
    for name, value in before.model.state_dict().items():
        assert name.startswith(join_opinion.PREFIXES) or torch.equal(value, kept[name]), name
    assert not torch.equal(before.model.judge[0].weight, after.model.judge[0].weight)


def test_a_subject_is_on_one_side_of_the_split() -> None:
    assert {split_of(source, "any") for source in HELD_OUT_SOURCES} == {"held-out"}
    sides = [split_of("phantom", f"phantom/ct/{seed}") for seed in range(400)]
    assert sides == [split_of("phantom", f"phantom/ct/{seed}") for seed in range(400)]
    assert 20 < sides.count("validation") < 80


def test_rendering_depends_on_the_generator_alone_and_keeps_the_content() -> None:
    clean = phantom("xray", 8, 200)
    first = render_after(render_before(clean, np.random.default_rng(3)), np.random.default_rng(4))
    again = render_after(render_before(clean, np.random.default_rng(3)), np.random.default_rng(4))
    assert np.array_equal(first.pixels, again.pixels)


def test_a_calm_image_has_less_noise_and_the_same_edges() -> None:
    step = np.where(np.arange(160) < 80, -100.0, 100.0)[None].repeat(160, 0)
    noisy = step + np.random.default_rng(0).normal(0, 20, step.shape)
    calm = _calm(noisy.astype(np.float32), np.random.default_rng(1))
    assert calm[:, 10:70].std() < 0.6 * noisy[:, 10:70].std()
    assert np.abs(np.diff(calm.mean(0))[79] - 200) < 20
    assert np.array_equal(_calm(step.astype(np.float32), np.random.default_rng(1)), step)
    colour = np.repeat(noisy.astype(np.float32)[..., None], 3, -1)  # as a radiograph stored in colour
    np.testing.assert_allclose(_calm(colour, np.random.default_rng(1)), np.stack([calm] * 3, -1), rtol=1e-5)


def test_a_picture_has_eight_bits_and_one_window_per_seed() -> None:
    clean = phantom("ct", 8, 128)
    pictures = [as_picture(clean, seed) for seed in range(12)]
    shown = [p for p in pictures if p.bits == 8 and p.unit == "value"]
    assert 0 < len(shown) < 12
    for picture in shown:
        assert np.array_equal(picture.pixels, np.round(picture.pixels))
        assert picture.pixels.min() >= 0 and picture.pixels.max() <= 255
    assert np.array_equal(as_picture(clean, 2).pixels, as_picture(clean, 2).pixels)
