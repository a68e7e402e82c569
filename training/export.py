"""Calibration on validation subjects, then weights, meta.json and card in one folder."""

from __future__ import annotations

import argparse
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from scipy import stats
from scipy.optimize import isotonic_regression

from medq_vlm import __version__, checkpoint, vocab
from medq_vlm.encoder.foreign import is_foreign
from medq_vlm.encoder.scorer import Scorer
from training.data import Shards
from training.fit_head import Features, run_head
from training.losses import VALID
from training.sources import HELD_OUT_GROUPS, HELD_OUT_SOURCES
from training.unfamiliar import Unfamiliar
from training.validation import Figures, macro_f1

THRESHOLDS = np.arange(0.2, 2.51, 0.1)
POOLED_CASES = 20
UNFAMILIAR_SHARE = 0.5  # of the score map: most images that users bring are of sources that nobody trained on
COVERAGE = 0.9  # of validation subjects and unfamiliar sources, in the same shares


@dataclass
class Predictions:
    """Raw outputs on a split, modality withheld."""

    distribution: np.ndarray  # (N, 21)
    severities: np.ndarray  # (N, K)
    medical: np.ndarray  # (N,) probability
    utility: np.ndarray  # (N,) 0 to 1

    @property
    def score(self) -> np.ndarray:
        return self.distribution @ np.linspace(0, 4, vocab.SCORE_BINS)


@torch.no_grad()
def predictions(model: Scorer, features: Features, data: Shards) -> Predictions:
    model.eval()
    anchors, parts = model.anchors(), []
    for index in np.array_split(np.arange(len(features.whole)), max(1, len(features.whole) // 256)):
        unknown = torch.full((len(index),), len(vocab.MODALITIES))
        out = run_head(model, features, data.statistics(index), index, features.padded[index], unknown, anchors)
        parts.append((out.score.softmax(-1), out.severities(), out.medical.sigmoid(), out.utility.sigmoid()))
    return Predictions(*(torch.cat(p).cpu().numpy() for p in zip(*parts, strict=True)))


def calibrate(found: Predictions, data: Shards, strange: Unfamiliar | None = None) -> checkpoint.Calibration:
    """Monotone score map, interval width, per-kind reporting thresholds and clean reference quantiles.

    With versions of sources that were left out of a training, map and interval are made half for them; for the
    thresholds they are cases like others.
    """
    lab = {key: value[: len(found.score)] for key, value in data.labels.items()}
    medical = lab["medical"]
    raw, quality = found.score[medical], lab["quality"][medical]
    distribution, wanted = found.distribution[medical], quality
    kinds = found.severities[medical], lab["severities"][medical], lab["modality"][medical]
    if strange is not None:
        told = strange.severities, strange.truth, strange.modality
        kinds = tuple(np.concatenate(pair) for pair in zip(kinds, told, strict=True))  # type: ignore[assignment]
        distribution = np.concatenate([distribution, strange.distribution])
        wanted = np.concatenate([wanted, strange.quality])
    known = np.arange(len(wanted)) < len(raw)

    def weight(share: float) -> np.ndarray:
        return np.where(known, (1 - share) / known.sum(), share / max(1, (~known).sum()))

    bins = np.linspace(0, 4, vocab.SCORE_BINS)
    said = distribution @ bins
    knots_raw, knots_to = _monotone_knots(said, wanted, weight(UNFAMILIAR_SHARE))
    spread = np.sqrt(((bins - said[:, None]) ** 2 * distribution).sum(1))
    error = np.abs(np.interp(said, knots_raw, knots_to) - wanted) / np.maximum(spread, 0.05)
    scale = float(_weighted_quantile(error, weight(UNFAMILIAR_SHARE), np.array([COVERAGE]))[0])
    score = np.interp(raw, knots_raw, knots_to)
    clean = quality >= 4.0
    modality = lab["modality"][medical]
    reference = {
        name: [round(float(v), 3) for v in np.quantile(score[clean & (modality == i)], np.linspace(0, 1, 21))]
        for i, name in enumerate(vocab.MODALITIES)
        if (clean & (modality == i)).sum() >= 10
    }
    return checkpoint.Calibration(
        tuple(float(v) for v in knots_raw), tuple(float(v) for v in knots_to), scale,
        severity_knots(*kinds),
        _medical_threshold(found.medical, medical), reference=reference,
    )  # fmt: skip


def _weighted_quantile(values: np.ndarray, weight: np.ndarray, levels: np.ndarray) -> np.ndarray:
    order = np.argsort(values)
    reached = np.cumsum(weight[order]) - weight[order] / 2
    return np.interp(levels * weight.sum(), reached, values[order])


def _monotone_knots(raw: np.ndarray, quality: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nine knots of the isotonic regression of quality on the raw score, the ends kept at 0 and 4."""
    order = np.argsort(raw)
    fitted = isotonic_regression(quality[order], weights=weight[order]).x
    at = _weighted_quantile(raw, weight, np.linspace(0.02, 0.98, 9))
    width = max(20, len(raw) // 30)
    position = np.searchsorted(raw[order], at)
    to = [float(fitted[max(0, p - width) : p + width].mean()) for p in position]
    keep = np.concatenate([[True], np.diff(at) > 0.02])
    return np.concatenate([[0.0], at[keep], [4.0]]), np.maximum.accumulate(
        np.concatenate([[0.0], np.array(to)[keep], [4.0]])
    )


def severity_knots(severities: np.ndarray, truth: np.ndarray, modality: np.ndarray) -> dict[str, tuple[float, float]]:
    """Per kind the raw severities from which "mild or worse" and "moderate or worse" have the best F1.

    Raw and true severities (N, K), modality (N,) ids.
    Few cases decide nothing: each kind's F1 is mixed with that of all kinds, which counts as POOLED_CASES cases.
    """
    valid = VALID.numpy()[np.maximum(modality, 0)]
    out = {}
    levels = vocab.SEVERITY_FROM
    pooled = [_f1_at(truth[valid], severities[valid], level) for level in levels]
    for k, name in enumerate(vocab.KIND_NAMES):
        rows = valid[:, k]
        knots = []
        for level, common in zip(levels, pooled, strict=True):
            cases = int((truth[rows, k] >= level).sum())
            own = _f1_at(truth[rows, k], severities[rows, k], level)
            mixed = (cases * own + POOLED_CASES * common) / (cases + POOLED_CASES)
            knots.append(float(THRESHOLDS[int(np.argmax(mixed))]))
        out[name] = (round(knots[0], 2), round(max(knots[1], knots[0] + 0.2), 2))
    return out


def _f1_at(truth: np.ndarray, severities: np.ndarray, level: float) -> np.ndarray:
    """F1 of `truth >= level` for every one of THRESHOLDS, smoothed over neighbours."""
    there = truth >= level
    f1 = [2 * (there & (severities >= t)).sum() / max(1, there.sum() + (severities >= t).sum()) for t in THRESHOLDS]
    return np.convolve(np.pad(f1, 1, mode="edge"), np.ones(3) / 3, "valid")


def _medical_threshold(probability: np.ndarray, medical: np.ndarray) -> float:
    """Refuse at most one in two hundred validation images, and never above an even chance."""
    return float(min(0.5, np.quantile(probability[medical], 0.005)))


def export(model: Scorer, features: Features, check: Shards, train: Shards, args: argparse.Namespace) -> None:
    """Calibrate and write the folder `args.out / "nano"`, or "clinical" for towers that are not ours."""
    found = predictions(model, features, check)
    strange = Unfamiliar.load(args.unfamiliar) if args.unfamiliar else None
    calibration = calibrate(found, check, strange)
    lab = {key: value[: len(found.score)] for key, value in check.labels.items()}
    record = args.out / "tower" / "progress.json"  # none where the tower of --base was kept
    steps = json.loads(record.read_text())["step"] if record.is_file() else 0
    extra = {
        "version": __version__,
        "held_out_sources": list(HELD_OUT_SOURCES),
        "held_out_groups": list(HELD_OUT_GROUPS),
        "training": {
            "samples": len(train), "steps": steps, "head_epochs": args.head_epochs,
            "head_runs": args.head_runs, "head_rate": args.head_rate, "second_opinions": model.config.second_opinions,
            "calibrated_on_left_out": 0 if strange is None else len(strange.quality),
            "base": Path(args.base).name if args.base else None, "before": _before(args.base),
            "sources": _counts(train.labels["source"]),
            "task_map": [round(v, 4) for v in train.task_map],
            "revision": _revision(),
        },
        "validation": {
            "samples": len(found.score),
            "line": str(Figures.of(found.score, found.severities, check, np.arange(len(found.score)))),
            "macro_f1_moderate": round(macro_f1(found.severities, lab), 4),
            "utility_srcc": _utility_srcc(found.utility, lab["task_loss"]),
        },
    }  # fmt: skip
    folder = Path(args.out) / ("clinical" if is_foreign(model.config.clip) else "nano")
    checkpoint.save(folder, model, train.view, calibration, extra)
    (folder / "CARD.md").write_text(card(extra, folder.name))
    print(f"wrote {folder}: {extra['validation']}", flush=True)


def _before(base: str | None) -> dict | None:
    """The training record of the weights that were gone on from, which holds that of those before them."""
    if base is None:
        return None
    record = json.loads((checkpoint.preset_folder(base) / "meta.json").read_text())["training"]
    return {key: value for key, value in record.items() if key not in ("sources", "task_map")}


def _utility_srcc(utility: np.ndarray, task_loss: np.ndarray) -> list[float]:
    """Rank correlation of the fitness with what the task lost, sign turned, and on how many images."""
    tried = np.isfinite(task_loss)
    if tried.sum() < 10:
        return []
    return [round(-float(stats.spearmanr(utility[tried], task_loss[tried]).statistic), 4), int(tried.sum())]


def _counts(names: np.ndarray) -> dict[str, int]:
    values, counts = np.unique(names, return_counts=True)
    return {str(value): int(count) for value, count in zip(values, counts, strict=True)}


def _revision() -> str:
    run = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return run.stdout.strip() or "not a git checkout"


def _story(record: dict) -> str:
    """One line for each training in a record, the last first: what it saw and which passes it had."""
    lines: list[str] = []
    now: dict | None = record
    while now:
        passes = [f"tower {now['steps']} steps"] if now["steps"] else []
        if now["head_epochs"]:
            rate = f", rate {now['head_rate']:g}" if now.get("head_rate") else ""
            samples = f" on {now['head_samples']} of them" if now.get("head_samples") else ""
            mean = f", mean of {now['head_runs']} runs" if now.get("head_runs", 1) > 1 else ""
            passes.append(f"head {now['head_epochs']} epochs{samples}{mean}{rate}")
        if now.get("second_opinions"):
            passes.append(f"{now['second_opinions']} networks on the statistics alone")
        if now.get("calibrated_on_left_out"):
            passes.append(
                f"calibrated on {now['calibrated_on_left_out']} versions of sources that a training left out, too"
            )
        start = f", from {now['base']}" if now.get("base") else ""
        lines.append(f"- {now['samples']} degraded versions: {'; '.join(passes) or 'calibration alone'}{start}")
        now = now.get("before")
    return "\n".join(lines)


def _opinion(record: dict | None) -> str:
    """What a third opinion (training/join_opinion.py) was trained on and what it gave; "" without one."""
    if record is None:
        return ""
    before, now = (record["validation"][name]["figures"] for name in ("without the third", "consensus"))
    seen = f"{record['steps']} steps of {record['batch']} on {record['samples']} other versions"
    left = f", none of {', '.join(record['left_out'])}," if record["left_out"] else ""
    seen += ", on from the one before" if record.get("went_on") else ""
    seen += f", mean of {record['mean_of']} runs" if record.get("mean_of", 1) > 1 else ""
    also = "How the head judges was trained again on these versions, too. " if record.get("judgement") else ""
    also += "What the kinds leave of the quality counts as one opinion more. " if record.get("implied") else ""
    return f"""A third opinion (a tower of its own, {seen}{left}) has its say on score and kinds.
{also}New validation versions without it: {before}; with it: {now}.

"""


def put_layer(folder: Path, name: str, layer: torch.nn.Module, changes: dict[str, object]) -> None:
    """Put a layer that was fitted apart into the scorer of `folder`, with `changes` of its meta.json.

    The scorer's part and its configuration's switch are called `name`; every other tensor keeps its bytes.
    """
    state = load_file(folder / checkpoint.WEIGHTS_FILE)
    state = {key: value for key, value in state.items() if not key.startswith(f"{name}.")}
    for key, value in layer.state_dict().items():
        state[f"{name}.{key}"] = (value.half() if value.ndim > 1 else value).contiguous()
    meta = json.loads((folder / checkpoint.META_FILE).read_text())
    meta["scorer"][name] = True
    replace_scorer(folder, state, meta | changes)


def replace_scorer(folder: Path, state: dict[str, torch.Tensor], meta: dict[str, Any]) -> None:
    """Write weights and meta.json, whose sha256 follows; both are whole before they take the old ones' place."""
    path, meta_path = folder / checkpoint.WEIGHTS_FILE, folder / checkpoint.META_FILE
    fresh, fresh_meta = (one.with_name(f"{one.name}.new") for one in (path, meta_path))
    save_file(state, fresh)
    fresh.chmod(0o644)
    meta["sha256"][checkpoint.WEIGHTS_FILE] = checkpoint.file_sha256(fresh)
    fresh_meta.write_text(json.dumps(meta, indent=1) + "\n")
    fresh.replace(path)
    fresh_meta.replace(meta_path)


def card(extra: dict, name: str = "nano") -> str:
    """The model card, from the same numbers as meta.json."""
    sources = "\n".join(f"| {name} | {count} |" for name, count in extra["training"]["sources"].items())
    return f"""# MedQ-VLM {name} scorer {extra["version"]}

Scores the technical quality of a medical image from 0 to 4 and names degradations. Not a medical device; simulated
degradations on few subjects; see the README for the measured limits.

How these weights came to be, the last training first:

{_story(extra["training"])}

{_opinion(extra.get("opinion"))}The last training's versions by source (licences in training/SOURCES.md):

| source | versions |
|---|---|
{sources}

Never seen in training: {", ".join(extra["held_out_sources"] + extra["held_out_groups"])}.
Validation subjects ({extra["validation"]["samples"]} versions, modality withheld): {extra["validation"]["line"]}.
"""
