"""Fit the gate (medq_vlm/encoder/gate.py) on features of training.gate_features and choose its bars; it takes seconds.

    python -m training.fit_gate --features runs/gate --out medq_vlm/weights/nano
    python -m training.fit_gate --features runs/gate --held-out

Every medical source is left out in turn, and all real images of every modality, and the share of their images that
would be refused is told: users bring scanners that nobody trained on (the head's own layer, which has half its say,
has seen most of them). The bars are chosen on left-out sources.
`--out` puts gate and bars beside the scorer whose features they were fitted on; nothing else of it changes, bit by bit.
`--held-out` fits nothing: what the gate of --weights refuses of sources that train nothing.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from medq_vlm import checkpoint, vocab
from medq_vlm.encoder.gate import Gate
from medq_vlm.encoder.scorer import Scorer
from medq_vlm.schema import MedQError
from training.export import put_layer
from training.gate_features import Pictures, load
from training.gate_pictures import DEGRADED

RIDGE = 0.1  # of the mean square of a feature
STEEPNESS = 3.0  # logit of a picture at the target (1 medical, -1 not)
REFUSED = 0.003  # of clean and degraded images of left-out sources; strangers fare worse
PHANTOM_WEIGHT = 3.0  # they stand for all of which no real image trains: smears, mammograms, skin, OCT
NO_SOURCES = 0.5  # the bar where there are no real images to choose it on
ALL = "all real "
PHANTOM, FILES = "phantom", "pictures"
Folds = dict[str, tuple[np.ndarray, np.ndarray]]  # what was left out: its rows, their probabilities


@dataclass(frozen=True)
class Inputs:
    """What the gate is given of N pictures."""

    tiles: torch.Tensor
    whole: torch.Tensor
    stats: torch.Tensor
    head: torch.Tensor  # logit of the head's own layer

    @classmethod
    def of(cls, model: Scorer, pictures: Pictures) -> Inputs:
        stats = model.standardised(torch.from_numpy(pictures.statistics).float())
        tiles, whole, head = (
            torch.from_numpy(given).float() for given in (pictures.tiles, pictures.whole, pictures.before)
        )
        return cls(tiles, whole, stats, head)


@torch.no_grad()
def fit(model: Scorer, given: Inputs, pictures: Pictures, keep: np.ndarray) -> Gate:
    """Weighted ridge regression of 1 (medical) and -1 on the pictures where `keep` (N,), by its dual: few pictures."""
    gate = Gate(model.pooled_width, model.config.statistics)
    rows = np.flatnonzero(keep)
    both = torch.cat([given.tiles, given.whole], 1)[rows]
    gate.seen_mean.copy_(both.mean(0))
    gate.seen_std.copy_(both.std(0).clamp(min=1e-4))
    x = gate.seen(given.tiles[rows], given.whole[rows], given.stats[rows]).double().numpy()
    x = np.concatenate([x, np.ones((len(x), 1))], 1)
    root = np.sqrt(weights(pictures.where(rows)))[:, None]
    target = np.where(pictures.medical[rows], 1.0, -1.0)
    kernel = (root * x) @ (root * x).T
    dual = np.linalg.solve(kernel + RIDGE * x.shape[1] * np.eye(len(x)), root[:, 0] * target)
    found = torch.from_numpy(STEEPNESS * (root * x).T @ dual).float()
    gate.weigh.weight.copy_(found[None, :-1])
    gate.weigh.bias.copy_(found[-1:])
    return gate.eval()


def weights(pictures: Pictures) -> np.ndarray:
    """Of N pictures: a modality of a source counts by the root of its number, phantoms more; about 1 on average."""
    out = np.zeros(len(pictures))
    for side in (pictures.medical, ~pictures.medical):
        names = np.char.add(pictures.source.astype(str), pictures.modality.astype(str))
        _, place, counts = np.unique(names[side], return_inverse=True, return_counts=True)
        share = (1 / np.sqrt(counts))[place]
        out[side] = share / share.sum() * len(pictures) / 2
    out[pictures.source == PHANTOM] *= PHANTOM_WEIGHT
    return out


@torch.no_grad()
def chances(gate: Gate, given: Inputs) -> np.ndarray:
    """Probability of a medical image, (N,)."""
    return np.asarray(gate(given.tiles, given.whole, given.stats, given.head).sigmoid())


def left_out(model: Scorer, given: Inputs, pictures: Pictures) -> Folds:
    """Probabilities of every real medical source, and of all real images of a modality, by gates that saw none."""
    real = pictures.medical & (pictures.source != PHANTOM)
    away = {str(name): real & (pictures.source == name) for name in np.unique(pictures.source[real])}
    for modality in np.unique(pictures.modality[real]):
        away[f"{ALL}{vocab.MODALITIES[modality]}"] = real & (pictures.modality == modality)
    foreign = pictures.validation & ~pictures.medical  # never trains, so that the bars face pictures not fitted on
    return {
        name: (np.flatnonzero(own), chances(fit(model, given, pictures, ~own & ~foreign), given)[own])
        for name, own in away.items()
    }


def choose_bars(folds: Folds) -> tuple[float, float]:
    """(bar, bar where a modality is claimed): refuse REFUSED of the images of left-out sources; never above even odds.

    A header is strong evidence: ultrasound with coloured overlays looks like a screenshot (pydicom's own samples got
    0.06), so a claim lowers the bar to HEADER_TRUST of it.
    """
    sources = [found for name, (_, found) in folds.items() if not name.startswith(ALL)]
    if not sources:  # phantoms alone: nobody's scanner was left out
        return NO_SOURCES, checkpoint.HEADER_TRUST * NO_SOURCES
    bar = min(0.5, float(np.quantile(np.concatenate(sources), REFUSED)))
    return bar, checkpoint.HEADER_TRUST * bar


def write(folder: Path, gate: Gate, bars: tuple[float, float], record: dict[str, object]) -> None:
    """Put gate and bars into the preset's weights and meta.json."""
    calibration = json.loads((folder / checkpoint.META_FILE).read_text())["calibration"]
    calibration.update(medical_threshold=bars[0], claimed_threshold=bars[1])
    put_layer(folder, "gate", gate, {"calibration": calibration, "gate": record})


def refused(found: np.ndarray, bar: float) -> str:
    """How many of N probabilities fall below the bar."""
    return f"{int((found < bar).sum())} of {len(found)}"


def kinds_of(pictures: Pictures) -> dict[str, np.ndarray]:
    """The groups of pictures that are told apart in a report, as masks (N,)."""
    foreign = ~pictures.medical
    return {
        "medical, clean": pictures.medical & (pictures.version != DEGRADED),
        "medical, degraded": pictures.medical & (pictures.version == DEGRADED),
        "photographs, pages, screens": foreign & (pictures.source == FILES),
        "drawn": foreign & (pictures.source != FILES),
    }


def table(pictures: Pictures, found: np.ndarray, bars: tuple[float, float]) -> dict[str, str]:
    """Refused of N pictures: by the gate, by the gate where a modality is claimed, by the head's own layer."""
    before = 1 / (1 + np.exp(-pictures.before))
    return {
        "refused": refused(found, bars[0]), "refused, modality claimed": refused(found, bars[1]),
        "refused by a layer on the head": refused(before, 0.5),
    }  # fmt: skip


def held_out(loaded: checkpoint.Checkpoint, pictures: Pictures) -> dict[str, dict[str, str]]:
    """`table` of the shipped gate, by kind of picture and by source. Raises MedQError for weights without a gate."""
    model, calibration = loaded.model, loaded.calibration
    if model.gate is None:
        raise MedQError(f"The weights '{loaded.meta['name']}' have no gate: fit one with --out.")
    found = chances(model.gate, Inputs.of(model, pictures))
    bars = calibration.bar(claimed=False), calibration.bar(claimed=True)
    groups = {name: own for name, own in kinds_of(pictures).items() if own.any()}
    groups |= {str(name): pictures.source == name for name in np.unique(pictures.source)}
    return {name: table(pictures.where(own), found[own], bars) for name, own in groups.items()}


def main(argv: list[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    p.add_argument("--features", type=Path, required=True, help="folder of training.gate_features")
    p.add_argument("--weights", default="nano", help="the scorer that the features are of")
    p.add_argument("--out", type=Path, help="folder of weights to put the gate into")
    p.add_argument("--held-out", action="store_true", help="tell what is refused of held-out sources, fit nothing")
    args = p.parse_args(argv)
    loaded = checkpoint.load(args.weights, with_volume_head=False)
    model = loaded.model
    if args.held_out:
        print(json.dumps(held_out(loaded, load(args.features, "held-out")), indent=1))
        return
    pictures = load(args.features)
    given = Inputs.of(model, pictures)
    folds = left_out(model, given, pictures)
    bars = choose_bars(folds)
    gate = fit(model, given, pictures, ~pictures.validation)
    found, check = chances(gate, given), pictures.validation
    record: dict[str, object] = {
        "pictures": {"medical": int(pictures.medical.sum()), "not medical": int((~pictures.medical).sum())},
        "bars": {"bar": bars[0], "modality claimed": bars[1]},
        "validation": {
            name: table(pictures.where(own & check), found[own & check], bars)
            for name, own in kinds_of(pictures).items()
        },
        "left out": {name: table(pictures.where(own), chance, bars) for name, (own, chance) in folds.items()},
    }
    print(json.dumps(record, indent=1))
    if args.out:
        write(args.out, gate, bars, record)
        print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
