"""A clean picture on the screen of a machine: text, a grey bar, a scale and a row of buttons around it."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LEFT = ("CITY HOSPITAL", "L12-5 MSK", "FR 28 Hz", "Depth 4.0")
RIGHT = ("MI 0.9", "TIS 0.4", "2D", "Gn 61", "C 5/3/4")
BUTTONS = ("Gen", "Sector", "MB Off", "On", "Page 1/3")
STYLES = ("black surround", "and writing", "and bar, scale, buttons")


def on_screen(picture: np.ndarray, style: int) -> np.ndarray:
    """(H, W[, 3]) of 0 to 255 on a larger black (h, w, 3) float32; `style` counts STYLES."""
    colour = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, -1)
    height, width = colour.shape[:2]
    h, w = int(height * 1.35), int(width * 1.45)
    top, left = int(h * 0.15), int(w * 0.13)
    screen = np.zeros((h, w, 3), np.uint8)
    screen[top : top + height, left : left + width] = np.clip(colour, 0, 255)
    if style >= 2:
        bar = np.linspace(255, 0, h // 4).astype(np.uint8)
        screen[h // 5 : h // 5 + len(bar), w - w // 8 : w - w // 8 + w // 50] = bar[:, None, None]
        for tick in range(8):
            row = top + tick * height // 8
            screen[row, left + width + 6 : left + width + 12] = 255
        screen[-(h // 18) :] = (25, 35, 60)
    image = Image.fromarray(screen)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=max(9, h // 36))
    if style >= 1:
        for line, text in enumerate(LEFT):
            draw.text((6, 4 + line * h // 28), text, fill=(230, 230, 230), font=font)
        for line, text in enumerate(RIGHT):
            draw.text((w - w // 10, h // 6 + line * h // 20), text, fill=(200, 210, 230), font=font)
    if style >= 2:
        for place, text in enumerate(BUTTONS):
            draw.text((w // 12 + place * w // 6, h - h // 20), text, fill=(150, 170, 200), font=font)
    return np.asarray(image).astype(np.float32)
