"""Named endpoints for gradio_client: plain JSON in and out. Studies belong to the client's own session."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import gradio as gr

from app import chat, compare, exports, review
from app.engine import AT_ONCE
from app.pages import owner_of
from app.room import Room, explain
from app.store import Study
from medq_vlm.schema import MedQError

GONE = "There is no study with this id in your session."


def add(room: Room) -> None:
    """Add the endpoints to the Blocks that are being built."""

    def study_of(study_id: str, request: gr.Request) -> Study:
        study = room.store.get(owner_of(request), study_id)
        if study is None:
            raise MedQError(GONE)
        return study

    def plain(study: Study) -> dict[str, Any]:
        result = exports.assessed(study).to_dict() | ({"review": study.review.to_dict()} if study.review else {})
        return {"id": study.token, "name": study.name, "assessment": result}

    def assess(files: list[str] | None, description: str, request: gr.Request) -> dict[str, Any]:
        """Assess uploaded files. An empty description keeps the header's. Gives studies and problems."""
        try:
            studies, problems = room.receive(owner_of(request), files or [])
        except Exception as error:
            return {"studies": [], "problems": [explain(error)]}
        done = []
        for study in studies:
            try:
                for _ in room.assess(study, description or None):
                    pass
                done.append(plain(study))
            except Exception as error:
                problems.append(explain(error))
        return {"studies": done, "problems": problems}

    def assess_again(study_id: str, description: str, request: gr.Request) -> dict[str, Any]:
        """Assess a study of this session again with another description; says what changed."""
        try:
            study = study_of(study_id, request)
            for _ in room.assess(study, description):
                pass
            assert study.before is not None and study.result is not None
            return {**plain(study), "changed": compare.sentence(study.before, study.result)}
        except Exception as error:
            return {"error": explain(error)}

    def restore(study_id: str, description: str, request: gr.Request) -> dict[str, Any]:
        """Restore an assessed study; an empty description follows the findings. Gives the record (report: restored)."""
        try:
            study = study_of(study_id, request)
            for _ in room.restore(study, description or None):
                pass
            return exports.restored_record(room.engine, study)
        except Exception as error:
            return {"error": explain(error)}

    def compare_studies(first_id: str, second_id: str, request: gr.Request) -> dict[str, Any]:
        """Two studies of this session side by side."""
        try:
            first, second = (exports.assessed(study_of(one, request)) for one in (first_id, second_id))
            rows = [dict(zip(("name", "first", "second", "change"), row, strict=True))
                    for row in compare.rows(first, second)]  # fmt: skip
            return {"summary": compare.pair_sentence(first, second), "rows": rows}
        except Exception as error:
            return {"error": explain(error)}

    def save_review(study_id: str, given: Any, request: gr.Request) -> dict[str, Any]:
        """Save a review: {"findings": {kind: present|absent|unsure}, "verdict": ..., "comment": ...}."""
        try:
            study = study_of(study_id, request)
            study.review = review.parse(given)
            return study.review.to_dict()
        except Exception as error:
            return {"error": explain(error)}

    def report(study_id: str, form: str, request: gr.Request) -> dict[str, Any]:
        """A report as {"name", "mime", "base64"}; form: pdf, html, json, csv (labels), zip (all) or restored."""
        try:
            file = exports.export(room.engine, study_of(study_id, request), form)
            return {"name": file.name, "mime": file.mime, "base64": base64.b64encode(file.data).decode("ascii")}
        except Exception as error:
            return {"error": explain(error)}

    def ask(study_id: str, question: str, request: gr.Request) -> Iterator[str]:
        """The answer to a question about a study of this session, longer with every piece."""
        try:
            yield from chat.answer(room, owner_of(request), study_of(study_id, request), question)
        except Exception as error:
            yield explain(error)

    def forget(request: gr.Request) -> dict[str, Any]:
        """Remove all studies of this session from memory."""
        room.store.drop(owner_of(request))
        return {"studies": 0}

    files = gr.File(file_count="multiple", visible=False)
    text, other, reply = gr.Textbox(visible=False), gr.Textbox(visible=False), gr.Textbox(visible=False)
    given, out = gr.JSON(visible=False), gr.JSON(visible=False)
    button = gr.Button(visible=False)
    model: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": AT_ONCE}
    button.click(assess, [files, text], out, api_name="assess", **model)
    button.click(assess_again, [text, other], out, api_name="assess_again", **model)
    button.click(restore, [text, other], out, api_name="restore", **model)
    button.click(compare_studies, [text, other], out, api_name="compare")
    button.click(save_review, [text, given], out, api_name="review")
    button.click(report, [text, other], out, api_name="report")
    if room.engine.language:
        button.click(ask, [text, other], reply, api_name="ask", **model)
    button.click(forget, None, out, api_name="forget")
