"""The page: Gradio components and which function each event calls. What happens is in pages.py and room.py."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

import gradio as gr

from app import api, chat, panel, worklist
from app import restore as restoring
from app.engine import AT_ONCE
from app.pages import Pages
from app.room import EXAMPLES, LONGEST_DESCRIPTION, LONGEST_LEAD, Room
from medq_vlm import vocab
from medq_vlm.report.content import capital

STATIC = Path(__file__).parent / "static"
SCRIPTS = ("viewer.js", "page.js", "restore.js")
TITLE = "MedQ reading room"
MODEL_QUEUE = "model"  # every event that runs the model shares these places
FONTS = ["system-ui", "-apple-system", "Segoe UI", "DejaVu Sans", "sans-serif"]
HEADER = (
    '<div class="mq-top"><b>Med<i>Q</i></b><span>Image quality reading room</span><span class="mq-gap"></span>'
    '<span class="mq-device" title="It rates the technical quality of images; it makes no diagnosis.">'
    'Not a medical device</span><button type="button" data-theme aria-label="Switch between light and dark">'
    "Light / dark</button></div>"
)


def theme() -> gr.themes.Base:
    """Quiet colours and the system's own letters: a web font would be fetched from another machine."""
    look = gr.themes.Base(primary_hue="blue", neutral_hue="slate", font=FONTS, font_mono=["ui-monospace", "monospace"])
    same = {
        "body_background_fill": "var(--mq-bg)", "body_text_color": "var(--mq-ink)",
        "body_text_color_subdued": "var(--mq-soft)", "block_background_fill": "var(--mq-panel)",
        "block_border_color": "var(--mq-line)", "border_color_primary": "var(--mq-line)",
        "block_label_background_fill": "var(--mq-panel)", "block_label_text_color": "var(--mq-soft)",
        "block_title_text_color": "var(--mq-soft)", "input_background_fill": "var(--mq-raised)",
        "background_fill_primary": "var(--mq-panel)", "background_fill_secondary": "var(--mq-raised)",
        "button_secondary_background_fill": "var(--mq-raised)", "button_secondary_text_color": "var(--mq-ink)",
        "button_primary_background_fill": "var(--mq-accent)", "button_primary_text_color": "var(--mq-panel)",
        "input_border_color": "var(--mq-line)", "button_border_width": "1px",
        "button_secondary_border_color": "var(--mq-line)", "button_primary_border_color": "var(--mq-accent)",
        "button_secondary_background_fill_hover": "var(--mq-raised)",
        "button_secondary_border_color_hover": "var(--mq-accent)",
        "button_primary_background_fill_hover": "var(--mq-accent)",
        "checkbox_background_color": "var(--mq-raised)", "checkbox_background_color_selected": "var(--mq-accent)",
        "checkbox_border_color_selected": "var(--mq-accent)", "checkbox_border_color_focus": "var(--mq-accent)",
    }  # fmt: skip
    look.set(color_accent="var(--mq-accent)")
    return look.set(**{key: value for name, value in same.items() for key in (name, f"{name}_dark")})  # type: ignore[arg-type]


def head() -> str:
    """The page's scripts, in the page itself."""
    return "".join(f"<script>{(STATIC / name).read_text(encoding='utf-8')}</script>" for name in SCRIPTS)


def style() -> str:
    """The page's style sheet."""
    return (STATIC / "style.css").read_text(encoding="utf-8")


def shell(name: str) -> str:
    """The viewer's elements; `name` ties them to the hidden data of the same name."""
    return (STATIC / "viewer.html").read_text(encoding="utf-8").replace("NAME", name)


def claims(names: Mapping[str, str | None]) -> list[tuple[str, str]]:
    """Entries of a list from which a person says what an image is; the first says nothing."""
    return [("as found", ""), *((capital(name or word), word) for word, name in names.items())]


def build(room: Room) -> gr.Blocks:
    """The whole page."""
    pages, healing = Pages(room), restoring.RestorePages(room)
    # Gradio deletes by age alone, a day at the latest; serve.tidy is sooner and spares what waits in a queue
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(600, 24 * 3600)) as page:
        api.add(room)  # first, so that its names are free
        gr.HTML(HEADER)
        left = gr.Textbox(visible=False)  # the study that a page showed before it was loaded again
        with gr.Tabs(selected="read", elem_id="mq-tabs") as tabs:
            with gr.Tab("Read", id="read"), gr.Row(equal_height=False):
                with gr.Column(scale=0, min_width=212):
                    upload = gr.File(label="Drop images or a zip", file_count="multiple", height=132,
                                     elem_id="mq-upload", elem_classes="mq-upload")  # fmt: skip
                    example = gr.Dropdown(list(EXAMPLES), value=None, label="Open an example", elem_id="mq-example")
                    status = gr.HTML(panel.notice(""), elem_id="mq-status")
                    stop = gr.Button("Stop", size="sm", visible=False, elem_id="mq-stop")
                    go = gr.Button("Go on", size="sm", visible=False, elem_id="mq-go")
                    series = gr.Radio([], label="Series", elem_id="mq-series")
                    forget = gr.Button("Remove all", size="sm", elem_id="mq-forget")
                with gr.Column(scale=5, min_width=480):
                    gr.HTML(shell("main"))
                    data = gr.HTML(panel.viewer_data(None), elem_id="mq-data-main")
                with gr.Column(scale=3, min_width=372, elem_id="mq-side"), gr.Tabs():
                    with gr.Tab("Assessment"):
                        shown = gr.HTML(panel.panel(None), elem_id="mq-panel-box")
                    with gr.Tab("Chat", visible=bool(room.engine.language)):
                        talk = gr.Chatbot([], height=420, show_label=False, buttons=["copy_all"], feedback_options=None,
                                          placeholder="Ask about the open study.", elem_id="mq-chat")  # fmt: skip
                        with gr.Row(elem_id="mq-quick"):
                            quick = [gr.Button(words, size="sm", min_width=60) for words in chat.QUICK]
                            enough = gr.Button("Is it good enough for \u2026?", size="sm", min_width=60)
                        question = gr.Textbox(placeholder="Why is it noisy?", show_label=False, lines=1,
                                              max_length=chat.LONGEST_QUESTION, elem_id="mq-question")  # fmt: skip
                        with gr.Row():
                            send = gr.Button("Send", variant="primary", size="sm", min_width=60, elem_id="mq-send")
                            hush = gr.Button("Stop", size="sm", min_width=60, elem_id="mq-hush")
                            retry = gr.Button("Retry", size="sm", min_width=60, elem_id="mq-retry")
                    with gr.Tab("Acquisition"):
                        described = gr.Textbox(label="Acquisition description: edit it and assess again", lines=4,
                                               max_length=LONGEST_DESCRIPTION, elem_id="mq-description")  # fmt: skip
                        with gr.Row():
                            modality = gr.Dropdown(claims(vocab.MODALITY_NAMES), value="", label="Modality",
                                                   min_width=130, elem_id="mq-modality")  # fmt: skip
                            anatomy = gr.Dropdown(claims(dict.fromkeys(vocab.ANATOMIES)), value="", label="Anatomy",
                                                  min_width=130, elem_id="mq-anatomy")  # fmt: skip
                        again = gr.Button("Assess again with this description", variant="primary", elem_id="mq-again")
                        changed = gr.HTML(elem_id="mq-changed")
                        fields = gr.HTML(elem_id="mq-fields")
            with (
                gr.Tab("Restore", id="restore", visible=room.engine.restores) as restore_tab,
                gr.Row(equal_height=False),
            ):
                with gr.Column(scale=5, min_width=480):
                    restored = gr.HTML(restoring.view(None), elem_id="mq-restored-box")
                with gr.Column(scale=3, min_width=372, elem_classes="mq-card"):
                    lead = gr.Textbox(label="Description that leads: edit it to treat something else", lines=5,
                                      max_length=LONGEST_LEAD, elem_id="mq-lead-text")  # fmt: skip
                    with gr.Row():
                        restore = gr.Button("Restore", variant="primary", min_width=60, elem_id="mq-restore")
                        restore_again = gr.Button("Restore again with this description", min_width=180,
                                                  elem_id="mq-restore-again")  # fmt: skip
                        restore_stop = gr.Button("Stop", visible=False, min_width=60, elem_id="mq-restore-stop")
                    gr.HTML('<p class="mq-derived">A restored image is derived, not for diagnosis: keep the original '
                            "and read it too.</p>")  # fmt: skip
                    restore_status = gr.HTML(panel.notice(""), elem_id="mq-restore-status")
                    told = gr.HTML("", elem_id="mq-restore-facts")
            with gr.Tab("Compare", id="compare") as compare_tab:
                with gr.Row():
                    first = gr.Dropdown([], label="First study", elem_id="mq-first")
                    second = gr.Dropdown([], label="Second study", elem_id="mq-second")
                with gr.Row():
                    with gr.Column(min_width=380):
                        gr.HTML(shell("a"))
                        data_a = gr.HTML(panel.viewer_data(None), elem_id="mq-data-a")
                    with gr.Column(min_width=380):
                        gr.HTML(shell("b"))
                        data_b = gr.HTML(panel.viewer_data(None), elem_id="mq-data-b")
                difference = gr.HTML(elem_id="mq-difference")
            with gr.Tab("Worklist", id="worklist") as worklist_tab:
                with gr.Row():
                    batch = gr.File(label="Drop many files or a zip", file_count="multiple", height=132,
                                    elem_id="mq-batch", elem_classes="mq-upload")  # fmt: skip
                    with gr.Column(min_width=220):
                        wanted = gr.Dropdown(list(worklist.FILTERS), value=worklist.FILTERS[0], label="Show",
                                             elem_id="mq-filter")  # fmt: skip
                        batch_stop = gr.Button("Stop", size="sm", visible=False, elem_id="mq-batch-stop")
                        batch_go = gr.Button("Go on", size="sm", visible=False, elem_id="mq-batch-go")
                batch_status = gr.HTML(panel.notice(""), elem_id="mq-batch-status")
                table = gr.Dataframe(headers=list(worklist.HEADERS), datatype=list(worklist.TYPES), interactive=False,  # type: ignore[arg-type]
                                     show_search="search", label="Click a row, or press Enter, to open it",
                                     max_height=520, wrap=True, column_widths=list(worklist.WIDTHS),
                                     elem_id="mq-table")  # fmt: skip
                links = gr.HTML(elem_id="mq-links")
            with gr.Tab("Model", id="model") as model_tab:
                facts = gr.HTML(pages.model_page())

        reading = [upload, status, stop, series, data, shown, described, fields, changed, talk]
        viewing = [data, shown, described, fields, changed, talk]
        listing = [batch, batch_status, batch_stop, table, links, series, data, shown, described, fields, talk]

        def quiet(**more: Any) -> dict[str, Any]:
            """What every event of the page shares: no place in the API, no spinner over the image."""
            return {"api_visibility": "private", "show_progress": "hidden", **more}

        model: dict[str, Any] = {"concurrency_id": MODEL_QUEUE, "concurrency_limit": AT_ONCE}
        received = upload.upload(pages.receive, [upload], reading, **quiet(concurrency_limit=4))  # type: ignore[arg-type]
        received.success(pages.assess_waiting, None, reading, **quiet(**model))  # type: ignore[arg-type]
        opened = example.select(pages.open_example, [example], [example, *reading], **quiet(concurrency_limit=2))  # type: ignore[arg-type]
        opened.success(pages.assess_waiting, None, reading, **quiet(**model))  # type: ignore[arg-type]
        series.input(pages.show, [series], viewing, **quiet(queue=False))  # type: ignore[arg-type]
        again.click(pages.rerun, [described, modality, anatomy], reading, **quiet(**model))  # type: ignore[arg-type]
        shown.change(pages.claims, None, [modality, anatomy], **quiet(queue=False))  # type: ignore[arg-type]
        forgotten = forget.click(pages.clear, None, reading, **quiet(queue=False))  # type: ignore[arg-type]
        forgotten.then(lambda: [gr.update(visible=False)] * 2, None, [go, batch_go], **quiet(queue=False))  # type: ignore[arg-type]

        said: list[Any] = [talk, question]
        for begin in (send.click, question.submit):
            begin(pages.ask, [question], said, **quiet(**model))
        for number, one in enumerate(quick):  # a button's value is its words
            one.click(pages.ask_quickly, [one], said, **quiet(**model, api_name=f"quick_{number}"))
        enough.click(None, None, question, js="() => medq.begin('Is it good enough for ')", api_visibility="private")
        retry.click(pages.retry, None, said, **quiet(**model))
        talk.clear(pages.unsay, None, None, **quiet(queue=False))
        hush.click(pages.hush, None, None, **quiet(queue=False))

        mended = [restore_status, restore_stop, restored, told, lead]
        restore_tab.select(healing.show, None, mended, **quiet(queue=False))  # type: ignore[arg-type]
        restore.click(healing.restore, None, mended, **quiet(**model))  # type: ignore[arg-type]
        restore_again.click(healing.again, [lead], mended, **quiet(**model))  # type: ignore[arg-type]
        restore_stop.click(healing.stop, None, mended[:2], **quiet(queue=False))  # type: ignore[arg-type]

        compare_tab.select(
            pages.choices, [first, second], [first, second, data_a, data_b, difference], **quiet(queue=False)
        )  # type: ignore[arg-type]
        for chosen in (first, second):
            chosen.input(pages.show_pair, [first, second], [data_a, data_b, difference], **quiet(queue=False))  # type: ignore[arg-type]

        worklist_tab.select(pages.rows, [wanted], [table, links], **quiet(queue=False))  # type: ignore[arg-type]
        wanted.input(pages.rows, [wanted], [table, links], **quiet(queue=False))  # type: ignore[arg-type]
        listed = batch.upload(pages.receive_batch, [batch, wanted], listing, **quiet(concurrency_limit=4))  # type: ignore[arg-type]
        listed.success(pages.assess_batch, [wanted], listing, **quiet(**model))  # type: ignore[arg-type]
        go_on = go.click(pages.resume, None, [go], **quiet(queue=False))  # type: ignore[arg-type]
        go_on.success(pages.assess_waiting, None, reading, **quiet(**model))  # type: ignore[arg-type]
        batch_go_on = batch_go.click(pages.resume, None, [batch_go], **quiet(queue=False))  # type: ignore[arg-type]
        batch_go_on.success(pages.assess_batch, [wanted], listing, **quiet(**model))  # type: ignore[arg-type]
        came = page.load(pages.arrive, [left], reading, js="() => medq.left()", **quiet(queue=False))  # type: ignore[arg-type]
        came.success(pages.assess_waiting, None, reading, **quiet(**model))  # type: ignore[arg-type]
        for button, where in (
            (stop, [status, stop, go, series]),
            (batch_stop, [batch_status, batch_stop, batch_go, series]),
        ):
            # no `cancels`: it reaches a run that is begun right after, and what runs ends by itself
            stopped = button.click(pages.stop, None, where, **quiet(queue=False))  # type: ignore[arg-type]
            stopped.then(pages.rows, [wanted], [table, links], **quiet(queue=False))  # type: ignore[arg-type]
        model_tab.select(pages.model_page, None, facts, **quiet(queue=False))  # type: ignore[arg-type]
        table.select(pages.open_row, None, [tabs, series, *viewing], **quiet(queue=False))  # type: ignore[arg-type]

        page.unload(pages.leave)
    page.queue(max_size=64, default_concurrency_limit=4, api_open=False)
    return page
