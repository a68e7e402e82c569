"""NIfTI-1 and NIfTI-2: one volume, scaled, turned to how a radiologist looks at it."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
from nibabel import Nifti1Header, Nifti2Header
from nibabel.orientations import io_orientation

from medq_vlm.io.archive import Source
from medq_vlm.io.common import as_float32, finish, told_grid
from medq_vlm.io.limits import DEFAULT, MIB, Limits, check_claim, problem
from medq_vlm.schema import ImageSample

HEADER_BYTES = {348: 352, 540: 544}  # sizeof_hdr: header and extension flag
COLOUR_CODES = {128: 3, 2304: 4}  # RGB24, RGBA32
UNIT_MM = {1: 1000.0, 2: 1.0, 3: 0.001}  # metre, millimetre, micrometre
EDGES = {  # patient's sides at the left, right, top and bottom edge, as `turn_of` turns the planes
    "axial": ("R", "L", "A", "P"), "coronal": ("R", "L", "H", "F"), "sagittal": ("A", "P", "H", "F"),
}  # fmt: skip
THICK = 1.25  # an axis with voxels this much longer than the others is the slice axis


def read_nifti(source: Source, kind: str, limits: Limits) -> tuple[ImageSample, list[bytes]]:
    """The first volume as (S, H, W) or (S, H, W, 3), and the file's bytes (two files for a pair) for its
    hash.

    kind: 'nifti', 'nifti_gz' or 'nifti_pair'. Only the first volume of a series is read and inflated.
    Slices lie across the axis with the longest voxels, across the body axis when voxels are cubes; rows and
    columns are in radiological order (axial: front up, the patient's right on the left).
    Raises IngestError.
    """
    name = source.name
    stored = source.read(limits)
    data = stored if kind != "nifti_gz" else inflated(stored, 4096, name)
    header, swapped = header_of(data, name)
    shape, dtype, samples = layout_of(header, name)
    check_claim(name, (*sorted(shape[:3]), samples), limits)  # of one volume: no other is touched
    need = math.prod(shape[:3]) * dtype.itemsize
    offset = float(header["vox_offset"])
    if not 0 <= offset < 64 * MIB:
        raise problem("corrupt", name, "the NIfTI header is damaged", "convert the image again")
    start = int(offset)
    files = [stored]
    if kind == "nifti_gz":
        data = inflated(stored, start + need, name)
    elif kind == "nifti_pair":
        image = source.sibling(".img")
        if image is None:
            raise problem("not_found", name, "the .img file of this NIfTI header is missing", "put it beside the .hdr")
        data = image.read(limits)
        files.append(data)
    if len(data) < start + need:
        raise problem(
            "corrupt",
            name,
            f"the header promises {need:,} bytes of voxels and the file holds {max(0, len(data) - start):,}",
            "copy or convert the file again",
        )
    values = np.frombuffer(data, dtype.newbyteorder(">") if swapped else dtype, math.prod(shape[:3]), start)
    volume = scaled(values, header, name).reshape((*shape[:3], *([samples] if samples > 1 else [])), order="F")
    if samples > 1:
        # order="F" runs x fastest, but the samples of a voxel lie together
        volume = scaled(values, header, name).reshape((samples, *shape[:3]), order="F").transpose(1, 2, 3, 0)[..., :3]
    turn = turn_of(header, shape)
    warnings = []
    if len(shape) == 4 and shape[3] > 1:
        warnings.append(f"The file holds {shape[3]} volumes; the first is read.")
    bits = dtype.itemsize * 8 if samples == 1 else 8
    sample = finish(
        ImageSample(
            turn.display(volume),
            spacing_mm=turn.spacing_mm,
            view=turn.view,
            edges=EDGES.get(turn.view or ""),
            grid=turn.grid(header, shape) if turn.view else None,
            bits=bits,
            warnings=tuple(warnings),
            path=source.path,
        ),
        name,
    )
    return sample, files


def inflated(data: bytes, ceiling_bytes: int, name: str) -> bytes:
    """The first `ceiling_bytes` of a gzip stream: what the header promises and no more."""
    try:
        return zlib.decompressobj(31).decompress(data, max(1, ceiling_bytes))
    except zlib.error as error:
        raise problem("corrupt", name, "the gzip archive is damaged", "copy the file again") from error


def header_of(data: bytes, name: str) -> tuple[Nifti1Header, bool]:
    little = int.from_bytes(data[:4], "little")
    size = little if little in HEADER_BYTES else int.from_bytes(data[:4], "big")
    kind = Nifti1Header if size == 348 else Nifti2Header
    swapped = little != size
    try:
        return kind(data[:size], endianness=">" if swapped else "<", check=False), swapped
    except Exception as error:  # nibabel raises its own types on damaged headers
        raise problem("corrupt", name, "the NIfTI header is damaged", "convert the image again") from error


def layout_of(header: Nifti1Header, name: str) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape (x, y, z[, t]), voxel element type, samples per voxel."""
    dim = [int(n) for n in header["dim"]]
    code = int(header["datatype"])
    if not 2 <= dim[0] <= 7 or any(n < 1 or n > 2**31 for n in dim[1 : dim[0] + 1]):
        raise problem("corrupt", name, "the NIfTI header declares impossible sizes", "convert the image again")
    shape = (*dim[1 : dim[0] + 1], 1)[: max(3, dim[0])]
    while len(shape) > 4 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > 4:
        raise problem(
            "unsupported",
            name,
            "this NIfTI file holds vectors or tensors, not an image",
            "give a scalar volume",
        )
    if code in COLOUR_CODES:
        return shape, np.dtype((np.void, COLOUR_CODES[code])), COLOUR_CODES[code]
    types = {
        2: "u1",
        4: "i2",
        8: "i4",
        16: "f4",
        64: "f8",
        256: "i1",
        512: "u2",
        768: "u4",
        1024: "i8",
        1280: "u8",
    }
    if code not in types:
        raise problem(
            "unsupported",
            name,
            "this NIfTI voxel type (complex, bits or 128-bit) is not an image",
            "convert it",
        )
    return shape, np.dtype(types[code]), 1


def scaled(values: np.ndarray, header: Nifti1Header, name: str) -> np.ndarray:
    """scl_slope and scl_inter applied; a slope of 0 or NaN means none (NIfTI-1 standard). Raises IngestError."""
    if values.dtype.kind == "V":
        return np.frombuffer(values.tobytes(), np.uint8).astype(np.float32)
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):
        return as_float32(values, name)
    inter = inter if math.isfinite(inter) else 0.0
    if slope == 1 and inter == 0:
        return as_float32(values, name)
    # float64 in pieces: a whole float64 copy of a large volume would not fit the memory limit
    out = np.empty(values.shape, np.float32)
    for at in range(0, values.size, MIB):
        out[at : at + MIB] = as_float32(values[at : at + MIB].astype(np.float64) * slope + inter, name)
    return out


@dataclass(frozen=True)
class Turn:
    """How the array of a file is turned for display: axes first, then flips; `back` undoes it."""

    axes: tuple[int, ...]  # array axes of slices, rows, columns
    flips: tuple[slice, ...]  # of the turned array
    spacing_mm: tuple[float | None, float | None, float | None]  # slice, row, column
    view: str | None

    def display(self, volume: np.ndarray) -> np.ndarray:
        """(x, y, z[, 3]) as (S, H, W[, 3])."""
        return np.ascontiguousarray(volume.transpose(*self.axes, *range(3, volume.ndim))[self.flips])

    def grid(self, header: Nifti1Header, shape: tuple[int, ...]) -> tuple[float, ...] | None:
        """ImageSample.grid of the displayed volume."""
        affine = np.array(header.get_best_affine()[:3], float) * UNIT_MM.get(int(header["xyzt_units"]) & 7, 1.0)
        columns, origin = [], affine[:, 3].copy()
        for axis, flip in zip(self.axes, self.flips, strict=True):
            sign = flip.step or 1
            columns.append(sign * affine[:, axis])
            origin += affine[:, axis] * (shape[axis] - 1) * (sign < 0)
        return told_grid(np.stack([*columns[::-1], origin], 1))

    def back(self, turned: np.ndarray) -> np.ndarray:
        """(S, H, W[, 3]) as (x, y, z[, 3]) of the file."""
        places = [self.axes.index(axis) for axis in range(3)]
        return turned[self.flips].transpose(*places, *range(3, turned.ndim))


def turn_of(header: Nifti1Header, shape: tuple[int, ...]) -> Turn:
    """The way from the array of a file to the radiological display, by the header's affine."""
    scale = UNIT_MM.get(int(header["xyzt_units"]) & 7, 1.0)
    zooms = [abs(float(z)) * scale for z in header["pixdim"][1:4]]
    sizes = np.array([z if math.isfinite(z) and 0 < z < 1000 else 0.0 for z in zooms])
    known = int(header["qform_code"]) > 0 or int(header["sform_code"]) > 0
    with np.errstate(all="ignore"):
        try:
            turn = io_orientation(header.get_best_affine())
        except (ValueError, np.linalg.LinAlgError):
            turn = np.full((3, 2), np.nan)
    if np.isnan(turn).any():
        turn, known = np.array([[0, 1], [1, 1], [2, 1]], float), False
    across = _slice_axis(shape, sizes, turn)
    world = {int(turn[axis, 0]): (axis, turn[axis, 1] > 0) for axis in range(3)}  # RAS axis: array axis, ascending
    body = int(turn[across, 0])  # 0 right, 1 front, 2 head
    # (row axis, wanted ascending), (column axis, wanted ascending) in RAS; slices right to left, front to
    # back, up
    plane = {2: ((1, False), (0, False)), 1: ((2, False), (0, False)), 0: ((2, False), (1, False))}[body]
    wanted = ((body, body == 2), *plane)
    axes = tuple(world[axis][0] for axis, _ in wanted)
    flips = tuple(slice(None, None, 1 if world[axis][1] == up else -1) for axis, up in wanted)
    spacing = tuple(float(sizes[axis]) or None for axis in axes)
    view = ("sagittal", "coronal", "axial")[body] if known else None
    if shape[axes[0]] == 1:
        spacing = (None, *spacing[1:])
    return Turn(axes, flips, spacing, view)  # type: ignore[arg-type]


def _slice_axis(shape: tuple[int, ...], sizes: np.ndarray, turn: np.ndarray) -> int:
    """Array axis across which the slices lie."""
    flat = [axis for axis in range(3) if shape[axis] == 1]
    if flat:
        return flat[-1]
    if min(shape[:3]) < DEFAULT.min_side:  # a slab: no plane may hold its thin side
        return int(np.argmin(shape[:3]))
    order = np.argsort(sizes)
    if sizes[order[1]] > 0 and sizes[order[2]] > THICK * sizes[order[1]]:
        return int(order[2])
    return int(np.flatnonzero(turn[:, 0] == 2)[0])  # cubes: across the body axis, axial slices
