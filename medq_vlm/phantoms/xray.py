"""Radiographs as line integrals: chest, limb, hand, spine, hip and abstract content; and mammograms."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from medq_vlm.phantoms.chance import Chance
from medq_vlm.phantoms.common import sample, sides, text_cover
from medq_vlm.phantoms.generic import abstract
from medq_vlm.phantoms.shapes import Grid, add, edge, fractal, lobes, smooth_field, tree
from medq_vlm.schema import ImageSample


class Film:
    """Attenuation (line integral of mu) under way."""

    def __init__(self, c: Chance, shape: tuple[int, int], warp: float) -> None:
        self.c, self.g = c, Grid(c, shape, warp)
        self.mu = np.zeros(shape, np.float32)
        self.trabeculae = fractal(c, shape, 0.7, 14.0)

    def tube(self, points: np.ndarray, widths: np.ndarray, mu: float, hollow: float = 0.7) -> None:
        """A bone shaft: dense wall, lighter and trabecular inside (hollow: inner over outer radius)."""
        where, outer = self.g.stroke(points, widths, tube=True)
        add(self.mu, self.g.stroke(points, widths * hollow, tube=True), -0.75 * hollow * mu)
        self.mu[where] += mu * outer * (1 + 0.05 * self.trabeculae[where])

    def bone(
        self, centre: tuple[float, float], radii: tuple[float, float], mu: float, turn: float = 0.0, square: float = 2.0
    ) -> None:
        """A block of spongy bone with a thin shell."""
        shape = lobes(self.c, 0.03)
        where, outer = self.g.dome(centre, radii, turn, square, shape)
        inner = self.g.dome(centre, (radii[0] * 0.88, radii[1] * 0.88), turn, square, shape)
        self.mu[where] += mu * outer * (1 + 0.06 * self.trabeculae[where])
        add(self.mu, inner, -0.62 * mu)

    def soft(
        self,
        centre: tuple[float, float],
        radii: tuple[float, float],
        mu: float,
        turn: float = 0.0,
        square: float = 2.0,
        rough: float = 0.04,
    ) -> None:
        add(self.mu, self.g.dome(centre, radii, turn, square, lobes(self.c, rough)), mu)

    def curve(self, points: list[tuple[float, float]], count: int = 12) -> np.ndarray:
        """A smooth (count, 2) curve through 3 control points (quadratic Bezier)."""
        a, b, d = (np.asarray(q, float) for q in points)
        t = np.linspace(0, 1, count)[:, None]
        return (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t * t * d


def chest(f: Film) -> None:
    """Frontal chest: lungs, heart, diaphragm, ribs, clavicles, spine, lung markings."""
    c, g = f.c, f.g
    half_y = g.shape[0] * g.px / 2
    wide = c.between(0.82, 0.98)
    f.soft((0, 0.15), (wide * 1.25, half_y * 1.7), 1.6, 0, 3.0, 0.02)
    for side in (-1, 1):
        f.soft((side * wide * 0.95, -half_y * 0.9), (0.45, 0.4), 0.7, side * 0.6)
    neck = np.array([[0, -half_y * 1.2], [0, -half_y * 0.72]])
    add(f.mu, g.stroke(neck, np.array([0.24, 0.4]), tube=True), 0.5)
    top, base = -half_y * c.between(0.78, 0.88), half_y * c.between(0.35, 0.6)
    lungs = np.zeros_like(f.mu)
    hila = []
    for side in (-1, 1):
        low = base - (0.06 if side > 0 else 0.0) + c.between(-0.02, 0.04)
        at = (side * wide * 0.47, (top + low) / 2 + 0.1)
        size = (wide * 0.37, (low - top) * 0.64)
        mask = g.ellipse(at, size, side * -0.1, lobes(c, 0.03), soft_px=10, square=2.5)
        lung = np.zeros_like(f.mu)
        lung[mask[0]] = mask[1]
        dome = low - 0.12 * np.cos(np.clip((g.x - at[0]) / size[0], -1.3, 1.3) * 1.5) + 0.12
        lung *= edge(g.y - dome, 5 * g.px)
        lungs = np.maximum(lungs, lung)
        hila.append((side * c.between(0.17, 0.22), (top + low) / 2 + 0.02))
    thick = np.sqrt(np.clip(1.15 - (g.y / half_y) ** 2, 0, 1))
    f.mu -= lungs * c.between(0.55, 0.95) * thick
    soft_heart = lobes(c, 0.05)
    heart = (c.between(0.1, 0.18), base - c.between(0.16, 0.24))
    size = (c.between(0.3, 0.42), c.between(0.26, 0.32))
    middle = np.zeros_like(f.mu)  # one silhouette, so that nothing is counted twice where the parts overlap
    mediastinum = np.array([[0, top], [0.02, 0], [0, base + 0.2]])
    for where, cover in (
        g.ellipse(heart, size, 0.45, soft_heart, 7.0),
        g.stroke(mediastinum, np.array([0.12, 0.14, 0.2]) * c.between(0.8, 1.15), 8.0),
    ):
        middle[where] = np.maximum(middle[where], cover)
    f.mu += c.between(0.3, 0.5) * middle
    add(f.mu, g.dome(heart, size, 0.45, lobes=soft_heart), c.between(0.15, 0.35))
    f.soft((0.14, top + (base - top) * 0.3), (0.1, 0.1), 0.25)
    add(
        f.mu,
        g.stroke(np.array([[-0.01, -half_y], [0.0, top + 0.4 * (base - top)]]), np.array([0.055, 0.05]), 6.0),
        -0.28,
    )
    vessels = []
    for hilum in hila:
        side = 1 if hilum[0] > 0 else -1
        f.soft(hilum, (0.08, 0.15), 0.22, side * 0.3, 2.0, 0.15)
        for k in range(7):
            heading = (k - 3) * 0.4 + c.between(-0.2, 0.2)
            heading = heading if side > 0 else np.pi - heading
            vessels += tree(c, hilum, heading, 0.17, c.between(0.008, 0.014), 4, 0.45, 0.15, 0.8)
    f.mu += gaussian_filter(g.strokes(vessels), 0.8) * lungs * c.between(0.12, 0.22)
    f.mu += lungs * c.between(0.012, 0.03) * fractal(c, g.shape, 0.9, 40.0)
    f.mu += 0.03 * (1 - lungs) * smooth_field(c, g.shape, 0.3 / g.px)
    _ribs(f, wide, top, base)
    count = 11
    for k in range(count):
        y = -half_y + (k + 0.5) * 2 * half_y / count
        f.bone((c.between(-0.01, 0.01), y), (0.085, half_y / count * 0.85), 0.28, 0, 5.0)
        f.tube(np.array([[0, y - 0.03], [0, y + 0.05]]), np.array([0.016, 0.016]), 0.16)
    for side in (-1, 1):
        f.tube(
            f.curve(
                [
                    (side * 0.09, top + 0.17),
                    (side * 0.42, top + c.between(-0.08, 0.1)),
                    (side * wide * 0.95, top + 0.02),
                ]
            ),
            np.full(12, 0.034),
            0.4,
        )
        f.tube(
            np.array([[side * (wide - 0.12), top + 0.1], [side * (wide - 0.18), top + 0.75]]),
            np.array([0.02, 0.012]),
            0.3,
        )
        f.bone((side * (wide + 0.08), top + 0.22), (0.12, 0.12), 0.7)
        f.tube(
            np.array([[side * (wide + 0.1), top + 0.25], [side * (wide + 0.2), top + 1.0]]),
            np.array([0.075, 0.06]),
            0.7,
        )
    if c.toss(0.5):
        f.soft((0.3, base + 0.22), (c.between(0.08, 0.2), c.between(0.06, 0.1)), -0.4)


def _ribs(f: Film, wide: float, top: float, base: float) -> None:
    c = f.c
    count = c.integer(8, 10)
    steep = c.between(0.1, 0.25)
    for k in range(count):
        y = top + (base - top + 0.25) * (k + 0.2) / count
        reach = wide * (0.5 + 0.36 * min(1.0, (k + 1.2) / 4))
        width = np.full(12, c.between(0.022, 0.03))
        for side in (-1, 1):
            back = f.curve([(side * 0.09, y), (side * reach * 0.75, y - 0.06), (side * reach, y + steep + 0.08)])
            f.tube(back, width, 0.3, 0.8)
            if k > 0:
                front = f.curve(
                    [
                        (side * reach, y + steep + 0.08),
                        (side * reach * 0.9, y + steep + 0.3),
                        (side * reach * 0.45, y + steep + 0.36),
                    ]
                )
                f.tube(front, width * 1.1, 0.17, 0.8)


def limb(f: Film) -> None:
    """Two long bones and a joint (forearm and wrist, or lower leg and knee)."""
    c, g = f.c, f.g
    half_y, joint = g.shape[0] * g.px / 2, c.between(-0.3, 0.3)
    axis = np.array([[c.between(-0.15, 0.15), -half_y * 1.2], [0, joint], [c.between(-0.15, 0.15), half_y * 1.2]])
    for grow, mu in ((0.0, 0.15), (0.03, 0.5), (0.09, 0.6)):
        add(f.mu, g.stroke(axis, np.array([0.5, 0.42, 0.48]) * c.between(0.95, 1.05) - grow, tube=True), mu)
    f.mu += 0.03 * np.clip(f.mu, 0, 1) * fractal(c, g.shape, 1.2)
    upper = f.curve([(axis[0, 0], axis[0, 1]), (0.0, -half_y * 0.5), (0.0, joint - 0.12)])
    f.tube(upper, np.r_[np.full(8, 0.14), 0.17, 0.21, 0.26, 0.27], 1.5, 0.72)
    for side in (-1, 1):
        f.bone((side * 0.14, joint - 0.1), (0.16, 0.13), 0.7)
    f.bone((0, joint + 0.12), (0.31, 0.09), 0.9, 0, 3.0)
    lower = f.curve([(-0.02, joint + 0.14), (-0.04, half_y * 0.4), (axis[2, 0] - 0.05, axis[2, 1])])
    f.tube(lower, np.r_[0.29, 0.24, 0.19, np.full(9, 0.14)], 1.5, 0.7)
    thin = f.curve([(0.25, joint + 0.25), (0.3, half_y * 0.5), (axis[2, 0] + 0.25, axis[2, 1])])
    f.tube(thin, np.r_[0.08, np.full(11, 0.055)], 1.1, 0.5)
    if c.toss(0.5):
        f.bone((c.between(-0.03, 0.03), joint - 0.22), (0.14, 0.15), 0.5)


def hand(f: Film) -> None:
    """Hand: metacarpals, phalanges, wrist bones, forearm ends, soft tissue round the fingers."""
    c, g = f.c, f.g
    wrist = (c.between(-0.05, 0.05), 0.5)
    spread = c.between(0.13, 0.22)
    palm = (wrist[0], 0.15)
    f.soft(palm, (0.42, 0.45), 0.5, 0, 2.6)
    add(f.mu, g.stroke(np.array([[wrist[0], 0.5], [wrist[0], 1.4]]), np.array([0.27, 0.32]), tube=True), 0.6)
    for k in range(5):
        thumb = k == 0
        angle = -np.pi / 2 + (k - 2.3) * spread - (0.55 if thumb else 0)
        start = np.array([wrist[0] + (k - 2) * 0.09, 0.36 if not thumb else 0.42])
        lengths = (0.36, 0.26, 0.17, 0.11) if not thumb else (0.27, 0.2, 0.14)
        scale = c.between(0.92, 1.05) * (0.82 if k == 4 else 1.0)
        at, move = start, np.array([np.cos(angle), np.sin(angle)])
        tip = start + move * sum(lengths) * scale * 1.12
        add(f.mu, g.stroke(np.stack([start + move * 0.3, tip]), np.array([0.095, 0.07]), tube=True), 0.45)
        for j, length in enumerate(lengths):
            end = at + move * length * scale
            w = (0.05, 0.042, 0.036, 0.03)[j]
            widths = w * np.array([1.15, 0.8, 0.68, 0.7, 0.85, 1.1])
            line = at + (end - at) * np.linspace(0.06, 0.94, 6)[:, None]
            f.tube(line, widths, 0.9, 0.6)
            at = end
    for x, y in (
        (-0.2, 0.5),
        (-0.08, 0.47),
        (0.04, 0.46),
        (0.16, 0.48),
        (-0.15, 0.61),
        (-0.03, 0.6),
        (0.1, 0.61),
        (0.18, 0.57),
    ):
        f.bone((wrist[0] + x, y), (0.068, 0.062), 0.6, c.between(0, 3))
    for x, w in ((-0.1, 0.13), (0.14, 0.085)):
        shaft = np.array([[wrist[0] + x, 0.72], [wrist[0] + x, 0.88], [wrist[0] + x * 0.9, 1.4]])
        f.tube(shaft, np.array([w, w * 0.8, w * 0.62]), 1.1, 0.65)


def spine(f: Film) -> None:
    """Lumbar or thoracic spine, frontal or lateral."""
    c, g = f.c, f.g
    half_y, lateral = g.shape[0] * g.px / 2, c.toss(0.5)
    f.soft((0, 0), (c.between(0.8, 1.2), half_y * 1.8), 1.8, 0, 3.0)
    f.mu += 0.1 * smooth_field(c, g.shape, 0.4 / g.px)
    for _ in range(c.integer(2, 7)):
        f.soft(
            (c.between(-0.8, 0.8), c.between(-0.8, 0.9)),
            (c.between(0.06, 0.2), c.between(0.05, 0.12)),
            -c.between(0.1, 0.35),
            c.between(0, 3),
            2,
            0.12,
        )
    count, bow = c.integer(5, 8), c.between(0.05, 0.18) if lateral else c.between(-0.06, 0.06)
    step = 2.2 * half_y / count
    for k in range(count):
        y = -1.1 * half_y + (k + 0.5) * step
        x = bow * np.cos(y * 1.7 / half_y) + (-0.15 if lateral else 0)
        tilt = bow * 1.5 * np.sin(y * 1.7 / half_y)
        f.bone((x, y), (step * 0.55, step * 0.39), 0.9, tilt, 5.0)
        if lateral:
            f.tube(np.array([[x + step * 0.5, y], [x + step * 0.85, y + 0.03]]), np.array([0.12, 0.1]) * step, 0.5)
            f.tube(
                np.array([[x + step * 0.8, y + 0.1 * step], [x + step * 1.35, y + step * 0.35]]),
                np.array([0.13, 0.16]) * step,
                0.5,
            )
        else:
            f.tube(np.array([[x, y], [x, y + step * 0.4]]), np.array([0.07, 0.08]) * step, 0.5)
            for side in (-1, 1):
                f.bone((x + side * step * 0.32, y - step * 0.1), (step * 0.11, step * 0.15), 0.35)
                f.tube(
                    np.array([[x + side * step * 0.5, y], [x + side * step * 1.05, y - step * 0.05]]),
                    np.array([0.1, 0.06]) * step,
                    0.4,
                )


def hip(f: Film) -> None:
    """Frontal pelvis: iliac wings, sockets, femoral heads, necks and shafts, sacrum, pubic rami."""
    c, g = f.c, f.g
    f.soft((0, 0), (1.15, 1.5), 1.7, 0, 2.8)
    f.mu += 0.08 * smooth_field(c, g.shape, 0.4 / g.px)
    for _ in range(6):
        f.soft(
            (c.between(-0.6, 0.6), c.between(-0.8, 0.1)),
            (c.between(0.05, 0.15), 0.07),
            -c.between(0.1, 0.3),
            c.between(0, 3),
            2,
            0.15,
        )
    f.bone((0, -0.4), (0.22, 0.35), 0.6, 0, 2.6)
    for side in (-1, 1):
        f.bone((side * 0.52, -0.48), (0.3, 0.36), 0.55, side * 0.5, 2.3)
        f.tube(f.curve([(side * 0.8, -0.45), (side * 0.55, -0.95), (side * 0.25, -0.6)]), np.full(12, 0.03), 0.4)
        head = (side * c.between(0.56, 0.62), c.between(0.02, 0.08))
        f.bone(head, (0.16, 0.16), 0.7)
        f.tube(
            f.curve(
                [
                    (head[0] - side * 0.16, head[1] + 0.12),
                    (head[0] - side * 0.2, head[1] - 0.18),
                    (head[0] + side * 0.12, head[1] - 0.2),
                ]
            ),
            np.full(12, 0.022),
            0.5,
        )
        f.tube(np.array([head, (head[0] + side * 0.22, head[1] + 0.16)]), np.array([0.12, 0.13]), 0.8, 0.8)
        f.bone((head[0] + side * 0.26, head[1] + 0.1), (0.1, 0.14), 0.5)
        f.tube(
            np.array([[head[0] + side * 0.22, head[1] + 0.2], [head[0] + side * 0.16, 1.4]]),
            np.array([0.14, 0.12]),
            1.2,
            0.65,
        )
        f.tube(f.curve([(head[0] - side * 0.2, 0.1), (side * 0.3, 0.25), (side * 0.06, 0.3)]), np.full(12, 0.05), 0.5)
        f.tube(
            f.curve([(side * 0.06, 0.36), (side * 0.28, 0.62), (head[0] - side * 0.18, 0.28)]), np.full(12, 0.055), 0.5
        )


LAYOUTS = {"chest": chest, "limb": limb, "hand": hand, "spine": spine, "hip": hip}


def acquire(c: Chance, mu: np.ndarray, blur_px: float, quanta: float) -> np.ndarray:
    """Detector signal of a line integral: exponential law, blur, slight quantum noise, log display."""
    signal = np.exp(-np.clip(gaussian_filter(mu, blur_px), 0, 6))
    grain = gaussian_filter(c.noise.standard_normal(mu.shape, np.float32), 0.45) * 1.7
    return -np.log(np.clip(signal + np.sqrt(signal / quanta) * grain, 1e-3, None))


def _wide_blur(image: np.ndarray, sigma_px: float) -> np.ndarray:
    """Gaussian blur of many pixels, done on a quarter of the size."""
    small = gaussian_filter(gaussian_filter(image, 2.0)[::4, ::4], sigma_px / 4)
    rows = np.minimum(np.arange(image.shape[0]) / 4, small.shape[0] - 1)
    columns = np.minimum(np.arange(image.shape[1]) / 4, small.shape[1] - 1)
    return map_coordinates(small, np.meshgrid(rows, columns, indexing="ij"), order=1)


def draw(c: Chance, size: int) -> ImageSample:
    """One radiograph; MONOCHROME2 (bone white) or, sometimes, MONOCHROME1 with reversed values."""
    layout = c.choose(("chest", "chest", "chest", "limb", "hand", "spine", "hip", "abstract"))
    height, width = sides(c, size, 1.25, 1.35)
    f = Film(c, (height, width), c.between(0.015, 0.03))
    if layout == "abstract":
        f.mu += 2.5 * abstract(c, (height, width))
    else:
        LAYOUTS[layout](f)
    seen = acquire(c, f.mu, c.between(0.4, 0.8), c.between(3000, 12000))
    local = _wide_blur(seen, 0.08 * min(height, width))  # the multi-frequency processing of digital systems
    seen = seen - c.between(0.0, 0.6) * local
    low, high = np.percentile(seen, (c.between(0.2, 2), c.between(98.5, 99.9)))
    tone = np.clip((seen - low) / (high - low), -0.02, 1.1)
    tone = np.clip(tone, 0, 1) ** c.between(0.75, 1.35)
    words = [
        (
            c.between(0.03, 0.1) if c.toss(0.5) else c.between(0.85, 0.92),
            c.between(0.03, 0.25),
            c.choose(("L", "R", "L", "R PA", "AP")),
        )
    ]
    if c.toss(0.7):
        tone = np.maximum(tone, text_cover((height, width), words, max(10, round(size * c.between(0.035, 0.06)))))
    scale, offset = c.choose(((255.0, 0.0), (1023.0, 0.0), (4095.0, 0.0), (3300.0, 300.0), (12000.0, 1500.0)))
    inverted = scale > 255 and c.toss(0.25)
    pixels = np.round((1 - tone if inverted else tone) * scale + offset)
    anatomy = layout if layout in ("chest", "spine", "hip") else None
    view = {"chest": "PA" if c.toss(0.6) else "AP"}.get(layout, "AP")
    kvp, mas, dx = c.choose((55, 70, 81, 110, 125)), c.choose((2, 4, 8, 16)), 400.0 / size * c.between(0.8, 1.0)
    place = {"limb": "Limb", "hand": "Hand", "abstract": "Body"}.get(layout, layout.capitalize())
    fields: dict[str, str | float] = {"kvp": float(kvp), "exposure_mas": float(mas), "view": view}
    sentence = f"{place} radiograph, {view} view, {kvp} kVp, {mas} mAs"
    return sample(
        pixels,
        "xray",
        anatomy,
        fields,
        sentence,
        (None, dx, dx),
        view=view,
        inverted=inverted,
        bits=8 if scale == 255 else 12,
    )
