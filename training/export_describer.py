"""Ship the trained language side: half-precision weights, the JSON that explains them and a card made from it.

python -m training.export_describer --to medq_vlm/weights/nano
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path

from safetensors.torch import load_file

from medq_vlm.language import shipped
from medq_vlm.language.base import SMOLLM2

CARD_FILE = "DESCRIBER.md"


def main(argv: list[str] | None = None) -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--run", type=Path, default=Path("runs/describer"))
    parse.add_argument("--to", type=Path, default=Path("medq_vlm/weights/nano"))
    args = parse.parse_args(argv)
    export(args.run, args.to)


def export(run: Path, folder: Path) -> None:
    """Write the last saved state of a run to a preset's folder."""
    weights = load_file(run / "describer.safetensors")
    state = json.loads((run / "state.json").read_text())
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    last = state["history"][-30:]
    meta = {
        "name": folder.name,
        "base": state["base"],
        "base_file_sha256": SMOLLM2.sha256 if state["base"] == shipped.PACKAGED else "",
        **({"base_shape": state["base_shape"]} if "base_shape" in state else {}),  # runs of the first release lack it
        "projector": state["projector"],
        "lora": state["lora"],
        "training": {
            "steps": state["step"],
            "tokens": state["tokens"],
            "hours": round(state["seconds"] / 3600, 2),
            "loss_of_last_steps": round(sum(last) / len(last), 3),
            "data": "conversations made from random records (training/describe_*.py); no image and no patient data",
            "revision": revision.stdout.strip(),
        },
    }
    shipped.save(folder, weights, meta)
    (folder / CARD_FILE).write_text(card(meta))


def card(meta: dict) -> str:  # type: ignore[type-arg]
    """What a stranger needs to know of these weights."""
    done = meta["training"]
    base = "SmolLM2-135M-Instruct (Apache-2.0)" if meta["base"] == shipped.PACKAGED else meta["base"]
    return f"""# MedQ-VLM {meta["name"]} describer

LoRA adapter (rank {meta["lora"]["r"]}) and projector for {base}. Writes the structured findings line, the description
and the answers about the technical quality of a medical image, from the scorer's outputs. Not a medical device: it
makes no diagnosis. Every sentence is checked against the structured result before it is shown.

Trained for {done["steps"]} steps on {done["tokens"]} tokens ({done["hours"]} hours): {done["data"]}.
Mean loss of the last steps: {done["loss_of_last_steps"]}. Licence: Apache-2.0. Measured results and limits: README.md.
"""


if __name__ == "__main__":
    main()
