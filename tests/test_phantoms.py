"""Laws of the phantoms: seeded, of the promised type and range, clean, varied, smooth from slice to slice."""

import numpy as np
import pytest
from scipy.ndimage import laplace

from medq_vlm import vocab
from medq_vlm.phantoms import NOT_MEDICAL_KINDS, VOLUME_MODALITIES, not_medical, phantom, phantom_volume
from medq_vlm.phantoms.chance import Chance
from medq_vlm.phantoms.shapes import Grid, fractal, smooth_field, tree
from medq_vlm.schema import MedQError

SIZE = 160


@pytest.mark.parametrize("modality", vocab.MODALITIES)
def test_phantom_is_a_sample_of_its_modality(modality: str) -> None:
    for seed in range(4):
        sample = phantom(modality, seed, SIZE)
        assert sample.modality == modality
        assert sample.anatomy is None or sample.anatomy in vocab.ANATOMIES
        assert sample.pixels.dtype == np.float32
        assert np.isfinite(sample.pixels).all()
        assert sample.slices == 1
        assert sample.colour == (modality in vocab.COLOUR)
        assert all(0.5 * SIZE < side < 1.8 * SIZE for side in sample.pixels.shape[1:3])
        assert sample.acquisition and sample.acquisition_fields
        assert sample.pixels.std() > 0


@pytest.mark.parametrize("modality", vocab.MODALITIES)
def test_seed_decides_every_pixel(modality: str) -> None:
    first, again, other = (phantom(modality, seed, 96).pixels for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_global_generator_stays_still() -> None:
    before = np.random.get_state(legacy=False)  # noqa: NPY002
    phantom("ct", 0, 96)
    not_medical("photo_like", 0, 96)
    np.testing.assert_equal(np.random.get_state(legacy=False), before)  # noqa: NPY002


def test_ct_holds_the_numbers_of_air_fat_tissue_and_bone() -> None:
    pixels = [phantom("ct", seed, SIZE) for seed in range(12)]
    for sample in pixels:
        assert sample.unit == "HU" and sample.pixels.min() >= -1024 and sample.pixels.max() <= 3071
    trunk = next(s for s in pixels if s.anatomy == "abdomen").pixels
    assert abs(np.median(trunk[0, :8, :8]) + 1000) < 15  # air in the corner
    for low, high in ((-130, -80), (20, 120), (300, 1500)):  # fat, soft tissue, bone
        assert ((trunk > low) & (trunk < high)).mean() > 0.005
    chest = next(s for s in pixels if s.anatomy == "chest").pixels
    assert ((chest > -920) & (chest < -720)).mean() > 0.01  # lung


def test_ct_noise_is_that_of_a_good_scan() -> None:
    """The difference of two draws of noise on the same anatomy is sqrt(2) times the noise."""
    from medq_vlm.phantoms.ct import acquire

    flat = np.full((128, 128), 40.0, np.float32)
    first, second = (acquire(Chance(3, 0.0, k), flat, 8.0, 0.3) for k in (0, 1))
    assert 5.0 < (first - second).std() / np.sqrt(2) < 12.0


@pytest.mark.parametrize("modality", VOLUME_MODALITIES)
def test_volume_changes_smoothly_and_starts_with_the_single_phantom(modality: str) -> None:
    volume = phantom_volume(modality, 5, 9, 128).pixels
    np.testing.assert_array_equal(volume[0], phantom(modality, 5, 128).pixels[0])
    next_slice = np.abs(volume[1:] - volume[:-1]).mean()
    across = np.abs(volume[8] - volume[0]).mean()
    assert 0 < next_slice < across


def test_edges_are_soft() -> None:
    """An ellipse covers its area exactly to a fraction of a percent and steps less than 0.8 per pixel."""
    grid = Grid(Chance(0), (200, 200), warp=0.0)
    where, cover = grid.ellipse((0.03, -0.02), (0.5, 0.3), 0.4)
    area = cover.sum() * grid.px**2
    assert area == pytest.approx(np.pi * 0.5 * 0.3, rel=0.01)
    image = np.zeros(grid.shape)
    image[where] = cover
    assert np.abs(np.diff(image, axis=0)).max() < 1.0


def test_a_warped_shape_is_not_cut_by_its_patch() -> None:
    grid = Grid(Chance(4), (200, 240), warp=0.04)
    for at in ((0.0, 0.0), (0.6, -0.5), (-0.9, 0.7)):
        (rows, columns), cover = grid.ellipse(at, (0.1, 0.06), 0.3)
        if rows.start > 0:
            assert cover[0].max() == 0
        if rows.stop < 200:
            assert cover[-1].max() == 0
        if columns.start > 0:
            assert cover[:, 0].max() == 0
        if columns.stop < 240:
            assert cover[:, -1].max() == 0


def test_fields_have_unit_variance_and_the_slope_asked_for() -> None:
    assert smooth_field(Chance(1), (512, 512), 20.0).std() == pytest.approx(1.0, abs=0.15)
    rough, soft = fractal(Chance(2), (256, 256), 0.5), fractal(Chance(2), (256, 256), 1.5)
    assert rough.std() == pytest.approx(1.0, abs=0.01)
    assert laplace(rough).std() > 3 * laplace(soft).std()


def test_walking_chance_keeps_its_distribution_and_moves_slowly() -> None:
    still, near, far = (Chance(9, angle).normal(20000) for angle in (0.0, 0.05, 1.5))
    assert far.std() == pytest.approx(1.0, abs=0.03)
    assert np.corrcoef(still, near)[0, 1] > 0.99
    assert abs(np.corrcoef(still, far)[0, 1]) < 0.15
    assert [Chance(9, a).integer(0, 10**6) for a in (0.0, 0.7)] == [Chance(9).integer(0, 10**6)] * 2


def test_tree_thins_toward_its_twigs() -> None:
    branches = tree(Chance(0), (0.0, 0.0), 0.0, 0.3, 0.02, 3)
    assert len(branches) == 2**4 - 1
    assert max(widths.max() for _, widths in branches) == pytest.approx(0.02)
    assert all(widths[-1] <= widths[0] for _, widths in branches)


@pytest.mark.parametrize("kind", NOT_MEDICAL_KINDS)
def test_not_medical_pictures_are_seeded_and_varied(kind: str) -> None:
    pictures = [not_medical(kind, seed, 96) for seed in range(4)]
    for picture in pictures:
        assert picture.dtype == np.uint8 and picture.ndim in (2, 3)
    np.testing.assert_array_equal(pictures[0], not_medical(kind, 0, 96))
    assert len({picture.tobytes() for picture in pictures}) > 1


def test_wrong_requests_are_refused_with_a_sentence() -> None:
    with pytest.raises(MedQError, match="choose one of: ct"):
        phantom("thermal", 0)
    with pytest.raises(MedQError, match="at least 64"):
        phantom("ct", 0, 10)
    with pytest.raises(MedQError, match="choose one of: ct, mr, pet"):
        phantom_volume("fundus", 0, 4)
    with pytest.raises(MedQError, match="at least one slice"):
        phantom_volume("ct", 0, 0)
    with pytest.raises(MedQError, match="blank"):
        not_medical("cat", 0)
