"""The forward pass of our own against transformers', and what a kept context saves."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from eval.written_cases import EVERYWHERE, written
from medq_vlm import checkpoint
from medq_vlm.language import engine, shipped
from medq_vlm.language.decode import Decoder
from medq_vlm.language.engine import EightBitLinear, Linear, LlamaEngine, TransformersEngine
from medq_vlm.language.model import LanguageModel
from medq_vlm.language.talker import Talker

WIDTH = 64


@pytest.fixture(scope="module")
def llama() -> Any:
    """A small Llama with grouped heads and an adapter that does something."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300, hidden_size=WIDTH, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    return get_peft_model(LlamaForCausalLM(config), lora).eval()


@pytest.fixture(scope="module")
def tokens() -> torch.Tensor:
    return torch.randn(40, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "multiplies_eight_bits", lambda: False)


def test_it_reads_as_transformers_does(llama: Any, tokens: torch.Tensor, exact: None) -> None:
    ours, theirs = LlamaEngine.of(llama), TransformersEngine(llama)
    a, b = ours.context(), theirs.context()
    for part in (tokens[:20], tokens[20:21], tokens[21:30], tokens[30:31]):
        assert torch.allclose(ours.read(part, a), theirs.read(part, b), atol=1e-4)


def test_what_was_cut_leaves_no_trace(
    llama: Any, tokens: torch.Tensor, exact: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "FIRST_ROOM", 8)  # the context has to grow on the way
    ours = LlamaEngine.of(llama)
    straight, winding = ours.context(), ours.context()
    ours.read(tokens[:10], straight)
    ours.read(torch.cat((tokens[:10], tokens[25:])), winding)
    winding.cut(10)
    assert torch.allclose(ours.read(tokens[10:12], straight), ours.read(tokens[10:12], winding), atol=1e-5)


def test_eight_bits_cost_about_a_hundredth() -> None:
    generator = torch.Generator().manual_seed(2)
    weight, x = torch.randn(48, WIDTH, generator=generator), torch.randn(5, WIDTH, generator=generator)
    factor = torch.rand(5, 1, generator=generator)
    right, rounded = Linear(weight)(x, factor), EightBitLinear.of(weight)(x, factor)
    assert float((right - rounded).norm() / right.norm()) < 0.015
    assert torch.equal(EightBitLinear.of(weight)(torch.zeros(2, WIDTH)), torch.zeros(2, 48))


def test_only_a_plain_llama_on_a_cpu_is_read_by_it(llama: Any) -> None:
    assert engine.fits(llama, "cpu")
    assert not engine.fits(llama, "cuda")
    scaled = type(llama.config)(rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4})
    biased = type(llama.config)(attention_bias=True)
    for config in (scaled, biased):
        assert not engine.fits(type("Model", (), {"config": config})(), "cpu")


class Counting:
    """An engine that counts the tokens it reads."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.count = inner, 0
        self.table = inner.table

    def context(self) -> Any:
        return self.inner.context()

    def read(self, embedded: torch.Tensor, context: Any) -> torch.Tensor:
        self.count += len(embedded)
        return self.inner.read(embedded, context)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return shipped.load(checkpoint.PRESETS / "nano")


def test_the_same_beginning_is_read_once(model: LanguageModel) -> None:
    counting = Counting(model.engine)
    fresh = LanguageModel(model.causal, model.tokenizer, model.projector, counting)
    image = written("ct", "chest", [("ring", 2.0, EVERYWHERE)], 1.9).features
    assert image is not None
    decoder, other = Decoder(fresh), Decoder(fresh)
    decoder.begin("One image:", image, "it is ", "sharp.")
    before = counting.count
    decoder.feed(model.ids(" And so on."))
    decoder.begin("One image:", image, "it is ", "noisy.")
    assert counting.count - before == len(model.ids(" And so on.")) + len(model.ids("noisy."))
    other.begin("One image:", image, "it is ", "noisy.")
    assert decoder.logits is not None and other.logits is not None
    assert decoder.length == other.length
    assert int(decoder.logits.argmax()) == int(other.logits.argmax())
    assert float((decoder.logits - other.logits).abs().max()) < 0.5  # of a range of 40: eight bits round otherwise


def test_a_second_question_reads_the_image_no_more(model: LanguageModel) -> None:
    counting = Counting(model.engine)
    talker = Talker(LanguageModel(model.causal, model.tokenizer, model.projector, counting))
    subject = written("ct", "chest", [("low_dose_noise", 3.2, EVERYWHERE)], 1.1)
    question = "Why is it poor?"  # answered by the model, not quoted by a rule
    first = "".join(talker.answer(subject, question))
    needed, counting.count = counting.count, 0
    assert "".join(talker.answer(subject, question)) == first
    assert counting.count < needed / 2
    assert len(subject.kept) == 1


def test_an_answer_that_was_left_keeps_no_context(model: LanguageModel) -> None:
    subject = written("ct", "chest", [("low_dose_noise", 3.2, EVERYWHERE)], 1.1)
    answer = Talker(model).answer(subject, "Why is it poor?")
    next(answer)
    del answer
    assert subject.kept == []


def test_the_weights_are_those_in_the_adapter(llama: Any) -> None:
    layer = llama.get_base_model().model.layers[0].self_attn.q_proj
    x = torch.randn(3, WIDTH)
    assert torch.allclose(layer(x), x @ engine.weight_of(layer).T, atol=1e-5)
