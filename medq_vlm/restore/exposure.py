"""A wrong exposure undone by the curve that a severity stands for, as far as pixels alone can tell it.

Two curves for each kind: the film's (Hurter and Driffield, 1890) run backwards, and the straight line of a detector or
a lens that saw too little or too much light. Neither is believed at once: light.py corrects the severity by what it
sees, and says how much of each to take.
"""

from __future__ import annotations

from functools import cache

import torch

from medq_vlm import vocab
from medq_vlm.restore.guidance import KINDS, UNKNOWN_MODALITY

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


def undone(levels: torch.Tensor, severities: torch.Tensor, modality: torch.Tensor) -> torch.Tensor:
    """Grey levels (N,) -> (B, FORMS, N), what they were before the wrong exposure.

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
    line = torch.where(radiograph, grey, levels * torch.exp2(stops[worse, modality][:, None] * strength))
    return torch.stack([film, line], 1)


def told_severities(named: torch.Tensor) -> torch.Tensor:
    """(B, NAMED) of a wish -> (B, 2) severities of EXPOSURES, 0 to 4, by the findings alone."""
    return 4 * named[:, :KINDS][:, [vocab.KIND_NAMES.index(kind) for kind in EXPOSURES]]


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
