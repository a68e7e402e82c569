"""Geometry of a series: which frames belong together, in which order, how far apart, and what is odd.

Pure functions on frame records; nothing here reads a file. Directions and positions are DICOM patient
coordinates in mm (LPS: x to the left, y to the back, z to the head), PS3.3 C.7.6.2.1.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from medq_vlm.io.common import told_grid

SAME_PLACE_MM = 0.01  # positions nearer than this are one place
SAME_DIRECTION = 0.02  # of a direction cosine
SAME_PITCH = 0.1  # of the distance per instance number: the numbers go with the positions
GAP = 1.5  # of the usual spacing: a slice is missing
SLANT = 0.26  # sine of 15 degrees: a second letter from here on
MAX_DIRECTIONS = 32  # more orientations than this in a series are a rotation
TILT_DEG = 0.5  # between the slice normal and the way the slices go


@dataclass(frozen=True)
class Frame:
    """One frame of one file, without its pixels."""

    source: int  # index of its file among the sources
    index: int  # frame number in that file, 0-based
    series: str  # SeriesInstanceUID; for grouping only, never leaves io
    instance: str  # SOPInstanceUID; for finding copies only, never leaves io
    number: float  # InstanceNumber
    shape: tuple[int, int, int]  # rows, columns, samples
    localiser: bool
    orientation: tuple[float, ...] | None  # six direction cosines: along a row, along a column
    position: tuple[float, ...] | None  # of the first pixel, mm


@dataclass(frozen=True)
class Stack:
    """Frames of one geometry in display order."""

    frames: tuple[Frame, ...]
    spacing_mm: float | None  # between slices; None for one place or unknown positions
    view: str | None  # "axial", "coronal", "sagittal", "oblique"; None without orientation
    warnings: tuple[str, ...]
    breaks: tuple[int, ...] = ()  # frames whose next one is no neighbour: slices are missing, or it is another time


def stacks(frames: list[Frame]) -> list[Stack]:
    """One Stack per series, frame size, orientation and localiser flag, ordered as the first file of each."""
    frames, copies = _without_copies(frames)
    by_series: dict[str, list[Frame]] = {}
    for frame in frames:
        by_series.setdefault(frame.series, []).append(frame)
    out = []
    for uid, members in by_series.items():
        notes = []
        if len({_facing(frame) for frame in members}) > MAX_DIRECTIONS:
            members = [replace(frame, orientation=None, position=None) for frame in members]
            notes.append("The frames face many directions (a rotation); they are read in time order.")
        groups = _same_geometry(members)
        if copies.get(uid):
            notes.append(f"{_count(copies[uid], 'file')} of the series came twice and was left out once.")
        if len(groups) > 1:
            localisers = any(f.localiser for f in members)
            notes.append(
                f"The series mixes {len(groups)} orientations or sizes"
                + (", a localiser among them" if localisers else "")
                + "; each is assessed by itself."
            )
        elif groups[0][0].localiser:
            notes.append("This is a localiser (scout), not a diagnostic series.")
        out += [_stack(group, tuple(notes)) for group in groups]
    return sorted(out, key=lambda stack: min(f.source for f in stack.frames))


def view_of(orientation: tuple[float, ...] | None) -> str | None:
    """Word for the plane of six direction cosines: the axis its normal is within 30 degrees of, else
    "oblique"."""
    normal = normal_of(orientation)
    if normal is None:
        return None
    axis = int(np.argmax(np.abs(normal)))
    return ("sagittal", "coronal", "axial")[axis] if abs(normal[axis]) > np.cos(np.pi / 6) else "oblique"


def grid_of(frames: Sequence[Frame], spacing_mm: tuple[float | None, ...]) -> tuple[float, ...] | None:
    """ImageSample.grid of frames in display order; spacing_mm: slice, row, column. None where the place is unknown.

    DICOM counts to the left and back (PS3.3 C.7.6.2.1.1), NIfTI to the right and front.
    """
    normal, slice_mm, row_mm, column_mm = normal_of(frames[0].orientation), *spacing_mm
    first, last = frames[0].position, frames[-1].position
    if normal is None or first is None or last is None or not row_mm or not column_mm:
        return None
    along_row, along_column = np.array(frames[0].orientation).reshape(2, 3)
    step = (np.array(last) - np.array(first)) / max(1, len(frames) - 1)
    if not step.any():  # one place
        step = normal * (slice_mm or 1.0)
    affine = np.stack([along_row * column_mm, along_column * row_mm, step, np.array(first)], 1)
    affine[:2] *= -1
    return told_grid(affine)


def edges_of(orientation: tuple[float, ...] | None) -> tuple[str, str, str, str] | None:
    """Letters of the patient's sides at the left, right, top and bottom edge (PS3.3 C.7.6.1.1.1), None if unknown."""
    if orientation is None or normal_of(orientation) is None:
        return None
    along, down = np.array(orientation[:3]), np.array(orientation[3:])
    return side_of(-along), side_of(along), side_of(-down), side_of(down)


def side_of(direction: np.ndarray) -> str:
    """Letters of the sides a direction in patient coordinates (left, back, head) points to, the nearest first."""
    order = np.argsort(-np.abs(direction))
    kept = [axis for axis in order if abs(direction[axis]) > SLANT]
    return "".join(("LR", "PA", "HF")[axis][int(direction[axis] < 0)] for axis in kept)


def normal_of(orientation: tuple[float, ...] | None) -> np.ndarray | None:
    """Unit normal of the plane, None when the cosines are missing or not two independent directions."""
    if orientation is None or len(orientation) != 6:
        return None
    normal = np.cross(np.array(orientation[:3]), np.array(orientation[3:]))
    length = float(np.linalg.norm(normal))
    return normal / length if 0.5 < length < 2 else None


def _without_copies(frames: list[Frame]) -> tuple[list[Frame], dict[str, int]]:
    """Frames without second copies of an object, and how many files were dropped of each series."""
    first: dict[tuple[str, int], int] = {}
    kept: list[Frame] = []
    dropped: dict[str, set[int]] = {}
    for frame in frames:
        key = (frame.instance, frame.index)
        if frame.instance and first.setdefault(key, frame.source) != frame.source:
            dropped.setdefault(frame.series, set()).add(frame.source)
        else:
            kept.append(frame)
    return kept, {uid: len(sources) for uid, sources in dropped.items()}


def _same_geometry(frames: list[Frame]) -> list[list[Frame]]:
    groups: list[list[Frame]] = []
    for frame in frames:
        home = next((group for group in groups if _alike(group[0], frame)), None)
        if home is None:
            groups.append([frame])
        else:
            home.append(frame)
    return groups


def _facing(frame: Frame) -> tuple[float, ...] | None:
    return None if frame.orientation is None else tuple(round(c, 2) + 0.0 for c in frame.orientation)


def _alike(one: Frame, other: Frame) -> bool:
    """Same size and direction; cosines are compared with a tolerance, rounding would split near a half."""
    if (one.shape, one.localiser) != (other.shape, other.localiser):
        return False
    if one.orientation is None or other.orientation is None:
        return one.orientation is other.orientation
    return all(abs(a - b) < SAME_DIRECTION for a, b in zip(one.orientation, other.orientation, strict=True))


def _stack(frames: list[Frame], notes: tuple[str, ...]) -> Stack:
    view = view_of(frames[0].orientation)
    normal = normal_of(frames[0].orientation)
    by_number = sorted(frames, key=lambda f: (f.number, f.source, f.index))
    if normal is None or any(f.position is None for f in frames):
        if len(frames) > 1 and len({f.source for f in frames}) > 1:
            notes += ("Slice positions are missing; slices are ordered by their number.",)
        return Stack(tuple(by_number), None, view, notes)
    # Axial goes feet to head, coronal front to back, sagittal right to left: the direction in which the
    # dominant component of the normal grows.
    normal = normal * np.sign(normal[int(np.argmax(np.abs(normal)))])
    along = {id(f): float(np.dot(normal, np.array(f.position))) for f in frames}
    ordered = sorted(by_number, key=lambda f: round(along[id(f)] / SAME_PLACE_MM))
    places: list[list[Frame]] = []
    for frame in ordered:
        if places and abs(along[id(frame)] - along[id(places[-1][0])]) < SAME_PLACE_MM:
            places[-1].append(frame)
        else:
            places.append([frame])
    if len(places) == 1:  # a cine or repeated image of one place: time order
        return Stack(tuple(by_number), None, view, notes, tuple(range(len(by_number) - 1)))
    notes += _repeats(places)
    firsts = [place[0] for place in places]
    steps = np.diff([along[id(f)] for f in firsts])
    spacing = float(np.median(steps))
    pitch = spacing if len(places) < len(by_number) else _pitch(firsts, steps, spacing)
    notes += _gaps(steps, pitch) + _tilt(firsts, normal)
    breaks = tuple(int(i) for i in np.flatnonzero(steps > GAP * pitch))
    return Stack(tuple(firsts), spacing, view, notes, breaks)


def _repeats(places: list[list[Frame]]) -> tuple[str, ...]:
    counts = {len(place) for place in places}
    if counts == {1}:
        return ()
    if len(counts) == 1:
        return (f"The series holds {counts.pop()} images at each place; the first of each is read.",)
    extra = sum(len(place) - 1 for place in places)
    return (f"{_count(extra, 'duplicate slice')} at a place already taken left out.",)


def _pitch(frames: list[Frame], steps: np.ndarray, spacing: float) -> float:
    """Distance of neighbours as the series was acquired, mm: by instance numbers where they go with the positions.

    Of scattered slices of a longer series the usual step is no neighbour's. Numbers that go up evenly by more than
    one say nothing: their steps have a common divisor.
    """
    jumps = np.abs(np.diff([frame.number for frame in frames]))
    if not (np.isfinite(jumps).all() and (jumps >= 1).all() and (jumps == np.rint(jumps)).all()):
        return spacing
    pitches = steps / (jumps / np.gcd.reduce(jumps.astype(np.int64)))
    pitch = float(np.median(pitches))
    return pitch if float(np.max(np.abs(pitches - pitch))) <= SAME_PITCH * pitch else spacing


def _gaps(steps: np.ndarray, spacing: float) -> tuple[str, ...]:
    wide = np.flatnonzero(steps > GAP * spacing)
    if len(wide) == 0:
        uneven = float(np.max(np.abs(steps - spacing)))
        return (f"Slice spacing is uneven by up to {uneven:.2f} mm.",) if uneven > 0.1 * spacing else ()
    missing = int(sum(round(steps[i] / spacing) - 1 for i in wide))
    where = ", ".join(f"{i + 1} and {i + 2}" for i in wide[:3]) + (", and more" if len(wide) > 3 else "")
    return (f"About {_count(missing, 'slice')} missing, between slices {where}.",)


def _tilt(frames: list[Frame], normal: np.ndarray) -> tuple[str, ...]:
    travel = np.array(frames[-1].position) - np.array(frames[0].position)
    cosine = float(np.dot(travel, normal) / max(float(np.linalg.norm(travel)), 1e-9))
    tilt = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    if tilt <= TILT_DEG:
        return ()
    return (f"The gantry was tilted by {tilt:.1f} degrees: the slices are shifted against each other.",)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
