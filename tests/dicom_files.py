"""DICOM files made for the input tests: any header, any pixels, as bytes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
SAGITTAL = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]


def ramp(rows: int = 16, columns: int = 16, dtype: str = "u2", start: int = 0) -> np.ndarray:
    """(rows, columns) of consecutive values from `start`."""
    return (np.arange(rows * columns, dtype=np.int64) + start).reshape(rows, columns).astype(dtype)


def dataset(pixels: np.ndarray, **tags: Any) -> Dataset:
    """A CT image of integer `pixels`, (H, W), (F, H, W) or (H, W, 3); `tags` are set, None removes."""
    colour = pixels.shape[-1] == 3
    ds = Dataset()
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = generate_uid()
    ds.SeriesInstanceUID = generate_uid()
    ds.Modality = "CT"
    ds.Rows, ds.Columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    if pixels.ndim == 3 and not colour:
        ds.NumberOfFrames = pixels.shape[0]
    ds.SamplesPerPixel = 3 if colour else 1
    if colour:
        ds.PlanarConfiguration = 0
    ds.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    ds.BitsAllocated = pixels.dtype.itemsize * 8
    ds.BitsStored = ds.BitsAllocated
    ds.HighBit = ds.BitsAllocated - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    data = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    for keyword, value in tags.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def as_bytes(ds: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """The file of `ds`; compressed pixel data must already be in it."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", CTImageStorage)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", generate_uid())
    ds.file_meta.TransferSyntaxUID = syntax
    if "PixelData" in ds:
        ds["PixelData"].VR = "OW" if ds.BitsAllocated > 8 and not syntax.is_encapsulated else "OB"
    out = io.BytesIO()
    dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


def dicom(pixels: np.ndarray, **tags: Any) -> bytes:
    """`as_bytes(dataset(...))`."""
    return as_bytes(dataset(pixels, **tags))


def item(**tags: Any) -> Dataset:
    """A sequence item."""
    ds = Dataset()
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return ds
