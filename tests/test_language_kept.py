"""Prepared layers from the cache speak as freshly made ones do, or are not used at all."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from medq_vlm.language import engine, kept, weights
from medq_vlm.language.engine import EightBitLinear, LlamaEngine
from medq_vlm.language.prompt import END, START
from medq_vlm.language.words import PlainTokenizer, bare
from medq_vlm.schema import ModelError

ADAPTER = {"sha256": "a", "lora": {"r": 4}}


@pytest.fixture(scope="module")
def llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return weights.load_tokenizer(weights.converted())


@pytest.fixture
def made(llama: Any, monkeypatch: pytest.MonkeyPatch) -> LlamaEngine:
    monkeypatch.setattr(engine, "multiplies_eight_bits", lambda: True)
    return LlamaEngine.of(llama)


@pytest.fixture
def folder(made: LlamaEngine, tokenizer: Any, tmp_path: Path) -> Path:
    kept.keep(made, tokenizer, tmp_path / "kept")
    return tmp_path / "kept"


def test_what_is_read_back_is_bit_by_bit_what_was_kept(made: LlamaEngine, folder: Path) -> None:
    found = kept.load(folder)
    assert found is not None
    tokens = torch.randn(20, 64, generator=torch.Generator().manual_seed(1))
    ours, theirs = found[0].context(), made.context()
    for part in (tokens[:15], tokens[15:16], tokens[16:]):
        assert torch.equal(found[0].read(part, ours), made.read(part, theirs))
    assert torch.equal(found[0].states(tokens, 1), made.states(tokens, 1))
    assert torch.equal(found[0].table, made.table)


@pytest.mark.parametrize("where", [0, 1000, -1])
def test_one_changed_bit_anywhere_and_it_is_not_used(where: int, folder: Path) -> None:
    path = folder / weights.MODEL
    data = bytearray(path.read_bytes())
    data[where] ^= 1
    path.write_bytes(bytes(data))
    assert kept.load(folder) is None


@pytest.mark.parametrize("name", [weights.MODEL, weights.STAMP])
def test_half_a_cache_is_none_and_is_made_again(name: str, made: LlamaEngine, tokenizer: Any, folder: Path) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:20])
    assert kept.load(folder) is None
    (folder / name).unlink()
    assert kept.load(folder) is None
    kept.keep(made, tokenizer, folder)
    assert kept.load(folder) is not None
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_cache_that_cannot_be_written_is_no_error(made: LlamaEngine, tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept.keep(made, tokenizer, tmp_path / "file" / "kept")
    assert kept.load(tmp_path / "file" / "kept") is None


def test_layers_of_32_bits_are_not_kept(
    llama: Any, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "multiplies_eight_bits", lambda: False)
    kept.keep(LlamaEngine.of(llama), tokenizer, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_another_base_adapter_setting_or_version_has_another_place(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [
        kept.place("b", ADAPTER),
        kept.place("c", ADAPTER),
        kept.place("b", {**ADAPTER, "sha256": "b"}),
        kept.place("b", {**ADAPTER, "lora": {"r": 8}}),
    ]
    monkeypatch.setattr(kept, "VERSION", kept.VERSION + 1)
    places.append(kept.place("b", ADAPTER))
    assert len(set(places)) == len(places)


def test_rounding_is_that_of_the_constructor() -> None:
    weight = torch.randn(8, 16, generator=torch.Generator().manual_seed(3))
    rounded = EightBitLinear.of(weight)
    assert torch.allclose(rounded.weight.t() * rounded.scale[:, None] * 127, weight, atol=0.02)


def test_the_plain_tokenizer_is_transformers(tokenizer: Any) -> None:
    plain = PlainTokenizer(bare(tokenizer), tokenizer.eos_token_id)
    texts = [
        "", " Noise 3.2 HU.", f"{START}user\nWarum? 図 größe\x00{END}\n", "a  b ,c 's <|endoftext|>x", "(±1.5 mm)\n\t",
    ]  # fmt: skip
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert plain(text, add_special_tokens=False)["input_ids"] == ids
        assert plain.decode(ids) == tokenizer.decode(ids)
    chance = random.Random(4)
    for _ in range(50):  # halves of characters too
        ids = chance.choices(range(len(tokenizer)), k=5)
        assert plain.decode(ids) == tokenizer.decode(ids)
        assert plain.decode(ids[0]) == tokenizer.decode(ids[0])
    assert len(plain) == len(tokenizer)
    assert set(plain.all_special_tokens) == set(tokenizer.all_special_tokens) | set(plain.get_added_vocab())
    assert plain.get_added_vocab() == tokenizer.get_added_vocab()
    for word in plain.all_special_tokens:
        assert plain.convert_tokens_to_ids(word) == tokenizer.convert_tokens_to_ids(word)


def test_without_a_cache_the_conversion_lasts_as_long_as_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MEDQ_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(weights, "locate", lambda *arguments: tmp_path / "model.gguf")
    monkeypatch.setattr(weights, "_convert", lambda gguf, out: (out / weights.MODEL).write_text("weights"))
    found = weights.converted()
    assert weights.converted() == found and (found / weights.MODEL).read_text() == "weights"
    weights.forget()
    assert not found.exists()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    with pytest.raises(ModelError):
        weights.converted()


def test_no_library_finds_the_package_that_fetches_native_code(tmp_path: Path) -> None:
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("import os; os._exit(7)")
    (tmp_path / "kernels-0.12.0.dist-info").mkdir()
    (tmp_path / "kernels-0.12.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: kernels\nVersion: 0.12.0\n"
    )
    code = "import medq_vlm.language, transformers, bitsandbytes; from transformers import LlamaForCausalLM"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "kernels" not in done.stderr, done.stderr
