"""Variety that must not change the label: crops, flips, windows, bit depth, borders, burned-in marks, resampling."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from medq_vlm.encoder.preprocess import grey_map, resize
from medq_vlm.evidence.noise import noise_sd
from medq_vlm.restore.variation import smoothed
from medq_vlm.schema import ImageSample

MAX_AREA = 460.0**2  # larger contents are reduced before they are degraded; the scorer sees about 448 squared
PICTURE_SHARE = 0.45  # share of non-colour contents turned into an eight-bit picture without units
BARE_SHARE = 0.35  # of the CT slices kept in native units: numbers of HU in a file that does not say so
CALM_SHARE = {"ct": 0.5, "mr": 0.25, "xray": 0.25, "pet": 0.25}  # of the contents whose own noise is taken away
TURNED_SHARE = 0.3  # of the versions, stored on their side or upside down: no fault of the image
STAINED = ("histopathology", "endoscopy", "dermoscopy")
WINDOWS_HU = ((40, 400), (40, 80), (-600, 1500), (50, 350), (300, 1500), (60, 250), (0, 1000), (-300, 1400))


def render_before(sample: ImageSample, rng: np.random.Generator) -> ImageSample:
    """Geometry of a clean slice, drawn once per quad."""
    pixels = sample.pixels[0]
    pixels = _crop(pixels, rng)
    pixels = _shrink(pixels, rng)
    if rng.random() < 0.35:
        pixels = _warp(pixels, rng)
    if rng.random() < 0.5:
        pixels = _optics(pixels, rng)
    if rng.random() < CALM_SHARE.get(sample.modality or "", 0.0):
        pixels = _calm(pixels, rng)
    if rng.random() < 0.4:
        pixels = _floor(pixels, rng)
    if sample.colour and sample.modality in STAINED and rng.random() < 0.6:
        pixels = _stain(pixels, rng)
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    turns_freely = sample.modality in ("histopathology", "endoscopy", "dermoscopy", "fundus")
    if turns_freely and rng.random() < 0.5:
        pixels = np.rot90(pixels, int(rng.integers(1, 4)))
    return replace(sample, pixels=np.ascontiguousarray(pixels)[None].astype(np.float32), valid=None)


def _warp(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smooth deformation of a few per cent: another anatomy, the same quality."""
    h, w = pixels.shape[:2]
    low = torch.from_numpy(rng.normal(0, 0.05, (1, 2, 4, 4)).astype(np.float32))
    shift = F.interpolate(low, (h, w), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)  # 1 h w 2
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    grid = torch.stack([columns, rows], -1)[None] * 0.94 + shift
    channels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    image = torch.from_numpy(np.ascontiguousarray(channels, np.float32))[None]
    out = F.grid_sample(image, grid, mode="bicubic", padding_mode="border", align_corners=True)[0].numpy()
    out = np.clip(out, pixels.min(), pixels.max())  # bicubic overshoot
    return out[0] if pixels.ndim == 2 else out.transpose(1, 2, 0)


def _optics(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A little softer or crisper: sources differ in optics, kernels and edge enhancement, and all are called good."""
    sigma = rng.uniform(0.5, 1.2)
    axes = (sigma, sigma, 0) if pixels.ndim == 3 else sigma
    detail = pixels - gaussian_filter(pixels, axes)
    out = pixels + rng.uniform(-0.5, 0.6) * detail
    return np.clip(out, pixels.min(), pixels.max())


def _calm(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Less of an image's own noise, as of thicker slices or a higher dose: a calm image is no smeared one."""
    grey = pixels if pixels.ndim == 2 else pixels.mean(-1)  # a radiograph may be stored in colour
    inside = grey > np.percentile(grey, 5)
    sd = noise_sd(grey, inside if inside.any() else np.ones(grey.shape, bool))
    if not sd > 0:
        return pixels
    weight, share = rng.uniform(0.6, 1.2), rng.uniform(0.5, 1.0)
    channels = pixels[..., None] if pixels.ndim == 2 else pixels
    flat = np.stack([smoothed(one / sd, weight) * sd for one in np.moveaxis(channels, -1, 0)], -1).reshape(pixels.shape)
    return pixels + share * (flat - pixels)


def _floor(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A fine grain of up to 1.2 % of the range, as every receiver has; nothing where an image is empty."""
    low, high = np.percentile(pixels, (1, 99))
    grain = rng.normal(0, 1, pixels.shape).astype(np.float32)
    coarse = rng.uniform(0, 1.0)
    axes = (coarse, coarse, 0) if pixels.ndim == 3 else coarse
    grain = gaussian_filter(grain, axes)
    grain *= rng.uniform(0.002, 0.012) * (high - low) / max(float(grain.std()), 1e-6)
    return np.where(pixels > low, np.clip(pixels + grain, pixels.min(), pixels.max()), pixels)


def _stain(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another stain, tissue or lamp: a mild mixing matrix on optical densities, (H, W, 3) of 0 to 255."""
    density = -np.log((np.clip(pixels, 0, 255) + 4.0) / 259.0)
    mix = np.eye(3) + rng.normal(0, 0.12, (3, 3))
    density = np.clip(density @ mix * rng.uniform(0.6, 1.3), 0, None)
    return np.clip(259.0 * np.exp(-density) - 4.0, 0, 255)


def _crop(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.4:
        return pixels
    h, w = pixels.shape[:2]
    least = 0.72 if min(h, w) < 256 or rng.random() < 0.7 else 0.45  # a part of the body at a closer look
    ch, cw = int(h * rng.uniform(least, 1.0)), int(w * rng.uniform(least, 1.0))
    y, x = int(rng.integers(0, h - ch + 1)), int(rng.integers(0, w - cw + 1))
    return pixels[y : y + ch, x : x + cw]


def _shrink(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Reduce large contents; sometimes a little more, as sources differ in sampling."""
    h, w = pixels.shape[:2]
    factor = min(1.0, float(np.sqrt(MAX_AREA / (h * w))))
    if h * w * factor**2 > 300**2 and rng.random() < 0.4:
        factor *= rng.uniform(0.75, 1.0)
    if factor > 0.98:
        return pixels
    return _resize_native(pixels, (max(32, round(h * factor)), max(32, round(w * factor))))


def _resize_native(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    low, high = float(pixels.min()), float(pixels.max())
    scale = max(high - low, 1e-6)
    return resize((pixels - low) / scale, size) * scale + low


def as_picture(sample: ImageSample, seed: int) -> ImageSample:
    """What an export gives: eight bits, a display window for CT, gamma; the same `seed` gives the same display.

    Images that came with eight bits and some of the others; the rest keep native units.
    """
    rng = np.random.default_rng(seed)
    eight = sample.colour or (sample.bits is not None and sample.bits <= 8)
    if not eight and rng.random() > PICTURE_SHARE:
        bare = sample.unit == "HU" and rng.random() < BARE_SHARE
        return replace(sample, unit="value", window=None) if bare else sample
    if sample.unit == "HU":
        middle, span = WINDOWS_HU[int(rng.integers(len(WINDOWS_HU)))]
        centre, width = middle + rng.uniform(-0.1, 0.1) * span, span * rng.uniform(0.8, 1.3)
        grey = np.clip((sample.pixels[0] - centre) / width + 0.5, 0, 1)
    else:
        grey = np.clip(grey_map(sample, 0), 0, 1)
    grey = grey ** rng.uniform(0.8, 1.25)
    if sample.modality in ("xray", "mr") and rng.random() < 0.3:
        low, high = np.percentile(grey, (1, 99))
        grey = np.clip((grey - low) / max(high - low, 1e-3), 0, 1)
    pixels = np.round(grey * 255.0)
    return replace(sample, pixels=pixels[None].astype(np.float32), unit="value", bits=8, inverted=False, window=None)


def render_after(sample: ImageSample, rng: np.random.Generator) -> ImageSample:
    """What happens to an image after it was acquired: marks, borders, resampling, turns; drawn per version."""
    pixels = sample.pixels[0]
    if rng.random() < 0.12:
        pixels = _mark(pixels, rng)
    if rng.random() < 0.25:
        h, w = pixels.shape[:2]
        factor = rng.uniform(0.95, 1.9)
        pixels = _resize_native(pixels, (round(h * factor), round(w * factor)))
    if rng.random() < 0.15:
        h, w = pixels.shape[:2]
        pads = [(int(rng.integers(0, h // 5 + 1)), int(rng.integers(0, h // 5 + 1))),
                (int(rng.integers(0, w // 5 + 1)), int(rng.integers(0, w // 5 + 1)))]  # fmt: skip
        level = float(pixels.min())
        pixels = np.pad(pixels, pads + [(0, 0)] * (pixels.ndim - 2), constant_values=level)
    if rng.random() < TURNED_SHARE:
        pixels = np.rot90(pixels[:, ::-1] if rng.random() < 0.5 else pixels, int(rng.integers(1, 4)))
    return replace(sample, pixels=np.ascontiguousarray(pixels)[None].astype(np.float32), valid=None)


def render_foreign(path: Path, rng: np.random.Generator) -> ImageSample:
    """A not-medical picture, cropped and often grey, as eight bits without a modality."""
    picture = Image.open(path).convert("RGB")
    pixels = _crop(np.asarray(picture, np.float32), rng)
    if rng.random() < 0.5:
        pixels = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
        pixels = 255.0 - pixels if rng.random() < 0.2 else pixels
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    pixels = 255.0 * (np.clip(pixels, 0, 255) / 255.0) ** rng.uniform(0.7, 1.4)
    return ImageSample(np.ascontiguousarray(np.round(pixels), np.float32)[None], bits=8)


def _mark(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A burned-in side marker, scale bar, calliper or contour."""
    h, w = pixels.shape[:2]
    canvas = Image.new("L", (w, h), 0)
    draw = ImageDraw.Draw(canvas)
    x, y = int(rng.integers(2, max(3, w - 40))), int(rng.integers(2, max(3, h - 20)))
    choice = int(rng.integers(4))
    if choice == 0:
        text = str(rng.choice(["L", "R", "PORTABLE", "120 kV", "5 cm", "A", "S: 4.1", "ERECT"]))
        draw.text((x, y), text, fill=255, font_size=int(rng.integers(10, 26)))
    elif choice == 1:
        draw.line((x, y, x, min(h - 1, y + h // 4)), fill=255)
        for k in range(5):
            draw.line((x - 3, y + k * h // 20, x + 3, y + k * h // 20), fill=255)
    elif choice == 2:
        for _ in range(2):
            cx, cy = int(rng.integers(8, w - 8)), int(rng.integers(8, h - 8))
            draw.line((cx - 5, cy, cx + 5, cy), fill=255)
            draw.line((cx, cy - 5, cx, cy + 5), fill=255)
    else:
        rx, ry = int(rng.integers(8, max(9, w // 5))), int(rng.integers(8, max(9, h // 5)))
        draw.ellipse((x, y, x + 2 * rx, y + 2 * ry), outline=255)
    ink = (
        np.asarray(canvas, np.float32)[..., None] / 255.0
        if pixels.ndim == 3
        else np.asarray(canvas, np.float32) / 255.0
    )
    return pixels * (1 - ink) + float(pixels.max()) * ink
