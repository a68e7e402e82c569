"""Pre-generate small views of whole images for the light of the restorer: exposure and illumination.

    python -m training.restoration_views --data DIR --out runs/restore_views --views 8000

A view is a thumbnail of the degraded image and those of its targets, in the network's range, with the record, as in
`training.restoration_pairs`. Exposure and light are seen in so few pixels, and a thousand views cost what ten pairs do.
What a view holds depends on its number alone; files of FILE_VIEWS views, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medq_vlm import degrade, vocab
from medq_vlm.degrade.sample import intensity_scale
from medq_vlm.phantoms import phantom
from medq_vlm.restore.bands import thumbnail
from medq_vlm.restore.scaling import slice_scale
from medq_vlm.schema import DegradationRecord, ImageSample
from medq_vlm.treated import LIGHT_KINDS, tasks_for
from training.rendering import _resize_native
from training.restoration_pairs import GEOMETRIC, LARGEST_ERROR, as_exports, draw_stack, planes_of, versions
from training.sources import Content, by_modality, real_contents, split_of

FILE_VIEWS = 200
SIDE_PX = 288  # of an image before degrading
PHANTOMS = 30  # of a modality
FIRST_SEED = 5_000_000
PHANTOM_SHARE = 0.3
EXPORT_SHARE = 0.4  # of images with more than eight bits
CLEAN_SHARE, TWO_SHARE, OTHER_SHARE = 0.12, 0.25, 0.15  # OTHER: no kind of light at all
TONE_SHARE = 0.5  # of clean radiographs get another tone: a stranger's grey levels are not those of our subjects
TONED = ("xray", "mammography")
SHIFT_SD, FACTOR_SD = 0.7, 0.35  # of the logit's shift, and of the binary logarithm of its factor
BLACK_UP_TO, WHITE_FROM = 0.1, 0.7  # levels at which black and white may come to lie
MODALITY_WEIGHT = {
    "xray": 3.0, "mammography": 0.6, "fundus": 1.2, "endoscopy": 1.2, "histopathology": 1.2, "dermoscopy": 0.8,
    "oct": 0.8, "ct": 0.2, "mr": 0.3, "pet": 0.2,
}  # fmt: skip


@dataclass(frozen=True)
class Views:
    """N views."""

    degraded: np.ndarray  # (N, 3, T, T) float16
    targets: np.ndarray  # (N, 3, 3, T, T) float16: clean, without the first kind, without the second; zeros: no such
    records: list[dict[str, Any]]  # modality, anatomy, kinds, severities, boxes, source, group, toned

    def __len__(self) -> int:
        return len(self.records)


def toned(sample: ImageSample, rng: np.random.Generator) -> ImageSample:
    """A radiograph on another monotone curve: grey levels stay in order, their histogram does not tell the subject."""
    if sample.modality not in TONED or rng.random() > TONE_SHARE:
        return sample
    scale = intensity_scale(sample)
    level = (sample.pixels - scale.black) / (scale.white - scale.black)
    inside = np.clip(level, 1e-3, 1 - 1e-3)
    bent = 2 ** rng.normal(0, FACTOR_SD) * np.log(inside / (1 - inside)) + rng.normal(0, SHIFT_SD)
    black, white = BLACK_UP_TO * rng.random() ** 2, 1 - (1 - WHITE_FROM) * rng.random() ** 2
    level = black + (white - black) / (1 + np.exp(-bent)) + (level - inside)
    pixels = (scale.black + level * (scale.white - scale.black)).astype(np.float32)
    stored = np.array_equal(sample.pixels, np.round(sample.pixels))
    return replace(sample, pixels=np.round(pixels) if stored else pixels)


def draw_records(sample: ImageSample, rng: np.random.Generator) -> list[DegradationRecord]:
    """Nothing, one kind of light, a kind of light with another kind, or another kind alone."""
    modality = str(sample.modality)
    light = [kind for kind in tasks_for(modality) if kind in LIGHT_KINDS]
    others = [
        kind for kind in vocab.kinds_for(modality)
        if kind not in (*light, *GEOMETRIC) and sample.colour | (kind != "colour_cast")
    ]  # fmt: skip
    chance = rng.random()
    if chance < CLEAN_SHARE:
        return []
    if chance < CLEAN_SHARE + OTHER_SHARE or not light:
        kinds = [str(rng.choice(others))]
    else:
        kinds = [str(rng.choice(light))]
        if chance < CLEAN_SHARE + OTHER_SHARE + TWO_SHARE:
            kinds.append(str(rng.choice(others)))
    size = (int(sample.pixels.shape[1]), int(sample.pixels.shape[2]))
    return [
        degrade.draw(kind, modality, float(rng.uniform(0.7, 4.0)), int(rng.integers(1 << 31)), size) for kind in kinds
    ]


def make_view(content: Content, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, dict[str, Any]] | None:
    """Degraded (3, T, T), targets (3, 3, T, T) and record; None for what became a blank image."""
    own = _small(draw_stack(content, rng))
    sample = toned(own, rng)
    records = draw_records(sample, rng)
    made = versions(sample, records)
    eight = sample.colour or (sample.bits is not None and sample.bits <= 8)
    if not eight and rng.random() < EXPORT_SHARE:
        made = as_exports(made, rng)
    scale = slice_scale(made[0], 0)
    small = torch.stack([thumbnail(torch.from_numpy(planes_of(one, scale))[None])[0] for one in made]).numpy()
    if np.abs(small[0] - small[1]).mean() > LARGEST_ERROR:
        return None
    targets = np.zeros((3, *small.shape[1:]), np.float32)
    targets[: len(made) - 1] = small[1:]
    record = {
        "modality": sample.modality, "anatomy": sample.anatomy, "kinds": [r.kind for r in records],
        "severities": [r.severity for r in records], "boxes": [None for _ in records], "source": content.source,
        "group": content.group, "toned": sample is not own,
    }  # fmt: skip
    return small[0].astype(np.float16), targets.astype(np.float16), record


def _small(sample: ImageSample) -> ImageSample:
    """One slice with its longer side at most SIDE_PX."""
    pixels = sample.pixels[sample.slices // 2]
    factor = SIDE_PX / max(pixels.shape[:2])
    if factor < 1:
        pixels = _resize_native(pixels, (round(pixels.shape[0] * factor), round(pixels.shape[1] * factor)))
    return replace(sample, pixels=np.ascontiguousarray(pixels[None], np.float32))


@cache
def phantom_of(modality: str, number: int, split: str) -> Content:
    """One of PHANTOMS procedural contents of a split, drawn once: drawing costs more than making five views of it."""
    groups = ((seed, f"phantom/{modality}/{seed}") for seed in count(FIRST_SEED))
    of_split = ((seed, group) for seed, group in groups if split_of("phantom", group) == split)
    seed, group = next(islice(of_split, number, None))
    return Content(phantom(modality, seed, SIDE_PX), "phantom", group, split)


def draw_content(
    pools: dict[str, list[Content]], rng: np.random.Generator, split: str, names: Sequence[str] = tuple(MODALITY_WEIGHT)
) -> Content:
    """One of the modalities by weight, then a source or the phantoms, then one of its images."""
    weights = np.array([MODALITY_WEIGHT[name] for name in names])
    modality = str(rng.choice(list(names), p=weights / weights.sum()))
    sources = sorted({content.source for content in pools[modality]})
    if not sources or rng.random() <= PHANTOM_SHARE:
        return phantom_of(modality, int(rng.integers(PHANTOMS)), split)
    source = str(rng.choice(sources))
    members = [content for content in pools[modality] if content.source == source]
    return members[int(rng.integers(len(members)))]


def write_file(
    path: Path, first: int, views: int, pools: dict[str, list[Content]], split: str, modalities: Sequence[str]
) -> None:
    """`views` views from number `first` on as one file."""
    made = []
    for number in range(first, first + views):
        rng = np.random.default_rng([number, zlib.crc32(f"views/{split}".encode())])
        view = None
        while view is None:
            view = make_view(draw_content(pools, rng, split, modalities), rng)
        made.append(view)
    partial = path.with_suffix(".partial.npz")
    degraded, targets, records = zip(*made, strict=True)
    np.savez(partial, degraded=np.stack(degraded), targets=np.stack(targets), records=np.array(json.dumps(records)))
    partial.rename(path)


def load_views(folder: Path, split: str) -> Views:
    """All views of a split. Raises FileNotFoundError when there are none."""
    paths = sorted(path for path in folder.glob(f"{split}_*.npz") if "partial" not in path.name)
    if not paths:
        raise FileNotFoundError(f"no {split} views in {folder}: python -m training.restoration_views makes them")
    degraded, targets, records = [], [], []
    for path in paths:
        with np.load(path, allow_pickle=False) as file:
            degraded.append(file["degraded"])
            targets.append(file["targets"])
            records.extend(json.loads(str(file["records"])))
    return Views(np.concatenate(degraded), np.concatenate(targets), records)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="folders with manifest.csv; none: phantoms")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=("train", "validation"), default="train")
    parser.add_argument("--views", type=int, default=8000)
    parser.add_argument("--modalities", nargs="+", choices=tuple(MODALITY_WEIGHT), default=tuple(MODALITY_WEIGHT))
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--step", type=int, default=1, help="every n-th file: one process per core")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    pools = by_modality([one for folder in args.data for one in real_contents(folder, (args.split,))])
    for number in range(args.first, -(-args.views // FILE_VIEWS), args.step):
        path = args.out / f"{args.split}_{number:04d}.npz"
        if not path.exists():
            views = min(FILE_VIEWS, args.views - number * FILE_VIEWS)
            write_file(path, number * FILE_VIEWS, views, pools, args.split, args.modalities)
            print(path.name, flush=True)


if __name__ == "__main__":
    main()
