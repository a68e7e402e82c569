"""The pictures that the gate learns from: medical images, clean and degraded, and everything else users may drop.

Whether a picture is medical must not be told by how it was stored: both kinds are cropped, reduced, blurred, made
noisy, grey or inverted, framed and compressed.
"""

from __future__ import annotations

import io as memory
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from eval.splits import split_of
from medq_vlm import degrade, vocab
from medq_vlm.degrade.sample import apply_record
from medq_vlm.encoder.preprocess import resize
from medq_vlm.phantoms import NOT_MEDICAL_KINDS, not_medical
from medq_vlm.schema import ImageSample
from training.rendering import as_picture, render_after, render_before
from training.sources import Content, not_medical_pictures, phantom_content, real_contents
from training.synthesize import quad_recipes

PLAIN, RENDERED, DEGRADED = "plain", "rendered", "degraded"
MOST_OF_A_GROUP = 12  # contents of one subject: its slices are nearly one picture
PHANTOMS, DRAWN = 36, 40  # of each modality, of each procedural kind that is not medical
FEWER_DRAWN = {"blank": 10, "white_noise": 20, "checkerboard": 15, "gradient": 15, "stripes": 20}
LARGEST_AREA = 900.0**2  # of a foreign picture; the scorer sees 448 squared
SMALLEST_CROP_PX = 110


@dataclass(frozen=True)
class Job:
    """One picture to make; the same number and job make the same pixels."""

    number: int
    source: str
    group: str
    split: str
    medical: bool
    version: str  # PLAIN, RENDERED or DEGRADED; of a foreign picture PLAIN or RENDERED
    what: Content | Path | tuple[str, int]  # a clean slice, a file, or what is drawn with its seed


def all_jobs(data: list[Path], foreign: Path | None, splits: tuple[str, ...], seed: int = 0) -> list[Job]:
    """Every job in a shuffled order, so that the first n are a fair sample of all."""
    found = [*_medical(data, splits), *_foreign(foreign, splits)]
    order = np.random.default_rng(seed).permutation(len(found))
    return [replace(found[k], number=number) for number, k in enumerate(order)]


def _medical(data: list[Path], splits: tuple[str, ...]) -> Iterator[Job]:
    groups: dict[tuple[str, str, str], list[Content]] = {}
    for folder in data:
        for content in real_contents(folder, splits):
            groups.setdefault((content.source, content.group, content.split), []).append(content)
    for (source, group, split), members in sorted(groups.items()):
        for k in sorted({round(v) for v in np.linspace(0, len(members) - 1, min(len(members), MOST_OF_A_GROUP))}):
            for version in (PLAIN, DEGRADED, DEGRADED if k % 2 else RENDERED):
                yield Job(0, source, group, split, True, version, members[k])
    for modality in vocab.MODALITIES if "train" in splits else ():
        yield from phantom_jobs(modality, PHANTOMS, 500_000)


def phantom_jobs(modality: str, count: int, first: int) -> list[Job]:
    """Phantoms with the seeds from `first` on, numbered by them."""
    jobs = []
    for seed in range(count):
        group = f"phantom/{modality}/{first + seed}"
        version = (PLAIN, DEGRADED, RENDERED, DEGRADED)[seed % 4]
        jobs.append(
            Job(first + seed, "phantom", group, split_of("phantom", group), True, version, (modality, first + seed))
        )
    return jobs


def _foreign(folder: Path | None, splits: tuple[str, ...]) -> Iterator[Job]:
    for split in ("train", "validation"):
        for path in not_medical_pictures(folder, split) if folder and split in splits else ():
            for version in (PLAIN, RENDERED, RENDERED) if split == "validation" else (PLAIN, RENDERED):
                yield Job(0, "pictures", f"not_medical/{path.name}", split, False, version, path)
    for kind in NOT_MEDICAL_KINDS if "train" in splits else ():
        for seed in range(FEWER_DRAWN.get(kind, DRAWN)):
            group = f"drawn/{kind}/{seed}"
            version = PLAIN if seed % 3 == 0 else RENDERED
            yield Job(0, f"drawn {kind}", group, split_of("drawn", group), False, version, (kind, 700_000 + seed))


def make(job: Job) -> ImageSample:
    """The sample of a job as a file reader would give it; foreign ones have no modality."""
    rng = np.random.default_rng([job.number, len(job.group), int(job.medical)])
    if isinstance(job.what, Content):
        return _medical_version(job.what.sample, job.version, rng)
    if job.medical and isinstance(job.what, tuple):
        return _medical_version(phantom_content(*job.what).sample, job.version, rng)
    if isinstance(job.what, Path):
        pixels = np.asarray(Image.open(job.what).convert("RGB"), np.float32)
        if np.ptp(pixels, axis=-1).max() == 0:
            pixels = pixels[..., 0]
    else:
        pixels = not_medical(*job.what).astype(np.float32)
    if job.version == RENDERED:
        pixels = rendered(pixels, rng)
    return ImageSample(np.ascontiguousarray(_reduced(pixels))[None], bits=8)


def _medical_version(sample: ImageSample, version: str, rng: np.random.Generator) -> ImageSample:
    if version == PLAIN:
        return sample
    base = render_before(sample, rng)
    if version == DEGRADED:
        for kind, severity, seed in quad_recipes(base, rng)[int(rng.integers(1, 4))]:
            assert base.modality is not None
            base = apply_record(base, degrade.draw(kind, base.modality, severity, seed, base.pixels.shape[1:3]))
    return render_after(as_picture(base, int(rng.integers(1 << 31))), rng)


def _reduced(pixels: np.ndarray) -> np.ndarray:
    h, w = pixels.shape[:2]
    factor = float(np.sqrt(LARGEST_AREA / (h * w)))
    return pixels if factor >= 1 else _resized(pixels, factor)


def _resized(pixels: np.ndarray, factor: float) -> np.ndarray:
    h, w = (max(64, round(side * factor)) for side in pixels.shape[:2])
    return np.round(np.clip(resize(pixels / 255.0, (h, w)), 0, 1) * 255.0).astype(np.float32)


def rendered(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another look at a foreign picture (H, W[, 3]) of 0 to 255: what crops, cameras, scanners and exports do."""
    pixels = _crop(pixels, rng)
    if rng.random() < 0.5:
        pixels = _resized(pixels, float(rng.uniform(0.4, 1.0)))
    if pixels.ndim == 3 and rng.random() < 0.5:
        pixels = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
        pixels = 255.0 - pixels if rng.random() < 0.15 else pixels
    if rng.random() < 0.4:
        turns = int(rng.integers(4))
        pixels = np.rot90(pixels, turns)[:, :: -1 if rng.random() < 0.5 else 1]
    tone = np.clip(pixels / 255.0, 0, 1) ** rng.uniform(0.6, 1.6)
    if rng.random() < 0.25:
        tone = rng.uniform(0, 0.3) + rng.uniform(0.3, 0.9) * tone
    if rng.random() < 0.3:
        sigma = rng.uniform(0.5, 3.0)
        tone = gaussian_filter(tone, (sigma, sigma, 0) if tone.ndim == 3 else sigma)
    if rng.random() < 0.2:
        tone = tone + rng.normal(0, rng.uniform(0.01, 0.12), tone.shape)
    if rng.random() < 0.12:  # the dark frame of an endoscope, a microscope or a film
        tone = _framed(tone, rng)
    out = np.round(np.clip(tone, 0, 1) * 255.0)
    return _compressed(out, int(rng.integers(15, 80))) if rng.random() < 0.25 else out.astype(np.float32)


def _crop(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A part of any size: a close-up of a photograph is a texture."""
    h, w = pixels.shape[:2]
    share = rng.uniform(0.15, 1.0) if rng.random() < 0.7 else 1.0
    ch, cw = (min(side, max(SMALLEST_CROP_PX, int(side * share * rng.uniform(0.8, 1.0)))) for side in (h, w))
    y, x = int(rng.integers(0, h - ch + 1)), int(rng.integers(0, w - cw + 1))
    return pixels[y : y + ch, x : x + cw]


def _framed(tone: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    h, w = tone.shape[:2]
    y, x = np.ogrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    inside = np.hypot(x, y) < rng.uniform(0.8, 1.1)
    if rng.random() < 0.5:
        inside = (np.abs(x) < rng.uniform(0.6, 0.95)) & (np.abs(y) < rng.uniform(0.6, 0.95))
    return tone * (inside[..., None] if tone.ndim == 3 else inside)


def _compressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    buffer = memory.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer), np.float32)
