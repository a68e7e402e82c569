"""How many images a second: python -m eval.run_speed [--images N] [--out FILE]

Scores 512 x 512 phantoms one after the other with the shipped scorer, from pixels to assessment without text, in turn
with an untrained network of MedIQA's shape (eval/mediqa_type.py), which reads seven slices; a single image is seven
copies, as its code has it. Both run on the same threads of one process.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from eval import results
from eval.bootstrap import Estimate, estimate
from eval.mediqa_type import PROMPTS, SIDE_PX, SLICES, MedIQAType
from eval.tables import Cell, table
from medq_vlm.phantoms import phantom
from medq_vlm.pipeline import MedQ

SIDE = 512  # pixels of a phantom
MODALITIES = ("ct", "mr", "xray", "ultrasound")
WANTED = 10.0  # images a second of ours
PEER_EVERY = 8  # the other takes half a minute on two busy cores: it is measured once in so many images


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the JSON; 1 when ours is slower than WANTED."""
    argv = sys.argv[1:] if argv is None else list(argv)
    p = argparse.ArgumentParser(prog="eval.run_speed", description=(__doc__ or "").splitlines()[0])
    p.add_argument("--images", type=int, default=24)
    p.add_argument("--alone", action="store_true", help="leave out the network of MedIQA's shape")
    p.add_argument("--weights", default="nano", help="a preset or a folder of weights")
    p.add_argument("--out", type=Path, help="write the figures to this JSON file")
    args = p.parse_args(argv)
    model = MedQ.load(args.weights)
    samples = [phantom(MODALITIES[i % len(MODALITIES)], i, SIDE) for i in range(args.images)]
    ours = "MedQ nano, assessment without text"
    ways: dict[str, tuple[int, Callable[[int], object]]] = {ours: (1, lambda i: model.assess_sample(samples[i]))}
    sizes = {"MedQ nano": parameters(model.checkpoint.model)}
    if not args.alone:
        peer, slices, prompt = MedIQAType().eval(), torch.rand(SLICES, 3, SIDE_PX, SIDE_PX), torch.eye(PROMPTS)[0]
        ways["MedIQA's shape, seven slices"] = PEER_EVERY, lambda i: peer(slices, prompt)
        sizes["MedIQA's shape"] = parameters(peer)
    spent = measure(ways, args.images)
    rates = {name: rate(seconds) for name, seconds in spent.items()}
    rows: list[list[Cell]] = [[name, each] for name, each in rates.items()]
    print(table(["way", "images a second"], rows))
    print(f"Parameters: {sizes}; {torch.get_num_threads()} threads, load before {os.getloadavg()[0]:.1f}.")
    if args.out:
        numbers = {"side": SIDE, "rates": rates, "parameters": sizes, "threads": torch.get_num_threads()}
        results.write(args.out, "eval.run_speed", argv, numbers)
    return 0 if rates[ours].value >= WANTED else 1


def measure(ways: dict[str, tuple[int, Callable[[int], object]]], images: int) -> dict[str, np.ndarray]:
    """Seconds of every way, on every n-th image, the ways in turn; a first run of each is not counted."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(-1, images):
        for name, (every, run) in ways.items():
            if i % every and i >= 0:
                continue
            begun = time.perf_counter()
            run(max(i, 0))
            if i >= 0:
                spent[name].append(time.perf_counter() - begun)
    return {name: np.array(seconds) for name, seconds in spent.items()}


def rate(seconds: np.ndarray) -> Estimate:
    """Images a second of all together, with an interval over the images."""
    return estimate(lambda rows: float(len(rows) / seconds[rows].sum()), [str(i) for i in range(len(seconds))])


def parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


if __name__ == "__main__":
    sys.exit(main())
