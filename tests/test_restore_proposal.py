"""What optics proposes against defocus: sharper where its disk is true, nothing where nothing was named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from medq_vlm.config import RestorerConfig
from medq_vlm.degrade.sample import degrade_sample
from medq_vlm.phantoms import phantom
from medq_vlm.restore.bands import whole_view
from medq_vlm.restore.guidance import GUIDANCE_NONE, from_findings, tensors
from medq_vlm.restore.network import RestorationNet
from medq_vlm.restore.proposal import deconvolved, propose


def disk_blurred(plane: torch.Tensor, radius: int) -> torch.Tensor:
    at = torch.arange(-radius - 1, radius + 2.0)
    disk = (radius + 0.5 - torch.hypot(at[:, None], at)).clamp(0, 1)
    padded = F.pad(plane[None], (radius + 1,) * 4, mode="reflect")
    return F.conv2d(padded, (disk / disk.sum())[None, None])[0]


def error(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(((one - other)[..., 12:-12, 12:-12] ** 2).mean())


def test_the_filter_undoes_its_own_disk() -> None:
    torch.manual_seed(0)
    clean = F.interpolate(torch.rand(1, 1, 24, 24), (96, 96), mode="bicubic")[0]
    soft = disk_blurred(clean, 4)
    assert error(deconvolved(soft, 4.0), clean) < 0.35 * error(soft, clean)


def test_a_constant_image_stays() -> None:
    flat = torch.full((3, 40, 60), 0.7)
    assert torch.allclose(deconvolved(flat, 3.0), flat, atol=1e-4)


@pytest.mark.parametrize("guidance", [
    GUIDANCE_NONE, from_findings({"noise": 3.0}, "fundus"), from_findings({"defocus": 3.0}, "xray"),
])  # fmt: skip
def test_nothing_is_proposed_where_no_defocus_of_an_optical_image_is_named(guidance: object) -> None:
    assert propose(torch.zeros(3, 64, 64), guidance) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("modality", ["endoscopy", "dermoscopy", "oct"])
def test_a_defocused_phantom_comes_nearer_to_the_clean_one(modality: str) -> None:
    seeds = [seed for seed in range(40) if drawn_evenly(modality, seed)][:3]
    gains = []
    for seed in seeds:
        clean = phantom(modality, seed, 256)
        soft, _ = degrade_sample(clean, "defocus", 2.0, seed)
        planes, truth = (network_planes(s.pixels[0]) for s in (soft, clean))
        sharp = propose(planes, from_findings({"defocus": 2.0}, modality))
        assert sharp is not None
        gains.append(10 * np.log10(error(planes, truth) / error(sharp, truth)))
    assert float(np.mean(gains)) > 0.5


def drawn_evenly(modality: str, seed: int) -> bool:
    _, record = degrade_sample(phantom(modality, seed, 64), "defocus", 2.0, seed)
    return record.params["variant"] == "disk"


def network_planes(pixels: np.ndarray) -> torch.Tensor:
    three = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, -1)
    return torch.from_numpy(np.ascontiguousarray(three.transpose(2, 0, 1))) / 255 * 4 - 2


def test_the_network_takes_a_share_of_a_proposal_and_none_of_what_equals_the_image() -> None:
    torch.manual_seed(1)
    net = RestorationNet(RestorerConfig()).eval()
    planes = torch.randn(1, 3, 64, 64)
    told = (torch.zeros(1, 1, 64, 64), whole_view(planes), tensors([from_findings({"noise": 2.0}, "endoscopy")]))
    with torch.inference_mode():
        alone = net(planes, *told)
        same = net(planes, *told, None, planes)
        offered = net(planes, *told, None, planes + 1.0)
    assert torch.equal(alone, same)
    assert torch.allclose(offered - alone, torch.full_like(planes, 0.3), atol=1e-4)
