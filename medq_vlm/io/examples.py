"""Real images that come with pydicom: the inputs of the demo, the self-test and the README."""

from __future__ import annotations

from pathlib import Path

from pydicom.data import get_testdata_file

from medq_vlm.schema import IngestError

CT_HEAD = "J2K_pixelrep_mismatch.dcm"  # 512 x 512 head CT in HU, JPEG 2000 lossless, brain at about 36 HU
MR_ABDOMEN = "examples_overlay.dcm"  # 300 x 484 contrast-enhanced abdomen MR
CT_SMALL = "CT_small.dcm"  # 128 x 128 cut of a chest CT
MR_SMALL = "MR_small.dcm"  # 64 x 64 cut of a head MR


def example(name: str) -> Path:
    """Path of one of pydicom's bundled files, never downloaded. Raises IngestError when missing."""
    found = get_testdata_file(name, download=False)
    if not isinstance(found, str):
        raise IngestError("missing", f"pydicom's example '{name}' is not installed; reinstall pydicom.")
    return Path(found)
