"""Golden scores: does this installation give the scores the weights were shipped with?

`python -m medq_vlm.selftest FOLDER` writes golden.json beside new weights; `medq selftest` compares with it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from medq_vlm import checkpoint, io, phantoms
from medq_vlm.io import examples
from medq_vlm.pipeline import MedQ
from medq_vlm.schema import ImageSample, ModelError

GOLDEN_FILE = "golden.json"
TOLERANCE = 0.02  # points of 0 to 4; other processors and library versions round differently


@dataclass(frozen=True)
class Check:
    """One golden score and what came out here; None where the image counts as not assessable."""

    name: str
    expected: float | None
    found: float | None

    @property
    def passed(self) -> bool:
        if self.expected is None or self.found is None:
            return self.expected is self.found
        return abs(self.expected - self.found) <= TOLERANCE


def cases() -> dict[str, ImageSample]:
    """The images behind the golden scores: two real ones, a phantom, and noise that must never be good."""
    ct = phantoms.phantom("ct", seed=1, size=256)
    return {
        "real head CT": io.load(examples.example(examples.CT_HEAD))[0],
        "real abdomen MR": io.load(examples.example(examples.MR_ABDOMEN))[0],
        "CT phantom": ct,
        "CT phantom, modality withheld": replace(ct, modality=None, unit="value", acquisition=""),
    }


def scores(medq: MedQ) -> dict[str, float | None]:
    """Score of each case, four decimals; None where not assessable."""
    results = {name: medq.assess_sample(sample).score for name, sample in cases().items()}
    return {name: None if score is None else round(score, 4) for name, score in results.items()}


def run(preset: str = "nano") -> list[Check]:
    """Load the preset (which checks every file's sha256) and compare its scores with the golden ones.

    Raises ModelError when weights or golden scores are missing or corrupt.
    """
    medq = MedQ.load(preset)
    path = checkpoint.preset_folder(preset) / GOLDEN_FILE
    try:
        golden = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ModelError(f"'{path}' is missing or unreadable; install MedQ again.") from None
    found = scores(medq)
    return [Check(name, golden.get(name), found[name]) for name in found]


def write(preset: str) -> Path:
    """Make the golden scores of a preset or folder of weights, after training."""
    path = checkpoint.preset_folder(preset) / GOLDEN_FILE
    path.write_text(json.dumps(scores(MedQ.load(preset)), indent=1) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    print(write(sys.argv[1] if len(sys.argv) > 1 else "nano"))
