"""Weights on disk: safetensors and a meta.json that explains them. Every file's sha256 is checked before use."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from medq_vlm import vocab
from medq_vlm.config import ScorerConfig, ViewConfig, VolumeConfig, from_dict
from medq_vlm.encoder import foreign
from medq_vlm.encoder.folded import fold
from medq_vlm.encoder.scorer import Scorer
from medq_vlm.encoder.tokenizer import VOCAB_SIZE
from medq_vlm.encoder.volume import VolumeHead
from medq_vlm.schema import ModelError

PRESETS = Path(__file__).parent / "weights"
WEIGHTS_FILE, META_FILE = "scorer.safetensors", "meta.json"
VOLUME_FILE = "volume.safetensors"
LANGUAGE_FILE = "describer.json"
TOWERS = "clip"  # folder of a preset: configuration and tokenizer of towers that are not ours
HEADER_TRUST = 0.1  # share of the bar for "not a medical image" that a named modality leaves, where none was fitted
NOT_SHIPPED = {
    "clinical": "The preset 'clinical' is not shipped, for its towers and language model come from a hub: make it with "
    "'python -m training.train_quality --clip hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224' "
    "and 'python -m training.train_describer --base Qwen/Qwen3-4B-Instruct-2507', as README.md tells under 'The "
    "clinical preset'.",
}


@dataclass(frozen=True)
class Calibration:
    """What was fitted on validation subjects after training."""

    score_raw: tuple[float, ...] = (0.0, 4.0)  # knots of the monotone map of the raw score ...
    score_to: tuple[float, ...] = (0.0, 4.0)  # ... to the calibrated one
    interval_scale: float = 1.64  # half width of the 90 % interval in standard deviations of the distribution
    severity_knots: dict[str, tuple[float, float]] = field(
        default_factory=dict
    )  # raw severities read as mild, moderate
    medical_threshold: float = 0.5  # below: not an image this model may assess ...
    claimed_threshold: float | None = None  # ... where a header or a person names a modality; None: HEADER_TRUST of it
    reference: dict[str, list[float]] = field(default_factory=dict)  # quantiles of clean scores per modality

    def bar(self, claimed: bool) -> float:
        """Least probability of a medical image that is assessed; `claimed`: a header or a person names a modality."""
        if not claimed:
            return self.medical_threshold
        return HEADER_TRUST * self.medical_threshold if self.claimed_threshold is None else self.claimed_threshold

    def severity(self, kind: str, raw: float) -> float:
        """Expected severity of the network -> severity 0 to 4 whose words are right as often as can be.

        An expectation is drawn towards zero by doubt: without the map hardly anything would be called moderate.
        """
        mild, moderate = self.severity_knots.get(kind, vocab.SEVERITY_FROM)
        return float(np.interp(raw, (0.0, mild, moderate, 4.0), (0.0, *vocab.SEVERITY_FROM, 4.0)))


@dataclass(frozen=True)
class Volume:
    """The volume head and the probabilities above which it is believed."""

    head: VolumeHead
    thresholds: dict[str, float]  # stands_out, gap, moved


@dataclass(frozen=True)
class Checkpoint:
    """A loaded scorer with everything needed to use it."""

    model: Scorer
    anchors: torch.Tensor  # (T, E)
    view: ViewConfig
    calibration: Calibration
    meta: dict[str, Any]
    volume: Volume | None = None  # a scorer without one weighs slices by their body


def preset_folder(preset: str) -> Path:
    """A shipped preset's name or a folder. Raises ModelError when there is neither."""
    folder = PRESETS / preset if (PRESETS / preset).is_dir() else Path(preset)
    if not (folder / META_FILE).is_file():
        if preset in NOT_SHIPPED:
            raise ModelError(NOT_SHIPPED[preset])
        names = ", ".join(sorted(p.name for p in PRESETS.iterdir() if p.is_dir()))
        raise ModelError(f"There is no model '{preset}': give one of {names} or a folder with {META_FILE}.")
    return folder


def language_folder(preset: str) -> Path:
    """Where the language part of a preset lies: its own folder, or nano's for a scorer that has none of its own.

    The language part reads severities and probabilities, not weights, so it speaks for any scorer of these word lists.
    """
    folder = preset_folder(preset)
    return folder if (folder / LANGUAGE_FILE).is_file() else PRESETS / "nano"


def file_sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load(preset: str, with_volume_head: bool = True) -> Checkpoint:
    """Load a preset or folder. Raises ModelError when a file is missing, changed, or of another vocabulary."""
    folder = preset_folder(preset)
    try:
        meta = json.loads((folder / META_FILE).read_text())
        expected = {WEIGHTS_FILE: meta["sha256"][WEIGHTS_FILE], **meta["sha256"]}
        found = {name: file_sha256(folder / name) for name in expected}
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"The model in {folder} is incomplete ({type(error).__name__}); install it again.") from None
    if found != expected:
        raise ModelError(f"The weights in {folder} are corrupt (sha256 differs from {META_FILE}); install them again.")
    try:
        return _built(folder, meta, with_volume_head)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, AssertionError, RuntimeError) as error:
        raise ModelError(
            f"{META_FILE} in {folder} does not fit the weights beside it ({type(error).__name__}); install both again."
        ) from None


def _built(folder: Path, meta: dict[str, Any], with_volume_head: bool) -> Checkpoint:
    """The model that `meta` describes."""
    config = from_dict(ScorerConfig, meta["scorer"])
    ours = not foreign.is_foreign(config.clip)
    if meta["kinds"] != list(vocab.KIND_NAMES) or (ours and meta["vocab_size"] != VOCAB_SIZE):
        raise ModelError(f"The weights in {folder} were trained for another word list; use the release they came with.")
    state = load_file(folder / WEIGHTS_FILE)
    anchors = state.pop("anchors").float()
    model = Scorer(config if ours else replace(config, clip=foreign.LOCAL + str(folder / TOWERS)))
    model.load_state_dict(
        {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    )
    model.eval().requires_grad_(False)
    calibration = from_dict(
        Calibration, {k: tuple(v) if isinstance(v, list) else v for k, v in meta["calibration"].items()}
    )
    if len(calibration.score_raw) != len(calibration.score_to):
        raise ValueError("score_raw")
    volume = _volume(folder, meta) if with_volume_head and "volume" in meta else None
    return Checkpoint(model, anchors, from_dict(ViewConfig, meta["view"]), calibration, meta, volume)


def _volume(folder: Path, meta: dict[str, Any]) -> Volume:
    head = VolumeHead(from_dict(VolumeConfig, meta["volume"]["config"]))
    try:
        head.load_state_dict(load_file(folder / VOLUME_FILE))
    except RuntimeError:
        raise ModelError(
            f"The volume head in {folder} is of another version; train it again (training/train_volume.py)."
        ) from None
    return Volume(head.eval().requires_grad_(False), meta["volume"]["thresholds"])


def save_volume_head(folder: Path, head: VolumeHead, record: dict[str, Any]) -> None:
    """Put the head beside the scorer it was trained with; `record` (config, thresholds) goes into its meta.json."""
    save_file({name: value.contiguous().cpu() for name, value in head.state_dict().items()}, folder / VOLUME_FILE)
    path = folder / META_FILE
    meta = json.loads(path.read_text())
    meta["volume"] = record
    meta["sha256"][VOLUME_FILE] = file_sha256(folder / VOLUME_FILE)
    path.write_text(json.dumps(meta, indent=1) + "\n")


def placed(loaded: Checkpoint) -> Checkpoint:
    """Ready to score: ours folded and on the CPU, where they were measured; other towers on the GPU, if there is one.

    What is folded is neither trained nor saved again.
    """
    if not foreign.is_foreign(loaded.model.config.clip):
        return replace(loaded, model=fold(loaded.model))
    if not torch.cuda.is_available():
        return loaded
    return replace(loaded, model=loaded.model.cuda(), anchors=loaded.anchors.cuda())


@torch.no_grad()
def save(folder: Path, model: Scorer, view: ViewConfig, calibration: Calibration, extra: dict[str, Any]) -> None:
    """Write weights (half precision except one-dimensional tensors) and meta.json.

    Towers that are not ours bring their configuration and tokenizer along, so that the folder needs nothing else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.eval()
    config, vocab_size, files = model.config, VOCAB_SIZE, [WEIGHTS_FILE]
    if foreign.is_foreign(config.clip):
        foreign.bundle(config.clip, foreign.Towers(model.clip, model.eye, model.tokenize), folder / TOWERS)
        config, vocab_size = replace(config, clip=foreign.LOCAL + TOWERS), model.clip.vocab_size
        files += [f"{TOWERS}/{path.name}" for path in sorted((folder / TOWERS).iterdir())]
    state = {
        name: (value.half() if value.ndim > 1 and value.is_floating_point() else value).contiguous().cpu()
        for name, value in model.state_dict().items()
    }
    # anchors come from the weights as they will be loaded, not from the full-precision ones
    model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    state["anchors"] = model.anchors().cpu()
    save_file(state, folder / WEIGHTS_FILE)
    meta = {
        "name": folder.name,
        "scorer": asdict(config),
        "view": asdict(view),
        "calibration": asdict(calibration),
        "kinds": list(vocab.KIND_NAMES),
        "vocab_size": vocab_size,
        "sha256": {name: file_sha256(folder / name) for name in files},
        **extra,
    }
    (folder / META_FILE).write_text(json.dumps(meta, indent=1) + "\n")
