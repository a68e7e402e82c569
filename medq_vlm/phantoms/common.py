"""What every modality shares: the canvas sides, fine acquisition noise, overlays, the finished sample."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from medq_vlm.phantoms.chance import Chance
from medq_vlm.schema import ImageSample


def sides(chance: Chance, size: int, widest: float = 1.3, tallest: float = 1.3) -> tuple[int, int]:
    """(H, W) near `size`: a random aspect between 1 : widest and tallest : 1, often square."""
    if chance.toss(0.35):
        return size, size
    ratio = float(np.exp(float(np.asarray(chance.plan.uniform(-np.log(tallest), np.log(widest))))))
    return max(16, round(size / np.sqrt(ratio))), max(16, round(size * np.sqrt(ratio)))


def sample(
    pixels: np.ndarray, modality: str, anatomy: str | None, fields: dict[str, str | float], sentence: str,
    spacing_mm: tuple[float | None, float | None, float | None] = (None, None, None), unit: str = "value",
    view: str | None = None, window: tuple[float, float] | None = None, inverted: bool = False, bits: int = 8,
) -> ImageSample:  # fmt: skip
    """An ImageSample of one slice: (H, W) or (H, W, 3) -> float32 (1, H, W) or (1, H, W, 3)."""
    return ImageSample(
        pixels=np.ascontiguousarray(pixels[None], np.float32), unit=unit, modality=modality, anatomy=anatomy,
        view=view, spacing_mm=spacing_mm, acquisition=sentence, acquisition_fields=fields, window=window,
        inverted=inverted, bits=bits,
    )  # fmt: skip


@lru_cache(maxsize=8)
def font(height_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=height_px)


def text_cover(shape: tuple[int, int], items: list[tuple[float, float, str]], height_px: int) -> np.ndarray:
    """(H, W) coverage 0 to 1 of words at (x, y) as fractions of the sides."""
    page = Image.new("L", (shape[1], shape[0]))
    pen = ImageDraw.Draw(page)
    for x, y, words in items:
        pen.text((x * shape[1], y * shape[0]), words, fill=255, font=font(height_px))
    return np.asarray(page, np.float32) / 255.0


def camera(chance: Chance, rgb: np.ndarray, blur_px: float, noise: float) -> np.ndarray:
    """8-bit picture of a clean linear-looking (H, W, 3) 0 to 1 scene: lens and demosaic blur, light sensor noise."""
    seen = gaussian_filter(rgb, (blur_px, blur_px, 0))
    grain = gaussian_filter(chance.noise.standard_normal(seen.shape, np.float32), (0.5, 0.5, 0)) * 1.8
    return np.clip(np.round((seen + noise * np.sqrt(np.clip(seen, 0.02, 1)) * grain) * 255), 0, 255)


def stored(pixels: np.ndarray, quality: int) -> np.ndarray:
    """(H, W, 3) of 0 to 255 as a JPEG file of good `quality` (85 and more) gives it back."""
    file = BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), np.float32)
