"""Write the weights that ship: python -m training.export_restorer --run runs/restorer --pairs runs/restore_pairs

Takes the averaged weights of the last saved state, or --share of the way to them from --base (what a run forgot comes
back sooner than what it learnt goes: Wortsman et al., CVPR 2022), measures them on the validation pairs and writes
restorer.safetensors, restorer.json and RESTORER.md into --to.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from medq_vlm import __version__
from medq_vlm.config import RestorerConfig
from medq_vlm.restore.network import RestorationNet
from medq_vlm.restore.weights import META_FILE, SHIPPED, load, save
from training.export import _revision
from training.restoration_data import Pairs
from training.sources import HELD_OUT_GROUPS, HELD_OUT_SOURCES
from training.train_restorer import BEGUN_FILE, gains

CARD_FILE = "RESTORER.md"


def card(meta: dict) -> str:
    """The model card, from the numbers of restorer.json."""
    sources = "\n".join(f"| {name} | {count} |" for name, count in meta["training"]["sources"].items())
    rows = "\n".join(f"| {task} | {gain:+.2f} |" for task, gain in meta["validation"]["gain_db"].items())
    mean = meta["validation"]["mean_gain_db"]
    runs = "\n".join(f"- {_words(run)}" for run in _runs(meta["training"]))
    return f"""# MedQ-VLM nano restorer {meta["version"]}

Takes out of an image the degradations that its quality description names. Not a medical device: a restored image is a
derived one, and detail that was lost is guessed. Simulated degradations on few subjects.

How these weights came to be, the last training first:

{runs}

Pairs by source (licences in training/SOURCES.md):

| source | pairs |
|---|---|
{sources}

Never seen in training: {", ".join(meta["held_out_sources"] + meta["held_out_groups"])}.

Gain in PSNR against the degraded input, validation subjects, right description:

| task | dB |
|---|---|
{rows}

Mean over tasks: right description {mean["right"]:+.2f} dB, none {mean["none"]:+.2f} dB, a wrong one
{mean["wrong"]:+.2f} dB.
"""


def _runs(training: dict) -> Iterator[dict]:
    """This run, then the one whose weights it went on from, and so on."""
    run: dict | None = training
    while run:
        yield run
        run = run.get("before")


def _words(run: dict) -> str:
    light = run.get("light")
    first = f"exposure and light {light['steps']} steps on {light['views']} views; " if light else ""
    last = f"; {run['share']:.0%} of the way there from the weights before" if "share" in run else ""
    return f"{first}{run['steps']} steps on {run['pairs']} pairs in {run['minutes']} minutes{last}"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="folder of training.train_restorer")
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--to", type=Path, default=SHIPPED)
    parser.add_argument("--base", type=Path, help="folder of the weights that the run went on from")
    parser.add_argument("--share", type=float, default=1.0, help="of the way from --base to the run's weights")
    args = parser.parse_args(argv)
    if args.share != 1 and not args.base:
        parser.error("--share needs --base")
    progress = json.loads((args.run / "state" / "progress.json").read_text())
    model = RestorationNet(RestorerConfig())
    state = load_file(str(args.run / "state" / "average.safetensors"))
    if args.base:
        before = load(args.base).model.state_dict()
        state = {k: torch.lerp(before[k], v, args.share) if v.is_floating_point() else v for k, v in state.items()}
    model.load_state_dict(state)
    begun = json.loads((args.run / BEGUN_FILE).read_text())
    check, train = Pairs(args.pairs, "validation"), Pairs(args.pairs, "train")
    # as they will be loaded: in half precision
    model.load_state_dict({k: v.half().float() if v.ndim > 1 else v for k, v in model.state_dict().items()})
    model.eval()
    with torch.inference_mode():
        found = {mode: gains(model, check, mode) for mode in ("right", "none", "wrong")}
    extra = {
        "name": "nano restorer",
        "version": __version__,
        "held_out_sources": list(HELD_OUT_SOURCES),
        "held_out_groups": list(HELD_OUT_GROUPS),
        "training": {
            "steps": progress["step"], "minutes": round(progress["spent_s"] / 60), "pairs": len(train),
            "sources": dict(sorted(Counter(pair.record["source"] for pair in train.items).items())),
            "revision": _revision(), **({"share": args.share} if args.base else {}), **begun,
        },
        "validation": {
            "pairs": len(check),
            "gain_db": {task: round(float(np.mean(v)), 2) for task, v in sorted(found["right"].items())},
            "mean_gain_db": {
                mode: round(float(np.mean([np.mean(v) for v in tasks.values()])), 2) for mode, tasks in found.items()
            },
        },
    }  # fmt: skip
    save(args.to, model, extra)
    (args.to / CARD_FILE).write_text(card(json.loads((args.to / META_FILE).read_text())))
    load(args.to)
    print(json.dumps(extra["validation"], indent=1), flush=True)


if __name__ == "__main__":
    main()
