"""The language model in one piece: causal model with its LoRA adapter, tokenizer and projector."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import torch

from medq_vlm.language.engine import Engine, TransformersEngine
from medq_vlm.language.features import ImageFeatures
from medq_vlm.language.projector import Projector
from medq_vlm.language.scope import Scope
from medq_vlm.language.words import bare

Part = str | ImageFeatures  # a prompt is text and images in the order in which they are read
THINKING = ("<think>", "</think>")  # of bases that reason aloud before they answer (Qwen3)


class LanguageModel:
    """Holds weights and nothing of any image."""

    def __init__(
        self,
        causal: Any,
        tokenizer: Any,
        projector: Projector,
        engine: Engine | None = None,
        scope: Scope | None = None,
    ) -> None:
        self._causal = causal  # transformers' causal model, with a peft adapter or without; a partial makes it
        self.tokenizer = tokenizer
        self.projector = projector
        self.engine = engine or TransformersEngine(causal)
        self.scope = scope  # None: the model alone decides what it answers

    @cached_property
    def causal(self) -> Any:
        """transformers' causal model, which an engine of our own does not need."""
        return self._causal() if isinstance(self._causal, partial) else self._causal

    @cached_property
    def special(self) -> tuple[str, ...]:
        """Every special token of the tokenizer, which no user text may contain."""
        added = {str(token) for token in self.tokenizer.get_added_vocab()}
        return tuple(sorted(added | {str(token) for token in self.tokenizer.all_special_tokens}))

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end an answer: the end mark, and any other special token that has no place in one."""
        ends = [token for token in self.special if token not in THINKING]
        return frozenset(int(self.tokenizer.convert_tokens_to_ids(token)) for token in ends)

    @cached_property
    def never(self) -> list[int]:
        """Tokens that are never written: a base that opens a thought would fill the budget with it."""
        return [int(self.tokenizer.convert_tokens_to_ids(token)) for token in THINKING if token in self.special]

    @cached_property
    def vocabulary(self) -> int:
        """Number of tokens that stand for a text: Qwen3's tables have 267 rows more than its tokenizer has words."""
        return len(self.tokenizer)

    @cached_property
    def grammar_tokenizer(self) -> Any:
        """The tokenizer as the grammar library reads it (about a second to build)."""
        from llguidance import LLTokenizer  # its own reader of a tokenizer would import transformers

        return LLTokenizer(bare(self.tokenizer), n_vocab=len(self.engine.table), eos_token=self.tokenizer.eos_token_id)

    @property
    def device(self) -> torch.device:
        return next(self.projector.parameters()).device

    def ids(self, text: str) -> list[int]:
        """Token ids of our own text: special tokens in it count."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def words(self, text: str) -> torch.Tensor:
        """Input embeddings of a text's tokens, (T, width)."""
        table = self.engine.table
        return table[torch.tensor(self.ids(text), device=table.device)].float()

    def soft(self, features: ImageFeatures) -> torch.Tensor:
        """Soft tokens (SOFT_TOKENS, width) of an image."""
        sizes = self.projector.sizes
        vector = torch.from_numpy(features.vector()).to(self.device)[None]
        seen = features.queries is not None and features.queries.shape == (sizes["queries"], sizes["query_width"])
        queries = torch.zeros(1, sizes["queries"], sizes["query_width"], device=self.device)
        if seen:
            queries[0] = torch.as_tensor(features.queries, dtype=torch.float32)
        known = torch.tensor([seen], device=self.device)
        return self.projector(vector, queries, known)[0]

    def embed(self, parts: Sequence[Part]) -> torch.Tensor:
        """Input embeddings (T, width) of a prompt."""
        table = self.engine.table
        out = []
        for part in parts:
            if isinstance(part, str):
                out.append(table[torch.tensor(self.ids(part), dtype=torch.long, device=table.device)])
            else:
                out.append(self.soft(part).to(table.dtype))
        return torch.cat(out)
