"""A canonical plane through the towers: all tiles and the whole view, the fused outputs, and where a finding is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from medq_vlm.config import ViewConfig
from medq_vlm.encoder import backbone
from medq_vlm.encoder.preprocess import Canonical, channels, resize, tile_origins
from medq_vlm.encoder.scorer import Outputs, Scorer

HEAT_STAGES = (2, 3)  # strides 8 and 16
HEAT_STRIDE = 8


@dataclass
class EncodedSlice:
    """The towers' reading of one slice; encode once, ask many."""

    tiles: torch.Tensor  # (V, P)
    whole: torch.Tensor  # (P,)
    statistics: torch.Tensor  # (F,)
    maps: tuple[torch.Tensor, ...]  # per HEAT_STAGES: (V, C, h, w)
    origins: tuple[tuple[int, int], ...]  # (y, x) of the tiles on the plane
    plane_size: tuple[int, int]


def cut_views(plane: np.ndarray, config: ViewConfig) -> tuple[torch.Tensor, torch.Tensor, list[tuple[int, int]]]:
    """Plane (h, w[, 3]) -> tiles (V, 3, t, t), whole (1, 3, g, g), tile corners."""
    full = plane if plane.ndim == 3 else np.repeat(plane[..., None], 3, axis=2)
    t = config.tile_px
    h, w = full.shape[:2]
    padded = np.pad(full, ((0, max(0, t - h)), (0, max(0, t - w)), (0, 0)), mode="symmetric")
    origins = tile_origins(h, w, config)
    tiles = np.stack([padded[y : y + t, x : x + t] for y, x in origins])
    whole = resize(full, (config.global_px, config.global_px))[None]
    as_tensor = [torch.from_numpy(np.ascontiguousarray(v)).permute(0, 3, 1, 2).float() for v in (tiles, whole)]
    return as_tensor[0], as_tensor[1], origins


@torch.no_grad()
def encode(model: Scorer, view: Canonical, statistics: np.ndarray, config: ViewConfig) -> EncodedSlice:
    """Run the tower over one slice."""
    tiles, whole, origins = cut_views(view.plane, config)
    device = model.queries.device
    trunk = model.clip.visual.trunk
    maps = backbone.stage_maps(trunk, channels(tiles.to(device)))
    return EncodedSlice(
        tiles=backbone.pool(maps),
        whole=model.view_tokens(whole.to(device))[0],
        statistics=torch.from_numpy(statistics).to(device),
        maps=tuple(maps[i] for i in HEAT_STAGES),
        origins=tuple(origins),
        plane_size=(view.plane.shape[0], view.plane.shape[1]),
    )


def predict(model: Scorer, encoded: EncodedSlice, modality: int, anchors: torch.Tensor) -> Outputs:
    """Outputs of one slice (batch of one); `modality` is an id or scorer.UNKNOWN."""
    given = torch.tensor([modality], device=encoded.tiles.device)
    return model.fuse(encoded.tiles[None], encoded.whole[None], encoded.statistics[None], given, anchors)


def heat_map(model: Scorer, encoded: EncodedSlice, modality: int, anchors: torch.Tensor, kind: int) -> np.ndarray:
    """Where the severity of `kind` comes from: float32 (h/8, w/8) of the plane, 0 to 1.

    First-order attribution: the gradient of the severity with respect to each pooled mean and spread, times what a
    position adds to them beyond the image's average (Grad-CAM, Selvaraju et al. 2017, extended to spreads).
    """
    with torch.enable_grad():
        tiles = encoded.tiles.detach().requires_grad_(True)
        out = model.fuse(tiles[None], encoded.whole[None], encoded.statistics[None],
                         torch.tensor([modality], device=tiles.device), anchors)  # fmt: skip
        gradient = torch.autograd.grad(out.severities()[0, kind], tiles)[0].sum(0)  # P
    chs = [info["num_chs"] for info in model.clip.visual.trunk.feature_info]
    side = encoded.maps[0].shape[-1] * HEAT_STRIDE
    size = side // HEAT_STRIDE
    total = torch.zeros(len(encoded.origins), size, size)
    for stage, maps in zip(HEAT_STAGES, encoded.maps, strict=True):
        start = 2 * sum(chs[:stage])
        for_mean, for_std = (
            gradient[start : start + chs[stage]],
            gradient[start + chs[stage] : start + 2 * chs[stage]],
        )
        mean = maps.mean((0, 2, 3), keepdim=True)
        std = maps.std((0, 2, 3), keepdim=True) + 1e-3
        spread = ((maps - mean).square() - std.square()) / (2 * std)
        part = ((maps - mean) * for_mean.view(1, -1, 1, 1) + spread * for_std.view(1, -1, 1, 1)).sum(1)
        part = F.interpolate(part[:, None], size=(size, size), mode="bilinear", align_corners=False)[:, 0]
        total += part.cpu()
    return _assemble(total.numpy(), encoded)


def _assemble(tiles: np.ndarray, encoded: EncodedSlice) -> np.ndarray:
    h, w = (-(-v // HEAT_STRIDE) for v in encoded.plane_size)
    size = tiles.shape[1]
    total = np.zeros((h + size, w + size), np.float32)
    count = np.zeros_like(total)
    for tile, (y, x) in zip(tiles, encoded.origins, strict=True):
        r, c = round(y / HEAT_STRIDE), round(x / HEAT_STRIDE)
        total[r : r + size, c : c + size] += tile
        count[r : r + size, c : c + size] += 1
    heat = np.maximum(total / np.maximum(count, 1), 0)[:h, :w]
    return heat / max(float(heat.max()), 1e-9)
