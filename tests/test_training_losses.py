"""The loss terms: known answers."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from eval.severity import quality
from medq_vlm import vocab
from training.data import Labels
from training.loop import warm_cosine
from training.losses import attribute_targets, rank_loss, ranked_probability, soft_levels


def test_soft_levels_keep_the_mean() -> None:
    values = torch.tensor([0.0, 0.3, 1.0, 2.75, 4.0])
    levels = soft_levels(values, 5, 1.0)
    assert torch.allclose(levels @ torch.arange(5.0), values)
    assert torch.allclose(levels.sum(-1), torch.ones(5))
    assert (levels > 0).sum(-1).tolist() == [1, 2, 1, 2, 1]


def test_ranked_probability_is_zero_when_right_and_grows_with_distance() -> None:
    target = soft_levels(torch.tensor([1.0]), 5, 1.0)
    loss = [float(ranked_probability(100.0 * torch.eye(5)[[k]], target)) for k in range(5)]
    assert loss[1] == pytest.approx(0.0, abs=1e-6)
    assert loss[2] == pytest.approx(1.0) and loss[3] == pytest.approx(2.0) and loss[0] == pytest.approx(1.0)


def labels(quality_of: list[float], quad: list[int]) -> Labels:
    n = len(quality_of)
    ids = torch.zeros(n, dtype=torch.long)
    return Labels(
        torch.tensor(quality_of), torch.zeros(n, len(vocab.KINDS)), torch.ones(n), ids, ids, ids, torch.tensor(quad),
        torch.full((n,), torch.nan), [""] * n, torch.zeros(n, len(vocab.ATTRIBUTES)),
    )  # fmt: skip


def test_rank_loss_compares_versions_of_one_content_alone() -> None:
    quality, medical = torch.tensor([4.0, 1.0, 0.0]), torch.ones(3)
    right, wrong, together = torch.tensor([3.0, 1.0, 5.0]), torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 1])
    assert float(rank_loss(right, quality, together, medical)) < 0.01
    assert float(rank_loss(wrong, quality, together, medical)) > 0.01
    assert float(rank_loss(right, quality, torch.arange(3), medical)) == 0.0


def test_an_attribute_is_as_bad_as_its_worst_kind() -> None:
    severities = torch.zeros(1, len(vocab.KINDS))
    severities[0, vocab.KIND_NAMES.index("blur")] = 3.0
    severities[0, vocab.KIND_NAMES.index("motion_blur")] = 1.0
    targets = attribute_targets(severities)[0]
    good = dict(zip(vocab.ATTRIBUTES, targets[:, 0].tolist(), strict=True))
    assert good["sharpness"] == pytest.approx(0.25)
    assert all(value == 1.0 for name, value in good.items() if name != "sharpness")


def test_quality_multiplies_what_each_degradation_leaves() -> None:
    import numpy as np

    severities = np.zeros(len(vocab.KINDS))
    assert quality(severities) == 4.0
    severities[0] = 2.0
    assert quality(severities) == pytest.approx(2.0)
    severities[1] = 2.0
    assert quality(severities) == pytest.approx(1.0)


def test_the_learning_rate_warms_up_and_falls() -> None:
    rates = [warm_cosine(step / 100, 0.1) for step in range(101)]
    assert rates[5] == pytest.approx(0.5) and max(rates) == pytest.approx(1.0)
    assert rates[100] == pytest.approx(0.01)
    assert all(a >= b for a, b in pairwise(rates[10:]))
