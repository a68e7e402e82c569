"""How a file is written: whole or not at all, never over an input, over another file only when a person says so."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from medq_vlm.schema import MedQError


def refuse_inputs(targets: Iterable[Path], paths: Iterable[str | os.PathLike[str]]) -> None:
    """Raise MedQError when a target is an input, a link to one, or lies in an input folder."""
    inputs = [Path(path) for path in paths]
    for target in targets:
        there = target.resolve()
        for one in inputs:
            own = one.resolve()
            same = there == own or (target.exists() and one.exists() and target.samefile(one))
            if same or (own.is_dir() and there.is_relative_to(own)):
                raise MedQError(f"'{target}' is or lies in an input, which is never overwritten; give another place.")


def refuse_existing(targets: Iterable[Path], force: bool) -> None:
    """Raise MedQError when a target is there already and may not be replaced."""
    for target in targets:
        if not force and (target.exists() or target.is_symlink()):
            raise MedQError(f"'{target}' is there already; give another name, or add --force to replace it.")


def put(path: Path, data: bytes) -> Path:
    """Write `data` to `path`, which appears whole or not at all; a link is replaced, never followed. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_name(f".{path.name[:40]}.{os.getpid()}.part")  # a name may not be longer than 255 bytes
    try:
        waiting.write_bytes(data)
        waiting.replace(path)
    finally:
        waiting.unlink(missing_ok=True)
    return path
