"""The conversation about a study: streaming answers, quick replies, a picture where one helps."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import gradio as gr

from app.room import Room, explain
from app.store import Owner, Study
from medq_vlm.report.content import clean, shown_findings
from medq_vlm.schema import MedQError
from medq_vlm.vocab import KIND

LONGEST_QUESTION = 500
KEPT = 40  # exchanges of one study
COMPARE = "Compare with the previous"
QUICK = ("Why is it poor?", "What should I change at the scanner?", "Where is the problem?", COMPARE)
ASKS_PLACE = re.compile(r"(?i)\b(where|show|see|locat\w+|which (?:part|region|area|slice)|why)\b")
Messages = list[dict[str, Any]]


def messages(study: Study | None) -> Messages:
    """The study's conversation as the page shows it. All text is escaped: it is nobody's markup."""
    out: Messages = []
    for question, answer in study.chat if study else ():
        out += [_said("user", question), _said("assistant", answer)]
        if study and (picture := picture_for(study, question)):
            out[-1]["content"] += picture
    return out


def _said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": html.escape(text)}


def picture_for(study: Study, question: str) -> str:
    """The slice with the finding's box, when the question asks for a place and a finding has one; else ""."""
    if study.result is None or not ASKS_PLACE.search(question):
        return ""
    for number, finding in enumerate(shown_findings(study.result)):
        if finding.location.box is not None:
            words = html.escape(f"{KIND[finding.kind].plain}: {finding.location.words}", quote=True)
            return f'<br><img class="mq-answer" src="/medq/study/{study.token}/marked/{number}" alt="{words}">'
    return ""


def answer(room: Room, owner: Owner, study: Study, question: str) -> Iterator[str]:
    """The answer so far, longer with every piece. Kept in the study, also when it was stopped half-way."""
    question = clean(question)[:LONGEST_QUESTION]
    if not question:
        raise MedQError("Type a question first.")
    if question == COMPARE:
        pieces = room.engine.weigh(study, previous(room, owner, study))
    else:
        pieces = room.engine.talk(study, question)
    so_far = ""
    try:
        for piece in pieces:
            so_far += piece
            yield so_far.strip()
            if study.hush.is_set():
                break
    finally:
        if so_far.strip():
            study.chat.append((question, so_far.strip()))
            del study.chat[:-KEPT]


def previous(room: Room, owner: Owner, study: Study) -> Study:
    """The study that was opened before this one. Raises MedQError when there is none."""
    studies = room.store.studies(owner)
    place = next((n for n, one in enumerate(studies) if one is study), 0)
    if place == 0:
        raise MedQError("There is no earlier study on this page to compare with; open another one first.")
    return studies[place - 1]


def stream(room: Room, owner: Owner, question: str) -> Iterator[tuple[Any, Any]]:
    """(messages, text of the question box) while an answer is written."""
    study = room.store.selected(owner)
    if study is None or study.result is None:
        yield [_said("assistant", "Open a study and let it be assessed first.")], gr.skip()
        return
    before = messages(study)
    asked = [*before, _said("user", clean(question)[:LONGEST_QUESTION])]
    yield asked, ""
    try:
        for so_far in answer(room, owner, study, question):
            yield [*asked, _said("assistant", so_far)], gr.skip()
    except Exception as error:
        yield [*asked, _said("assistant", explain(error))], gr.skip()
        return
    yield messages(study), gr.skip()
