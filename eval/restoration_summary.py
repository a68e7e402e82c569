"""The numbers of a measured restoration: per task, by description, by judge, with intervals over subjects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eval import classical_restoration as classical
from eval.bootstrap import Estimate, estimate
from eval.restoration_outcomes import (
    BESIDE,
    INPUT,
    KNOWN,
    LOOP,
    NONE,
    RIGHT,
    WRONG,
    CleanOutcome,
    Outcome,
    best_classical,
)
from eval.tables import table

Row = dict[str, Any]  # column -> Estimate or text
WIDE = ("images", INPUT, "best classical", "classical", RIGHT, "gain over classical", "gain over picture-only",
        KNOWN, "gain with acquired data", BESIDE, "gain over other weights", "SSIM input", "SSIM classical",
        "SSIM ours")  # fmt: skip
SHARE = 0.95  # of the images on which a judge must agree


def by_task(outcomes: Sequence[Outcome], draws: int) -> dict[str, Row]:
    """Per task and evidence: PSNR and SSIM of the input, the best classical method and ours, and paired gains."""
    out = {}
    for name, part in groups(outcomes).items():
        best = best_classical(part)
        knows = next(m.knows for m in classical.METHODS[part[0].task] if m.name == best)
        row: Row = {"images": len(part), "input": mean(part, draws, lambda o: o.psnr[INPUT])}
        row |= {"best classical": best, "it knows": knows, "classical": mean(part, draws, lambda o, b=best: o.psnr[b])}
        for way in (RIGHT, LOOP, KNOWN, BESIDE):
            if way in part[0].psnr:
                row[way] = mean(part, draws, lambda o, w=way: o.psnr[w])
        if RIGHT in part[0].psnr:
            row["gain over input"] = mean(part, draws, lambda o: o.psnr[RIGHT] - o.psnr[INPUT])
            row["gain over classical"] = mean(part, draws, lambda o, b=best: o.psnr[RIGHT] - o.psnr[b])
            as_blind = best_classical(part, picture_only=True)
            if as_blind != best:
                row["gain over picture-only"] = mean(part, draws, lambda o, b=as_blind: o.psnr[RIGHT] - o.psnr[b])
        if KNOWN in part[0].psnr:
            row["gain with acquired data"] = mean(part, draws, lambda o, b=best: o.psnr[KNOWN] - o.psnr[b])
        if BESIDE in part[0].psnr:
            row["gain over other weights"] = mean(part, draws, lambda o: o.psnr[RIGHT] - o.psnr[BESIDE])
        for way, key in ((INPUT, INPUT), ("classical", best), (RIGHT, RIGHT)):
            if key in part[0].ssim:
                row[f"SSIM {way}"] = mean(part, draws, lambda o, k=key: o.ssim[k])
        out[name] = row
    return out


def by_method(outcomes: Sequence[Outcome], draws: int) -> dict[str, Row]:
    """Per task: the gain in dB of every classical method over the degraded input."""
    return {
        name: {
            m.name: mean(part, draws, lambda o, m=m.name: o.psnr[m] - o.psnr[INPUT])
            for m in classical.METHODS[part[0].task]
        }
        for name, part in groups(outcomes).items()
    }


def by_description(outcomes: Sequence[Outcome], draws: int) -> dict[str, Row]:
    """Gain in dB over the input when told the truth, nothing, something wrong; and the paired differences."""
    pairs = {"right": (RIGHT, INPUT), "none": (NONE, INPUT), "wrong": (WRONG, INPUT),
             "right - none": (RIGHT, NONE), "none - wrong": (NONE, WRONG), "right - wrong": (RIGHT, WRONG)}  # fmt: skip
    parts = groups(outcomes) | {"average over tasks": list(outcomes)}
    return {
        name: {
            column: balanced(part, draws, lambda o, a=a, b=b: o.psnr[a] - o.psnr[b]) for column, (a, b) in pairs.items()
        }
        for name, part in parts.items()
    }


def by_judge(outcomes: Sequence[Outcome], draws: int) -> dict[str, Row]:
    """Shares of images on which the own score and the full-reference measures rise; what the loop does."""
    parts = groups(outcomes) | {"all": list(outcomes)}
    return {name: _judged(part, draws) for name, part in parts.items()}


def _judged(part: Sequence[Outcome], draws: int) -> Row:
    row: Row = {"full reference rises": mean(part, draws, lambda o: o.fidelity[RIGHT] > o.fidelity[INPUT])}
    if part[0].score:
        row["own score rises"] = mean(part, draws, lambda o: o.score[RIGHT] > o.score[INPUT])
    if LOOP in part[0].psnr:
        treated = [o for o in part if not o.unchanged]
        row["loop: unchanged"] = mean(part, draws, lambda o: o.unchanged)
        row["loop: flagged"] = mean(part, draws, lambda o: o.flagged)
        row["loop: gain over input"] = mean(part, draws, lambda o: o.psnr[LOOP] - o.psnr[INPUT])
        if treated:
            row["loop: full reference rises"] = mean(treated, draws, lambda o: o.fidelity[LOOP] > o.fidelity[INPUT])
            if part[0].score:
                row["loop: own score rises"] = mean(treated, draws, lambda o: o.score[LOOP] > o.score[INPUT])
    return row


def clean_numbers(clean: Sequence[CleanOutcome], draws: int) -> Row:
    """What happens to clean images; changes are RMS over the image's own noise SD."""
    row: Row = {"images": len(clean)}
    if np.isfinite([c.loop_change for c in clean]).all():
        row["loop: unchanged"] = mean(clean, draws, lambda c: c.loop_unchanged)
        row["loop: change over noise"] = mean(clean, draws, lambda c: c.loop_change)
        row["loop: below noise"] = mean(clean, draws, lambda c: c.loop_change < 1)
    return row | {
        "blind network: change over noise": mean(clean, draws, lambda c: c.blind_change),
        "blind network: below noise": mean(clean, draws, lambda c: c.blind_change < 1),
    }


def bounds(numbers: dict[str, Any]) -> dict[str, bool]:
    """Which of the requirements hold; only those that were measured."""
    out: dict[str, bool] = {}
    for name, row in numbers.get("tasks", {}).items():
        if "gain over classical" in row:
            ahead = max(row[k].value for k in ("gain over classical", "gain with acquired data") if k in row)
            out[f"ahead of the best classical method: {name}"] = ahead > 0
    if "descriptions" in numbers:
        average = numbers["descriptions"]["average over tasks"]
        out["right description > none"] = positive(average["right - none"])
        out["no description > wrong"] = positive(average["none - wrong"])
    judged = numbers.get("judges", {}).get("all", {})
    for name in ("own score rises", "full reference rises"):
        if name in judged:
            out[f"{name} on 95 %"] = judged[name].value >= SHARE
    if "loop: below noise" in numbers.get("clean", {}):
        out["clean images change by less than their noise"] = numbers["clean"]["loop: below noise"].value == 1
    if "all tasks" in numbers.get("lesions", {}):
        rows = {k: v for k, v in numbers["lesions"].items() if k != "all tasks"}
        out["lesions stay as detectable"] = all(row["AUC gain"].value >= 0 for row in rows.values())
        out["no lesion made"] = all(row["made"].value == 0 for row in rows.values())
    if "ours" in numbers.get("speed", {}):
        out["512 x 512 in under 2 s"] = numbers["speed"]["ours"]["seconds"] < 2
    return out


def positive(value: Estimate) -> bool:
    """The whole interval lies above zero."""
    return bool((value.low if np.isfinite(value.low) else value.value) > 0)


def groups(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Outcomes by task and evidence, in order; the row's name says what the images are."""
    out: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        out.setdefault(f"{outcome.task} ({outcome.evidence})", []).append(outcome)
    return {name if _is_held(part) else f"{name}: {_sources(part)}": part for name, part in out.items()}


def _is_held(part: Sequence[Outcome]) -> bool:
    return part[0].evidence == "held-out"


def _sources(part: Sequence[Outcome]) -> str:
    names = {"/".join(o.group.split("/")[:2]) if o.source == "phantom" else o.source for o in part}
    return ", ".join(sorted(names))


def mean(part: Sequence[Any], draws: int, value: Callable[..., float]) -> Estimate:
    """Mean over images, interval over subjects."""
    values = np.array([float(value(one)) for one in part])
    return estimate(lambda rows: float(values[rows].mean()), [one.group for one in part], draws=draws)


def balanced(part: Sequence[Outcome], draws: int, value: Callable[..., float]) -> Estimate:
    """Mean of the task means: every task weighs the same, whatever its number of images."""
    values = np.array([float(value(one)) for one in part])
    task = np.array([f"{one.task} {one.evidence}" for one in part])

    def statistic(rows: np.ndarray) -> float:
        return float(np.mean([values[rows][task[rows] == name].mean() for name in np.unique(task[rows])]))

    # Subjects serve several tasks of a modality; they are drawn whole, with all their tasks.
    return estimate(statistic, [one.group for one in part], draws=draws)


def report(numbers: dict[str, Any]) -> str:
    """The tables a person reads."""
    titles = {
        "tasks": "PSNR in dB and SSIM, native range of the clean image",
        "classical": "Gain of each classical method over the input, dB",
        "descriptions": "Gain over the input by what the network is told, dB",
        "judges": "Shares on which the judges agree, and the loop led by MedQ's own assessment",
        "lesions": "Lesions before and after",
    }
    parts = [f"{numbers['pairs']} pairs, {numbers['intervals']}"]
    for key, title in titles.items():
        if numbers.get(key):
            parts.append(f"{title}\n" + _nested(numbers[key], WIDE if key == "tasks" else ()))
    for key, title in (("clean", "Clean images"), ("bounds", "Bounds")):
        if numbers.get(key):
            body = [(name, "holds" if v is True else "broken" if v is False else v) for name, v in numbers[key].items()]
            parts.append(f"{title}\n" + table(("", key), body))
    if "speed" in numbers:
        rows = [(name, row["seconds"], row["size"]) for name, row in numbers["speed"].items()]
        parts.append("Seconds, median of five\n" + table(("", "seconds", "image"), rows))
    return "\n\n".join(parts)


def _nested(rows: dict[str, Row], wanted: Sequence[str] = ()) -> str:
    found = list(dict.fromkeys(name for row in rows.values() for name in row))
    columns = [name for name in wanted if name in found] if wanted else found
    if not wanted and len({tuple(row) for row in rows.values()}) > 3:  # every task has its own methods
        return "\n".join(f"{name}\n" + table(("", "dB"), list(row.items())) for name, row in rows.items())
    return table(("task", *columns), [(name, *(row.get(c) for c in columns)) for name, row in rows.items()], 2)
