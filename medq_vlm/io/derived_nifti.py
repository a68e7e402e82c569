"""A derived NIfTI volume: the header and affine of the original, new voxels."""

from __future__ import annotations

import gzip
import math

import numpy as np

from medq_vlm.io.archive import Source
from medq_vlm.io.limits import Limits
from medq_vlm.io.nifti import HEADER_BYTES, header_of, inflated, layout_of, scaled, turn_of
from medq_vlm.schema import MedQError


def derive(
    source: Source, kind: str, pixels: np.ndarray, note: str, limits: Limits, gzipped: bool
) -> tuple[bytes, int]:
    """A single file with `pixels` (S, H, W) or (S, H, W, 3), as displayed, in place of the first volume of `source`.

    The voxel type and scaling stay where the values fit; else float32 without scaling. Voxels that held no number
    hold none again. Second: values that had to be clipped (colour only).
    """
    name = source.name
    stored = source.read(limits)
    data = stored if kind != "nifti_gz" else inflated(stored, 4096, name)
    header, swapped = header_of(data, name)
    shape, dtype, samples = layout_of(header, name)
    start = len(header.binaryblock) if kind == "nifti_pair" else int(float(header["vox_offset"]))
    count = math.prod(shape[:3])
    if kind == "nifti_gz":
        data = inflated(stored, start + count * dtype.itemsize, name)
    voxels, begin = data, start
    if kind == "nifti_pair":
        image = source.sibling(".img")
        if image is None:
            raise MedQError(f"'{name}': the .img file of this header is gone; write .npy instead.")
        voxels, begin = image.read(limits), int(float(header["vox_offset"]))
    old = np.frombuffer(voxels, dtype.newbyteorder(">") if swapped else dtype, count, begin)
    volume = turn_of(header, shape).back(pixels)
    size = len(header.binaryblock)
    extension = b"\0\0\0\0" if swapped or kind == "nifti_pair" else data[size:start]
    new = header.as_byteswapped("<") if swapped else header.copy()
    if samples > 1:
        values, clipped = _colour(old, volume, samples)
    else:
        values, clipped = _grey(old, volume, header, new), 0
    new["dim"][0], new["dim"][4:] = 3, 1
    new["magic"] = b"n+1\0" if size == 348 else new["magic"]
    new["vox_offset"] = size + len(extension)
    new["descrip"] = note.encode("ascii", "replace")[:79]
    assert size + 4 == HEADER_BYTES[size]
    out = new.binaryblock + extension + values
    return (gzip.compress(out, 6, mtime=0) if gzipped else out), clipped


def _grey(old: np.ndarray, volume: np.ndarray, header: object, new: object) -> bytes:
    slope, inter = (float(header[key]) for key in ("scl_slope", "scl_inter"))  # type: ignore[index]
    if slope == 0 or not math.isfinite(slope):
        slope, inter = 1.0, 0.0
    inter = inter if math.isfinite(inter) else 0.0
    flat = volume.reshape(-1, order="F")
    if old.dtype.kind == "f":
        flat = np.where(np.isfinite(scaled(old, header, "the original")), flat, np.nan)  # type: ignore[arg-type]
        kind = old.dtype.newbyteorder("<")
    else:
        whole = np.rint((flat.astype(np.float64) - inter) / slope)
        limits = np.iinfo(old.dtype)
        if whole.min() >= limits.min and whole.max() <= limits.max:
            return whole.astype(old.dtype.newbyteorder("<")).tobytes()
        kind = np.dtype("<f4")
    new.set_data_dtype(kind)  # type: ignore[attr-defined]
    new["scl_slope"], new["scl_inter"] = 1.0, 0.0  # type: ignore[index]
    return flat.astype(kind).tobytes()


def _colour(old: np.ndarray, volume: np.ndarray, samples: int) -> tuple[bytes, int]:
    if volume.ndim == 3:  # three equal channels were read as one
        volume = np.repeat(volume[..., None], 3, axis=-1)
    flat = np.rint(volume.transpose(3, 0, 1, 2).reshape(3, -1, order="F").T)  # voxel, channel
    out = np.frombuffer(old.tobytes(), np.uint8).reshape(-1, samples).copy()
    out[:, :3] = np.clip(flat, 0, 255)
    return out.tobytes(), int((flat != out[:, :3]).sum())
