"""A canonical plane through the towers: all tiles and the whole view, the fused outputs, and where a finding is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F

from medq_vlm import vocab
from medq_vlm.config import ViewConfig
from medq_vlm.encoder import backbone, pointer
from medq_vlm.encoder.preprocess import Canonical, resize, tile_origins
from medq_vlm.encoder.scorer import Outputs, Scorer

WINDOW_PX, WINDOW_STEP_PX = 64, 32  # of a heat map without the pointer, on the canonical plane
WINDOW_STEPS = 2  # a window is so many steps wide
FINE_PX = 8  # of the tile, per cell of a map that does not divide it


@dataclass
class EncodedSlice:
    """The towers' reading of one slice; encode once, ask many."""

    tiles: torch.Tensor  # (V, P)
    whole: torch.Tensor  # (P,)
    statistics: torch.Tensor  # (F,)
    origins: tuple[tuple[int, int], ...]  # (y, x) of the tiles on the plane
    plane_size: tuple[int, int]
    looks: torch.Tensor | None = None  # (2 D,) what the third opinion sees, where there is one
    maps: list[torch.Tensor] | None = None  # of the tiles, (V, C, h, w) each, where a heat map may be asked for
    tile_px: int = 0


def cut_views(plane: np.ndarray, config: ViewConfig) -> tuple[torch.Tensor, torch.Tensor, list[tuple[int, int]]]:
    """Plane (h, w[, 3]) -> tiles (V, 1 or 3, t, t), whole (1, 1 or 3, g, g), tile corners."""
    t = config.tile_px
    h, w = plane.shape[:2]
    channels = plane.reshape(h, w, -1)
    padded = np.pad(channels, ((0, max(0, t - h)), (0, max(0, t - w)), (0, 0)), mode="symmetric")
    origins = tile_origins(h, w, config)
    tiles = np.stack([padded[y : y + t, x : x + t] for y, x in origins])
    whole = resize(plane, (config.global_px, config.global_px)).reshape(1, config.global_px, config.global_px, -1)
    as_tensor = [torch.from_numpy(np.ascontiguousarray(v)).permute(0, 3, 1, 2).float() for v in (tiles, whole)]
    return as_tensor[0], as_tensor[1], origins


@torch.no_grad()
def encode(
    model: Scorer, view: Canonical, statistics: Callable[[], np.ndarray], config: ViewConfig, maps: bool = False
) -> EncodedSlice:
    """Run the towers over one slice; with `maps` for `heat_map` too. `statistics` is asked when they are done."""
    tiles, whole, origins = cut_views(view.plane, config)
    device = model.queries.device
    seen, small = model.maps(tiles.to(device)), model.maps(whole.to(device))
    third = model.third
    return EncodedSlice(
        tiles=backbone.pool(seen),
        whole=backbone.pool(small)[0],
        looks=None if third is None else torch.cat([third.look(seen).mean(0), third.look(small)[0]]),
        maps=seen if maps else None,
        tile_px=config.tile_px,
        statistics=torch.from_numpy(statistics()).to(device),
        origins=tuple(origins),
        plane_size=(view.plane.shape[0], view.plane.shape[1]),
    )


def predict(
    model: Scorer, encoded: EncodedSlice, modality: int, anchors: torch.Tensor, prior: torch.Tensor | None = None
) -> Outputs:
    """Outputs of one slice (batch of one), on the CPU; `modality` is an id or scorer.UNKNOWN, `prior` (1, E) of
    `read_prior`.
    """
    given = torch.tensor([modality], device=encoded.tiles.device)
    looks = None if encoded.looks is None else encoded.looks[None]
    out = model.fuse(
        encoded.tiles[None], encoded.whole[None], encoded.statistics[None], given, anchors, prior=prior, looks=looks
    )
    return Outputs(*(getattr(out, field.name).cpu() for field in fields(out)))


@torch.no_grad()
def heat_map(model: Scorer, encoded: EncodedSlice, modality: int, anchors: torch.Tensor, kind: int) -> np.ndarray:
    """Where `kind` shows: float32 map of the plane, 0 to 1, all 0 when it is even; a cell is a window's step wide.

    A kind that lies somewhere is the pointer's, where there is one. Of any other, every window of WINDOW_PX is scored
    as if it were the only tile, beside the same whole view and statistics. The map is the rise above the window that
    is least affected.
    """
    if encoded.maps is None:
        raise ValueError("A heat map needs a slice that was encoded with its maps.")
    device = model.queries.device  # the model may have left the GPU since
    name = vocab.KIND_NAMES[kind]
    if model.pointer is not None and name in vocab.LOCAL_KINDS:
        windows = window_tokens(encoded.maps, encoded.tile_px, pointer.WINDOW_PX, pointer.STEP_PX).to(device)
        given = torch.full((windows[..., 0].numel(),), modality, device=device)
        logits = model.pointer(windows.flatten(0, 2), given)[:, vocab.LOCAL_KINDS.index(name)]
        return _assemble(logits.sigmoid().view(windows.shape[:3]).cpu().numpy(), encoded, pointer.STEP_PX)
    windows = window_tokens(encoded.maps, encoded.tile_px, WINDOW_PX, WINDOW_STEP_PX).to(device)
    whole, statistics = encoded.whole.to(device), encoded.statistics.to(device)
    count, n = windows.shape[:2]
    alone = windows.flatten(0, 2)[:, None]  # V*n*n 1 P
    given = torch.full((len(alone),), modality, device=device)
    out = model.fuse(alone, whole.expand(len(alone), -1), statistics.expand(len(alone), -1), given, anchors)
    severity = out.severities()[:, kind].view(count, n, n).cpu().numpy()
    return _assemble(severity, encoded, WINDOW_STEP_PX)


def window_tokens(maps: list[torch.Tensor], tile_px: int, window_px: int, step_px: int) -> torch.Tensor:
    """Stage maps of tiles -> backbone.pool over each window: (V, n, n, P); a window is two steps wide."""
    parts = []
    for number, stage in enumerate(maps):
        if tile_px % stage.shape[-1]:  # a transformer's patches: windows are cut from an enlarged copy
            stage = F.interpolate(stage, size=tile_px // FINE_PX, mode="bilinear", align_corners=False)
        if tile_px // stage.shape[-1] > step_px:  # a cell is wider than a step
            stage = F.interpolate(stage, size=tile_px // step_px, mode="nearest")
        stride = tile_px // stage.shape[-1]
        size, step = window_px // stride, step_px // stride
        mean = F.avg_pool2d(stage, size, step)  # V C n n
        parts.append(mean)
        if number < len(maps) - 1:
            square = F.avg_pool2d(stage.square(), size, step)
            parts.append(((square - mean.square()).clamp(min=0) + 1e-5).sqrt())
    return torch.cat(parts, 1).permute(0, 2, 3, 1)


def _assemble(windows: np.ndarray, encoded: EncodedSlice, step_px: int) -> np.ndarray:
    """Window values (V, n, n) -> mean over the windows that cover each cell of a step, scaled to 0 to 1."""
    h, w = (-(-v // step_px) for v in encoded.plane_size)
    margin = windows.shape[1] + WINDOW_STEPS
    total, count = np.zeros((h + margin, w + margin), np.float32), np.zeros((h + margin, w + margin), np.float32)
    for tile, (y, x) in zip(windows, encoded.origins, strict=True):
        r0, c0 = round(y / step_px), round(x / step_px)
        for (i, j), value in np.ndenumerate(tile):
            total[r0 + i : r0 + i + WINDOW_STEPS, c0 + j : c0 + j + WINDOW_STEPS] += value
            count[r0 + i : r0 + i + WINDOW_STEPS, c0 + j : c0 + j + WINDOW_STEPS] += 1
    heat = (total / np.maximum(count, 1))[:h, :w]
    rise = heat - heat[count[:h, :w] > 0].min()
    return np.where(count[:h, :w] > 0, rise, 0.0) / max(float(rise.max()), 0.05)  # a rise of less is no place
