"""The restoration evaluation: measures with known answers, classical methods, the lesion observers, the whole run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eval import classical_restoration as classical
from eval import lesion_safety, lesions, restoration_cases, restoration_summary, run_restoration
from eval.bootstrap import Estimate
from eval.cases import Content
from eval.manifest import Row
from eval.restoration import change_against_noise, data_range, fidelity, psnr, ssim
from eval.restoration_cases import TASK, TASKS, Pair, make_pair
from eval.restoration_guidance import right, wrong
from eval.restorers import Looped, Restorers, consistent
from medq_vlm import vocab
from medq_vlm.phantoms import phantom
from medq_vlm.restore import Guidance, Restoration, untouched
from medq_vlm.schema import ImageSample

SIZE = 160
# What each method is for; a median on clean CT, say, helps nothing and need not.
HELPS = [
    ("MR noise", "non-local means"), ("MR noise", "total variation"), ("MR noise", "wavelets"), ("MR noise", "median"),
    ("MR noise", "Gaussian"), ("X-ray mottle", "total variation"), ("CT sparse view", "iterative TV"),
    ("CT metal", "sinogram interpolation, metal known"), ("MR undersampling", "compressed sensing, TV"),
    ("optical defocus", "Richardson-Lucy, radius known"), ("X-ray underexposure", "gamma"),
    ("X-ray underexposure", "stretch"), ("X-ray overexposure", "gamma"),
    ("optical illumination", "background division"), ("optical illumination", "homomorphic filter"),
]  # fmt: skip


def pair(task: str, severity: float = 3.0, seed: int = 3, modality: str | None = None) -> Pair:
    modality = modality or TASK[task].modalities[0]
    sample = phantom(modality, seed, SIZE)
    return make_pair(
        TASK[task], Content(f"phantom {seed}", "phantom", f"{seed}", modality, sample), "phantom", severity
    )


def method(task: str, name: str) -> classical.Method:
    return next(m for m in classical.METHODS[task] if m.name == name)


def run(task: str, name: str, one: Pair) -> np.ndarray:
    template = classical.template(one.content.modality)
    return classical.restore(method(task, name), one, classical.chosen(task, name, one.content.modality), template)


# --- measures -------------------------------------------------------------------------------------------------


def ramp(colour: bool = False) -> ImageSample:
    plane = np.tile(np.linspace(-50, 50, 64, dtype=np.float32), (64, 1))
    return ImageSample((np.stack([plane] * 3, -1) if colour else plane)[None], modality="ct")


@pytest.mark.parametrize("colour", [False, True])
def test_psnr_of_a_constant_error_is_the_ratio_of_range_and_error(colour: bool) -> None:
    clean = ramp(colour)
    assert data_range(clean) == (-50.0, 100.0)
    assert psnr(clean, clean.pixels + 1) == pytest.approx(40.0, abs=1e-4)
    assert psnr(clean, clean.pixels) == 80.0


def test_ssim_is_one_for_the_image_itself_and_blind_to_the_unit() -> None:
    clean = ramp()
    noisy = clean.pixels + np.random.default_rng(0).normal(0, 10, clean.pixels.shape).astype(np.float32)
    assert ssim(clean, clean.pixels) == pytest.approx(1.0, abs=1e-5)
    scaled = replace(clean, pixels=clean.pixels * 1000)
    assert ssim(clean, noisy) == pytest.approx(ssim(scaled, noisy * 1000), abs=1e-4)
    assert ssim(clean, noisy) < 0.7


def test_padding_does_not_count() -> None:
    clean = ramp()
    valid = np.ones(clean.pixels.shape, bool)
    valid[:, :32] = False
    padded = replace(clean, valid=valid)
    wrong_there = clean.pixels.copy()
    wrong_there[:, :32] += 500
    assert psnr(padded, wrong_there) == 80.0
    assert ssim(padded, wrong_there) == pytest.approx(1.0, abs=1e-5)


def test_change_of_a_clean_image_is_told_in_units_of_its_noise() -> None:
    rng = np.random.default_rng(0)
    clean = replace(ramp(), pixels=(100 + 5 * rng.standard_normal((1, 128, 128))).astype(np.float32))
    assert change_against_noise(clean, clean) == 0
    moved = replace(clean, pixels=clean.pixels + 10)
    assert change_against_noise(clean, moved) == pytest.approx(2.0, rel=0.1)


def test_fidelity_falls_with_severity() -> None:
    levels = [fidelity(p.clean, p.degraded, p.task.kind) for p in (pair("MR noise", s) for s in (1.0, 2.0, 4.0))]
    assert levels[0] > levels[1] > levels[2]


# --- classical methods ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "name"), HELPS)
def test_a_tuned_method_beats_its_input(task: str, name: str) -> None:
    severity = 4.0 if task == "CT sparse view" else 3.0  # few views are enough for a small phantom
    # Deconvolution and wide filters ring at the black surround of a fundus.
    elsewhere = {"optical defocus": "dermoscopy", "optical illumination": "endoscopy"}
    one = pair(task, severity, modality=elsewhere.get(task))
    assert psnr(one.clean, run(task, name, one)) > psnr(one.clean, one.degraded.pixels)


@pytest.mark.parametrize("task", [task.name for task in TASKS])
def test_methods_that_know_the_picture_alone_never_see_the_clean_one(task: str) -> None:
    one = pair(task)
    other = replace(one.clean, pixels=np.random.default_rng(0).random(one.clean.pixels.shape).astype(np.float32))
    blind = replace(one, content=replace(one.content, sample=other))
    for each in classical.METHODS[task]:
        if "acquired" in each.knows or "measured" in each.knows:
            continue
        restored = run(task, each.name, one)
        assert restored.shape == one.clean.pixels.shape and np.isfinite(restored).all(), each.name
        assert np.array_equal(restored, run(task, each.name, blind)), each.name


def test_every_method_was_tuned_on_its_own_grid() -> None:
    for task, methods in classical.METHODS.items():
        for each in methods:
            for modality in TASK[task].modalities:
                assert dict(classical.chosen(task, each.name, modality)) in [dict(params) for params in each.grid]


def test_tuning_sees_no_held_out_image() -> None:
    rows = [Row(Path("x"), f"{source}/{i}", source, f"{source}/{i}", "xray", "pristine")
            for source in ("xr_chest_covidset_NC", "elsewhere") for i in range(40)]  # fmt: skip
    split = restoration_cases.splits(rows)
    assert {split[row.name] for row in rows if row.source != "elsewhere"} == {"held-out"}
    assert {split[row.name] for row in rows if row.source == "elsewhere"} == {"train", "validation"}
    assert restoration_cases.evidences(rows, TASK["X-ray noise"]) == ("held-out",)
    assert restoration_cases.evidences(rows, TASK["PET low count"]) == ("validation",)


# --- guidance -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [task.name for task in TASKS])
def test_the_right_description_names_the_task_and_the_wrong_one_another(task: str) -> None:
    one = pair(task)
    assert right(one).findings == {one.task.kind: 3.0}
    (said,) = wrong(one).findings
    assert said != one.task.kind and said in vocab.kinds_for(one.content.modality)
    assert right(one).text and right(one).text != wrong(one).text


def test_acquired_lines_bring_an_image_nearer_to_the_truth_whatever_it_was() -> None:
    one = pair("MR undersampling")
    for start in (one.degraded, one.clean):
        known = consistent(one, start)
        assert known is not None
        assert psnr(one.clean, known.pixels) > psnr(one.clean, one.degraded.pixels) + 1
    assert consistent(pair("MR noise"), one.degraded) is None


# --- lesions --------------------------------------------------------------------------------------------------


def noise_field(seed: int, sd: float = 5.0) -> ImageSample:
    pixels = 100 + sd * np.random.default_rng(seed).standard_normal((1, 320, 320))
    return ImageSample(pixels.astype(np.float32), modality="mr")


PLACES = torch.cartesian_prod(torch.arange(20, 300, 30), torch.arange(20, 300, 30))


def marked(sample: ImageSample, height: float) -> ImageSample:
    bumps = lesions.detectability.lesion_signal((320, 320), PLACES, lesions.LESION_RADIUS_PX)[0].numpy()
    return replace(sample, pixels=sample.pixels + height * bumps)


def test_the_observer_sees_an_obvious_lesion_and_not_an_absent_one() -> None:
    assert lesions.auc(noise_field(1), marked(noise_field(2), 20.0), PLACES) > 0.98
    assert 0.35 < lesions.auc(noise_field(1), noise_field(2), PLACES) < 0.65
    faint = lesions.auc(noise_field(1, 20.0), marked(noise_field(2, 20.0), 10.0), PLACES)
    assert 0.5 < faint < 0.95


def test_the_matched_filter_reads_the_contrast() -> None:
    flat = replace(noise_field(0), pixels=np.full((1, 320, 320), 100, np.float32))
    assert lesions.contrast_at(marked(flat, 7.0), PLACES) == pytest.approx(7.0, rel=0.02)
    assert lesions.contrast_at(flat, PLACES) == pytest.approx(0.0, abs=1e-3)


def same(sample: ImageSample, guidance: Guidance) -> Restoration:
    return untouched(sample)


def flattened(sample: ImageSample, guidance: Guidance) -> Restoration:
    return untouched(replace(sample, pixels=np.full_like(sample.pixels, 100)))


@pytest.fixture(scope="module")
def roomy() -> Pair:
    sample = phantom("mr", 5, 320)
    return make_pair(TASK["MR noise"], Content("p", "phantom", "5", "mr", sample), "phantom", 2.0)


def test_doing_nothing_neither_erases_nor_makes_lesions(roomy: Pair) -> None:
    reading = lesion_safety.read(roomy, same)
    assert reading is not None
    assert reading.auc[0] == reading.auc[1] > 0.5
    assert reading.erased == 0 and reading.made == 0 and reading.false[0] == reading.false[1]


def test_a_restorer_that_flattens_erases_all(roomy: Pair) -> None:
    reading = lesion_safety.read(roomy, flattened)
    assert reading is not None and reading.erased == 1 and reading.auc[1] == pytest.approx(0.5)


def test_a_restorer_that_paints_lesions_is_caught(roomy: Pair) -> None:
    centres = lesions.tissue_places(roomy.clean, lesion_safety.DENSE, 1)

    def inventive(sample: ImageSample, guidance: Guidance) -> Restoration:
        strong = sample
        for _ in range(2):
            strong = lesions.with_lesions(strong, centres)
        return untouched(strong)

    reading = lesion_safety.read(roomy, inventive)
    assert reading is not None and reading.made > 0.9
    numbers = lesion_safety.summary([reading], draws=10)
    assert not restoration_summary.bounds({"lesions": numbers})["no lesion made"]


# --- the whole run --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("restoration")
    lines = ["path,modality,group,reference_quality"]
    for seed in range(2):
        np.save(folder / f"mr{seed}.npy", phantom("mr", seed, SIZE).pixels)
        lines.append(f"mr{seed}.npy,MR,subject{seed},pristine")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder / "manifest.csv"


def half_way(sample: ImageSample, guidance: Guidance) -> Restoration:
    """Smooths as far as it is told of noise; a stand-in that listens."""
    from scipy.ndimage import gaussian_filter

    told = 1.0 if "mr_noise" in guidance.findings else 0.2 if not guidance.findings else 0.0
    smooth = gaussian_filter(sample.pixels, (0, 1, 1))
    return untouched(replace(sample, pixels=(1 - told) * sample.pixels + told * smooth))


def test_a_run_puts_ours_beside_the_others(manifest: Path) -> None:
    args = run_restoration.parser().parse_args(
        ["--manifest", str(manifest), "--split", "all", "--tasks", "MR noise", "--parts", "clean", "--limit", "2",
         "--draws", "20", "--workers", "1", "--severities", "4"]
    )  # fmt: skip
    rows = run_restoration.clean_rows(run_restoration.read_manifest(manifest))
    ours = Restorers("stand-in", half_way, lambda sample: Looped(sample, True, False))
    numbers = run_restoration.evaluate(args, rows, ours, None, ours)
    (row,) = numbers["tasks"].values()
    assert row["images"] == 2 and row["best classical"] in {m.name for m in classical.METHODS["MR noise"]}
    assert row["ours"].value - row["input"].value == pytest.approx(row["gain over input"].value)
    assert row["gain over other weights"].value == 0
    told = numbers["descriptions"]["average over tasks"]
    assert isinstance(told["right"], Estimate) and told["right - none"].value > 0 and told["none - wrong"].value > 0
    assert {"right description > none", "clean images change by less than their noise"} <= set(numbers["bounds"])
    assert numbers["clean"]["loop: unchanged"].value == 1
    assert numbers["judges"]["all"]["loop: unchanged"].value == 1
    text = restoration_summary.report(numbers)
    assert "MR noise (manifest)" in text and "right - none" in text


def test_the_classical_bar_needs_no_network(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run_restoration.main(
        ["--manifest", str(manifest), "--split", "all", "--tasks", "MR noise", "--parts", "--limit", "1",
         "--draws", "20", "--classical-only", "--out", str(manifest.with_name("bar.json"))]
    )  # fmt: skip
    assert code == 0 and "best classical" in capsys.readouterr().out
    assert manifest.with_name("bar.json").stat().st_size > 2
