"""The restoration table of docs/RESULTS.md is what the committed measurement says: a new one must be told, too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.readme_commands import ROOT, TEXT

HELD_OUT, VALIDATION = " (held-out)", " (validation)"


def decibels(value: float) -> str:
    return "0.0" if abs(value) < 0.05 else f"{value:.1f}"


def with_interval(estimate: dict[str, Any]) -> str:
    if estimate["low"] is None:
        return decibels(estimate["value"])
    return f"{decibels(estimate['value'])} [{decibels(estimate['low'])}, {decibels(estimate['high'])}]"


def bold(ours: float, classical: float) -> str:
    return f"**{decibels(ours)}**" if ours > classical else decibels(ours)


def rows(numbers: dict[str, Any]) -> Iterator[str]:
    """The table's rows; a method that knows the acquired data is compared with the network that knows them, too."""
    for key, task in numbers["tasks"].items():
        name = key.replace(HELD_OUT, "") if HELD_OUT in key else key.split(VALIDATION)[0] + VALIDATION
        before, best = task["input"]["value"], task["best classical"]
        gains = {method: one["value"] for method, one in numbers["classical"][key].items()}
        led = {lead: numbers["descriptions"][key][lead]["value"] for lead in ("right", "none", "wrong")}
        own = decibels(task["ours, own assessment"]["value"] - before)
        ours, theirs = (f"{task[f'SSIM {who}']['value']:.2f}" for who in ("ours", "classical"))
        data = task.get("ours, acquired data known")
        known = gains.pop(best) if data else 0.0
        rival = max(gains, key=lambda method: gains[method]) if data else best
        ahead = with_interval(task["gain over picture-only" if data else "gain over classical"])
        beside = [decibels(led["none"]), decibels(led["wrong"]), own, f"{decibels(gains[rival])} {rival}", ahead]
        similar = f"{ours} / {'-' if data else theirs}"
        yield f"| {' | '.join([name, bold(led['right'], gains[rival]), *beside, similar])} |"
        if data:
            shown = [bold(data["value"] - before, known), "-", "-", "-", f"{decibels(known)} {best}"]
            ahead = with_interval(task["gain with acquired data"])
            yield f"| {' | '.join(['the same, acquired data known', *shown, ahead, f'- / {theirs}'])} |"


def test_the_restoration_table_is_the_measurement() -> None:
    numbers = json.loads((ROOT / "eval" / "results" / "nano_restoration.json").read_text(encoding="utf-8"))
    heading = re.search(r"^\| task \| right .*\n\|[-|]+\n((?:\|.*\n)+)", TEXT["docs/RESULTS.md"], re.MULTILINE)
    assert heading
    expected = "\n".join(rows(numbers)) + "\n"
    assert heading[1] == expected, f"put this in its place:\n{expected}"
