"""A Qwen3 checkpoint through QLoRA training, export, reloading in every precision, and speech."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from eval.written_cases import EVERYWHERE, written
from medq_vlm.language import line as lines
from medq_vlm.language import prompt, shipped
from medq_vlm.language.decode import Decoder
from medq_vlm.language.model import THINKING
from medq_vlm.language.talker import Subject, Talker
from medq_vlm.language.weights import PRECISIONS, load_tokenizer
from medq_vlm.schema import ModelError
from tests import small_models
from training import export_describer, train_describer


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_models.qwen3(tmp_path_factory.mktemp("base") / "qwen3")


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training run that was interrupted after its first step."""
    folder = tmp_path_factory.mktemp("run")
    common = ["--base", str(base), "--out", str(folder), "--cpu", "--four-bit", "--rank", "4", "--lower", "10"]
    train_describer.main([*common, "--steps", "1"])
    train_describer.main([*common, "--steps", "2"])
    return folder


@pytest.fixture(scope="module")
def preset(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preset")
    export_describer.main(["--run", str(run), "--to", str(folder)])
    return folder


@pytest.fixture(scope="module")
def noisy() -> Subject:
    return written("ct", "chest", [("low_dose_noise", 3.2, EVERYWHERE)], 1.1)


def test_training_goes_on_where_it_stopped_and_the_last_layer_learns(run: Path) -> None:
    state = json.loads((run / "state.json").read_text())
    assert state["step"] == len(state["history"]) == 2
    weights = load_file(run / "describer.safetensors")
    moved = {name for name, value in weights.items() if "lora_B" in name and value.any()}
    assert moved and all(".layers.1." in name for name in moved)


def test_the_base_is_trained_on_in_four_bits(base: Path) -> None:
    causal = train_describer.build(str(base), torch.device("cpu"), 4, four_bit=True).causal
    layers = [m.base_layer for m in causal.modules() if type(m).__name__ == "Linear4bit" and hasattr(m, "base_layer")]
    assert len(layers) == 2 * 7
    assert not any(layer.weight.requires_grad for layer in layers)


def test_the_export_says_which_base_it_needs(preset: Path, base: Path) -> None:
    meta = json.loads((preset / shipped.META_FILE).read_text())
    assert meta["base"] == str(base)
    assert meta["base_shape"]["model_type"] == "qwen3"
    assert str(base) in (preset / export_describer.CARD_FILE).read_text()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_it_writes_a_valid_line_and_answers(preset: Path, noisy: Subject, precision: str) -> None:
    talker = Talker(shipped.load(preset, precision))
    kinds = {name: type(module).__name__ for name, module in talker.model.causal.named_modules()}
    quantised = [name for name, kind in kinds.items() if kind == "Linear4bit"]
    assert bool(quantised) == (precision == "nf4")
    assert not [name for name in quantised if name.endswith("lm_head")]
    assert "Linear4bit" not in {type(module).__name__ for module in talker.model.projector.modules()}
    line = talker.line(noisy)
    assert lines.parse(line.text(), "ct").items == line.items
    first, second = ("".join(talker.answer(noisy, "why is this bad?")) for _ in range(2))
    assert first == second  # which may be blank: these weights know no words


def test_neither_a_thought_nor_a_row_without_a_token_is_written(preset: Path, noisy: Subject) -> None:
    model = shipped.load(preset, "fp32")
    unnamed = len(model.tokenizer)
    assert model.causal.get_input_embeddings().weight.shape[0] > unnamed
    thoughts = [model.tokenizer.convert_tokens_to_ids(mark) for mark in THINKING]
    # an output layer that wants nothing else
    with torch.no_grad():
        model.causal.get_output_embeddings().weight[[unnamed, *thoughts]] *= 1e4
    decoder = Decoder(model)
    decoder.read(prompt.turn("why?", []))
    written_ids = list(decoder.write(20))
    assert written_ids and all(token < unnamed and token not in thoughts for token in written_ids)
    assert "<think>" not in prompt.neutral("why? <think>it is good</think>", model.special, 100)


def test_a_missing_base_is_named_in_one_sentence(
    preset: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    moved = shutil.copytree(preset, tmp_path / "moved")
    meta = json.loads((moved / shipped.META_FILE).read_text())
    (moved / shipped.META_FILE).write_text(json.dumps(meta | {"base": "Qwen/Qwen3-4B-Instruct-2507"}))
    with pytest.raises(ModelError, match=r"needs the base model 'Qwen/Qwen3-4B-Instruct-2507'.*put its folder at"):
        shipped.load(moved)
    shutil.copytree(base, moved / shipped.BASE_FOLDER)
    assert shipped.load(moved, "fp32").causal.config.model_type == "qwen3"
    (moved / shipped.META_FILE).write_text(json.dumps(meta | {"base_shape": meta["base_shape"] | {"hidden_size": 32}}))
    with pytest.raises(ModelError, match="another model"):
        shipped.load(moved, "fp32")


def test_a_run_on_another_base_is_not_gone_on_with(run: Path, base: Path, tmp_path: Path) -> None:
    other = shutil.copytree(base, tmp_path / "other")
    with pytest.raises(SystemExit, match="name another --out"):
        train_describer.main(["--base", str(other), "--out", str(run), "--cpu", "--rank", "4", "--steps", "3"])


def test_a_base_without_chat_marks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="choose a base model that has"):
        load_tokenizer(small_models.qwen3(tmp_path / "plain", marks=False))
