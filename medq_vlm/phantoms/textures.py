"""Surfaces and things in close-up that are no medical image: stones, bricks, grass, coins, cloth, wood, large print."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from medq_vlm.phantoms.chance import Chance
from medq_vlm.phantoms.common import font
from medq_vlm.phantoms.shapes import Grid, blend, fractal, lobes, smooth_field

Shape = tuple[int, int]


def lit(c: Chance, tone: np.ndarray) -> np.ndarray:
    """Tone (H, W) of 0 to 1 -> uint8 grey or tinted (H, W, 3) under uneven light, as a camera stores it."""
    shape = tone.shape
    light = 1 + c.between(0.0, 0.25) * smooth_field(c, (shape[0], shape[1]), c.between(0.7, 2.0) * max(shape))
    grain = c.between(0.0, 0.02) * c.noise.standard_normal(shape)
    seen = gaussian_filter(tone * light, c.between(0.2, 1.0)) + grain
    if c.toss(0.55):
        return np.clip(seen * 255, 0, 255).astype(np.uint8)
    tint = c.plan.uniform(0.65, 1.1, 3)
    return np.clip(seen[..., None] * tint * 255, 0, 255).astype(np.uint8)


def _grain(c: Chance, shape: Shape) -> np.ndarray:
    return fractal(c, shape, c.between(0.5, 1.3), c.between(8, 60))


def gravel(c: Chance, shape: Shape) -> np.ndarray:
    """Stones side by side, each of its own tone and slope, dark in the gaps."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    size = c.choose((6.0, 12.0, 20.0, 35.0, 60.0)) * c.between(0.8, 1.3)
    bend = 0.25 * size
    x, y = x + bend * smooth_field(c, shape, 2 * size), y + bend * smooth_field(c, shape, 2 * size)
    count = max(8, int(1.4 * shape[0] * shape[1] / size**2))
    points = c.plan.uniform(-size, np.array(shape) + size, (count, 2))
    near, which = cKDTree(points).query(np.stack([y, x], -1), k=2)
    gap = np.clip((near[..., 1] - near[..., 0]) / (c.between(0.1, 0.5) * size), 0, 1)
    tones = c.plan.uniform(c.between(0.15, 0.5), c.between(0.55, 1.0), count)
    slopes = c.plan.normal(0, c.between(0.1, 0.5), (count, 2))
    stone = which[..., 0]
    tilt = (slopes[stone, 0] * (y - points[stone, 0]) + slopes[stone, 1] * (x - points[stone, 1])) / size
    tone = tones[stone] * (1 + np.clip(tilt, -0.6, 0.6)) * (1 + c.between(0.05, 0.25) * _grain(c, shape))
    return lit(c, np.clip(tone, 0, 1.1) * (c.between(0.05, 0.6) + (1 - 0.4) * gap))


def bricks(c: Chance, shape: Shape) -> np.ndarray:
    """A wall of bricks, tiles or paving, rows shifted, joints lighter or darker."""
    g = Grid(c, shape, 0.0)
    turn = c.between(-0.15, 0.15) if c.toss(0.5) else 0.0
    u, v = g.x * np.cos(turn) + g.y * np.sin(turn), g.y * np.cos(turn) - g.x * np.sin(turn)
    wobble = c.between(0.0, 0.01)
    u, v = u + wobble * smooth_field(c, shape, 30), v + wobble * smooth_field(c, shape, 30)
    high = c.between(0.06, 0.5)
    wide, joint = high * c.between(1.0, 3.2), c.between(0.03, 0.18) * high
    row = np.floor(v / high)
    along = u / wide + row * c.choose((0.0, 0.5, 0.5, 0.33))
    in_u, in_v = (along % 1.0) * wide, v % high
    edge = np.minimum(np.minimum(in_u, wide - in_u), np.minimum(in_v, high - in_v))
    table = c.plan.uniform(c.between(0.2, 0.5), c.between(0.5, 0.95), (64, 64))
    face = table[(row % 64).astype(int), (np.floor(along) % 64).astype(int)]
    mortar = c.between(0.1, 0.95)
    inside = np.clip((edge - joint / 2) / max(joint / 3, g.px), 0, 1)
    return lit(c, (mortar + (face - mortar) * inside) * (1 + c.between(0.04, 0.2) * _grain(c, shape)))


def grass(c: Chance, shape: Shape) -> np.ndarray:
    """Blades, hairs, straw or needles over each other, from a lawn to a coat."""
    page = Image.new("L", (shape[1], shape[0]), c.integer(10, 60))
    pen = ImageDraw.Draw(page)
    length, spread, lean = c.between(8, 90), c.between(0.1, 1.4), c.between(0, np.pi)
    count = int(min(6000, 6 * shape[0] * shape[1] / length / 4))
    xs, ys = c.plan.uniform(-20, shape[1] + 20, count), c.plan.uniform(-20, shape[0] + 20, count)
    turns, long = c.plan.normal(lean, spread, count), length * c.plan.uniform(0.5, 1.5, count)
    bends, tones = c.plan.normal(0, 0.35, count), c.plan.uniform(30, c.between(140, 255), count)
    width = c.integer(1, 3)
    for x, y, turn, reach, bend, tone in zip(xs, ys, turns, long, bends, tones, strict=True):
        middle = (x + 0.5 * reach * np.cos(turn), y + 0.5 * reach * np.sin(turn))
        tip = (middle[0] + 0.5 * reach * np.cos(turn + bend), middle[1] + 0.5 * reach * np.sin(turn + bend))
        pen.line([(x, y), middle, tip], fill=int(tone), width=width)
    return lit(c, np.asarray(page, np.float32) / 255)


def coins(c: Chance, shape: Shape) -> np.ndarray:
    """Round things with rims and reliefs on a table: coins, buttons, nuts, sweets, pills."""
    g = Grid(c, shape, 0.0)
    ground = c.between(0.05, 0.9)
    scene = ground * (1 + c.between(0.02, 0.15) * _grain(c, shape)) + 0.1 * smooth_field(c, shape, max(shape))
    size, rows = c.between(0.08, 0.35), c.toss(0.5)
    step, reach = size * c.between(2.1, 3.2), np.array(shape) * g.px / 2
    spots = [
        (x, y) for y in np.arange(-reach[0], reach[0] + size, step) for x in np.arange(-reach[1], reach[1] + size, step)
    ]
    turn = c.between(0, 2 * np.pi)
    for x, y in spots:
        at = (x, y) if rows else (c.between(-reach[1], reach[1]), c.between(-reach[0], reach[0]))
        at = (at[0] + 0.1 * size * float(c.normal()), at[1] + 0.1 * size * float(c.normal()))
        own, face = size * c.between(0.7, 1.0), c.between(0.25, 0.95)
        shadow = (at[0] + 0.08 * own * np.cos(turn), at[1] + 0.08 * own * np.sin(turn))
        blend(scene, g.ellipse(shadow, (own * 1.05, own * 1.05), soft_px=6.0), 0.0, 0.5)
        where, cover = g.ellipse(at, (own, own), 0, lobes(c, 0.01))
        slope = ((at[0] - g.x[where]) * np.cos(turn) + (at[1] - g.y[where]) * np.sin(turn)) / own
        relief = 0.15 * fractal(c, (max(2, cover.shape[0]), max(2, cover.shape[1])), 1.2, 30)
        relief = relief[: cover.shape[0], : cover.shape[1]]
        scene[where] += cover * (face * (1 + c.between(0.05, 0.4) * slope + relief) - scene[where])
        if c.toss(0.7):
            blend(scene, g.ellipse(at, (own * 0.86, own * 0.86), 0), face * c.between(0.7, 1.1), 0.35)
    return lit(c, np.clip(scene, 0, 1.1))


def cloth(c: Chance, shape: Shape) -> np.ndarray:
    """Woven or knitted threads, with folds."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    turn, period = c.between(0, np.pi), c.between(4, 40)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    bend = period * c.between(0.1, 0.8)
    u, v = u + bend * smooth_field(c, shape, 120), v + bend * smooth_field(c, shape, 120)
    a, b = np.abs(np.sin(np.pi * u / period)), np.abs(np.sin(np.pi * v / (period * c.between(0.7, 1.5))))
    over = (np.floor(u / period) + np.floor(v / period)) % 2
    tone = np.where(over > 0, a * c.between(0.5, 1.0), b * c.between(0.3, 1.0))
    folds = 1 + c.between(0.0, 0.4) * smooth_field(c, shape, c.between(80, 300))
    return lit(c, np.clip(tone * folds * (1 + 0.1 * _grain(c, shape)), 0, 1.1))


def wood(c: Chance, shape: Shape) -> np.ndarray:
    """Grain of wood, bark, sand ripples or brushed metal: noise drawn out along one direction."""
    long = (shape[0], max(8, shape[1] // c.integer(4, 30)))
    drawn = fractal(c, long, c.between(0.6, 1.4), c.between(20, 120))
    at = np.linspace(0, drawn.shape[1] - 1.001, shape[1])
    low = at.astype(int)
    base = drawn[:, low] * (1 - (at - low)) + drawn[:, low + 1] * (at - low)
    rings = np.sin(c.between(2, 14) * (base + c.between(0.2, 1.5) * smooth_field(c, shape, c.between(60, 300))))
    tone = c.between(0.35, 0.65) + c.between(0.05, 0.25) * rings + c.between(0.02, 0.12) * base
    tone = tone + c.between(0.01, 0.06) * _grain(c, shape)
    return lit(c, np.clip(tone if c.toss(0.5) else tone[:, ::-1], 0, 1.1))


def large_print(c: Chance, shape: Shape) -> np.ndarray:
    """A few large words or digits, blurred, unevenly lit, faint, tilted or inverted: a sign, a label, a close-up."""
    words = ("market", "of", "7042", "open", "Exit", "by", "3.14", "ticket", "house", "Nr. 12", "the", "garden", "A")
    dark = c.toss(0.35)
    paper, ink = (c.integer(120, 255), c.integer(0, 90)) if not dark else (c.integer(0, 60), c.integer(120, 255))
    page = Image.new("L", (shape[1], shape[0]), paper)
    pen, height = ImageDraw.Draw(page), c.integer(12, max(13, min(shape) // 3))
    y = float(c.integer(-height // 2, height // 2))
    while y < shape[0]:
        line = " ".join(c.choose(words) for _ in range(1 + shape[1] // (2 * height)))
        pen.text((c.integer(-height, height // 2), y), line, fill=ink, font=font(height))
        y += height * c.between(1.15, 1.6)
    if c.toss(0.6):
        page = page.rotate(c.between(-12, 12), resample=Image.Resampling.BICUBIC, fillcolor=paper)
    tone = gaussian_filter(np.asarray(page, np.float32) / 255, c.between(0.3, 0.12 * height))
    tone = c.between(0.0, 0.4) + c.between(0.3, 1.0) * tone * (1 + 0.15 * smooth_field(c, shape, max(shape)))
    return lit(c, np.clip(tone, 0, 1.05))


MAKERS: dict[str, Callable[[Chance, Shape], np.ndarray]] = {
    "gravel": gravel, "bricks": bricks, "grass": grass, "coins": coins, "cloth": cloth, "wood": wood,
    "large_print": large_print,
}  # fmt: skip
