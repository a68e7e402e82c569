"""Forward passes over one growing context: through transformers, or for a Llama on a CPU in as few steps as it takes.

One token at a time, transformers spends as long between the multiplications as in them, and bitsandbytes unpacks every
4-bit weight anew on a CPU without bf16 instructions. `LlamaEngine` unpacks once, adds the adapter, multiplies in eight
bits where the processor can, and shares what the three inputs of attention have in common. eval.run_description
compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F

FIRST_ROOM = 512  # tokens that a context has room for before it grows
# numbers of Python are converted anew at every use, which takes longer than to multiply by them
TOP, LEAST = torch.tensor(127.0), torch.tensor(1e-12)


class Context(Protocol):
    """Keys and values of what was read."""

    def cut(self, length: int) -> None:
        """Forget everything after `length` tokens."""


class Engine(Protocol):
    """Reads embedded tokens into a context."""

    @property
    def table(self) -> torch.Tensor:
        """Input embeddings of the tokens, (V, width)."""

    def context(self) -> Any:
        """An empty context."""

    def read(self, embedded: torch.Tensor, context: Any) -> torch.Tensor:
        """Logits (V,) of the token after `embedded` (T, width), which `context` holds from then on."""

    def states(self, embedded: torch.Tensor, layers: int) -> torch.Tensor:
        """What the first `layers` layers make of `embedded`, read by itself; both (T, width)."""


class TransformersContext:
    """transformers' own key-value cache."""

    def __init__(self) -> None:
        from transformers import DynamicCache

        self.cache: Any = DynamicCache()

    def cut(self, length: int) -> None:
        surplus = self.cache.get_seq_length() - length
        if surplus > 0:
            self.cache.crop(-surplus)


class TransformersEngine:
    """Any causal model of transformers, on any device."""

    def __init__(self, causal: Any) -> None:
        self.causal = causal

    @property
    def table(self) -> torch.Tensor:
        return self.causal.get_input_embeddings().weight  # type: ignore[no-any-return]

    def context(self) -> TransformersContext:
        return TransformersContext()

    @torch.no_grad()
    def read(self, embedded: torch.Tensor, context: TransformersContext) -> torch.Tensor:
        out = self.causal(inputs_embeds=embedded[None], past_key_values=context.cache, use_cache=True, logits_to_keep=1)
        return out.logits[0, -1]  # type: ignore[no-any-return]

    @torch.no_grad()
    def states(self, embedded: torch.Tensor, layers: int) -> torch.Tensor:
        out = self.causal(inputs_embeds=embedded[None], output_hidden_states=True, logits_to_keep=1)
        return out.hidden_states[layers][0].float()  # type: ignore[no-any-return]


class LlamaContext:
    """Keys and values of all layers, (layers, 2, heads, room, head width)."""

    def __init__(self, layers: int, heads: int, width: int) -> None:
        self.length = 0
        self.kept = torch.empty(layers, 2, heads, FIRST_ROOM, width)

    def cut(self, length: int) -> None:
        self.length = min(self.length, length)

    def room_for(self, more: int) -> None:
        """Grow to twice the size when `more` tokens do not fit."""
        while self.length + more > self.kept.shape[3]:
            self.kept = torch.cat((self.kept, torch.empty_like(self.kept)), 3)


class Linear:
    """A layer without bias, y = s x W^T for inputs (T, in) and a factor (T, 1) of each token, in float32."""

    def __init__(self, weight: torch.Tensor) -> None:
        self.weight = weight.contiguous()  # (out, in)

    def __call__(self, x: torch.Tensor, factor: torch.Tensor | None = None) -> torch.Tensor:
        y = F.linear(x, self.weight)
        return y if factor is None else y.mul_(factor)


class EightBitLinear:
    """The same with weights of eight bits to a row, and inputs rounded to eight bits a token as they come.

    About 1 % of error, a quarter of the memory to be read (LLM.int8 of Dettmers et al., 2022, without its outliers).
    """

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor) -> None:
        self.weight = weight  # int8 (in, out), laid out by columns as the multiplication reads it
        self.scale = scale  # (out,)

    @classmethod
    def of(cls, weight: torch.Tensor) -> EightBitLinear:
        """Rounded from (out, in) in float32."""
        largest = weight.abs().amax(1).clamp_min(1e-12)
        return cls((weight * (127.0 / largest[:, None])).round_().to(torch.int8).t(), largest / 127.0**2)

    def __call__(self, x: torch.Tensor, factor: torch.Tensor | None = None) -> torch.Tensor:
        largest = torch.linalg.vector_norm(x, torch.inf, 1, keepdim=True).add_(LEAST)
        y = torch._int_mm((x * (TOP / largest)).round_().to(torch.int8), self.weight)
        return (y * self.scale).mul_(largest if factor is None else largest.mul_(factor))


@dataclass(frozen=True)
class Layer:
    """One decoder layer; projections that read the same input are one."""

    before_attention: torch.Tensor  # (width,) of the RMS norm
    qkv: Linear | EightBitLinear
    out: Linear | EightBitLinear
    before_mlp: torch.Tensor
    gate_up: Linear | EightBitLinear
    down: Linear | EightBitLinear


@dataclass(frozen=True)
class Sizes:
    """Numbers of a Llama."""

    layers: int
    heads: int
    shared: int  # heads of keys and values
    width: int  # of a head
    least: float  # what an RMS norm adds to a sum of squares


class LlamaEngine:
    """A Llama on a CPU; holds its own copy of the layers."""

    def __init__(
        self, sizes: Sizes, layers: Sequence[Layer], norm: torch.Tensor, head: torch.Tensor, table: torch.Tensor,
        frequencies: torch.Tensor,
    ) -> None:  # fmt: skip
        self.sizes, self.layers, self.norm, self.head, self.frequencies = sizes, layers, norm, head, frequencies
        self.table = table
        self.least = torch.tensor(sizes.least)
        self.heads, self.shared, self.width = sizes.heads, sizes.shared, sizes.width

    @classmethod
    def of(cls, causal: Any) -> LlamaEngine:
        """From a Llama of transformers, quantised or not, with a peft adapter or without."""
        llama = causal.get_base_model() if hasattr(causal, "get_base_model") else causal
        config = llama.config
        # an RMS norm of n channels divides by sqrt(|x|^2 / n + eps): the root of n is put into its weights
        root = math.sqrt(config.hidden_size)
        heads = int(config.num_attention_heads)
        width = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
        make = EightBitLinear.of if multiplies_eight_bits() else Linear
        layers = [
            Layer(
                layer.input_layernorm.weight.float() * root,
                make(torch.cat([weight_of(getattr(layer.self_attn, f"{name}_proj")) for name in "qkv"])),
                make(weight_of(layer.self_attn.o_proj)),
                layer.post_attention_layernorm.weight.float() * root,
                make(torch.cat([weight_of(layer.mlp.gate_proj), weight_of(layer.mlp.up_proj)])),
                make(weight_of(layer.mlp.down_proj)),
            )
            for layer in llama.model.layers
        ]
        return cls(
            Sizes(len(layers), heads, int(config.num_key_value_heads), width, config.rms_norm_eps * config.hidden_size),
            layers,
            llama.model.norm.weight.float() * root,
            llama.lm_head.weight,  # as exact as it is; often one with the embeddings
            llama.get_input_embeddings().weight,
            llama.model.rotary_emb.inv_freq.float(),
        )

    def context(self) -> LlamaContext:
        return LlamaContext(len(self.layers), self.shared, self.width)

    @torch.no_grad()
    def read(self, embedded: torch.Tensor, context: LlamaContext) -> torch.Tensor:
        x = self._through(self.layers, embedded, context)
        return F.linear(x[-1] * self.norm * self._evened(x)[-1], self.head)

    @torch.no_grad()
    def states(self, embedded: torch.Tensor, layers: int) -> torch.Tensor:
        return self._through(self.layers[:layers], embedded, self.context())

    def _through(self, layers: Sequence[Layer], embedded: torch.Tensor, context: LlamaContext) -> torch.Tensor:
        """What `layers` make of `embedded` (T, width), whose keys and values are added to `context`."""
        x = embedded.float()
        count, start = len(x), context.length
        context.room_for(count)
        angle = torch.arange(start, start + count)[:, None] * self.frequencies
        cos, sin = torch.cat((angle, angle), 1).cos(), torch.cat((-angle, angle), 1).sin()
        # without a mask each token would read those after it; a single one has none
        mask = torch.ones(count, start + count, dtype=torch.bool).tril_(start) if count > 1 else None
        for number, layer in enumerate(layers):
            kept = context.kept[number, :, :, : start + count]
            qkv = layer.qkv(x * layer.before_attention, self._evened(x))
            x = layer.out(self._attention(qkv, kept, cos, sin, mask)).add_(x)
            gate, up = layer.gate_up(x * layer.before_mlp, self._evened(x)).chunk(2, 1)
            x = layer.down(F.silu(gate).mul_(up)).add_(x)
        context.length = start + count
        return x

    def _evened(self, x: torch.Tensor) -> torch.Tensor:
        """What an RMS norm multiplies each token by (T, 1), but for the weights of the channels."""
        return torch.linalg.vector_norm(x, 2, 1, keepdim=True).square_().add_(self.least).rsqrt_()

    def _attention(
        self, qkv: torch.Tensor, kept: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Attention of the last tokens over all that is `kept`, where their own keys and values are written."""
        count = len(qkv)
        qkv = qkv.view(count, self.heads + 2 * self.shared, self.width).transpose(0, 1)
        turned = qkv[: self.heads + self.shared]
        turned = (turned * cos).add_(turned.roll(self.width // 2, 2).mul_(sin))
        kept[0, :, -count:] = turned[self.heads :]
        kept[1, :, -count:] = qkv[self.heads + self.shared :]
        mixed = F.scaled_dot_product_attention(
            turned[None, : self.heads], kept[:1], kept[1:], attn_mask=mask, enable_gqa=True
        )
        return mixed[0].transpose(0, 1).reshape(count, -1)


def fits(causal: Any, device: str) -> bool:
    """Whether `LlamaEngine` can read for this model: a plain Llama on a CPU."""
    config = causal.config
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    plain = config.model_type == "llama" and rope == "default" and config.hidden_act == "silu"
    biased = getattr(config, "attention_bias", False) or getattr(config, "mlp_bias", False)
    return device == "cpu" and plain and not biased


def multiplies_eight_bits() -> bool:
    """Whether integers multiply faster than floats here: without AVX-512 torch goes through them one by one."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


@torch.no_grad()
def weight_of(layer: Any) -> torch.Tensor:
    """A linear layer's weight (out, in) in float32, unpacked from four bits, with its adapter added."""
    from bitsandbytes.functional import dequantize_4bit
    from peft.tuners.lora import LoraLayer

    base: Any = layer.get_base_layer() if isinstance(layer, LoraLayer) else layer
    state = getattr(base.weight, "quant_state", None)
    packed: torch.Tensor = base.weight.data
    weight = (packed if state is None else dequantize_4bit(packed, state)).float()
    for name in layer.active_adapters if isinstance(layer, LoraLayer) else ():
        weight = weight + layer.get_delta_weight(name).float()
    return weight
