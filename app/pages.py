"""What each event of the page does: component values in, component values out. No event ever raises."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any, ClassVar

import gradio as gr

from app import chat, compare, panel, worklist
from app.engine import Stopped
from app.room import Room, explain, time_left
from app.store import Owner, Study
from medq_vlm import about, vocab
from medq_vlm.report.content import DISCLAIMER, SCALE, image_name

Values = tuple[Any, ...]
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
        return f"{study.name}{count}\nnot assessed"
    said = "not assessable" if result.score is None else f"{result.score:.1f} {result.verdict}"
    return f"{study.name}\n{image_name(result)} \u00b7 {said}"


class Pages:
    """The events of the page over one room. Which study a page shows is kept beside the studies themselves."""

    FILTERS: ClassVar = ("all", *vocab.VERDICTS, "not assessable", "waiting", "not reviewed")

    def __init__(self, room: Room) -> None:
        self.room = room

    # --- reading tab: upload, status, stop, series, data, panel, description, fields, changed
    def receive(self, paths: list[str] | None, request: gr.Request) -> Values:
        """Read an upload and show its first image at once."""
        owner = owner_of(request)
        try:
            studies, problems = self.room.receive(owner, paths or [])
        except Exception as error:
            return (None, panel.notice(explain(error), "error"), *[KEEP] * 8)
        if studies:
            self.room.store.select(owner, studies[0].token)
        kind = "error" if problems else "info"
        return (None, panel.notice(" ".join(problems[:5]), kind), KEEP, *self._state(owner))

    def open_example(self, name: str | None, request: gr.Request) -> Values:
        """Open an example as if it had been dropped."""
        owner = owner_of(request)
        try:
            self.room.store.select(owner, self.room.open_example(owner, name or "").token)
        except Exception as error:
            return (None, KEEP, panel.notice(explain(error), "error"), *[KEEP] * 8)
        return (None, KEEP, panel.notice(""), KEEP, *self._state(owner))

    def assess_waiting(self, request: gr.Request) -> Iterator[Values]:
        """Assess every study of the page that has no result, and show each when it is done."""
        owner = owner_of(request)
        done: set[str] = set()
        while waiting := [one for one in self.room.store.studies(owner) if _waits(one) and one.token not in done]:
            total = len(done) + len(waiting)
            of = f"{len(done) + 1} of {total}: " if total > 1 else ""
            done.add(waiting[0].token)
            yield from self._assess(owner, waiting[0], None, of)

    def rerun(self, description: str, request: gr.Request) -> Iterator[Values]:
        """Assess the shown study with the description in the box and say what changed."""
        owner = owner_of(request)
        study = self.room.store.selected(owner)
        if study is None:
            yield (KEEP, panel.notice("Open a study first.", "error"), *[KEEP] * 8)
            return
        yield from self._assess(owner, study, description, "")

    def _assess(self, owner: Owner, study: Study, description: str | None, of: str) -> Iterator[Values]:
        plain = html.unescape(study.name)
        yield (KEEP, panel.progress(f"{of}Assessing {plain}\u2026", 0), gr.update(visible=True), *[KEEP] * 7)
        try:
            for step in self.room.assess(study, description):
                if step.result is None:
                    left = time_left(step.left_s)
                    words = f"{of}Assessing {plain}: {step.done} of {step.total}" + (f", {left}" if left else "")
                    share = step.done / step.total
                    yield (KEEP, panel.progress(words, share), gr.update(visible=True), *[KEEP] * 7)
        except Exception as error:
            kind = "info" if isinstance(error, Stopped) else "error"
            yield (KEEP, panel.notice(explain(error), kind), gr.update(visible=False), *self._state(owner))
            return
        note = "The graphics card was full: the model runs on the processor now." if self.room.engine.fell_back else ""
        yield (KEEP, panel.notice(note), gr.update(visible=False), *self._state(owner))

    def stop(self, request: gr.Request) -> Values:
        """End what runs for this page."""
        for study in self.room.store.studies(owner_of(request)):
            if study.result is None:
                study.stop.set()
        return panel.notice("Stopped. The images stay open."), gr.update(visible=False)

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

    def arrive(self, request: gr.Request) -> Any:
        """A page that opens is empty."""
        return self._choices(owner_of(request))

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
        yield from chat.stream(self.room, owner_of(request), question)

    def retry(self, request: gr.Request) -> Iterator[Values]:
        """Answer the last question again."""
        study = self.room.store.selected(owner_of(request))
        if study is not None and study.chat:
            question, _ = study.chat.pop()
            yield from chat.stream(self.room, owner_of(request), question)
        else:
            yield KEEP, KEEP

    def unsay(self, request: gr.Request) -> None:
        """Forget the conversation about the shown study."""
        study = self.room.store.selected(owner_of(request))
        if study is not None:
            study.chat.clear()

    def hush(self, request: gr.Request) -> None:
        """End the answer at the next word."""
        study = self.room.store.selected(owner_of(request))
        if study is not None:
            study.hush.set()

    # --- compare tab
    def choices(self, first: str | None, second: str | None, request: gr.Request) -> Values:
        """Both lists of studies, keeping what was chosen; the last two at first."""
        studies = self.room.store.studies(owner_of(request))
        tokens = [one.token for one in studies]
        lists = [(label(one).replace("\n", " \u00b7 "), one.token) for one in studies]
        first = first if first in tokens else (tokens[-2] if len(tokens) > 1 else None)
        second = second if second in tokens else (tokens[-1] if tokens else None)
        shown = self.show_pair(first, second, request)
        return gr.update(choices=lists, value=first), gr.update(choices=lists, value=second), *shown

    def show_pair(self, first: str | None, second: str | None, request: gr.Request) -> Values:
        """Both viewers and what differs."""
        owner = owner_of(request)
        a, b = self.room.store.get(owner, first), self.room.store.get(owner, second)
        words = panel.notice("Choose two assessed studies.")
        if a and b and a.result and b.result:
            rows = compare.rows(a.result, b.result)
            words = panel.comparison(compare.sentence(a.result, b.result), (a.name, b.name), rows)
        return panel.viewer_data(a), panel.viewer_data(b), words

    # --- worklist tab: upload, status, stop, table, links, series, data, panel, description, fields
    def receive_batch(self, paths: list[str] | None, wanted: str, request: gr.Request) -> Values:
        """Read many files into the worklist."""
        return self._listed(self.receive(paths, request), wanted, owner_of(request))

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
        studies = self.room.store.studies(owner)
        rows = [row for row, study in zip(worklist.table(studies), studies, strict=True) if _wanted(study, wanted)]
        links = ""
        if any(study.result for study in studies):
            address = f"/medq/study/{studies[0].token}/worklist"
            forms = (("csv", "Download CSV"), ("jsonl", "Download JSONL"), ("labels", "Review labels CSV"))
            links = '<nav class="mq-downloads">' + "".join(
                f'<a class="mq-button" data-worklist="{form}" href="{address}/{form}" download>{name}</a>'
                for form, name in forms
            ) + "</nav>"  # fmt: skip
        return rows, links

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
            ("Verdict", "reject below 1.5, usable from 1.5, good from 2.5"),
            ("Memory", f"{store.studies} studies of a page; forgotten {store.idle_s / 3600:.0f} h after the last use"),
            ("Python", str(facts["python"])),
            *((name, str(version or "not installed")) for name, version in facts["libraries"].items()),
        ]
        body = "".join(f"<dt>{html.escape(n)}</dt><dd>{html.escape(v)}</dd>" for n, v in rows)
        return (
            f'<div class="mq-info"><h3>What runs here</h3><dl class="mq-pairs">{body}</dl><h3>Limits</h3>'
            f"<p>{html.escape(DISCLAIMER)} The score speaks about the pixels and does not know the clinical "
            "question. Text burned into the pixels is not removed. Images stay in the memory of this computer: nothing "
            "is written to disk, sent anywhere or counted.</p><h3>Examples</h3><p>The list at the left of the reading "
            "tab opens real images that come with the DICOM library and phantoms made by code.</p></div>"
        )


def _waits(study: Study) -> bool:
    return study.result is None and not study.stop.is_set()


def _wanted(study: Study, wanted: str) -> bool:
    result = study.result
    if wanted == "not reviewed":
        return not study.review
    if wanted == "waiting" or result is None:
        return wanted in ("all", "waiting") and (result is None or wanted == "all")
    return wanted == "all" or wanted == (result.verdict or "not assessable")
