"""Paints named tissues on an image: one anatomy, many contrasts (CT numbers, MR signals, PET uptake)."""

from __future__ import annotations

import numpy as np

from medq_vlm.phantoms.chance import Chance
from medq_vlm.phantoms.shapes import Grid, Mask, Patch, edge, fractal, smooth_field

Palette = dict[str, tuple[float, float]]  # tissue: (mean, SD of its texture)


class Painter:
    """An image under way: where things are (`grid`), what they look like (`palette`), the canvas (`image`)."""

    def __init__(self, chance: Chance, grid: Grid, palette: Palette) -> None:
        self.chance, self.grid, self.palette = chance, grid, palette
        self.image = np.full(grid.shape, palette["air"][0], np.float32)
        largest_px = 0.12 / grid.px
        self._texture = fractal(chance, grid.shape, chance.between(0.6, 1.4), largest_px)

    def level(self, tissue: str, where: Patch) -> np.ndarray:
        mean, texture_sd = self.palette[tissue]
        return mean + texture_sd * self._texture[where]

    def fill(self, mask: Mask, tissue: str, strength: float = 1.0) -> None:
        """Paint `tissue` where `mask` covers."""
        where, cover = mask
        patch = self.image[where]
        patch += cover * strength * (self.level(tissue, where) - patch)

    def fill_inside(self, mask: Mask, limit: np.ndarray, tissue: str) -> None:
        """Paint `tissue` where `mask` covers, within the full-size coverage `limit` (H, W)."""
        where, cover = mask
        self.fill((where, cover * limit[where]), tissue)

    def whole(self, cover: np.ndarray, tissue: str) -> None:
        """Paint with a full-size (H, W) coverage."""
        self.fill(((slice(0, self.grid.shape[0]), slice(0, self.grid.shape[1])), cover), tissue)

    def full(self, mask: Mask) -> np.ndarray:
        """(H, W) coverage of a patch mask."""
        out = np.zeros(self.grid.shape, np.float32)
        out[mask[0]] = mask[1]
        return out

    def bone(
        self, centre: tuple[float, float], radii: tuple[float, float], turn: float = 0.0,
        shape: np.ndarray | None = None, shell: float = 0.012, square: float = 2.0,
    ) -> None:  # fmt: skip
        """A cortical shell `shell` thick round marrow."""
        self.fill(self.grid.ellipse(centre, radii, turn, shape, square=square), "cortex")
        inner = (radii[0] - shell, radii[1] - shell)
        if min(inner) > self.grid.px:
            self.fill(self.grid.ellipse(centre, inner, turn, shape, square=square, soft_px=2.0), "marrow")

    def streaks(self, limit: np.ndarray, tissue: str, wavelength: float, thickness: float, amount: float) -> None:
        """Thin curved sheets (septa, fasciae, mesentery) along the zero lines of a random field inside `limit`."""
        field = smooth_field(self.chance, self.grid.shape, wavelength / self.grid.px)
        slope = np.hypot(*np.gradient(field)) + 1e-3
        lines = edge(np.abs(field) / slope * self.grid.px - thickness / 2, 1.5 * self.grid.px)
        self.whole(lines * limit * amount, tissue)
