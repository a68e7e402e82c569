"""Write an image in its native units: .npy, .tif and .nii(.gz) exactly, .png and .dcm as whole numbers.

Nothing is stretched or windowed: a format that cannot hold the values refuses with the one that can.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medq_vlm.io.acquisition import QUANTITIES
from medq_vlm.io.files import put
from medq_vlm.schema import ImageSample, MedQError

if TYPE_CHECKING:
    from pydicom import Dataset

EXACT = "use .npy, .tif or .nii.gz"


def write(sample: ImageSample, path: Path, note: str = "") -> None:
    """Write `sample.pixels` to `path`; `note` is a sentence on how the image was derived, kept where it fits.

    The file appears whole or not at all. Raises MedQError when the suffix is unknown or the format cannot hold the
    values, OSError when it cannot be written.
    """
    writer = next((save for end, save in WRITERS.items() if path.name.lower().endswith(end)), None)
    if writer is None:
        raise MedQError(f"'{path}' has no known ending; use one of {', '.join(WRITERS)}.")
    put(path, writer(sample, path, note))


def _npy(sample: ImageSample, path: Path, note: str) -> bytes:
    out = io.BytesIO()
    np.save(out, np.ascontiguousarray(_squeezed(sample)), allow_pickle=False)
    return out.getvalue()


def _tif(sample: ImageSample, path: Path, note: str) -> bytes:
    import tifffile

    photometric = "rgb" if sample.colour else "miniswhite" if sample.inverted else "minisblack"
    out = io.BytesIO()
    tifffile.imwrite(out, _squeezed(sample), photometric=photometric, description=note.encode("ascii", "replace"))
    return out.getvalue()


def _nifti(sample: ImageSample, path: Path, note: str) -> bytes:
    return nifti_bytes(sample, str(path), note, path.name.lower().endswith(".gz"))


def nifti_bytes(sample: ImageSample, name: str, note: str = "", gzipped: bool = True) -> bytes:
    """A NIfTI-1 file of a grey image in native units, in its place where it is known. Raises MedQError, by `name`."""
    import nibabel

    if sample.colour:
        raise MedQError(f"'{name}': NIfTI holds no colour images; use .npy, .tif or .png.")
    slice_mm, row_mm, column_mm = (mm or 1.0 for mm in sample.spacing_mm)
    array = sample.pixels.transpose(2, 1, 0)  # (S, H, W) -> (W, H, S): x grows to the patient's left, y to the back
    affine = np.diag([-column_mm, -row_mm, slice_mm, 1.0])
    if sample.grid is not None:
        affine[:3] = np.array(sample.grid).reshape(3, 4)
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = note.encode("ascii", "replace")[:79]
    data = image.to_bytes()
    return gzip.compress(data, 6, mtime=0) if gzipped else data


def _png(sample: ImageSample, path: Path, note: str) -> bytes:
    from PIL import Image

    whole = _whole(sample, path)
    if sample.colour and whole.max() > 255:
        raise MedQError(f"'{path}': PNG colour is written with 8 bits and the values reach {whole.max()}; {EXACT}.")
    wide = whole.max() > 255 or (sample.bits or 16) > 8
    if sample.inverted:  # PNG knows no white zero
        whole = max(2 ** (sample.bits or (16 if wide else 8)) - 1, whole.max()) - whole
    out = io.BytesIO()
    Image.fromarray(whole.astype(np.uint16 if wide and not sample.colour else np.uint8)).save(out, "PNG")
    return out.getvalue()


def _dicom(sample: ImageSample, path: Path, note: str) -> bytes:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    if sample.colour:
        raise MedQError(f"'{path}': colour DICOM is not written; use .png, .npy or .tif.")
    low = float(np.floor(sample.pixels.min()))
    whole = _whole(sample, path, low)
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = SecondaryCaptureImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    # type 2 of patient, study, series and image (PS3.3 A.8.1.3): they must be there, and may say nothing
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
                    "ReferringPhysicianName", "AccessionNumber", "SeriesNumber", "InstanceNumber"):  # fmt: skip
        setattr(image, keyword, None)
    image.ConversionType = "SYN"  # synthetic: neither scanned nor digitised
    image.ImageType = ["DERIVED", "SECONDARY"]
    image.Modality = DICOM_MODALITY.get(sample.modality or "", "OT")
    image.DerivationDescription = note[:1024]
    _keep_acquisition(image, sample)
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME1" if sample.inverted else "MONOCHROME2"
    image.Rows, image.Columns = sample.pixels.shape[1:3]
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    image.RescaleSlope, image.RescaleIntercept = 1, int(low)
    image.RescaleType = "HU" if sample.unit == "HU" else "US"
    if sample.spacing_mm[1] and sample.spacing_mm[2]:
        image.PixelSpacing = [f"{mm:.6g}" for mm in sample.spacing_mm[1:] if mm]
    if sample.window:
        image.WindowCenter, image.WindowWidth = (f"{value:.6g}" for value in sample.window)
    image.PixelData = whole.astype("<u2").tobytes()
    out = io.BytesIO()
    image.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _keep_acquisition(image: Dataset, sample: ImageSample) -> None:
    """Body part, view and the allow-listed numbers, which what is expected of the image depends on."""
    from pydicom.datadict import dictionary_VR

    if sample.anatomy:
        image.BodyPartExamined = sample.anatomy.replace(" ", "").upper()[:16]
    if view := sample.acquisition_fields.get("view"):
        image.ViewPosition = str(view)
    for quantity in QUANTITIES:
        value = sample.acquisition_fields.get(quantity.name)
        if not isinstance(value, float) or any(keyword in image for keyword in quantity.keywords):
            continue
        told = value / quantity.scale
        for keyword in quantity.keywords:
            kind = dictionary_VR(keyword)
            if kind != "IS" or told.is_integer():
                setattr(image, keyword, f"{told:.10g}" if kind in ("DS", "IS") else told)
                break


def _squeezed(sample: ImageSample) -> np.ndarray:
    return sample.pixels[0] if sample.slices == 1 else sample.pixels


def _whole(sample: ImageSample, path: Path, low: float = 0.0) -> np.ndarray:
    """One slice (H, W) or (H, W, 3) as whole numbers above `low`; MedQError outside 0 to 65535."""
    if sample.slices > 1:
        raise MedQError(f"'{path}' cannot hold {sample.slices} slices; {EXACT}.")
    whole = np.rint(sample.pixels[0] - low)
    if not np.isfinite(whole).all() or whole.min() < 0 or whole.max() > 65535:
        span = f"{sample.pixels.min():g} to {sample.pixels.max():g}"
        raise MedQError(f"'{path}' holds whole numbers 0 to 65535 and these values run from {span}; {EXACT}.")
    return whole.astype(np.int32)


DICOM_MODALITY = {
    "ct": "CT", "mr": "MR", "xray": "DX", "mammography": "MG", "ultrasound": "US", "pet": "PT",
    "fundus": "OP", "endoscopy": "ES", "histopathology": "SM", "oct": "OPT", "dermoscopy": "XC",
}  # fmt: skip
WRITERS: dict[str, Callable[[ImageSample, Path, str], bytes]] = {
    ".npy": _npy,
    ".png": _png,
    ".tif": _tif,
    ".tiff": _tif,
    ".nii": _nifti,
    ".nii.gz": _nifti,
    ".dcm": _dicom,
}
