"""What each event of the page does: component values in, component values out. No event ever raises."""

from __future__ import annotations

import contextlib
import html
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app import chat, compare, panel, worklist
from app.engine import Stopped
from app.room import Room, explain, time_left
from app.store import Owner, Study
from medq_vlm import about, vocab
from medq_vlm.report.content import DISCLAIMER, SCALE, image_name
from medq_vlm.schema import MedQError

Values = tuple[Any, ...]
APP_LIBRARIES = ("transformers", "peft", "bitsandbytes", "gradio")
SHOWN = 5  # problems of an upload that are told one by one
KEEP = gr.skip()


def owner_of(request: gr.Request | None) -> Owner:
    """The page an event comes from."""
    from app.guard import COOKIE

    if request is None:
        return Owner("", "", "")
    cookie = request.cookies.get(COOKIE, "") if hasattr(request, "cookies") else ""
    return Owner(request.username or "", cookie or "", request.session_hash or "")


def label(study: Study) -> str:
    """A line of the series list."""
    count = f" \u00b7 {study.sample.slices} images" if study.sample.slices > 1 else ""
    result = study.result
    if result is None:
        return f"{study.label}{count}\n{'not assessed' if study.state == 'waiting' else study.state}"
    said = "not assessable" if result.score is None else f"{vocab.score_text(result.score)} {result.verdict}"
    return f"{study.label}\n{image_name(result)} \u00b7 {said}"


@dataclass(frozen=True)
class Way:
    """How far a page's waiting studies are, in slices, which take about the same time each."""

    words: str  # "2 of 5: ", "" for one alone
    behind: int  # slices of the studies before this one
    total: int
    begun: float

    def share(self, done: int) -> float:
        return (self.behind + done) / self.total

    def left(self, done: int) -> str:
        """The time left for all, in words."""
        done += self.behind
        return time_left((time.monotonic() - self.begun) / done * (self.total - done) if done else None)


class Pages:
    """The events of the page over one room. Which study a page shows is kept beside the studies themselves."""

    def __init__(self, room: Room) -> None:
        self.room = room

    # --- reading tab: upload, status, stop, series, data, panel, description, fields, changed
    def receive(self, paths: list[str] | None, request: gr.Request) -> Iterator[Values]:
        """Read an upload and show its first image at once."""
        owner, count = owner_of(request), len(paths or [])
        yield (KEEP, panel.progress(f"Reading {count} files\u2026" if count > 1 else "Reading\u2026"), *[KEEP] * 8)
        try:
            studies, problems = self.room.receive(owner, paths or [], join=True)
        except Exception as error:
            yield (None, panel.notice(explain(error), "error"), *[KEEP] * 8)
            return
        if studies:
            self.room.store.select(owner, studies[0].token)
        more = len(problems) - SHOWN
        self.room.store.note(owner, " ".join(problems[:SHOWN]) + (f" And {more} more." if more > 0 else ""))
        waits = any(study.state == "waiting" for study in studies)
        words = panel.progress("Waiting for its turn\u2026") if waits else panel.notice("")
        yield (None, self._told(owner, words), KEEP, *self._state(owner))

    def open_example(self, name: str | None, request: gr.Request) -> Values:
        """Open an example as if it had been dropped."""
        owner = owner_of(request)
        try:
            self.room.store.select(owner, self.room.open_example(owner, name or "").token)
        except Exception as error:
            return (None, KEEP, panel.notice(explain(error), "error"), *[KEEP] * 8)
        self.room.store.note(owner, "")
        return (None, KEEP, panel.progress("Waiting for its turn\u2026"), KEEP, *self._state(owner))

    def assess_waiting(self, request: gr.Request) -> Iterator[Values]:
        """Assess every study of the page that has no result, and show each when it is done."""
        owner = owner_of(request)
        done, behind, begun = 0, 0, time.monotonic()
        while waiting := [one for one in self.room.store.studies(owner) if one.state == "waiting"]:
            total = done + len(waiting)
            words = f"{done + 1} of {total}: " if total > 1 else ""
            slices = sum(one.sample.slices for one in waiting)
            yield from self._assess(owner, waiting[0], None, Way(words, behind, behind + slices, begun))
            done += 1
            behind += waiting[0].sample.slices
        if not done:  # Gradio clears the outputs of an event that says nothing
            yield (KEEP,) * 10

    def rerun(self, description: str, modality: str, anatomy: str, request: gr.Request) -> Iterator[Values]:
        """Assess the shown study with the description in the box and what a person says it is; say what changed."""
        owner = owner_of(request)
        study = self.room.store.selected(owner)
        if study is None:
            yield (KEEP, panel.notice("Open a study first.", "error"), *[KEEP] * 8)
            return
        study.modality = modality if modality in vocab.MODALITIES else None
        study.anatomy = anatomy if anatomy in vocab.ANATOMIES else None
        yield from self._assess(owner, study, description, Way("", 0, study.sample.slices, time.monotonic()))

    def claims(self, request: gr.Request) -> Values:
        """What a person said of the shown study: modality, anatomy."""
        study = self.room.store.selected(owner_of(request))
        return (study.modality or "", study.anatomy or "") if study else ("", "")

    def _assess(self, owner: Owner, study: Study, description: str | None, way: Way) -> Iterator[Values]:
        plain = f"{way.words}Assessing {html.unescape(study.label)}"
        first = self._told(owner, panel.progress(f"{plain}\u2026", way.share(0)))
        choices = self._choices(owner)
        yield (KEEP, first, gr.update(visible=True), choices, *[KEEP] * 6)
        try:
            for step in self.room.assess(study, description):
                if step.result is None:
                    slices = f": {step.done} of {step.total}" if step.total > 1 else ""
                    words = ", ".join(part for part in (f"{plain}{slices}", way.left(step.done)) if part)
                    told = self._told(owner, panel.progress(words, way.share(step.done)))
                    # Stop again: a run that ended late may have hidden it
                    yield (KEEP, told, gr.update(visible=True), *[KEEP] * 7)
        except Stopped as error:
            if study.state == "stopped":  # not gone on with meanwhile
                yield (KEEP, self._told(owner, panel.notice(explain(error))), gr.update(visible=False),
                       *self._after(owner, study))  # fmt: skip
            return
        except Exception as error:
            words = self._told(owner, panel.notice(explain(error), "error"))
            yield (KEEP, words, gr.update(visible=False), *self._after(owner, study))
            return
        note = "The graphics card was full: the model runs on the processor now." if self.room.engine.fell_back else ""
        yield (KEEP, self._told(owner, panel.notice(note)), gr.update(visible=False), *self._after(owner, study))

    def _after(self, owner: Owner, study: Study) -> Values:
        """`_state` once `study` is done; the page of another one is left alone: somebody may be writing there."""
        if self.room.store.selected(owner) is study:
            return self._state(owner)
        return self._choices(owner), *[KEEP] * 6

    def _told(self, owner: Owner, words: str) -> str:
        """A status with what the last upload's owner must know below it."""
        note = self.room.store.note(owner)
        return words + (panel.notice(note, "error") if note else "")

    def stop(self, request: gr.Request) -> Values:
        """End what runs for this page: status, stop, go, series."""
        owner = owner_of(request)
        for study in self.room.store.studies(owner):
            study.stop.set()
            if study.result is None and study.state != "failed":
                study.state = "stopped"
        words = panel.notice("Stopped. The images stay open.")
        return words, gr.update(visible=False), gr.update(visible=True), self._choices(owner)

    def resume(self, request: gr.Request) -> Any:
        """Let what was stopped wait for its turn again: go."""
        for study in self.room.store.studies(owner_of(request)):
            if study.state == "stopped":
                study.wait_again()
        return gr.update(visible=False)

    def show(self, token: str | None, request: gr.Request) -> Values:
        """Show another series: data, panel, description, fields, changed."""
        owner = owner_of(request)
        self.room.store.select(owner, token)
        return self._state(owner)[1:]

    def clear(self, request: gr.Request) -> Values:
        """Remove every study of the page from memory."""
        owner = owner_of(request)
        self.room.store.drop(owner)
        return (
            None,
            panel.notice("Everything was removed from memory."),
            gr.update(visible=False),
            *self._state(owner),
        )

    def arrive(self, left: str | None, request: gr.Request) -> Values:
        """A page that opens is empty; one that was loaded again has its studies back: `left` is one of them."""
        owner = owner_of(request)
        if not left or not self.room.store.adopt(owner, left):
            return (KEEP,) * 10
        return (None, self._told(owner, panel.notice("")), KEEP, *self._state(owner))

    def leave(self, request: gr.Request) -> None:
        """A page that closes is forgotten soon: at once would lose the work of a lost connection."""
        self.room.store.leave(owner_of(request))

    def _state(self, owner: Owner) -> Values:
        """series, data, panel, description, fields, changed, chat."""
        study = self.room.store.selected(owner)
        changed = ""
        if study is not None and study.result is not None and study.before is not None:
            rows = [row for row in compare.rows(study.before, study.result) if row[3]]
            words = compare.sentence(study.before, study.result)
            changed = panel.comparison(words, ("Before", "With this description"), rows)
        text = "" if study is None else (study.result.acquisition if study.result else study.sample.acquisition)
        return (
            self._choices(owner),
            panel.viewer_data(study),
            panel.panel(study),
            text,
            panel.acquisition(study),
            changed,
            chat.messages(study),
        )

    def _choices(self, owner: Owner) -> Any:
        study = self.room.store.selected(owner)
        choices = [(label(one), one.token) for one in self.room.store.studies(owner)]
        return gr.update(choices=choices, value=study.token if study else None)

    # --- chat
    def ask(self, question: str, request: gr.Request) -> Iterator[Values]:
        """Answer a question about the shown study: chat, question box."""
        yield from chat.stream(self.room, owner_of(request), question, typed=True)

    def ask_quickly(self, question: str, request: gr.Request) -> Iterator[Values]:
        """The same for a quick reply."""
        yield from chat.stream(self.room, owner_of(request), question, typed=False)

    def retry(self, request: gr.Request) -> Iterator[Values]:
        """Answer the last question again."""
        owner = owner_of(request)
        study = self.room.store.selected(owner)
        try:
            question = chat.retry(study) if study is not None else ""
        except MedQError:
            question = ""
        if question:
            yield from chat.stream(self.room, owner, question, typed=False)
        else:
            yield KEEP, KEEP

    def unsay(self, request: gr.Request) -> None:
        """Forget the conversation about the shown study."""
        study = self.room.store.selected(owner_of(request))
        if study is not None:
            with contextlib.suppress(MedQError):
                chat.forget(study)

    def hush(self, request: gr.Request) -> None:
        """End the answer at the next word."""
        study = self.room.store.selected(owner_of(request))
        if study is not None:
            study.hush.set()

    # --- compare tab
    def choices(self, first: str | None, second: str | None, request: gr.Request) -> Values:
        """Both lists of studies, keeping what was chosen; the last two with a result at first."""
        studies = self.room.store.studies(owner_of(request))
        tokens, ready = [one.token for one in studies], [one.token for one in studies if one.result]
        lists = [(label(one).replace("\n", " \u00b7 "), one.token) for one in studies]
        first = first if first in tokens else (ready[-2] if len(ready) > 1 else None)
        second = second if second in tokens else (ready[-1] if ready else None)
        shown = self.show_pair(first, second, request)
        return gr.update(choices=lists, value=first), gr.update(choices=lists, value=second), *shown

    def show_pair(self, first: str | None, second: str | None, request: gr.Request) -> Values:
        """Both viewers and what differs."""
        owner = owner_of(request)
        a, b = self.room.store.get(owner, first), self.room.store.get(owner, second)
        words = panel.notice("Choose two assessed studies.")
        if a and b and a.result and b.result:
            rows = compare.rows(a.result, b.result)
            words = panel.comparison(compare.pair_sentence(a.result, b.result), (a.label, b.label), rows)
        return panel.viewer_data(a), panel.viewer_data(b), words

    # --- worklist tab: upload, status, stop, table, links, series, data, panel, description, fields
    def receive_batch(self, paths: list[str] | None, wanted: str, request: gr.Request) -> Iterator[Values]:
        """Read many files into the worklist."""
        for values in self.receive(paths, request):
            yield self._listed(values, wanted, owner_of(request))

    def assess_batch(self, wanted: str, request: gr.Request) -> Iterator[Values]:
        """Assess what waits and keep the table up to date."""
        owner = owner_of(request)
        for values in self.assess_waiting(request):
            yield self._listed(values, wanted, owner)

    def _listed(self, values: Values, wanted: str, owner: Owner) -> Values:
        upload, status, stop, series, data, shown, described, fields, _, talk = values
        done = series is not KEEP
        table, links = self._rows(wanted, owner) if done else (KEEP, KEEP)
        return upload, status, stop, table, links, series, data, shown, described, fields, talk

    def rows(self, wanted: str, request: gr.Request) -> Values:
        """Table and download links."""
        return self._rows(wanted, owner_of(request))

    def _rows(self, wanted: str, owner: Owner) -> Values:
        store = self.room.store
        studies = store.studies(owner)
        rows = worklist.table([*studies, *store.unread(owner)], wanted)
        forms = [("csv", "Download CSV"), ("jsonl", "Download JSONL")] if any(one.result for one in studies) else []
        forms += [("labels", "Review labels CSV")] if any(one.review for one in studies) else []
        links = "".join(
            f'<a class="mq-button" data-worklist="{form}" href="/medq/study/{studies[0].token}/worklist/{form}" '
            f"download>{name}</a>"
            for form, name in forms
        )
        return rows, links and f'<nav class="mq-downloads">{links}</nav>'

    def open_row(self, event: gr.SelectData, request: gr.Request) -> Values:
        """Open the chosen row in the reading tab; its number finds it whatever the order of the table."""
        owner = owner_of(request)
        studies = self.room.store.studies(owner)
        try:
            study = studies[int(event.row_value[0]) - 1]
        except (IndexError, TypeError, ValueError):
            return (KEEP,) * 8
        self.room.store.select(owner, study.token)
        return gr.update(selected="read"), *self._state(owner)

    # --- model tab
    def model_page(self) -> str:
        """Preset, device, precision, versions, limits."""
        facts, engine = about.about(), self.room.engine
        model, store = engine.medq.identity, self.room.store.bounds
        rows = [
            ("Model", f"{model['name']} {model['version']} (preset {engine.preset})"),
            ("Weights SHA-256", model["sha256"]),
            ("Device", f"{engine.device}, {engine.precision}"),
            ("Language model", engine.language or "not installed: the chat is hidden"),
            ("Score", SCALE),
            ("Verdict", vocab.LIMITS),
            ("Memory", f"{store.studies} studies of a page; forgotten {store.idle_s / 3600:.0f} h after the last use"),
            ("Python", str(facts["python"])),
            *((name, str(version or "not installed")) for name, version in facts["libraries"].items()),
            *((name, str(about.installed(name) or "not installed")) for name in APP_LIBRARIES),
        ]
        body = "".join(f"<dt>{html.escape(n)}</dt><dd>{html.escape(v)}</dd>" for n, v in rows)
        return (
            f'<div class="mq-info"><h3>What runs here</h3><dl class="mq-pairs">{body}</dl><h3>Limits</h3>'
            f"<p>{html.escape(DISCLAIMER)} The score speaks about the pixels and does not know the clinical "
            "question. Text burned into the pixels is not removed. Images stay in the memory of this computer: nothing "
            "is written to disk, sent anywhere or counted.</p><h3>Examples</h3><p>The list at the left of the reading "
            "tab opens real images that come with the DICOM library and phantoms made by code.</p></div>"
        )
