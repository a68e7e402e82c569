"""The trained language side on disk: adapter and projector in one safetensors file, explained by a JSON beside it."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from medq_vlm.language import kept
from medq_vlm.language.base import SMOLLM2
from medq_vlm.language.engine import Engine, LlamaEngine, TransformersEngine, fits, multiplies_eight_bits
from medq_vlm.language.model import LanguageModel
from medq_vlm.language.projector import Projector
from medq_vlm.language.scope import Scope
from medq_vlm.language.weights import converted, forget, load_base, load_tokenizer
from medq_vlm.schema import ModelError

WEIGHTS_FILE, META_FILE = "describer.safetensors", "describer.json"
PACKAGED = "packaged"  # name of the base model that the registry package carries
BASE_FOLDER = "base"  # in a preset's folder: the base model, for a machine that reaches neither Hub nor its old place


def load(folder: Path, precision: str = "nf4", device: str | None = None) -> LanguageModel:
    """Base model, adapter and projector of a preset's folder. Raises ModelError when one is missing or changed.

    Without a `device` the packaged base stays on the CPU, and any other goes to the GPU where there is one.
    """
    try:
        meta = json.loads((folder / META_FILE).read_text())
        data = (folder / WEIGHTS_FILE).read_bytes()
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The language part of the model in {folder} is incomplete ({type(error).__name__}); use --no-text, or "
            "install it again."
        ) from None
    if hashlib.sha256(data).hexdigest() != meta["sha256"]:
        raise ModelError(
            f"'{WEIGHTS_FILE}' in {folder} is corrupt (sha256 differs from {META_FILE}); install it again."
        )
    weights = load_file(folder / WEIGHTS_FILE)
    packaged = meta["base"] == PACKAGED
    device = device or ("cpu" if packaged or not torch.cuda.is_available() else "cuda")
    projector = Projector(**meta["projector"])
    projector.load_state_dict(_part(weights, "projector."))
    projector = projector.to(device).eval().requires_grad_(False)
    scope = Scope(weights["scope.weight"].float(), **meta["scope"]) if "scope" in meta else None
    whole = partial(adapted, folder, meta, weights, precision, device)
    eight_bit = packaged and precision == "nf4" and device == "cpu" and multiplies_eight_bits()
    place = kept.place(SMOLLM2.sha256, meta)
    ready = kept.load(place) if eight_bit else None
    if ready is not None:
        return LanguageModel(whole, ready[1], projector, ready[0], scope)
    causal = whole()
    tokenizer = load_tokenizer(_source(folder, meta))
    forget()
    fast = precision == "nf4" and fits(causal, device)
    engine: Engine = LlamaEngine.of(causal) if fast else TransformersEngine(causal)
    if eight_bit and isinstance(engine, LlamaEngine):
        kept.keep(engine, tokenizer, place)
    return LanguageModel(causal, tokenizer, projector, engine, scope)


def adapted(folder: Path, meta: dict[str, Any], weights: dict[str, torch.Tensor], precision: str, device: str) -> Any:
    """transformers' model of the base with the adapter beside its layers. Raises ModelError."""
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    source = _source(folder, meta)
    causal = load_base(source, precision, device)
    if meta.get("base_shape", shape(causal)) != shape(causal):
        raise ModelError(f"The describer in {folder} was trained on '{meta['base']}', and '{source}' is another model.")
    causal = get_peft_model(causal, LoraConfig(task_type="CAUSAL_LM", **meta["lora"]), autocast_adapter_dtype=False)
    set_peft_model_state_dict(causal, _part(weights, "adapter."))
    if precision == "bf16":
        causal.to(torch.bfloat16)  # peft makes an adapter in fp32
    return causal.eval().requires_grad_(False)


def shape(causal: Any) -> dict[str, Any]:
    """What tells one base model from another without reading gigabytes."""
    config = causal.config
    return {name: getattr(config, name) for name in ("model_type", "hidden_size", "num_hidden_layers", "vocab_size")}


def _source(folder: Path, meta: dict[str, Any]) -> str:
    """Folder or Hub id of the base model. Raises ModelError."""
    return str(converted()) if meta["base"] == PACKAGED else _base(folder, meta)


def _base(folder: Path, meta: dict[str, Any]) -> str:
    """Folder or Hub id of a base model that no package carries: beside the describer, or where it was trained."""
    from transformers import AutoConfig

    source = str(folder / BASE_FOLDER) if (folder / BASE_FOLDER).is_dir() else str(meta["base"])
    try:
        AutoConfig.from_pretrained(source)  # a Hub id: from the local cache where it is there
    except (OSError, ValueError):
        raise ModelError(
            f"The describer in {folder} needs the base model '{meta['base']}', which cannot be read from here; put its "
            f"folder at {folder / BASE_FOLDER}, or use --no-text."
        ) from None
    return source


def save(folder: Path, weights: dict[str, torch.Tensor], meta: dict[str, Any]) -> None:
    """Write `adapter.*`, `projector.*` and `scope.*` tensors in half precision, and the meta with their sha256."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half().contiguous() for name, value in weights.items()}, folder / WEIGHTS_FILE)
    meta = {**meta, "sha256": hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()}
    (folder / META_FILE).write_text(json.dumps(meta, indent=1) + "\n")


def _part(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value.float() for name, value in weights.items() if name.startswith(prefix)}
