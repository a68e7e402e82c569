"""Pixel truth: what a DICOM header says is what arrives, in native units, next to numpy references."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder
from pydicom.uid import JPEGLosslessSV1, JPEGLSLossless, RLELossless

from medq_vlm.io import read
from medq_vlm.io.archive import bytes_sources
from medq_vlm.io.ingest import ingest
from medq_vlm.io.limits import DEFAULT
from medq_vlm.schema import ImageSample, IngestError
from tests.dicom_files import as_bytes, dataset, dicom, item, ramp


def one(data: bytes) -> ImageSample:
    (outcome,) = [result for _, result in ingest("in", bytes_sources("in", data, DEFAULT), DEFAULT)]
    if isinstance(outcome, IngestError):
        raise outcome
    return outcome


def test_a_12_bit_ramp_arrives_as_4096_values() -> None:
    sample = one(dicom(ramp(64, 64), BitsStored=12, HighBit=11))
    assert len(np.unique(sample.pixels)) == 4096
    assert sample.pixels.dtype == np.float32
    assert sample.bits == 12


def test_rescale_gives_hounsfield_units() -> None:
    sample = one(dicom(ramp(), RescaleSlope="2", RescaleIntercept="-1024"))
    np.testing.assert_array_equal(sample.pixels[0], ramp().astype(np.float32) * 2 - 1024)
    assert (sample.unit, sample.modality) == ("HU", "ct")


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4"])
def test_every_depth_and_sign(dtype: str) -> None:
    values = ramp(8, 16, dtype, -64 if dtype[0] == "i" else 0)
    np.testing.assert_array_equal(one(dicom(values)).pixels[0], values)


@pytest.mark.parametrize("big", [False, True])
def test_unused_bits_are_cleared_and_the_sign_extended(big: bool) -> None:
    values = ramp(16, 16, "i2", -128)  # fits 12 bits, signed
    rubbish = np.full_like(values, 0x5000 if not big else 0x0005)
    stored = (values & 0x0FFF) | rubbish if not big else (values << 4) | rubbish
    sample = one(dicom(stored.astype("i2"), BitsStored=12, HighBit=15 if big else 11))
    np.testing.assert_array_equal(sample.pixels[0], values)


def test_monochrome1_stays_native_and_is_flagged() -> None:
    sample = one(dicom(ramp(), PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(sample.pixels[0], ramp())
    assert sample.inverted


def test_padding_value_and_range_are_not_valid() -> None:
    values = ramp(16, 16, "i2", -10)
    ds = dataset(values)
    ds.add_new("PixelPaddingValue", "SS", -10)
    ds.add_new("PixelPaddingRangeLimit", "SS", -5)
    sample = one(as_bytes(ds))
    np.testing.assert_array_equal(sample.valid[0], values > -5)  # type: ignore[index]


def test_padding_written_unsigned_in_a_signed_image() -> None:
    values = ramp(16, 16, "i2", -2000)
    ds = dataset(values)
    ds.add_new("PixelPaddingValue", "US", 65536 - 2000)
    sample = one(as_bytes(ds))
    np.testing.assert_array_equal(sample.valid[0], values != -2000)  # type: ignore[index]


def test_modality_lut_sequence() -> None:
    table = item(LUTDescriptor=[4, 10, 16], ModalityLUTType="OD")
    table.add_new("LUTData", "US", [100, 200, 300, 400])
    sample = one(dicom(ramp(8, 8), ModalityLUTSequence=[table], Modality="CR"))
    expected = np.full(64, 400.0)
    expected[:13] = [100] * 11 + [200, 300]
    np.testing.assert_array_equal(sample.pixels.ravel(), expected)


def test_first_of_several_windows_is_kept_and_pixels_are_not_windowed() -> None:
    sample = one(dicom(ramp(), WindowCenter=["40", "300"], WindowWidth=["400", "2000"]))
    assert sample.window == (40, 400)
    assert sample.pixels.max() == 255


@pytest.mark.parametrize(("keyword", "dtype"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")])
def test_float_and_double_pixel_data(keyword: str, dtype: str) -> None:
    values = np.linspace(-1.5, 2.5, 64).reshape(8, 8).astype(dtype)
    ds = dataset(ramp(8, 8), BitsAllocated=8 * values.itemsize, PixelRepresentation=None, PixelData=None)
    setattr(ds, keyword, values.tobytes())
    np.testing.assert_array_equal(one(as_bytes(ds)).pixels[0], values.astype(np.float32))


def test_one_bit_segments() -> None:
    mask = (ramp(16, 16) % 3 == 0).astype(np.uint8)
    ds = dataset(mask, BitsAllocated=1, BitsStored=1, HighBit=0)
    ds.PixelData = np.packbits(mask.ravel(), bitorder="little").tobytes()
    np.testing.assert_array_equal(one(as_bytes(ds)).pixels[0], mask)


def test_rgb_and_grey_rgb() -> None:
    colour = np.stack([ramp(16, 16, "u1")] * 2 + [ramp(16, 16, "u1")[::-1]], -1)
    np.testing.assert_array_equal(one(dicom(colour)).pixels[0], colour)
    grey = np.stack([ramp(16, 16, "u1")] * 3, -1)
    np.testing.assert_array_equal(one(dicom(grey)).pixels[0], grey[..., 0])


def test_ybr_full_becomes_rgb() -> None:
    ybr = np.empty((8, 8, 3), np.uint8)
    ybr[:] = 76, 85, 255  # pure red by PS3.3 C.7.6.3.1.2
    sample = one(dicom(ybr, PhotometricInterpretation="YBR_FULL"))
    np.testing.assert_allclose(sample.pixels[0, 0, 0], [254, 0, 0], atol=1.5)


def test_palette_becomes_rgb_at_full_depth() -> None:
    ds = dataset(ramp(8, 8, "u1"), PhotometricInterpretation="PALETTE COLOR", Modality="US")
    for colour, factor in (("Red", 1000), ("Green", 500), ("Blue", 1)):
        ds.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [64, 0, 16])
        table = (np.arange(64) * factor).astype("<u2")
        ds.add_new(f"{colour}PaletteColorLookupTableData", "OW", table.tobytes())
    sample = one(as_bytes(ds))
    np.testing.assert_array_equal(sample.pixels[0, ..., 0], ramp(8, 8) * 1000)
    np.testing.assert_array_equal(sample.pixels[0, ..., 2], ramp(8, 8))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_lossless_compression_changes_nothing(syntax: str) -> None:
    values = np.stack([ramp(32, 32), ramp(32, 32)[::-1]])
    ds = dataset(values, BitsStored=12, HighBit=11)
    encoder = get_encoder(syntax)
    frames = [encoder.encode(ds, index=index) for index in range(2)]
    ds.PixelData = encapsulate(frames)
    sample = one(as_bytes(ds, encoder.UID))
    np.testing.assert_array_equal(sample.pixels, values)
    assert not sample.lossy


def test_jpeg_2000_and_native_copies_of_one_image_agree() -> None:
    names = ("MR_small.dcm", "MR_small_jp2klossless.dcm")
    native, packed = (get_testdata_file(name, download=False) for name in names)
    np.testing.assert_array_equal(read(str(native))[0].pixels, read(str(packed))[0].pixels)


def test_enhanced_multi_frame_uses_the_groups_of_each_frame() -> None:
    stored = np.stack([ramp(), ramp() + 1000, ramp() + 2000])
    heights, slopes = (30.0, 10.0, 20.0), (1.0, 2.0, 3.0)
    groups = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[0, 0, z])],
            PixelValueTransformationSequence=[item(RescaleSlope=slope, RescaleIntercept=-5, RescaleType="HU")],
            FrameVOILUTSequence=[item(WindowCenter=z, WindowWidth=100)],
        )
        for z, slope in zip(heights, slopes, strict=True)
    ]
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.25], SliceThickness=10)],
    )
    sample = one(dicom(stored, PerFrameFunctionalGroupsSequence=groups, SharedFunctionalGroupsSequence=[shared]))
    for place, frame in enumerate((1, 2, 0)):  # by height
        np.testing.assert_array_equal(sample.pixels[place], stored[frame] * slopes[frame] - 5)
    assert sample.spacing_mm == (10.0, 0.5, 0.25)
    assert sample.window == (20.0, 100.0)  # of the middle slice
    assert (sample.view, sample.unit) == ("axial", "HU")


def test_lossy_history_is_remembered() -> None:
    assert one(dicom(ramp(), LossyImageCompression="01")).lossy
    assert not one(dicom(ramp(), LossyImageCompression="00")).lossy


def test_jpeg_lossless_names_the_extra_when_its_decoder_is_missing() -> None:
    ds = dataset(ramp())
    ds.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
    with pytest.raises(IngestError) as caught:
        one(as_bytes(ds, JPEGLosslessSV1))
    assert caught.value.code in ("missing_decoder", "corrupt")  # corrupt where the extra is installed
    if caught.value.code == "missing_decoder":
        assert "medq-vlm[jpeg]" in str(caught.value)
