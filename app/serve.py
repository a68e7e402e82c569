"""The web server around the page: one process, one model, its own guard in front of Gradio."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from gradio import route_utils

from app import ui
from app.access import Credentials, checker
from app.engine import Engine
from app.guard import App, Guard
from app.intake import Reader, UploadLimits, sweep
from app.room import Room, explain
from app.routes import add_routes
from app.store import Store
from medq_vlm.schema import MedQError

gr = ui.gr
SWEEP_S = 15.0
UPLOAD_KEPT_S = 60.0  # an upload that no event has read or waits to read by then was interrupted
GRACE_S = 2  # an open page keeps a connection for ever: do not wait for it


def uploads_apart() -> None:
    """Give every upload a folder of its own.

    Gradio names the folder after the content: of two users who drop the same file at once, one would find it taken and
    deleted by the other.
    """
    plain = route_utils.GradioUploadFile.__init__
    if plain.__name__ == "salted":
        return

    def salted(self: route_utils.GradioUploadFile, *args: Any, **named: Any) -> None:
        plain(self, *args, **named)
        self.sha.update(secrets.token_bytes(16))

    route_utils.GradioUploadFile.__init__ = salted  # type: ignore[method-assign]


def queued(page: gr.Blocks) -> set[str]:
    """Paths of the uploads that an event is to read: the queue for the model may last longer than one is kept."""
    queue = page._queue
    jobs = [list(one.queue) for one in list(queue.event_queue_per_concurrency_id.values())]
    jobs += [job for job in list(queue.active_jobs) if job]
    return {path for job in jobs for event in job if event.data for path in _paths(event.data.data)}


def _paths(value: Any) -> Iterator[str]:
    """The paths of the files in what an event was given."""
    if isinstance(value, dict) and isinstance(value.get("path"), str):
        yield value["path"]
    elif isinstance(value, list):
        for one in value:
            yield from _paths(one)


def web(room: Room, logins: Credentials, page: gr.Blocks) -> App:
    """The guarded application around `page` (ui.build)."""
    uploads_apart()
    inner = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_routes(inner, room)
    gr.mount_gradio_app(
        inner, page, path="/", auth=checker(logins) if logins else None, auth_message="MedQ reading room",
        blocked_paths=["/"], allowed_paths=[], show_error=False, max_file_size=room.limits.file_bytes, ssr_mode=False,
        enable_monitoring=False, run_history=False, footer_links=[], pwa=False, mcp_server=False, theme=ui.theme(),
        css=ui.style(), head=ui.head(),
    )  # fmt: skip
    mounted = inner.routes[-1].app  # type: ignore[attr-defined]
    inner.state.login = lambda request: login_name(mounted, request)
    return Guard(inner, room.limits.bytes + 16 * 1024 * 1024)  # type: ignore[arg-type]


def login_name(mounted: Any, request: Request) -> str:
    """Who Gradio let in, "" without a login: our own addresses lie beside Gradio's, which alone ask for it."""
    names = (f"access-token-{mounted.cookie_id}", f"access-token-unsecure-{mounted.cookie_id}")
    token = next((request.cookies[name] for name in names if name in request.cookies), None)
    return mounted.tokens.get(token) or ""


def warm(room: Room) -> None:
    """Do the slow first things while the user looks for a file."""
    try:
        room.reader.warm()
        room.engine.warm()
    except Exception as error:  # said again, to the user, at the first question
        explain(error)


def serve(host: str, port: int, logins: Credentials, model: tuple[str, str], cache: Path) -> None:
    """Serve `model` (preset, precision) until interrupted. Raises MedQError for a taken port or a missing model."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError):
            raise MedQError(f"Port {port} of {host} cannot be used; choose another one with --port.") from None
    room = Room(Engine.load(*model), Store(), Reader(), UploadLimits())
    page = ui.build(room)
    app = web(room, logins, page)
    threading.Thread(target=warm, args=[room], name="warm", daemon=True).start()

    def tidy() -> None:
        sweep(cache, UPLOAD_KEPT_S, keep=queued(page))
        room.store.sweep()

    ended = every(SWEEP_S, tidy)
    print(f"MedQ reading room: http://{host}:{port}  (Ctrl-C ends it). Not a medical device.", flush=True)
    try:
        uvicorn.run(
            app, host=host, port=port, log_level="warning", access_log=False, server_header=False,  # type: ignore[arg-type]
            timeout_graceful_shutdown=GRACE_S,
        )  # fmt: skip
    finally:
        ended.set()
        room.reader.close()


def every(seconds: float, work: Callable[[], object]) -> threading.Event:
    """Call `work` again and again until the event is set."""
    ended = threading.Event()

    def loop() -> None:
        while not ended.wait(seconds):
            work()

    threading.Thread(target=loop, name="sweep", daemon=True).start()
    return ended
