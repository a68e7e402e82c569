"""Batches for the restorer: patches of pairs with the whole image's small view, guidance and target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from medq_vlm import vocab
from medq_vlm.restore.bands import PLANES, THUMBNAIL_PX, levels
from medq_vlm.restore.guidance import Guidance, GuidanceTensors, place_map, tensors
from medq_vlm.restore.proposal import KIND
from medq_vlm.treated import TREATED_MODALITIES, tasks_for
from training.restoration_pairs import Pair, load_pair, pair_paths
from training.restoration_texts import Lesson, draw_lesson

CLEAN = "clean"
# Of a task; where a modality stands behind the kind, of the kind in that modality.
WEIGHT = {
    "noise": 0.15, "noise xray": 1.0, "blur": 0.3, "defocus": 1.5, CLEAN: 0.4, "underexposure": 0.4,
    "overexposure": 0.4, "uneven_illumination": 0.5,
}  # fmt: skip
BY_MODALITY = ("noise",)  # kinds that are a task of its own in each modality
STRESS = 4.0  # times as often as its weight says
STACK_DROPOUT = 0.4  # of the stacks lose their neighbours: a single image must do as well


@dataclass(frozen=True)
class Batch:
    """B patches in the network's range."""

    planes: torch.Tensor  # (B, 3, h, w)
    place: torch.Tensor  # (B, 1, h, w)
    small: torch.Tensor  # (B, WHOLE, T, T)
    box: torch.Tensor  # (B, 4) of the patch as fractions of the whole image
    target: torch.Tensor  # (B, 3, h, w)
    counts: torch.Tensor  # (B, 3, 1, 1) weight of each plane in the loss, sum 1
    guidance: GuidanceTensors
    stated: torch.Tensor  # (B, K) severities that the texts state
    proposal: torch.Tensor  # (B, 3, h, w)


class Pairs:
    """All pairs of a split in memory, or those of some tasks; `refresh` takes in files written since."""

    def __init__(self, folder: Path, split: str, only: Sequence[str] = (), stressed: Sequence[str] = ()) -> None:
        self.folder, self.split, self.only, self.stressed = folder, split, only, stressed
        self.pairs: dict[Path, Pair] = {}
        self.refresh()

    def refresh(self) -> None:
        for path in pair_paths(self.folder, self.split):
            if path not in self.pairs:
                self.pairs[path] = with_levels(load_pair(path))
        found = [self.pairs[path] for path in sorted(self.pairs)]
        self.items = [pair for pair in found if not self.only or _is_one_of(pair, (*self.only, CLEAN))]
        tasks = [task_in_modality(pair) for pair in self.items]
        counts = Counter(tasks)
        weights = np.array([WEIGHT.get(task, WEIGHT.get(task.split()[0], 1.0)) / counts[task] for task in tasks])
        weights *= [STRESS if _is_one_of(pair, self.stressed) else 1.0 for pair in self.items]
        self.weights = weights / max(weights.sum(), 1e-9)

    def __len__(self) -> int:
        return len(self.items)

    def batch(self, size: int, side: int, rng: np.random.Generator) -> Batch:
        """`size` random patches; every task as often as its weight says."""
        chosen = rng.choice(len(self.items), size, p=self.weights)
        return collate([draw_example(self.items[int(i)], side, rng) for i in chosen])


def with_levels(pair: Pair) -> Pair:
    """The pair whose view of the whole also has the levels of its bands, those of the crop."""
    middle = pair.planes if pair.record["colour"] else pair.planes[len(pair.planes) // 2][None]
    found = levels(torch.from_numpy(middle.astype(np.float32))[None])[0].numpy().astype(np.float16)
    constant = np.broadcast_to(found[:, None, None], (len(found), THUMBNAIL_PX, THUMBNAIL_PX))
    return replace(pair, whole=np.concatenate([pair.whole, constant]))


def task_of(pair: Pair) -> str:
    return pair.record["kinds"][0] if pair.record["kinds"] else CLEAN


def task_in_modality(pair: Pair) -> str:
    """The task, with the modality behind it where each modality is a task."""
    task = task_of(pair)
    return f"{task} {pair.record['modality']}" if task in BY_MODALITY else task


def checked_task(pair: Pair) -> str:
    """The task as its gain is reported: with the modality where that has a weight of its own."""
    task = task_in_modality(pair)
    return task if task in WEIGHT else task_of(pair)


def _is_one_of(pair: Pair, tasks: Sequence[str]) -> bool:
    return task_of(pair) in tasks or task_in_modality(pair) in tasks


@dataclass(frozen=True)
class Example:
    planes: np.ndarray  # (3, h, w) float32
    place: np.ndarray  # (h, w)
    small: np.ndarray  # (WHOLE, T, T)
    box: tuple[float, float, float, float]
    target: np.ndarray  # (3, h, w)
    proposal: np.ndarray  # (3, h, w), the planes where nothing is proposed
    colour: bool
    lesson: Lesson


def draw_example(pair: Pair, side: int, rng: np.random.Generator) -> Example:
    """A random patch of at most `side` squared under a random lesson, flipped and turned."""
    lesson = draw_lesson(pair.record, rng, light_ready=True)
    height, width = pair.planes.shape[1:]
    h, w = min(side, height), min(side, width)
    corners = [(int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))) for _ in range(2)]
    clean = pair.targets[0, 0]
    y, x = max(corners, key=lambda at: float(clean[at[0] : at[0] + h : 4, at[1] : at[1] + w : 4].std(dtype=np.float32)))
    example = cut(pair, lesson, (y, x, h, w), stack=rng.random() > STACK_DROPOUT)
    example = _padded(example, side)
    return _turned(example, int(rng.integers(8)))


def cut(pair: Pair, lesson: Lesson, window: tuple[int, int, int, int], stack: bool = True) -> Example:
    """The patch (y, x, h, w) of a pair."""
    y, x, h, w = window
    there = (..., slice(y, y + h), slice(x, x + w))
    colour = bool(pair.record["colour"])
    planes = pair.planes[there].astype(np.float32)
    middle = planes if colour else planes[len(planes) // 2][None]
    if not colour and (not stack or len(planes) == 1):
        planes = middle
    proposed = planes
    if pair.proposal is not None and KIND in lesson.guidance.treated:
        offer = pair.proposal[there].astype(np.float32)
        proposed = offer if colour or len(offer) == len(planes) else offer[len(offer) // 2][None]
    target = middle if lesson.target < 0 else pair.targets[lesson.target][there].astype(np.float32)
    x0, y0, x1, y1 = pair.record["crop"]
    height, width = pair.planes.shape[1:]
    step_x, step_y = (x1 - x0) / width, (y1 - y0) / height
    box = (x0 + x * step_x, y0 + y * step_y, x0 + (x + w) * step_x, y0 + (y + h) * step_y)
    place = _place(lesson.guidance, box, (h, w))
    whole = (PLANES, h, w)
    return Example(
        np.broadcast_to(planes, whole), place, pair.whole.astype(np.float32), box,
        np.broadcast_to(target, whole), np.broadcast_to(proposed, whole), colour, lesson,
    )  # fmt: skip


def _place(guidance: Guidance, box: tuple[float, ...], size: tuple[int, int]) -> np.ndarray:
    """The place map of the whole image, cut to `box`."""
    if not guidance.boxes.any():
        return np.zeros(size, np.float32)
    step = ((box[3] - box[1]) / size[0], (box[2] - box[0]) / size[1])
    whole = place_map(guidance, (round(1 / step[0]), round(1 / step[1])))
    y, x = round(box[1] / step[0]), round(box[0] / step[1])
    out = np.zeros(size, np.float32)
    part = whole[y : y + size[0], x : x + size[1]]
    out[: part.shape[0], : part.shape[1]] = part
    return out


def _padded(example: Example, side: int) -> Example:
    """Small images are mirrored to the side of the batch."""
    h, w = example.place.shape
    if (h, w) == (side, side):
        return example
    pad = ((0, side - h), (0, side - w))
    x0, y0, x1, y1 = example.box
    box = (x0, y0, x0 + (x1 - x0) * side / w, y0 + (y1 - y0) * side / h)
    planes, target, proposal = (
        np.pad(v, ((0, 0), *pad), mode="symmetric") for v in (example.planes, example.target, example.proposal)
    )
    place = np.pad(example.place, pad)
    return Example(planes, place, example.small, box, target, proposal, example.colour, example.lesson)


def _turned(example: Example, way: int) -> Example:
    """One of the eight symmetries of the square, for the patch, the small view and the box alike."""
    planes, place, small, target = example.planes, example.place, example.small, example.target
    proposal = example.proposal
    x0, y0, x1, y1 = example.box
    if way & 1:
        planes, place, small, target, proposal = (v[..., ::-1] for v in (planes, place, small, target, proposal))
        x0, x1 = 1 - x1, 1 - x0
    if way & 2:
        planes, place, small, target, proposal = (v[..., ::-1, :] for v in (planes, place, small, target, proposal))
        y0, y1 = 1 - y1, 1 - y0
    if way & 4:
        planes, place, small, target, proposal = (v.swapaxes(-1, -2) for v in (planes, place, small, target, proposal))
        x0, y0, x1, y1 = y0, x0, y1, x1
        small = small[
            [*range(PLANES), PLANES + 1, PLANES, *range(PLANES + 2, len(small))]
        ]  # horizontal is vertical now
    return Example(planes, place, small, (x0, y0, x1, y1), target, proposal, example.colour, example.lesson)


def collate(examples: list[Example]) -> Batch:
    def stack(name: str) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(np.stack([getattr(e, name) for e in examples])))

    counts = [[1 / 3, 1 / 3, 1 / 3] if e.colour else [0.0, 1.0, 0.0] for e in examples]
    return Batch(
        stack("planes"), stack("place")[:, None], stack("small"),
        torch.tensor([e.box for e in examples], dtype=torch.float32), stack("target"),
        torch.tensor(counts)[:, :, None, None], tensors([e.lesson.guidance for e in examples]),
        torch.from_numpy(np.stack([e.lesson.stated for e in examples])).float(), stack("proposal"),
    )  # fmt: skip


def random_record(rng: np.random.Generator) -> dict:
    """A record without pixels: enough for a text."""
    modality = str(rng.choice(TREATED_MODALITIES))
    pool = tasks_for(modality) if rng.random() < 0.7 else vocab.kinds_for(modality)
    kinds = [str(k) for k in rng.choice(pool, min(len(pool), int(rng.integers(0, 4))), replace=False)]
    return {
        "modality": modality, "anatomy": str(rng.choice(vocab.ANATOMIES)), "kinds": kinds[:2],
        "severities": [float(rng.uniform(0.6, 4)) for _ in kinds[:2]], "boxes": [None] * len(kinds[:2]),
    }  # fmt: skip
