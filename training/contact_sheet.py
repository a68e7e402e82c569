"""A picture of every kind at severity 0 to 4, to look at.

python -m training.contact_sheet -o docs/severity_contact_sheet.png             # phantoms, pydicom's examples
python -m training.contact_sheet --data FOLDER_WITH_MANIFEST -o sheet.png       # real images
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from medq_vlm import degrade, io, vocab
from medq_vlm.io.examples import example
from training.clean_images import clean_images, contract_tensor

EXAMPLES = {"ct": "J2K_pixelrep_mismatch.dcm", "mr": "examples_overlay.dcm"}
CT_WINDOW = (-160.0, 400.0)  # black and range, HU
# A kind is shown on the first of these that it occurs in, so that the sheet has every modality.
SHOWN_ON = {
    "noise": "mr", "blur": "xray", "motion_blur": "histopathology", "low_resolution": "ct",
    "low_contrast": "mammography", "compression": "dermoscopy", "clipping": "pet", "dropout": "ultrasound",
    "defocus": "fundus",
    "uneven_illumination": "endoscopy", "haze": "oct", "bubble": "endoscopy", "dark_spot": "fundus",
    "occlusion": "dermoscopy", "colour_cast": "histopathology",
}  # fmt: skip
LABEL_PX, GAP_PX = 15, 3


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder with manifest.csv; without it: phantoms and pydicom's files")
    parser.add_argument("--kinds", nargs="*", choices=vocab.KIND_NAMES, default=list(vocab.KIND_NAMES))
    parser.add_argument("--modality", choices=vocab.MODALITIES, help="show every kind of this modality only")
    parser.add_argument("--tile", type=int, default=104, help="side of one picture in pixels")
    parser.add_argument("--columns", type=int, default=3, help="kinds side by side")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args(argv)
    pairs = [(kind, args.modality or shown_on(kind)) for kind in args.kinds]
    pairs = [(kind, modality) for kind, modality in pairs if modality in vocab.KIND[kind].modalities]
    images = sources(args.data, sorted({modality for _, modality in pairs}), args.tile)
    strips = [strip(images[modality], kind, modality, args.seed) for kind, modality in pairs]
    args.output.parent.mkdir(parents=True, exist_ok=True)
    # 256 colours: half the bytes, and no difference to the eye at this size.
    sheet(strips, args.columns).quantize(256, dither=Image.Dither.NONE).save(args.output, optimize=True)


def shown_on(kind: str) -> str:
    """The modality the sheet shows `kind` on."""
    return SHOWN_ON.get(kind, vocab.KIND[kind].modalities[0])


def sources(folder: Path | None, modalities: Sequence[str], side: int) -> dict[str, torch.Tensor]:
    """Per modality one image (1, C, side, side) under the intensity contract."""
    images = {m: found[1] for m, found in clean_images(folder, modalities, 3, side).items()}
    if folder is None:
        for modality in set(EXAMPLES) & set(modalities):
            sample = replace(io.read(example(EXAMPLES[modality]))[0], modality=modality)
            images[modality] = contract_tensor(sample, side)
    return {modality: _square(image, side) for modality, image in images.items()}


def _square(image: torch.Tensor, side: int) -> torch.Tensor:
    """The middle (side, side) of (1, C, H, W)."""
    top, left = (image.shape[-2] - side) // 2, (image.shape[-1] - side) // 2
    return image[..., top : top + side, left : left + side]


def strip(image: torch.Tensor, kind: str, modality: str, seed: int) -> Image.Image:
    """One labelled row: severity 0, 1, 2, 3, 4 of `kind` with the same nuisance."""
    side = image.shape[-1]
    out = Image.new("RGB", (5 * (side + GAP_PX), side + LABEL_PX + GAP_PX), "white")
    pen = ImageDraw.Draw(out)
    pen.text((1, 1), f"{kind}  ({modality})   severity 0 1 2 3 4", fill="black", font=ImageFont.load_default(11))
    nuisance = seed + zlib.crc32(kind.encode())  # each kind its own variant, the same in every run
    for severity in range(5):
        record = degrade.draw(kind, modality, severity, nuisance, (side, side))
        out.paste(picture(degrade.apply(image, record), modality), (severity * (side + GAP_PX), LABEL_PX))
    return out


def picture(image: torch.Tensor, modality: str) -> Image.Image:
    """(1, C, H, W) as a reader sees it: CT in a soft-tissue window, the rest from black to the robust maximum."""
    shown = (image - CT_WINDOW[0]) / CT_WINDOW[1] if modality == "ct" else image
    eight = (shown[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(eight if eight.shape[-1] == 3 else np.repeat(eight, 3, axis=-1))


def sheet(strips: Sequence[Image.Image], columns: int) -> Image.Image:
    """Strips in `columns` columns, read downwards."""
    rows = -(-len(strips) // columns)
    width, height = strips[0].size
    out = Image.new("RGB", (columns * (width + 3 * GAP_PX), rows * height), "white")
    for index, one in enumerate(strips):
        out.paste(one, ((index // rows) * (width + 3 * GAP_PX), (index % rows) * height))
    return out


if __name__ == "__main__":
    main()
