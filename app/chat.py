"""The conversation about a study: streaming answers, quick replies, a picture where one helps."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from app.room import Room, explain
from app.store import Owner, Study
from medq_vlm.language.terms import kinds_in
from medq_vlm.report.content import clean, place, shown_findings
from medq_vlm.schema import Location, MedQError
from medq_vlm.vocab import KIND

LONGEST_QUESTION = 500
KEPT = 40  # exchanges of one study
PATIENCE_S = 60.0  # an answer that was told to end does so at its next word
COMPARE = "Compare with the previous"
QUICK = ("Why is it poor?", "What should I change at the scanner?", "Where is the problem?", COMPARE)
ASKS_PLACE = re.compile(r"(?i)\b(where|show|see|locat\w+|which (?:part|region|area|slice)|why)\b")
VERDICT = re.compile(r"(?i)\bverdict\b|\b(?:reject|usable|good) \(|\b(?:reject|usable|good): ")
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
    """The slice with the finding that the question names, or the worst one, when it asks for a place; else ""."""
    found = shown_findings(study.result) if study.result else []
    if not found or not ASKS_PLACE.search(question):
        return ""
    modality = str(study.result.modality.value) if study.result else ""
    named = kinds_in(question, modality, [one.kind for one in found])
    number = next((n for n, one in enumerate(found) if one.kind in named), 0)
    if everywhere(found[number].location):  # a map with heat in parts would contradict it
        return ""
    if named and found[number].kind not in named:  # asked for what is not there
        return ""
    words = html.escape(f"{KIND[found[number].kind].plain}: {place(found[number].location)}", quote=True)
    return f'<br><img class="mq-answer" src="/medq/study/{study.token}/marked/{number}" alt="{words}" title="{words}">'


def everywhere(location: Location) -> bool:
    """Whether a finding has no place of its own."""
    return location.box is None and location.slices is None and location.words in ("", "whole image")


def reviewed(study: Study, question: str, said: str) -> str:
    """What the person's own review says otherwise of what an answer speaks of; else ""."""
    if study.result is None or not study.review:
        return ""
    modality = str(study.result.modality.value)
    found = [one.kind for one in study.result.findings]
    spoken = {*kinds_in(question, modality, found), *(kind for kind in found if KIND[kind].plain in said)}
    answers = study.review.findings
    parts = [f"{KIND[kind].plain} as {answers[kind]}" for kind in KIND if kind in spoken and kind in answers
             and answers[kind] != ("present" if kind in found else "absent")]  # fmt: skip
    own = study.review.verdict
    if own and own != study.result.verdict and VERDICT.search(f"{question} {said}"):
        parts.append(f"the verdict as {own}")
    return f" Your review marks {' and '.join(parts)}; the assessment stays as it is." if parts else ""


def answer(room: Room, owner: Owner, study: Study, question: str) -> Iterator[str]:
    """The answer so far, longer with every piece. Kept in the study, also when it was stopped half-way.

    A study says one thing at a time: a new question ends the answer that is being written.
    """
    question = clean(question)[:LONGEST_QUESTION]
    if not question:
        raise MedQError("Type a question first.")
    other = previous(room, owner, study) if question == COMPARE else None
    names = f"A is {study.label}, open now; B is {other.label}, the one before. " if other else ""
    so_far = ""
    with silence(study):
        try:
            for piece in room.engine.weigh(study, other) if other else room.engine.talk(study, question):
                so_far += piece
                yield names + so_far.strip()
                if study.hush.is_set():
                    break
            else:
                if added := "" if other else reviewed(study, question, so_far):
                    so_far += added
                    yield names + so_far.strip()
        finally:
            if so_far.strip():
                study.chat.append((question, names + so_far.strip()))
                del study.chat[:-KEPT]


@contextmanager
def silence(study: Study) -> Iterator[None]:
    """End the answer that is being written, and let no other begin. Raises MedQError when it does not end."""
    study.hush.set()
    if not study.talking.acquire(timeout=PATIENCE_S):
        raise MedQError("The last answer is still being written; please ask again in a moment.")
    try:
        study.hush.clear()
        yield
    finally:
        study.talking.release()


def retry(study: Study) -> str:
    """Take back the last exchange, also one that is being written; gives its question, "" when there is none."""
    study.asked += 1
    with silence(study):
        return study.chat.pop()[0] if study.chat else ""


def forget(study: Study) -> None:
    """Forget the conversation, also an answer that is being written."""
    study.asked += 1
    with silence(study):
        study.chat.clear()


def previous(room: Room, owner: Owner, study: Study) -> Study:
    """The study that was opened before this one. Raises MedQError when there is none."""
    studies = room.store.studies(owner)
    place = next((n for n, one in enumerate(studies) if one is study), 0)
    if place == 0:
        raise MedQError("There is no earlier study on this page to compare with; open another one first.")
    return studies[place - 1]


def why_not(study: Study | None) -> str:
    """Why nothing can be said of a study without a result."""
    if study is None:
        return "Open a study and let it be assessed first."
    if study.problem:
        return f"There is nothing to say about {study.label}, for its assessment failed. {study.problem}"
    return f"{study.label} is not assessed yet; ask again when it is."


def stream(room: Room, owner: Owner, question: str, typed: bool) -> Iterator[tuple[Any, Any]]:
    """(messages, text of the question box) while an answer is written; what was not typed there leaves the box."""
    study = room.store.selected(owner)
    if study is None or study.result is None:
        asked = [_said("user", words)] if (words := clean(question)[:LONGEST_QUESTION]) else []
        yield [*asked, _said("assistant", why_not(study))], gr.skip()
        return
    study.asked += 1
    number = study.asked

    def shown(said: str) -> tuple[Any, Any]:
        if room.store.selected(owner) is not study or study.asked != number:
            return gr.skip(), gr.skip()  # the page shows another study or a newer question by now
        answered = [_said("assistant", said)] if said else []
        return [*messages(study), _said("user", clean(question)[:LONGEST_QUESTION]), *answered], gr.skip()

    yield shown("\u2026")[0], "" if typed else gr.skip()
    try:
        for so_far in answer(room, owner, study, question):
            yield shown(so_far)
    except Exception as error:
        yield shown(explain(error))[0], question if typed else gr.skip()  # to be mended and sent again
        return
    if room.store.selected(owner) is study and study.asked == number:
        yield messages(study), gr.skip()
