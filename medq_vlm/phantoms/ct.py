"""CT phantoms in HU: head, chest, abdomen, pelvis and abstract content, with the PSF and noise of a good scan."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from medq_vlm.phantoms import body, brain
from medq_vlm.phantoms.chance import Chance
from medq_vlm.phantoms.common import sample, sides
from medq_vlm.phantoms.generic import abstract
from medq_vlm.phantoms.painter import Painter, Palette
from medq_vlm.phantoms.shapes import Grid, _frequency, edge, shaped_noise
from medq_vlm.schema import ImageSample

LAYOUTS = {"chest": body.chest, "abdomen": body.abdomen, "hip": body.pelvis, "head": brain.head}


def _palette(c: Chance, contrast: bool) -> Palette:
    """CT numbers in HU (mean,
    texture SD); `contrast` is iodine in the vessels. Means after Hounsfield and usual atlases."""
    blood = c.between(120, 280) if contrast else c.between(35, 48)
    lift = c.between(30, 60) if contrast else 0.0
    grey = c.between(35, 42)
    return {
        "air": (-1000, 0), "gas": (-990, 4), "lung": (c.between(-880, -790), c.between(12, 28)),
        "skin": (c.between(-10, 40), 8), "fat": (c.between(-112, -92), c.between(3, 8)),
        "muscle": (c.between(48, 60), c.between(4, 9)), "cortex": (c.between(650, 1500), 60),
        "marrow": (c.between(130, 330), c.between(30, 70)), "blood": (blood, 2), "heart": (c.between(42, 52) + lift, 3),
        "vessel": (blood * 0.8 + 5, 5), "liver": (c.between(50, 64) + lift, c.between(2, 4)),
        "liver_vessel": (blood * 0.7 + 10 if contrast else c.between(34, 44), 2),
        "spleen": (c.between(46, 54) + lift * 1.1, 2), "kidney": (c.between(30, 36) + lift * 2.6, 3),
        "medulla": (c.between(24, 30) + lift * 1.6, 3), "pancreas": (c.between(38, 46) + lift, 9),
        "bowel": (c.between(38, 50) + lift * 0.6, 6), "fluid": (c.between(2, 18), 2), "stool": (c.between(-20, 40), 60),
        "urine": (c.between(0, 10), 1), "csf": (c.between(4, 12), 1), "cord": (c.between(32, 40), 2),
        "cartilage": (c.between(70, 100), 5), "grey": (grey, 1.2), "white": (grey - c.between(6.5, 11), 1.2),
        "deep": (grey - 1, 1), "plexus": (c.choose((40.0, 220.0)), 20), "lens": (110, 3), "edema": (20, 2),
    }  # fmt: skip


def _table(p: Painter, y: float) -> None:
    """The couch: a curved carbon shell with foam; painted only in air."""
    c, g = p.chance, p.grid
    curve = y + c.between(-0.12, 0.0) * (g.x / 0.9) ** 2
    free = np.clip((p.image + 1000) / -300 + 1, 0, 1)
    thick = c.between(0.05, 0.1)
    inside = edge(np.abs(g.x) - c.between(0.7, 1.1), 2 * g.px)
    shell = sum(edge(np.abs(g.y - curve - d) - 0.004, 2 * g.px) for d in (0.0, thick))
    foam = edge(np.abs(g.y - curve - thick / 2) - thick / 2, 2 * g.px)
    p.image += inside * free * foam * c.between(10, 60)
    p.image += inside * free * shell * c.between(350, 800)


def _head_rest(p: Painter) -> None:
    c, g = p.chance, p.grid
    free = np.clip((p.image + 1000) / -300 + 1, 0, 1)
    r = np.hypot(g.x, g.y + 0.05)
    angle = np.abs(np.arctan2(g.x, g.y + 0.05))
    p.image += (
        free * edge(np.abs(r - c.between(0.93, 0.97)) - 0.007, 2 * g.px) * edge(angle - c.between(0.9, 1.5), 0.1) * 700
    )


def _arms(p: Painter) -> None:
    c, g = p.chance, p.grid
    half = g.shape[1] * g.px / 2
    for side in (-1, 1):
        at, r = (side * (half - c.between(-0.03, 0.04)), c.between(0.0, 0.3)), c.between(0.1, 0.14)
        free = 1 - np.clip((p.image + 1000) / 300, 0, 1)
        for tissue, size in (
            ("skin", r),
            ("fat", r - 0.012),
            ("muscle", r - 0.035),
            ("cortex", 0.035),
            ("marrow", 0.018),
        ):
            p.fill_inside(g.ellipse(at, (size, size)), free, tissue)


def acquire(c: Chance, hu: np.ndarray, sd_hu: float, sharpness: float) -> np.ndarray:
    """The scan of a clean (H, W) map: PSF, ramp-shaped quantum noise (NPS ~ f times the kernel), 12-bit limits.

    `sharpness` 0 (soft kernel) to 1 (sharp); noise SD is `sd_hu` in the middle of the patient, less in air.
    """
    sigma = 0.95 - 0.4 * sharpness
    seen = gaussian_filter(hu, sigma)
    if sharpness > 0.6:  # edge enhancement of a lung or bone kernel
        seen = seen + (sharpness - 0.6) * 1.2 * (seen - gaussian_filter(seen, 1.2))
    f = _frequency((hu.shape[0], hu.shape[1]))
    cut = 0.13 + 0.2 * sharpness
    grain = shaped_noise(c.noise.standard_normal(hu.shape, np.float32), f * np.exp(-((f / cut) ** 2)) + 0.004)
    dense = gaussian_filter(np.clip(hu[::8, ::8] + 1000, 0, 1500), 60 / 8) / 1000
    local = np.kron(0.35 + 0.65 * dense, np.ones((8, 8), np.float32))[: hu.shape[0], : hu.shape[1]]
    noisy = seen + sd_hu * np.minimum(gaussian_filter(local, 4), 1.15) * grain
    return np.clip(np.round(noisy), -1024, 3071)


def draw(c: Chance, size: int) -> ImageSample:
    """One CT slice in HU."""
    anatomy = c.choose(("head", "chest", "chest", "abdomen", "abdomen", "hip", None))
    height, width = sides(c, size, 1.25 if anatomy != "head" else 1.0, 1.05 if anatomy != "head" else 1.25)
    fov_mm = {"head": c.between(210, 250), None: c.between(200, 400)}.get(anatomy, c.between(320, 420))
    grid = Grid(c, (height, width), c.between(0.01, 0.03) if anatomy == "head" else c.between(0.02, 0.04))
    contrast = anatomy != "head" and c.toss(0.5)
    p = Painter(c, grid, _palette(c, contrast))
    if anatomy is None:
        unit = abstract(c, (height, width))
        low, high = c.choose(((-150.0, 250.0), (-1000.0, 200.0), (0.0, 80.0), (-200.0, 1200.0)))
        p.image = (low + (high - low) * unit).astype(np.float32)
    else:
        LAYOUTS[anatomy](p)
        if anatomy == "head":
            if c.toss(0.7):
                _head_rest(p)
        elif c.toss(0.8):
            rows = np.flatnonzero((p.image > -600).mean(1) > 0.05)
            bottom = float(grid.y[rows.max() if len(rows) else -1].mean())
            _table(p, bottom - c.between(0.0, 0.03))
        if anatomy in ("abdomen", "hip") and c.toss(0.2):
            _arms(p)
    bony = anatomy == "head" and c.toss(0.2)  # a bone kernel, whose grain is coarse and no fault
    sharpness = c.between(0.0, 0.5) if anatomy in ("abdomen", "head", "hip") else c.between(0.0, 1.0)
    sharpness = 0.6 + 0.8 * sharpness if bony else sharpness
    sd_hu = c.between(1.5, 5) + 14 * bony if anatomy == "head" else c.between(5, 9) + 8 * max(0.0, sharpness - 0.4)
    pixels = acquire(c, p.image, sd_hu, sharpness)
    kernel = "soft" if sharpness < 0.33 else "medium" if sharpness < 0.6 else "sharp"
    kvp, mas = c.choose((100, 120, 120, 140)), c.choose((120, 150, 200, 250, 300))
    thickness = c.choose((1.0, 1.25, 2.0, 3.0, 5.0))
    place = {"hip": "Pelvis", None: "Body"}.get(anatomy, (anatomy or "").capitalize())
    sentence = f"{place} CT, {kvp} kVp, {mas} mAs, {thickness} mm slices, {kernel} kernel"
    sentence += ", contrast-enhanced" if contrast else ""
    window = {
        "head": (500.0, 2500.0) if bony else (40.0, 80.0),
        "chest": (40.0, 400.0) if c.toss(0.5) else (-600.0, 1500.0),
    }.get(anatomy or "", (50.0, 400.0))
    fields: dict[str, str | float] = {
        "kvp": float(kvp),
        "exposure_mas": float(mas),
        "slice_thickness_mm": thickness,
        "kernel": kernel,
    }
    spacing = fov_mm / min(height, width)
    return sample(
        pixels, "ct", anatomy, fields, sentence, (thickness, spacing, spacing), "HU", "axial", window, bits=12
    )
