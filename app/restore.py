"""The restore tab: original and restored image under one slider, what changed, and what must be known about it."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app import panel, viewer
from app.engine import Stopped
from app.pages import KEEP, Values, owner_of
from app.room import Room, explain
from app.store import Study, Treated
from medq_vlm import restoring, vocab
from medq_vlm.io.display import default_window, to_display
from medq_vlm.report.content import capital, number, percent
from medq_vlm.report.residual import full_scale, residual_png
from medq_vlm.schema import Assessment, MedQError

MODES = (
    '<button type="button" data-mode="slider" aria-pressed="true">Before / after</button>'
    '<button type="button" data-mode="residual" aria-pressed="false">What changed</button>'
)
SLIDER = (
    '<img class="mq-after" alt="Restored"><i></i><span class="right">Restored</span><input type="range" data-share '
    'min="0" max="100" step="0.5" value="50" aria-label="Share of the width that shows the original">'
)
CHANGE = '<img class="mq-change" alt="What changed: red added, blue taken away" hidden>'
NO_STUDY = "Open a study in the reading tab first."


def treated_of(study: Study) -> Treated:
    """The last restoration. Raises MedQError when there was none."""
    if study.treated is None:
        raise MedQError("This study was not restored yet.")
    return study.treated


def slice_png(study: Study, index: int, window: viewer.Window | None = None) -> bytes:
    """A restored slice through the window that shows the original. Raises MedQError."""
    after = treated_of(study).restored.restoration.sample
    viewer.check_index(after, index)
    if after.colour:
        return viewer.png(to_display(after, index))
    return viewer.slice_png(after, index, window or default_window(study.sample))


def change_png(study: Study, index: int) -> bytes:
    """The change of a slice; all slices share one scale. Raises MedQError."""
    made = treated_of(study).restored.restoration
    viewer.check_index(made.sample, index)
    residual = made.residual.mean(-1) if made.sample.colour else made.residual
    top = full_scale(residual[restoring.shown_slice(made)])
    return residual_png(residual[index], viewer.UNITS.get(study.sample.unit, study.sample.unit) or "value", top)


def view(study: Study | None) -> str:
    """The element that restore.js fills."""
    if study is None:
        return f'<div class="mq-ba empty"><p>{NO_STUDY}</p></div>'
    made = study.treated.restored.restoration if study.treated else None
    alone = made is None or made.unchanged  # the original is all there is to see
    reason = "Nothing was restored yet: this is the original." if made is None else made.warnings[0]
    shown = viewer.payload(study)
    data = {key: shown[key] for key in ("token", "slices", "height", "width", "tall", "presets", "plane")}
    first = 0 if made is None or made.unchanged else restoring.shown_slice(made)
    data |= {"number": study.treated.number if study.treated else 0, "first": first, "alone": alone}
    windows = "".join(f'<option value="{n}">{p["name"]}</option>' for n, p in enumerate(shown["presets"]))
    hidden = {True: " hidden", False: ""}
    return (
        f'<div class="mq-restored" data-restore="{html.escape(json.dumps(data), quote=True)}">'
        f'<p class="mq-lead"{hidden[not alone]}>{html.escape(reason)}</p><div class="mq-tools">'
        f'<select data-window aria-label="Window preset"{hidden[not windows]}>{windows}</select>'
        f"{'' if alone else MODES}"
        f'<label{hidden[shown["slices"] == 1]}>{capital(shown["plane"])} <input type="range" data-slice min="0" '
        f'max="{shown["slices"] - 1}" value="0" aria-label="{capital(shown["plane"])}"><output data-position></output>'
        '</label></div><div class="mq-ba"><div class="mq-pair"><img class="mq-before" alt="Original">'
        f'<span class="left">Original</span>{"" if alone else SLIDER}</div>{"" if alone else CHANGE}'
        "</div></div>"
    )


def facts(study: Study | None) -> str:
    """Score before and after, what was treated, how much changed, warnings, the file."""
    if study is None or study.treated is None:
        return ""
    treated, made = study.treated, study.treated.restored.restoration
    parts = []
    if made.unchanged:
        parts.append(f'<p class="mq-lead">Unchanged</p>{_score("Score", treated.before)}')
    else:
        parts += [
            f'<div class="mq-scores">{_score("Before", treated.before)}<b aria-hidden="true">\u2192</b>'
            f"{_score('After', treated.after)}</div>",
            f'<dl class="mq-pairs">{_changes(study, treated)}</dl>',
        ]
        parts.append(
            f'<nav class="mq-downloads"><a class="mq-button main" data-export="restored" download href="/medq/study/'
            f'{study.token}/export/restored" title="Image, change and record; no header, no patient">Download</a></nav>'
        )
    above = made.warnings[0] if made.unchanged else restoring.DERIVED  # said on the page already
    told = [words for words in made.warnings if words != above]
    scored = () if made.unchanged else restoring.score_warnings(treated.before, treated.after)
    parts.append(panel.warnings([*scored, *told]))
    if not made.unchanged:
        parts.append(
            '<p class="mq-soft">The download holds no header and no patient. For a derived DICOM series in the study '
            "of the original: <code>medq restore</code>.</p>"
        )
    return f'<section class="mq-panel">{"".join(parts)}</section>'


def _score(name: str, one: Assessment) -> str:
    if one.score is None:
        return f'<div class="mq-verdict none"><div><strong>{name}</strong><p>not assessable</p></div></div>'
    return (
        f'<div class="mq-verdict {one.verdict}"><div class="mq-score"><b>{vocab.score_text(one.score)}</b><span>of 4'
        f"</span></div><div><strong>{name}</strong><p>{one.verdict}</p></div></div>"
    )


def _changes(study: Study, treated: Treated) -> str:
    made, change = treated.restored.restoration, treated.restored.restoration.change
    unit = viewer.UNITS.get(study.sample.unit, study.sample.unit)
    judged = treated.restored.justification
    spots = restoring.regions(made.residual)[:3]
    places = "; ".join(
        f"columns {box[0] + 1} to {box[2]}, rows {box[1] + 1} to {box[3]}"
        + (f", slice {spot['slice'] + 1}" if study.sample.slices > 1 else "")
        for spot in spots
        for box in [spot["box"]]
    )
    rows = [
        ("Treated", capital(", ".join(vocab.KIND[kind].plain for kind in made.treated))),
        ("Led by", "your description" if treated.by_person else "the findings"),
        ("Change", f"{number(change['rms'])} {unit or 'grey levels'} on average (rms)"
         + f"; {percent(change['changed_share'])} of the pixels by more than 1\u00a0% of the range"),
        ("Changed most", places),
        ("Bounds", f"changed by {100 * judged.change_share:.1f}\u00a0% of the value range; as severe as the findings "
         f"are, up to {100 * judged.allowed_share:.1f}\u00a0% is to be expected"),
    ]  # fmt: skip
    return "".join(f"<dt>{name}</dt><dd>{html.escape(value)}</dd>" for name, value in rows if value)


@dataclass(frozen=True)
class RestorePages:
    """The events of the tab: status, stop, view, facts, description."""

    room: Room

    def show(self, request: gr.Request) -> Values:
        """The tab is opened: the study at hand as it is."""
        study = self.room.store.selected(owner_of(request))
        words = "" if study is None else study.label if study.result else "Wait until the study is assessed."
        return panel.notice(words), gr.update(visible=False), *self._state(study)

    def restore(self, request: gr.Request) -> Iterator[Values]:
        """Restore by the findings."""
        yield from self._run(None, request)

    def again(self, description: str, request: gr.Request) -> Iterator[Values]:
        """Restore by what a person wrote; the assessment's own words mean its findings."""
        study = self.room.store.selected(owner_of(request))
        own = "" if study is None or study.result is None else study.result.description
        yield from self._run(None if description.strip() == own.strip() else description, request)

    def stop(self, request: gr.Request) -> Values:
        """End the restoration: status, stop."""
        study = self.room.store.selected(owner_of(request))
        if study is not None:
            study.stop_restoring.set()
        return panel.notice("Stopped. The images stay open."), gr.update(visible=False)

    def _run(self, description: str | None, request: gr.Request) -> Iterator[Values]:
        study = self.room.store.selected(owner_of(request))
        if study is None:
            yield panel.notice(NO_STUDY, "error"), gr.update(visible=False), KEEP, KEEP, KEEP
            return
        yield panel.progress("Restoring\u2026", 0.0), gr.update(visible=True), KEEP, KEEP, KEEP
        try:
            for step in self.room.restore(study, description):
                words = "Restoring\u2026" if 2 * step.done <= step.total else "Assessing the restored image\u2026"
                yield panel.progress(words, step.done / step.total), KEEP, KEEP, KEEP, KEEP
        except Exception as error:
            kind = "info" if isinstance(error, Stopped) else "error"
            yield panel.notice(explain(error), kind), gr.update(visible=False), KEEP, KEEP, KEEP
            return
        shown, told, words = self._state(study)
        box = KEEP if description is not None else words  # what a person wrote stays
        yield panel.notice(study.label), gr.update(visible=False), shown, told, box

    def _state(self, study: Study | None) -> tuple[str, str, Any]:
        """view, facts, description."""
        text = ""
        if study is not None and study.treated is not None:
            text = study.treated.restored.guidance.text
        elif study is not None and study.result is not None:
            text = study.result.description
        return view(study), facts(study), text
