"""Every way to restore on one pair, measured: input, classical methods, ours under three guidances, and the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import torch
from tqdm import tqdm

from eval import classical_restoration as classical
from eval.outcomes import SliceScorer
from eval.restoration import change_against_noise, fidelity, psnr, ssim
from eval.restoration_cases import Evidence, Pair
from eval.restoration_guidance import right, wrong
from eval.restorers import Restorers, consistent
from medq_vlm.restore import GUIDANCE_NONE
from medq_vlm.schema import ImageSample

T = TypeVar("T")

INPUT, NONE, WRONG, RIGHT = "input", "no description", "wrong description", "ours"
LOOP, KNOWN, BESIDE = "ours, own assessment", "ours, acquired data known", "other weights"


@dataclass(frozen=True)
class Outcome:
    """All numbers of one pair."""

    task: str
    evidence: Evidence
    name: str  # of the content
    source: str
    group: str
    severity: float
    psnr: dict[str, float]  # dB, way or classical method -> value
    ssim: dict[str, float]
    fidelity: dict[str, float] = field(default_factory=dict)  # 1 - full-reference loss
    score: dict[str, float] = field(default_factory=dict)  # MedQ's own, 0 to 4
    unchanged: bool = False  # the loop gave the degraded image back
    flagged: bool = False  # the guard against invention warned


@dataclass(frozen=True)
class CleanOutcome:
    """What happens to a clean image."""

    name: str
    group: str
    modality: str
    loop_unchanged: bool
    loop_change: float  # RMS change over the image's own noise SD
    blind_change: float  # the same when the network is run without a description


def measure(pair: Pair, ours: Restorers | None, scorer: SliceScorer | None, beside: Restorers | None = None) -> Outcome:
    """Restore `pair` in every way. Without `ours` the classical methods alone are measured."""
    images: dict[str, ImageSample] = {INPUT: pair.degraded}
    template = classical.template(pair.content.modality)
    for method in classical.METHODS[pair.task.name]:
        params = classical.chosen(pair.task.name, method.name, pair.content.modality)
        images[method.name] = replace(pair.degraded, pixels=classical.restore(method, pair, params, template))
    unchanged = flagged = False
    if ours is not None:
        guidance = right(pair)
        images[RIGHT] = ours.restore(pair.degraded, guidance).sample
        images[NONE] = ours.restore(pair.degraded, replace(GUIDANCE_NONE, modality=pair.content.modality)).sample
        images[WRONG] = ours.restore(pair.degraded, wrong(pair)).sample
        known = consistent(pair, images[RIGHT])
        if known is not None:
            images[KNOWN] = known
        if beside is not None:
            images[BESIDE] = beside.restore(pair.degraded, guidance).sample
        if ours.loop is not None:
            looped = ours.loop(pair.degraded)
            images[LOOP] = looped.sample
            unchanged, flagged = looped.unchanged, looped.flagged
    judged = [way for way in (INPUT, RIGHT, LOOP) if way in images]
    return Outcome(
        pair.task.name, pair.evidence, pair.content.name, pair.content.source, pair.content.group, pair.record.severity,
        psnr={way: psnr(pair.clean, image.pixels) for way, image in images.items()},
        ssim={way: ssim(pair.clean, image.pixels) for way, image in images.items()},
        fidelity={way: fidelity(pair.clean, images[way], pair.task.kind) for way in judged},
        score={} if scorer is None else {way: float(scorer.score_slice(images[way]).score) for way in judged},
        unchanged=unchanged, flagged=flagged,
    )  # fmt: skip


def measure_clean(pair: Pair, ours: Restorers) -> CleanOutcome:
    """The clean image through the loop, and through the network without a description."""
    blind = ours.restore(pair.clean, replace(GUIDANCE_NONE, modality=pair.content.modality)).sample
    looped = ours.loop(pair.clean) if ours.loop is not None else None
    return CleanOutcome(
        pair.content.name, pair.content.group, pair.content.modality,
        loop_unchanged=looped is not None and looped.unchanged,
        loop_change=change_against_noise(pair.clean, looped.sample) if looped is not None else float("nan"),
        blind_change=change_against_noise(pair.clean, blind),
    )  # fmt: skip


def in_parallel(work: Callable[[Pair], T], pairs: Iterable[Pair], workers: int, desc: str) -> list[T]:
    """`work` on every pair, in order, on threads of one core each."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // workers))
    try:
        with ThreadPoolExecutor(workers) as pool:
            waiting = [pool.submit(work, pair) for pair in pairs]
            return [future.result() for future in tqdm(waiting, desc=desc, unit="pair", disable=None)]
    finally:
        torch.set_num_threads(before)


def best_classical(outcomes: Sequence[Outcome], picture_only: bool = False) -> str:
    """The classical method with the highest mean PSNR over `outcomes` of one task: chosen here, in its favour.

    picture_only leaves out what is told raw data, geometry or the strength of the degradation.
    """
    told = (classical.PICTURE, classical.TEMPLATE)
    methods = classical.METHODS[outcomes[0].task]
    names = [method.name for method in methods if not picture_only or method.knows in told]
    return max(names, key=lambda name: float(np.mean([outcome.psnr[name] for outcome in outcomes])))
