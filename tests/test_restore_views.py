"""Sparse-view CT tells its own views, and the restored image agrees with them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from medq_vlm import projection, vocab
from medq_vlm.degrade.sample import degrade_sample
from medq_vlm.phantoms import phantom
from medq_vlm.restore import Guidance, load, views
from medq_vlm.restore.restorer import restore_slice
from medq_vlm.schema import ImageSample

SIDE = 320


def degraded(kind: str, severity: float, seed: int = 1) -> tuple[ImageSample, ImageSample, dict[str, object]]:
    """A clean CT phantom, what became of it, and how."""
    clean = phantom("ct", seed, SIDE)
    sample, record = degrade_sample(clean, kind, severity, seed)
    return clean, sample, record.params


def told(**severities: float) -> Guidance:
    named = np.array([severities.get(name, 0.0) for name in vocab.KIND_NAMES], np.float32)
    return Guidance(severities=named, modality="ct")


def attenuation(hu: np.ndarray) -> np.ndarray:
    plane = np.maximum(1 + hu / 1000, 0.0).astype(np.float32)
    return projection.Frame(*hu.shape).padded(plane)[0].numpy()


def rmse(found: np.ndarray, clean: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found - clean) ** 2)))


@pytest.mark.parametrize("severity", [2.0, 3.0, 4.0])
def test_a_sparse_picture_tells_its_views(severity: float) -> None:
    _, sample, params = degraded("sparse_view", severity)
    count, first = int(params["views"]), int(params["first_view"])  # type: ignore[call-overload]
    kept = (np.arange(count) * projection.VIEWS // count + first) % projection.VIEWS
    found = views.views_of(attenuation(sample.pixels[0]))
    assert found is not None
    assert len(found) == count
    assert np.abs(found - np.sort(kept)).max() <= 1  # a quarter of a degree


@pytest.mark.parametrize("kind", ["low_dose_noise", "limited_angle", "metal", "ring", "ct_motion", "compression"])
def test_other_faults_show_no_views(kind: str) -> None:
    clean, sample, _ = degraded(kind, 3.0)
    assert views.views_of(attenuation(clean.pixels[0])) is None
    assert views.views_of(attenuation(sample.pixels[0])) is None


def test_few_views_are_those_of_the_projector() -> None:
    image = attenuation(phantom("ct", 3, SIDE).pixels[0])
    angles = np.arange(0, projection.VIEWS, 10)
    geo = projection.geometry(len(image), projection.VIEWS // 10, torch.device("cpu"))
    line = projection.project(torch.from_numpy(image)[None], geo)
    expected = projection.back_project(line, geo, cutoff=float("inf"))[0].numpy()
    assert np.abs(views.Scan(len(image), angles).few(image) - expected).max() < 1e-3 * np.abs(expected).max()


def test_the_adjoint_is_one() -> None:
    scan = views.Scan(96, np.arange(0, projection.VIEWS, 15))
    a, b = np.random.default_rng(0).normal(size=(2, 96, 96)).astype(np.float32)
    assert float((scan.picture(a) * b).sum()) == pytest.approx(float((a * scan.adjoint(b)).sum()), rel=1e-3, abs=0.05)


def test_a_picture_of_few_views_is_explained_by_its_clean_image() -> None:
    clean, sample, _ = degraded("sparse_view", 2.5)
    given, image = attenuation(sample.pixels[0]), attenuation(clean.pixels[0])
    found = views.views_of(given)
    assert found is not None
    body = image > 0.3  # streaks in air are cut off
    left = (given - views.Scan(len(image), found).picture(image))[body]
    assert np.linalg.norm(left) < 0.35 * np.linalg.norm((given - image)[body])


@pytest.mark.parametrize("severity", [2.0, 4.0])
def test_agreement_brings_the_restored_image_nearer(severity: float) -> None:
    clean, sample, _ = degraded("sparse_view", severity)
    restorer, guidance = load(), told(sparse_view=severity)
    network = restore_slice(restorer.model, sample, 0, guidance)
    both = restorer.restore(sample, guidance).sample.pixels[0]
    assert (
        rmse(both, clean.pixels[0])
        < 0.7 * rmse(network, clean.pixels[0])
        < 0.7 * rmse(sample.pixels[0], clean.pixels[0])
    )


def test_other_faults_are_taken_out_once_more() -> None:
    clean, sparse, _ = degraded("sparse_view", 2.0)
    noisy, _ = degrade_sample(sparse, "noise", 2.0, 7)
    restorer = load()
    both = restorer.restore(noisy, told(sparse_view=2.0, noise=2.0)).sample.pixels[0]
    assert rmse(both, clean.pixels[0]) < rmse(noisy.pixels[0], clean.pixels[0])


def test_padding_stays() -> None:
    _, sample, _ = degraded("sparse_view", 2.0)
    valid = np.ones(sample.pixels.shape, bool)
    valid[:, :20] = False
    sample = dataclasses.replace(sample, pixels=np.where(valid, sample.pixels, -2000.0).astype(np.float32), valid=valid)
    restored = load().restore(sample, told(sparse_view=2.0)).sample
    assert np.array_equal(restored.pixels[~valid], sample.pixels[~valid])


def test_a_picture_without_views_or_too_large_stays_the_network_s() -> None:
    clean = phantom("ct", 5, SIDE).pixels[0]
    restored = clean + 1
    assert views.keep_views(clean, restored) is restored
    wide = np.zeros((8, views.LARGEST_PX + 1), np.float32)
    assert views.keep_views(wide, wide) is wide
