"""A wrong exposure undone by the curve that a severity stands for, as far as pixels alone can tell it.

Two curves for each kind: the film's (Hurter and Driffield, 1890) run backwards, and the straight line of a detector or
a lens that saw too little light or was saturated. Which of them it was, and how far, is decided by Bayes: a told
severity is off by SEVERITY_SD, or wrong altogether, and an image is as usual for its modality as clean images are.
Nothing here is trained, so no subject can be known by heart.
"""

from __future__ import annotations

from functools import cache

import torch

from medq_vlm import vocab
from medq_vlm.restore.guidance import UNKNOWN_MODALITY
from medq_vlm.restore.text import Wish

EXPOSURES = ("underexposure", "overexposure")
FORMS = 2  # film, straight line
# Of the simulation, 0 to 1, at severity 0 to 4, after degrade/severity_table.json.
STRENGTHS = {
    "underexposure": {
        "xray": (0.000, 0.279, 0.466, 0.691, 0.982),
        "mammography": (0.000, 0.184, 0.296, 0.422, 0.982),
        "fundus": (0.000, 0.201, 0.313, 0.443, 0.570),
        "endoscopy": (0.000, 0.165, 0.293, 0.397, 0.543),
        "histopathology": (0.000, 0.162, 0.268, 0.375, 0.528),
        "dermoscopy": (0.000, 0.184, 0.296, 0.422, 0.982),
        "oct": (0.000, 0.184, 0.296, 0.422, 0.982),
    },
    "overexposure": {
        "xray": (0.000, 0.315, 0.423, 0.553, 0.686),
        "mammography": (0.000, 0.231, 0.446, 0.608, 0.796),
        "fundus": (0.000, 0.328, 0.551, 0.748, 0.999),
        "endoscopy": (0.000, 0.210, 0.406, 0.638, 0.868),
        "histopathology": (0.000, 0.146, 0.258, 0.382, 0.626),
        "dermoscopy": (0.000, 0.216, 0.435, 0.683, 0.979),
        "oct": (0.000, 0.144, 0.263, 0.369, 0.539),
    },
}
FILM_SHIFTS = {"radiograph": (3.2, -4.0), "optical": (-4.95, 4.9)}  # of the logit, per strength: under, over
GREY_LOSS, LARGEST_CUT = 0.75, 0.65  # of a radiograph's range, per strength: underexposed, saturated
STOPS = (4.5, 3.5)  # of light, per strength: under, over
END = 1e-4  # of the film's curve, whose ends are infinitely far
# Standard deviations: a told severity; a clean image's mean level from the usual, and its other quantiles from theirs;
# its largest level above WHITE.
SEVERITY_SD, LEVEL_SD, SHAPE_SD, WHITE, WHITE_SD = 0.4, 0.12, 0.1, 1.03, 0.05
TRIED = 31  # severities, up to FURTHEST from the told one
FURTHEST, LEAST = 1.5, 0.2
DOUBT = 0.05  # probability that a named exposure is none


def undone(levels: torch.Tensor, severities: torch.Tensor, modality: torch.Tensor) -> torch.Tensor:
    """Grey levels (N,) or (B, N) -> (B, FORMS, N), what they were before the wrong exposure.

    severities: (B, 2) of EXPOSURES, 0 to 4; the worse one is undone, and 0 gives the levels back. modality: (B,) index
    into vocab.MODALITIES or UNKNOWN_MODALITY, whose levels stay.
    """
    worse = severities.argmax(1)
    strengths, shifts, stops = (table.to(levels.device) for table in _tables())
    strength = _between(strengths[worse, modality], severities.gather(1, worse[:, None])[:, 0])[:, None]  # B 1
    inside = levels.clamp(END, 1 - END)
    film = torch.sigmoid(torch.logit(inside) - shifts[worse, modality][:, None] * strength) + levels - inside
    over, radiograph = (worse == 1)[:, None], (stops[worse, modality] == 0)[:, None]
    cut = LARGEST_CUT * strength * over
    grey = (levels / (1 - GREY_LOSS * strength * ~over)) * (1 - cut) + cut
    grey = torch.where(over & (levels <= 0), cut / 2, grey)  # a full detector: anything below the cut
    line = torch.where(radiograph, grey, levels * torch.exp2(stops[worse, modality][:, None] * strength))
    return torch.stack([film, line], 1)


def likely_curve(
    levels: torch.Tensor, spread: torch.Tensor, usual: torch.Tensor, told: torch.Tensor, modality: torch.Tensor
) -> torch.Tensor:
    """Grey levels (N,) -> (B, N) with the exposure undone: likely mean over both curves, TRIED severities and none.

    spread, usual: (B, Q) quantiles of the image, and of clean images of its modality. told, modality: as in `undone`.
    """
    away = torch.linspace(-FURTHEST, FURTHEST, TRIED, device=told.device)
    tried = torch.where(told[:, None] > 0, (told[:, None] + away[:, None]).clamp(LEAST, 4), 0.0)  # B T 2
    tried = torch.cat([tried, torch.zeros_like(tried[:, :1])], 1)
    prior = torch.softmax(-((away / SEVERITY_SD) ** 2) / 2, 0) * (1 - DOUBT)
    prior = torch.cat([prior, prior.new_tensor([DOUBT])]).log()[:, None]  # T + 1, 1
    batch, count, flat = len(told), len(prior), tried.flatten(0, 1)
    each = modality.repeat_interleave(count)
    made = undone(spread.repeat_interleave(count, 0), flat, each).unflatten(0, (batch, count))  # B T FORMS Q
    off = made - usual[:, None, None]
    shift = off.mean(3)
    misfit = (shift / LEVEL_SD) ** 2 + (off - shift[..., None]).square().mean(3) / SHAPE_SD**2
    misfit = misfit + ((made.amax(3) - WHITE).clamp_min(0) / WHITE_SD) ** 2
    likely = torch.softmax((prior - misfit / 2).flatten(1), 1).view(batch, count, FORMS, 1)
    return (likely * undone(levels, flat, each).unflatten(0, (batch, count))).sum((1, 2))


def told_severities(wish: Wish) -> torch.Tensor:
    """(B, 2) severities of EXPOSURES that can be undone, 0 to 4; by findings alone, for the text never says nothing.

    What an overexposed lens clipped leaves no curve to run back.
    """
    severities = 4 * wish.named[:, [vocab.KIND_NAMES.index(kind) for kind in EXPOSURES]]
    strengths, _, stops = (table.to(severities.device) for table in _tables())
    known = (strengths[:, wish.index, -1] > 0) & (stops[:, wish.index] >= 0)  # 2 B
    return torch.where(known.T, severities, 0.0)


def _between(at_severity: torch.Tensor, severity: torch.Tensor) -> torch.Tensor:
    """(B, 5) strengths at severity 0 to 4, linear in between."""
    severity = severity.clamp(0, 4)
    below = severity.detach().floor().clamp_max(3).long()[:, None]
    low, high = at_severity.gather(1, below)[:, 0], at_severity.gather(1, below + 1)[:, 0]
    return low + (high - low) * (severity - below[:, 0])


@cache
def _tables() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Strengths (2, M + 1, 5), film shifts and stops (2, M + 1) by kind and modality; zeros: not treated."""
    strengths = torch.zeros(len(EXPOSURES), UNKNOWN_MODALITY + 1, 5)
    shifts, stops = torch.zeros(strengths.shape[:2]), torch.zeros(strengths.shape[:2])
    for row, kind in enumerate(EXPOSURES):
        for name, values in STRENGTHS[kind].items():
            at = row, vocab.MODALITIES.index(name)
            optical = name in vocab.OPTICAL
            strengths[at] = torch.tensor(values)
            shifts[at] = FILM_SHIFTS["optical" if optical else "radiograph"][row]
            stops[at] = (STOPS[0], -STOPS[1])[row] if optical else 0.0
    return strengths, shifts, stops
