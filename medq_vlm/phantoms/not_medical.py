"""Pictures that are not medical images, for the out-of-scope detector: noise, pages, scenes, screens, patterns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from medq_vlm.phantoms import textures
from medq_vlm.phantoms.chance import Chance
from medq_vlm.phantoms.common import camera, font, sides
from medq_vlm.phantoms.shapes import Grid, blend, dead_leaves, fractal, lobes, smooth_field, tree
from medq_vlm.schema import MedQError

WORDS = (
    "the", "of", "and", "to", "in", "is", "was", "for", "on", "that", "with",
    "as", "by", "at", "from", "this", "which", "be", "are", "it", "report", "value",
    "time", "system", "page", "total", "chapter", "result", "between", "number", "project", "market", "music",
    "water", "garden", "island", "winter", "message", "open", "close", "file",
)  # fmt: skip
Shape = tuple[int, int]


def _grey(tone: np.ndarray) -> np.ndarray:
    return np.clip(tone * 255, 0, 255).astype(np.uint8)


def _colours(c: Chance, count: int) -> np.ndarray:
    """(count, 3) random colours 0 to 1, sometimes vivid, sometimes greyish."""
    picked = c.plan.uniform(0.05, 1.0, (count, 3))
    return picked.mean(1, keepdims=True) + (picked - picked.mean(1, keepdims=True)) * c.between(0.2, 1.4)


def _tint(c: Chance) -> tuple[int, int, int]:
    red, green, blue = (int(v) for v in np.clip(_colours(c, 1)[0] * 255, 0, 255))
    return red, green, blue


def _blank(c: Chance, shape: Shape) -> np.ndarray:
    level = c.choose((0.0, 1.0, c.between(0, 1)))
    tone = np.full(shape, level) + (c.between(0.002, 0.015) * c.noise.standard_normal(shape) if c.toss(0.5) else 0)
    return _grey(tone)


def _white_noise(c: Chance, shape: Shape) -> np.ndarray:
    full = (*shape, 3) if c.toss(0.4) else shape
    if c.toss(0.3):
        return c.noise.integers(0, 256, full, np.uint8)
    if c.toss(0.2):
        return (c.noise.random(full) < c.between(0.1, 0.9)).astype(np.uint8) * 255
    return _grey(c.between(0.3, 0.7) + c.between(0.08, 0.3) * c.noise.standard_normal(full))


def _coloured_noise(c: Chance, shape: Shape) -> np.ndarray:
    slope = c.between(0.4, 2.2)
    planes = [fractal(c, shape, slope, c.between(60, 400)) for _ in range(3 if c.toss(0.5) else 1)]
    tone = 0.5 + c.between(0.1, 0.25) * np.stack(planes, -1)
    return _grey(tone if len(planes) == 3 else tone[..., 0])


def _sentence(c: Chance, count: int) -> str:
    return " ".join(c.choose(WORDS) for _ in range(count)).capitalize() + c.choose((".", ".", ",", ":"))


def _text_page(c: Chance, shape: Shape) -> np.ndarray:
    """A page of text with headings, columns, a table or a figure; sometimes photographed with a shade and a tilt."""
    dark = c.toss(0.15)
    paper, ink = (235 + c.integer(0, 20), c.integer(0, 60)) if not dark else (c.integer(0, 40), 230)
    page = Image.new("L", (shape[1], shape[0]), paper)
    pen = ImageDraw.Draw(page)
    columns, margin = c.integer(1, 2), c.integer(8, max(9, shape[1] // 10))
    wide = (shape[1] - margin * (columns + 1)) // columns
    body = c.integer(8, max(9, min(shape) // 18))
    for k in range(columns):
        left, y = margin + k * (wide + margin), margin
        while y < shape[0] - margin:
            big = c.toss(0.08)
            height = int(body * (1.6 if big else 1.0))
            words = _sentence(c, c.integer(3, 5) if big else 24)
            while pen.textlength(words, font=font(height)) > wide and " " in words:
                words = words.rsplit(" ", 1)[0]
            pen.text((left, y), words, fill=ink, font=font(height))
            y += int(height * c.choose((1.25, 1.4))) + (body if c.toss(0.12) else 0)
            if c.toss(0.03):
                box = (left, y, left + wide, y + body * 5)
                pen.rectangle(box, outline=ink)
                pen.line((left, y + body * 2, left + wide, y + body * 2), fill=ink)
                y += body * 6
    tone = np.asarray(page, np.float32) / 255
    if c.toss(0.4):  # a photograph or a scan of the page
        tilt = page.rotate(c.between(-6, 6), resample=Image.Resampling.BICUBIC, fillcolor=c.integer(60, 255))
        tone = gaussian_filter(np.asarray(tilt, np.float32) / 255, c.between(0.3, 0.8))
        tone = tone * (0.85 + 0.12 * smooth_field(c, shape, 0.8 * min(shape)))
        tone = tone + 0.01 * c.noise.standard_normal(shape)
    if c.toss(0.4):
        return _grey(tone[..., None] * np.clip(1 - 0.15 * _colours(c, 1)[0], 0, 1))
    return _grey(tone)


def _texture(c: Chance, shape: Shape, colour: np.ndarray, contrast: float) -> np.ndarray:
    """(H, W, 3) surface of one colour with 1/f texture."""
    grain = fractal(c, shape, c.between(0.7, 1.4), c.between(30, 150))
    return np.clip(colour * (1 + contrast * grain[..., None]), 0, 1.3)


def _landscape(c: Chance, shape: Shape) -> np.ndarray:
    """Sky with clouds, ridges that fade with distance, ground with perspective, buildings, trees."""
    g = Grid(c, shape, 0.0)
    half = shape[0] * g.px / 2
    horizon = c.between(-0.3, 0.4) * half
    sky, glow, ground = np.array([0.35, 0.55, 0.9]), np.array([0.95, 0.85, 0.75]), _colours(c, 1)[0]
    rise = np.clip((g.y + half) / (horizon + half), 0, 1)[..., None]
    scene = sky * (1 - rise) + glow * rise
    clouds = np.clip(fractal(c, shape, 1.6, 200) * 0.5 + c.between(-0.4, 0.3), 0, 1)[..., None]
    scene = scene * (1 - clouds) + clouds
    for k in range(c.integer(1, 4)):
        line = horizon - 0.1 * (3 - k) + 0.15 * smooth_field(c, (8, shape[1]), 0.5 / g.px)[4][None]
        haze = 0.25 * k
        hill = _texture(c, shape, ground * haze + (1 - haze) * glow * 0.7, 0.08)
        scene = np.where((g.y > line)[..., None], hill, scene)
    depth = np.clip((g.y - horizon) / half, 0.02, 2)
    tiles = np.sin(g.x / depth * c.between(4, 12)) * np.sin(c.between(3, 9) / depth)
    floor = _texture(c, shape, ground, c.between(0.08, 0.25)) * (1 + 0.12 * tiles * np.clip(depth * 2, 0, 1))[..., None]
    scene = np.where((g.y > horizon)[..., None], floor, scene)
    for _ in range(c.integer(0, 7)):
        _building(c, scene, shape, horizon / g.px + shape[0] / 2)
    for _ in range(c.integer(0, 5)):
        root, size = (c.between(-1, 1), horizon + c.between(0.0, 0.5)), c.between(0.15, 0.5)
        trunk = g.strokes(tree(c, root, -np.pi / 2, size * 0.4, size * 0.06, 4, 0.5, 0.1, 0.75))
        scene = scene * (1 - trunk[..., None]) + trunk[..., None] * np.array([0.25, 0.17, 0.1])
        crown = np.array([0.2, 0.45, 0.15]) * (0.7 + c.between(0, 0.6))
        for _ in range(25 if c.toss(0.7) else 0):
            leaf = (root[0] + 0.35 * size * float(c.normal()), root[1] - size + 0.3 * size * float(c.normal()))
            mask = g.ellipse(leaf, (size * 0.13, size * 0.1), c.between(0, 3), lobes(c, 0.2))
            blend(scene, mask, crown * c.between(0.6, 1.3), 0.8)
    return scene


def _building(c: Chance, scene: np.ndarray, shape: Shape, ground_row: float) -> None:
    left, wide = c.integer(-10, shape[1] - 10), c.integer(shape[1] // 12, shape[1] // 3)
    bottom = int(np.clip(ground_row + c.integer(0, 30), 2, shape[0]))
    top = max(0, bottom - c.integer(shape[0] // 8, shape[0]))
    columns = slice(max(0, left), max(1, left + wide))
    wall, glass = _colours(c, 2)
    block = scene[top:bottom, columns]
    shade = np.linspace(1.05, 0.85, block.shape[1])[None, :, None]
    block[...] = wall * shade + 0.02 * c.noise.standard_normal(block.shape)
    step_y, step_x = c.integer(8, 24), c.integer(8, 24)
    for y in range(4, block.shape[0] - step_y, step_y):
        for x in range(4, block.shape[1] - step_x // 2, step_x):
            block[y : y + step_y // 2, x : x + step_x // 2] = glass * c.choose((0.5, 0.7, 1.0, 1.3))


def _portrait(c: Chance, shape: Shape) -> np.ndarray:
    """A cartoon-like face with hair, clothes and a soft background."""
    g = Grid(c, shape, 0.01)
    scene = _texture(c, shape, _colours(c, 1)[0], 0.15)
    scene = gaussian_filter(scene, (c.between(0, 8),) * 2 + (0,))
    skin = np.array([0.9, 0.68, 0.55]) * c.choose((1.05, 0.9, 0.7, 0.45))
    hair, cloth, iris = _colours(c, 3) * np.array([[0.6], [1.0], [0.7]])
    x, y, r = c.between(-0.3, 0.3), c.between(-0.25, 0.1), c.between(0.3, 0.5)
    blend(scene, g.ellipse((x, y + 2.3 * r), (1.7 * r, 1.3 * r), 0, lobes(c, 0.05), square=2.6), cloth)
    blend(scene, g.stroke(np.array([[x, y], [x, y + 1.3 * r]]), np.array([0.4, 0.42]) * r), skin * 0.85)
    blend(scene, g.ellipse((x, y - 0.15 * r), (0.95 * r, 1.2 * r), 0, lobes(c, 0.08)), hair)
    light = 1 + 0.2 * np.clip((x - g.x) / r, -1, 1)[..., None]
    where, cover = g.ellipse((x, y + 0.05 * r), (0.75 * r, r), 0, lobes(c, 0.03), 3.0)
    scene[where] += cover[..., None] * (skin * light[where] - scene[where])
    blend(scene, g.ellipse((x, y - 0.8 * r), (0.75 * r, 0.35 * r), 0, lobes(c, 0.1), 3.0), hair)
    for side in (-1, 1):
        eye = (x + side * 0.3 * r, y - 0.1 * r)
        blend(scene, g.ellipse(eye, (0.15 * r, 0.08 * r)), np.ones(3))
        blend(scene, g.ellipse(eye, (0.07 * r, 0.07 * r)), iris * 0.5)
        brow = np.array(
            [
                [eye[0] - 0.17 * r, eye[1] - 0.17 * r],
                [eye[0], eye[1] - 0.23 * r],
                [eye[0] + 0.17 * r, eye[1] - 0.17 * r],
            ]
        )
        blend(scene, g.stroke(brow, np.full(3, 0.03 * r)), hair * 0.7)
    blend(scene, g.stroke(np.array([[x, y], [x + 0.08 * r, y + 0.3 * r]]), np.array([0.03, 0.06]) * r, 6.0), skin * 0.8)
    blend(scene, g.ellipse((x, y + 0.55 * r), (0.27 * r, c.between(0.05, 0.12) * r)), np.array([0.7, 0.3, 0.3]))
    return scene + 0.03 * fractal(c, shape, 0.8, 20.0)[..., None]


def _objects(c: Chance, shape: Shape) -> np.ndarray:
    """A table top: occluding shaded things with shadows, dead leaves for clutter."""
    g = Grid(c, shape, 0.0)
    scene = _texture(c, shape, _colours(c, 1)[0], c.between(0.03, 0.2))
    if c.toss(0.5):
        leaves = [dead_leaves(c, shape, 120, 5.0, min(shape) / 3) for _ in range(3)]
        scene = 0.3 * scene + 0.7 * np.stack(leaves, -1)
    for _ in range(c.integer(2, 14)):
        at, size = (c.between(-1, 1), c.between(-1, 1)), c.between(0.06, 0.5)
        radii, turn, box = (size, size * c.between(0.4, 1)), c.between(0, 3), c.choose((2.0, 2.0, 6.0))
        outline, colour = lobes(c, 0.04), _colours(c, 1)[0]
        shadow = g.ellipse((at[0] + 0.05, at[1] + 0.06), radii, turn, outline, 20.0, box)
        blend(scene, shadow, np.zeros(3), 0.45)
        where, cover = g.ellipse(at, radii, turn, outline, square=box)
        shade = 1 + 0.4 * np.clip((at[0] - g.x[where] + at[1] - g.y[where]) / size, -1, 1)
        grain = 1 + 0.05 * fractal(c, shape, 1.0, 40.0)[where]
        scene[where] += cover[..., None] * (colour * (shade * grain)[..., None] - scene[where])
        if c.toss(0.4):
            shine = g.ellipse(
                (at[0] - 0.3 * radii[1], at[1] - 0.3 * radii[1]), (size * 0.12, size * 0.08), turn, None, 6.0
            )
            blend(scene, shine, np.ones(3), 0.8)
    return scene


def _photo_like(c: Chance, shape: Shape) -> np.ndarray:
    scene = c.choose((_landscape, _landscape, _portrait, _objects))(c, shape)
    scene = np.clip(scene, 0, 1.2).astype(np.float32)
    pixels = camera(c, scene * c.between(0.8, 1.1), c.between(0.3, 0.9), c.between(0.004, 0.02)).astype(np.uint8)
    return np.asarray(Image.fromarray(pixels).convert("L")) if c.toss(0.3) else pixels


def _screenshot(c: Chance, shape: Shape) -> np.ndarray:
    """Windows with title bars, menus, buttons, lists and charts."""
    dark = c.toss(0.4)
    page = Image.new("RGB", (shape[1], shape[0]), _tint(c) if c.toss(0.6) else (30, 30, 34))
    pen = ImageDraw.Draw(page)
    for _ in range(c.integer(1, 4)):
        wide, high = c.integer(shape[1] // 3, shape[1]), c.integer(shape[0] // 3, shape[0])
        x, y = c.integer(-10, max(0, shape[1] - wide)), c.integer(-5, max(0, shape[0] - high))
        face, ink = ((38, 40, 46), (220, 222, 226)) if dark else ((246, 246, 248), (30, 30, 36))
        bar, accent, small = c.integer(14, 24), _tint(c), c.integer(8, 12)
        pen.rectangle((x, y, x + wide, y + high), fill=face, outline=(120, 120, 120))
        pen.rectangle((x, y, x + wide, y + bar), fill=accent)
        pen.text((x + 6, y + 2), _sentence(c, 3), fill=(255, 255, 255), font=font(small + 2))
        kind, top = c.choose(("list", "chart", "form", "pie")), y + bar + 8
        if kind == "list":
            for k, row in enumerate(range(top, y + high - small, small + c.integer(4, 8))):
                if k % 2:
                    pen.rectangle(
                        (x + 4, row - 2, x + wide - 4, row + small + 2), fill=tuple(int(v * 0.94) for v in face)
                    )
                pen.text((x + 8, row), _sentence(c, c.integer(2, 6)), fill=ink, font=font(small))
        elif kind == "chart":
            pen.line((x + 20, top, x + 20, y + high - 16), fill=ink)
            pen.line((x + 20, y + high - 16, x + wide - 8, y + high - 16), fill=ink)
            for _series in range(c.integer(1, 3)):
                steps = np.cumsum(c.normal(20)) if c.toss(0.6) else c.many(0, 1, 20)
                steps = (steps - steps.min()) / (np.ptp(steps) + 1e-6)
                xs = np.linspace(x + 24, x + wide - 12, 20)
                ys = y + high - 20 - steps * max(10, high - bar - 40)
                if c.toss(0.5):
                    pen.line(list(zip(xs.tolist(), ys.tolist(), strict=True)), fill=_tint(c), width=2)
                else:
                    for px, py in zip(xs, ys, strict=True):
                        pen.rectangle((px, py, px + max(2, wide // 40), y + high - 17), fill=accent)
        elif kind == "form":
            for row in range(top, y + high - 24, 28):
                pen.text((x + 8, row + 3), _sentence(c, 1), fill=ink, font=font(small))
                pen.rounded_rectangle(
                    (x + wide // 3, row, x + wide - 12, row + 18), 4, outline=ink, fill=accent if c.toss(0.2) else face
                )
        else:
            r = max(8, min(wide, high - bar) // 2 - 14)
            start = 0.0
            for _part in range(c.integer(3, 6)):
                stop = start + c.between(30, 120)
                pen.pieslice((x + 10, top, x + 10 + 2 * r, top + 2 * r), start, min(stop, 360.0), fill=_tint(c))
                start = min(stop, 359.0)
    return np.asarray(page)


def _checkerboard(c: Chance, shape: Shape) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    turn, cell = c.between(-0.4, 0.4) if c.toss(0.5) else 0.0, c.between(4, 60)
    u, v = (x * np.cos(turn) + y * np.sin(turn)) / cell, (y * np.cos(turn) - x * np.sin(turn)) / cell
    board = ((np.floor(u) + np.floor(v)) % 2)[..., None]
    first, second = _colours(c, 2) if c.toss(0.5) else np.array([[0.0] * 3, [1.0] * 3])
    return _grey(first * board + second * (1 - board))


def _gradient(c: Chance, shape: Shape) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    turn = c.between(0, 6.3)
    ramp = np.hypot(x, y) if c.toss(0.3) else (x * np.cos(turn) + y * np.sin(turn) + 1.4) / 2.8
    ramp = np.clip(ramp, 0, 1)[..., None]
    first, second = _colours(c, 2) if c.toss(0.6) else np.array([[0.0] * 3, [1.0] * 3])
    return _grey(first * ramp + second * (1 - ramp))


def _stripes(c: Chance, shape: Shape) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    turn, period = c.between(0, np.pi), c.between(3, 70)
    wave = np.sin(2 * np.pi * (x * np.cos(turn) + y * np.sin(turn)) / period)
    if c.toss(0.5):
        wave = np.sign(wave)
    if c.toss(0.3):
        wave = wave * np.sin(2 * np.pi * (y * np.cos(turn) - x * np.sin(turn)) / c.between(3, 70))
    tone = (wave * 0.5 + 0.5)[..., None]
    first, second = _colours(c, 2) if c.toss(0.5) else np.array([[0.0] * 3, [1.0] * 3])
    return _grey(first * tone + second * (1 - tone))


MAKERS: dict[str, Callable[[Chance, Shape], np.ndarray]] = {
    "blank": _blank, "white_noise": _white_noise, "coloured_noise": _coloured_noise, "text_page": _text_page,
    "photo_like": _photo_like, "screenshot": _screenshot, "checkerboard": _checkerboard, "gradient": _gradient,
    "stripes": _stripes, **textures.MAKERS,
}  # fmt: skip
NOT_MEDICAL_KINDS = tuple(MAKERS)


def not_medical(kind: str, seed: int, size: int = 448) -> np.ndarray:
    """A uint8 (H, W) or (H, W, 3) picture of `kind`, a member of NOT_MEDICAL_KINDS; the same seed, the same pixels.

    Raises MedQError for an unknown kind or a size below 64.
    """
    if kind not in MAKERS:
        raise MedQError(f"There is no not-medical kind '{kind}'; choose one of: {', '.join(MAKERS)}.")
    if size < 64:
        raise MedQError(f"A picture needs a size of at least 64 pixels, not {size}.")
    c = Chance(seed)
    return MAKERS[kind](c, sides(c, size, 1.5, 1.3))
