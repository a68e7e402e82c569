"""A CLIP made elsewhere, such as BiomedCLIP: a folder or Hub repository in open_clip's format as the scorer's towers.

Its open_clip_config.json names another repository for the text tower's configuration and tokenizer, so a downloaded
folder alone still asks the Hub for them. Files of these beside it come first, and `bundle` writes them all there.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from medq_vlm.schema import ModelError

LOCAL, HUB = "local-dir:", "hf-hub:"  # open_clip's own prefixes
CONFIG_FILE, TEXT_CONFIG_FILE = "open_clip_config.json", "config.json"
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")
WEIGHTS_FILES = (
    "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin",
    "model.safetensors", "pytorch_model.bin",
)  # fmt: skip
CONTEXT_LENGTH = 64  # tokens of a prompt: padding to BiomedCLIP's 256 would only cost time
MAPS = 4  # of a transformer's blocks, evenly spread: all twelve would be 350 kB of cached features a training sample
_LEARNED = re.compile(r"(?:<ctx\d>)+ ?")  # of our own tokenizer; here the words of a prompt stand alone


@dataclass(frozen=True)
class Towers:
    """The parts of a CLIP that the scorer uses."""

    clip: Any  # open_clip's CustomTextCLIP
    eye: Any  # (trunk, planes (B, 1 or 3, H, W)) -> feature maps; its `width` is that of backbone.pool's output
    tokenize: Callable[[list[str]], torch.Tensor]  # texts -> ids (N, L)


@dataclass(frozen=True)
class Source:
    """Where the files of a CLIP lie."""

    config: dict[str, Any]  # open_clip_config.json
    text: str  # folder or Hub id of the text tower's configuration
    tokenizer: str  # the same for its tokenizer


class RgbEye(nn.Module):
    """Planes -> maps of a trunk that reads RGB pictures of one size."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, visual: Any, preprocess: dict[str, Any]) -> None:
        super().__init__()
        info = visual.trunk.feature_info
        count = len(info)
        self.indices = [count * (k + 1) // MAPS - 1 for k in range(MAPS)] if count > MAPS + 1 else list(range(count))
        channels = [int(info[i]["num_chs"]) for i in self.indices]
        self.width = 2 * sum(channels[:-1]) + channels[-1]
        self.size = tuple(visual.image_size)
        for name, usual in (("mean", 0.5), ("std", 0.25)):
            values = torch.tensor(preprocess.get(name, [usual] * 3)).view(1, 3, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def forward(self, trunk: Any, planes: torch.Tensor) -> list[torch.Tensor]:
        """(B, 1 or 3, H, W), 0 black to 1 -> maps (B, C, h, w), the same for every size of the planes."""
        pixels = F.interpolate(planes, size=self.size, mode="bicubic", antialias=True, align_corners=False)
        pixels = (pixels.expand(-1, 3, -1, -1) - self.mean) / self.std
        maps: list[torch.Tensor] = trunk.forward_intermediates(pixels, indices=self.indices, intermediates_only=True)
        return maps


class WordPieces:
    """The CLIP's own tokenizer, for prompts without learned context tokens."""

    def __init__(self, reader: Any) -> None:
        self.reader = reader  # open_clip's HFTokenizer

    def __call__(self, texts: list[str]) -> torch.Tensor:
        if not texts:
            return torch.zeros(0, self.reader.context_length, dtype=torch.long)
        ids: torch.Tensor = self.reader([_LEARNED.sub("", text) for text in texts])
        return ids


def is_foreign(name: str) -> bool:
    """Whether a ScorerConfig.clip names a CLIP made elsewhere."""
    return name.startswith((LOCAL, HUB))


def build(name: str) -> Towers:
    """The towers of `local-dir:FOLDER` or `hf-hub:ORG/NAME`, untrained. Raises ModelError."""
    from open_clip.model import CustomTextCLIP
    from open_clip.tokenizer import HFTokenizer

    source = find(name)
    config = copy.deepcopy(source.config["model_cfg"])
    config.pop("custom_text", None)
    config["vision_cfg"]["timm_model_pretrained"] = False
    config["text_cfg"] |= {"hf_model_name": source.text, "hf_model_pretrained": False}
    length = min(CONTEXT_LENGTH, int(config["text_cfg"].get("context_length", CONTEXT_LENGTH)))
    try:
        clip = CustomTextCLIP(**config)
        reader = HFTokenizer(source.tokenizer, context_length=length)
    except (OSError, ValueError) as error:
        wanted = f"'{source.text}' of {name} cannot be read ({type(error).__name__})"
        raise ModelError(
            f"The text tower {wanted}; put its {TEXT_CONFIG_FILE} and tokenizer files beside {CONFIG_FILE}."
        ) from None
    clip.text.register_forward_pre_hook(_without_padding)
    return Towers(clip, RgbEye(clip.visual, source.config.get("preprocess_cfg", {})), WordPieces(reader))


def _without_padding(text: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Ids (N, L) up to the longest text: the tower is blind to padding, but pays for it in time and memory."""
    ids, *rest = inputs
    used = int((ids != text.config.pad_token_id).any(0).sum())
    return (ids[:, : max(1, used)], *rest)


def find(name: str) -> Source:
    """The configuration of a CLIP and where its text side lies. Raises ModelError."""
    folder = Path(name.removeprefix(LOCAL)) if name.startswith(LOCAL) else None
    try:
        path = folder / CONFIG_FILE if folder else Path(_download(name, CONFIG_FILE))
        config = json.loads(path.read_text(encoding="utf-8"))
        text_cfg, vision_cfg = config["model_cfg"]["text_cfg"], config["model_cfg"]["vision_cfg"]
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"There is no CLIP at {name}: {CONFIG_FILE} cannot be read ({type(error).__name__})."
        ) from None
    if "timm_model_name" not in vision_cfg or "hf_model_name" not in text_cfg:
        raise ModelError(f"{name} is no CLIP of a timm image tower and a transformers text tower, as BiomedCLIP is.")
    text = text_cfg["hf_model_name"]
    return Source(
        config,
        _beside(folder, text, (TEXT_CONFIG_FILE,)),
        _beside(folder, text_cfg.get("hf_tokenizer_name") or text, TOKENIZER_FILES),
    )


def _beside(folder: Path | None, name: str, files: tuple[str, ...]) -> str:
    """The CLIP's folder when it holds one of the files, a folder in it, or `name` itself."""
    if folder is None:
        return name
    if any((folder / file).is_file() for file in files):
        return str(folder)
    return str(folder / name) if (folder / name).is_dir() else name


def load_weights(clip: Any, name: str) -> str:
    """Fill the towers with the weights of `name`; returns the sha256 of their file. Raises ModelError."""
    from open_clip.factory import load_checkpoint

    if name.startswith(LOCAL):
        folder = Path(name.removeprefix(LOCAL))
        path = next((folder / file for file in WEIGHTS_FILES if (folder / file).is_file()), None)
        if path is None:
            raise ModelError(f"There are no weights at {name}: it holds none of {', '.join(WEIGHTS_FILES)}.")
    else:
        path = Path(_download(name))
    try:
        load_checkpoint(clip, str(path), strict=True, weights_only=True)
    except RuntimeError:
        raise ModelError(f"'{path}' does not fit {CONFIG_FILE} of {name}.") from None
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _download(name: str, file: str | None = None) -> str:
    from open_clip.pretrained import download_pretrained_from_hf

    return str(download_pretrained_from_hf(name.removeprefix(HUB), filename=file))


def bundle(name: str, towers: Towers, folder: Path, origin: dict[str, str] | None = None) -> str:
    """Write all that `build` needs into one folder, so that it asks no Hub, and return the folder's name for it.

    Configurations and tokenizer, no weights; `origin` tells where those came from.
    """
    config = find(name).config | ({"origin": origin} if origin else {})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    towers.clip.text.config.save_pretrained(folder)
    towers.tokenize.reader.save_pretrained(folder)  # type: ignore[attr-defined]
    return LOCAL + str(folder.resolve())
