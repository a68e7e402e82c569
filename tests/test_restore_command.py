"""`medq restore`: what is written where, what is said, what is left alone. The network is a stand-in that smooths."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from scipy import ndimage

from medq_vlm import cli, io, phantoms, restoring, vocab
from medq_vlm.degrade.sample import degrade_sample
from medq_vlm.io.examples import CT_SMALL, example
from medq_vlm.io.write import write
from medq_vlm.pipeline import MedQ
from medq_vlm.restore import Guidance, Restoration, measure_change
from medq_vlm.restore.guidance import from_text
from medq_vlm.schema import Assessment, ImageSample, ModelError
from medq_vlm.treated import tasks_for
from tests.assessments import NOISE as NOISE_FINDING
from tests.assessments import assessed as written
from tests.small_models import untrained_restorer
from tests.test_restore_invention import assessed

NOISE = "severe low-dose noise"


class Smoother:
    """Takes half of what a Gaussian takes; counts its calls."""

    meta: ClassVar = {"name": "smoother", "sha256": "0" * 64}

    def __init__(self) -> None:
        self.calls: list[Guidance] = []

    def restore(
        self, sample: ImageSample, guidance: Guidance, progress: Callable[[int, int], None] | None = None
    ) -> Restoration:
        self.calls.append(guidance)
        sigma = (0, 1, 1, 0)[: sample.pixels.ndim]
        residual = (0.5 * (ndimage.gaussian_filter(sample.pixels, sigma) - sample.pixels)).astype(np.float32)
        after = replace(sample, pixels=sample.pixels + residual)
        return Restoration(after, residual, guidance.treated, False, (), measure_change(sample, residual))


@pytest.fixture(scope="module")
def model() -> MedQ:
    return MedQ.load()


@pytest.fixture(autouse=True)
def loaded_once(model: MedQ, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MedQ, "load", lambda preset: model)


@pytest.fixture
def smoother(monkeypatch: pytest.MonkeyPatch) -> Smoother:
    made = Smoother()
    monkeypatch.setattr(MedQ, "restorer", made)
    return made


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cut of a chest CT with low-dose noise."""
    path = tmp_path_factory.mktemp("in") / "noisy.dcm"
    sample = io.read(example(CT_SMALL))[0]
    write(degrade_sample(sample, "low_dose_noise", 3.0, 1)[0], path)
    return path


def medq(*arguments: str | Path) -> int:
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


def test_a_dicom_file_gives_a_derived_one_a_picture_and_valid_json(
    noisy: Path, smoother: Smoother, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    original, out = noisy.read_bytes(), tmp_path / "out.dcm"
    assert medq("restore", noisy, "-o", out, "--description", NOISE, "--json") == 0
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    restoring.validate(result)
    assert shown.err == ""
    assert result["outputs"] == [str(out)] and noisy.read_bytes() == original
    assert result["treated"] == ["low_dose_noise"] and not result["unchanged"]
    assert result["description"]["from"] == "user" and result["description"]["text"] == NOISE
    assert any("not for primary diagnosis" in words for words in result["warnings"])
    assert result["change"]["unit"] == "HU" and result["change"]["regions"]
    assert result["before"]["score"] is not None and result["after"]["score"] != result["before"]["score"]
    header = pydicom.dcmread(out)
    assert header.ImageType[0] == "DERIVED" and "low-dose noise" in header.DerivationDescription
    before, after = io.read(noisy)[0], io.read(out)[0]
    residual = after.pixels - before.pixels
    assert float(np.sqrt(np.mean(residual**2))) == pytest.approx(result["change"]["rms"], rel=0.02)
    picture = Image.open(tmp_path / "out_residual.png")
    assert picture.width > before.pixels.shape[2] and picture.height == before.pixels.shape[1]
    assert result["residual_picture"] == str(tmp_path / "out_residual.png")


def test_the_text_names_what_was_done_and_the_warning(
    noisy: Path, smoother: Smoother, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert medq("restore", noisy, "-o", tmp_path / "out.npy", "--description", NOISE) == 0
    shown = capsys.readouterr().out
    for words in ("Treated: low-dose noise.", "Before: score", "HU", "not for primary diagnosis", "out.npy"):
        assert words in shown, shown


def test_the_original_is_never_a_target(noisy: Path, smoother: Smoother, tmp_path: Path) -> None:
    copy = tmp_path / "in" / "scan.dcm"
    copy.parent.mkdir()
    shutil.copy(noisy, copy)
    (tmp_path / "link.dcm").symlink_to(copy)
    data = copy.read_bytes()
    for out in (copy, tmp_path / "link.dcm", copy.parent):
        assert medq("restore", copy, "-o", out, "--description", NOISE) == 2
    assert medq("restore", copy.parent, "-o", copy.parent / "new", "--description", NOISE) == 2
    assert copy.read_bytes() == data and not smoother.calls[1:]
    assert sorted(path.name for path in copy.parent.iterdir()) == ["scan.dcm"]


def test_another_file_is_replaced_only_when_asked(noisy: Path, smoother: Smoother, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for there, out in ((tmp_path / "out.dcm", tmp_path / "out.dcm"), (tmp_path / "x_residual.png", tmp_path / "x.dcm"),
                       (folder / "noisy.dcm", folder)):  # fmt: skip
        there.write_text("mine")
        assert medq("restore", noisy, "-o", out, "--description", NOISE) == 2
        assert there.read_text() == "mine"
        assert medq("restore", noisy, "-o", out, "--description", NOISE, "--force") == 0
        assert there.read_bytes() != b"mine"


def test_what_names_no_degradation_comes_back_byte_by_byte(
    smoother: Smoother, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.dcm"
    assert medq("restore", example(CT_SMALL), "-o", out, "--description", "no noise, no artefacts", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    restoring.validate(result)
    assert result["unchanged"] and result["treated"] == [] and result["after"] == result["before"]
    assert result["residual_picture"] is None and "left as it is" in result["warnings"][0]
    assert "in CT images it treats low-dose noise" in result["warnings"][0]
    assert out.read_bytes() == example(CT_SMALL).read_bytes()
    assert not smoother.calls


def test_every_modality_has_a_sentence_on_what_can_be_treated() -> None:
    for modality in vocab.MODALITIES:
        told = restoring.treatable(modality)
        assert all(vocab.KIND[kind].plain in told for kind in tasks_for(modality))
        assert told.startswith("in " if tasks_for(modality) else "it treats nothing in ")
    assert "unknown modality" in restoring.treatable(None)


def series(folder: Path, count: int = 3) -> Path:
    """A CT series of `count` files."""
    folder.mkdir()
    source = pydicom.dcmread(example(CT_SMALL))
    for number in range(count):
        source.SOPInstanceUID = source.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        source.InstanceNumber, source.ImagePositionPatient = number + 1, [0, 0, 5.0 * number]
        source.save_as(folder / f"{count - number}.dcm")
    return folder


def test_a_series_becomes_a_folder_or_a_zip_and_not_one_file(
    smoother: Smoother, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = series(tmp_path / "in")
    assert medq("restore", given, "-o", tmp_path / "out", "--description", NOISE, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert [Path(one).name for one in result["outputs"]] == ["0001.dcm", "0002.dcm", "0003.dcm"]
    assert io.read(tmp_path / "out")[0].slices == 3 and (tmp_path / "out_residual.png").exists()
    assert medq("restore", given, "-o", tmp_path / "out.zip", "--description", NOISE) == 2  # the residual picture
    assert medq("restore", given, "-o", tmp_path / "out.zip", "--description", NOISE, "--force") == 0
    assert len(zipfile.ZipFile(tmp_path / "out.zip").namelist()) == 3
    assert medq("restore", given, "-o", tmp_path / "out.dcm", "--description", NOISE) == 2
    assert "folder" in capsys.readouterr().err


def test_several_paths_go_into_a_folder_under_their_names(
    noisy: Path, smoother: Smoother, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    np.save(tmp_path / "second.npy", io.read(noisy)[0].pixels[0, :96, :96])
    paths = (noisy, tmp_path / "notes.txt", tmp_path / "second.npy")
    arguments = ("--modality", "ct", "--description", NOISE, "--json")
    assert medq("restore", *paths, "-o", tmp_path / "out", *arguments) == 3
    shown = capsys.readouterr()
    assert len(json.loads(shown.out)) == 2 and "notes.txt" in shown.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["noisy.dcm", "second.npy"]
    assert (tmp_path / "out_residual-2.png").exists()
    assert medq("restore", *paths, "-o", tmp_path / "out.npy", *arguments) == 2


def test_a_target_that_is_there_stops_only_its_own_image(
    noisy: Path, smoother: Smoother, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "second.npy", io.read(noisy)[0].pixels[0, :96, :96])
    out = tmp_path / "2026.11.23"  # a date is no ending
    out.mkdir()
    (out / "noisy.dcm").write_bytes(b"kept")
    out.rename(tmp_path / "other")
    arguments = ("--modality", "ct", "--description", NOISE)
    assert medq("restore", noisy, tmp_path / "second.npy", "-o", out, *arguments) == 0
    (out / "second.npy").unlink()
    capsys.readouterr()
    for picture in tmp_path.glob("*_residual-*.png"):
        picture.unlink()
    assert medq("restore", noisy, tmp_path / "second.npy", "-o", out, *arguments) == 2
    assert "noisy.dcm" in capsys.readouterr().err
    assert (out / "second.npy").exists()


def test_what_is_odd_about_an_image_is_told_of_its_restoration(
    smoother: Smoother, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volumes = np.random.default_rng(0).normal(300, 40, (96, 96, 2, 3)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(volumes, np.eye(4)), tmp_path / "in.nii.gz")
    told = ("--modality", "mr", "--description", "severe noise", "--json")
    assert medq("restore", tmp_path / "in.nii.gz", "-o", tmp_path / "out.nii.gz", *told) == 0
    assert any("3 volumes" in words for words in json.loads(capsys.readouterr().out)["warnings"])


@pytest.mark.parametrize("ending", [".nii.gz", ".tif", ".npy"])
def test_another_format_may_be_asked_for(ending: str, noisy: Path, smoother: Smoother, tmp_path: Path) -> None:
    assert medq("restore", noisy, "-o", tmp_path / f"out{ending}", "--description", NOISE) == 0
    found = io.read(tmp_path / f"out{ending}")[0]
    assert found.pixels.shape == io.read(noisy)[0].pixels.shape


@pytest.mark.parametrize("out", ["out.docx", "out.jpg"])
def test_an_unknown_ending_is_wrong_usage(out: str, noisy: Path, tmp_path: Path) -> None:
    assert medq("restore", noisy, "-o", tmp_path / out) == 2


def test_missing_weights_are_5(noisy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: MedQ) -> None:
        raise ModelError("The restorer is missing.")

    monkeypatch.setattr(MedQ, "restorer", property(missing))
    assert medq("restore", noisy, "-o", tmp_path / "out.dcm") == 5
    assert not (tmp_path / "out.dcm").exists()


def test_nothing_of_the_patient_is_said(smoother: Smoother, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = pydicom.dcmread(example(CT_SMALL))
    source.PatientName, source.PatientID = "Canary^Jane", "CANARY-ID"
    source.save_as(tmp_path / "in.dcm")
    for flags in (("--json",), ("--force",)):
        assert medq("restore", tmp_path / "in.dcm", "-o", tmp_path / "out.dcm", "--description", NOISE, *flags) == 0
    shown = capsys.readouterr()
    assert "canary" not in (shown.out + shown.err).lower()
    assert pydicom.dcmread(tmp_path / "out.dcm").PatientName == "Canary^Jane"  # it stays in its study


# The rules, without a model


def good(found: dict[str, float], **changes: object) -> Assessment:
    return replace(assessed("ct", found), verdict="good", score=3.4, **changes)  # type: ignore[arg-type]


def restored(assessment: Assessment, description: str | None = None) -> tuple[restoring.Restored, Smoother]:
    sample, restorer = phantoms.phantom("ct", seed=1, size=96), Smoother()
    return restoring.restore(sample, assessment, lambda: restorer, description), restorer  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    ("assessment", "description", "changes"),
    [
        (good({}), None, False),
        (good({"low_dose_noise": 1.2}), None, False),  # mild
        (good({"low_dose_noise": 1.8}), None, True),  # moderate
        (good({}), "moderate low-dose noise", True),  # a person names it
        (good({"low_dose_noise": 3.0}), "no noise", False),  # a person denies it
        (assessed("ct", {"low_dose_noise": 1.2}), None, True),  # usable
        (assessed("ct", {"ring": 3.0}), None, False),  # not learnt
        (replace(assessed("ct", {"low_dose_noise": 3.0}), assessable=False, reason="A photograph."), None, False),
    ],
)
def test_what_is_good_or_cannot_be_treated_stays(
    assessment: Assessment, description: str | None, changes: bool
) -> None:
    found, restorer = restored(assessment, description)
    assert (not found.restoration.unchanged) == changes == bool(restorer.calls)
    assert found.restoration.warnings
    if not changes:
        np.testing.assert_array_equal(found.restoration.sample.pixels, phantoms.phantom("ct", seed=1, size=96).pixels)
        assert not found.restoration.residual.any()


def test_the_network_reads_a_description_even_where_none_was_written() -> None:
    _, restorer = restored(replace(written(1.7, (NOISE_FINDING,)), description=""))
    assert "low-dose noise" in restorer.calls[0].text
    _, restorer = restored(written(1.7, (NOISE_FINDING,)), "mild metal streaks")
    assert restorer.calls[0].text == "mild metal streaks" and restorer.calls[0].treated == ("metal",)


def test_equal_findings_lead_in_equal_words() -> None:
    one = written(1.7, (NOISE_FINDING,))
    others = [
        replace(one, source=one.source | {"sha256": sha}, description=text) for sha in "abcd" for text in ("", "A.")
    ]
    assert len({restored(other)[1].calls[0].text for other in (one, *others)}) == 1


def test_untreated_kinds_are_named() -> None:
    found, _ = restored(assessed("ct", {"low_dose_noise": 2.0, "ring": 2.0}))
    assert any("ring" in words for words in found.restoration.warnings)


@pytest.mark.parametrize(
    ("modality", "found", "description", "left"),
    [
        ("xray", {"underexposure": 2.0, "noise": 1.8}, None, True),
        ("xray", {"underexposure": 2.0, "quantum_mottle": 1.0}, None, False),  # few photons make it, too
        ("xray", {"underexposure": 2.0, "noise": 1.8}, "moderate underexposure, noise", False),  # a person knows
        ("fundus", {"underexposure": 2.0, "noise": 2.0}, None, False),
    ],
)
def test_an_exposure_beside_noise_as_severe_is_left_and_told(
    modality: str, found: dict[str, float], description: str | None, left: bool
) -> None:
    made, restorer = restored(assessed(modality, found), description)
    assert ("underexposure" not in restorer.calls[0].findings) == left
    assert any("taken for it: underexposure" in words for words in made.restoration.warnings) == left


def test_a_picture_is_restored_as_the_modality_that_was_recognised_and_stays_as_it_was_read() -> None:
    seen = []

    class Watcher(Smoother):
        def restore(self, sample: ImageSample, *rest: object) -> Restoration:  # type: ignore[override]
            seen.append(sample.modality)
            return super().restore(sample, *rest)  # type: ignore[arg-type]

    sample = replace(phantoms.phantom("ct", seed=1, size=96), modality=None)
    found = restoring.restore(sample, assessed("ct", {"low_dose_noise": 2.0}), Watcher)  # type: ignore[arg-type]
    assert seen == ["ct"] and found.restoration.sample.modality is None


def test_weights_in_a_folder_restore_a_file_and_are_named(
    noisy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from medq_vlm.restore import weights

    untrained_restorer(tmp_path / "nano")
    monkeypatch.setattr(MedQ, "restorer", property(lambda self: weights.load(tmp_path / "nano")))
    assert medq("restore", noisy, "-o", tmp_path / "out.dcm", "--description", NOISE, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["model"]["restorer"]["name"] == "untrained" and len(result["model"]["restorer"]["sha256"]) == 64
    assert result["change"]["rms"] > 0


def test_regions_say_where_the_change_lies() -> None:
    residual = np.random.default_rng(1).normal(0, 0.1, (2, 64, 64)).astype(np.float32)
    residual[1, 10:20, 30:50] += 5
    first = restoring.regions(residual)[0]
    assert first["slice"] == 1 and first["share"] > 0.9
    x0, y0, x1, y1 = first["box"]
    assert x0 <= 31 and x1 >= 49 and y0 <= 11 and y1 >= 19
    assert restoring.regions(np.zeros((1, 16, 16), np.float32)) == []


def test_a_score_that_falls_is_told() -> None:
    before = replace(assessed("ct", {}), score=2.12)
    (words,) = restoring.score_warnings(before, replace(before, score=2.08))  # both are shown as 2.1
    assert "did not help" in words

    def scored(score: float) -> Assessment:
        return replace(before, score=score, verdict=vocab.verdict_word(score))

    (words,) = restoring.score_warnings(scored(1.6), scored(1.7))
    assert "the verdict is usable as before" in words
    for lower, higher in ((1.6, 1.9), (1.4, 1.6), (3.0, 3.0)):
        assert restoring.score_warnings(scored(lower), scored(higher)) == ()
    (words,) = restoring.score_warnings(before, replace(before, score=1.93))
    assert "2.1 before, 1.9 after" in words
    assert restoring.score_warnings(before, replace(before, score=None)) == ()


def test_a_person_leads_by_what_was_understood_and_is_told_what_was_not_found() -> None:
    guidance = from_text("very noisy, and slightly blurry", "fundus")
    assert restoring.in_own_words(guidance).text == "moderate noise, mild blur"
    (words,) = restoring.unfounded_warnings(guidance, assessed("fundus", {"noise": 2.0}))
    assert words == "The assessment did not find what is treated here: blur."
    assert restoring.unfounded_warnings(guidance, assessed("fundus", {"noise": 2.0, "blur": 1.0})) == ()
