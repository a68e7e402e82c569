"""Our own CLIP towers, and what is read from any. Only this file and foreign.py know open_clip and timm."""

from __future__ import annotations

import importlib
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
    """Import open_clip and timm without what they load and scoring never uses.

    Two thirds of a cold start (eval/run_cold_start.py) would go into torch's compiler and transformers, half a second
    into timm's other models, the Hub's client and torchvision. The markers that timm asks of the compiler do nothing
    outside compiled code; with the compiler already loaded, as in training, everything is imported as it is. The
    packages' own `__init__` are passed over: they read every model, and the word list of a tokenizer that is not ours.
    """
    names = ("torch._dynamo", "torch._dynamo.utils", "transformers", "huggingface_hub", "torchvision")
    absent = [name for name in names if name not in sys.modules]
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
    for name in absent[2:]:
        sys.modules[name] = None  # type: ignore[assignment]
    if "torchvision" in absent:  # open_clip asks for one class, of layers that are never trained again
        misc = ModuleType("torchvision.ops.misc")
        setattr(misc, "FrozenBatchNorm2d", nn.Identity)  # noqa: B010
        sys.modules["torchvision.ops.misc"] = misc
        absent.append("torchvision.ops.misc")
    bare = [name for name in ("open_clip", "timm") if name not in sys.modules]
    for name in bare:
        _bare_package(name)
    if "timm" in bare:
        _bare_timm()
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)
        for name in [n for n in sys.modules if n.partition(".")[0] in bare]:
            del sys.modules[name]  # whoever imports them next gets all of them


def _bare_package(name: str) -> ModuleType:
    """Put a package whose modules can be imported, and whose `__init__` is not run, among the loaded modules."""
    package = ModuleType(name)
    spec = importlib.util.find_spec(name)
    package.__path__ = list(spec.submodule_search_locations or ()) if spec else []
    sys.modules[name] = package
    return package


def _bare_timm() -> None:
    """timm with the one family of models that our tower is of."""
    timm = sys.modules["timm"]
    timm.__dict__.update(vars(importlib.import_module("timm.version")))
    data = _bare_package("timm.data")
    data.__dict__.update(vars(importlib.import_module("timm.data.constants")))
    _bare_package("timm.models")
    importlib.import_module("timm.models.efficientnet")
    setattr(timm, "create_model", importlib.import_module("timm.models._factory").create_model)  # noqa: B010


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
