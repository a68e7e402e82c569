"""Make medq_vlm/degrade/severity_table.json: severity 1 to 4 at equal steps of measured loss.

The shards of training/synthesize.py keep the strength and the measured loss of every degradation: SSIM, HaarPSI and
VIF (eval/fidelity.py), and for a share of them the fall in detectability of inserted faint lesions
(training/task_loss.py). For each kind and modality the mean loss rises with the strength along an isotonic
regression over the training versions with that kind alone. Severity 4 is at the common target loss, or at the
largest strength when the kind never gets there (a local artefact hardly moves a global measure, but its strength 1
is chosen as clearly non-diagnostic); 1, 2 and 3 are at a quarter, a half and three quarters of that loss.

    python -m training.synthesize ... && python -m training.calibrate_severity --shards runs/shards

Making shards needs a table for the drawing of strengths, so the present one is refined, not made from nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import isotonic_regression

from eval.severity import BY_STRENGTH
from medq_vlm import degrade, vocab

TABLE = Path(degrade.__file__).parent / "severity_table.json"
STRENGTHS = (0.0, 0.06, 0.14, 0.26, 0.44, 0.7, 1.0)
TARGET_LOSS = 0.6
TASK_WEIGHT = 0.25
BINS = 10
FEWEST = 14  # a kind with fewer cases in a modality borrows those of its other modalities


@dataclass(frozen=True)
class Cases:
    """Versions with one kind alone, of one kind and modality."""

    strength: np.ndarray  # (N,)
    pixel_loss: np.ndarray  # (N,)
    task_loss: np.ndarray  # (N,), NaN where it was not measured


def read_cases(folder: Path) -> dict[tuple[str, str], Cases]:
    """Cases of every kind and modality in the training shards of `folder`."""
    parts = [np.load(p) for p in sorted(folder.glob("train_*.npz")) if not p.name.endswith(".partial.npz")]
    if not parts:
        raise FileNotFoundError(f"No training shards in {folder}; make them with python -m training.synthesize.")
    strengths, losses, task, modality = (
        np.concatenate([p[name] for p in parts]) for name in ("strengths", "losses", "task_loss", "modality")
    )
    single = (strengths > 0).sum(1) == 1
    out = {}
    for k, kind in enumerate(vocab.KIND_NAMES):
        for m, name in enumerate(vocab.MODALITIES):
            rows = single & (strengths[:, k] > 0) & (modality == m)
            out[kind, name] = Cases(strengths[rows, k], losses[rows, k], task[rows])
    return out


def join(parts: Sequence[Cases]) -> Cases:
    """All cases of several modalities."""
    columns = ("strength", "pixel_loss", "task_loss")
    return Cases(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))


def curve(strength: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Mean loss at STRENGTHS: isotonic regression, its means over bins of equal count joined, from (0, 0) on."""
    order = np.argsort(strength, kind="stable")
    fitted = isotonic_regression(loss[order]).x
    bins = np.array_split(np.arange(len(order)), max(2, min(BINS, len(order) // 4)))
    at = [0.0, *(float(strength[order][b].mean()) for b in bins)]
    mean = [0.0, *(float(fitted[b].mean()) for b in bins)]
    # beyond the last bin's middle the curve goes on as it came
    slope = (mean[-1] - mean[-2]) / max(at[-1] - at[-2], 0.05)
    end = float(strength.max())
    at, mean = [*at, end], [*mean, min(1.0, mean[-1] + slope * (end - at[-1]))]
    return np.maximum.accumulate(np.interp(STRENGTHS, at, mean))


def task_slope(cases: Cases) -> float:
    """Task loss per pixel loss of a kind; 1 where too few were measured."""
    known = np.isfinite(cases.task_loss)
    pixel, task = cases.pixel_loss[known], cases.task_loss[known]
    return float(np.clip((pixel * task).sum() / (pixel**2).sum(), 0.0, 3.0)) if len(pixel) >= FEWEST else 1.0


def steps(strengths: Sequence[float], losses: Sequence[float], target: float = TARGET_LOSS,
          last: float = 1.0) -> tuple[list[float], list[float]]:  # fmt: skip
    """Strengths and losses at severity 0 to 4: equal steps of loss up to min(target, the loss at `last`)."""
    top = min(target, float(np.interp(last, strengths, losses)))
    if top <= 0:
        raise ValueError(f"The losses {list(losses)} never rise: the kind does nothing to these images.")
    # A flat stretch has no inverse: a hair of slope makes the strengths distinct.
    rising = np.asarray(losses) + 1e-6 * np.arange(len(losses))
    wanted = [top * severity / 4 for severity in range(5)]
    found = np.minimum(np.interp(wanted, rising, strengths), last)
    found[0] = 0.0
    return [round(float(v), 4) for v in found], [round(v, 4) for v in wanted]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=TABLE)
    args = parser.parse_args(argv)
    cases = read_cases(args.shards)
    table = json.loads(TABLE.read_text())
    table = {"strength": table["strength"], "loss": table["loss"], "pixel_loss": {}, "cases": {}}
    for kind in vocab.KIND_NAMES:
        modalities = vocab.KIND[kind].modalities
        together = join([cases[kind, m] for m in modalities])
        slope = task_slope(together)
        for modality in modalities:
            found = cases[kind, modality]
            count = len(found.strength)
            table["cases"].setdefault(kind, {})[modality] = count
            if count < FEWEST:
                found = together
            if len(found.strength) < FEWEST:
                raise SystemExit(f"Only {len(found.strength)} cases of {kind}; make more shards.")
            pixel = curve(found.strength, found.pixel_loss)
            table["pixel_loss"].setdefault(kind, {})[modality] = [round(float(v), 4) for v in pixel]
            if kind in BY_STRENGTH:
                table["strength"].setdefault(kind, {})[modality] = [0.0, 0.25, 0.5, 0.75, 1.0]
                continue
            total = (1 - TASK_WEIGHT) * pixel + TASK_WEIGHT * np.minimum(1.0, slope * pixel)
            last = float(found.strength.max())
            strengths, at = steps(STRENGTHS, [float(v) for v in total], last=last)
            table["strength"].setdefault(kind, {})[modality] = strengths
            table["loss"].setdefault(kind, {})[modality] = at
            print(f"{modality:15s}{kind:22s}{strengths} loss {at[-1]:.3f} task {slope:.2f} n {count}", file=sys.stderr)
    table["strengths_measured"] = list(STRENGTHS)
    table["made_by"] = "python -m training.calibrate_severity"
    args.output.write_text(json.dumps(table) + "\n")


if __name__ == "__main__":
    main()
