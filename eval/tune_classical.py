"""Parameters of the classical methods: python -m eval.tune_classical --manifest images/manifest.csv

For every task and method the best of a small grid by mean PSNR on training images (never validation or held-out
ones), and what the choice gains on validation images. Writes eval/classical_parameters.json for the evaluation.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from eval import classical_restoration as classical
from eval import classical_tone, results
from eval.classical_restoration import Method
from eval.manifest import Row, clean_rows, read_manifest
from eval.restoration import psnr
from eval.restoration_cases import TASK, TASKS, Pair, Task, make_pair, tuning_contents
from eval.splits import Split
from eval.tables import table
from medq_vlm import vocab
from medq_vlm.degrade.sample import intensity_scale

CENTRE_PX = 288  # a local method is tuned on the centre of the picture
TONED = ("xray", *vocab.OPTICAL)  # modalities whose templates are kept
TEMPLATE_IMAGES = 24


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(prog="eval.tune_classical", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--images", type=int, default=6, help="training images of each task")
    parser.add_argument("--validation", type=int, default=6, help="validation images of each task")
    parser.add_argument("--severities", type=float, nargs="+", default=[2.0, 3.0])
    parser.add_argument("--tasks", nargs="+", default=[task.name for task in TASKS])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=classical.PARAMETERS)
    args = parser.parse_args(argv)
    rows = clean_rows(read_manifest(args.manifest))
    found = dict(classical.tuned())
    templates = {modality: tone_template(rows, modality) for modality in TONED}
    chosen, bar = dict(found["chosen"]), dict(found.get("validation", {}))
    for task in (part for name in args.tasks for part in parts(TASK[name])):
        key = classical.part_of(task.name, task.modalities[0])
        train = tuning_pairs(rows, task, "train", args.images, args.severities)
        search = partial(best, pairs=train, templates=templates)
        with ThreadPoolExecutor(args.workers) as pool:
            picked = list(pool.map(search, classical.METHODS[task.name]))
        chosen[key] = {m.name: p for m, p in zip(classical.METHODS[task.name], picked, strict=True)}
        shown = tuning_pairs(rows, task, "validation", args.validation, args.severities)
        bar[key] = validation(task, shown, chosen[key], templates)
        print(report(key, bar[key]), flush=True)
        results.write(args.out, "eval.tune_classical", argv, {
            "chosen": chosen, "validation": bar,
            "templates": {name: quantiles for name, quantiles in templates.items() if len(quantiles)},
        })  # fmt: skip
    return 0


def parts(task: Task) -> list[Task]:
    """The task, or one for each of its modalities where they are tuned apart."""
    if task.name not in classical.BY_MODALITY:
        return [task]
    return [replace(task, modalities=(modality,)) for modality in task.modalities]


def tuning_pairs(rows: Sequence[Row], task: Task, split: Split, images: int, severities: Sequence[float]) -> list[Pair]:
    """Pairs of one side of the split; the severities take turns."""
    contents = islice(tuning_contents(rows, task, split, seed=1), images)
    return [
        make_pair(task, content, "train", severities[(i + i // len(severities)) % len(severities)], seed=1)
        for i, content in enumerate(contents)
    ]


def best(method: Method, pairs: Sequence[Pair], templates: dict[str, np.ndarray]) -> classical.Params:
    """The parameters of the grid with the highest mean PSNR."""
    cut = [centre(pair) for pair in pairs] if method.local else list(pairs)

    def gain(params: classical.Params) -> float:
        return float(np.mean([measured(method, pair, params, templates) for pair in cut]))

    return max(method.grid, key=gain)


def measured(method: Method, pair: Pair, params: classical.Params, templates: dict[str, np.ndarray]) -> float:
    """PSNR in dB of one restored pair."""
    template = templates.get(pair.content.modality, np.empty(0))
    return psnr(pair.clean, classical.restore(method, pair, params, template))


def validation(
    task: Task, pairs: Sequence[Pair], chosen: dict[str, Any], templates: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Mean PSNR in dB of the degraded input, and the mean gain of every method."""
    before = np.array([psnr(pair.clean, pair.degraded.pixels) for pair in pairs])
    gains = {}
    for method in tqdm(classical.METHODS[task.name], desc=task.name, disable=None):
        after = [measured(method, pair, chosen[method.name], templates) for pair in pairs]
        gains[method.name] = float(np.mean(np.array(after) - before))
    return {"images": [pair.content.name for pair in pairs], "input": float(before.mean()), "gain": gains}


def tone_template(rows: Sequence[Row], modality: str) -> np.ndarray:
    """Mean quantiles (65,) of clean training images of one modality, in the intensity contract."""
    planes = []
    task = Task("", "", (modality,))
    for content in islice(tuning_contents(rows, task, "train", seed=1), TEMPLATE_IMAGES):
        scale = intensity_scale(content.sample)
        planes.append(((content.sample.pixels[0] - scale.black) / (scale.white - scale.black)).astype(np.float32))
    return classical_tone.template_of(planes)


def centre(pair: Pair) -> Pair:
    """The middle CENTRE_PX of both images; the record stays that of the whole."""
    h, w = pair.clean.pixels.shape[1:3]
    y, x = max(0, h - CENTRE_PX) // 2, max(0, w - CENTRE_PX) // 2
    cut = (slice(None), slice(y, y + CENTRE_PX), slice(x, x + CENTRE_PX))
    clean, degraded = (
        replace(s, pixels=s.pixels[cut], valid=None if s.valid is None else s.valid[cut])
        for s in (pair.clean, pair.degraded)
    )
    return replace(pair, content=replace(pair.content, sample=clean), degraded=degraded)


def report(task: str, numbers: dict[str, Any]) -> str:
    rows = sorted(numbers["gain"].items(), key=lambda item: -item[1])
    return f"{task}: input {numbers['input']:.2f} dB\n" + table(("method", "gain, dB"), rows, 2)


if __name__ == "__main__":
    raise SystemExit(main())
