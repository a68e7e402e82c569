"""How much a degradation changes an image: the table of medq_vlm/restore/invention.py, printed for pasting.

python -m training.justified_change

For each treated kind and group of modalities, the largest rms of (clean - degraded) over phantoms and pydicom's own
images at severity 1, 2, 3 and 4, as a share of the wider of the two robust ranges. A restoration that undoes the
degradation changes so much and no more.
"""

from __future__ import annotations

from medq_vlm import io, phantoms, vocab
from medq_vlm.degrade.sample import degrade_sample
from medq_vlm.io import examples
from medq_vlm.restore.invention import change_share, group_of
from medq_vlm.schema import ImageSample
from medq_vlm.treated import tasks_for

SEVERITIES = (1.0, 2.0, 3.0, 4.0)
SEEDS = (1, 2, 3, 4, 5, 21)
SIZE_PX = 256
REAL = {"ct": examples.CT_HEAD, "mr": examples.MR_ABDOMEN}


def main() -> None:
    """Measure and print."""
    table: dict[str, dict[str, list[float]]] = {}
    for modality in vocab.MODALITIES:
        sources = [phantoms.phantom(modality, seed=seed, size=SIZE_PX) for seed in SEEDS]
        if modality in REAL:
            sources += io.read(examples.example(REAL[modality]))
        for kind in tasks_for(modality):
            row = table.setdefault(kind, {}).setdefault(group_of(modality), [0.0] * len(SEVERITIES))
            for place, severity in enumerate(SEVERITIES):
                row[place] = max([row[place], *(_share(one, kind, severity) for one in sources)])
    for kind, groups in table.items():
        cells = ", ".join(f'"{name}": ({", ".join(f"{v:.3f}" for v in row)})' for name, row in groups.items())
        print(f'    "{kind}": {{{cells}}},')


def _share(clean: ImageSample, kind: str, severity: float) -> float:
    degraded, _ = degrade_sample(clean, kind, severity, seed=1)
    return change_share(degraded.pixels, clean.pixels)


if __name__ == "__main__":
    main()
