"""The JSON every evaluation leaves behind: the exact command, when, on what, and the numbers."""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np


def stamp(module: str, argv: Sequence[str]) -> dict[str, Any]:
    """Where a result comes from: command, UTC time, machine and versions."""
    return {
        "command": shlex.join(["python", "-m", module, *argv]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"system": platform.system(), "arch": platform.machine(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in ("numpy", "scipy", "torch", "pydicom")},
    }


def write(path: Path, module: str, argv: Sequence[str], numbers: dict[str, Any]) -> None:
    """Write the stamp and the numbers to `path`, making its folder; NaN becomes null, as JSON has no NaN."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_plain({**stamp(module, argv), **numbers}), indent=1, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    return value
