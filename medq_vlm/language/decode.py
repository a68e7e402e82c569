"""Greedy decoding over one growing context: read, choose among texts under a grammar, write, take back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from medq_vlm.language.model import LanguageModel, Part

Stop = Callable[[], bool]
Mark = tuple[int, torch.Tensor]  # length of the context and the logits there


class Decoder:
    """The context of one image: what was read and written, and the logits of the next token."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self.context = model.engine.context()
        self.logits: torch.Tensor | None = None  # (vocabulary,)
        self.length = 0
        self._parts: list[tuple[Part, int]] = []  # what the context begins with, and its length after each

    def _forward(self, embedded: torch.Tensor) -> None:
        self.logits = self.model.engine.read(embedded, self.context)[: self.model.vocabulary].float()
        self.logits[self.model.never] = -torch.inf
        self.length += len(embedded)

    @torch.no_grad()
    def read(self, *parts: Part) -> None:
        """Take text and images into the context."""
        self._forward(self.model.embed(parts))

    def begin(self, *parts: Part) -> None:
        """Make `parts` the whole context; those that it begins with already are not read again."""
        same = 0
        while same < min(len(self._parts), len(parts) - 1) and self._parts[same][0] == parts[same]:
            same += 1
        del self._parts[same:]
        self._cut(self._parts[-1][1] if same else 0)
        with torch.no_grad():
            embedded = [self.model.embed([part]) for part in parts[same:]]
        end = self.length
        for part, vectors in zip(parts[same:], embedded, strict=True):
            end += len(vectors)
            self._parts.append((part, end))
        self._forward(torch.cat(embedded))

    def feed(self, tokens: Sequence[int]) -> None:
        """Take token ids into the context."""
        table = self.model.engine.table
        with torch.no_grad():
            self._forward(table[torch.tensor(list(tokens), device=table.device)])

    def mark(self) -> Mark:
        """A place to come back to."""
        assert self.logits is not None
        return self.length, self.logits

    def back(self, mark: Mark) -> None:
        """Forget everything after `mark`."""
        length, self.logits = mark
        self._cut(length)

    def _cut(self, length: int) -> None:
        self.context.cut(length)
        self.length = length

    def choose(self, options: Sequence[str]) -> str:
        """The option that greedy decoding spells, under a grammar of exactly these options."""
        from llguidance import LLMatcher

        # a fresh matcher for each choice: a used one remembers where it stood
        grammar = "start: " + " | ".join(json.dumps(option, ensure_ascii=False) for option in options)
        matcher = LLMatcher(self._grammar_tokenizer, LLMatcher.grammar_from_lark(grammar))
        if matcher.is_error():
            raise ValueError(f"The grammar cannot be compiled: {matcher.get_error()}")
        written: list[int] = []
        while not matcher.is_accepting():
            forced = list(matcher.compute_ff_tokens())
            if not forced:
                assert self.logits is not None
                forced = [self._allowed(matcher)]
            matcher.consume_tokens(forced)
            self.feed(forced)
            written += forced
        text = self.model.tokenizer.decode(written)
        assert text in options, text
        return str(text)

    def _allowed(self, matcher: Any) -> int:
        """The likeliest token that the grammar allows."""
        assert self.logits is not None
        open_to = np.frombuffer(matcher.compute_logit_bias(), np.uint8) > 0
        logits = self.logits.cpu().numpy()
        return int(np.where(open_to[: len(logits)], logits, -np.inf).argmax())

    @cached_property
    def _grammar_tokenizer(self) -> Any:
        return self.model.grammar_tokenizer

    def likeliest(self, banned: int | None = None) -> int:
        """The next token of greedy decoding, other than `banned`."""
        assert self.logits is not None
        if banned is None:
            return int(self.logits.argmax())
        logits = self.logits.clone()
        logits[banned] = -torch.inf
        return int(logits.argmax())

    def write(self, limit: int, stop: Stop | None = None, banned: int | None = None) -> Iterator[int]:
        """Token ids one by one until the end mark, `limit` or `stop`; the end mark is not given out.

        A token is in the context before it is given out. `banned` may not be the first one.
        """
        for count in range(limit):
            if stop is not None and stop():
                return
            token = self.likeliest(banned if count == 0 else None)
            if token in self.model.end_ids:
                return
            self.feed([token])
            yield token
