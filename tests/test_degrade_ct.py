"""The projector against known answers, and CT artefacts: the common laws and their physics."""

from __future__ import annotations

import math

import pytest
import torch
from skimage.transform import iradon, radon

from medq_vlm import projection
from medq_vlm.degrade import ct
from tests import degradation_laws as laws

KINDS = [d.kind for d in ct.DEGRADATIONS]
SIDE = 128
CPU = torch.device("cpu")


def disk(x_px: float, y_px: float, radius_px: float, side: int = SIDE) -> torch.Tensor:
    """(n, n) disk of height 1 about the centre pixel n // 2, its edge averaged over each pixel."""
    place = torch.arange(side * 4) / 4 + 0.125 - 0.5 - side // 2
    inside = ((place[None, :] - x_px) ** 2 + (place[:, None] - y_px) ** 2 < radius_px**2).float()
    return inside.reshape(side, 4, side, 4).mean((1, 3))


def water_hu(x_px: float = 0.0, y_px: float = 0.0, radius_px: float = 40.0) -> torch.Tensor:
    """(1, 1, n, n) water disk in air, HU."""
    return 1000 * disk(x_px, y_px, radius_px)[None, None] - 1000


# --- the projector --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("x_px", "y_px", "radius_px"), [(0.0, 0.0, 40.0), (12.0, -20.0, 25.0)])
def test_a_disk_projects_to_its_chords(x_px: float, y_px: float, radius_px: float) -> None:
    """2 sqrt(r^2 - d^2), at every angle."""
    geo = projection.geometry(SIDE, 90, CPU)
    line = projection.project(disk(x_px, y_px, radius_px)[None], geo)[0]
    angle = geo.angles_rad()[:, None]
    distance = geo.detector_px()[None, :] - x_px * torch.cos(angle) - y_px * torch.sin(angle)
    chord = 2 * (radius_px**2 - distance**2).clamp(min=0).sqrt()
    assert float((line - chord).abs().mean()) < 0.002 * 2 * radius_px
    steady = distance.abs() < radius_px - 3
    assert float((line - chord)[steady].abs().max()) < 0.01 * 2 * radius_px


def test_every_view_sees_the_same_mass() -> None:
    image = torch.rand(2, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    image *= disk(0, 0, 60)
    line = projection.project(image, projection.geometry(SIDE, 30, CPU))
    assert torch.allclose(line.sum(-1), image.sum((1, 2))[:, None].expand(2, 30), rtol=1e-3)


def test_projection_agrees_with_ray_sums_of_skimage() -> None:
    """skimage turns the other way about the same pixel, so its angle is ours with the sign changed."""
    image = disk(10, -14, 22) + 0.5 * disk(-20, 15, 14)
    geo = projection.geometry(SIDE, 12, CPU)
    line = projection.project(image[None], geo)[0, :, SIDE // 2 : SIDE // 2 + SIDE]
    theirs = radon(image.numpy(), theta=[-15.0 * k for k in range(12)], circle=True)
    error = (line - torch.from_numpy(theirs.T).float()).abs()
    assert float(error.mean()) < 0.003 * float(line.max())


def test_back_projection_inverts_projection() -> None:
    image = disk(10, -14, 32)
    geo = projection.geometry(SIDE, 360, CPU)
    back = projection.back_project(projection.project(image[None], geo), geo, cutoff=1e9)[0]
    assert float(back[disk(10, -14, 28) == 1].mean()) == pytest.approx(1.0, abs=0.003)
    assert float((back - image).abs().mean()) < 0.01
    theirs = iradon(
        radon(image.numpy(), theta=[k / 2 for k in range(360)], circle=True), theta=[k / 2 for k in range(360)]
    )
    assert float((back - image).abs().mean()) < float(abs(theirs - image.numpy()).mean()) + 0.002


def test_back_projection_is_linear() -> None:
    geo = projection.geometry(64, 40, CPU)
    a, b = torch.rand(2, 40, geo.grid, generator=torch.Generator().manual_seed(0)).chunk(2)
    whole = projection.back_project(2 * a - b, geo)
    parts = 2 * projection.back_project(a, geo) - projection.back_project(b, geo)
    assert torch.allclose(whole, parts, atol=1e-5)


# --- the artefacts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_strength_zero_is_the_identity(kind: str) -> None:
    laws.check_identity_at_zero(kind, "ct")


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_replays_on_any_size(kind: str) -> None:
    for height, width in ((32, 45), (70, 33)):
        image = water_hu()[..., :height, :width].repeat(2, 1, 1, 1)
        record_seed, size = 5, (height, width)
        params = laws.degrade.draw_strength(kind, "ct", 0.7, record_seed, size)
        once, again = laws.degrade.apply(image, params), laws.degrade.apply(image, params)
        assert once.shape == image.shape and bool(torch.isfinite(once).all())
        assert torch.allclose(once, again)


@pytest.mark.parametrize("kind", KINDS)
def test_the_change_grows_with_strength(kind: str) -> None:
    image = torch.maximum(water_hu(), 1700 * disk(12, 10, 6)[None, None] - 1000)
    changes = []
    for strength in (0.25, 0.5, 1.0):
        records = [laws.degrade.draw_strength(kind, "ct", strength, seed, (SIDE, SIDE)) for seed in range(3)]
        changes.append(sum(float((laws.degrade.apply(image, r) - image).abs().mean()) for r in records))
    assert 0 < changes[0] < changes[1] < changes[2], changes


def test_noise_grows_with_the_inverse_root_of_the_photons() -> None:
    image = water_hu()
    inside = disk(0, 0, 30)[None, None] == 1

    def sd(photons: float) -> float:
        params = {
            "field_of_view_mm": 200.0, "kernel_cutoff": 1.0,
            "photons_per_ray": photons, "electronic_noise_photons": 0.0,
        }  # fmt: skip
        return float((laws.apply_params("low_dose_noise", "ct", image, params) - image)[inside].std())

    assert sd(2.5e4) / sd(1e6) == pytest.approx(math.sqrt(40), rel=0.1)


def test_noise_streaks_along_the_longer_path() -> None:
    """Two dense inserts starve the rays through both: the noise between them exceeds that above and below."""
    image = water_hu()
    for x_px in (-28.0, 28.0):
        image = torch.maximum(image, 5000 * disk(x_px, 0, 9)[None, None] - 1000)
    params = {
        "field_of_view_mm": 300.0, "kernel_cutoff": 1.0, "photons_per_ray": 3e4, "electronic_noise_photons": 5.0,
    }  # fmt: skip
    change = laws.apply_params("low_dose_noise", "ct", image, params) - image
    assert float(change[..., 60:69, 56:73].std()) > 1.5 * float(change[..., 30:39, 56:73].std())


def test_all_views_kept_is_no_artefact() -> None:
    image = water_hu(9, 4, 35)
    base = {"field_of_view_mm": 300.0, "kernel_cutoff": 1.0}
    sparse = laws.apply_params("sparse_view", "ct", image, {**base, "views": projection.VIEWS, "first_view": 0})
    limited = laws.apply_params(
        "limited_angle", "ct", image, {**base, "missing_angle_deg": 0.0, "missing_from_deg": 30.0}
    )
    assert float((sparse - image).abs().max()) < 0.01
    assert float((limited - image).abs().max()) < 0.01


def test_a_missing_wedge_smears_the_edges_it_did_not_see() -> None:
    """An edge is measured by the rays along it: without the views near 0 the left and right edges go."""
    image = water_hu()
    params = {
        "field_of_view_mm": 300.0, "kernel_cutoff": 1.0, "missing_angle_deg": 60.0, "missing_from_deg": 150.0,
    }  # fmt: skip
    change = (laws.apply_params("limited_angle", "ct", image, params) - image).abs()[0, 0]
    sides = change[60:69, 20:29].mean() + change[60:69, 100:109].mean()
    ends = change[20:29, 60:69].mean() + change[100:109, 60:69].mean()
    assert float(sides) > 2 * float(ends)


def test_metal_is_bright_where_the_record_says() -> None:
    image = water_hu()
    record = laws.degrade.draw_strength("metal", "ct", 0.9, 2, (SIDE, SIDE))
    out = laws.degrade.apply(image, record)[0, 0]
    insert = record.params["inserts"][0]
    assert float(out[round(insert["y_px"]), round(insert["x_px"])]) > 1500
    assert record.box is not None
    x0, y0, x1, y1 = record.box
    assert x0 < insert["x_px"] < x1 and y0 < insert["y_px"] < y1


def test_a_gain_error_makes_a_ring_about_the_centre() -> None:
    image = water_hu(radius_px=60.0)
    params = {
        "field_of_view_mm": 300.0, "kernel_cutoff": 1.0, "variant": "band", "gain_error": 0.05,
        "faulty_elements": 4, "radius_fraction": 0.2,
    }  # fmt: skip
    change = (laws.apply_params("ring", "ct", image, params) - image)[0, 0]
    place = torch.arange(SIDE) - SIDE // 2
    radius = (place[None, :] ** 2 + place[:, None] ** 2).float().sqrt()
    ring = (radius > 0.2 * SIDE) & (radius < 0.2 * SIDE + 4)
    assert float(change[ring].abs().mean()) > 5 * float(change[radius > 50][:1].abs().mean())
    # Round: each pixel of the ring agrees with the mean over its own radius.
    means = torch.stack([change[(radius - r).abs() < 0.5].mean() for r in range(50)])
    rest = change - means[radius.round().long().clamp(max=49)]
    assert float(rest[radius < 48].square().mean()) < 0.5 * float(change[radius < 48].square().mean())


def test_hardening_cups_a_water_disk() -> None:
    image = water_hu(radius_px=50.0)
    params = {
        "field_of_view_mm": 300.0, "kernel_cutoff": 1.0, "water_coefficient": 0.03, "bone_coefficient": 0.0,
    }  # fmt: skip
    change = (laws.apply_params("beam_hardening", "ct", image, params) - image)[0, 0]
    assert float(change[62:67, 62:67].mean()) < float(change[62:67, 20:24].mean()) - 20


def test_a_shift_before_the_first_view_moves_the_whole_image() -> None:
    image = water_hu(radius_px=30.0)
    params = {
        "field_of_view_mm": 256.0, "kernel_cutoff": 1e9, "variant": "step", "shift_mm": 10.0,
        "shift_direction_deg": 0.0, "rotation_deg": 0.0, "start_view_fraction": 0.0, "cycles": 1.0,
    }  # fmt: skip
    moved = laws.apply_params("ct_motion", "ct", image, params)
    assert float((moved - water_hu(5.0, 0.0, 30.0)).abs().mean()) < 10  # 2 mm pixels: 5 pixels to the right
