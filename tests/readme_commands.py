"""The commands of the README and of the pages it leads to, and how to run one as a reader would: for the tests that
run them all.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from medq_vlm import phantoms
from medq_vlm.io.examples import CT_HEAD, CT_SMALL, MR_SMALL, example
from medq_vlm.io.write import write

ROOT = Path(__file__).parent.parent
PAGES = tuple(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", *(ROOT / name / "README.md" for name in ("training", "eval")),
                 *sorted((ROOT / "docs").glob("*.md")))
)  # fmt: skip
TEXT = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
BLOCKS = {page: re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) for page, text in TEXT.items()}
PYTHON = [text for page in PAGES for kind, text in BLOCKS[page] if kind == "python"]


def commands(*pages: str) -> list[str]:
    """The commands of the pages' `sh` blocks in their order, each once."""
    lines = [line for page in pages for kind, text in BLOCKS[page] if kind == "sh" for line in text.splitlines()]
    return list(dict.fromkeys(line for line in lines if line.strip()))


def measures(command: str) -> bool:
    """A command of the section on evaluation."""
    return " eval." in command


# Three test files share the commands, so that they run beside one another: evaluation, training, and all the rest.
TRAINING = "training/README.md"
EVALUATING = [command for command in commands(*PAGES) if measures(command)]
LEARNING = [command for command in commands(TRAINING) if not measures(command)]
USING = [command for command in commands(*(page for page in PAGES if page != TRAINING)) if not measures(command)]

# Make targets build an environment, which this test already runs in: what they run is tested instead.
MAKE = {"make demo": "medq_vlm.cli demo", "make test": "pytest", "make lint": "ruff check",
        "make chat": "medq_vlm.cli chat"}  # fmt: skip
PROGRAMS = {"medq": "medq_vlm.cli", ".venv/bin/medq": "medq_vlm.cli"}
MODULES = ("eval.", "training.")
# `medq download` fetches from the package index: its paths without one are in test_language_base.py.
# The reading room runs until it is interrupted: test_app_server.py starts it.
NOT_RUN_HERE = ("medq download", "make demo", "make test", "make lint", "make chat", "medq chat --port 8000")
EXPECTED_CODE = {"medq assess images/*.dcm --no-text --fail-below 2.5": (0, 4)}  # the gate may close


def furnish(folder: Path) -> Path:
    """Put the files that the commands name into an empty folder."""
    shutil.copy(example(CT_HEAD), folder / "scan.dcm")
    for name in ("series", "images"):
        (folder / name).mkdir()
    shutil.copy(example(CT_SMALL), folder / "series" / "1.dcm")
    rows = ["path,modality,anatomy,group,reference_quality"]
    for modality, source in (("ct", CT_SMALL), ("mr", MR_SMALL)):
        shutil.copy(example(source), folder / "images" / f"{modality}.dcm")
        np.save(folder / "images" / f"{modality}.npy", phantoms.phantom(modality, seed=1, size=128).pixels)
        rows.append(f"{modality}.npy,{modality},,{modality},pristine")
    scores = ["path,score,group,modality"]
    for seed in range(10):
        np.save(folder / "images" / f"mr{seed}.npy", phantoms.phantom("mr", seed=seed, size=96).pixels)
        scores.append(f"mr{seed}.npy,{1 + seed % 5},s{seed // 2},mr")
    (folder / "images" / "scores.csv").write_text("\n".join(scores) + "\n")
    (folder / "images" / "manifest.csv").write_text("\n".join(rows) + "\n")
    write(phantoms.phantom("dermoscopy", seed=1, size=128), folder / "photo.png")
    return folder


def as_run(command: str, folder: Path) -> tuple[list[str], Path | None]:
    """Arguments of a command, with `medq` and `python` of this environment, and where stdout goes."""
    words = shlex.split(command)
    target = None
    if ">" in words:
        target, words = folder / words[words.index(">") + 1], words[: words.index(">")]
    if words[0] in PROGRAMS:
        words = ["python", "-m", PROGRAMS[words[0]], *words[1:]]
    assert words[0] in ("python", ".venv/bin/python"), f"'{command}' is not accounted for"
    assert words[1] == "-m", f"'{command}' is not accounted for"
    assert words[2].startswith((*MODULES, "medq_vlm.")), f"'{command}' is not accounted for"
    spread = [str(path) for word in words[3:] for path in (sorted(folder.glob(word)) if "*" in word else [word])]
    return [sys.executable, "-m", words[2], *spread], target


def runs_as_written(command: str, folder: Path) -> None:
    """Run a command in `folder` as a reader would, and check how it ends."""
    arguments, target = as_run(command, folder)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    allowed = EXPECTED_CODE.get(command, (0, 1) if measures(command) else (0,))
    assert done.returncode in allowed, done.stderr[-2000:]
    if measures(command):  # 1 says that a bound was broken, which other tests judge; the numbers must be there
        assert (folder / arguments[-1]).stat().st_size > 2, done.stderr[-2000:]
    if target is not None:
        target.write_text(done.stdout)
