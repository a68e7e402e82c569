"""A tokenizer without transformers, whose import and reading take three seconds: what its `tokenizers` does is enough.

The names are those of transformers' tokenizers, so that either can stand in a LanguageModel.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

from tokenizers import Tokenizer


def bare(tokenizer: Any) -> str:
    """The text of tokenizer.json of either, without padding and truncation."""
    inner = copy(tokenizer.backend_tokenizer)
    inner.no_padding()
    inner.no_truncation()
    return str(inner.to_str())


class PlainTokenizer:
    """Text to token ids and back."""

    def __init__(self, text: str, eos_token_id: int) -> None:
        self.backend_tokenizer = Tokenizer.from_str(text)
        self.eos_token_id = eos_token_id

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": self.backend_tokenizer.encode(text, add_special_tokens=add_special_tokens).ids}

    def __len__(self) -> int:
        return int(self.backend_tokenizer.get_vocab_size(with_added_tokens=True))

    def decode(self, ids: int | Sequence[int]) -> str:
        several = [ids] if isinstance(ids, int) else list(ids)
        return str(self.backend_tokenizer.decode(several, skip_special_tokens=False))

    def convert_tokens_to_ids(self, token: str) -> int | None:
        found: int | None = self.backend_tokenizer.token_to_id(token)
        return found

    def get_added_vocab(self) -> dict[str, int]:
        return {token.content: number for number, token in self.backend_tokenizer.get_added_tokens_decoder().items()}

    @property
    def all_special_tokens(self) -> list[str]:
        return [t.content for t in self.backend_tokenizer.get_added_tokens_decoder().values() if t.special]
