"""The app's own addresses: pictures, values, reviews, downloads, health. Each study answers to its owner alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from app import exports, restore, review, viewer, worklist
from app.guard import browser_cookie
from app.room import Room, explain
from app.store import Study
from medq_vlm import __version__
from medq_vlm.schema import MedQError

GONE = "This study is no longer in memory; please drop it again."


def add_routes(app: FastAPI, room: Room) -> None:
    """Everything under /medq and /health."""

    def study_of(request: Request, token: str) -> Study | None:
        return room.store.by_token(token, browser_cookie(request.scope), request.app.state.login(request))

    @app.get("/health")
    def health() -> dict[str, Any]:
        """Whether the app works, for a monitor; says nothing of any user or image."""
        name = room.engine.medq.identity["name"]
        return {"status": "ok", "version": __version__, "model": name, "device": room.engine.device}

    def answer(request: Request, token: str, make: Callable[[Study], Response]) -> Response:
        """What `make` says of the browser's own study; 404 for any other one, one sentence for a fault."""
        study = study_of(request, token)
        if study is None:
            return PlainTextResponse(GONE, 404)
        try:
            return make(study)
        except Exception as error:
            return _failed(error)

    @app.get("/medq/study/{token}/slice/{index}")
    def picture(
        request: Request, token: str, index: int, c: float | None = None, w: float | None = None
    ) -> Response:  # fmt: skip
        """A slice as PNG through window centre `c` and width `w`, or the default one."""
        return answer(request, token, lambda study: _png(viewer.slice_png(study.sample, index, _window(c, w))))

    @app.get("/medq/study/{token}/restored/{index}")
    def restored(
        request: Request, token: str, index: int, c: float | None = None, w: float | None = None
    ) -> Response:  # fmt: skip
        """A restored slice as PNG through the window of the original."""
        return answer(request, token, lambda study: _png(restore.slice_png(study, index, _window(c, w))))

    @app.get("/medq/study/{token}/residual/{index}")
    def residual(request: Request, token: str, index: int) -> Response:
        """What the restoration changed on a slice, with its scale."""
        return answer(request, token, lambda study: _png(restore.change_png(study, index)))

    @app.get("/medq/study/{token}/value/{index}")
    def value(request: Request, token: str, index: int, x: int, y: int) -> Response:
        """The native value of one pixel, in words."""
        return answer(
            request, token, lambda study: PlainTextResponse(viewer.value_at(study.sample, index, x, y))
        )  # fmt: skip

    @app.get("/medq/study/{token}/heat/{index}")
    def heat(request: Request, token: str, index: int, kind: Annotated[str, Query(max_length=40)]) -> Response:
        """Where a finding shows on a slice, as a transparent PNG."""

        def map_of(study: Study) -> Response:
            viewer.check_index(study.sample, index)
            shown = viewer.heat_png(np.asarray(room.engine.heat(study, index, kind)))
            room.store.grown(study)
            return _png(shown)

        return answer(request, token, map_of)

    @app.get("/medq/study/{token}/marked/{number}")
    def marked(request: Request, token: str, number: int) -> Response:
        """A finding's slice with its box or heat map, for the chat."""
        return answer(request, token, lambda study: _png(viewer.marked_png(room.engine, study, number)))

    @app.post("/medq/study/{token}/review")
    async def save_review(request: Request, token: str) -> Response:
        """Save a person's review. JSON alone: a form of another site cannot send that."""
        study = study_of(request, token)
        if study is None:
            return PlainTextResponse(GONE, 404)
        if request.headers.get("content-type", "").split(";")[0] != "application/json":
            return PlainTextResponse("A review is sent as JSON.", 415)
        try:
            study.review = review.parse(await request.json())
        except Exception as error:
            return _failed(error if isinstance(error, MedQError) else MedQError("A review is sent as JSON."))
        return JSONResponse(study.review.to_dict())

    @app.get("/medq/study/{token}/export/{form}")
    def export(request: Request, token: str, form: str) -> Response:
        """A report of the study; `form` as in exports.FORMS."""
        return answer(request, token, lambda study: _download(exports.export(room.engine, study, form)))

    @app.get("/medq/study/{token}/worklist/{form}")
    def table(request: Request, token: str, form: str) -> Response:
        """The rows (csv, jsonl) or labels of all studies on the page of this study."""

        def rows(study: Study) -> Response:
            studies, unread = room.store.studies(study.owner), room.store.unread(study.owner)
            if form == "labels":
                return _download(exports.labels(studies))
            return _download(worklist.download([*studies, *unread], form))

        return answer(request, token, rows)


def _window(centre: float | None, width: float | None) -> tuple[float, float] | None:
    """Both or none."""
    return None if centre is None or width is None else (centre, width)


def _png(data: bytes) -> Response:
    return Response(data, media_type="image/png")


def _download(file: exports.File) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{file.name}"'}
    return Response(file.data, media_type=file.mime, headers=headers)


def _failed(error: Exception) -> Response:
    return PlainTextResponse(explain(error), 400 if isinstance(error, MedQError) else 500)
