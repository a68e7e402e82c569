"""Train the language side: the projector and a LoRA adapter on conversations made from records.

    python -m training.train_describer --steps 600
    python -m training.train_describer --base Qwen/Qwen3-4B-Instruct-2507 --batch 8 --out runs/clinical-describer

Runs on a CPU (fp32 arithmetic on NF4-rounded weights: the adapter is trained on exactly the weights it will meet) or
with QLoRA on a GPU. Interrupt it at any time: it goes on from runs/describer. `--projector-only` aligns the branch
that reads the scorer's query tokens again, in minutes, when the scorer's weights have changed.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file

from medq_vlm.language.model import LanguageModel
from medq_vlm.language.projector import Projector
from medq_vlm.language.shipped import PACKAGED, shape
from medq_vlm.language.weights import converted, load_base, load_tokenizer
from training.describe_pieces import Piece
from training.describe_talk import conversation

WARM_UP, SAVE_EVERY_S = 10, 180.0
LINE_WEIGHT = 3.0  # the few choices of the line decide what every later text rests on


@dataclass
class Row:
    """One conversation ready for the model."""

    embedded: list[Any]  # token ids (list) or ImageFeatures
    targets: list[int]  # -100 where nothing is learned
    weights: list[float]  # of each token in the loss


def main(argv: list[str] | None = None) -> None:
    args = arguments(argv)
    torch.manual_seed(args.seed)
    accelerator = Accelerator(cpu=args.cpu or not torch.cuda.is_available())
    # a folder by its whole path: the exported describer is loaded from anywhere
    base = str(Path(args.base).resolve()) if args.base and Path(args.base).is_dir() else args.base
    model = build(base or str(converted()), accelerator.device, args.rank, args.four_bit)
    state: dict[str, Any] = {"step": 0, "tokens": 0, "seconds": 0.0, "history": []}
    args.out.mkdir(parents=True, exist_ok=True)
    groups = trained(model, args)
    optimizer = torch.optim.AdamW(groups, lr=args.rate, betas=(0.9, 0.98), weight_decay=0.0)
    if (args.out / "state.json").exists():
        resume(args.out, model, optimizer, state, base or PACKAGED)
    state |= {
        "base": base or PACKAGED,
        "base_shape": shape(model.causal),
        "projector": model.projector.sizes,
        "lora": {"r": args.rank, "lora_alpha": 2 * args.rank, "target_modules": "all-linear"},
    }
    rates = [group["initial"] for group in optimizer.param_groups]
    # the causal model is used through accelerate for its backward alone: one process, one device
    model.causal.train()
    saved = started = time.time()
    first = state["step"]
    for step in range(state["step"], args.steps):
        rows = [prepared(model, np.random.default_rng((args.seed, step, i))) for i in range(args.batch)]
        factor = min(1.0, (step - first + 1) / WARM_UP, max(0.03, (args.steps - step) / max(1, args.decay)))
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        began = time.time()
        deep = args.projector_only or step % args.projector_every == 0
        loss, tokens = step_loss(model, rows, deep)
        accelerator.backward(loss)
        torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        state["step"], state["tokens"] = step + 1, state["tokens"] + tokens
        state["seconds"] += time.time() - began
        state["history"].append(round(float(loss.detach()), 4))
        if (step + 1) % 10 == 0:
            mean = float(np.mean(state["history"][-10:]))
            speed = tokens / (time.time() - began)
            print(f"step {step + 1}  loss {mean:.3f}  {state['tokens']} tokens  {speed:.0f} tokens/s", flush=True)
        if time.time() - saved > SAVE_EVERY_S or step + 1 == args.steps or time.time() - started > 60 * args.minutes:
            save(args.out, model, optimizer, state)
            saved = time.time()
        if time.time() - started > 60 * args.minutes:
            break


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--out", type=Path, default=Path("runs/describer"))
    parse.add_argument("--base", help="folder or Hub id of the causal model; default: the packaged SmolLM2")
    parse.add_argument("--steps", type=int, default=600, help="of the whole schedule")
    parse.add_argument("--decay", type=int, default=150, help="last steps, over which the learning rate falls")
    parse.add_argument("--minutes", type=float, default=1e9, help="stop (and save) after this many minutes")
    parse.add_argument("--batch", type=int, default=1, help="conversations in a step")
    parse.add_argument("--rank", type=int, default=16)
    parse.add_argument("--rate", type=float, default=1e-3, help="learning rate of the adapter")
    parse.add_argument("--b-ratio", type=float, default=2.0, help="how much faster the adapter's B learns than its A")
    parse.add_argument(
        "--lower", type=int, help="layers at the bottom whose adapter stays as it is; default: a third of them"
    )
    parse.add_argument(
        "--projector-every", type=int, default=4, help="steps from one update of the projector to the next"
    )
    parse.add_argument("--projector-rate", type=float, default=3e-4)
    parse.add_argument("--projector-only", action="store_true", help="leave the adapter as it is")
    parse.add_argument("--seed", type=int, default=0)
    parse.add_argument("--cpu", action="store_true")
    parse.add_argument("--four-bit", action="store_true", help="keep 4-bit weights on a CPU too: less memory, slower")
    return parse.parse_args(argv)


def build(base: str, device: torch.device, rank: int, four_bit: bool = False) -> LanguageModel:
    """The base model with a fresh adapter and a projector that starts from words."""
    causal = load_base(base, "nf4", str(device))
    causal.train()  # before the first forward: in eval mode bitsandbytes repacks CPU weights and backward fails
    if device.type == "cpu" and not four_bit:
        causal = causal.dequantize().float()  # the rounding of NF4 stays; fp32 is three times as fast here
    lora = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    causal = get_peft_model(causal, lora)
    width = int(causal.config.hidden_size)
    model = LanguageModel(causal, load_tokenizer(base), Projector(width).to(device))
    model.projector.start_from_words(model.words)
    return model


def trained(model: LanguageModel, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Parameter groups: the adapter's A and B (B learns faster, Hayou et al., arXiv 2402.12354) and the projector."""
    adapter = {name: p for name, p in model.causal.named_parameters() if p.requires_grad}
    layers = int(model.causal.config.num_hidden_layers)
    # one layer learns whatever is asked for: without any, most steps have no gradient at all
    lower = min(layers // 3 if args.lower is None else args.lower, layers - 1)
    for name, p in adapter.items():
        # below --lower no gradient is needed on most steps, and the backward pass ends there
        if args.projector_only or int(name.split(".layers.")[1].split(".")[0]) < lower:
            p.requires_grad_(False)
    learning = [(name, p) for name, p in adapter.items() if p.requires_grad]
    groups = [
        {"params": [p for name, p in learning if "lora_A" in name], "initial": args.rate},
        {"params": [p for name, p in learning if "lora_B" in name], "initial": args.b_ratio * args.rate},
        {"params": list(model.projector.parameters()), "initial": args.projector_rate},
    ]
    return [group for group in groups if group["params"]]


def prepared(model: LanguageModel, rng: np.random.Generator) -> Row:
    """A random conversation as ids, images and targets."""
    return encoded(model, conversation(rng, model.special))


def encoded(model: LanguageModel, pieces: list[Piece]) -> Row:
    from medq_vlm.language.projector import SOFT_TOKENS

    row = Row([], [], [])
    for piece in pieces:
        if piece.image is not None:
            row.embedded.append(piece.image)
            row.targets += [-100] * SOFT_TOKENS
            row.weights += [0.0] * SOFT_TOKENS
        elif piece.text:
            ids = model.ids(piece.text)
            row.embedded.append(ids)
            row.targets += ids if piece.learned else [-100] * len(ids)
            row.weights += [LINE_WEIGHT if piece.line else 1.0] * len(ids)
    return row


def step_loss(model: LanguageModel, rows: list[Row], deep: bool = True) -> tuple[torch.Tensor, int]:
    """Cross entropy of the learned tokens of some conversations, and the number of tokens read.

    `deep` carries the gradient down to the projector, through every layer.
    """
    table = model.causal.get_input_embeddings()
    longest = max(len(row.targets) for row in rows)
    embedded = torch.zeros(len(rows), longest, table.weight.shape[1], dtype=table.weight.dtype, device=model.device)
    targets = torch.full((len(rows), longest), -100, device=model.device)
    weights = torch.zeros(len(rows), longest, device=model.device)
    mask = torch.zeros(len(rows), longest, dtype=torch.long, device=model.device)
    for i, row in enumerate(rows):
        parts = [
            table(torch.tensor(part, device=model.device)) if isinstance(part, list) else model.soft(part)
            for part in row.embedded
        ]
        n = len(row.targets)
        embedded[i, :n] = torch.cat([part.to(embedded.dtype) for part in parts])
        targets[i, :n] = torch.tensor(row.targets, device=model.device)
        weights[i, :n] = torch.tensor(row.weights, device=model.device)
        mask[i, :n] = 1
    inner = model.causal.get_base_model()
    if not deep:
        embedded = embedded.detach()
    hidden = inner.model(inputs_embeds=embedded, attention_mask=mask, use_cache=False).last_hidden_state  # B T width
    wanted = targets[:, 1:] != -100  # the output layer is a fifth of the work: only where something is learned
    logits = inner.lm_head(hidden[:, :-1][wanted])
    losses = F.cross_entropy(logits.float(), targets[:, 1:][wanted], reduction="none")
    share = weights[:, 1:][wanted]
    return (losses * share).sum() / share.sum(), int(mask.sum())


def save(out: Path, model: LanguageModel, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Write everything a resumed run needs, each file whole or not at all."""
    adapter = {f"adapter.{k}": v.contiguous() for k, v in get_peft_model_state_dict(model.causal).items()}
    projector = {f"projector.{k}": v.contiguous() for k, v in model.projector.state_dict().items()}
    save_file({**adapter, **projector}, out / "describer.partial")
    (out / "describer.partial").replace(out / "describer.safetensors")
    moments = {
        f"{name}.{key}": value for name, p in named(model).items() for key, value in optimizer.state.get(p, {}).items()
    }
    save_file(moments, out / "optimizer.partial")
    (out / "optimizer.partial").replace(out / "optimizer.safetensors")
    (out / "state.partial").write_text(json.dumps(state))
    (out / "state.partial").replace(out / "state.json")


def resume(out: Path, model: LanguageModel, optimizer: torch.optim.Optimizer, state: dict[str, Any], base: str) -> None:
    """Go on from the last save."""
    state.update(json.loads((out / "state.json").read_text()))
    if state["base"] != base:
        raise SystemExit(f"{out} holds a run on the base model '{state['base']}', not '{base}'; name another --out.")
    weights = load_file(out / "describer.safetensors")
    set_peft_model_state_dict(model.causal, strip(weights, "adapter."))
    model.projector.load_state_dict(strip(weights, "projector."))
    moments = load_file(out / "optimizer.safetensors")
    for name, p in named(model).items():
        found = strip(moments, f"{name}.")
        if found and p.requires_grad:
            optimizer.state[p] = found


def named(model: LanguageModel) -> dict[str, Any]:
    """Every parameter that may be trained, by name."""
    adapter = {f"adapter.{name}": p for name, p in model.causal.named_parameters() if "lora_" in name}
    return {**adapter, **{f"projector.{name}": p for name, p in model.projector.named_parameters()}}


def strip(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


if __name__ == "__main__":
    main()
