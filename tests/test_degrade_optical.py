"""Optical degradations: the common laws, and physics with known answers."""

from __future__ import annotations

import pytest
import torch

from medq_vlm import vocab
from medq_vlm.degrade import optical, optical_objects
from medq_vlm.schema import MedQError
from tests import degradation_laws as laws

KINDS = [d.kind for d in optical.DEGRADATIONS] + ["underexposure", "overexposure"]
PAIRS = [(k, m) for k in KINDS for m in vocab.KIND[k].modalities if m in vocab.OPTICAL]
LOCAL = ["specular", "bubble", "dark_spot", "stain", "fold"]


@pytest.mark.parametrize(("kind", "modality"), PAIRS)
def test_strength_zero_is_the_identity(kind: str, modality: str) -> None:
    laws.check_identity_at_zero(kind, modality)


@pytest.mark.parametrize(("kind", "modality"), PAIRS)
def test_a_record_replays_on_any_size(kind: str, modality: str) -> None:
    laws.check_replay_and_shape(kind, modality)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_grows_with_strength(kind: str) -> None:
    laws.check_grows(kind, next(m for m in vocab.KIND[kind].modalities if m in vocab.OPTICAL))


@pytest.mark.parametrize("kind", LOCAL)
def test_the_box_holds_the_change(kind: str) -> None:
    laws.check_box_holds_the_change(kind, vocab.KIND[kind].modalities[0])


@pytest.mark.parametrize("kind", LOCAL)
def test_a_local_kind_always_records_its_box(kind: str) -> None:
    params = laws.drawn_params(kind, vocab.KIND[kind].modalities[0], torch.zeros(1, 3, 64, 80))
    assert len(params["box"]) == 4


def test_defocus_spreads_a_point_over_a_disk_and_keeps_its_light() -> None:
    image = torch.zeros(1, 1, 65, 65)
    image[..., 32, 32] = 1.0
    params = {"variant": "disk", "radius_px": 5.0, "side_deg": 0.0}
    out = laws.apply_params("defocus", "oct", image, params)[0, 0]
    assert float(out.sum()) == pytest.approx(1.0, abs=1e-4)
    assert float(out[32, 36]) == pytest.approx(1 / (3.1416 * 5.0**2), rel=0.1)
    assert abs(float(out[32, 40])) < 1e-5


def test_a_colour_cast_keeps_the_brightness() -> None:
    image = laws.phantom_for("dermoscopy")
    for variant in ("gain", "tint", "mixed"):
        params = laws.drawn_params("colour_cast", "dermoscopy", image, variant=variant)
        out = laws.apply_params("colour_cast", "dermoscopy", image, params)
        assert torch.allclose(out.mean(dim=1), image.mean(dim=1), atol=0.02)
        assert float((out - image).abs().mean()) > 0.01


def test_a_colour_cast_of_a_grey_image_is_refused() -> None:
    image = torch.ones(1, 1, 40, 40)
    params = laws.drawn_params("colour_cast", "fundus", image)
    with pytest.raises(MedQError, match="colour image"):
        laws.apply_params("colour_cast", "fundus", image, params)


def test_haze_divides_the_contrast_by_the_direct_light() -> None:
    image = torch.full((1, 3, 64, 64), 0.5)
    image[..., 32, 32] = 0.6
    params = laws.drawn_params(
        "haze", "histopathology", image, variant="even", direct_fraction=0.3, forward_blur_px=0.0
    )
    out = laws.apply_params("haze", "histopathology", image, params)
    assert float(out[0, 0, 32, 32] - out[0, 0, 10, 10]) == pytest.approx(0.03, abs=1e-3)


def test_uneven_light_never_falls_below_the_stated_fraction() -> None:
    image = torch.full((1, 3, 64, 80), 0.4)
    for variant in ("vignette", "gradient", "half_dark", "patches"):
        params = laws.drawn_params(
            "uneven_illumination", "endoscopy", image, variant=variant, least_light_fraction=0.25
        )
        out = laws.apply_params("uneven_illumination", "endoscopy", image, params)
        assert float(out.min()) >= 0.1 - 1e-6 and float(out.max()) <= 0.4 + 1e-6
        assert float(out.max() - out.min()) > 0.1


def test_a_highlight_is_white_and_never_darkens() -> None:
    image = laws.phantom_for("endoscopy")
    params = laws.drawn_params("specular", "endoscopy", image, peak_level=1.0)
    out = laws.apply_params("specular", "endoscopy", image, params)
    assert bool((out >= image).all()) and float(out.max()) == pytest.approx(1.0, abs=1e-3)


def test_stain_and_fold_only_absorb() -> None:
    image = laws.phantom_for("histopathology")
    for kind in ("stain", "fold"):
        out = laws.apply_params(kind, "histopathology", image, laws.drawn_params(kind, "histopathology", image))
        assert bool((out <= image + 1e-6).all()) and float(out.min()) >= 0


@pytest.mark.parametrize("shape", ["lid", "instrument"])
def test_an_occlusion_hides_no_more_than_stated_and_not_nothing(shape: str) -> None:
    image = torch.full((1, 3, 96, 96), 0.9)
    params = laws.drawn_params("occlusion", "endoscopy", image, 1.0, shape=shape, hidden_fraction=0.4)
    hidden = float(((laws.apply_params("occlusion", "endoscopy", image, params) - image).abs() > 0.05).float().mean())
    assert 0.08 < hidden < 0.45


def test_the_surround_of_a_fundus_stays_dark_under_haze_and_occlusion() -> None:
    y, x = torch.meshgrid(torch.linspace(-1, 1, 160), torch.linspace(-1, 1, 160), indexing="ij")
    image = (0.6 * (x**2 + y**2 < 0.85**2).float())[None, None].repeat(1, 3, 1, 1)
    for kind in ("haze", "occlusion"):
        out = laws.apply_params(kind, "fundus", image, laws.drawn_params(kind, "fundus", image, 1.0))
        assert float(out[..., :12, :12].abs().max()) < 1e-6


def test_blobs_cover_about_the_stated_area() -> None:
    blobs = optical_objects._draw_blobs(torch.Generator().manual_seed(3), (200, 240), 3, 0.06, 0.5)
    areas = [3.1416 * b["radius_px"] * b["flat_radius_px"] for b in blobs]
    assert sum(areas) == pytest.approx(0.06 * 200 * 240, rel=1e-3)
