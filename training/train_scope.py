"""Train what tells questions about quality from others, and put it beside a describer's weights.

python -m training.train_scope --to medq_vlm/weights/nano

A ridge-penalised logistic regression on the describer's own states and the wording of the questions in
scope_questions.txt; some minutes. To be run after every training.export_describer.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.optimize import minimize

from eval.scope_questions import read
from medq_vlm.language import prompt, scope, shipped

QUESTIONS = Path(__file__).parent / "scope_questions.txt"
FOLDS = 5
# what a place of the hashed wording, and a named term, may weigh against a standardised state; by cross-validation
HASHED_SCALE, NAMED_SCALE = 80.0, 10.0


def main(argv: list[str] | None = None) -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--to", type=Path, default=Path("medq_vlm/weights/nano"))
    parse.add_argument("--questions", type=Path, default=QUESTIONS)
    parse.add_argument("--limit", type=int, help="take so many, spread over the file")
    parse.add_argument("--layers", type=int, default=20, help="of the model, whose output is read")
    parse.add_argument("--penalty", type=float, default=0.05, help="on the standardised weights")
    args = parse.parse_args(argv)
    asked = read(args.questions)
    asked = asked[:: max(1, len(asked) // args.limit)] if args.limit else asked
    model = shipped.load(args.to)
    rows = [
        scope.reading(model, prompt.neutral(words, model.special, prompt.LONGEST_QUESTION), args.layers)
        for words, _ in asked
    ]
    x, outside = torch.stack(rows).numpy(), np.array([out for _, out in asked])
    logits = cross_validated(x, outside, args.penalty)
    found = {"right": float(np.mean((logits > 0) == outside)), "declined": float(np.mean(logits[outside] > 0)),
             "declined wrongly": float(np.mean(logits[~outside] > 0))}  # fmt: skip
    print(f"{len(asked)} questions, {FOLDS}-fold:", json.dumps(found, indent=1))
    weight, bias = fit(x, outside, args.penalty)
    weights = load_file(args.to / shipped.WEIGHTS_FILE)
    weights["scope.weight"] = torch.from_numpy(weight)
    meta = json.loads((args.to / shipped.META_FILE).read_text())
    meta["scope"] = {"bias": bias, "layers": args.layers}
    shipped.save(args.to, weights, meta)


def fit(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    """Weights (D,) and bias of a logistic regression on readings (N, D), penalised on the scaled inputs."""
    states = x.shape[1] - scope.HASHED - scope.NAMED
    mean, scale = np.zeros(x.shape[1], np.float32), np.ones(x.shape[1], np.float32)
    mean[:states], scale[:states] = x[:, :states].mean(0), 1 / (x[:, :states].std(0) + 1e-6)
    scale[states : -scope.NAMED], scale[-scope.NAMED :] = HASHED_SCALE, NAMED_SCALE
    z = (x - mean) * scale

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        logit = (z @ w[:-1].astype(np.float32)).astype(float) + w[-1]
        wrong = 1 / (1 + np.exp(-logit)) - y
        value = np.mean(np.logaddexp(0, logit) - y * logit) + penalty * float(w[:-1] @ w[:-1]) / 2
        slope = (z.T @ wrong.astype(np.float32)).astype(float) / len(y)
        return value, np.append(slope + penalty * w[:-1], wrong.mean())

    w = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
    weight = w[:-1] * scale
    return weight, float(w[-1] - mean @ weight)


def cross_validated(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """Logit of each question from those of the other folds, (N,)."""
    fold = np.random.default_rng(0).integers(0, FOLDS, len(y))
    out = np.zeros(len(y))
    for number in range(FOLDS):
        weight, bias = fit(x[fold != number], y[fold != number], penalty)
        out[fold == number] = x[fold == number] @ weight + bias
    return out


if __name__ == "__main__":
    main()
