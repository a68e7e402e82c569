"""The parent outlives everything: each input ends as samples or as one sentence, whatever its child dies of."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom.data
import pytest

from medq_vlm.io import Limits, load, load_bytes, load_many
from medq_vlm.io.guard import Child
from medq_vlm.schema import ImageSample, IngestError, MedQError
from tests.bombs import bombs
from tests.dicom_files import AXIAL, dicom, ramp

CORPUS = sorted(p for p in Path(pydicom.data.__file__).parent.joinpath("test_files").rglob("*") if p.is_file())
SEEDS = (
    "CT_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm",
    "examples_palette.dcm", "SC_rgb_small_odd_jpeg.dcm", "image_dfl.dcm", "liver_1frame.dcm", "rtdose.dcm",
    "SC_rgb_rle_2frame.dcm", "reportsi.dcm", "MR_small_bigendian.dcm",
)  # fmt: skip


def check(outcome: list[ImageSample] | IngestError, name: str) -> None:
    """The law of every outcome: finite float32 samples, or one sentence that names the file."""
    if isinstance(outcome, IngestError):
        text = str(outcome)
        assert name in text
        assert text.endswith(".") and "\n" not in text and "Error" not in text and "Traceback" not in text
        assert outcome.code.replace("_", "").isalpha()
        return
    for sample in outcome:
        assert sample.pixels.dtype == np.float32
        assert sample.pixels.ndim in (3, 4)
        assert np.isfinite(sample.pixels).all()
        assert len(sample.sha256) == 64


def read_the_corpus() -> None:
    """Every outcome is lawful, and no child takes more than two gigabytes."""
    outcomes = list(load_many(CORPUS))
    assert [name for name, _ in outcomes] == [str(path) for path in CORPUS]
    for name, outcome in outcomes:
        check(outcome, Path(name).name)
    codes = [outcome.code for _, outcome in outcomes if isinstance(outcome, IngestError)]
    assert not {"timeout", "crashed", "memory"} & set(codes)
    assert len(outcomes) - len(codes) > 80
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss <= 2 * 1024 * 1024  # KiB


def test_every_file_of_the_corpus_ends_as_samples_or_a_sentence() -> None:
    # In an interpreter of its own: a child counts the memory of the parent it was forked from as its peak, too.
    command = [sys.executable, "-c", "from tests.test_io_guard import read_the_corpus; read_the_corpus()"]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_bombs_end_as_sentences(tmp_path: Path) -> None:
    harmless = {"nested_100", "undefined_100", "nested_1000", "nested_20000"}  # deep, lazily read, and never walked
    paths = []
    for name, data in bombs().items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(data)
    outcomes = dict(load_many(paths))
    for path in paths:
        outcome = outcomes[str(path)]
        check(outcome, path.name)
        if path.name not in harmless:
            assert isinstance(outcome, IngestError), path.name
            assert outcome.code not in ("timeout", "crashed"), path.name
    assert load_bytes("after", dicom(ramp()))[0].slices == 1


def test_mutated_files_end_as_samples_or_sentences(tmp_path: Path) -> None:
    rng = np.random.default_rng(20261121)
    paths = []
    for name in SEEDS:
        seed = np.frombuffer(next(path for path in CORPUS if path.name == name).read_bytes(), np.uint8)
        for number in range(5):
            data = seed.copy()
            count = int(rng.integers(1, 30))
            span = len(data) if number % 2 else min(len(data), 2000)  # half of them in the header
            data[rng.integers(132, span, count)] = rng.integers(0, 256, count)
            paths.append(tmp_path / f"{number}_{name}")
            paths[-1].write_bytes(data[: int(rng.integers(200, len(data)))] if number == 4 else data)
    seen = set()
    for name, outcome in load_many(paths):
        check(outcome, Path(name).name)
        seen.add(name)
    assert seen == {str(path) for path in paths}


def slices(folder: Path, count: int) -> None:
    for number in range(count):
        (folder / f"{number}").write_bytes(
            dicom(
                ramp(),
                SeriesInstanceUID="1.2.3",
                ImageOrientationPatient=AXIAL,
                ImagePositionPatient=[0, 0, number],
            )
        )


def killing(victim: Path, how: signal.Signals) -> Child:
    """A child that dies of `how` when it begins `victim`."""

    def at_begin(name: str) -> None:
        if name == str(victim) and child.process is not None:
            os.kill(child.process.pid, how)
            child.process.wait()

    child = Child(Limits(), at_begin)
    return child


@pytest.mark.parametrize(("how", "code"), [(signal.SIGSEGV, "crashed"), (signal.SIGXCPU, "timeout")])
def test_a_killed_child_costs_one_file_of_a_series(tmp_path: Path, how: signal.Signals, code: str) -> None:
    slices(tmp_path, 3)
    (tmp_path / "1").write_bytes(dicom(np.tile(ramp(), (100, 100))))  # takes longer to read than the signal to arrive
    with killing(tmp_path / "1", how) as child:
        good, bad = child.run(str(tmp_path), None)
    assert [sample.slices for sample in good] == [2]
    assert [error.code for error in bad] == [code]
    assert str(tmp_path / "1") in str(bad[0])


def test_the_other_files_go_on_after_a_death(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(dicom(ramp()))
    with killing(tmp_path / "b", signal.SIGKILL) as child:
        counts = [len(child.run(str(tmp_path / name), None)[0]) for name in "abc"]
    assert counts == [1, 0, 1]


def test_a_reader_that_does_not_come_up_blames_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slices(tmp_path, 1)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(MedQError) as caught:
        load(tmp_path)
    assert caught.value.exit_code == 1 and "could not be started" in str(caught.value)


def test_a_reader_that_died_idle_is_started_again(tmp_path: Path) -> None:
    slices(tmp_path, 1)
    with Child(Limits()) as child:
        assert len(child.run(str(tmp_path), None)[0]) == 1
        assert child.process is not None
        child.process.kill()
        child.process.wait()
        good, bad = child.run(str(tmp_path), None)
    assert (len(good), bad) == (1, [])


def test_no_time_left_is_a_sentence() -> None:
    with pytest.raises(IngestError) as caught:
        load_bytes("slow.dcm", dicom(ramp()), Limits(wall_s=0))
    assert caught.value.code == "timeout"
    assert "slow.dcm" in str(caught.value)


def test_too_little_memory_is_a_sentence(tmp_path: Path) -> None:
    np.save(tmp_path / "big.npy", np.zeros((400, 512, 512), np.int8))
    with pytest.raises(IngestError) as caught:
        load(tmp_path / "big.npy", Limits(memory_bytes=400 * 1024 * 1024))
    assert caught.value.code == "memory"


def test_load_many_names_the_bad_file_of_a_folder_and_keeps_the_rest(tmp_path: Path) -> None:
    slices(tmp_path, 2)
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    (whole, samples), (part, error) = load_many([tmp_path])
    assert isinstance(samples, list)
    assert isinstance(error, IngestError)
    assert samples[0].slices == 2
    assert "1 other file" in samples[0].warnings[-1]
    assert (whole, part) == (str(tmp_path), str(tmp_path))
    assert str(tmp_path / "bad.png") in str(error)


def test_missing_paths_and_odd_names(tmp_path: Path) -> None:
    odd = tmp_path / "a\nb.dcm"
    odd.write_bytes(dicom(ramp()))
    (first, missing), (second, samples) = load_many([tmp_path / "nothing", odd])
    assert isinstance(missing, IngestError)
    assert missing.code == "not_found"
    assert isinstance(samples, list)
    assert (Path(first).name, second) == ("nothing", str(odd))


def test_guarded_and_plain_reading_agree(tmp_path: Path) -> None:
    from medq_vlm.io import read

    (tmp_path / "a").write_bytes(dicom(ramp(), PixelPaddingValue=0, WindowCenter=1, WindowWidth=2))
    (there,), (here,) = load(tmp_path / "a"), read(tmp_path / "a")
    for name in there.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(there, name), getattr(here, name))
    assert there.pixels.flags.writeable


def test_progress_names_each_file(tmp_path: Path) -> None:
    slices(tmp_path, 3)
    begun: list[str] = []
    list(load_many([tmp_path], progress=begun.append))
    assert set(begun) == {str(tmp_path / str(number)) for number in range(3)}


def test_the_reader_imports_no_torch_and_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(dicom(ramp()))
    code = (
        "import sys; from medq_vlm.io import load, read; load('a'); "
        "assert not {'torch', 'pydicom'} & set(sys.modules); read('a'); assert 'torch' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env=environment)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_module_planted_beside_the_data_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(dicom(ramp()))
    (tmp_path / "pydicom.py").write_text("open('canary', 'w').close()")
    monkeypatch.chdir(tmp_path)
    assert load("a")[0].slices == 1
    assert not (tmp_path / "canary").exists()
