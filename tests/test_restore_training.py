"""Training of the restorer on phantoms: pairs, lessons, loss, a run of seconds with resume, shipped weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from medq_vlm import vocab
from medq_vlm.config import RestorerConfig
from medq_vlm.phantoms import phantom
from medq_vlm.restore.bands import from_haar, to_haar
from medq_vlm.restore.network import RestorationNet
from medq_vlm.restore.weights import META_FILE, WEIGHTS_FILE, load, save
from medq_vlm.restore.wording import read_findings
from medq_vlm.schema import ModelError
from medq_vlm.treated import LIGHT_KINDS, tasks_for
from training import export_restorer, restoration_views, train_restorer
from training.restoration_data import CLEAN, STRESS, Pairs, collate, draw_example, task_of, with_levels
from training.restoration_pairs import SPOT_HU, draw_records, load_pair, main, make_pair, pair_paths, spotted
from training.restoration_texts import draw_lesson, family, instruction, product_text, target_of
from training.restoration_views import load_views, toned
from training.sources import phantom_content
from training.train_restorer import restoration_loss

SMALL = RestorerConfig(widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1), up_blocks=(1, 1, 1), lead_width=16, context_width=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs")
    main(["--out", str(path), "--pairs", "6"])
    main(["--out", str(path), "--pairs", "3", "--split", "validation"])
    return path


def test_a_pair_depends_on_its_number_alone(folder: Path, tmp_path: Path) -> None:
    main(["--out", str(tmp_path), "--pairs", "3", "--first", "2"])
    one, other = load_pair(folder / "train_00002.npz"), load_pair(tmp_path / "train_00002.npz")
    assert np.array_equal(one.planes, other.planes)
    assert one.record == other.record
    assert len(pair_paths(folder, "train")) == 6


def test_a_network_for_one_task_sees_its_pairs_and_clean_ones_alone(folder: Path) -> None:
    every = Pairs(folder, "train")
    task = next(task for task in map(task_of, every.items) if task != CLEAN)
    only = Pairs(folder, "train", (task,))
    assert {task} <= {task_of(pair) for pair in only.items} <= {task, CLEAN}
    assert len(only) == sum(task_of(pair) in (task, CLEAN) for pair in every.items)


def test_one_degradation_has_one_target_and_two_have_three() -> None:
    counts = set()
    for seed in range(12):
        pair = make_pair(phantom_content("fundus", seed), np.random.default_rng(seed))
        kinds = pair.record["kinds"]
        counts.add(len(kinds))
        assert len(pair.targets) == (3 if len(kinds) == 2 else 1)
        if not kinds:
            assert np.array_equal(pair.planes, pair.targets[0])
    assert {1, 2} <= counts


def test_faint_spots_are_put_into_tissue_and_stay_in_the_target() -> None:
    clean = phantom("ct", 4, 192)
    marked = spotted(clean, np.random.default_rng(1))
    change = marked.pixels - clean.pixels
    assert 3.0 < np.abs(change).max() < 2 * SPOT_HU[1]  # neighbours may overlap
    assert np.abs(change[np.abs(change) > 1]).size < 0.5 * change.size
    assert not np.abs(change[clean.pixels < -500]).max() > SPOT_HU[1] / 4  # none in air


def test_a_network_that_wipes_spots_out_loses_more_than_one_that_leaves_them() -> None:
    pair = with_levels(make_pair(phantom_content("ct", 3), np.random.default_rng(3)))
    batch = collate([draw_example(pair, 64, np.random.default_rng(0))])
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    lesion = 0.05 * torch.exp(-((y - 32.0) ** 2 + (x - 32.0) ** 2) / 18)
    noise = 0.05 * lesion.sum() / 64**2 / 0.05 * (-1.0) ** (y + x)  # the same mean error, spread and alternating
    noisy = replace(batch, planes=batch.target + 0.1 * torch.randn_like(batch.target))
    wiped, left = (restoration_loss(batch.target + error, noisy)["spot"] for error in (lesion, noise))
    assert float(wiped) > 5 * float(left)


def test_kinds_of_too_few_pairs_can_be_drawn_alone() -> None:
    sample = phantom("xray", 3, 64)
    for seed in range(20):
        drawn = [record.kind for record in draw_records(sample, np.random.default_rng(seed), ("noise",))]
        assert not drawn or "noise" in drawn


def test_another_tone_keeps_the_order_of_grey_levels_and_touches_radiographs_alone() -> None:
    changed = 0
    for seed in range(12):
        for modality in ("xray", "fundus"):
            clean = phantom(modality, seed, 64)
            bent = toned(clean, np.random.default_rng(seed))
            order = np.argsort(clean.pixels, axis=None, kind="stable")
            assert (np.diff(bent.pixels.ravel()[order]) > -1e-6).all()
            assert modality == "xray" or bent is clean
            changed += bent is not clean
    assert 2 <= changed <= 10


@pytest.mark.parametrize("kind", ["defocus", "noise"])
def test_a_pair_carries_a_proposal_where_optics_has_one(kind: str) -> None:
    made = (make_pair(phantom_content("fundus", seed), np.random.default_rng(seed)) for seed in range(60))
    pair = next(pair for pair in made if pair.record["kinds"] == [kind])
    assert (pair.proposal is not None) is (kind == "defocus")
    if pair.proposal is not None:
        assert pair.proposal.shape == pair.planes.shape
    lessons = [draw_example(with_levels(pair), 64, np.random.default_rng(seed)) for seed in range(12)]
    seen = {("defocus" in one.lesson.guidance.treated, np.array_equal(one.planes, one.proposal)) for one in lessons}
    assert seen == ({(True, False), (False, True)} if kind == "defocus" else {(False, True)} | seen & {(True, True)})


@pytest.mark.parametrize(
    ("kinds", "named", "target"),
    [
        (["mr_noise"], ["mr_noise"], 0),
        (["mr_noise"], ["noise"], 0),  # called by the name of its family
        (["mr_noise"], ["undersampling"], -1),
        (["mr_noise"], [], -1),
        (["mr_noise", "undersampling"], ["mr_noise", "undersampling"], 0),
        (["mr_noise", "undersampling"], ["mr_noise"], 1),
        (["mr_noise", "undersampling"], ["undersampling"], 2),
        (["mr_noise", "bias_field"], ["mr_noise", "bias_field"], 1),  # bias fields are not treated
        ([], ["mr_noise"], -1),
    ],
)
def test_what_is_named_and_treated_goes_and_the_rest_stays(kinds: list[str], named: list[str], target: int) -> None:
    assert target_of(kinds, named, "mr") == target


def test_texts_state_what_they_are_made_of() -> None:
    rng = np.random.default_rng(0)
    for modality in ("ct", "mr", "fundus"):
        for kind in tasks_for(modality):
            text = product_text({kind: 3.0}, modality, None, rng)
            assert read_findings(text, modality) == {kind: pytest.approx(3.3)}, text
            typed = instruction({kind: 1.0}, rng)
            assert family(kind) in {family(k) for k in read_findings(typed, modality)}, typed


def test_lessons_name_what_they_ask_for() -> None:
    record = {"modality": "ct", "anatomy": "chest", "kinds": ["metal", "noise"], "severities": [3.0, 2.0],
              "boxes": [[0.1, 0.1, 0.3, 0.3], None]}  # fmt: skip
    seen = set()
    for seed in range(80):
        lesson = draw_lesson(record, np.random.default_rng(seed))
        named = list(lesson.guidance.findings) or [
            k for k, s in zip(vocab.KIND_NAMES, lesson.stated, strict=True) if s > 0
        ]
        seen.add(lesson.target)
        if named and family(named[0]) in ("metal", "noise"):
            assert lesson.target == target_of(record["kinds"], named, "ct")
    assert seen == {-1, 0, 1, 2}


def test_patches_hear_the_truth_about_light_or_nothing() -> None:
    record = {"modality": "xray", "anatomy": "chest", "kinds": ["overexposure", "noise"], "severities": [3.0, 2.0],
              "boxes": [None, None]}  # fmt: skip
    asked_away = {-1: (), 0: ("overexposure", "noise"), 1: ("overexposure",), 2: ("noise",)}
    seen = set()
    for seed in range(300):
        lesson = draw_lesson(record, np.random.default_rng(seed), light_ready=True)
        named = {kind: s for kind, s in lesson.guidance.findings.items() if kind in LIGHT_KINDS}
        assert named in ({}, {"overexposure": 3.0})
        assert ("overexposure" in asked_away[lesson.target]) == bool(named)
        seen.add(lesson.target)
    assert seen == {-1, 0, 1, 2}


def test_a_stressed_task_comes_more_often_and_the_rest_keeps_its_order(folder: Path) -> None:
    plain, task = Pairs(folder, "train"), task_of(Pairs(folder, "train").items[0])
    stressed = Pairs(folder, "train", stressed=(task,))
    its = np.array([task_of(pair) == task for pair in plain.items])
    odds = stressed.weights / plain.weights
    assert odds[its] == pytest.approx(STRESS * odds[~its].mean())
    assert np.ptp(odds[~its]) < 1e-12


def test_haar_is_invertible() -> None:
    x = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(from_haar(to_haar(x)), x)


def test_turned_examples_keep_the_box_on_its_pixels(folder: Path) -> None:
    pair = Pairs(folder, "train").items[0]
    ramp = np.linspace(0, 1, pair.planes.shape[2], dtype=np.float16)
    pair = replace(pair, planes=np.broadcast_to(ramp, pair.planes.shape))
    left, top, right, _ = pair.record["crop"]
    for seed in range(8):
        example = draw_example(pair, 64, np.random.default_rng(seed))
        x0, y0, x1, y1 = example.box
        assert 0 <= x0 < x1 <= 1.0001
        assert 0 <= y0 < y1 <= 1.0001
        along_x = np.ptp(example.planes[0, 0]) > np.ptp(example.planes[0, :, 0])
        values, low, high = (example.planes[0, 0], x0, x1) if along_x else (example.planes[0, :, 0], y0, y1)
        shown = [low if values[0] < values[-1] else 1 - high, high if values[0] < values[-1] else 1 - low]
        found = left + (right - left) * np.array([values.min(), values.max()])
        np.testing.assert_allclose(found, shown, atol=0.01)
    assert top >= 0


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("views")
    for split in ("train", "validation"):
        restoration_views.main(["--out", str(path), "--views", "4", "--split", split])
    return path


def test_views_hold_what_their_records_say(views: Path) -> None:
    found = load_views(views, "train")
    assert len(found) == 4
    for degraded, targets, record in zip(found.degraded, found.targets, found.records, strict=True):
        assert degraded.shape == (3, 64, 64)
        assert targets[1].any() == (len(record["kinds"]) == 2)
        if not record["kinds"]:
            assert np.array_equal(degraded, targets[0])
    with pytest.raises(FileNotFoundError, match="restoration_views"):
        load_views(views / "none", "train")


def run(folder: Path, out: Path, steps: int, *more: str) -> None:
    train_restorer.main(
        ["--pairs", str(folder), "--out", str(out), "--steps", str(steps), "--read-steps", "3", "--batch", "2",
         "--side", "64", "--threads", "1", "--cpu", *more]
    )  # fmt: skip


def test_a_run_resumes_and_its_weights_ship(
    folder: Path, views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train_restorer, "RestorerConfig", lambda: SMALL)
    monkeypatch.setattr(export_restorer, "RestorerConfig", lambda: SMALL)
    out = tmp_path / "run"
    run(folder, out, 3, "--views", str(views), "--light-steps", "2")
    assert json.loads((out / "state" / "progress.json").read_text())["step"] == 4
    assert "mean dB" in capsys.readouterr().out
    run(folder, out, 6)
    assert json.loads((out / "state" / "progress.json").read_text())["step"] == 7
    assert "reader" not in capsys.readouterr().out  # the text encoder was done
    export_restorer.main(["--run", str(out), "--pairs", str(folder), "--to", str(tmp_path / "nano")])
    restorer = load(tmp_path / "nano")
    assert restorer.meta["training"]["steps"] == 7
    assert restorer.meta["training"]["light"] == {"steps": 2, "views": 4}
    assert "Never seen in training" in (tmp_path / "nano" / "RESTORER.md").read_text()
    run(folder, tmp_path / "next", 1, "--base", str(tmp_path / "nano"))
    from_next = ["--run", str(tmp_path / "next"), "--pairs", str(folder), "--base", str(tmp_path / "nano")]
    export_restorer.main([*from_next, "--to", str(tmp_path / "none"), "--share", "0"])
    none = load(tmp_path / "none").model.state_dict()
    assert all(torch.equal(value, none[name]) for name, value in restorer.model.state_dict().items())
    assert "0% of the way there" in (tmp_path / "none" / "RESTORER.md").read_text()
    export_restorer.main([*from_next, "--to", str(tmp_path / "nano")])
    assert load(tmp_path / "nano").meta["training"]["before"]["steps"] == 7


def test_weights_that_are_missing_changed_or_of_other_words_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no restorer"):
        load(tmp_path)
    save(tmp_path, RestorationNet(SMALL), {})
    assert load(tmp_path).model.config == SMALL
    meta = json.loads((tmp_path / META_FILE).read_text())
    (tmp_path / META_FILE).write_text(json.dumps(meta | {"kinds": ["noise"]}))
    with pytest.raises(ModelError, match="word list"):
        load(tmp_path)
    (tmp_path / META_FILE).write_text(json.dumps(meta))
    data = bytearray((tmp_path / WEIGHTS_FILE).read_bytes())
    data[-1] ^= 1
    (tmp_path / WEIGHTS_FILE).write_bytes(bytes(data))
    with pytest.raises(ModelError, match="corrupt"):
        load(tmp_path)
    (tmp_path / META_FILE).write_text("{")
    with pytest.raises(ModelError, match="cannot be used"):
        load(tmp_path)
