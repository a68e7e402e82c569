"""Train the part of the restorer that sets exposure and illumination right, on small views of whole images."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from medq_vlm import vocab
from medq_vlm.restore.bands import PLANES
from medq_vlm.restore.guidance import tensors
from medq_vlm.restore.light import BLACK, QUANTILES, RANGE
from medq_vlm.restore.network import RestorationNet
from medq_vlm.treated import LIGHT_KINDS
from training.loop import warm_cosine
from training.restoration_texts import Lesson, draw_lesson
from training.restoration_views import Views

BATCH = 32
FLOOR = 0.02  # error of a view, in the network's range, below which its share no longer counts in full
SAME_WEIGHT = 6.0  # of views that must stay as they are
LOG_EVERY = 200


def fit_light(model: RestorationNet, views: Views, check: Views, steps: int, rate: float, seed: int) -> None:
    """`model.light` alone; the text encoder, which it hears, stays as it is."""
    learn_usual_levels(model, views)
    optimiser = torch.optim.AdamW(model.light.parameters(), lr=rate, weight_decay=1e-3)
    total = 0.0
    for step in range(steps):
        rng = np.random.default_rng([seed, 11, step])
        chosen = rng.integers(0, len(views), BATCH)
        lessons = [draw_lesson(views.records[int(i)], rng) for i in chosen]
        small, target = _turned(*_taken(views, chosen, lessons), int(rng.integers(8)))
        loss = light_loss(small, relit(model, small, lessons), target)
        for group in optimiser.param_groups:
            group["lr"] = rate * warm_cosine(step / steps, 0.03)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.light.parameters(), 1.0)
        optimiser.step()
        total += float(loss.detach())
        if (step + 1) % LOG_EVERY == 0:
            print(f"light {step + 1} loss {total / LOG_EVERY:.4f} {_words(gains(model, check))}", flush=True)
            total = 0.0


@torch.no_grad()
def learn_usual_levels(model: RestorationNet, views: Views) -> None:
    """Solve `light.usual`: embedding of a modality -> mean quantiles of its clean views, untoned; unknown: of all."""
    share = torch.linspace(0, 1, QUANTILES)
    own = [i for i, record in enumerate(views.records) if not record.get("toned")]
    clean = torch.from_numpy(views.targets[own, 0].astype(np.float32)).flatten(1)
    found = torch.stack([torch.quantile((one - BLACK) / RANGE, share) for one in clean])
    modality = [views.records[i]["modality"] for i in own]
    rows = {name: found[[one == name for one in modality]].mean(0) for name in set(modality)}
    usual = torch.stack([rows.get(name, found.mean(0)) for name in (*vocab.MODALITIES, None)])
    known = torch.cat([model.lead.modality.weight, torch.ones(len(usual), 1)], 1)
    solved = torch.linalg.lstsq(known, usual, driver="gelsd").solution
    model.light.usual.weight.copy_(solved[:-1].T)
    model.light.usual.bias.copy_(solved[-1])


def relit(model: RestorationNet, small: torch.Tensor, lessons: list[Lesson]) -> torch.Tensor:
    """Small views (B, 3, T, T) in the light that the lessons ask for."""
    with torch.no_grad():
        wish = model.lead.read(tensors([lesson.guidance for lesson in lessons]))
    light = model.light(small, wish)
    gains = F.interpolate(light.gains, small.shape[-2:], mode="bilinear")
    return light.apply(small, gains)[0]


def light_loss(before: torch.Tensor, after: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Each view's mean error as a share of that of its degraded input; see `restoration_loss`."""
    error, was = (after - target).abs().mean((1, 2, 3)), (before - target).abs().mean((1, 2, 3))
    return torch.where(was < 1e-3, SAME_WEIGHT * error, error / (was + FLOOR)).mean()


@torch.no_grad()
def gains(model: RestorationNet, check: Views) -> dict[str, float]:
    """{kind of light: mean gain in dB} of views with this kind alone under the right description."""
    found: dict[str, list[float]] = defaultdict(list)
    for i, record in enumerate(check.records):
        if len(record["kinds"]) != 1 or record["kinds"][0] not in LIGHT_KINDS:
            continue
        lesson = _right(record, i)
        small, target = _taken(check, np.array([i]), [lesson])
        was, now = (float(((x - target) ** 2).mean()) for x in (small, relit(model, small, [lesson])))
        found[f"{record['modality']} {record['kinds'][0]}"].append(10 * np.log10(max(was, 1e-6) / max(now, 1e-6)))
    return {kind: float(np.mean(values)) for kind, values in sorted(found.items())}


def _right(record: dict, number: int) -> Lesson:
    """A lesson that asks for the clean image."""
    rng = np.random.default_rng([number, 3])
    while True:
        lesson = draw_lesson(record, rng)
        if lesson.target == 0 and lesson.guidance.findings:
            return lesson


def _taken(views: Views, chosen: np.ndarray, lessons: list[Lesson]) -> tuple[torch.Tensor, torch.Tensor]:
    """Degraded views and their targets, (B, 3, T, T) each."""
    small = views.degraded[chosen].astype(np.float32)
    target = np.stack([
        degraded if lesson.target < 0 else views.targets[i, lesson.target].astype(np.float32)
        for i, degraded, lesson in zip(chosen, small, lessons, strict=True)
    ])  # fmt: skip
    return torch.from_numpy(small), torch.from_numpy(target)


def _turned(small: torch.Tensor, target: torch.Tensor, way: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One of the eight symmetries of the square."""
    both = torch.cat([small, target], 1)
    both = torch.rot90(both.flip(-1) if way & 4 else both, way & 3, (-2, -1))
    return both[:, :PLANES], both[:, PLANES:]


def _words(found: dict[str, float]) -> str:
    return " ".join(f"{kind} {value:+.1f}" for kind, value in found.items())
