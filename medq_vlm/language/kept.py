"""The prepared layers and the tokenizer on disk, so that the next start needs neither transformers nor peft.

One safetensors file, whose sha256 is checked on every reading, in a folder named after all that it is made from. What
is missing or damaged is made again; a cache that cannot be written costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from medq_vlm.language import weights
from medq_vlm.language.engine import EightBitLinear, Layer, LlamaEngine, Sizes
from medq_vlm.language.words import PlainTokenizer, bare

VERSION = 1  # of this file's format and of what engine.py makes of a model: raise it when either changes


def place(base: str, adapter: dict[str, Any]) -> Path:
    """Folder for the layers of a converted base model with this sha256 and the adapter of this describer.json."""
    made_from = json.dumps([VERSION, base, adapter["sha256"], adapter["lora"]], sort_keys=True)
    return weights.cache_root() / f"eight-bit-{hashlib.sha256(made_from.encode()).hexdigest()[:32]}"


def keep(engine: LlamaEngine, tokenizer: Any, folder: Path) -> None:
    """Write an engine of eight bits, whose input and output tables are one, and its tokenizer; quietly fails."""
    tensors = {"norm": engine.norm, "head": engine.head, "frequencies": engine.frequencies}
    for number, layer in enumerate(engine.layers):
        for part in fields(Layer):
            value = getattr(layer, part.name)
            if isinstance(value, torch.Tensor):
                tensors[f"{number}.{part.name}"] = value
            elif isinstance(value, EightBitLinear):
                tensors |= {f"{number}.{part.name}": value.weight.t(), f"{number}.{part.name}.scale": value.scale}
            else:
                return  # of 32 bits: reading half a gigabyte would save little
    if engine.table.data_ptr() != engine.head.data_ptr():
        return
    meta = {
        "sizes": json.dumps(asdict(engine.sizes)),
        "tokenizer": bare(tokenizer),
        "eos": str(tokenizer.eos_token_id),
    }
    tensors = {name: value.detach().contiguous() for name, value in tensors.items()}
    weights.keep(lambda work: save_file(tensors, work / weights.MODEL, meta), folder)


def load(folder: Path) -> tuple[LlamaEngine, PlainTokenizer] | None:
    """What `keep` wrote; None when it is not there, not whole, or this processor multiplies otherwise."""
    if not weights.whole(folder):
        return None
    try:
        with safe_open(folder / weights.MODEL, "pt") as file:
            meta = file.metadata()
            # copies: a mapped file would be read anew, or be gone, in the middle of a sentence
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None  # deleted meanwhile
    sizes = Sizes(**json.loads(meta["sizes"]))
    layers = [
        Layer(**{part.name: _part(tensors, f"{number}.{part.name}") for part in fields(Layer)})
        for number in range(sizes.layers)
    ]
    engine = LlamaEngine(sizes, layers, tensors["norm"], tensors["head"], tensors["head"], tensors["frequencies"])
    return engine, PlainTokenizer(meta["tokenizer"], int(meta["eos"]))


def _part(tensors: dict[str, torch.Tensor], name: str) -> Any:
    scale = tensors.get(f"{name}.scale")
    return tensors[name] if scale is None else EightBitLinear(tensors[name].t(), scale)
