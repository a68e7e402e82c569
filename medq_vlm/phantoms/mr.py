"""MR phantoms: brain, spine, heart, joints, abdomen and abstract content in T1, T2, FLAIR, PD and DWI contrast."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from medq_vlm.phantoms import body, brain, mr_layouts
from medq_vlm.phantoms.chance import Chance
from medq_vlm.phantoms.common import sample, sides
from medq_vlm.phantoms.generic import abstract
from medq_vlm.phantoms.painter import Painter, Palette
from medq_vlm.phantoms.shapes import Grid, smooth_field
from medq_vlm.schema import ImageSample

WEIGHTINGS = ("T1", "T2", "FLAIR", "PD", "DWI", "bSSFP")
# relative signal of each tissue in the order of WEIGHTINGS, after the usual look at 1.5 to 3 T
SIGNALS: dict[str, tuple[float, ...]] = {
    "fat": (0.95, 0.62, 0.7, 0.85, 0.06, 0.9),
    "marrow": (0.75, 0.5, 0.45, 0.7, 0.1, 0.6),
    "muscle": (0.36, 0.18, 0.28, 0.5, 0.16, 0.28),
    "white": (0.66, 0.32, 0.5, 0.6, 0.46, 0.4),
    "grey": (0.46, 0.46, 0.66, 0.76, 0.56, 0.5),
    "deep": (0.52, 0.38, 0.58, 0.7, 0.5, 0.45),
    "csf": (0.14, 1.0, 0.08, 0.75, 0.12, 0.95),
    "blood": (0.3, 0.15, 0.2, 0.3, 0.1, 0.85),
    "liver": (0.55, 0.28, 0.4, 0.5, 0.3, 0.36),
    "spleen": (0.36, 0.5, 0.5, 0.6, 0.85, 0.4),
    "kidney": (0.46, 0.6, 0.5, 0.6, 0.6, 0.55),
    "medulla": (0.34, 0.7, 0.5, 0.62, 0.6, 0.6),
    "fluid": (0.15, 1.0, 0.2, 0.85, 0.2, 0.95),
    "disc": (0.36, 0.65, 0.5, 0.55, 0.3, 0.5),
    "cartilage": (0.5, 0.5, 0.5, 0.72, 0.3, 0.6),
    "edema": (0.35, 0.8, 1.0, 0.9, 1.0, 0.7),
}


def _palette(c: Chance, weighting: str) -> Palette:
    """Signals of every tissue the layouts name, jittered by a tenth; textures in signal units."""
    column = WEIGHTINGS.index(weighting)
    means = {tissue: signals[column] * c.between(0.9, 1.1) for tissue, signals in SIGNALS.items()}
    muscle, fluid = means["muscle"], means["fluid"]
    means |= {
        "air": 0.0, "gas": 0.01, "lung": 0.04, "skin": 0.5 * means["fat"], "cortex": 0.04, "heart": muscle * 1.2,
        "vessel": 0.35, "liver_vessel": means["blood"] * 0.8, "pancreas": means["liver"] * 0.9, "bowel": muscle * 1.3,
        "stool": 0.4, "urine": fluid, "cord": means["white"] * 0.95, "plexus": 0.5, "lens": 0.1, "ligament": 0.07,
    }  # fmt: skip
    texture = c.between(0.03, 0.07)
    rough = {"marrow": 2.0, "lung": 0.6, "air": 0.0, "gas": 0.0, "csf": 0.3, "fluid": 0.3, "stool": 3.0, "fat": 1.2}
    return {tissue: (value, texture * value * rough.get(tissue, 1.0)) for tissue, value in means.items()}


def acquire(c: Chance, signal: np.ndarray, snr: float, blur_px: float) -> np.ndarray:
    """Resolution limit, a mild coil shading, and Rician noise at `snr` (signal 1 over the noise SD)."""
    seen = gaussian_filter(np.clip(signal, 0, None), blur_px)
    seen = seen * (1 + c.between(0.01, 0.06) * smooth_field(c, (seen.shape[0], seen.shape[1]), 0.8 * min(seen.shape)))
    real, imaginary = (c.noise.standard_normal(seen.shape, np.float32) / snr for _ in range(2))
    return np.hypot(seen + real, imaginary)


def draw(c: Chance, size: int) -> ImageSample:
    """One MR slice; native range is arbitrary, as scanners' are."""
    layout = c.choose(
        ("head", "head", "sagittal", "coronal", "spine", "heart", "knee", "abdomen", "neck", "hip", "abstract")
    )
    height, width = sides(c, size, 1.25, 1.25)
    choices = {
        "spine": ("T1", "T2", "T2", "PD"), "heart": ("bSSFP", "bSSFP", "T1"), "knee": ("PD", "PD", "T1", "T2"),
        "abdomen": ("T1", "T2", "T2", "DWI", "bSSFP"), "neck": ("T2", "T1"), "hip": ("T1", "T2", "PD"),
    }  # fmt: skip
    weighting = c.choose(choices.get(layout, ("T1", "T1", "T2", "T2", "FLAIR", "FLAIR", "PD", "DWI")))
    p = Painter(c, Grid(c, (height, width), c.between(0.012, 0.03)), _palette(c, weighting))
    painters = {
        "head": brain.head, "abdomen": body.abdomen, "hip": body.pelvis, "sagittal": mr_layouts.sagittal_head,
        "coronal": mr_layouts.coronal_head, "spine": mr_layouts.spine, "heart": mr_layouts.heart,
        "knee": mr_layouts.knee, "neck": mr_layouts.neck,
    }  # fmt: skip
    if layout == "abstract":
        p.image = abstract(c, (height, width))
    else:
        painters[layout](p)
    snr, scale = c.between(30, 80), c.choose((255.0, 600.0, 1200.0, 2500.0, 4000.0))
    pixels = np.round(acquire(c, p.image, snr, c.between(0.5, 1.0)) * scale)
    anatomy = {"sagittal": "head", "coronal": "head", "neck": "spine", "knee": None, "abstract": None}.get(
        layout, layout
    )
    field_t, thickness = c.choose((1.5, 3.0)), c.choose((1.0, 3.0, 4.0, 5.0))
    place = {"knee": "Knee", "sagittal": "Head", "coronal": "Head", "neck": "Neck"}.get(
        layout, (anatomy or "Body").capitalize()
    )
    plane = {"sagittal": "sagittal", "coronal": "coronal", "spine": "sagittal", "knee": "sagittal"}.get(layout, "axial")
    fov_mm = {"head": 230.0, "spine": 300.0, "heart": 340.0, "knee": 160.0}.get(layout, 300.0) * c.between(0.95, 1.1)
    fields: dict[str, str | float] = {
        "field_strength_t": field_t,
        "weighting": weighting,
        "slice_thickness_mm": thickness,
    }
    sentence = f"{place} MR, {weighting}-weighted, {plane}, {field_t} T, {thickness} mm slices"
    spacing = fov_mm / min(height, width)
    return sample(pixels, "mr", anatomy, fields, sentence, (thickness, spacing, spacing), view=plane, bits=12)
