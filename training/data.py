"""Shards on disk -> batches of views. Pixels stay in memory maps; labels are small and held in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from eval.severity import qualities, severities
from medq_vlm import vocab
from medq_vlm.config import ViewConfig
from medq_vlm.encoder import opinions
from medq_vlm.encoder.preprocess import tile_origins
from medq_vlm.encoder.scorer import UNKNOWN
from training import chimera, purposes
from training.synthesize import CODE_OFFSET, CODE_SCALE, VERSIONS

ATTRIBUTE_OF = opinions.ATTRIBUTE_OF.numpy()  # (K,)
HARMFUL, FEWEST_TASKS = 0.05, 100  # task loss worth a place on the map, and how many make a map
STATISTICS_NOISE = 0.25  # standard deviations
STATISTICS_DROP = 0.3  # share of samples
DEPTH = vocab.MODALITIES.index("ultrasound")  # its images have depth: upside down is rare
SIDEWAYS = 0.2  # share of whole views laid in any of the eight ways, as a file may store them


@dataclass
class Labels:
    """Targets of one batch."""

    quality: torch.Tensor  # (B,) 0 to 4
    severities: torch.Tensor  # (B, K) 0 to 4
    medical: torch.Tensor  # (B,) 1 or 0
    modality: torch.Tensor  # (B,) id, -1 unknown
    anatomy: torch.Tensor  # (B,) id, -1 unknown
    given: torch.Tensor  # (B,) modality id told to the model, UNKNOWN when it has to see for itself
    quad: torch.Tensor  # (B,) versions of one content share it
    utility: torch.Tensor  # (B,) 0 to 1, NaN where the task was not tried
    texts: list[str]  # B acquisition descriptions, "" where nothing is told
    demand: torch.Tensor  # (B, A): log of what the description asks of an attribute, 0 where it asks nothing special

    def to(self, device: torch.device) -> Labels:
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        return Labels(texts=self.texts, **moved)


class Shards:
    """All samples of the shards of one split, in quads of VERSIONS."""

    def __init__(self, folder: Path, split: str, view: ViewConfig) -> None:
        self.view = view
        paths = sorted(p for p in folder.glob(f"{split}_*.npz") if not p.name.endswith(".partial.npz"))
        if not paths:
            raise FileNotFoundError(f"No '{split}' shards in {folder}; make them with python -m training.synthesize.")
        self.names = [p.stem for p in paths]
        self.planes = [np.load(p.with_suffix(".planes.npy"), mmap_mode="r") for p in paths]
        self.wholes = [np.load(p.with_suffix(".wholes.npy"), mmap_mode="r") for p in paths]
        rows = [dict(np.load(p)) for p in paths]
        self.labels = {key: np.concatenate([r[key] for r in rows]) for key in rows[0]}
        lab = self.labels
        lab["severities"] = severities(lab["strengths"], lab["losses"], lab["modality"])
        lab["quality"] = qualities(lab["severities"], lab["medical"])
        harmful = lab["task_loss"][lab["task_loss"] > HARMFUL]
        few = len(harmful) < FEWEST_TASKS
        self.task_map = (0.3, 0.1) if few else (float(harmful.mean()), float(harmful.std() * np.sqrt(3) / np.pi))
        self.shard = np.concatenate([np.full(len(r["medical"]), i) for i, r in enumerate(rows)])
        shapes = self.labels["shape"].astype(np.int64)
        area = shapes.prod(1)
        small = view.global_px**2 * shapes[:, 2]
        self.offset = np.concatenate([_starts(area[self.shard == i]) for i in range(len(paths))])
        self.whole_offset = np.concatenate([_starts(small[self.shard == i]) for i in range(len(paths))])

    def __len__(self) -> int:
        return len(self.labels["quality"])

    def plane(self, i: int) -> np.ndarray:
        """uint16 (h, w, 1 or 3) view of the memory map."""
        h, w, c = (int(v) for v in self.labels["shape"][i])
        start = int(self.offset[i])
        return self.planes[self.shard[i]][start : start + h * w * c].reshape(h, w, c)

    def whole(self, i: int) -> np.ndarray:
        """uint16 (global_px, global_px, 1 or 3)."""
        side, c = self.view.global_px, int(self.labels["shape"][i][2])
        start = int(self.whole_offset[i])
        return self.wholes[self.shard[i]][start : start + side * side * c].reshape(side, side, c)

    def random_tile(self, i: int, rng: np.random.Generator) -> np.ndarray:
        plane, t = self.plane(i), self.view.tile_px
        h, w, _ = plane.shape
        y, x = int(rng.integers(0, max(1, h - t + 1))), int(rng.integers(0, max(1, w - t + 1)))
        return pad_to(plane[y : y + t, x : x + t], t)

    def all_tiles(self, i: int) -> list[np.ndarray]:
        plane, t = self.plane(i), self.view.tile_px
        return [
            pad_to(plane[y : y + t, x : x + t], t) for y, x in tile_origins(plane.shape[0], plane.shape[1], self.view)
        ]

    def batch_labels(
        self, index: np.ndarray, rng: np.random.Generator | None, described: np.random.Generator | None = None
    ) -> Labels:
        """Labels; with `rng` half of the modalities are withheld (never a chimera's), without one all are told.

        With a generator `described`, acquisition descriptions are drawn, and the quality is that for their purpose.
        """
        lab = self.labels
        modality = lab["modality"][index].astype(np.int64)
        given = np.where(modality < 0, UNKNOWN, modality)
        if rng is not None:
            withheld = (rng.random(len(index)) < 0.5) & (lab["source"][index] != chimera.SOURCE)
            given = np.where(withheld, UNKNOWN, given)
        quality, texts = lab["quality"][index].astype(np.float32), [""] * len(index)
        demand = np.ones((len(index), len(vocab.ATTRIBUTES)), np.float32)
        if described is not None:
            for row, i in enumerate(index):
                texts[row], demand[row] = self._description(described, int(i))
            asked = lab["severities"][index] * demand[:, ATTRIBUTE_OF]
            quality = np.where(np.all(demand == 1, axis=1), quality, qualities(asked, lab["medical"][index]))
        return Labels(
            texts=texts,
            demand=torch.from_numpy(np.log(demand)),
            utility=torch.from_numpy(self.utility(lab["task_loss"][index])),
            quality=torch.from_numpy(quality),
            severities=torch.from_numpy(lab["severities"][index].astype(np.float32)),
            medical=torch.from_numpy(lab["medical"][index].astype(np.float32)),
            modality=torch.from_numpy(modality),
            anatomy=torch.from_numpy(lab["anatomy"][index].astype(np.int64)),
            given=torch.from_numpy(given),
            quad=torch.from_numpy(lab["quad"][index].astype(np.int64)),
        )

    def utility(self, task_loss: np.ndarray) -> np.ndarray:
        """Loss of lesion detectability (training/task_loss.py) -> 0 to 1 by a sigmoid fitted to this split's losses.

        The share of harmful degradations in training that cost the task more (MedQM's quality map, its mean and width
        taken from the losses as a logistic distribution).
        """
        mean, width = self.task_map
        return (1.0 / (1.0 + np.exp((task_loss - mean) / width))).astype(np.float32)

    def _description(self, rng: np.random.Generator, i: int) -> tuple[str, np.ndarray]:
        lab = self.labels
        modality, anatomy = int(lab["modality"][i]), int(lab["anatomy"][i])
        if modality < 0:
            return "", np.ones(len(vocab.ATTRIBUTES), np.float32)
        there = {vocab.KIND_NAMES[k]: float(lab["severities"][i, k]) for k in np.flatnonzero(lab["severities"][i])}
        name = vocab.ANATOMIES[anatomy] if anatomy >= 0 else None
        return purposes.describe(rng, vocab.MODALITIES[modality], name, there)

    def statistics(self, index: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.labels["statistics"][index].astype(np.float32))

    def views(self, index: np.ndarray, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """One random tile, turned, and the whole view of each sample, some turned too, with a mild tone curve.

        (B, 3, t, t), (B, 3, g, g).
        """
        tiles = np.stack([_three(_turn(self.random_tile(i, rng), rng)) for i in index])
        depth = self.labels["modality"][index] == DEPTH
        wholes = np.stack([_three(_lay(self.whole(i), bool(d), rng)) for i, d in zip(index, depth, strict=True)])
        tile_views, whole_views = _gamma([decode(tiles), decode(wholes)], rng)
        return tile_views, whole_views

    def disturbed_statistics(self, index: np.ndarray, mean: torch.Tensor, std: torch.Tensor,
                             rng: np.random.Generator) -> torch.Tensor:  # fmt: skip
        """Statistics (B, F) with noise, and their mean (F,) in place of some samples'.

        The statistics of few contents are soon learned by heart.
        """
        values = self.statistics(index)[:, : len(mean)]  # none for a scorer without
        noise = torch.from_numpy(rng.normal(0, STATISTICS_NOISE, values.shape).astype(np.float32))
        gone = torch.from_numpy(rng.random(len(index)) < STATISTICS_DROP)
        return torch.where(gone[:, None], mean.cpu(), values + noise * std.cpu())

    def quad_batches(self, size: int, rng: np.random.Generator) -> list[np.ndarray]:
        """Sample indices in batches of `size`, whole quads together, in random order."""
        quads = rng.permutation(len(self) // VERSIONS)
        index = (quads[:, None] * VERSIONS + np.arange(VERSIONS)).ravel()
        return [index[k : k + size] for k in range(0, len(index) - size + 1, size)]


def decode(codes: np.ndarray) -> torch.Tensor:
    """uint16 (B, h, w, 3) -> float32 (B, 3, h, w) under the intensity contract."""
    return torch.from_numpy(codes.astype(np.float32)).div_(CODE_SCALE).sub_(CODE_OFFSET).permute(0, 3, 1, 2)


def pad_to(tile: np.ndarray, side: int) -> np.ndarray:
    """Mirror a tile of a narrow plane up to (side, side, C)."""
    h, w = tile.shape[:2]
    if h == side and w == side:
        return tile
    return np.pad(tile, ((0, side - h), (0, side - w), (0, 0)), mode="symmetric")


def _three(codes: np.ndarray) -> np.ndarray:
    return codes if codes.shape[2] == 3 else np.repeat(codes, 3, axis=2)


def _turn(tile: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of the eight ways to lay a square tile; what a tile shows of quality has no up or down."""
    tile = np.rot90(tile, int(rng.integers(4)))
    return tile[:, ::-1] if rng.random() < 0.5 else tile


def _gamma(views: list[torch.Tensor], rng: np.random.Generator) -> list[torch.Tensor]:
    """A mild tone curve per image, the same for its tile and its whole view; values beyond 0 to 1 stay."""
    power = torch.from_numpy(np.exp(rng.normal(0, 0.1, (len(views[0]), 1, 1, 1))).astype(np.float32))
    return [torch.where((v > 0) & (v < 1), v.clamp(1e-4, 1) ** power, v) for v in views]


def _starts(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)[:-1]])


def _lay(whole: np.ndarray, depth: bool, rng: np.random.Generator) -> np.ndarray:
    """A whole view mirrored, not upside down where rows are depth; a share of them stored on their side."""
    if rng.random() < SIDEWAYS:
        return _turn(whole, rng)
    whole = whole[:, ::-1] if rng.random() < 0.5 else whole
    return whole[::-1] if not depth and rng.random() < 0.5 else whole
