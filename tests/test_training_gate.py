"""The gate's pictures, features and training: a tiny run, and that nothing but the gate changes in the weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from medq_vlm import checkpoint
from medq_vlm.phantoms import not_medical
from training import fit_gate, gate_features, gate_pictures
from training.gate_features import Pictures


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[gate_pictures.Job]:
    """Every modality and every procedural kind once, and one file."""
    monkeypatch.setattr(gate_pictures, "PHANTOMS", 1)
    monkeypatch.setattr(gate_pictures, "DRAWN", 1)
    monkeypatch.setattr(gate_pictures, "FEWER_DRAWN", {})
    Image.fromarray(not_medical("photo_like", 1, 160)).save(tmp_path / "photo.png")
    return gate_pictures.all_jobs([], tmp_path, ("train", "validation"))


def test_jobs_are_numbered_and_make_the_same_pixels_again(few: list[gate_pictures.Job]) -> None:
    assert [job.number for job in few] == list(range(len(few)))
    for job in few[:6]:
        sample = gate_pictures.make(job)
        assert np.array_equal(sample.pixels, gate_pictures.make(job).pixels)
        assert sample.slices == 1 and min(sample.pixels.shape[1:3]) >= 64
        assert (sample.modality is not None) == job.medical


def test_a_foreign_picture_keeps_eight_bits_however_it_is_rendered() -> None:
    pixels = not_medical("bricks", 3, 200).astype(np.float32)
    for seed in range(12):
        out = gate_pictures.rendered(pixels, np.random.default_rng(seed))
        assert out.min() >= 0 and out.max() <= 255 and np.array_equal(out, np.round(out))


def pictures(count: int) -> Pictures:
    """Medical images and others that differ in a part of the features, of two sources each."""
    rng = np.random.default_rng(0)
    medical = np.arange(count) % 2 == 0
    seen = rng.normal(0, 1, (count, 704)).astype(np.float32)
    seen[:, :100] += np.where(medical, 2.0, -2.0)[:, None]
    source = np.where(np.arange(count) % 4 < 2, "one", "two")
    return Pictures(
        tiles=seen, whole=seen, statistics=rng.normal(0, 1, (count, 221)).astype(np.float32),
        fused=np.zeros((count, 192), np.float32), modality=np.where(medical, 0, -1), medical=medical,
        validation=np.arange(count) >= count // 2, score=np.zeros(count), before=np.zeros(count), source=source,
        group=source, version=np.full(count, "plain"),
    )  # fmt: skip


def test_training_writes_the_gate_and_leaves_every_other_tensor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = checkpoint.preset_folder("nano")
    for name in (checkpoint.WEIGHTS_FILE, checkpoint.META_FILE, checkpoint.VOLUME_FILE):
        shutil.copy(home / name, tmp_path / name)
    for name in ("describer.safetensors", "restorer.safetensors"):
        if name in json.loads((home / checkpoint.META_FILE).read_text())["sha256"]:
            shutil.copy(home / name, tmp_path / name)
    monkeypatch.setattr(fit_gate, "load", lambda folder: pictures(64))
    fit_gate.main(["--features", str(tmp_path), "--out", str(tmp_path)])
    before, after = load_file(home / checkpoint.WEIGHTS_FILE), load_file(tmp_path / checkpoint.WEIGHTS_FILE)
    for name in before:
        if not name.startswith("gate."):
            assert before[name].dtype == after[name].dtype and before[name].equal(after[name]), name
    loaded = checkpoint.load(str(tmp_path))
    found = fit_gate.chances(loaded.model.gate, fit_gate.Inputs.of(loaded.model, pictures(64)))
    assert ((found > 0.5) == pictures(64).medical).mean() > 0.95
    figures = loaded.meta["gate"]
    assert figures["left out"]["one"]["refused"].endswith("of 16")


def test_a_claim_lowers_the_bar_and_never_raises_it() -> None:
    found = np.linspace(0, 1, 1001)
    bar, claimed = fit_gate.choose_bars(
        {"a source": (np.arange(1001), found), "all real ct": (np.arange(9), found[:9])}
    )
    assert bar == pytest.approx(fit_gate.REFUSED, abs=2e-3)
    assert claimed == pytest.approx(checkpoint.HEADER_TRUST * bar)
    plain = checkpoint.Calibration(medical_threshold=0.4)
    assert plain.bar(True) == pytest.approx(0.04) and plain.bar(False) == 0.4
    assert replace(plain, claimed_threshold=0.2).bar(True) == 0.2


def test_features_of_a_picture_go_on_where_they_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, few: list[gate_pictures.Job]
) -> None:
    monkeypatch.setattr(gate_features, "BATCH", 2)
    monkeypatch.setattr(gate_features, "all_jobs", lambda *_: few)
    gate_features.main(["--out", str(tmp_path / "gate"), "--most", "4"])
    first = gate_features.load(tmp_path / "gate")
    assert len(first) == 4 and first.tiles.shape == first.whole.shape and np.isfinite(first.statistics).all()
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "gate").iterdir()}
    gate_features.main(["--out", str(tmp_path / "gate"), "--most", "6"])
    assert len(gate_features.load(tmp_path / "gate")) == 6
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
