"""Pre-generate degraded and clean versions of images for the restorer.

    python -m training.restoration_pairs --data DIR --out runs/restore_pairs --pairs 2500

A pair is one file: a crop of the degraded image in the network's range (three neighbouring slices where there are
any), the clean crop, for two degradations also what is left when only one of them is taken away, what optics proposes
against defocus, a small view of the whole degraded image, and the record. Faint spots are put into many clean images: a
lesion is no noise. Whole images are degraded and cropped after it. What a pair holds depends on its
number alone, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eval.detectability import lesion_signal
from eval.lesions import tissue_places
from medq_vlm import degrade, vocab
from medq_vlm.degrade.sample import apply_record, intensity_scale
from medq_vlm.phantoms import VOLUME_MODALITIES, phantom_volume
from medq_vlm.restore.bands import thumbnail
from medq_vlm.restore.guidance import from_findings
from medq_vlm.restore.proposal import propose
from medq_vlm.restore.scaling import Scale, slice_scale
from medq_vlm.schema import DegradationRecord, ImageSample
from medq_vlm.treated import tasks_for
from training.rendering import STAINED, WINDOWS_HU, _resize_native, _stain, _warp
from training.sources import Content, by_modality, phantom_content, real_contents

CROP_PX = 288
LARGEST_PX = 512  # of a side before degrading: larger images are cut, and half of them reduced first
LARGEST_ERROR = 2.5  # mean change in the network's range; more is a blank image
CLEAN_SHARE, TWO_SHARE, OTHER_SHARE = 0.08, 0.25, 0.35  # OTHER: second kinds that the restorer leaves alone
PHANTOM_SHARE = 0.45
STACK_SHARE = {"ct": 0.2, "mr": 0.6, "pet": 0.5}  # of the phantoms that come with their neighbours
PICTURE_SHARE = 0.15  # eight-bit exports of what has more bits
MODALITY_WEIGHT = {
    "ct": 3.0, "mr": 3.4, "pet": 1.2, "xray": 1.6, "mammography": 0.2, "fundus": 1.0, "endoscopy": 1.0,
    "histopathology": 1.0, "dermoscopy": 0.3, "oct": 0.3,
}  # fmt: skip
GENERIC_WEIGHT = 0.3  # of noise and blur beside the kinds of the modality
SPOT_SHARE = 0.6  # of grey images get faint spots
SPOT_HU, SPOT = (6.0, 40.0), (0.02, 0.12)  # their height in HU, or as a share of the range
SPOT_RADIUS_PX, SPOT_SPACING = (2.5, 9.0), (4.0, 12.0)  # spacing in radii of `eval.lesions`
SEVERITY_ERROR = 0.4  # SD of the severity that a proposal is made for
GEOMETRIC = ("rotation", "collimation", "wraparound", "clipping", "dropout", "occlusion")  # never a second kind


@dataclass(frozen=True)
class Pair:
    """One training example in the network's range."""

    planes: np.ndarray  # (P, h, w) float16: degraded; P = 3 for colour and for neighbours, 1 otherwise
    targets: np.ndarray  # (T, C, h, w) float16: clean, then without the first kind, then without the second
    whole: np.ndarray  # (3, THUMBNAIL_PX, THUMBNAIL_PX) float16: the whole degraded image
    record: dict[str, Any]  # modality, anatomy, colour, kinds, severities, boxes, crop, scale, source, group
    proposal: np.ndarray | None = None  # like planes, `restore.proposal` for what it can treat


def draw_stack(content: Content, rng: np.random.Generator) -> ImageSample:
    """The clean sample of one or three slices under one geometry, sides at most LARGEST_PX."""
    sample = content.sample
    stack = sample.pixels[0] if sample.colour or sample.slices == 1 else sample.pixels.transpose(1, 2, 0)  # H W (C)
    if min(stack.shape[:2]) > 1.2 * LARGEST_PX and rng.random() < 0.6:
        factor = rng.uniform(LARGEST_PX / min(stack.shape[:2]), 1.0)
        stack = _resize_native(stack, (round(stack.shape[0] * factor), round(stack.shape[1] * factor)))
    height, width = (min(side, LARGEST_PX) for side in stack.shape[:2])
    y, x = (int(rng.integers(0, have - want + 1)) for have, want in zip(stack.shape, (height, width), strict=False))
    stack = stack[y : y + height, x : x + width].astype(np.float32)
    if rng.random() < 0.3:
        stack = _warp(stack, rng)
    if sample.colour and sample.modality in STAINED and rng.random() < 0.5:
        stack = _stain(stack, rng)
    if rng.random() < 0.5:
        stack = stack[:, ::-1]
    stack = np.ascontiguousarray(stack, np.float32)
    pixels = stack[None] if sample.colour or stack.ndim == 2 else np.ascontiguousarray(stack.transpose(2, 0, 1))
    return replace(sample, pixels=pixels, valid=None)


def spotted(sample: ImageSample, rng: np.random.Generator) -> ImageSample:
    """Faint round spots in tissue, all brighter or all darker, through all slices."""
    scale = intensity_scale(sample)
    low, high = SPOT_HU if sample.unit == "HU" else SPOT
    height = rng.uniform(low, high) * (scale.white - scale.black) * rng.choice([-1, 1])
    places = tissue_places(sample, rng.uniform(*SPOT_SPACING), int(rng.integers(1 << 31)))
    places = places[torch.from_numpy(rng.random(len(places)) < rng.uniform(0.2, 1.0))]
    if not len(places):
        return sample
    size = (int(sample.pixels.shape[1]), int(sample.pixels.shape[2]))
    pixels = sample.pixels + height * lesion_signal(size, places, rng.uniform(*SPOT_RADIUS_PX))[0].numpy()
    top = 255.0 if sample.bits is not None and sample.bits <= 8 else np.inf
    return replace(sample, pixels=np.clip(pixels, min(0.0, float(sample.pixels.min())), top).astype(np.float32))


def draw_records(sample: ImageSample, rng: np.random.Generator, kinds: Sequence[str] = ()) -> list[DegradationRecord]:
    """No degradation, one, or two, the first of them one of the restorer's tasks, or of those in `kinds`."""
    modality = str(sample.modality)
    chance = rng.random()
    if chance < CLEAN_SHARE:
        return []
    tasks = tasks_for(modality)
    first = [kind for kind in tasks if not kinds or kind in kinds]
    weights = np.array([GENERIC_WEIGHT if kind in ("noise", "blur") and not kinds else 1.0 for kind in first])
    drawn = [str(rng.choice(first, p=weights / weights.sum()))]
    if chance < CLEAN_SHARE + TWO_SHARE:
        others = [
            k
            for k in vocab.kinds_for(modality)
            if k not in (*tasks, *GEOMETRIC) and sample.colour | (k != "colour_cast")
        ]
        pool = others if rng.random() < OTHER_SHARE else [k for k in tasks if k not in drawn]
        drawn.append(str(rng.choice(pool)))
        if rng.random() < 0.5 and not set(drawn) & set(others):
            drawn.reverse()
    top = 4.0 if len(drawn) == 1 else 3.0
    return [
        degrade.draw(kind, modality, float(rng.uniform(0.8, top)), int(rng.integers(1 << 31)), sample.pixels.shape[1:3])
        for kind in drawn
    ]


def versions(sample: ImageSample, records: list[DegradationRecord]) -> list[ImageSample]:
    """Degraded, clean; for two kinds also the image without the first and without the second."""
    degraded = sample
    for record in records:
        degraded = apply_record(degraded, record)
    out = [degraded, sample]
    if len(records) == 2:
        out += [apply_record(sample, records[1]), apply_record(sample, records[0])]
    return out


def as_exports(made: list[ImageSample], rng: np.random.Generator) -> list[ImageSample]:
    """All versions through one display window into eight bits."""
    clean = made[1]
    if clean.unit == "HU":
        centre, width = WINDOWS_HU[int(rng.integers(len(WINDOWS_HU)))]
        low, high = centre - width / 2, centre + width / 2
    else:
        low, high = (float(v) for v in np.percentile(clean.pixels, (0.1, 99.8)))
        low = min(low, 0.0)
    span = max(high - low, 1e-6)
    return [
        replace(
            s, pixels=np.round(np.clip((s.pixels - low) / span, 0, 1) * 255).astype(np.float32), unit="value", bits=8
        )
        for s in made
    ]


def planes_of(sample: ImageSample, scale: Scale) -> np.ndarray:
    """(P, H, W) in the network's range: RGB, or the slices."""
    pixels = sample.pixels[0].transpose(2, 0, 1) if sample.colour else sample.pixels
    return scale.to_network(pixels)


def crop_corner(change: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Of three random crops the one with most variance of (H, W): not the empty corner of the picture."""
    h, w = size
    corners = [
        (int(rng.integers(0, change.shape[0] - h + 1)), int(rng.integers(0, change.shape[1] - w + 1))) for _ in range(3)
    ]
    return max(corners, key=lambda at: float(change[at[0] : at[0] + h, at[1] : at[1] + w].std()))


def make_pair(content: Content, rng: np.random.Generator, kinds: Sequence[str] = ()) -> Pair:
    sample = draw_stack(content, rng)
    if not sample.colour and rng.random() < SPOT_SHARE:
        sample = spotted(sample, rng)
    records = draw_records(sample, rng, kinds)
    made = versions(sample, records)
    eight = sample.colour or (sample.bits is not None and sample.bits <= 8)
    if not eight and rng.random() < PICTURE_SHARE:
        made = as_exports(made, rng)
    degraded = made[0]
    centre = degraded.slices // 2
    scale = slice_scale(degraded, centre)
    planes = planes_of(degraded, scale)
    middle = slice(None) if sample.colour else slice(centre, centre + 1)
    targets = np.stack([planes_of(other, scale)[middle] for other in made[1:]])  # T C H W
    height, width = planes.shape[1:]
    h, w = min(CROP_PX, height), min(CROP_PX, width)
    y, x = crop_corner(targets[0].mean(0), (h, w), rng)
    window = (..., slice(y, y + h), slice(x, x + w))
    boxes = [r.box and [r.box[0] / width, r.box[1] / height, r.box[2] / width, r.box[3] / height] for r in records]
    record = {
        "modality": sample.modality, "anatomy": sample.anatomy, "colour": sample.colour,
        "kinds": [r.kind for r in records], "severities": [r.severity for r in records], "boxes": boxes,
        "crop": [x / width, y / height, (x + w) / width, (y + h) / height], "unit": degraded.unit,
        "scale": asdict(scale), "source": content.source, "group": content.group,
    }  # fmt: skip
    shown = torch.from_numpy(planes if sample.colour else planes[centre : centre + 1])
    told = {r.kind: float(np.clip(r.severity + rng.normal(0, SEVERITY_ERROR), 0.5, 4.0)) for r in records}
    proposal = propose(torch.from_numpy(planes), from_findings(told, sample.modality))
    return Pair(
        planes[window].astype(np.float16), targets[window].astype(np.float16),
        thumbnail(shown[None])[0].numpy().astype(np.float16), record,
        None if proposal is None else proposal.numpy()[window].astype(np.float16),
    )  # fmt: skip


def draw_content(
    pools: dict[str, list[Content]], rng: np.random.Generator, split: str, names: Sequence[str] = tuple(MODALITY_WEIGHT)
) -> Content:
    """One of the modalities by weight, then a subject and one of its slices, or a phantom."""
    weights = np.array([MODALITY_WEIGHT[n] for n in names])
    modality = str(rng.choice(list(names), p=weights / weights.sum()))
    pool = pools.get(modality, [])
    if pool and rng.random() > PHANTOM_SHARE:
        groups = sorted({content.group for content in pool})
        counts = np.sqrt([sum(c.group == g for c in pool) for g in groups])
        group = groups[int(rng.choice(len(groups), p=counts / counts.sum()))]
        members = [content for content in pool if content.group == group]
        return members[int(rng.integers(len(members)))]
    while True:
        seed = int(rng.integers(1 << 30))
        content = phantom_content(modality, seed)
        if content.split == split:
            break
    if modality in VOLUME_MODALITIES and rng.random() < STACK_SHARE[modality]:
        content = replace(content, sample=phantom_volume(modality, seed, 3))
    return content


def save_pair(path: Path, pair: Pair) -> None:
    partial = path.with_suffix(".partial.npz")
    arrays = {"planes": pair.planes, "targets": pair.targets, "whole": pair.whole}
    if pair.proposal is not None:
        arrays["proposal"] = pair.proposal
    np.savez(partial, allow_pickle=False, record=np.array(json.dumps(pair.record)), **arrays)
    partial.rename(path)


def load_pair(path: Path) -> Pair:
    with np.load(path, allow_pickle=False) as file:
        proposal = file.get("proposal")
        return Pair(file["planes"], file["targets"], file["whole"], json.loads(str(file["record"])), proposal)


def pair_paths(folder: Path, split: str) -> list[Path]:
    return sorted(path for path in folder.glob(f"{split}_*.npz") if "partial" not in path.name)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with manifest.csv; left out: phantoms alone")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=("train", "validation"), default="train")
    parser.add_argument("--pairs", type=int, default=2500)
    parser.add_argument("--modalities", nargs="+", choices=tuple(MODALITY_WEIGHT), default=tuple(MODALITY_WEIGHT))
    parser.add_argument("--kinds", nargs="+", default=(), help="first kinds alone, for tasks that have too few pairs")
    parser.add_argument("--first", type=int, default=0, help="number of the first pair")
    parser.add_argument("--step", type=int, default=1, help="every n-th pair: one process per core")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    pools = by_modality(real_contents(args.data, (args.split,), around=1) if args.data else [])
    for number in range(args.first, args.pairs, args.step):
        path = args.out / f"{args.split}_{number:05d}.npz"
        if not path.exists():
            rng = np.random.default_rng([number, zlib.crc32(f"restore/{args.split}".encode())])
            while True:
                pair = make_pair(draw_content(pools, rng, args.split, args.modalities), rng, args.kinds)
                middle = pair.planes if pair.record["colour"] else pair.planes[len(pair.planes) // 2]
                if np.abs(middle.astype(np.float32) - pair.targets[0]).mean() < LARGEST_ERROR:
                    break
            save_pair(path, pair)
            if number % 50 < args.step:
                print(path.name, flush=True)


if __name__ == "__main__":
    main()
