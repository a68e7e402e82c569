"""Four-bit weights unpacked once, for a CPU without bf16 instructions.

bitsandbytes unpacks every weight again for every token there, which takes most of the time of an answer. Unpacked, with
the adapter added, a layer is one multiplication; the values stay those of NF4. It costs 400 MB for a model of 135M.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F


def pays(device: str) -> bool:
    """Whether this machine has no kernel that multiplies packed weights."""
    from bitsandbytes.functional import has_avx512bf16

    return device == "cpu" and not has_avx512bf16()


@torch.no_grad()
def unpack(causal: Any) -> None:
    """Let every adapted 4-bit layer of a peft model multiply by its unpacked weight with the adapter added."""
    from bitsandbytes.functional import dequantize_4bit
    from peft.tuners.lora import LoraLayer

    adapted: list[Any] = [layer for layer in causal.modules() if isinstance(layer, LoraLayer)]
    for layer in adapted:
        base = layer.get_base_layer()
        packed = base.weight
        weight = dequantize_4bit(packed.data, packed.quant_state).float()
        for name in layer.active_adapters:
            weight += layer.get_delta_weight(name).float()
        layer.forward = partial(F.linear, weight=weight, bias=base.bias)


def pack(causal: Any) -> None:
    """Undo `unpack`: multiply by the packed weights again."""
    for layer in causal.modules():
        vars(layer).pop("forward", None)
