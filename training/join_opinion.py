"""Put a trained third opinion (training/train_opinion.py) beside a scorer, calibrate the consensus, write it.

    python -m training.join_opinion --shards runs/shards --opinion runs/opinion --out medq_vlm/weights/nano

Prints what each opinion and their consensus are worth on validation subjects and on the sources that the third (or the
one of --apart) was trained without, and keeps that in meta.json. With --second the statistics' networks, with
--judgement how the head judges are trained again on these shards: once without those sources, for the figures and the
calibration, and once on all. The bars of the gate stay.
"""

from __future__ import annotations

import argparse
import json
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from medq_vlm import checkpoint
from medq_vlm.config import ViewConfig
from medq_vlm.encoder.opinions import TowerOpinion
from medq_vlm.encoder.scorer import UNKNOWN, Scorer
from training.data import Shards
from training.export import Predictions, calibrate, card, predictions, replace_scorer
from training.fit_head import Features, cached, extract, tower_key
from training.fit_judgement import PARTS, fit_judgement
from training.fit_second import fit_asked, fit_second
from training.train_opinion import HEAD_TILES, RECORD, WEIGHTS, looks_of
from training.unfamiliar import Unfamiliar
from training.validation import Figures

PREFIXES = ("second.", "third.", *PARTS)
ASKED_SAMPLES = 3000


def join(model: Scorer, weights: Path, data: Shards, seed: int) -> None:
    """Load the opinion into `model` and teach it what descriptions ask, on samples of `data`."""
    opinion = load_third(model, weights)
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(np.flatnonzero(data.labels["medical"]))[:ASKED_SAMPLES])
    with torch.no_grad():
        stats = model.standardised(data.statistics(rows))
        plain, _ = opinion(looks_of(model, opinion, data, rows, 2), torch.full((len(rows),), UNKNOWN), stats)
    fit_asked(model, opinion.asked, lambda pick, prior: plain[pick] + opinion.asked(prior), data, rows, rng)


def load_third(model: Scorer, weights: Path) -> TowerOpinion:
    opinion = model.take_tower_opinion()
    opinion.load_state_dict(load_file(weights))
    return opinion.eval()


def take_judgement(model: Scorer, features: Features, data: Shards, keep: np.ndarray, seed: int, path: Path) -> None:
    """Let the head of `model` judge as trained on the samples `keep` (N,), kept in a file."""
    if not path.exists():
        fit_judgement(model, features, data, seed, keep)
        own = {name: value.contiguous() for name, value in model.state_dict().items() if name.startswith(PARTS)}
        save_file(own, path)
    model.load_state_dict(load_file(path), strict=False)


def take_second(model: Scorer, data: Shards, keep: np.ndarray, seed: int, path: Path) -> None:
    """Put the statistics' networks trained on the samples `keep` (N,) into `model`, kept in a file."""
    assert model.second is not None
    if not path.exists():
        fit_second(model, data, model.config.second_opinions, seed, keep)
        save_file({name: value.contiguous() for name, value in model.second.state_dict().items()}, path)
    model.second.load_state_dict(load_file(path))
    model.second.eval()


def with_looks(model: Scorer, features: Features, data: Shards, rows: np.ndarray, path: Path,
               most: int | None = None) -> Features:  # fmt: skip
    """The features of the samples `rows` with what the third opinion sees of them, kept in a file."""
    assert model.third is not None
    if not path.exists() or len(np.load(path)["looks"]) != len(rows):
        np.savez(path, looks=looks_of(model, model.third, data, rows, most).numpy().astype(np.float16))
    return replace(features, looks=np.load(path)["looks"])


def bench(model: Scorer, features: Features, data: Shards) -> dict[str, dict[str, float | str]]:
    """Each opinion alone, the consensus without the third, and with it; modality withheld."""
    second, third = model.second, model.third
    rows: dict[str, dict[str, float | str]] = {}
    alone = replace(features, looks=None)
    for name, kept, given in (
        ("without the third", (second, None), alone), ("head alone", (None, None), alone),
        ("consensus", (second, third), features),
    ):  # fmt: skip
        model.second, model.third = kept
        rows[name] = row(predictions(model, given, data), data)
    model.second, model.third = second, third
    assert third is not None and features.looks is not None
    with torch.no_grad():
        stats = model.standardised(data.statistics(np.arange(len(features))))
        looks = torch.from_numpy(features.looks.astype(np.float32))
        score, kinds = third(looks, torch.full((len(features),), UNKNOWN), stats)
    nothing = np.zeros(len(features))
    severities = (kinds.softmax(-1) @ torch.arange(5.0)).numpy()
    rows["third alone"] = row(Predictions(score.softmax(-1).numpy(), severities, nothing, nothing), data)
    return rows


def row(found: Predictions, data: Shards) -> dict[str, float | str]:
    quality = data.labels["quality"][: len(found.score)]
    clean = data.labels["medical"][: len(found.score)] & (quality >= 4.0)
    return {
        "figures": str(Figures.of(found.score, found.severities, data, np.arange(len(found.score)))),
        "mean error": round(float(np.abs(found.score - quality)[data.labels["medical"][: len(quality)]].mean()), 3),
        "mean raw score of clean images": round(float(found.score[clean].mean()), 3),
    }


def write(folder: Path, model: Scorer, calibration: checkpoint.Calibration, record: dict[str, Any]) -> None:
    """Put the opinions and the new calibration into the preset; every other tensor keeps its bytes."""
    state = load_file(folder / checkpoint.WEIGHTS_FILE)
    state = {name: value for name, value in state.items() if not name.startswith(PREFIXES)}
    for name, value in model.state_dict().items():
        if name.startswith(PREFIXES):
            state[name] = (value.half() if value.ndim > 1 else value).contiguous()
    meta = json.loads((folder / checkpoint.META_FILE).read_text())
    old = meta["calibration"]
    bars = {name: old[name] for name in ("medical_threshold", "claimed_threshold")}
    meta["scorer"] |= {"tower_opinion": True, "implied_opinion": model.config.implied_opinion}
    meta["calibration"] = asdict(calibration) | bars
    meta["opinion"] = record
    replace_scorer(folder, state, meta)
    (folder / "CARD.md").write_text(card(meta, folder.name))


def subset(data: Shards, rows: np.ndarray) -> Shards:
    """The labels of some samples under the name of the whole; pixels are not asked of it."""
    small = object.__new__(Shards)
    small.view, small.task_map = data.view, data.task_map
    small.labels = {name: values[rows] for name, values in data.labels.items()}
    return small


def strangers(
    model: Scorer, args: argparse.Namespace, data: Shards, features: Features | None
) -> tuple[dict[str, Any], Unfamiliar | None]:
    """What opinions say of sources that their last training left out: figures, and raw outputs to calibrate with.

    The tower and the layers before the head's judgement may have seen them in earlier ones. `model` comes back with
    the parts that were trained without these sources.
    """
    folder = args.apart or args.opinion
    left_out = json.loads((folder / RECORD).read_text())["left_out"]
    out = np.isin(data.labels["source"], left_out)
    if not out.any() or out.all():
        return {}, None
    load_third(model, folder / WEIGHTS)
    rows = np.flatnonzero(out & data.labels["medical"])
    if features is None:
        few = left_features(model, data, rows, args.opinion / f"features_left_{tower_key(model)}.npz")
    else:
        few = Features(features.tiles[rows], features.padded[rows], features.whole[rows])
    number = checkpoint.file_sha256(folder / WEIGHTS)[:8]
    few = with_looks(model, few, data, rows, args.opinion / f"looks_left_{number}_{len(rows)}.npz", HEAD_TILES)
    labels = subset(data, rows)
    figures: dict[str, Any] = {"sources": left_out, "versions": len(rows), "before": bench(model, few, labels)}
    take_second(model, data, ~out, args.seed, args.opinion / "second_left.safetensors")
    if features is not None:
        take_judgement(model, features, data, ~out, args.seed, args.opinion / "judgement_left.safetensors")
    figures["last trained without these"] = bench(model, few, labels)
    model.config = replace(model.config, implied_opinion=True)
    figures["and what the kinds imply"] = bench(model, few, labels)["consensus"]
    found = predictions(model, few, labels)
    truth = (labels.labels[name] for name in ("severities", "modality"))
    return figures, Unfamiliar(found.distribution, labels.labels["quality"], found.severities, *truth)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--opinion", type=Path, required=True, help="--out of training.train_opinion")
    parser.add_argument("--apart", type=Path, help="another such folder, trained without some sources, to calibrate by")
    parser.add_argument("--base", default="nano")
    parser.add_argument("--second", action="store_true", help="train the statistics' networks again")
    parser.add_argument(
        "--judgement", type=Path, help="train how the head judges again; folder for its features of the shards"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder of weights to put the opinions into")
    args = parser.parse_args(argv)
    data, check = (Shards(args.shards, split, ViewConfig()) for split in ("train", "validation"))
    model = checkpoint.load(args.base).model
    model.third = None
    features = cached(args.judgement, model, data, len(data), HEAD_TILES) if args.judgement else None
    record: dict[str, Any] = json.loads((args.opinion / RECORD).read_text())
    before = deepcopy(model)
    record["left out"], strange = strangers(model, args, data, features)
    print(json.dumps(record, indent=1), flush=True)
    model = before
    join(model, args.opinion / WEIGHTS, data, args.seed)
    number = checkpoint.file_sha256(args.opinion / WEIGHTS)[:8]
    known = cached(args.opinion / "features_validation", model, check, len(check))
    seen = args.opinion / f"looks_validation_{number}_{len(check)}.npz"
    known = with_looks(model, known, check, np.arange(len(check)), seen)
    model.config = replace(model.config, implied_opinion=True)
    everything = np.ones(len(data), bool)
    if args.second:
        take_second(model, data, everything, args.seed, args.opinion / "second.safetensors")
    if features is not None:
        take_judgement(model, features, data, everything, args.seed, args.opinion / "judgement.safetensors")
    record |= {"judgement": features is not None, "implied": True, "validation": bench(model, known, check)}
    print(json.dumps(record, indent=1), flush=True)
    calibration = calibrate(predictions(model, known, check), check, strange)
    if args.out:
        write(args.out, model, calibration, record)
        print(f"wrote {args.out}")


def left_features(model: Scorer, data: Shards, rows: np.ndarray, path: Path) -> Features:
    """Features of some samples, kept in a file: the scorer's own take longest."""
    if path.exists() and len(np.load(path)["whole"]) == len(rows):
        return Features(**np.load(path))
    parts = [extract(model, data, range(int(i), int(i) + 1), HEAD_TILES) for i in rows]
    found = Features(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("tiles", "padded", "whole")))
    np.savez(path, tiles=found.tiles, padded=found.padded, whole=found.whole)
    return found


if __name__ == "__main__":
    main()
