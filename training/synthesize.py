"""Pre-generate degraded versions of clean images.

    python -m training.synthesize --data DIR --not-medical DIR --out runs/shards --shards 200
    python -m training.synthesize --data DIR --not-medical DIR --out runs/chimeras --shards 100 --chimeras 1

A shard holds quads: four versions of one content under one rendering, so that a ranking loss can compare them. Half
the quads are ladders (one kind, rising severity), half are mixtures (clean, one kind, another, two or three
together). Not severities but strengths and measured losses are kept: eval/severity.py makes labels of them, and
training/calibrate_severity.py the severity table. What a shard holds depends on its number alone, so an interrupted
run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from eval.fidelity import sample_loss
from medq_vlm import degrade, vocab
from medq_vlm.config import ViewConfig
from medq_vlm.degrade.sample import apply_record
from medq_vlm.encoder.preprocess import canonical, resize
from medq_vlm.evidence.statistics import features
from medq_vlm.phantoms import not_medical
from medq_vlm.schema import ImageSample
from training.chimera import Pieces, chimera, photographs
from training.rendering import as_picture, render_after, render_before, render_foreign
from training.sources import Content, by_modality, not_medical_pictures, phantom_content, real_contents
from training.task_loss import task_loss

QUADS_PER_SHARD = 16
VERSIONS = 4
NOT_MEDICAL_SHARE = 0.05
PHANTOM_SHARE = 0.4
TASK_SHARE = 0.08  # of the single-kind versions: the lesion measure costs a second degradation
LEAST_SEVERITY = 0.6  # by the present table; fainter is hardly visible
REAL_FOREIGN_SHARE = 0.75  # of the not-medical pictures, where there is a folder of them
MODALITY_WEIGHT = {
    "ct": 2.6, "mr": 2.6, "xray": 1.6, "ultrasound": 1.3, "pet": 0.9, "fundus": 1.1, "endoscopy": 1.0,
    "histopathology": 1.1, "mammography": 0.5, "oct": 0.5, "dermoscopy": 0.5,
}  # fmt: skip
# Kinds that the scorer finds least, by average precision on validation: drawn more often.
HARD = {
    kind: 2.5 for kind in ("ghosting", "wraparound", "undersampling", "beam_hardening", "shadow", "collimation",
                           "colour_cast", "gibbs_ringing", "limited_angle")
}  # fmt: skip
NEEDS_COLOUR = "colour_cast"  # the one kind a grey picture of a colour modality cannot show
NOT_MEDICAL_KINDS = (
    "blank", "white_noise", "coloured_noise", "text_page", "photo_like", "screenshot", "checkerboard", "gradient",
    "stripes",
)  # fmt: skip
LABELS = (
    "shape", "statistics", "strengths", "losses", "task_loss", "medical", "modality", "anatomy", "header", "group",
    "source", "quad",
)  # fmt: skip
# uint16 fixed point keeps 1 / 32768 of the range; value = code / 32768 - 0.5
CODE_SCALE, CODE_OFFSET = 32768.0, 0.5


@dataclass(frozen=True)
class Version:
    """One version: the sample as a file reader would give it and what was done to it."""

    sample: ImageSample
    strengths: np.ndarray  # (K,) strength 0 to 1 of each kind
    losses: np.ndarray  # (K,) pixel loss of each kind against the image it was applied to
    task_loss: float  # loss of lesion detectability; NaN where it was not measured
    medical: bool


Recipe = list[tuple[str, float, int]]  # (kind, severity by the present table, seed)


def degrade_all(sample: ImageSample, recipe: Recipe, rng: np.random.Generator) -> Version:
    """Apply the recipe one after the other and measure what each step takes."""
    strengths, losses = _no_kinds(), _no_kinds()
    task = float("nan")
    for kind, severity, seed in recipe:
        assert sample.modality is not None
        record = degrade.draw(kind, sample.modality, severity, seed, sample.pixels.shape[1:3])
        degraded = apply_record(sample, record)
        k = vocab.KIND_NAMES.index(kind)
        strengths[k], losses[k] = record.strength, sample_loss(sample, degraded, kind)
        if len(recipe) == 1 and rng.random() < TASK_SHARE:
            task = task_loss(sample, degraded, record)
        sample = degraded
    return Version(sample, strengths, losses, task, True)


def _no_kinds() -> np.ndarray:
    return np.zeros(len(vocab.KIND_NAMES), np.float32)


def quad_recipes(sample: ImageSample, rng: np.random.Generator) -> list[Recipe]:
    """The degradations of a quad's four versions."""
    assert sample.modality is not None
    kinds = [k for k in vocab.kinds_for(sample.modality) if sample.colour or k != NEEDS_COLOUR]

    often = np.array([HARD.get(kind, 1.0) for kind in kinds])

    def pick(count: int) -> list[str]:
        return [str(k) for k in rng.choice(kinds, count, replace=False, p=often / often.sum())]

    def one(kind: str, low: float = LEAST_SEVERITY, high: float = 4.0) -> tuple[str, float, int]:
        return kind, float(rng.uniform(low, high)), int(rng.integers(1 << 31))

    if rng.random() < 0.5:
        kind, seed = pick(1)[0], int(rng.integers(1 << 31))
        steps = np.sort(rng.uniform(LEAST_SEVERITY, 4.0, 3))
        return [[], *[[(kind, float(s), seed)] for s in steps]]
    several = 3 if rng.random() < 0.25 else 2
    return [[], [one(pick(1)[0])], [one(pick(1)[0])], [one(k, LEAST_SEVERITY, 3.0) for k in pick(several)]]


def make_quad(content: Content, rng: np.random.Generator) -> list[Version]:
    """Four versions of one content; geometry and display are shared, marks and resampling are each version's own."""
    base = render_before(content.sample, rng)
    display = int(rng.integers(1 << 31))
    out = []
    for recipe in quad_recipes(base, rng):
        made = degrade_all(base, recipe, rng)
        out.append(replace(made, sample=render_after(as_picture(made.sample, display), rng)))
    return out


def make_foreign(rng: np.random.Generator, pictures: list[Path]) -> list[Version]:
    """Four pictures that no assessment should be given for: files of `pictures` and procedural ones."""
    out = []
    for _ in range(VERSIONS):
        if pictures and rng.random() < REAL_FOREIGN_SHARE:
            drawn = render_foreign(pictures[int(rng.integers(len(pictures)))], rng)
            out.append(Version(drawn, _no_kinds(), _no_kinds(), float("nan"), False))
            continue
        kind = str(rng.choice(NOT_MEDICAL_KINDS, p=_foreign_weights()))
        pixels = np.asarray(not_medical(kind, int(rng.integers(1 << 31))), np.float32)
        out.append(Version(ImageSample(pixels[None], bits=8), _no_kinds(), _no_kinds(), float("nan"), False))
    return out


def _foreign_weights() -> np.ndarray:
    weights = np.array(
        [3.0 if kind in ("photo_like", "screenshot", "text_page") else 1.0 for kind in NOT_MEDICAL_KINDS]
    )
    return weights / weights.sum()


def draw_content(pools: dict[str, list[Content]], rng: np.random.Generator, split: str) -> Content:
    """A modality by weight, then a real image or a phantom."""
    modality = _draw_modality(rng)
    pool = pools[modality]
    if pool and rng.random() > PHANTOM_SHARE:
        return _draw_real(pool, rng)
    while True:
        content = phantom_content(modality, int(rng.integers(1 << 30)))
        if content.split == split:
            return content


def _draw_modality(rng: np.random.Generator) -> str:
    weights = np.array(list(MODALITY_WEIGHT.values()))
    return str(rng.choice(list(MODALITY_WEIGHT), p=weights / weights.sum()))


def _draw_real(pool: list[Content], rng: np.random.Generator) -> Content:
    """A subject by the root of its number of slices, then a slice.

    Even subjects starve a subject of many slices, even slices all the others.
    """
    groups: dict[str, list[Content]] = {}
    for content in pool:
        groups.setdefault(content.group, []).append(content)
    names = sorted(groups)
    weights = np.sqrt([len(groups[n]) for n in names])
    members = groups[names[int(rng.choice(len(names), p=weights / weights.sum()))]]
    return members[int(rng.integers(len(members)))]


def write_shard(
    path: Path, seed: int, pools: dict[str, list[Content]], pictures: list[Path], split: str, view: ViewConfig,
    pieces: Pieces | None = None, chimeras: float = 0.0,
) -> None:  # fmt: skip
    """Make QUADS_PER_SHARD quads and write planes and labels beside each other: labels .npz, pixels .npy.

    With `pieces`, a share `chimeras` of the contents is put together from them.
    """
    rng = np.random.default_rng([seed, zlib.crc32(split.encode())])
    rows: dict[str, list] = {name: [] for name in LABELS}
    planes, wholes = [], []
    for quad in range(QUADS_PER_SHARD):
        foreign = rng.random() < NOT_MEDICAL_SHARE
        content = None
        if not foreign and pieces is not None and rng.random() < chimeras:
            content = chimera(pieces, _draw_modality(rng), rng)
        elif not foreign:
            content = draw_content(pools, rng, split)
        versions = make_foreign(rng, pictures) if content is None else make_quad(content, rng)
        for version in versions:
            view_of = canonical(version.sample, 0, view)
            planes.append(encode(view_of.plane))
            wholes.append(encode(resize(view_of.plane, (view.global_px, view.global_px))))
            rows["shape"].append([*view_of.plane.shape[:2], 3 if view_of.plane.ndim == 3 else 1])
            rows["statistics"].append(features(view_of.plane, view_of.mask))
            rows["strengths"].append(version.strengths)
            rows["losses"].append(version.losses)
            rows["task_loss"].append(version.task_loss)
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
    parser.add_argument(
        "--data", type=Path, nargs="+", default=[], help="folders with a manifest.csv each; left out: phantoms alone"
    )
    parser.add_argument("--not-medical", type=Path, help="folder of photographs, pages and screenshots")
    parser.add_argument(
        "--chimeras", type=float, default=0.0, help="share of contents put together from pieces (training/chimera.py)"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=("train", "validation"), default="train")
    parser.add_argument("--shards", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="number of the first shard")
    parser.add_argument("--step", type=int, default=1, help="every n-th shard: one process per core")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    pools = by_modality([content for folder in args.data for content in real_contents(folder, (args.split,))])
    pictures = not_medical_pictures(args.not_medical, args.split) if args.not_medical else []
    pieces = Pieces(pools, photographs(pictures), args.split) if args.chimeras else None
    for number in range(args.first, args.shards, args.step):
        path = args.out / f"{args.split}_{number:05d}.npz"
        if not path.exists():
            write_shard(path, number, pools, pictures, args.split, ViewConfig(), pieces, args.chimeras)
            print(path.name, flush=True)


if __name__ == "__main__":
    main()
