"""Known answers of data consistency: full data give the truth, known samples are kept, the error only falls."""

from __future__ import annotations

from functools import partial

import torch

from medq_vlm import projection
from medq_vlm.degrade.fourier import to_image, to_kspace
from medq_vlm.restore.consistency import (
    from_kspace,
    from_projections,
    keep_kspace,
    keep_projections,
    projection_error,
)


def discs(side: int = 64) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    out = torch.zeros(side, side)
    out[(y - side / 2) ** 2 + (x - side / 2) ** 2 < (0.35 * side) ** 2] = 1.0
    out[(y - 0.4 * side) ** 2 + (x - 0.6 * side) ** 2 < (0.08 * side) ** 2] = 1.6
    return out


def test_full_kspace_gives_the_truth_whatever_was_restored() -> None:
    truth = discs()
    wrong = torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    out = keep_kspace(wrong, to_kspace(truth), torch.ones(64, 64, dtype=torch.bool))
    torch.testing.assert_close(out, truth, atol=1e-4, rtol=0)


def test_an_empty_mask_leaves_the_restored_image() -> None:
    restored = discs()
    out = keep_kspace(restored, to_kspace(0.5 * restored), torch.zeros(64, 64, dtype=torch.bool))
    torch.testing.assert_close(out, restored, atol=1e-5, rtol=0)


def test_known_lines_bring_a_restored_image_nearer_to_the_truth() -> None:
    truth = discs()
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[::2] = True
    mask[28:37] = True
    smooth = torch.nn.functional.avg_pool2d(truth[None, None], 5, 1, 2)[0, 0]
    out = keep_kspace(smooth, to_kspace(truth), mask)
    assert float(((out - truth) ** 2).mean()) < 0.5 * float(((smooth - truth) ** 2).mean())
    halfway = keep_kspace(smooth, to_kspace(truth), mask, trust=0.5)
    assert float(((halfway - truth) ** 2).mean()) > float(((out - truth) ** 2).mean())


def test_truth_nearly_stays() -> None:
    truth = discs()
    mask = torch.rand(64, 64, generator=torch.Generator().manual_seed(1)) < 0.5
    kept = keep_kspace(truth, to_kspace(truth), mask)
    assert float((kept - truth).abs().max()) < 0.2  # the zero-filled phase is not quite the truth's
    geo = projection.geometry(64, 60, torch.device("cpu"))
    project = partial(projection.project, geo=geo)
    back = partial(projection.back_project, geo=geo)
    measured = project(truth[None])
    out = keep_projections(truth[None], measured, torch.ones(1, 60, 1, dtype=torch.bool), project, back)
    torch.testing.assert_close(out, truth[None], atol=1e-3, rtol=0)


def test_projection_error_falls_with_every_step() -> None:
    truth = discs()[None] * 0.02
    geo = projection.geometry(64, 60, torch.device("cpu"))
    project = partial(projection.project, geo=geo)
    back = partial(projection.back_project, geo=geo)
    measured = project(truth)
    known = torch.zeros(1, 60, 1, dtype=torch.bool)
    known[:, ::3] = True
    start = 0.8 * truth + 0.002
    errors = [float(projection_error(start, measured, known, project))]
    for steps in (1, 2, 4):
        image = keep_projections(start, measured, known, project, back, steps)
        errors.append(float(projection_error(image, measured, known, project)))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.5 * errors[0]


def test_fourier_pair_is_the_one_of_the_degradations() -> None:
    image = discs()
    torch.testing.assert_close(to_image(to_kspace(image)).real, image, atol=1e-5, rtol=0)


def flattened(image: torch.Tensor) -> torch.Tensor:
    """A prior for images of few levels: soft thresholds of the differences to the local mean."""
    mean = torch.nn.functional.avg_pool2d(image.reshape(1, 1, *image.shape[-2:]), 3, 1, 1).view_as(image)
    detail = image - mean
    return mean + detail.sign() * (detail.abs() - 0.02).clamp_min(0)


def test_a_prior_between_the_data_comes_nearer_than_the_data_alone() -> None:
    truth = discs()
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[::3] = True
    mask[28:37] = True
    start = torch.zeros(64, 64)
    measured = to_kspace(truth)
    once = keep_kspace(start, measured, mask)
    often = from_kspace(start, measured, mask, flattened, steps=30)
    assert float(((often - truth) ** 2).mean()) < 0.9 * float(((once - truth) ** 2).mean())
    torch.testing.assert_close(from_kspace(start, measured, mask, lambda image: image, steps=3), once)


def test_projections_and_prior_in_turn_end_near_both() -> None:
    truth = discs()[None]
    geo = projection.geometry(64, 16, torch.device("cpu"))
    project = partial(projection.project, geo=geo)
    back = partial(projection.back_project, geo=geo)
    measured, known = project(truth), torch.ones(1, 16, 1, dtype=torch.bool)
    start = back(measured)
    out = from_projections(start, measured, known, project, back, flattened, steps=8)
    assert float(((out - truth) ** 2).mean()) < 0.8 * float(((start - truth) ** 2).mean())
    before, after = (float(projection_error(image, measured, known, project)) for image in (start, out))
    assert after < before
