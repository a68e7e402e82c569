"""Our own CLIP towers, and what is read from any. Only this file and foreign.py know open_clip and timm."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from types import ModuleType
from typing import Any

import torch
from torch import nn

from medq_vlm.encoder import foreign
from medq_vlm.encoder.preprocess import channels
from medq_vlm.encoder.tokenizer import CONTEXT_LENGTH, VOCAB_SIZE, tokenize

INPUT_CHANNELS = 5


@contextmanager
def _light_imports() -> Iterator[None]:
    """Import open_clip and timm without torch's compiler and transformers, which they load and scoring never uses.

    Two thirds of a cold start (eval/run_cold_start.py) go into these two. The markers that torchvision and timm ask
    of the compiler do nothing outside compiled code; with the compiler already loaded, as in training, the real ones
    are used. open_clip's own `__init__` is passed over too: it reads the word list of a tokenizer that is not ours.
    """
    absent = [name for name in ("torch._dynamo", "torch._dynamo.utils", "transformers") if name not in sys.modules]
    if "torch._dynamo" not in absent:
        yield
        return

    def unmarked(fn: Callable[..., Any] | None = None, *_: object, **__: object) -> Any:
        return fn if fn is not None else unmarked

    compiler, utils = ModuleType("torch._dynamo"), ModuleType("torch._dynamo.utils")
    for name in ("disable", "allow_in_graph", "disallow_in_graph", "mark_static_address"):
        setattr(compiler, name, unmarked)
    setattr(utils, "is_compile_supported", lambda device: False)  # noqa: B010
    setattr(compiler, "utils", utils)  # noqa: B010
    sys.modules.update({"torch._dynamo": compiler, "torch._dynamo.utils": utils})
    if "transformers" in absent:
        sys.modules["transformers"] = None  # type: ignore[assignment]
    package = ModuleType("open_clip")
    spec = importlib.util.find_spec("open_clip")
    package.__path__ = list(spec.submodule_search_locations or ()) if spec else []
    bare = "open_clip" not in sys.modules
    if bare:
        sys.modules["open_clip"] = package
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)
        if bare:  # whoever imports open_clip next gets all of it
            for name in [n for n in sys.modules if n.partition(".")[0] == "open_clip"]:
                del sys.modules[name]


class FiveChannelEye(nn.Module):
    """Planes -> maps of every stage of a trunk whose stem reads preprocess.channels."""

    def __init__(self, trunk: Any) -> None:
        super().__init__()
        self.width = pooled_width(trunk)

    def forward(self, trunk: Any, planes: torch.Tensor) -> list[torch.Tensor]:
        """(B, 1 or 3, H, W) -> maps (B, C_i, H_i, W_i)."""
        return stage_maps(trunk, channels(planes))


def build(name: str) -> foreign.Towers:
    """Untrained towers: ours from encoder/<name>.json, or of a CLIP made elsewhere. Raises ModelError."""
    if foreign.is_foreign(name):
        return foreign.build(name)
    clip = build_clip(name)
    return foreign.Towers(clip, FiveChannelEye(clip.visual.trunk), tokenize)


def build_clip(name: str) -> Any:
    """CustomTextCLIP from encoder/<name>.json with our tokenizer's size and a five-channel stem, untrained."""
    with _light_imports():
        from open_clip.model import CustomTextCLIP

    config = json.loads(resources.files("medq_vlm.encoder").joinpath(f"{name}.json").read_text())
    config["text_cfg"].update(context_length=CONTEXT_LENGTH, vocab_size=VOCAB_SIZE)
    clip = CustomTextCLIP(**config)
    _widen_stem(clip.visual.trunk)
    return clip


def _widen_stem(trunk: Any) -> None:
    # open_clip's TimmModel has no argument for the number of input channels
    name = trunk.pretrained_cfg["first_conv"]
    parent = trunk.get_submodule(name.rpartition(".")[0]) if "." in name else trunk
    conv = trunk.get_submodule(name)
    wide = nn.Conv2d(
        INPUT_CHANNELS,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        conv.padding,
        bias=conv.bias is not None,
    )  # type: ignore[arg-type]
    setattr(parent, name.rpartition(".")[2], wide)


def stage_maps(trunk: Any, x: torch.Tensor) -> list[torch.Tensor]:
    """Feature maps of every stage, (B, C_i, H_i, W_i) with strides 2, 4, 8, 16, 32."""
    maps: list[torch.Tensor] = trunk.forward_intermediates(x, intermediates_only=True)
    return maps


def early_maps(trunk: Any, planes: torch.Tensor, count: int) -> list[torch.Tensor]:
    """The first `count` maps of our own trunk alone, of planes (B, 1 or 3, H, W)."""
    maps: list[torch.Tensor] = trunk.forward_intermediates(
        channels(planes), indices=list(range(count)), stop_early=True, intermediates_only=True
    )
    return maps


def pooled_width(trunk: Any) -> int:
    """Length of `pool`'s output."""
    chs = [info["num_chs"] for info in trunk.feature_info]
    return 2 * sum(chs[:-1]) + chs[-1]


def pool(maps: list[torch.Tensor]) -> torch.Tensor:
    """Mean and standard deviation of each stage's channels, mean alone of the last: (B, pooled_width).

    The spread of early features is a learned version of the natural-scene statistics; averages alone lose it.
    """
    parts: list[torch.Tensor] = []
    for stage in maps[:-1]:
        parts += moments(stage)
    parts.append(maps[-1].mean((2, 3)))
    return torch.cat(parts, 1)


def moments(stage: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of a map's channels: (B, C, h, w) -> (B, C) each.

    torch.var says the same and takes four times as long: it goes through a map number by number.
    """
    mean = stage.mean((2, 3), keepdim=True)
    spread = (stage - mean).square().mean((2, 3))
    return mean.flatten(1), (spread + 1e-5).sqrt()
