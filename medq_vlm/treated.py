"""What the restoration network treats: the closed table of kinds and the modalities it learnt them in."""

from __future__ import annotations

from medq_vlm import vocab

_NOISY = ("ct", "mr", "xray", "mammography", "pet", *vocab.OPTICAL)
_RADIOGRAPHS = ("xray", "mammography")

TREATED: dict[str, tuple[str, ...]] = {
    "low_dose_noise": ("ct",),
    "sparse_view": ("ct",),
    "metal": ("ct",),
    "undersampling": ("mr",),
    "mr_motion": ("mr",),
    "low_resolution": ("mr",),
    "mr_noise": ("mr",),
    "low_count_noise": ("pet",),
    "quantum_mottle": _RADIOGRAPHS,
    "underexposure": (*_RADIOGRAPHS, *vocab.OPTICAL),
    "overexposure": (*_RADIOGRAPHS, *vocab.OPTICAL),
    "noise": _NOISY,
    "blur": vocab.OPTICAL,
    "defocus": vocab.OPTICAL,
    "uneven_illumination": vocab.OPTICAL,
}
LIGHT_KINDS = ("underexposure", "overexposure", "uneven_illumination")  # curves and gains, not detail
TREATED_MODALITIES = tuple(m for m in vocab.MODALITIES if any(m in where for where in TREATED.values()))


def treats(kind: str, modality: str | None) -> bool:
    """Whether the network learnt to take `kind` out of images of `modality`."""
    return modality in TREATED.get(kind, ())


def tasks_for(modality: str) -> tuple[str, ...]:
    """The treated kinds of a modality, in table order."""
    return tuple(kind for kind, where in TREATED.items() if modality in where)
