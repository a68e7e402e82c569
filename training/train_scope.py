"""Train what tells questions about quality from others, and put it beside a describer's weights.

python -m training.train_scope --to medq_vlm/weights/nano

A ridge-penalised logistic regression on the describer's own states for the questions in scope_questions.txt; a minute.
To be run after every training.export_describer. Its bounds come from cross-validation.
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
FOLDS = 10
# shares of questions that may lie beyond a bound wrongly; many of the training questions are pairs of nearly equal
# words, so fewer do in practice
DECLINED_WRONGLY, ANSWERED_WRONGLY = 0.05, 0.03


def main(argv: list[str] | None = None) -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--to", type=Path, default=Path("medq_vlm/weights/nano"))
    parse.add_argument("--questions", type=Path, default=QUESTIONS)
    parse.add_argument("--limit", type=int, help="take so many, spread over the file")
    parse.add_argument("--layers", type=int, default=20, help="of the model, whose output is read")
    parse.add_argument("--penalty", type=float, default=0.1)
    args = parse.parse_args(argv)
    asked = read(args.questions)
    asked = asked[:: max(1, len(asked) // args.limit)] if args.limit else asked
    model = shipped.load(args.to)
    rows = [
        scope.states(model, prompt.neutral(words, model.special, prompt.LONGEST_QUESTION), args.layers)
        for words, _ in asked
    ]
    x, outside = torch.stack(rows).double().numpy(), np.array([out for _, out in asked])
    logits = cross_validated(x, outside, args.penalty)
    weight, bias = fit(x, outside, args.penalty)
    low, high = bounds(logits, outside)
    found = {"right": float(np.mean((logits > 0) == outside)), "declined": float(np.mean(logits[outside] >= high)),
             "declined wrongly": float(np.mean(logits[~outside] >= high)),
             "sure to be answered": float(np.mean(logits[~outside] < low)),
             "sure wrongly": float(np.mean(logits[outside] < low))}  # fmt: skip
    print(f"{len(asked)} questions, {FOLDS}-fold:", json.dumps(found, indent=1))
    weights = load_file(args.to / shipped.WEIGHTS_FILE)
    weights["scope.weight"] = torch.from_numpy(weight)
    meta = json.loads((args.to / shipped.META_FILE).read_text())
    meta["scope"] = {"bias": bias, "layers": args.layers, "outside_from": high, "inside_below": low}
    shipped.save(args.to, weights, meta)


def fit(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    """Weights (D,) and bias of a logistic regression on inputs (N, D); `penalty` on the standardised weights."""
    mean, spread = x.mean(0), x.std(0) + 1e-6
    z = (x - mean) / spread

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        logit = z @ w[:-1] + w[-1]
        wrong = 1 / (1 + np.exp(-logit)) - y
        value = np.mean(np.logaddexp(0, logit) - y * logit) + penalty * float(w[:-1] @ w[:-1]) / 2
        return value, np.append(z.T @ wrong / len(y) + penalty * w[:-1], wrong.mean())

    w = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    weight = w[:-1] / spread
    return weight, float(w[-1] - mean @ weight)


def cross_validated(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """Logit of each question from those of the other folds, (N,)."""
    fold = np.random.default_rng(0).integers(0, FOLDS, len(y))
    out = np.zeros(len(y))
    for number in range(FOLDS):
        weight, bias = fit(x[fold != number], y[fold != number], penalty)
        out[fold == number] = x[fold == number] @ weight + bias
    return out


def bounds(logits: np.ndarray, outside: np.ndarray) -> tuple[float, float]:
    """Below the first lie ANSWERED_WRONGLY of the outside ones, above the second DECLINED_WRONGLY of the others."""
    low, high = np.quantile(logits[outside], ANSWERED_WRONGLY), np.quantile(logits[~outside], 1 - DECLINED_WRONGLY)
    return float(min(low, high)), float(max(low, high))


if __name__ == "__main__":
    main()
