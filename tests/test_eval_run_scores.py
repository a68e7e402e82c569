"""The score evaluation from a manifest on disk to tables and JSON, with a model whose answers are known."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from eval import baselines, run_scores
from eval.cases import Content, clean_case, contents, degraded_cases, pixels_only
from eval.manifest import Row, read_manifest
from eval.no_reference import noise_sd
from medq_vlm import vocab
from medq_vlm.config import ViewConfig
from medq_vlm.encoder.preprocess import grey_map
from medq_vlm.evidence import statistics
from medq_vlm.schema import ImageSample, MedQError

FILES = {"held/mr.dcm": ("MR_small.dcm", "MR"), "seen/ct.dcm": ("CT_small.dcm", "CT"),
         "seen/mr.dcm": ("examples_overlay.dcm", "MR")}  # fmt: skip


@dataclass
class NoiseScores:
    """Scores of a scorer that knows noise alone."""

    score: float
    severity: dict[str, float]
    kind_probability: dict[str, float]
    modality_probability: dict[str, float]
    reject_probability: float
    assessable: bool
    interval: tuple[float, float]


class NoiseScorer:
    """Scores by the noise estimate and recognises CT by its negative values."""

    def score_slice(self, sample: ImageSample, index: int = 0) -> NoiseScores:
        noise = min(4.0, 40 * noise_sd(grey_map(sample, index)))
        ct = float(sample.pixels.min() < -100)
        return NoiseScores(
            score=4 - noise, severity={"noise": noise}, kind_probability={"noise": noise / 4},
            modality_probability={"ct": ct, "mr": 1 - ct}, reject_probability=noise / 4, assessable=True,
            interval=(3 - noise, 5 - noise),
        )  # fmt: skip


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    lines = ["path,modality,group,reference_quality"]
    for name, (bundled, modality) in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(str(get_testdata_file(bundled, download=False)), folder / name)
        lines.append(f"{name},{modality},{name},pristine")
    lines.append("held/broken.dcm,MR,x,pristine")
    (folder / "held/broken.dcm").write_bytes(b"not an image")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def content(manifest: Path) -> Content:
    return next(iter(contents(read_manifest(manifest)[0], 1)))


def test_contents_carry_the_manifests_facts(content: Content) -> None:
    assert (content.name, content.source, content.modality) == ("held/mr.dcm", "held", "mr")
    assert content.sample.slices == 1 and content.sample.modality == "mr"


def test_cases_are_ladders_and_compositions_and_repeat_with_the_seed(content: Content) -> None:
    cases = list(degraded_cases(content, seed=3, kinds=2, compositions=1))
    assert [case.steps[case.ladder] for case in cases[:-1]] == [1.0, 2.0, 3.0, 4.0] * 2
    assert len(cases[-1].severities) == 2 and cases[3].table_quality == 0
    assert {kind for case in cases for kind in case.severities} <= set(vocab.kinds_for("mr"))
    for ladder in (cases[:4], cases[4:8]):
        assert (
            all(a.quality >= b.quality for a, b in itertools.pairwise(ladder))
            and ladder[0].quality > ladder[-1].quality
        )
    again = list(degraded_cases(content, seed=3, kinds=2, compositions=1))
    assert all(np.array_equal(a.sample.pixels, b.sample.pixels) for a, b in zip(cases, again, strict=True))
    assert all(not np.array_equal(case.sample.pixels, content.sample.pixels) for case in cases)


def test_pixels_only_withholds_what_a_header_says(content: Content) -> None:
    blind = pixels_only(content.sample)
    assert blind.modality is None and blind.acquisition == "" and blind.unit == "value"
    assert np.array_equal(blind.pixels, content.sample.pixels)


def test_full_reference_measures_are_best_for_the_image_itself(content: Content) -> None:
    noise = np.random.default_rng(0).normal(0, 60, content.sample.pixels.shape).astype(np.float32)
    noisy = replace(content.sample, pixels=content.sample.pixels + noise)
    same = baselines.reference_measures(content.sample, content.sample, ViewConfig())
    worse = baselines.reference_measures(content.sample, noisy, ViewConfig())
    assert same["SSIM"] == pytest.approx(1, abs=1e-4) and same["PSNR"] == baselines.PSNR_CAP_DB
    assert all(worse[name] < same[name] for name in same)


def test_training_shards_are_read_and_checked(tmp_path: Path) -> None:
    width = len(statistics.FEATURE_NAMES)
    strengths = np.zeros((3, len(vocab.KIND_NAMES)), np.float32)
    strengths[2, vocab.KIND_NAMES.index("rotation")] = 0.5
    modality = np.array([0, -1, vocab.MODALITIES.index("xray")])
    arrays: dict[str, np.ndarray] = {
        "statistics": np.zeros((3, width)), "strengths": strengths, "losses": strengths, "modality": modality,
        "group": np.array(["a", "b", "c"]), "medical": np.array([True, True, True]),
    }  # fmt: skip
    np.savez(tmp_path / "train_00000.npz", allow_pickle=False, **arrays)
    records = baselines.load_records(tmp_path)
    assert list(records.modality) == ["ct", "xray"] and list(records.quality) == [4.0, 2.0]
    np.savez(tmp_path / "train_00000.npz", allow_pickle=False, **arrays | {"statistics": np.zeros((3, 2))})
    with pytest.raises(MedQError, match="make them again"):
        baselines.load_records(tmp_path)
    with pytest.raises(MedQError, match="no training shards"):
        baselines.load_records(tmp_path / "absent")


def test_evaluation_of_held_out_sources_gives_every_table(manifest: Path) -> None:
    args = run_scores.parser().parse_args(
        ["--manifest", str(manifest), "--kinds", "1", "--compositions", "1", "--slices", "1", "--draws", "5"]
    )
    numbers = run_scores.evaluate(args, NoiseScorer(), {"held_out_sources": ["held"]})
    assert numbers["images"] == 1 and numbers["cases"] == 1 + 4 + 1
    assert len(numbers["unreadable"]) == 1 and "broken.dcm" in numbers["unreadable"][0]
    assert {"BRISQUE-class", "NIQE-class", baselines.STATISTICS, "VIF"} <= set(numbers["gain"])
    assert numbers["clean"]["modality recognised"].value == 1
    assert numbers["measures"][run_scores.TABLE]["ladder ordering"].value == 1
    text = run_scores.report(numbers)
    assert "By kind" in text and "SRCC" in text and "Not read" in text


def test_without_images_to_learn_from_trained_baselines_are_absent(content: Content) -> None:
    fitted = baselines.fit(None, [], ViewConfig())
    assert baselines.STATISTICS not in fitted.measure(clean_case(content))


def test_a_volume_gives_evenly_spaced_slices(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.random.default_rng(0).random((21, 40, 40)).astype(np.float32))
    row = Row(tmp_path / "v.npy", "v.npy", "s", "g", "mr", "pristine")
    assert [c.name for c in contents(row, 3)] == ["v.npy#0.6", "v.npy#0.10", "v.npy#0.14"]
