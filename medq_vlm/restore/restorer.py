"""Restore an ImageSample: slice by slice with its neighbours, large slices in tiles, native units in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from medq_vlm import vocab
from medq_vlm.restore import lines, tones, views
from medq_vlm.restore.bands import whole_view
from medq_vlm.restore.guidance import Guidance, GuidanceTensors, place_map, tensors
from medq_vlm.restore.metal import take_out_metal
from medq_vlm.restore.network import RestorationNet
from medq_vlm.restore.proposal import propose
from medq_vlm.restore.remainder import THRESHOLDS, averages_out, put_back
from medq_vlm.restore.restoration import Restoration, measure_change, untouched
from medq_vlm.restore.scaling import slice_scale
from medq_vlm.restore.variation import mean_change, second_opinion
from medq_vlm.schema import ImageSample, MedQError
from medq_vlm.treated import TREATED_MODALITIES

Progress = Callable[[int, int], None]  # slices done, slices in all
Tile = tuple[int, int, int, int]  # y0, x0, y1, x1

TILE_PX = 768  # larger slices are cut into tiles of at most this side ...
MARGIN_PX = 160  # ... with so much more on every side: wider than any pixel's influence, so that no seam can show
SMALLEST_PX = 32
METAL_GONE = "Metal was taken out together with its streaks: see the original for the implant itself."


@dataclass(frozen=True)
class Restorer:
    """The loaded network with what its checkpoint says about it."""

    model: RestorationNet
    meta: dict[str, Any] = field(default_factory=dict)

    def restore(self, sample: ImageSample, guidance: Guidance, progress: Progress | None = None) -> Restoration:
        """`sample` with the degradations that `guidance` names taken away, or blindly under GUIDANCE_NONE.

        Guidance that names something, but nothing the network treats in this modality, leaves every pixel as it is.
        Padding (`valid` False) stays. Raises MedQError for an image that is too small or not finite.
        """
        _check(sample)
        guidance = guidance if guidance.modality else replace(guidance, modality=sample.modality)
        warnings = _warnings(sample, guidance)
        named = bool(guidance.findings) or bool(guidance.text)
        if sample.modality not in TREATED_MODALITIES or (named and not guidance.treated):
            return untouched(sample, *warnings)
        start = first_estimate(sample, guidance)
        if start is not sample:
            warnings = (*warnings, METAL_GONE)
        pixels = np.empty(sample.pixels.shape, np.float32)
        for index in range(sample.slices):
            pixels[index] = self._slice(start, index, guidance)
            if progress is not None:
                progress(index + 1, sample.slices)
        residual = pixels - sample.pixels
        unchanged = not residual.any()
        return Restoration(
            replace(sample, pixels=pixels), residual, guidance.treated, unchanged, warnings,
            measure_change(sample, residual),
        )  # fmt: skip

    def _slice(self, sample: ImageSample, index: int, guidance: Guidance) -> np.ndarray:
        """Slice `index` restored, (H, W) or (H, W, 3).

        An overexposure goes first, by a curve alone. Where the picture tells what was measured, the result agrees with
        that; it holds the other faults, too: these are taken out once more.
        """
        if tones.OVEREXPOSURE in guidance.treated:
            lit = self._lit(sample, index, guidance.only(tones.OVEREXPOSURE))
            others = guidance.without(tones.OVEREXPOSURE)
            return self._slice(lit, 0, others) if others.treated else lit.pixels[0]
        done, native = restore_slice(self.model, sample, index, guidance), sample.pixels[index]
        kept, others = done, guidance
        if views.KIND in guidance.treated and sample.unit == "HU":
            kept, others = views.keep_views(native, done), guidance.without(views.KIND)
        elif lines.KIND in guidance.treated and native.ndim == 2:
            kept, others = lines.keep_lines(native, done), guidance.without(lines.KIND)
        if kept is done:
            return done
        valid = None if sample.valid is None else sample.valid[index]
        kept = kept if valid is None else np.where(valid, kept, done)
        if not others.treated:
            return kept
        return restore_slice(self.model, _alone(sample, index, kept), 0, others)

    def _lit(self, sample: ImageSample, index: int, guidance: Guidance) -> ImageSample:
        """Slice `index` through the curve that comes nearest to what the network makes of it."""
        native = sample.pixels[index]
        valid = None if sample.valid is None else sample.valid[index]
        out = tones.nearest_curve(native, restore_slice(self.model, sample, index, guidance), valid)
        out = out if valid is None else np.where(valid if out.ndim == 2 else valid[..., None], out, native)
        return _alone(sample, index, _as_stored(out, sample))


def _alone(sample: ImageSample, index: int, pixels: np.ndarray) -> ImageSample:
    """Slice `index` as an image of its own, showing `pixels`."""
    return replace(sample, pixels=pixels[None], valid=None if sample.valid is None else sample.valid[index][None])


def _check(sample: ImageSample) -> None:
    if min(sample.pixels.shape[1:3]) < SMALLEST_PX:
        raise MedQError(f"{sample.path or 'The image'} is smaller than {SMALLEST_PX} x {SMALLEST_PX} pixels.")
    if not np.isfinite(sample.pixels).all():
        raise MedQError(f"{sample.path or 'The image'} holds pixels that are not numbers.")


def _warnings(sample: ImageSample, guidance: Guidance) -> tuple[str, ...]:
    modality = guidance.modality
    if modality not in TREATED_MODALITIES:
        name = vocab.MODALITY_NAMES.get(modality or "", "unknown")
        return (f"Images of modality {name} are not restored; the image came back unchanged.",)
    told = (tones.CLIPPED,) if tones.OVEREXPOSURE in guidance.treated else ()
    if guidance.untreated:
        plain = ", ".join(vocab.KIND[kind].plain for kind in guidance.untreated)
        return (f"Not treated, for the network did not learn it: {plain}.", *told)
    return told


def first_estimate(sample: ImageSample, guidance: Guidance) -> ImageSample:
    """What the network starts from: physics goes first where it knows more than pixels tell.

    Metal that is named leaves its projections, where the numbers are those of attenuation; padding stays. Without
    metal in the pixels it is `sample` itself.
    """
    if "metal" not in guidance.treated or sample.unit != "HU":
        return sample
    before = list(sample.pixels)
    planes = [take_out_metal(plane) for plane in before]
    if all(plane is same for plane, same in zip(planes, before, strict=True)):
        return sample
    pixels = np.stack(planes)
    return replace(sample, pixels=pixels if sample.valid is None else np.where(sample.valid, pixels, sample.pixels))


@torch.inference_mode()
def restore_slice(model: RestorationNet, sample: ImageSample, index: int, guidance: Guidance) -> np.ndarray:
    """Slice `index` restored, native units, (H, W) or (H, W, 3)."""
    scale = slice_scale(sample, index)
    native = sample.pixels[index]
    planes = torch.from_numpy(scale.to_network(_planes(sample, index)))[None]  # 1 3 H W
    place = torch.from_numpy(place_map(guidance, native.shape[:2]))[None, None]
    # A grey image is seen whole by its own slice; its neighbours join at the pixels only.
    small = whole_view(planes if _coloured(sample) else planes[:, 1:2])
    proposal = propose(planes[0], guidance)
    offered = None if proposal is None else proposal[None]
    change = tiled(model, planes, place, small, tensors([guidance]), offered) - planes
    own = change[0].permute(1, 2, 0).numpy() if _coloured(sample) else change[0, 1].numpy()
    inside = None if sample.valid is None else sample.valid[index]
    if second_opinion(guidance):
        own = mean_change(planes[0, 1].numpy(), own, inside)
    if averages_out(guidance):
        own = put_back(own, THRESHOLDS[str(guidance.modality)], inside)
    if native.ndim == 3 and own.ndim == 2:  # a grey modality stored in colour: the light changes, the hue stays
        own = np.broadcast_to(own[..., None], native.shape)
    if sample.valid is not None:
        valid = sample.valid[index]
        own = np.where(valid if own.ndim == 2 else valid[..., None], own, 0.0)
    out = (native + own * scale.span).astype(np.float32)
    if guidance.treated == (tones.UNEVEN,) and _coloured(sample):
        out = tones.one_light(native, out, scale.span)
    return _as_stored(out, sample)


def _coloured(sample: ImageSample) -> bool:
    return sample.colour and sample.modality in vocab.COLOUR


def _planes(sample: ImageSample, index: int) -> np.ndarray:
    """(3, H, W) native: RGB, or the grey slice between its neighbours (itself where there is none)."""
    if sample.colour:
        rgb = np.ascontiguousarray(sample.pixels[index].transpose(2, 0, 1))
        return rgb if _coloured(sample) else np.repeat(rgb.mean(0, keepdims=True), 3, 0)
    around = (max(0, index - 1), index, min(sample.slices - 1, index + 1))
    return np.stack([sample.pixels[k] for k in around])


def _as_stored(pixels: np.ndarray, sample: ImageSample) -> np.ndarray:
    """Eight-bit pictures keep whole grey levels within 0 to 255, as their files do; nothing falls below a zero that the
    original keeps, for magnitudes and counts do not."""
    grey_in_colour = sample.colour and not _coloured(sample)  # its channels change alike
    if sample.unit != "HU" and not grey_in_colour and sample.pixels.min(initial=0) >= 0:
        pixels = np.maximum(pixels, 0)
    if sample.bits is None or sample.bits > 8 or sample.pixels.max(initial=0) <= 1:
        return pixels
    return np.clip(np.round(pixels), 0, 2**sample.bits - 1).astype(np.float32)


def tiled(
    model: RestorationNet, planes: torch.Tensor, place: torch.Tensor, small: torch.Tensor, guidance: GuidanceTensors,
    proposal: torch.Tensor | None = None, tile_px: int = TILE_PX, margin_px: int = MARGIN_PX,
) -> torch.Tensor:  # fmt: skip
    """The network on planes (1, 3, H, W) tile by tile; each tile sees its margin and the small view of the whole.

    Tiles begin at multiples of the network's stride, so that a pixel gets the value the whole image would give it.
    """
    height, width = planes.shape[-2:]
    out = torch.empty_like(planes)
    for tile in tiles(height, width, tile_px):
        y0, x0, y1, x1 = _with_margin(tile, height, width, margin_px, model.multiple)
        box = planes.new_tensor([[x0 / width, y0 / height, x1 / width, y1 / height]])
        part = planes[..., y0:y1, x0:x1].contiguous(memory_format=torch.channels_last)
        offered = None if proposal is None else proposal[..., y0:y1, x0:x1]
        done = model(part, place[..., y0:y1, x0:x1], small, guidance, box, offered)
        ty0, tx0, ty1, tx1 = tile
        out[..., ty0:ty1, tx0:tx1] = done[..., ty0 - y0 : ty1 - y0, tx0 - x0 : tx1 - x0]
    return out


def tiles(height: int, width: int, tile_px: int) -> Iterator[Tile]:
    """Rectangles that cover the image once, sides at most `tile_px`; one where it fits by half more."""
    if height * width <= (1.5 * tile_px) ** 2 and max(height, width) <= 3 * tile_px:
        yield 0, 0, height, width
        return
    for y in range(0, height, tile_px):
        for x in range(0, width, tile_px):
            yield y, x, min(height, y + tile_px), min(width, x + tile_px)


def _with_margin(tile: Tile, height: int, width: int, margin_px: int, multiple: int) -> Tile:
    y0, x0, y1, x1 = tile
    top, left = max(0, y0 - margin_px) // multiple * multiple, max(0, x0 - margin_px) // multiple * multiple
    return top, left, min(height, y1 + margin_px), min(width, x1 + margin_px)
