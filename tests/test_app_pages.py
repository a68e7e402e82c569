"""What the events of the page do, without Gradio: progress, stop and go on, one conversation at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from app import chat, panel
from app.engine import Engine
from app.guard import COOKIE
from app.intake import Reader
from app.pages import KEEP, Pages, Values, owner_of
from app.room import Room
from app.store import Bounds, Store, Study
from medq_vlm.io.examples import CT_SMALL, MR_SMALL, example
from medq_vlm.phantoms import phantom, phantom_volume
from tests.assessments import assessed

REQUEST: Any = SimpleNamespace(username=None, cookies={COOKIE: "cookie"}, session_hash="page")
ANNA = owner_of(REQUEST)
UPLOAD, STATUS, STOP, SERIES = range(4)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load()


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    made = Reader(children=1)
    yield made
    made.close()


@pytest.fixture
def pages(engine: Engine, reader: Reader) -> Pages:
    return Pages(Room(engine, Store(), reader))


def uploaded(folder: Path, *names: str) -> list[str]:
    paths = []
    for name in names:
        path = folder / "upload" / name  # reading it removes the folder too
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no image" if name.endswith(".txt") else example(name).read_bytes())
        paths.append(str(path))
    return paths


def add(pages: Pages, name: str, slices: int = 1) -> Study:
    sample = phantom_volume("ct", seed=1, slices=slices, size=64) if slices > 1 else phantom("ct", seed=1, size=64)
    return pages.room.store.add(ANNA, name, sample)


def told(values: list[Values]) -> list[str]:
    return [one[STATUS] for one in values if isinstance(one[STATUS], str)]


def test_a_file_that_failed_is_told_until_the_next_upload(pages: Pages, tmp_path: Path) -> None:
    begun = list(pages.receive(uploaded(tmp_path, CT_SMALL, "notes.txt"), REQUEST))
    assert "Reading 2 files" in told(begun)[0] and "Waiting for its turn" in told(begun)[-1]
    assert all("notes.txt" in words for words in told(list(pages.assess_waiting(REQUEST))))
    again = list(pages.receive(uploaded(tmp_path, MR_SMALL), REQUEST))
    assert "notes.txt" not in told(again)[-1]


def test_progress_is_of_all_that_waits(pages: Pages) -> None:
    add(pages, "first", slices=2)
    add(pages, "second")
    words = told(list(pages.assess_waiting(REQUEST)))
    assert any("1 of 2: Assessing first: 1 of 2" in one for one in words)
    assert any("2 of 2: Assessing second" in one for one in words)
    bars = [float(one.split('value="')[1].split('"')[0]) for one in words if "value=" in one]
    assert bars == sorted(bars) and bars[0] == 0 and bars[-1] == 100


def test_a_failure_has_one_id_and_is_told_wherever_the_study_shows(pages: Pages, monkeypatch: Any) -> None:
    done = add(pages, "first")
    list(pages.assess_waiting(REQUEST))
    study = add(pages, "second")

    def broken(*given: Any) -> Iterator[Any]:
        raise KeyError("susceptibility")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(pages.room.engine, "assess", broken)
        values = list(pages.assess_waiting(REQUEST))
    assert study.state == "failed" and "id " in study.problem
    assert study.problem in told(values)[-1]
    pages.room.store.select(ANNA, study.token)
    assert "assessment failed" in panel.panel(study) and study.problem in panel.panel(study)
    (said, _), *_ = pages.ask("Why is it poor?", REQUEST)
    assert [one["role"] for one in said] == ["user", "assistant"] and "failed" in said[-1]["content"]
    first, second, *_ = pages.choices(None, None, REQUEST)
    assert (first["value"], second["value"]) == (None, done.token)


def test_two_events_do_not_assess_the_same_study(pages: Pages) -> None:
    study = add(pages, "only")
    first = pages.assess_waiting(REQUEST)
    next(first)  # begun
    next(first)
    assert study.state == "assessing"
    assert told(list(pages.assess_waiting(REQUEST))) == []
    assert len(list(first)) >= 1 and study.state == "done"


def test_a_batch_leaves_the_page_alone_on_which_somebody_writes(pages: Pages) -> None:
    shown = add(pages, "shown")
    list(pages.assess_waiting(REQUEST))
    pages.show(shown.token, REQUEST)
    add(pages, "other")
    values = list(pages.assess_waiting(REQUEST))
    assert values[-1][SERIES] is not KEEP  # its state in the list of series has changed
    assert all(value is KEEP for one in values for value in one[SERIES + 1 :])


def test_stop_leaves_what_waits_and_go_on_takes_it_up(pages: Pages) -> None:
    studies = [add(pages, name) for name in ("first", "second")]
    work = pages.assess_waiting(REQUEST)
    next(work)
    pages.stop(REQUEST)
    work.close()  # what Gradio does to a cancelled event
    assert [one.state for one in studies] == ["stopped", "stopped"]
    assert told(list(pages.assess_waiting(REQUEST))) == []
    pages.resume(REQUEST)
    list(pages.assess_waiting(REQUEST))
    assert [one.state for one in studies] == ["done", "done"]


def test_a_file_that_comes_twice_is_listed_and_told_once(pages: Pages, tmp_path: Path) -> None:
    first = uploaded(tmp_path / "a", CT_SMALL, "notes.txt")
    begun = list(pages.receive([*first, *uploaded(tmp_path / "b", CT_SMALL, "notes.txt")], REQUEST))
    assert f"Given twice and kept once: {CT_SMALL}, notes.txt." in told(begun)[-1]
    (study,) = pages.room.store.studies(ANNA)
    list(pages.assess_waiting(REQUEST))
    add(pages, "other")
    pages.room.store.select(ANNA, pages.room.store.studies(ANNA)[1].token)
    again = list(pages.receive(uploaded(tmp_path, CT_SMALL, "notes.txt"), REQUEST))
    assert "kept once" in told(again)[-1] and "Waiting" not in told(again)[-1]
    assert pages.room.store.studies(ANNA)[0] is study and len(pages.room.store.studies(ANNA)) == 2
    assert pages.room.store.selected(ANNA) is study and study.result is not None
    assert len(pages.room.store.unread(ANNA)) == 1


def test_the_same_content_under_another_name_is_another_entry(pages: Pages, tmp_path: Path) -> None:
    (path,) = uploaded(tmp_path, CT_SMALL)
    copy = tmp_path / "copy" / "second.dcm"
    copy.parent.mkdir()
    copy.write_bytes(Path(path).read_bytes())
    list(pages.receive([path], REQUEST))
    assert "kept once" not in told(list(pages.receive([str(copy)], REQUEST)))[-1]
    assert [one.name for one in pages.room.store.studies(ANNA)] == [CT_SMALL, "second.dcm"]


def test_a_stopped_study_that_is_dropped_again_takes_its_turn(pages: Pages, tmp_path: Path) -> None:
    list(pages.receive(uploaded(tmp_path, CT_SMALL), REQUEST))
    pages.stop(REQUEST)
    assert "Waiting" in told(list(pages.receive(uploaded(tmp_path, CT_SMALL), REQUEST)))[-1]
    list(pages.assess_waiting(REQUEST))
    assert [one.state for one in pages.room.store.studies(ANNA)] == ["done"]


def test_what_had_to_go_for_want_of_memory_is_told(engine: Engine, reader: Reader, tmp_path: Path) -> None:
    room = Room(engine, Store(Bounds(studies=1)), reader)
    _, problems = room.receive(ANNA, uploaded(tmp_path, CT_SMALL, MR_SMALL))
    assert problems == ["1 older study was removed from memory to make room."]


class Slow:
    """Stands in for the language model: says a word each time it is allowed to."""

    def __init__(self) -> None:
        self.turn = threading.Semaphore(0)

    def talk(self, study: Study, question: str) -> Iterator[str]:
        for word in (f"{study.name}: ", question, " answered."):
            self.turn.acquire()
            yield word


@pytest.fixture
def slow(pages: Pages, monkeypatch: Any) -> Slow:
    made = Slow()
    monkeypatch.setattr(pages.room.engine, "talk", made.talk, raising=False)
    return made


def ready(pages: Pages, name: str) -> Study:
    study = add(pages, name)
    study.result = assessed()
    pages.room.store.select(ANNA, study.token)
    return study


def test_a_new_question_ends_the_answer_that_is_written(pages: Pages, slow: Slow) -> None:
    study = ready(pages, "a")
    first = pages.ask("one", REQUEST)
    next(first)
    slow.turn.release()
    assert next(first)[0][-1]["content"] == "a:"
    second: list[Values] = []
    asking = threading.Thread(target=lambda: second.extend(pages.ask("two", REQUEST)))
    asking.start()
    while study.asked < 2 or not study.hush.is_set():  # the second question waits for the first answer's end
        time.sleep(0.01)
    slow.turn.release(4)
    rest = list(first)
    asking.join(60)
    assert all(one[0] == gr.skip() for one in rest)  # it writes no more over the new question
    assert [question for question, _ in study.chat] == ["one", "two"]
    assert study.chat[1][1] == "a: two answered."
    assert [one["content"] for one in second[-1][0]] == ["one", study.chat[0][1], "two", "a: two answered."]


def test_an_answer_does_not_show_over_another_study(pages: Pages, slow: Slow) -> None:
    study = ready(pages, "a")
    first = pages.ask("one", REQUEST)
    next(first)
    ready(pages, "b")
    slow.turn.release(3)
    assert all(one[0] == gr.skip() for one in first)
    assert study.chat == [("one", "a: one answered.")]


def test_retry_asks_the_last_question_again_and_clear_forgets(pages: Pages, slow: Slow) -> None:
    study = ready(pages, "a")
    study.chat = [("one", "first answer"), ("two", "poor answer")]
    slow.turn.release(3)
    shown = list(pages.retry(REQUEST))[-1][0]
    assert [one["content"] for one in shown] == ["one", "first answer", "two", "a: two answered."]
    pages.unsay(REQUEST)
    assert study.chat == [] and chat.messages(study) == []
