"""With a login, nothing but the login page and the health answers a stranger."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from app import ui
from app.engine import Engine
from app.intake import Reader
from app.room import Room
from app.serve import web
from app.store import Store


@pytest.fixture(scope="module")
def page() -> Iterator[TestClient]:
    room = Room(Engine.load(), Store(), Reader(children=1))
    app = web(room, [("anna", "secret")], ui.build(room))
    with TestClient(app) as client:  # type: ignore[arg-type]
        yield client


def test_a_stranger_gets_nothing(page: TestClient) -> None:
    assert page.get("/health").status_code == 200
    assert page.get("/config").status_code == 401
    assert page.get("/gradio_api/info").status_code == 401
    assert page.post("/gradio_api/upload", files={"files": b"x"}).status_code == 401
    body = {"data": [None, ""], "session_hash": "s"}
    for path in ("/gradio_api/call/assess", "/gradio_api/run/predict", "/gradio_api/queue/join"):
        assert page.post(path, json=body).status_code in (401, 403)
    assert page.get("/gradio_api/file=/etc/passwd").status_code == 403
    assert page.get("/medq/study/guess/slice/0").status_code == 404


def test_a_wrong_password_stays_outside_and_the_right_one_gets_in(page: TestClient) -> None:
    assert page.post("/login", data={"username": "anna", "password": "wrong"}).status_code == 400
    assert page.get("/config").status_code == 401
    assert page.post("/login", data={"username": "anna", "password": "secret"}).status_code == 200
    assert page.get("/config").status_code == 200
