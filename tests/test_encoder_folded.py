"""A folded scorer sees what the unfolded one sees."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from medq_vlm import checkpoint
from medq_vlm.encoder import predict
from medq_vlm.encoder.folded import CLIPS, ClippedConv, fold
from medq_vlm.encoder.preprocess import canonical
from medq_vlm.encoder.scorer import UNKNOWN
from medq_vlm.evidence.statistics import features
from medq_vlm.phantoms import phantom


@pytest.fixture(scope="module")
def loaded() -> checkpoint.Checkpoint:
    return checkpoint.load("nano", with_volume_head=False)


@pytest.mark.parametrize("modality", ["ct", "fundus"])
def test_a_folded_scorer_gives_the_same_maps_and_logits(loaded: checkpoint.Checkpoint, modality: str) -> None:
    folded = fold(copy.deepcopy(loaded.model))
    view = canonical(phantom(modality, 3, 256), 0, loaded.view)
    tiles, _, _ = predict.cut_views(view.plane, loaded.view)
    statistics = features(view.plane, view.mask)
    with torch.no_grad():
        for one, other in zip(loaded.model.maps(tiles), folded.maps(tiles), strict=True):
            assert torch.allclose(one, other, atol=1e-4 * float(one.abs().max()))
        said = [
            predict.predict(
                model, predict.encode(model, view, lambda: statistics, loaded.view), UNKNOWN, loaded.anchors
            )
            for model in (loaded.model, folded)
        ]
    assert torch.allclose(said[0].score_mean(), said[1].score_mean(), atol=1e-5)
    assert torch.allclose(said[0].kinds, said[1].kinds, atol=1e-3)
    assert torch.allclose(said[0].medical, said[1].medical, atol=1e-3)


def test_no_batch_norm_and_no_activation_is_left_in_a_folded_tower(loaded: checkpoint.Checkpoint) -> None:
    folded = fold(copy.deepcopy(loaded.model))
    assert folded.third is not None
    towers = (folded.clip.visual.trunk, folded.third)
    gone = (nn.BatchNorm2d, nn.ReLU6) if CLIPS else nn.BatchNorm2d
    assert not [layer for tower in towers for layer in tower.modules() if isinstance(layer, gone)]


@pytest.mark.skipif(not CLIPS, reason="This PyTorch has no convolution with an activation.")
@pytest.mark.parametrize("groups", [1, 8])
def test_a_clipped_convolution_is_a_convolution_and_its_activation(groups: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=groups).requires_grad_(False)
    x = 10 * torch.randn(2, 8, 33, 20)
    wanted = nn.functional.relu6(conv(x))
    assert torch.allclose(ClippedConv(conv)(x), wanted, atol=1e-5)
    assert wanted.max() == 6 and wanted.min() == 0
