"""values(), stamped(), foreground() and the tables behind them."""

import numpy as np
import pytest

from medq_vlm import vocab
from medq_vlm.evidence import MEASURES, for_kind, foreground, stamped, values
from medq_vlm.evidence.expected import BACKED_BY, MEASURE
from medq_vlm.phantoms import phantom
from medq_vlm.schema import Measurement, MedQError

Y, X = np.mgrid[:256, :256].astype(np.float32)
BODY = ((Y - 128) / 100) ** 2 + ((X - 128) / 80) ** 2 < 1


def measure(
    pixels: np.ndarray,
    modality: str | None,
    unit: str,
    spacing_mm: tuple[float | None, float | None],
    valid: np.ndarray | None,
    anatomy: str | None = None,
) -> tuple[Measurement, ...]:
    """What the pipeline takes in two steps: numbers beside the towers, their words when the anatomy is known."""
    return stamped(values(pixels, modality, unit, spacing_mm, valid), modality, unit, spacing_mm, anatomy)


def noise(sd: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, sd, X.shape).astype(np.float32)


def ct_slice(sd: float = 25) -> np.ndarray:
    image = np.where(BODY, 40, -1000).astype(np.float32)
    image[np.hypot(Y - 110, X - 120) < 30] = 100
    return image + noise(sd)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_every_kind_is_backed_by_measures_that_exist() -> None:
    assert set(BACKED_BY) == set(vocab.KIND_NAMES)
    assert all(for_kind(kind) and set(for_kind(kind)) <= set(MEASURE) for kind in vocab.KIND_NAMES)


def test_every_measure_states_unit_direction_and_source() -> None:
    assert len(MEASURE) == len(MEASURES)
    for row in MEASURES:
        assert row.unit and row.source and row.better in ("higher", "lower", "")
        for name in row.expected:
            modality, _, anatomy = name.partition(" ")
            assert modality in (*vocab.MODALITIES, "") and anatomy in (*vocab.ANATOMIES, "")


@pytest.mark.parametrize("sd", [0.0, 40.0])
def test_the_body_is_found_in_ct_with_holes_filled_and_the_table_left_out(sd: float) -> None:
    image = np.where(BODY, 40, -1000).astype(np.float32)
    image[np.hypot(Y - 128, X - 100) < 25] = -850  # lung
    image[246:249, 20:236] = 200  # table
    found = foreground(image + noise(sd), "ct", "HU")
    assert overlap(found, BODY) > 0.95
    assert found[128, 100] and not found[247, 128]


@pytest.mark.parametrize("modality", ["mr", "pet", "fundus", "ultrasound", None])
def test_the_body_is_found_in_rician_noise_at_any_scale(modality: str | None) -> None:
    signal = BODY * (100 + 40 * np.sin(X / 9)) + noise(8)
    image = np.hypot(signal, noise(8, 1)).astype(np.float32)
    found = foreground(image, modality)
    assert overlap(found, BODY) > 0.95
    assert np.array_equal(found, foreground(image * 1000, modality))
    assert overlap(foreground(-image, modality, inverted=True), BODY) > 0.95


def test_a_picture_without_background_is_all_body() -> None:
    assert foreground(100 + noise(10), "xray").all()
    assert foreground(np.zeros((64, 64), np.float32), "mr").all()
    assert foreground(np.full((64, 64, 3), 0.5, np.float32), "dermoscopy").all()


def test_shade_at_the_rim_of_a_camera_picture_is_not_background() -> None:
    shaded = (0.9 - 0.7 * np.hypot(Y - 128, X - 128) / 181)[..., None] * np.array([1.0, 0.6, 0.5])
    assert foreground(shaded.astype(np.float32), "endoscopy").all()
    framed = shaded * (np.hypot(Y - 128, X - 128) < 110)[..., None]
    assert overlap(foreground(framed.astype(np.float32), "endoscopy"), np.hypot(Y - 128, X - 128) < 110) > 0.95


def test_padding_is_never_body() -> None:
    valid = np.hypot(Y - 128, X - 128) < 125
    image = np.where(valid, ct_slice(), -2000).astype(np.float32)
    assert not foreground(image, "ct", "HU", valid)[~valid].any()


def test_glass_is_not_tissue() -> None:
    slide = np.full((256, 256, 3), 0.95, np.float32)
    slide[BODY] = (0.7, 0.3, 0.6)
    assert overlap(foreground(slide, "histopathology"), BODY) > 0.95


def test_measure_reports_the_noise_that_was_put_in_with_unit_and_range() -> None:
    found = {m.name: m for m in measure(ct_slice(25), "ct", "HU", (0.7, 0.7), None)}
    assert found["noise_sd"].value == pytest.approx(25, abs=2)
    assert (found["noise_sd"].unit, found["noise_sd"].better) == ("HU", "lower")
    assert "HU" in found["noise_sd"].expected and found["noise_sd"].source
    assert found["edge_width"].unit == "mm"
    assert found["contrast_range"].unit == "HU"
    assert {"ghost_ratio", "colour_cast", "brightness"}.isdisjoint(found)


def test_padding_does_not_move_the_measures() -> None:
    image = ct_slice(25)
    valid = np.hypot(Y - 128, X - 128) < 120
    found = {m.name: m.value for m in measure(np.where(valid, image, -3000), "ct", "HU", (0.7, 0.7), valid)}
    assert found["noise_sd"] == pytest.approx(25, abs=2)
    assert found["edge_width"] < 2.0


def test_without_spacing_widths_are_in_pixels_and_no_millimetres_are_promised() -> None:
    found = {m.name: m for m in measure(ct_slice(), "ct", "HU", (None, None), None)}
    assert found["edge_width"].unit == "px"
    assert "mm" not in found["edge_width"].expected


def test_relative_measures_do_not_depend_on_the_scale_of_the_file() -> None:
    image = np.hypot(BODY * (100 + 60 * (X > 128)) + noise(4), noise(4, 1)).astype(np.float32)
    one = {m.name: m.value for m in measure(image, "mr", "value", (1, 1), None)}
    other = {m.name: m.value for m in measure(image * 37, "mr", "value", (1, 1), None)}
    assert one.keys() == other.keys() and {"ghost_ratio", "entropy_focus", "joint_variation"} <= one.keys()
    for name in one:
        assert other[name] == pytest.approx(one[name], rel=0.02, abs=0.003), name


@pytest.mark.parametrize("modality", [*vocab.MODALITIES, None])
def test_every_modality_gives_finite_named_numbers_in_table_order(modality: str | None) -> None:
    image = (BODY * 120 + 10 + noise(5)).clip(0, 255)
    pixels = np.stack([image, image * 0.7, image * 0.6], -1) if modality in vocab.COLOUR else image
    found = measure(pixels.astype(np.float32), modality, "value", (None, None), None)
    names = [m.name for m in found]
    assert names == [name for name in MEASURE if name in names] and len(names) >= 10
    assert all(np.isfinite(m.value) for m in found)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((64, 64)), np.full((64, 64), np.nan), np.ones((5, 7)), np.full((80, 40, 3), 9.0), X * 1e30],
)
def test_odd_input_gives_finite_numbers_or_none(pixels: np.ndarray) -> None:
    for modality in ("ct", "mr", "fundus", None):
        found = measure(pixels.astype(np.float32), modality, "value", (None, 1.0), None)
        assert all(np.isfinite(m.value) for m in found)


def test_another_shape_is_refused_with_a_sentence() -> None:
    with pytest.raises(MedQError, match="one slice"):
        measure(np.zeros((3, 64, 64), np.float32), "ct", "HU", (1, 1), None)


def test_a_head_is_expected_to_be_less_noisy_than_a_body() -> None:
    hu = phantom("ct", 3, 128).pixels[0]
    expected = [
        next(m.expected for m in measure(hu, "ct", "HU", (1.0, 1.0), None, anatomy=anatomy) if m.name == "noise_sd")
        for anatomy in ("head", "chest", None)
    ]
    assert expected == ["<= 10 HU (head, 1 to 5 mm)", *["<= 25 HU (body, 1 to 3 mm)"] * 2]


def test_cupping_is_told_in_hounsfield_units_with_its_range() -> None:
    (told,) = stamped({"cupping": 30.0}, "ct", "HU", (1.0, 1.0))
    assert (told.unit, told.expected, told.within) == ("HU", "<= 20 HU", False)


def test_no_range_is_promised_of_the_signal_of_a_ct_picture_without_hounsfield_units() -> None:
    told = [stamped({"snr": 60.0}, "ct", unit, (1.0, 1.0))[0] for unit in ("HU", "value")]
    assert [one.within for one in told] == [True, None]
