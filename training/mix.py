"""Weights between two trainings of one scorer: python -m training.mix BEFORE AFTER --share 0.7 --out runs/mixed

A scorer that was trained on with other images forgets some of what it knew; the straight line between the two weights
keeps most of both (WiSE-FT, Wortsman et al., CVPR 2022). Calibrate the result with training.train_quality --base
runs/mixed --steps 0 --head-epochs 0.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from medq_vlm import checkpoint


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", help="preset or folder of weights")
    parser.add_argument("after", help="weights that were trained on from there")
    parser.add_argument("--share", type=float, default=0.7, help="0 gives the first, 1 the second")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    before, after = checkpoint.load(args.before), checkpoint.load(args.after)
    own, other = before.model.state_dict(), after.model.state_dict()
    before.model.load_state_dict(
        {
            name: own[name].lerp(other[name], args.share) if own[name].is_floating_point() else other[name]
            for name in own
        }
    )
    checkpoint.save(args.out, before.model, before.view, after.calibration, {"mixed": args.share})


if __name__ == "__main__":
    main()
