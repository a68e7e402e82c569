"""The engine and the room: progress, stop, a full GPU, exports; errors become sentences without details."""

from __future__ import annotations

import io
import json
import logging
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app import chat, exports
from app.engine import Engine, Stopped
from app.intake import Reader
from app.review import parse
from app.room import EXAMPLES, Room, explain, time_left
from app.store import Owner, Store, Study
from medq_vlm.phantoms import phantom, phantom_volume
from medq_vlm.report import validate
from medq_vlm.schema import ImageSample, IngestError, MedQError
from tests.assessments import assessed

ANNA = Owner("", "cookie", "page")


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load()


@pytest.fixture
def room(engine: Engine) -> Room:
    return Room(engine, Store(), Reader(children=1))


@pytest.fixture(scope="module")
def small() -> ImageSample:
    return phantom("ct", seed=1, size=96)


def test_progress_counts_every_slice_and_ends_with_the_result(room: Room) -> None:
    study = room.store.add(ANNA, "v", phantom_volume("ct", seed=1, slices=3, size=64))
    steps = list(room.assess(study))
    assert [step.done for step in steps] == [1, 2, 3, 3]
    assert study.result is steps[-1].result and study.encoded is not None
    assert len(study.encoded.scored) == 3


def test_a_stopped_assessment_ends_after_the_slice_at_hand(room: Room) -> None:
    study = room.store.add(ANNA, "v", phantom_volume("ct", seed=1, slices=8, size=64))
    with pytest.raises(Stopped):
        for _ in room.assess(study):
            study.stop.set()
    assert study.result is None


def test_another_description_keeps_the_result_before(room: Room, small: ImageSample) -> None:
    study = room.store.add(ANNA, "a", small)
    for _ in room.assess(study):
        pass
    first = study.result
    for _ in room.assess(study, "Head CT, 80 kVp\x00" + "x" * 5000):
        pass
    assert study.before is first and study.result is not None
    assert study.result.acquisition.startswith("Head CT, 80 kVp") and len(study.result.acquisition) <= 600


def test_what_a_person_says_it_is_wins_over_the_image(room: Room, small: ImageSample) -> None:
    study = room.store.add(ANNA, "a", replace(small, modality=None, anatomy=None))
    for words, chosen, anatomy in (("Brain MR, sagittal T1", None, "head"), ("Brain MR", "spine", "spine")):
        study.modality, study.anatomy = "mr", chosen
        for _ in room.assess(study, words):
            pass
        assert study.result is not None
        assert (study.result.modality.value, study.result.modality.from_) == ("mr", "user")
        assert (study.result.anatomy.value, study.result.anatomy.from_) == (anatomy, "user")


def test_a_full_gpu_falls_back_and_the_next_request_works(engine: Engine) -> None:
    calls = []

    def full_once() -> str:
        calls.append(1)
        if len(calls) == 1:
            raise torch.OutOfMemoryError
        return "done"

    def always_full() -> None:
        raise torch.OutOfMemoryError

    assert engine.guarded(full_once) == "done"
    assert engine.fell_back
    with pytest.raises(MedQError, match="not enough memory"):
        engine.guarded(always_full)
    assert engine.guarded(lambda: 1) == 1
    engine.fell_back = False


class Full:
    """A model on a full GPU; the CPU it falls back to answers."""

    def __init__(self, before: int) -> None:
        self.left, self.before = 0, before

    def leave_gpu(self) -> None:
        self.left += 1

    @property
    def talker(self) -> None:
        return None

    def ask(self, *_: object) -> Iterator[str]:
        if not self.left:
            yield from ["The image "] * self.before
            raise torch.OutOfMemoryError
        yield "It is noisy."


def answered(full: Full) -> Iterator[str]:
    study = Study("t", ANNA, "a", ImageSample(np.zeros((1, 8, 8), np.float32)))
    study.result, study.encoded = assessed(), object()  # type: ignore[assignment]
    engine = Engine(full)  # type: ignore[arg-type]
    engine.__dict__["language"] = "a model"
    return engine.talk(study, "Why?")


def test_an_answer_that_meets_a_full_gpu_is_begun_again() -> None:
    full = Full(before=0)
    assert list(answered(full)) == ["It is noisy."]
    assert full.left == 1


def test_half_an_answer_that_meets_a_full_gpu_ends_with_a_sentence() -> None:
    pieces = answered(Full(before=1))
    assert next(pieces) == "The image "
    with pytest.raises(MedQError, match="ask again"):
        next(pieces)


def test_all_who_find_the_gpu_full_move_once() -> None:
    full = Full(before=0)
    engine = Engine(full)  # type: ignore[arg-type]
    barrier = threading.Barrier(4)

    def work(_: int) -> str:
        met: list[bool] = []

        def once() -> str:
            if not met:
                met.append(True)
                barrier.wait(10)
                raise torch.OutOfMemoryError
            return "done"

        return engine.guarded(once)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == ["done"] * 4
    assert full.left == 1


def test_the_filed_report_holds_the_review(room: Room, small: ImageSample) -> None:
    study = room.store.add(ANNA, "scan.png", small)
    with pytest.raises(MedQError, match="not assessed"):
        exports.export(room.engine, study, "pdf")
    for _ in room.assess(study):
        pass
    study.review = parse({"findings": {"ring": "present"}, "verdict": "reject", "comment": "seen at once"})
    archive = zipfile.ZipFile(io.BytesIO(exports.export(room.engine, study, "zip").data))
    by_ending = {Path(name).suffix: archive.read(name) for name in archive.namelist() if "review" not in name}
    assert by_ending[".pdf"].startswith(b"%PDF")
    assert b"seen at once" in by_ending[".html"] and b"Review by a person" in by_ending[".html"]
    assert b"reader_study" in by_ending[".csv"]
    told = json.loads(exports.export(room.engine, study, "json").data)
    validate(told)
    assert told["review"]["findings"] == {"ring": "present"} and told["review"]["comment"] == "seen at once"


def test_a_report_leaves_nothing_on_disk(room: Room, small: ImageSample, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    study = room.store.add(ANNA, "a", small)
    for _ in room.assess(study):
        pass
    exports.export(room.engine, study, "pdf")
    assert list(tmp_path.rglob("*")) == []


def test_a_sentence_of_ours_is_shown_and_any_other_hidden(caplog: pytest.LogCaptureFixture) -> None:
    assert explain(IngestError("empty", "a.dcm: it is empty.")) == "a.dcm: it is empty."
    caplog.set_level(logging.ERROR)
    try:
        raise ValueError("PLANTED^PATIENT")
    except ValueError as error:
        said = explain(error)
    assert "PLANTED" not in said + caplog.text
    assert "id " in said and said.split("id ")[1][:8] in caplog.text


def test_every_example_that_is_offered_opens(room: Room) -> None:
    for name in EXAMPLES:
        assert room.open_example(ANNA, name).sample.path == name
    with pytest.raises(MedQError, match="no example"):
        room.open_example(ANNA, "nothing")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (0.2, ""), (12.4, "about 12 s left"), (100.0, "about 1 min 40 s left")],
)
def test_the_time_left_is_told_in_words(seconds: float | None, words: str) -> None:
    assert time_left(seconds) == words


class Speaker:
    """Stands in for the language model: says its study's name in pieces."""

    def __init__(self) -> None:
        self.histories: list[Any] = []

    def talk(self, study: Study, question: str) -> Iterator[str]:
        self.histories.append(list(study.chat))
        study.hush.clear()
        yield from (f"{study.name}", " is", " shown.")


def test_ten_questions_each_of_two_users_do_not_mix(room: Room, small: ImageSample, monkeypatch: Any) -> None:
    speaker = Speaker()
    monkeypatch.setattr(room.engine, "talk", speaker.talk, raising=False)
    other = Owner("", "other", "page2")
    pair = [(ANNA, room.store.add(ANNA, "first", small)), (other, room.store.add(other, "second", small))]
    for number in range(10):
        streams = [chat.answer(room, owner, study, f"question {number}") for owner, study in pair]
        said = [list(parts) for parts in zip(*streams, strict=True)]  # word by word in turn
        assert said[-1] == ["first is shown.", "second is shown."]
    for _, study in pair:
        assert [question for question, _ in study.chat] == [f"question {n}" for n in range(10)]
        assert all(answer.startswith(study.name) for _, answer in study.chat)


def test_a_stopped_answer_keeps_what_was_said(room: Room, small: ImageSample, monkeypatch: Any) -> None:
    monkeypatch.setattr(room.engine, "talk", Speaker().talk, raising=False)
    study = room.store.add(ANNA, "first", small)
    for _ in chat.answer(room, ANNA, study, "Why?"):
        study.hush.set()
    assert study.chat == [("Why?", "first")]


def test_comparing_needs_an_earlier_study(room: Room, small: ImageSample) -> None:
    study = room.store.add(ANNA, "first", small)
    with pytest.raises(MedQError, match="no earlier study"):
        list(chat.answer(room, ANNA, study, chat.COMPARE))
