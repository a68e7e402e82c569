"""PET phantoms: tracer uptake of the same anatomy, smooth resolution of 4 to 6 mm, moderate correlated noise."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from medq_vlm.phantoms import body, brain
from medq_vlm.phantoms.chance import Chance
from medq_vlm.phantoms.common import sample, sides
from medq_vlm.phantoms.generic import abstract
from medq_vlm.phantoms.painter import Painter, Palette
from medq_vlm.phantoms.shapes import Grid, lobes
from medq_vlm.schema import ImageSample


def _palette(c: Chance) -> Palette:
    """Standardised uptake values of FDG (mean, texture SD), ranges of the usual normal organs."""
    grey = c.between(7, 11)
    uptake = {
        "air": 0.0, "gas": 0.1, "lung": c.between(0.3, 0.6), "skin": 0.4, "fat": 0.3, "muscle": c.between(0.6, 0.9),
        "cortex": 0.5, "marrow": c.between(1.0, 1.8), "blood": c.between(1.3, 2.0), "heart": c.between(2, 9),
        "vessel": 1.2,
        "liver": c.between(1.8, 2.6), "liver_vessel": 1.7, "spleen": c.between(1.5, 2.2), "kidney": c.between(2, 4),
        "medulla": c.between(3, 8), "pancreas": 1.5, "bowel": c.between(1.0, 3.0), "fluid": 0.8, "stool": 1.0,
        "urine": c.between(8, 25), "csf": 0.4, "cord": 1.6, "cartilage": 0.5, "grey": grey, "white": grey * 0.35,
        "deep": grey * 0.95, "plexus": 0.5, "lens": 0.3, "edema": 2.0,
    }  # fmt: skip
    return {tissue: (value, 0.12 * value) for tissue, value in uptake.items()}


def _coronal(p: Painter) -> None:
    """Whole body from the front: brain, salivary glands, heart, liver, kidneys, bowel, bladder, limbs."""
    c, g = p.chance, p.grid
    half = g.shape[0] * g.px / 2
    k = half / 1.6
    p.fill(g.ellipse((0, -1.25 * k), (0.2 * k, 0.26 * k)), "muscle")
    p.fill(g.stroke(np.array([[0, -1.0], [0, -0.8]]) * k, np.array([0.12, 0.16]) * k), "muscle")
    p.fill(g.ellipse((0, -0.25 * k), (c.between(0.36, 0.46) * k, 0.72 * k), 0, lobes(c, 0.03), square=3), "muscle")
    for s in (-1, 1):
        p.fill(g.stroke(np.array([[0.18, 0.3], [0.2, 1.7]]) * [s * k, k], np.array([0.2, 0.12]) * k), "muscle")
        p.fill(
            g.stroke(np.array([[0.4, -0.75], [0.56, 0.0], [0.58, 0.45]]) * [s * k, k], np.array([0.1, 0.08, 0.05]) * k),
            "muscle",
        )
        p.fill(g.ellipse((s * 0.19 * k, -0.52 * k), (0.13 * k, 0.26 * k)), "lung")
        p.fill(g.ellipse((s * 0.17 * k, 0.02 * k), (0.06 * k, 0.1 * k)), "kidney")
        p.fill(g.ellipse((s * 0.15 * k, 0.02 * k), (0.025 * k, 0.05 * k)), "medulla")
    p.fill(g.stroke(np.array([[0, -0.9], [0, 0.3]]) * k, np.array([0.045, 0.06]) * k), "marrow")
    p.fill(g.ellipse((0, -1.3 * k), (0.15 * k, 0.15 * k), 0, lobes(c, 0.05)), "grey")
    p.fill(g.ellipse((0, -1.3 * k), (0.07 * k, 0.06 * k), 0, lobes(c, 0.2)), "white")
    p.fill(g.ellipse((-0.17 * k, -0.18 * k), (0.2 * k, 0.14 * k), -0.2, lobes(c, 0.06)), "liver")
    p.fill(g.ellipse((0.24 * k, -0.16 * k), (0.08 * k, 0.1 * k)), "spleen")
    heart = (0.1 * k, -0.4 * k)
    p.fill(g.ellipse(heart, (0.12 * k, 0.11 * k), 0.6), "heart")
    p.fill(g.ellipse(heart, (0.06 * k, 0.055 * k), 0.6), "blood")
    for _ in range(c.integer(6, 16)):
        at = (c.between(-0.25, 0.25) * k, c.between(0.0, 0.35) * k)
        p.fill(g.ellipse(at, (c.between(0.02, 0.06) * k, 0.025 * k), c.between(0, 3), lobes(c, 0.15)), "bowel")
    p.fill(g.ellipse((0, 0.42 * k), (c.between(0.06, 0.1) * k, 0.06 * k)), "urine")


def draw(c: Chance, size: int) -> ImageSample:
    """One slice in kBq/mL-like numbers; trunk, head or whole body."""
    layout = c.choose(("chest", "abdomen", "head", "hip", "whole", "whole", "abstract"))
    height, width = (round(size * 1.25), round(size * 0.8)) if layout == "whole" else sides(c, size, 1.2, 1.0)
    p = Painter(c, Grid(c, (height, width), c.between(0.015, 0.035)), _palette(c))
    if layout == "abstract":
        p.image = 6 * np.clip(abstract(c, (height, width)), 0, None) ** 1.5
    else:
        {"chest": body.chest, "abdomen": body.abdomen, "head": brain.head, "hip": body.pelvis, "whole": _coronal}[
            layout
        ](p)
    for _ in range(c.integer(0, 4)):  # hot nodules
        at, r = (c.between(-0.45, 0.45), c.between(-0.4, 0.4)), c.between(0.01, 0.05)
        where, cover = p.grid.ellipse(at, (r, r), 0, lobes(c, 0.1))
        p.image[where] += cover * c.between(3, 15) * (p.image[where] > 0.2)
    fov_mm = {"head": c.between(230, 300), "whole": c.between(650, 800)}.get(layout, c.between(420, 600))
    spacing = fov_mm / min(height, width)
    # display matrices finer than the scanner's own are interpolated: resolution in pixels grows with them
    fwhm_mm = c.between(4, 6)
    seen = gaussian_filter(p.image, fwhm_mm / 2.355 / spacing)
    counts = c.between(60, 200)
    grain_px = 0.75 * fwhm_mm / 2.355 / spacing
    grain = gaussian_filter(c.noise.standard_normal(seen.shape, np.float32), grain_px)
    seen = seen + np.sqrt(seen / counts + 1e-4) * grain / max(float(grain.std()), 1e-6)
    scale = c.choose((1000.0, 2500.0, 5000.0))
    anatomy = {"whole": "whole body", "abstract": None}.get(layout, layout)
    mbq, minutes = c.choose((250, 300, 370)), c.choose((2, 3, 4))
    fields: dict[str, str | float] = {"activity_mbq": float(mbq), "minutes_per_bed": float(minutes), "tracer": "FDG"}
    sentence = (
        f"{(anatomy or 'body').capitalize()} PET, FDG {mbq} MBq, {minutes} min per bed, {fwhm_mm:.0f} mm resolution"
    )
    view = "coronal" if layout == "whole" else "axial"
    return sample(
        np.round(np.clip(seen, 0, None) * scale),
        "pet",
        anatomy,
        fields,
        sentence,
        (3.0, spacing, spacing),
        "BQML",
        view,
        bits=16,
    )
