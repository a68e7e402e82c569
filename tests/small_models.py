"""Checkpoints of the `clinical` preset's formats and classes, small and with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from medq_vlm import vocab

# as in Qwen3's tokenizer_config.json; all of them are added tokens, the last four not special ones
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
NOT_SPECIAL = ("<tool_call>", "</tool_call>", "<think>", "</think>")
BIOMEDBERT = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"


def qwen3(folder: Path, marks: bool = True) -> Path:
    """A Qwen3 causal model with its tokenizer, as save_pretrained writes them; without `marks` no chat tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import AddedToken, Qwen2TokenizerFast, Qwen3Config, Qwen3ForCausalLM

    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    learnt.train_from_iterator([text for kind in vocab.KINDS for text in (kind.plain, *_texts(kind.name))], trainer)
    bpe = json.loads(learnt.to_str())["model"]
    tokenizer = Qwen2TokenizerFast(
        vocab=bpe["vocab"], merges=[tuple(pair) for pair in bpe["merges"]], eos_token="<|im_end|>" if marks else None
    )
    added = SPECIAL if marks else SPECIAL[:1]
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in added])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in NOT_SPECIAL])
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=128 * (len(tokenizer) // 128 + 2),  # as in Qwen3, more rows than tokens
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,  # not hidden_size / heads, as in Qwen3-4B
            max_position_embeddings=4096,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>") if marks else None,
        )
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


def _texts(kind: str) -> tuple[str, str, str]:
    return vocab.text_for(kind, vocab.KIND[kind].modalities[0])


def bert(folder: Path) -> Path:
    """A BERT with its word-piece tokenizer."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)] + list("0123456789.,-")
    names = sorted({word for name in vocab.KIND_NAMES + vocab.MODALITIES for word in name.split("_")})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(dict.fromkeys(words + names))})
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=256,
    )  # fmt: skip
    torch.manual_seed(0)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def biomedclip(folder: Path, text: str, safetensors: bool = True) -> Path:
    """open_clip's files of a CLIP with a timm ViT and a BERT, keys as in BiomedCLIP's own open_clip_config.json."""
    from open_clip.model import CustomTextCLIP
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = {
        "embed_dim": 24,
        "vision_cfg": {
            "timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_pool": "", "timm_proj": "linear",
            "image_size": 160,
        },
        "text_cfg": {
            "hf_model_name": text, "hf_tokenizer_name": text, "hf_proj_type": "mlp",
            "hf_pooler_type": "cls_last_hidden_state_pooler", "context_length": 256,
        },
    }  # fmt: skip
    preprocess = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    torch.manual_seed(0)
    clip = CustomTextCLIP(**config)
    if safetensors:
        save_file(clip.state_dict(), folder / "open_clip_model.safetensors")
    else:  # as published: a pickle of tensors, with a buffer that transformers has since dropped
        state = clip.state_dict() | {"text.transformer.embeddings.position_ids": torch.arange(256)[None]}
        torch.save(state, folder / "open_clip_pytorch_model.bin")
    return folder


def untrained_restorer(folder: Path) -> None:
    """A small restorer in `folder` that changes what it sees a little."""
    from medq_vlm.config import RestorerConfig
    from medq_vlm.restore import weights
    from medq_vlm.restore.network import RestorationNet

    torch.manual_seed(0)
    model = RestorationNet(RestorerConfig((8, 8), (1, 1), (1,), 8, 16, 8))
    with torch.no_grad():
        for value in model.parameters():  # a new network is the identity
            value += 0.02 * torch.randn_like(value)
    weights.save(folder, model, {"name": "untrained"})
