"""Wrong exposures undone: the simulation's own curves run backwards."""

from __future__ import annotations

import json
import math
from importlib import resources

import pytest
import torch

from medq_vlm import degrade, vocab
from medq_vlm.degrade.exposure import film
from medq_vlm.restore.exposure import EXPOSURES, LARGEST_CUT, STRENGTHS, likely_curve, told_severities, undone
from medq_vlm.restore.guidance import GUIDANCE_NONE, UNKNOWN_MODALITY, from_findings, tensors
from medq_vlm.restore.text import Lead

LEVELS = torch.linspace(0.05, 0.9, 30)


def told(kind: str, severity: float) -> torch.Tensor:
    return torch.tensor([[severity if kind == name else 0.0 for name in EXPOSURES]])


def index(modality: str) -> torch.Tensor:
    return torch.tensor([vocab.MODALITIES.index(modality)])


def test_strengths_are_those_of_the_simulation() -> None:
    table = json.loads(resources.files(degrade).joinpath("severity_table.json").read_text())["strength"]
    for kind in EXPOSURES:
        assert STRENGTHS[kind].keys() == table[kind].keys()
        for modality, values in STRENGTHS[kind].items():
            assert values == pytest.approx(table[kind][modality], abs=1e-3)


@pytest.mark.parametrize("modality", ["xray", "mammography", "fundus", "histopathology"])
@pytest.mark.parametrize("kind", EXPOSURES)
@pytest.mark.parametrize("severity", [0.7, 2.0, 3.5])
def test_one_of_the_two_curves_gives_back_what_a_noise_free_exposure_took(
    modality: str, kind: str, severity: float
) -> None:
    for seed in range(12):  # every variant
        record = degrade.draw(kind, modality, severity, seed, (64, 64))
        params = record.params | {"dose_fraction": 1.0, "read_noise_sd": 0.0}
        apply = degrade.DEGRADATIONS[kind].apply
        seen = apply(LEVELS.view(1, 1, 1, -1), params, modality, torch.Generator().manual_seed(0)).flatten()
        kept = (seen > 1e-3) & (seen < 1 - 1e-3)  # what was clipped is gone
        back = undone(seen, told(kind, severity), index(modality))[0]
        assert float((back - LEVELS)[:, kept].abs().max(1).values.min()) < 0.02


def test_nothing_named_and_an_unknown_modality_give_the_levels_back() -> None:
    for severities, modality in ((told("", 0.0), index("xray")),
                                 (told("underexposure", 3.0), torch.tensor([UNKNOWN_MODALITY])),
                                 (told("overexposure", 3.0), index("ct"))):  # fmt: skip
        assert torch.allclose(undone(LEVELS, severities, modality)[0], LEVELS.expand(2, -1), atol=1e-6)


def test_the_worse_of_two_is_undone() -> None:
    both = torch.tensor([[1.0, 3.0]])
    assert torch.equal(undone(LEVELS, both, index("xray")), undone(LEVELS, told("overexposure", 3.0), index("xray")))


def test_a_saturated_radiograph_gets_its_floor_back_and_half_of_it_where_nothing_is_known() -> None:
    line = undone(torch.tensor([0.0, 1e-4]), told("overexposure", 4.0), index("xray"))[0, 1]
    cut = LARGEST_CUT * STRENGTHS["overexposure"]["xray"][4]
    assert line.tolist() == pytest.approx([cut / 2, cut], abs=1e-3)


def test_film_runs_backwards_along_the_simulation_s_curve() -> None:
    shift = 3.2 * STRENGTHS["underexposure"]["xray"][2]
    back = undone(film(LEVELS, shift), told("underexposure", 2.0), index("xray"))[0, 0]
    assert torch.allclose(back, LEVELS, atol=1e-4)
    assert math.isclose(float(back[0]), 0.05, abs_tol=1e-4)


def test_the_likely_curve_is_the_true_one_where_image_and_severity_agree() -> None:
    clean = torch.linspace(0.05, 0.85, 33)
    shift = 3.2 * STRENGTHS["underexposure"]["xray"][2]
    for seen in (film(clean, shift), clean * (1 - 0.75 * STRENGTHS["underexposure"]["xray"][2])):
        for severity in (2.0, 2.5):
            back = likely_curve(seen, seen[None], clean[None], told("underexposure", severity), index("xray"))[0]
            assert float((back - clean).abs().mean()) < (0.03 if severity == 2.0 else 0.08)
            assert (back.diff() > 0).all()


def test_findings_alone_tell_the_severity_and_clipped_light_is_not_undone() -> None:
    lead = Lead(16, 8, 16)
    for guidance, severities in (
        (from_findings({"overexposure": 2.5}, "xray", "severe underexposure"), [0.0, 2.5]),
        (from_findings({"overexposure": 2.5, "underexposure": 1.0}, "fundus"), [1.0, 0.0]),
        (from_findings({"underexposure": 1.0}, "ct"), [0.0, 0.0]),
        (from_findings({"underexposure": 1.0}, None), [0.0, 0.0]),
        (GUIDANCE_NONE, [0.0, 0.0]),
    ):
        assert told_severities(lead.read(tensors([guidance]))).tolist() == [severities]
