"""The restore tab without Gradio and without weights: a stand-in network, real pictures, real bounds."""

from __future__ import annotations

import io as streams
import json
import zipfile
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from app import exports, restore
from app.engine import Engine
from app.guard import COOKIE
from app.intake import Reader
from app.pages import KEEP, owner_of
from app.room import Room
from app.store import Bounds, Owner, Store, Study
from medq_vlm import io, restoring
from medq_vlm.phantoms import phantom, phantom_volume
from medq_vlm.schema import MedQError
from tests.assessments import NOISE, assessed
from tests.test_restore_command import Smoother

REQUEST: Any = SimpleNamespace(username=None, cookies={COOKIE: "cookie"}, session_hash="page")
ANNA = owner_of(REQUEST)


class Model:
    """A MedQ that restores by smoothing and finds the result better."""

    restorer_identity: ClassVar = {"name": "smoother", "version": "0", "sha256": "0"}

    def __init__(self) -> None:
        self.restorer = Smoother()

    def restored(self, sample: Any, before: Any, description: Any, progress: Any) -> restoring.Restored:
        progress(sample.slices, sample.slices)
        return restoring.restore(sample, before, lambda: self.restorer, description, progress)  # type: ignore[arg-type, return-value]

    def assess_sample(self, sample: Any, acquisition: Any, progress: Any) -> Any:
        progress(sample.slices, sample.slices)
        return assessed(3.1)


@pytest.fixture
def room() -> Room:
    return Room(Engine(Model()), Store(), Reader.__new__(Reader))  # type: ignore[arg-type]


def opened(room: Room, slices: int = 1, **changes: Any) -> Study:
    sample = phantom_volume("ct", seed=1, slices=slices, size=64) if slices > 1 else phantom("ct", seed=1, size=64)
    study = room.store.add(ANNA, "scan <b>", replace(sample, sha256="ab" * 32, **changes))
    study.result = assessed(1.7, (NOISE,))
    return study


def test_a_restoration_is_kept_shown_and_told(room: Room) -> None:
    study = opened(room, slices=3)
    steps = list(room.restore(study))
    assert [step.done <= step.total for step in steps] == [True] * len(steps) and steps[-1].restored is not None
    assert study.treated is not None and not study.treated.by_person
    shown, told = restore.view(study), restore.facts(study)
    assert 'data-restore="{' in shown and "mq-before" in shown
    for words in ("1.7", "3.1", "Low-dose noise", "rms", "medq restore", "/export/restored"):
        assert words in told, words
    assert "<b>" not in told.split("mq-scores")[0]


def test_both_pictures_go_through_the_originals_window_and_the_change_has_its_scale(room: Room) -> None:
    study = opened(room)
    list(room.restore(study))
    assert study.treated is not None
    made = study.treated.restored.restoration
    picture = np.asarray(Image.open(streams.BytesIO(restore.slice_png(study, 0, (40.0, 400.0)))))
    expected = np.asarray(Image.open(streams.BytesIO(
        restore.viewer.slice_png(replace(made.sample, window=None), 0, (40.0, 400.0)))))  # fmt: skip
    np.testing.assert_array_equal(picture, expected)
    change = Image.open(streams.BytesIO(restore.change_png(study, 0)))
    assert change.width > study.sample.pixels.shape[2]
    for wrong in (lambda: restore.slice_png(study, 1), lambda: restore.change_png(study, -1)):
        with pytest.raises(MedQError):
            wrong()


def test_before_there_is_one_nothing_is_shown_or_served(room: Room) -> None:
    study = opened(room)
    assert "Nothing was restored" in restore.view(study) and restore.facts(study) == ""
    for ask in (lambda: restore.slice_png(study, 0), lambda: restore.change_png(study, 0),
                lambda: exports.export(room.engine, study, "restored")):  # fmt: skip
        with pytest.raises(MedQError, match="not restored yet"):
            ask()
    study.result = None
    with pytest.raises(MedQError, match="not assessed yet"):
        list(room.restore(study))


@pytest.mark.parametrize(("slices", "ending"), [(1, ".tif"), (3, ".nii.gz")])
def test_the_download_holds_image_change_and_record_without_a_patient(room: Room, slices: int, ending: str) -> None:
    study = opened(room, slices=slices)
    list(room.restore(study))
    file = exports.export(room.engine, study, "restored")
    archive = zipfile.ZipFile(streams.BytesIO(file.data))
    names = archive.namelist()
    assert len(names) == 3 and names[0].endswith(f"-restored{ending}") and all(n.startswith("medq-ab") for n in names)
    found = io.load_bytes("out", archive.read(names[0]))[0]
    assert study.treated is not None
    step = 0.5 if ending == ".tif" and study.sample.bits in (8, 16) else 1e-3
    np.testing.assert_allclose(found.pixels, study.treated.restored.restoration.sample.pixels, atol=step)
    plain = json.loads(archive.read(names[2]))
    restoring.validate(plain)
    assert plain["outputs"] == [names[0]] and plain["residual_picture"] == names[1]


def test_a_persons_words_lead_and_may_leave_it_alone(room: Room) -> None:
    study = opened(room)
    list(room.restore(study, "no noise at all"))
    assert study.treated is not None and study.treated.restored.restoration.unchanged and study.treated.by_person
    shown = restore.view(study)
    assert "Unchanged" in restore.facts(study) and "names no degradation" in shown
    assert "in CT images it treats low-dose noise, sparse-view streaks, metal streaks and noise." in shown
    assert "mq-before" in shown and "mq-after" not in shown and "data-mode" not in shown  # the picture stays
    list(room.restore(study, "severe low-dose noise"))
    assert study.treated.number == 2 and not study.treated.restored.restoration.unchanged


def test_the_events_of_the_tab(room: Room) -> None:
    events = restore.RestorePages(room)
    assert "Open a study" in next(events.restore(REQUEST))[0]
    study = opened(room)
    _, _, shown, told, words = events.show(REQUEST)
    assert words == study.result.description and told == "" and "Nothing" in shown  # type: ignore[union-attr]
    values = list(events.restore(REQUEST))
    assert "Restoring" in values[0][0] and "mq-before" in values[-1][2] and "3.1" in values[-1][3]
    assert study.treated is not None
    assert values[-1][4] == study.treated.restored.guidance.text  # what the network read
    values = list(events.again("moderate low-dose noise", REQUEST))
    assert values[-1][4] is KEEP and "your description" in values[-1][3]
    list(events.again(study.result.description, REQUEST))  # type: ignore[union-attr]
    assert study.treated is not None and not study.treated.by_person  # its own words are its findings


def test_two_restorations_of_one_study_do_not_run_together(room: Room) -> None:
    study = opened(room)
    first = room.restore(study)
    next(first)
    with pytest.raises(MedQError, match="already"):
        next(room.restore(study))
    first.close()
    list(room.restore(study))


def test_stop_ends_the_restoration_and_not_the_assessment_beside_it(room: Room) -> None:
    study = opened(room, slices=3)
    assessing = study.fresh_stop()
    work = room.restore(study)
    next(work)
    restore.RestorePages(room).stop(REQUEST)
    assert study.stop_restoring.is_set() and not assessing.is_set()
    work.close()
    study.stop.set()  # the assessment's own
    list(room.restore(study))
    assert study.treated is not None


def test_a_run_that_nobody_waits_for_ends_no_other(room: Room) -> None:
    study = opened(room, slices=3)
    work = room.restore(study)
    next(work)
    work.close()
    assert not study.stop_restoring.is_set()


def test_a_restoration_counts_as_memory_and_older_studies_make_room(room: Room) -> None:
    first, second = opened(room), opened(room)
    size = first.size_bytes
    room.store.bounds = Bounds(page_bytes=round(3.5 * size))
    list(room.restore(second))
    assert room.store.studies(ANNA) == [second] and second.size_bytes > 2.5 * size
    room.store.bounds = Bounds(page_bytes=2 * size)
    second.treated = None
    with pytest.raises(MedQError, match="memory"):
        list(room.restore(second))
    assert second.treated is None and room.store.studies(ANNA) == [second]


def test_nobody_else_gets_a_restored_picture(room: Room) -> None:
    study = opened(room)
    list(room.restore(study))
    assert room.store.by_token(study.token, "other") is None
    assert room.store.get(Owner("", "other", "page"), study.token) is None
    room.store.drop(ANNA)
    assert study.treated is None
