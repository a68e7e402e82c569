"""What the app remembers is bounded, forgotten when idle, and seen by its own page alone."""

from __future__ import annotations

import numpy as np
import pytest

from app.intake import Unread
from app.store import Bounds, Owner, Store
from medq_vlm.schema import ImageSample, MedQError
from tests.assessments import assessed

ANNA, BERND = Owner("", "cookie-a", "page-a"), Owner("", "cookie-b", "page-b")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def sample(size: int = 8) -> ImageSample:
    return ImageSample(np.zeros((1, size, size), np.float32))


def test_a_study_is_seen_by_its_own_page_alone() -> None:
    store = Store()
    study = store.add(ANNA, "a.dcm", sample())
    assert store.get(ANNA, study.token) is study
    assert store.get(BERND, study.token) is None
    assert store.get(Owner("", "cookie-a", "page-b"), study.token) is None
    assert store.get(Owner("other login", "cookie-a", "page-a"), study.token) is None


def test_pictures_need_the_token_and_the_cookie() -> None:
    store = Store()
    study = store.add(ANNA, "a.dcm", sample())
    assert store.by_token(study.token, "cookie-a") is study
    assert store.by_token(study.token, "cookie-b") is None
    assert store.by_token(study.token, "") is None
    assert store.by_token("guess", "cookie-a") is None
    assert store.by_token(study.token, "cookie-a", "another login") is None
    own = store.add(Owner("anna", "cookie-a", "page-a"), "b.dcm", sample())
    assert store.by_token(own.token, "cookie-a", "anna") is own
    assert store.by_token(own.token, "cookie-a") is None  # logged out


def test_a_page_that_is_loaded_again_has_its_studies_back() -> None:
    store = Store()
    done, waits = store.add(ANNA, "a", sample()), store.add(ANNA, "b", sample())
    done.result, done.state, waits.state = assessed(), "done", "assessing"
    done.chat.append(("Why?", "It is noisy."))
    store.failed(ANNA, [Unread("c", "c: it is empty.")])
    store.select(ANNA, done.token)
    again = Owner("", "cookie-a", "page-a after F5")
    for other in (BERND, Owner("other login", "cookie-a", "page")):
        assert not store.adopt(other, done.token)
    assert not store.adopt(again, "guess")
    assert store.adopt(again, done.token)
    assert store.studies(ANNA) == [] and store.selected(again) is done and done.chat
    assert [one.name for one in store.unread(again)] == ["c"]
    assert waits.stop.is_set()  # its event went with the old page
    assert [(one.name, one.state, one.owner) for one in store.studies(again)] == [
        ("a", "done", again), ("b", "waiting", again),
    ]  # fmt: skip
    store.leave(ANNA)  # comes late and harms nobody
    assert not done.stop.is_set()


def test_heat_maps_and_scores_count_as_memory() -> None:
    one = sample(16).pixels.nbytes
    store = Store(Bounds(page_bytes=3 * one))
    first, second = store.add(ANNA, "a", sample(16)), store.add(ANNA, "b", sample(16))
    second.heat[0, "noise"] = np.zeros((32, 16), np.float32)
    assert second.size_bytes == 3 * one
    store.grown(second)
    assert store.studies(ANNA) == [second] and first.stop.is_set()
    second.heat[1, "noise"] = np.zeros((16, 16), np.float32)
    store.grown(second)  # alone and too much: the study stays, its maps go
    assert store.studies(ANNA) == [second] and not second.heat


def test_the_oldest_study_goes_when_there_are_too_many() -> None:
    store = Store(Bounds(studies=2))
    first, second, third = (store.add(ANNA, name, sample()) for name in "abc")
    assert store.studies(ANNA) == [second, third]
    assert first.stop.is_set()  # its assessment ends too


def test_bytes_of_a_page_and_of_all_pages_are_bounded() -> None:
    one = sample(16).pixels.nbytes
    store = Store(Bounds(page_bytes=2 * one, all_bytes=3 * one))
    for name in "abc":
        store.add(ANNA, name, sample(16))
    assert len(store.studies(ANNA)) == 2
    store.add(BERND, "d", sample(16))
    store.add(BERND, "e", sample(16))
    assert len(store.studies(BERND)) == 2
    assert store.studies(ANNA) == []  # the page that was used longest ago
    with pytest.raises(MedQError, match="too large"):
        store.add(ANNA, "f", sample(64))


def test_an_idle_page_is_forgotten() -> None:
    clock = Clock()
    store = Store(Bounds(idle_s=10), clock)
    study = store.add(ANNA, "a", sample())
    clock.now = 9.0
    assert store.get(ANNA, study.token) is study  # asking keeps it
    clock.now = 18.0
    store.sweep()
    assert len(store) == 1
    clock.now = 30.0
    store.sweep()
    assert len(store) == 0


def test_a_closed_page_is_forgotten_soon_and_its_work_stopped() -> None:
    clock = Clock()
    store = Store(Bounds(idle_s=1000, leave_s=5), clock)
    study = store.add(ANNA, "a", sample())
    store.leave(ANNA)
    assert study.stop.is_set()
    clock.now = 6.0
    store.sweep()
    assert len(store) == 0


def test_a_page_that_comes_back_is_kept() -> None:
    clock = Clock()
    store = Store(Bounds(idle_s=1000, leave_s=5), clock)
    study = store.add(ANNA, "a", sample())
    store.leave(ANNA)
    clock.now = 3.0
    assert store.get(ANNA, study.token) is study
    clock.now = 20.0
    store.sweep()
    assert len(store) == 1


def test_the_shown_study_is_the_selected_one_or_the_newest() -> None:
    store = Store()
    first, second = store.add(ANNA, "a", sample()), store.add(ANNA, "b", sample())
    assert store.selected(ANNA) is second
    store.select(ANNA, first.token)
    assert store.selected(ANNA) is first
    assert store.select(BERND, first.token) is None
    assert store.selected(BERND) is None
