"""CT in files that do not say so is read in HU; nothing else is taken for it."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from medq_vlm import io
from medq_vlm.io.common import READ_AS_CT, looks_like_hounsfield
from medq_vlm.phantoms import phantom


@pytest.mark.parametrize("ending", [".npy", ".nii"])
def test_ct_without_a_header_is_read_in_hounsfield_units(tmp_path: Path, ending: str) -> None:
    hu = phantom("ct", 3, 96).pixels[0]
    path = tmp_path / f"scan{ending}"
    if ending == ".npy":
        np.save(path, hu)
    else:
        nibabel.save(nibabel.Nifti1Image(hu.T.copy(), np.eye(4)), path)
    sample = io.load(path)[0]
    assert (sample.modality, sample.unit) == ("ct", "HU")
    assert sample.modality_from == "image"
    assert READ_AS_CT in sample.warnings


@pytest.mark.parametrize("modality", ["mr", "pet", "xray", "ultrasound"])
def test_other_modalities_are_not_taken_for_it(tmp_path: Path, modality: str) -> None:
    np.save(tmp_path / "scan.npy", phantom(modality, 3, 96).pixels[0])
    assert io.load(tmp_path / "scan.npy")[0].modality is None


def test_phases_and_differences_are_no_ct() -> None:
    rng = np.random.default_rng(0)
    assert not looks_like_hounsfield(rng.uniform(-3141, 3141, (1, 64, 64)).astype(np.float32))
    assert not looks_like_hounsfield(rng.normal(0, 600, (1, 64, 64)).astype(np.float32))
