"""Writing and graphics on the screen of an ultrasound machine or an endoscope: found, and left out of the score.

Such a screen carries a name, settings, a colour bar, a row of buttons, and the scorer takes them for faults of the
image. On flat black the anatomy is the largest part and those about as large; what lies outside its convex hull is
drawn if it is small and of one brightness, as letters are, or tiny, or evenly filled, as bars and buttons are. What
overlaps the anatomy stays. Elsewhere the same rules take a couch, a fold of skin or a rib for writing: not used there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage
from scipy.spatial import Delaunay

from medq_vlm.schema import ImageSample

SCREENS = ("ultrasound", "endoscopy")
NOTE = "Writing or graphics beside the image were left out of its score."
BLACK, LIT = 0.03, 0.08  # of white: at most, at least; between them lies what JPEG leaves around a stroke
BLACK_SHARE = 0.08  # of the picture, below which nothing stands apart
MAIN = 0.2  # of the largest part that is not drawn, from which on a part belongs to the anatomy
MARK = 0.006  # of the picture: the largest word or tick
TICK = 0.0005  # of the picture: below it a mark need not be
FLAT = 0.35  # of a mark's pixels within
SAME = 0.15  # of white below its peak
SMALLEST_PX = 4  # of a mark: less is noise
BRIGHT = 0.2  # of white: the least peak of what is drawn
EVEN = 0.01  # of white: range in three pixels of an even filling
PICTURE = 0.12  # of all: a part as large is no graphic
HALF = 0.5  # share of a graphic's pixels that are even, of a part that keeps it in the hull
LEAST_KEPT = 0.04  # of the picture: below it the writing is the picture
RIM_PX = 2  # beside a stroke
FRAMES = 8  # of a sequence that are looked at: its writing stays where it is
HULL_PX = 128  # larger side of the grid on which the hull is drawn


def without_annotations(sample: ImageSample, modality: str | None) -> ImageSample:
    """The sample whose `valid` leaves out what is drawn beside the anatomy; the same object where nothing is."""
    if modality not in SCREENS or sample.bits is None or sample.bits > 8 or sample.inverted:
        return sample
    white = float(2**sample.bits - 1)
    looked = np.unique(np.linspace(0, sample.slices - 1, FRAMES).astype(int))
    drawn = drawn_beside(np.max([_brightness(frame) for frame in sample.pixels[looked]], axis=0) / white)
    if not drawn.any():
        return sample
    valid = np.broadcast_to(~drawn, sample.pixels.shape[:3])
    valid = valid.copy() if sample.valid is None else sample.valid & valid
    return replace(sample, valid=valid, warnings=(*sample.warnings, NOTE))


def drawn_beside(image: np.ndarray) -> np.ndarray:
    """What is drawn beside the anatomy of (H, W), 0 black to 1 white; bool, with a margin.

    The anatomy is the largest part that is not drawn, with those about as large; nothing in its convex hull goes.
    """
    nothing = np.zeros(image.shape, bool)
    if not BLACK_SHARE <= float((image <= BLACK).mean()) < 1:
        return nothing
    lit = image >= LIT
    parts, count = ndimage.label(lit, np.ones((3, 3)))
    if count < 2:
        return nothing
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0  # what is dark
    small = (sizes >= SMALLEST_PX) & (sizes <= MARK * image.size)
    peaks = ndimage.maximum(image, parts, range(count + 1))
    bright = peaks >= BRIGHT
    flat = np.bincount(parts.ravel(), (image >= peaks[parts] - SAME).ravel(), count + 1) >= FLAT * sizes
    small &= flat | (sizes <= TICK * image.size)
    boxes = ndimage.find_objects(parts)
    drawn = np.zeros(count + 1, bool)
    for number in np.flatnonzero(bright & (sizes > TICK * image.size) & (sizes < PICTURE * image.size)):
        where = boxes[number - 1]
        drawn[number] = _is_even(image[where], parts[where] == number)
    anatomy = np.where(drawn, 0, sizes)
    main = anatomy >= max(MAIN * float(anatomy.max()), 1.0)
    gone = (drawn | (small & bright)) & ~main
    if not gone.any() or anatomy.sum() < LEAST_KEPT * image.size:
        return nothing
    inside = np.bincount(parts.ravel(), _hull(main[parts]).ravel(), count + 1)
    gone &= inside < HALF * sizes
    return _beside(gone[parts], lit & ~gone[parts])


def _is_even(image: np.ndarray, lit: np.ndarray) -> bool:
    """Whether one part is evenly filled along its rows or its columns, as bars and buttons are; edges do not count."""
    inner = ndimage.minimum_filter(lit.astype(np.uint8), 3) > 0
    if inner.sum() < HALF * lit.sum():
        return False
    spreads = [ndimage.maximum_filter1d(image, 3, axis) - ndimage.minimum_filter1d(image, 3, axis) for axis in (0, 1)]
    return any(float((spread[inner] <= EVEN).mean()) >= HALF for spread in spreads)


def _hull(mask: np.ndarray) -> np.ndarray:
    """The convex hull of a mask, drawn on a grid of HULL_PX; all False for an empty one or a line."""
    step = max(1, -(-max(mask.shape) // HULL_PX))
    coarse = np.stack(np.nonzero(mask), -1) // step
    if len(coarse) < 3 or (np.ptp(coarse, axis=0) < 1).any():
        return np.zeros(mask.shape, bool)
    corners = Delaunay(np.unique(coarse, axis=0))
    rows, columns = -(-mask.shape[0] // step), -(-mask.shape[1] // step)
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), -1)
    inside = corners.find_simplex(grid.reshape(-1, 2)).reshape(rows, columns) >= 0
    return np.repeat(np.repeat(inside, step, 0), step, 1)[: mask.shape[0], : mask.shape[1]]


def _beside(drawn: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """What is drawn, with its blurred rim, and all beyond the box of what is kept: the dark end of a bar, too."""
    out = ndimage.maximum_filter(drawn.astype(np.uint8), 2 * RIM_PX + 1) > 0
    rows, columns = np.flatnonzero(kept.any(1)), np.flatnonzero(kept.any(0))
    out[: max(0, rows[0] - RIM_PX)] = True
    out[rows[-1] + 1 + RIM_PX :] = True
    out[:, : max(0, columns[0] - RIM_PX)] = True
    out[:, columns[-1] + 1 + RIM_PX :] = True
    return out & ~kept


def _brightness(frame: np.ndarray) -> np.ndarray:
    """The brightest channel: a coloured stroke is lit."""
    return frame.max(-1) if frame.ndim == 3 else frame
