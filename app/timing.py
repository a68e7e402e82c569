"""How long the reading room takes, the model warm: python -m app.timing --runs 5 --out app.json.

In this process, without the browser, which adds some tenths of a second. Wall time is what a user waits; CPU time of
this process beside it tells how much of that was another program's load.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from app import viewer
from app.engine import Engine
from app.intake import Named, Reader
from app.store import Owner, Store, Study
from medq_vlm.io.examples import CT_HEAD, example
from medq_vlm.schema import ImageSample

SERIES = 300


def timed(work: Callable[[], object], runs: int) -> dict[str, float]:
    """Median seconds of `work` over `runs`: on the clock and of this process."""
    wall, used = [], []
    for _ in range(runs):
        begun, cpu = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - begun)
        used.append(time.process_time() - cpu)
    return {"wall_s": round(statistics.median(wall), 4), "cpu_s": round(statistics.median(used), 4)}


def main() -> None:
    """Print the times and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    engine, store, reader, owner = Engine.load(), Store(), Reader(), Owner("", "", "timing")
    data = Named("head.dcm", example(CT_HEAD).read_bytes())

    def drop() -> Study:
        study = store.add(owner, data.name, reader.read([data]).samples[0])
        for step in engine.assess(study):
            study.result, study.encoded = step.result, step.encoded
        return study

    def fresh_heat() -> None:
        study.heat.clear()
        engine.heat(study, 0, "noise")

    reader.warm()
    study = drop()
    pixels = np.random.default_rng(0).normal(0, 300, (SERIES, 512, 512)).astype(np.float32)
    series = ImageSample(pixels, unit="HU", modality="ct")
    out: dict[str, object] = {
        "machine": {"cores": os.cpu_count(), "load": os.getloadavg()[0], "threads": torch.get_num_threads()},
        "drop_to_score_512": timed(drop, args.runs),
        "slice_of_300": timed(lambda: viewer.slice_png(series, SERIES // 2, (40.0, 400.0)), args.runs),
        "heat_map": timed(fresh_heat, args.runs),
    }
    if engine.language:
        engine.warm()
        out["first_words"] = timed(lambda: next(engine.talk(study, "Why is it poor?")), args.runs)
    reader.close()
    text = json.dumps(out, indent=1)
    print(text)
    if args.out:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
