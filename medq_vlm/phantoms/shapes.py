"""Soft-edged shapes and textures: the brushes every phantom is painted with.

Coordinates are normalised: the shorter side of the image spans -1 to 1, x to the right, y down. Masks are
coverage 0 to 1 with an edge about one pixel wide, so nothing is jagged.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from medq_vlm.phantoms.chance import Chance

Patch = tuple[slice, slice]
Mask = tuple[Patch, np.ndarray]  # where on the image, coverage 0 to 1 there


@lru_cache(maxsize=64)
def _spline_matrix(samples: int, knots: int) -> np.ndarray:
    """(samples, knots + 3) cubic B-spline weights of `samples` points over `knots` intervals."""
    t = np.linspace(0, knots, samples, endpoint=False)
    base = np.minimum(t.astype(int), knots - 1)
    u = t - base
    weights = (
        (1 - u) ** 3 / 6,
        (3 * u**3 - 6 * u**2 + 4) / 6,
        (-3 * u**3 + 3 * u**2 + 3 * u + 1) / 6,
        u**3 / 6,
    )
    out = np.zeros((samples, knots + 3), np.float32)
    for k, weight in enumerate(weights):
        out[np.arange(samples), base + k] = weight
    return out


def smooth_field(chance: Chance, shape: tuple[int, int], wavelength_px: float) -> np.ndarray:
    """(H, W) smooth Gaussian random field of about unit variance whose detail is `wavelength_px` wide."""
    rows, columns = (max(2, int(np.ceil(2 * n / wavelength_px))) for n in shape)
    knots = chance.normal((rows + 3, columns + 3))
    field = _spline_matrix(shape[0], rows) @ knots @ _spline_matrix(shape[1], columns).T
    return field / 0.48  # a cubic B-spline mix of unit normals has SD 0.48


@lru_cache(maxsize=32)
def _frequency(shape: tuple[int, int]) -> np.ndarray:
    return np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]).astype(np.float32)


def shaped_noise(white: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """White noise (H, W) with its spectrum times `gain` (H, W // 2 + 1), scaled to unit SD."""
    out = np.fft.irfft2(np.fft.rfft2(white) * gain, s=white.shape).astype(np.float32)
    return out / max(float(out.std()), 1e-6)


def fractal(chance: Chance, shape: tuple[int, int], slope: float, largest_px: float = 128.0) -> np.ndarray:
    """(H, W) noise of unit SD with amplitude spectrum f^-slope below wavelengths of `largest_px`.

    Slope 1 is the 1/f look of tissue and landscapes; 1.5 is mammographic parenchyma (power law f^-3, Burgess 2001).
    """
    f = _frequency(shape)
    return shaped_noise(chance.normal(shape), 1.0 / (f + 1.0 / largest_px) ** slope)


def band_noise(chance: Chance, shape: tuple[int, int], wavelength_px: float, width: float = 0.35) -> np.ndarray:
    """(H, W) noise of unit SD around one wavelength: its zero lines meander like brain folds or fingerprints."""
    f = np.maximum(_frequency(shape), 1e-4)
    return shaped_noise(chance.normal(shape), np.exp(-((np.log(f * wavelength_px) / width) ** 2) / 2))


def edge(distance: np.ndarray, width: float) -> np.ndarray:
    """Coverage 1 inside (distance < 0) to 0 outside across an edge of `width`, smooth at both ends."""
    t = np.minimum(np.maximum(0.5 - distance * (1.0 / width), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


class Grid:
    """Normalised, gently warped coordinates of an (H, W) image; the warp is the subject's own build."""

    def __init__(self, chance: Chance, shape: tuple[int, int], warp: float = 0.04) -> None:
        height, width = shape
        self.shape = shape
        self.px = 2.0 / min(shape)  # one pixel in normalised units
        self.x = np.broadcast_to(((np.arange(width) + 0.5) * self.px - width * self.px / 2), shape)
        self.y = np.broadcast_to(((np.arange(height) + 0.5) * self.px - height * self.px / 2)[:, None], shape)
        self.x, self.y = self.x.astype(np.float32), self.y.astype(np.float32)
        self._bent = 0.0
        self._flat = self.x, self.y
        if warp:
            for wavelength, amount in ((0.9, warp), (0.3, warp * 0.2)):
                self.x = self.x + amount * smooth_field(chance, shape, wavelength / self.px)
                self.y = self.y + amount * smooth_field(chance, shape, wavelength / self.px)
            self._bent = float(max(np.abs(self.x - self._flat[0]).max(), np.abs(self.y - self._flat[1]).max()))

    def patch(self, cx: float, cy: float, reach: float) -> Patch:
        """Rows and columns that hold everything within `reach` of a point, the warp included."""
        height, width = self.shape
        row, column = cy / self.px + height / 2, cx / self.px + width / 2
        if self._bent:  # where the warp puts the point
            i, j = min(height - 1, max(0, int(row))), min(width - 1, max(0, int(column)))
            row -= float(self.y[i, j] - self._flat[1][i, j]) / self.px
            column -= float(self.x[i, j] - self._flat[0][i, j]) / self.px
        # the warp's slope stays below a half; a point off the canvas has no warp to look up
        outside = not (0 <= row < height and 0 <= column < width)
        slack = self._bent if outside else min(self._bent, 0.5 * reach + 0.02)
        half = (reach + slack) / self.px + 3
        top, left = min(height, max(0, int(row - half))), min(width, max(0, int(column - half)))
        bottom, right = min(height, max(top, int(row + half) + 1)), min(width, max(left, int(column + half) + 1))
        return slice(top, bottom), slice(left, right)

    def ellipse(
        self,
        centre: tuple[float, float],
        radii: tuple[float, float],
        turn: float = 0.0,
        lobes: np.ndarray | None = None,
        soft_px: float = 1.2,
        square: float = 2.0,
    ) -> Mask:
        """A deformed ellipse. `turn` radians; `lobes` complex amplitudes of the 2nd, 3rd, ... harmonic of its radius;
        `square` is the exponent of the superellipse (2 round, 4 box-like); `soft_px` the width of its edge."""
        (cx, cy), (rx, ry) = centre, (max(radii[0], self.px / 4), max(radii[1], self.px / 4))
        bulge = 1.0 if lobes is None else 1.0 + float(np.abs(lobes).sum())
        where = self.patch(cx, cy, max(rx, ry) * bulge * (1.0 if square <= 2 else 1.2))
        scale = float(np.sqrt(rx * ry)) if max(rx, ry) < 3 * min(rx, ry) else min(rx, ry)
        rim = bulge - 1.0 + soft_px * self.px / scale
        rho = self.radius(where, centre, (rx, ry), turn, lobes, square, rim)
        return where, edge((rho - 1.0) * scale, soft_px * self.px)

    def radius(
        self,
        where: Patch,
        centre: tuple[float, float],
        radii: tuple[float, float],
        turn: float,
        lobes: np.ndarray | None,
        square: float,
        rim: float = float("inf"),
    ) -> np.ndarray:
        """Distance from the centre in units of the radius in that direction (1 on the outline).

        The lobes are applied only where the distance is within `rim` of 1: elsewhere they change no coverage.
        """
        dx, dy = self.x[where] - np.float32(centre[0]), self.y[where] - np.float32(centre[1])
        cos, sin = float(np.cos(turn)), float(np.sin(turn))
        u, v = (dx * cos + dy * sin) * (1 / radii[0]), (dy * cos - dx * sin) * (1 / radii[1])
        flat = np.sqrt(u * u + v * v)
        rho = flat if square == 2.0 else (np.abs(u) ** square + np.abs(v) ** square) ** (1.0 / square)
        if lobes is None:
            return rho
        near = np.abs(rho - 1.0) <= rim if np.isfinite(rim) else np.ones(rho.shape, bool)
        unit = (u[near] + 1j * v[near]) / np.maximum(flat[near], 1e-6)
        power, outline = unit, np.ones(unit.shape, np.float32)
        for amplitude in lobes:
            power = power * unit
            outline = outline + (power * amplitude).real
        rho = rho.copy()
        rho[near] /= np.maximum(outline, 0.2)
        return rho

    def dome(
        self, centre: tuple[float, float], radii: tuple[float, float], turn: float = 0.0, square: float = 2.0,
        lobes: np.ndarray | None = None,
    ) -> Mask:  # fmt: skip
        """Like `ellipse`, but the thickness of the ellipsoid along the ray, 1 in the middle: for projections."""
        where = self.patch(*centre, max(radii) * 1.3)
        rho = self.radius(where, centre, radii, turn, lobes, square)
        return where, np.sqrt(np.clip(1.0 - rho * rho, 0.0, 1.0))

    def stroke(self, points: np.ndarray, widths: np.ndarray, soft_px: float = 1.2, tube: bool = False) -> Mask:
        """A round-ended line through `points` (N, 2) whose half-width goes through `widths` (N,).

        tube=True gives the thickness of a filled tube along the ray, 1 on the axis, instead of flat coverage.
        """
        pieces = []
        for k in range(len(points) - 1):
            middle, half = (points[k] + points[k + 1]) / 2, np.abs(points[k + 1] - points[k]) / 2
            reach = float(np.hypot(half[0], half[1])) + float(max(widths[k], widths[k + 1]))
            pieces.append(self.patch(float(middle[0]), float(middle[1]), reach))
        top, left = min(rows.start for rows, _ in pieces), min(columns.start for _, columns in pieces)
        bottom, right = max(rows.stop for rows, _ in pieces), max(columns.stop for _, columns in pieces)
        out = np.zeros((bottom - top, right - left), np.float32)
        for k, (rows, columns) in enumerate(pieces):
            value = self._segment((rows, columns), points[k : k + 2], widths[k : k + 2], soft_px, tube)
            inside = out[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
            np.maximum(inside, value, out=inside)
        return (slice(top, bottom), slice(left, right)), out

    def _segment(self, where: Patch, ends: np.ndarray, widths: np.ndarray, soft_px: float, tube: bool) -> np.ndarray:
        (x0, y0), (ex, ey) = (float(v) for v in ends[0]), (float(v) for v in ends[1] - ends[0])
        dx, dy = self.x[where] - np.float32(x0), self.y[where] - np.float32(y0)
        along = np.minimum(np.maximum((dx * ex + dy * ey) * (1 / max(ex * ex + ey * ey, 1e-9)), 0), 1)
        away_x, away_y = dx - along * ex, dy - along * ey
        distance = np.sqrt(away_x * away_x + away_y * away_y)
        half = float(widths[0]) + along * float(widths[1] - widths[0])
        if tube:
            return np.sqrt(np.maximum(1.0 - (distance / np.maximum(half, 1e-6)) ** 2, 0.0))
        thin = np.minimum(1.0, 2 * half / self.px)  # a line thinner than a pixel fades instead of breaking
        return edge(distance - half, soft_px * self.px) * thin

    def strokes(self, branches: list[tuple[np.ndarray, np.ndarray]], oversample: int = 4) -> np.ndarray:
        """(H, W) coverage of many thin lines at once, drawn `oversample` times finer (unwarped): fast for trees."""
        height, width = self.shape
        page = Image.new("L", (width * oversample, height * oversample))
        pen = ImageDraw.Draw(page)
        scale = oversample / self.px
        middle = np.array([width, height]) * oversample / 2
        for points, widths in branches:
            spots = points * scale + middle
            thick = np.maximum(2 * widths * scale, 1.0)
            for start, stop, size in zip(spots[:-1], spots[1:], thick[:-1], strict=True):
                pen.line([*start, *stop], fill=255, width=max(1, round(float(size))))
                if size > 3:
                    r = size / 2 - 0.5
                    pen.ellipse([start[0] - r, start[1] - r, start[0] + r, start[1] + r], fill=255)
        return np.asarray(page.reduce(oversample), np.float32) / 255.0

    def polygon_band(self, low: np.ndarray, high: np.ndarray, soft_px: float = 1.5) -> np.ndarray:
        """(H, W) coverage of the rows between two curves given per column as y (W,)."""
        y = self.y
        return edge(low[None] - y, soft_px * self.px) * edge(y - high[None], soft_px * self.px)


def lobes(chance: Chance, amount: float, count: int = 4) -> np.ndarray:
    """Random harmonics for `Grid.ellipse`: an irregular outline, coarser parts stronger."""
    parts = chance.normal((2, count))
    decay = 1.0 / np.arange(1, count + 1)
    return amount * decay * (parts[0] + 1j * parts[1])


def wander(
    chance: Chance, start: Sequence[float], heading: float, length: float, steps: int, bend: float
) -> np.ndarray:
    """(steps + 1, 2) points of a smoothly curving walk: `heading` radians, `bend` radians of turn per step."""
    turns = np.cumsum(np.cumsum(chance.normal(steps)) * bend * 0.5)
    headings = heading + turns
    moves = np.stack([np.cos(headings), np.sin(headings)], 1) * (length / steps)
    return np.concatenate([np.asarray(start, float)[None], np.asarray(start, float) + np.cumsum(moves, 0)])


def tree(
    chance: Chance, start: Sequence[float], heading: float, length: float, width: float, depth: int,
    spread: float = 0.6, bend: float = 0.12, shrink: float = 0.75, twigs: int = 2,
) -> list[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """Branches (points, half-widths) of a vessel tree; children thin by Murray's law (w^3 shared by the children)."""
    steps = 6
    points = wander(chance, start, heading, length, steps, bend)
    child = width * (1.0 / twigs) ** (1.0 / 3.0)
    branches = [(points, np.linspace(width, (width + child) / 2, steps + 1))]
    if depth == 0:
        return [(points, np.linspace(width, width * 0.4, steps + 1))]
    last = points[-1] - points[-2]
    end_heading = float(np.arctan2(last[1], last[0]))
    for k in range(twigs):
        offset = spread * ((k / (twigs - 1) - 0.5) * 2 if twigs > 1 else 0.0) * chance.between(0.5, 1.3)
        branches += tree(
            chance, points[-1], end_heading + offset, length * shrink * chance.between(0.7, 1.3),
            child * chance.between(0.75, 1.05), depth - 1, spread, bend, shrink, twigs,
        )  # fmt: skip
    return branches


def dead_leaves(
    chance: Chance, shape: tuple[int, int], count: int, smallest_px: float, largest_px: float
) -> np.ndarray:
    """(H, W) unit-range occluding discs, radii of density r^-3: the edges of natural images (Lee 2001)."""
    grid = Grid(chance, shape, warp=0.01)
    image = np.full(shape, 0.5, np.float32)
    u = chance.many(0.0, 1.0, count)
    radii = 1.0 / np.sqrt(u / smallest_px**2 + (1 - u) / largest_px**2) * grid.px
    half = np.array([shape[1], shape[0]]) * grid.px / 2
    xs, ys = chance.many(-half[0], half[0], count), chance.many(-half[1], half[1], count)
    values = chance.many(0.0, 1.0, count)
    for k in np.argsort(-radii) if chance.toss(0.5) else range(count):
        mask = grid.ellipse((xs[k], ys[k]), (radii[k], radii[k] * 0.8), k * 1.7)
        blend(image, mask, values[k])
    return image


def blend(image: np.ndarray, mask: Mask, value: float | np.ndarray, strength: float = 1.0) -> None:
    """Paint `value` (a number, or a colour for (H, W, 3)) over the image where the mask covers it, in place."""
    where, cover = mask
    cover = cover * strength
    image[where] += (cover[..., None] if image.ndim == 3 else cover) * (value - image[where])


def add(image: np.ndarray, mask: Mask, value: float) -> None:
    """Add `value` times the mask, in place: for projections, where thicknesses sum."""
    image[mask[0]] += mask[1] * value
