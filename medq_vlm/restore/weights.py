"""The restorer on disk: restorer.safetensors in half precision and restorer.json, which explains it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from medq_vlm import vocab
from medq_vlm.config import RestorerConfig, from_dict
from medq_vlm.restore.network import RestorationNet
from medq_vlm.restore.restorer import Restorer
from medq_vlm.restore.tokens import WORDS_SHA256
from medq_vlm.schema import ModelError

WEIGHTS_FILE, META_FILE = "restorer.safetensors", "restorer.json"
SHIPPED = Path(__file__).parent.parent / "weights" / "nano"


def load(folder: Path | str = SHIPPED) -> Restorer:
    """The restorer in `folder`. Raises ModelError when it is missing, changed, or of other word lists."""
    folder = Path(folder)
    if not (folder / META_FILE).is_file() or not (folder / WEIGHTS_FILE).is_file():
        raise ModelError(f"There is no restorer in {folder}: {META_FILE} and {WEIGHTS_FILE} belong there.")
    try:
        meta = json.loads((folder / META_FILE).read_text())
        expected = meta["sha256"]
        config = from_dict(RestorerConfig, {k: _plain(v) for k, v in meta["config"].items()})
        words, kinds = meta["words_sha256"], meta["kinds"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{META_FILE} in {folder} cannot be used ({type(error).__name__}); install again.") from None
    data = folder / WEIGHTS_FILE
    if hashlib.sha256(data.read_bytes()).hexdigest() != expected:
        raise ModelError(f"The restorer in {folder} is corrupt (sha256 differs from {META_FILE}); install it again.")
    if words != WORDS_SHA256 or kinds != list(vocab.KIND_NAMES):
        raise ModelError(f"The restorer in {folder} was trained for another word list; use the release it came with.")
    model = RestorationNet(config)
    try:
        model.load_state_dict({name: value.float() for name, value in load_file(data).items()})
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(f"The weights in {folder} do not fit their configuration ({type(error).__name__}).") from None
    return Restorer(ready(model), meta)


def ready(model: RestorationNet) -> RestorationNet:
    """For inference: no gradients, the memory format in which convolutions are fast on a CPU."""
    model.eval().requires_grad_(False)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def save(folder: Path, model: RestorationNet, extra: dict[str, Any]) -> None:
    """Write both files; matrices in half precision, one-dimensional tensors in full."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: (value.half() if value.ndim > 1 else value.float()).contiguous().cpu()
        for name, value in model.state_dict().items()
    }
    save_file(state, folder / WEIGHTS_FILE)
    meta = {
        "config": asdict(model.config),
        "kinds": list(vocab.KIND_NAMES),
        "words_sha256": WORDS_SHA256,
        "sha256": hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest(),
        **extra,
    }
    (folder / META_FILE).write_text(json.dumps(meta, indent=1) + "\n")


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
