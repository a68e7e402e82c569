"""Contents that no scanner ever gave: pieces of images and photographs, mixed, toned and dressed as some modality.

A score learnt on few contents knows them by heart and judges an unfamiliar one by what it shows. Among these, what an
image shows says nothing and only what was done to it counts (domain randomisation, Tobin et al., IROS 2017). They are
images of nothing: the modality is always told and never to be recognised, and the anatomy is unknown.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from medq_vlm import vocab
from medq_vlm.encoder.preprocess import grey_map, resize
from training.sources import Content, phantom_content

SOURCE = "chimera"
PHOTOGRAPH_SHARE, PHANTOM_SHARE, MIXED_SHARE, BODY_SHARE = 0.3, 0.35, 0.5, 0.5
SMALLEST_PX, FLAT = 240, 0.3  # a picture with more equal neighbours than FLAT is a drawing or a page
PHANTOMS = 14  # of a modality that are drawn before they are used again
HU_LOW, HU_HIGH = (-1000.0, -1000.0, -500.0, -150.0), (150.0, 300.0, 800.0, 1500.0)


def photographs(pictures: list[Path]) -> list[Path]:
    """Those of the not-medical pictures that have grey levels all over."""
    out = []
    for path in pictures:
        with Image.open(path) as picture:
            large = min(picture.size) >= SMALLEST_PX
            grey = np.asarray(picture.convert("L"), np.int16)
        if large and (np.diff(grey, axis=1) == 0).mean() < FLAT:
            out.append(path)
    return out


@dataclass
class Pieces:
    """Where pieces come from: clean contents by modality, photographs, and a few phantoms of each modality."""

    pools: dict[str, list[Content]]
    photographs: list[Path]
    split: str
    kept: dict[tuple[str, int], Content] = field(default_factory=dict)

    def phantom(self, modality: str, rng: np.random.Generator) -> Content:
        """One of PHANTOMS of the modality, always the same ones: they are dear to make."""
        key = modality, int(rng.integers(PHANTOMS))
        if key not in self.kept:
            seeds = np.random.default_rng([zlib.crc32(modality.encode()), key[1]])
            made = phantom_content(modality, int(seeds.integers(1 << 30)))
            while made.split != self.split:
                made = phantom_content(modality, int(seeds.integers(1 << 30)))
            self.kept[key] = made
        return self.kept[key]

    def draw(self, rng: np.random.Generator, colour: bool) -> np.ndarray:
        """A part of any picture, (H, W) or, where `colour` is wanted and there is some, (H, W, 3), 0 to 1."""
        if self.photographs and rng.random() < PHOTOGRAPH_SHARE:
            path = self.photographs[int(rng.integers(len(self.photographs)))]
            image = np.asarray(Image.open(path).convert("RGB"), np.float32) / 255.0
        else:
            modality = str(rng.choice(sorted(self.pools)))
            pool = self.pools[modality]
            real = pool and rng.random() > PHANTOM_SHARE
            content = pool[int(rng.integers(len(pool)))] if real else self.phantom(modality, rng)
            image = np.clip(grey_map(content.sample, 0), 0, 1)
        if image.ndim == 3 and not colour:
            image = image.mean(-1)
        h, w = (int(side * rng.uniform(0.5, 1.0)) for side in image.shape[:2])
        y, x = int(rng.integers(image.shape[0] - h + 1)), int(rng.integers(image.shape[1] - w + 1))
        return image[y : y + h, x : x + w]


def chimera(pieces: Pieces, modality: str, rng: np.random.Generator) -> Content:
    """One content in the units of `modality`, colour where it has colour."""
    colour = modality in vocab.COLOUR
    image = pieces.draw(rng, colour)
    side, aspect = rng.uniform(260, 460), np.sqrt(image.shape[0] / image.shape[1])
    size = max(160, int(side * aspect)), max(160, int(side / aspect))
    image = np.clip(resize(image, size), 0, 1)
    if rng.random() < MIXED_SHARE:
        image = _mix(image, np.clip(resize(pieces.draw(rng, colour), size), 0, 1), rng)
    if image.ndim == 2:
        image = _tone(image, rng)
        image = _tint(image, rng) if colour else _body(image, rng) if rng.random() < BODY_SHARE else image
    like = pieces.phantom(modality, rng).sample
    if modality == "ct":
        low, high = float(rng.choice(HU_LOW)), float(rng.choice(HU_HIGH))
        pixels = low + (high - low) * image
    elif colour or (like.bits is not None and like.bits <= 8):
        pixels = np.round(255.0 * image)
    else:
        pixels = np.round(rng.uniform(500, 4000) * image)
    sample = replace(
        like, pixels=pixels[None].astype(np.float32), valid=None, anatomy=None, window=None, inverted=False
    )
    return Content(sample, SOURCE, f"{SOURCE}/{int(rng.integers(1 << 30))}", pieces.split)


def _mix(one: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two pictures side by side with a border that wanders, sharp or soft."""
    if one.ndim != other.ndim:
        one, other = (v if v.ndim == 3 else np.repeat(v[..., None], 3, -1) for v in (one, other))
    share = _logistic(_blobs(one.shape[:2], rng.uniform(15, 60), rng) * rng.uniform(1, 8))
    share = share[..., None] if one.ndim == 3 else share
    return share * one + (1 - share) * other


def _tone(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another rising curve of grey levels, sometimes turned round."""
    knots, heights = np.sort(rng.random(3)), np.sort(rng.random(3))
    if rng.random() < 0.6:
        image = np.interp(image, [0, *knots, 1], [0, *(knots + heights) / 2, 1])
    return 1 - image if rng.random() < 0.3 else image


def _body(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An outline with nothing around it, as in sections through a body."""
    h, w = image.shape
    rows, columns = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    radius = (columns / rng.uniform(0.6, 0.95)) ** 2 + (rows / rng.uniform(0.6, 0.95)) ** 2
    radius += 0.15 * _blobs((h, w), np.sqrt(h * w) / 8, rng)
    floor = rng.uniform(0.05, 0.3)
    return _logistic((1 - radius) * rng.uniform(20, 80)) * (floor + (1 - floor) * image)


def _tint(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grey levels as three colours from dark to light."""
    colours = rng.random((3, 3)) * [[0.4], [0.8], [0.5]] + [[0.0], [0.1], [0.5]]
    return np.stack([np.interp(image, [0, 0.5, 1], colours[:, channel]) for channel in range(3)], -1)


def _blobs(size: tuple[int, int], sigma: float, rng: np.random.Generator) -> np.ndarray:
    noise = gaussian_filter(rng.standard_normal(size), sigma)
    return noise / noise.std()


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -40, 40)))
