"""What a caller builds himself is checked before it is assessed: one sentence, never a fault of a library."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from medq_vlm.phantoms import phantom
from medq_vlm.pipeline import MedQ
from medq_vlm.schema import ImageSample, MedQError

PLANE = phantom("mr", 1, 96).pixels
WRONG: dict[str, dict[str, Any]] = {
    "one picture is pixels[None]": {"pixels": PLANE[0]},
    "height, width, 3": {"pixels": np.zeros((1, 64, 64, 4), np.float32)},
    "Tensor": {"pixels": torch.zeros(1, 64, 64)},
    "NumPy array": {"pixels": PLANE.tolist()},
    "bool": {"pixels": PLANE > 0},
    "complex64": {"pixels": PLANE.astype(np.complex64)},
    "valid": {"pixels": PLANE, "valid": np.ones((2, 2), bool)},
    "'CT' is no modality": {"pixels": PLANE, "modality": "CT"},
    "'Foot' is no anatomy": {"pixels": PLANE, "anatomy": "Foot"},
}


@pytest.fixture(scope="module")
def medq() -> MedQ:
    return MedQ.load()


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_sample_is_refused_in_words(words: str, medq: MedQ) -> None:
    with pytest.raises(MedQError) as caught:
        medq.assess_sample(ImageSample(**WRONG[words]))
    assert words.removeprefix("one picture is ") in str(caught.value)


def test_any_type_of_number_gives_the_same_score(medq: MedQ) -> None:
    whole = replace(phantom("mr", 1, 96), pixels=np.round(PLANE))
    scores = [medq.assess_sample(replace(whole, pixels=whole.pixels.astype(kind))).score for kind in ("f4", "f8", "i4")]
    assert scores[0] == scores[1] == scores[2]


@pytest.mark.parametrize("path", ["", PLANE, None])
def test_only_a_path_is_opened(path: object, medq: MedQ) -> None:
    with pytest.raises(MedQError, match="path"):
        medq.assess(path)  # type: ignore[arg-type]
