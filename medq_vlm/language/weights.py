"""A causal language model from disk: the packaged GGUF (converted once, then cached) or any transformers folder or id.

Everything of transformers is imported inside the functions: most commands never need it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError

from medq_vlm.language.base import SMOLLM2, BaseModel, locate
from medq_vlm.language.prompt import END, START
from medq_vlm.schema import ModelError

PRECISIONS = ("nf4", "bf16", "fp32")
NOT_QUANTISED = ("lm_head", "projector")  # small errors there become wrong words
MODEL, STAMP = "model.safetensors", "medq_cache.json"
_passing: list[TemporaryDirectory[str]] = []  # at most one


def cache_root() -> Path:
    """Where converted models are kept: MEDQ_CACHE, or the user's cache folder."""
    given = os.environ.get("MEDQ_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medq"


def converted(model: BaseModel = SMOLLM2, folder: Path | None = None) -> Path:
    """Folder with the packaged model in transformers' own format, made on the first call and checked on every one.

    Without a cache that can be written it is a folder of this process, until `forget`. Raises ModelError when the
    package is missing or corrupt, or when nothing can be written at all.
    """
    target = cache_root() / f"{model.package}-{model.sha256[:16]}"
    if whole(target):
        return target
    gguf = locate(model, folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="convert-", dir=target.parent, ignore_cleanup_errors=True) as work:
            _convert(gguf, Path(work, "made"))
            shutil.rmtree(target, ignore_errors=True)
            Path(work, "made").replace(target)
        return target
    except (OSError, SafetensorError):
        # a second process may have finished the same conversion first
        return target if whole(target) else _for_now(gguf)


def _for_now(gguf: Path) -> Path:
    """The conversion where no cache can be written."""
    if not _passing:
        try:
            _passing.append(TemporaryDirectory(prefix="medq-", ignore_cleanup_errors=True))
            _convert(gguf, Path(_passing[0].name))
        except (OSError, SafetensorError):
            forget()
            raise ModelError(
                "The language model cannot be converted: neither the cache nor the folder for temporary files can be "
                "written; name another folder in MEDQ_CACHE, or use --no-text."
            ) from None
    return Path(_passing[0].name)


def forget() -> None:
    """Delete what `converted` keeps for this process alone; a model that was read from it goes on."""
    while _passing:
        _passing.pop().cleanup()


def whole(folder: Path) -> bool:
    """Whether the folder's weights have the sha256 written when they were converted."""
    weights = folder / MODEL
    try:
        stamp = json.loads((folder / STAMP).read_text())
        with weights.open("rb") as stream:
            return bool(hashlib.file_digest(stream, "sha256").hexdigest() == stamp["sha256"])
    except (OSError, ValueError, KeyError):
        return False


def _convert(gguf: Path, out: Path) -> None:
    """Read the GGUF once (about 12 s) and write bf16 safetensors, the tokenizer and the stamp."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, modeling_gguf_pytorch_utils

    quiet()
    modeling_gguf_pytorch_utils.tqdm = lambda tensors, **options: tensors  # a bar that no switch silences
    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    model = AutoModelForCausalLM.from_pretrained(
        **where, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    model.config.quantization_config = None
    del model.config.quantization_config
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(**where).save_pretrained(out)
    _stamp(out)


def _stamp(folder: Path) -> None:
    """Write the sha256 of a folder's weights beside them."""
    with (folder / MODEL).open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    (folder / STAMP).write_text(json.dumps({"sha256": digest}))


def load_tokenizer(source: str | Path) -> Any:
    """The tokenizer of a folder or Hub id. Raises ModelError."""
    from transformers import AutoTokenizer

    quiet()
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(source))
    except (OSError, ValueError) as error:
        raise ModelError(f"The tokenizer of '{source}' cannot be read ({type(error).__name__}).") from None
    # split into pieces, the marks would be plain text: nothing would end an answer
    if any(len(tokenizer(mark, add_special_tokens=False)["input_ids"]) != 1 for mark in (START, END)):
        raise ModelError(f"'{source}' has no tokens {START} and {END}; choose a base model that has, such as Qwen3.")
    return tokenizer


def load_base(source: str | Path, precision: str = "nf4", device: str = "cpu") -> Any:
    """The causal model of a folder or Hub id: 4-bit NF4 (default), bf16 or fp32, frozen. Raises ModelError."""
    from transformers import AutoModelForCausalLM

    if precision not in PRECISIONS:
        raise ModelError(f"The precision '{precision}' is unknown; choose {', '.join(PRECISIONS)}.")
    quiet()
    # without bf16 instructions, which most CPUs lack, fp32 arithmetic reads a prompt three times as fast
    exact = precision == "fp32" or (precision == "nf4" and device == "cpu")
    options: dict[str, Any] = {"dtype": torch.float32 if exact else torch.bfloat16}
    ours = Path(source).parent == cache_root()
    ready = Path(source) / f"nf4-{str(options['dtype']).removeprefix('torch.')}"
    if precision == "nf4" and ours and whole(ready):
        source = ready
    elif precision == "nf4":
        options["quantization_config"] = four_bit(options["dtype"])
    try:
        model = AutoModelForCausalLM.from_pretrained(str(source), device_map={"": device}, **options)
    except (OSError, ValueError) as error:
        raise ModelError(f"The language model '{source}' cannot be read ({type(error).__name__}).") from None
    if precision == "nf4" and ours and source != ready:
        # rounding the weights takes ten times as long as reading them
        keep(model.save_pretrained, ready)
    return model.requires_grad_(False)


def keep(write: Callable[[Path], Any], target: Path) -> None:
    """Let `write` fill a folder with MODEL for the next time, and put it at `target` whole."""
    try:
        work = Path(tempfile.mkdtemp(prefix="keep-", dir=target.parent))
    except OSError:
        return  # a cache that cannot be written costs time and nothing else
    try:
        write(work)
        _stamp(work)
        shutil.rmtree(target, ignore_errors=True)
        work.replace(target)
    except (OSError, SafetensorError):
        pass  # another process may have finished first, or the disk is full
    finally:
        shutil.rmtree(work, ignore_errors=True)


def four_bit(arithmetic: torch.dtype) -> Any:
    """NF4 weights; the output layer and the projector stay as they are."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=arithmetic,
        bnb_4bit_use_double_quant=True,
        # naming a list of one's own drops the default exclusion of lm_head (transformers issue 45674): name it too
        llm_int8_skip_modules=list(NOT_QUANTISED),
    )


def quiet() -> None:
    """No progress bars and no advice on stderr: it belongs to the command."""
    from transformers.utils import logging

    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
