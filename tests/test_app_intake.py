"""Uploads: in memory, gone from disk at once, limited, and every file gives an image or a sentence."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from gradio.data_classes import PredictBodyInternal
from gradio.queueing import Event, EventQueue

from app.intake import Named, Reader, UploadLimits, sweep, take
from app.serve import queued
from medq_vlm.io.examples import CT_SMALL, MR_SMALL, example
from medq_vlm.schema import MedQError
from tests.dicom_files import AXIAL, dicom, ramp


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    made = Reader(children=1)
    yield made
    made.close()


def uploaded(folder: Path, name: str, data: bytes) -> Path:
    """A file as Gradio leaves it: in a folder of its own."""
    path = folder / os.urandom(4).hex() / name
    path.parent.mkdir()
    path.write_bytes(data)
    return path


def test_an_upload_is_gone_from_disk_once_it_is_in_memory(tmp_path: Path) -> None:
    paths = [uploaded(tmp_path, "DOE^JANE.dcm", b"one"), uploaded(tmp_path, "b.dcm", b"two")]
    assert take(paths) == [Named("DOE^JANE.dcm", b"one"), Named("b.dcm", b"two")]
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (UploadLimits(files=1), "at most 1"), (UploadLimits(file_bytes=2), "larger than"),
        (UploadLimits(bytes=5), "together"),
    ],
)  # fmt: skip
def test_limits_are_checked_here_and_the_files_deleted_all_the_same(
    tmp_path: Path, limits: UploadLimits, words: str
) -> None:
    paths = [uploaded(tmp_path, "a", b"one"), uploaded(tmp_path, "b", b"two")]
    with pytest.raises(MedQError, match=words):
        take(paths, limits)
    assert list(tmp_path.rglob("*")) == []


def test_an_interrupted_upload_is_swept_away(tmp_path: Path) -> None:
    path = uploaded(tmp_path, "left.dcm", b"x")
    assert sweep(tmp_path, 60.0) == 0
    later = path.stat().st_mtime + 61
    assert sweep(tmp_path, 60.0, later, keep={str(path)}) == 0 and path.exists()
    assert sweep(tmp_path, 60.0, later) == 1
    assert not path.exists()


def test_an_upload_that_waits_for_the_model_is_known() -> None:
    """In the queue and while its event runs; an event that was cancelled waits no longer."""
    with gr.Blocks() as page:
        button, files, text = gr.Button(), gr.File(file_count="multiple"), gr.Textbox()
        button.click(lambda *_: None, [files, text], None, concurrency_id="model")
    event = Event("session", page.fns[0], None, None)  # type: ignore[arg-type]
    event.data = PredictBodyInternal(data=[[{"path": "/cache/a/scan.dcm", "meta": {}}], "words", None])
    waiting = EventQueue("model", 2)
    page._queue.event_queue_per_concurrency_id["model"] = waiting
    assert queued(page) == set()
    waiting.queue.append(event)
    assert queued(page) == {"/cache/a/scan.dcm"}
    waiting.queue.remove(event)
    assert queued(page) == set()
    page._queue.active_jobs = [None, [event]]
    assert queued(page) == {"/cache/a/scan.dcm"}


def test_files_of_one_series_become_one_stack(reader: Reader) -> None:
    series = "1.2.3"
    files = [
        Named(f"IM{n}.dcm", dicom(ramp(start=n), SeriesInstanceUID=series, ImageOrientationPatient=AXIAL,
                                  ImagePositionPatient=[0, 0, float(n)], InstanceNumber=n))
        for n in (3, 1, 2)
    ]  # fmt: skip
    taken = reader.read(files)
    assert [one.pixels.shape for one in taken.samples] == [(3, 16, 16)]
    assert taken.samples[0].pixels[:, 0, 0].tolist() == [1, 2, 3]  # by position, not by name
    assert taken.unread == []


def test_images_keep_the_names_they_came_with_and_failures_are_named(reader: Reader) -> None:
    files = [Named(name, example(name).read_bytes()) for name in (CT_SMALL, MR_SMALL)]
    taken = reader.read([*files, Named("notes.txt", b"hello")])
    assert sorted(one.path for one in taken.samples) == sorted([CT_SMALL, MR_SMALL])
    (unread,) = taken.unread
    assert unread.name == "notes.txt" and "this is not an image in a known format; give" in unread.problem
    alone = reader.read([Named("notes.txt", b"hello")])
    assert alone.samples == [] and [one.name for one in alone.unread] == ["notes.txt"]


def test_a_zip_is_opened(reader: Reader) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("DOE^JANE/1", example(CT_SMALL).read_bytes())
    taken = reader.read([Named("study.zip", out.getvalue())])
    assert len(taken.samples) == 1
    assert "DOE" not in taken.samples[0].path  # names inside an archive are not the user's own words


def test_a_hostile_file_does_not_end_the_reader(reader: Reader) -> None:
    bomb = dicom(np.zeros((1, 16, 16), "u2"), Rows=65535, Columns=65535)
    taken = reader.read([Named("bomb.dcm", bomb)])
    assert taken.samples == [] and len(taken.unread) == 1
    assert len(reader.read([Named(CT_SMALL, example(CT_SMALL).read_bytes())]).samples) == 1
