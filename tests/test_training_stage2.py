"""Stage 2: expert scores on any scale, folds by subject, weights that load and follow the scores."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medq_vlm import checkpoint
from medq_vlm.degrade.sample import degrade_sample
from medq_vlm.phantoms import phantom
from medq_vlm.schema import MedQError
from medq_vlm.slice_scores import BINS
from training import stage2, train_quality
from training.expert_scores import rater_agreement, read


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve fundus pictures of four subjects; two raters, one stricter, score 5 (worst) to 1 (best)."""
    folder = tmp_path_factory.mktemp("scores")
    with (folder / "scores.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "score", "rater", "group", "modality"])
        for subject in range(4):
            clean = phantom("fundus", 300 + subject, 192)
            for grade, severity in ((1, 0.0), (3, 2.0), (4, 3.5)):
                sample, _ = degrade_sample(clean, "defocus", severity, subject)
                name = f"{subject}_{grade}.png"
                Image.fromarray(np.clip(sample.pixels[0], 0, 255).astype(np.uint8)).save(folder / name)
                table.writerow([name, grade, "mild", f"s{subject}", "fundus"])
                table.writerow([name, grade + 1, "strict", f"s{subject}", "fundus"])
    return folder / "scores.csv"


def test_scores_of_any_scale_become_quality_without_a_raters_own_offset(manifest: Path) -> None:
    labels = read(manifest, (5.0, 1.0))
    assert len(labels) == 12 and {label.group for label in labels} == {"s0", "s1", "s2", "s3"}
    by_grade = {label.path.stem[-1]: label.quality for label in labels}
    assert by_grade["1"] > by_grade["3"] > by_grade["4"]
    assert by_grade["1"] - by_grade["3"] == pytest.approx(2.0)  # two of four steps
    assert rater_agreement(labels) == pytest.approx(1.0)


def test_a_bad_manifest_is_refused_in_words(tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("file,score\na.png,1\n")
    with pytest.raises(MedQError, match=r"lacks the column\(s\) path"):
        read(bad)
    bad.write_text("path,score\na.png,1\nb.png,1\n")
    with pytest.raises(MedQError, match="nothing to learn"):
        read(bad)
    with pytest.raises(MedQError, match="There is no manifest"):
        read(tmp_path / "absent.csv")
    for text, words in (("", "a header and rows"), ("path,score\n", "a header and rows")):
        bad.write_text(text)
        with pytest.raises(MedQError, match=words):
            read(bad)
    bad.write_text("path,score\na.png,1\nb.png,99\n")
    with pytest.raises(MedQError, match="line 3: the score 99 lies outside the scale 1 to 5"):
        read(bad, (1.0, 5.0))
    with pytest.raises(MedQError, match="must be numbers"):
        read(bad, (float("nan"), 5.0))


def test_a_group_named_zero_is_one_group(tmp_path: Path) -> None:
    rows = "".join(f"{number}.png,{number % 4},{number % 2}\n" for number in range(8))
    (tmp_path / "m.csv").write_text(f"path,score,group\n{rows}")
    assert {label.group for label in read(tmp_path / "m.csv")} == {"0", "1"}


def test_no_group_is_on_both_sides_of_a_fold() -> None:
    groups = np.array(["a", "a", "b", "c", "c", "d"])
    parts = stage2.folds(groups, 3, 0)
    assert sorted(np.concatenate(parts).tolist()) == list(range(6))
    assert all(not set(groups[part]) & set(np.delete(groups, part)) for part in parts)


def test_the_interval_covers_nine_of_ten_left_out_errors() -> None:
    """The width is told by the errors and the spreads alone, not by the calibration before."""
    rng = np.random.default_rng(0)
    centre = rng.uniform(1.0, 3.0, 400)
    said = np.exp(-0.5 * ((BINS - centre[:, None]) / rng.uniform(0.3, 0.8, (400, 1))) ** 2)
    said /= said.sum(1, keepdims=True)
    quality = np.clip(centre + rng.normal(0, 0.4, 400), 0, 4)
    old = checkpoint.load("nano").calibration
    found, other = (stage2.recalibrated(said, quality, replace(old, interval_scale=s)) for s in (1.0, 3.0))
    assert found.interval_scale == other.interval_scale
    assert not found.reference  # its scores are on the old scale
    raw = said @ BINS
    half = found.interval_scale * np.sqrt(((BINS - raw[:, None]) ** 2 * said).sum(1))
    error = np.abs(np.interp(raw, found.score_raw, found.score_to) - quality)
    assert (error <= half).mean() == pytest.approx(0.9, abs=0.01)


def test_fine_tuning_reports_and_writes_weights_that_load(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_quality.main(
        ["--stage", "2", "--manifest", str(manifest), "--scale", "5", "1", "--out", str(tmp_path), "--epochs", "3"]
    )
    said = capsys.readouterr().out
    assert "SRCC before" in said and "SRCC after" in said and "raters" in said
    loaded = checkpoint.load(str(tmp_path / "stage2"))
    assert loaded.meta["stage2"]["images"] == 12
    base = checkpoint.load("nano").model.state_dict()
    moved = {name for name, value in loaded.model.state_dict().items() if not np.allclose(value, base[name], atol=1e-3)}
    assert all(name.startswith(stage2.MOVING) for name in moved) and moved


def test_a_missing_manifest_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from training import train_quality

    with pytest.raises(SystemExit) as stop:
        train_quality.main(["--stage", "2", "--manifest", str(tmp_path / "none.csv"), "--out", str(tmp_path / "out")])
    assert stop.value.code == 2 and "There is no manifest" in capsys.readouterr().err
