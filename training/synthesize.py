"""Pre-generate degraded versions of clean images.

    python -m training.synthesize --data DIR --out runs/shards --shards 200

A shard holds quads: four versions of one content under one rendering, so that a ranking loss can compare them. Half
the quads are ladders (one kind, rising severity), half are mixtures (clean, one kind, another, two or three
together). What a shard holds depends on its number alone, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medq_vlm import vocab
from medq_vlm.config import ViewConfig
from medq_vlm.degrade.sample import degrade_sample
from medq_vlm.encoder.preprocess import canonical, resize
from medq_vlm.evidence.statistics import features
from medq_vlm.phantoms import not_medical
from medq_vlm.schema import ImageSample
from training.rendering import as_picture, render_after, render_before
from training.sources import Content, by_modality, phantom_content, real_contents

QUADS_PER_SHARD = 16
VERSIONS = 4
NOT_MEDICAL_SHARE = 0.05
PHANTOM_SHARE = 0.35
MODALITY_WEIGHT = {
    "ct": 2.6, "mr": 2.6, "xray": 1.6, "ultrasound": 1.3, "pet": 0.9, "fundus": 1.1, "endoscopy": 1.0,
    "histopathology": 1.1, "mammography": 0.5, "oct": 0.5, "dermoscopy": 0.5,
}  # fmt: skip
NOT_MEDICAL_KINDS = (
    "blank", "white_noise", "coloured_noise", "text_page", "photo_like", "screenshot", "checkerboard", "gradient",
    "stripes",
)  # fmt: skip
LABELS = (
    "shape", "statistics", "severities", "quality", "medical", "modality", "anatomy", "header", "group", "source",
    "quad",
)  # fmt: skip
# uint16 fixed point keeps 1 / 32768 of the range; value = code / 32768 - 0.5
CODE_SCALE, CODE_OFFSET = 32768.0, 0.5


@dataclass(frozen=True)
class Version:
    """One version: the sample as a file reader would give it and its labels."""

    sample: ImageSample
    severities: np.ndarray  # (K,)
    medical: bool


def quality(severities: np.ndarray) -> float:
    """Calibrated quality 0 to 4 of a set of severities: losses multiply."""
    return float(4.0 * np.prod(1.0 - np.clip(severities, 0, 4) / 4.0))


def degrade_all(sample: ImageSample, kinds: list[tuple[str, float, int]]) -> tuple[ImageSample, np.ndarray]:
    """Apply (kind, severity, seed) one after the other; returns the image and the severities (K,)."""
    labels = np.zeros(len(vocab.KIND_NAMES), np.float32)
    for kind, severity, seed in kinds:
        if severity > 0:
            sample, _ = degrade_sample(sample, kind, severity, seed)
            labels[vocab.KIND_NAMES.index(kind)] = severity
    return sample, labels


def quad_recipes(modality: str, rng: np.random.Generator) -> list[list[tuple[str, float, int]]]:
    """The degradations of a quad's four versions."""
    kinds = vocab.kinds_for(modality)

    def pick(count: int) -> list[str]:
        return [str(k) for k in rng.choice(kinds, count, replace=False)]

    def one(kind: str, low: float = 0.5, high: float = 4.0) -> tuple[str, float, int]:
        return kind, float(rng.uniform(low, high)), int(rng.integers(1 << 31))

    if rng.random() < 0.5:
        kind, seed = pick(1)[0], int(rng.integers(1 << 31))
        steps = np.sort(rng.uniform(0.5, 4.0, 3))
        return [[], *[[(kind, float(s), seed)] for s in steps]]
    several = 3 if rng.random() < 0.25 else 2
    return [[], [one(pick(1)[0])], [one(pick(1)[0])], [one(k, 0.5, 3.0) for k in pick(several)]]


def make_quad(content: Content, rng: np.random.Generator) -> list[Version]:
    """Four versions of one content; geometry and display are shared, marks and resampling are each version's own."""
    assert content.sample.modality is not None
    base = render_before(content.sample, rng)
    display = int(rng.integers(1 << 31))
    out = []
    for recipe in quad_recipes(content.sample.modality, rng):
        degraded, labels = degrade_all(base, recipe)
        out.append(Version(render_after(as_picture(degraded, display), rng), labels, True))
    return out


def make_foreign(rng: np.random.Generator) -> list[Version]:
    """Four pictures that no assessment should be given for."""
    none = np.zeros(len(vocab.KIND_NAMES), np.float32)
    out = []
    for _ in range(VERSIONS):
        kind = str(rng.choice(NOT_MEDICAL_KINDS, p=_foreign_weights()))
        pixels = np.asarray(not_medical(kind, int(rng.integers(1 << 31))), np.float32)
        out.append(Version(ImageSample(pixels[None], bits=8), none, False))
    return out


def _foreign_weights() -> np.ndarray:
    weights = np.array(
        [3.0 if kind in ("photo_like", "screenshot", "text_page") else 1.0 for kind in NOT_MEDICAL_KINDS]
    )
    return weights / weights.sum()


def draw_content(pools: dict[str, list[Content]], rng: np.random.Generator, split: str) -> Content:
    """A modality by weight, then a real image or a phantom."""
    names = list(MODALITY_WEIGHT)
    weights = np.array([MODALITY_WEIGHT[n] for n in names])
    modality = str(rng.choice(names, p=weights / weights.sum()))
    pool = pools[modality]
    if pool and rng.random() > PHANTOM_SHARE:
        groups = sorted({c.group for c in pool})
        group = groups[int(rng.integers(len(groups)))] if len(groups) > 3 else None
        members = [c for c in pool if group is None or c.group == group]
        return members[int(rng.integers(len(members)))]
    while True:
        content = phantom_content(modality, int(rng.integers(1 << 30)))
        if content.split == split:
            return content


def write_shard(path: Path, seed: int, pools: dict[str, list[Content]], split: str, view: ViewConfig) -> None:
    """Make QUADS_PER_SHARD quads and write planes and labels beside each other: labels .npz, pixels .npy."""
    rng = np.random.default_rng([seed, zlib.crc32(split.encode())])
    rows: dict[str, list] = {name: [] for name in LABELS}
    planes, wholes = [], []
    for quad in range(QUADS_PER_SHARD):
        foreign = rng.random() < NOT_MEDICAL_SHARE
        content = None if foreign else draw_content(pools, rng, split)
        versions = make_foreign(rng) if content is None else make_quad(content, rng)
        for version in versions:
            view_of = canonical(version.sample, 0, view)
            planes.append(encode(view_of.plane))
            wholes.append(encode(resize(view_of.plane, (view.global_px, view.global_px))))
            rows["shape"].append([*view_of.plane.shape[:2], 3 if view_of.plane.ndim == 3 else 1])
            rows["statistics"].append(features(view_of.plane, view_of.mask))
            rows["severities"].append(version.severities)
            rows["quality"].append(quality(version.severities) if version.medical else 0.0)
            rows["medical"].append(version.medical)
            known = content.sample if content is not None else version.sample
            rows["modality"].append(vocab.MODALITIES.index(known.modality) if known.modality else -1)
            rows["anatomy"].append(vocab.ANATOMIES.index(known.anatomy) if known.anatomy else -1)
            rows["header"].append(version.sample.unit == "HU")
            rows["group"].append(content.group if content is not None else f"foreign/{seed}/{quad}")
            rows["source"].append(content.source if content is not None else "foreign")
            rows["quad"].append(seed * 1000 + quad)
    np.save(path.with_suffix(".planes.npy"), np.concatenate([p.ravel() for p in planes]))
    np.save(path.with_suffix(".wholes.npy"), np.concatenate([p.ravel() for p in wholes]))
    partial = path.with_suffix(".partial.npz")  # the labels go last: a shard with labels is whole
    np.savez(partial, allow_pickle=False, **{name: np.array(values) for name, values in rows.items()})
    partial.rename(path)


def encode(plane: np.ndarray) -> np.ndarray:
    """Plane -> uint16 fixed point."""
    return np.clip((plane + CODE_OFFSET) * CODE_SCALE, 0, 65535).astype(np.uint16)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with manifest.csv; left out: phantoms alone")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=("train", "validation"), default="train")
    parser.add_argument("--shards", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="number of the first shard")
    parser.add_argument("--step", type=int, default=1, help="every n-th shard: one process per core")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    pools = by_modality(real_contents(args.data, (args.split,)) if args.data else [])
    for number in range(args.first, args.shards, args.step):
        path = args.out / f"{args.split}_{number:05d}.npz"
        if not path.exists():
            write_shard(path, number, pools, args.split, ViewConfig())
            print(path.name, flush=True)


if __name__ == "__main__":
    main()
