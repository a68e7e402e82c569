"""Contents put together from pieces: every modality, the same again, no lesson in what a modality looks like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medq_vlm import vocab
from medq_vlm.config import ViewConfig
from medq_vlm.encoder.scorer import UNKNOWN
from training import chimera, synthesize
from training.chimera import Pieces, photographs
from training.data import Shards


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A picture with grey levels all over, and a page."""
    folder = tmp_path_factory.mktemp("pictures")
    grain = np.random.default_rng(0).integers(0, 256, (260, 300, 3), np.uint8)
    page = np.full((260, 300, 3), 255, np.uint8)
    page[40:60, 20:200] = 0
    for name, pixels in (("grain.png", grain), ("page.png", page)):
        Image.fromarray(pixels).save(folder / name)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def pieces(pictures: list[Path]) -> Pieces:
    return Pieces({m: [] for m in vocab.MODALITIES}, photographs(pictures), "train")


def test_a_page_is_no_photograph(pictures: list[Path]) -> None:
    assert [path.name for path in photographs(pictures)] == ["grain.png"]


@pytest.mark.parametrize("modality", ["ct", "mr", "ultrasound", "fundus"])
def test_a_chimera_has_the_units_of_its_modality(
    pieces: Pieces, modality: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chimera, "PHANTOMS", 1)
    for seed in range(3):
        made = chimera.chimera(pieces, modality, np.random.default_rng(seed))
        sample = made.sample
        assert (sample.modality, sample.anatomy, made.source) == (modality, None, chimera.SOURCE)
        assert np.isfinite(sample.pixels).all() and np.ptp(sample.pixels) > 0
        assert sample.colour == (modality in vocab.COLOUR)
        assert sample.pixels.min() >= (-1000 if modality == "ct" else 0)
        assert (sample.unit == "HU") == (modality == "ct")


def test_its_modality_is_told_and_never_to_be_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesize, "QUADS_PER_SHARD", 2)
    monkeypatch.setattr(synthesize, "MODALITY_WEIGHT", {"mr": 1.0})
    monkeypatch.setattr(synthesize, "NOT_MEDICAL_SHARE", 0.0)
    monkeypatch.setattr(chimera, "PHANTOMS", 1)
    for share, first in (("1", 0), ("0", 1)):
        synthesize.main(
            ["--out", str(tmp_path), "--first", str(first), "--shards", str(first + 1), "--chimeras", share]
        )
    data = Shards(tmp_path, "train", ViewConfig())
    made = data.labels["source"] == chimera.SOURCE
    assert made.sum() == len(made) / 2
    given = np.stack([
        data.batch_labels(np.arange(len(data)), np.random.default_rng(seed)).given.numpy() for seed in range(8)
    ])  # fmt: skip
    assert (given[:, made] != UNKNOWN).all()
    assert (given[:, ~made] == UNKNOWN).any()
