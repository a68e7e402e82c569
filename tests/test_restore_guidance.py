"""What a text names, denies and calls severe; what leads when a person edits the description."""

from __future__ import annotations

import numpy as np
import pytest

from medq_vlm import vocab
from medq_vlm.restore.guidance import GUIDANCE_NONE, from_assessment, from_findings, from_text, place_map, tensors
from medq_vlm.restore.tokens import LONGEST, PAD, UNKNOWN, VOCAB_SIZE, tokenize
from medq_vlm.restore.wording import read_findings
from medq_vlm.schema import Assessment, Finding, Location, MedQError, Recognised
from medq_vlm.treated import TREATED, tasks_for, treats

DESCRIPTION = (
    "This is a CT image of the chest. Globally, the image has good contrast, but suffers from very strong noise. "
    "Throughout the image, severe low-dose noise and mild sparse-view streaks are present. The likely cause of the "
    "low-dose noise is photon starvation and beam hardening at metal. As a result, small lesions may be hidden. "
    "Overall, the quality of this image is reject."
)


@pytest.mark.parametrize(
    ("text", "modality", "found"),
    [
        (DESCRIPTION, "ct", {"low_dose_noise": 3.3, "sparse_view": 1.0}),
        ("remove the metal streaks", "ct", {"metal": 2.0}),
        ("only denoise", "ct", {"noise": 2.0}),
        ("severe noise, mild blur", "fundus", {"noise": 3.3, "blur": 1.0}),
        ("severe blur, mild noise", "fundus", {"blur": 3.3, "noise": 1.0}),
        ("no noise, mild blur", "fundus", {"blur": 1.0}),
        ("no noise or blur", "fundus", {}),
        ("Keep the noise but reduce the streaks", "ct", {"sparse_view": 2.0}),
        ("do not remove the noise, only sharpen", "fundus", {"blur": 2.0}),
        ("don't touch the noise", "mr", {}),
        ("not only noise", "ct", {"noise": 2.0}),
        ("without metal streaks, severe low-dose noise", "ct", {"low_dose_noise": 3.3}),
        ("the noise is severe", "mr", {"noise": 3.3}),
        ("noise, severe", "mr", {"noise": 3.3}),
        ("noise (severe)", "mr", {"noise": 3.3}),
        ("Noise: severe, blur: mild", "fundus", {"noise": 3.3, "blur": 1.0}),
        ("noise, severe blur", "fundus", {"noise": 2.0, "blur": 3.3}),
        ("noise is not a problem", "mr", {}),
        ("Locally, no degradation was found.", "ct", {}),
        ("low signal-to-noise ratio, severe motion artifact", "mr", {"mr_noise": 2.0, "mr_motion": 3.3}),
        ("motion", "ct", {"ct_motion": 2.0}),
        ("metal streaks", "mr", {}),
        ("", None, {}),
    ],
)
def test_findings_are_read_from_text(text: str, modality: str | None, found: dict[str, float]) -> None:
    assert read_findings(text, modality) == pytest.approx(found)


@pytest.mark.parametrize("modality", vocab.MODALITIES)
def test_every_plain_name_is_read_in_its_modality(modality: str) -> None:
    for kind in vocab.kinds_for(modality):
        assert read_findings(f"severe {vocab.KIND[kind].plain}", modality) == {kind: pytest.approx(3.3)}


def assessment() -> Assessment:
    def finding(kind: str, severity: str, value: float, box: tuple[int, int, int, int] | None) -> Finding:
        return Finding(kind, severity, value, 0.9, Location(None, box, "whole image"), (), "", "", "", {})

    return Assessment(
        {"path": "x", "slices": 1}, Recognised("ct", "header", 1.0), Recognised("chest", "image", 1.0), "", 1.0,
        (0.5, 1.5), (), None, "reject", True, "", 0.9, {},
        (finding("low_dose_noise", "severe", 3.1, None), finding("metal", "mild", 1.2, (10, 20, 30, 60))),
        (), (), (), "severe low-dose noise and mild metal streaks", {}, "",
    )  # fmt: skip


def test_an_assessment_gives_findings_text_and_places() -> None:
    guidance = from_assessment(assessment(), size=(100, 200))
    assert guidance.findings == pytest.approx({"low_dose_noise": 3.1, "metal": 1.2})
    assert guidance.treated == ("low_dose_noise", "metal")
    box = guidance.boxes[vocab.KIND_NAMES.index("metal")]
    np.testing.assert_allclose(box, (0.05, 0.2, 0.15, 0.6), rtol=1e-6)
    seen = place_map(guidance, (100, 200))
    assert seen[20:60, 10:30].all()
    assert 40 * 20 <= seen.sum() <= 41 * 21


def test_a_person_who_writes_leads() -> None:
    edited = from_assessment(assessment(), "No metal streaks, severe low-dose noise.")
    assert edited.findings == pytest.approx({"low_dose_noise": 3.1})  # same word: the measured value
    weaker = from_assessment(assessment(), "moderate low-dose noise")
    assert weaker.findings == pytest.approx({"low_dose_noise": 2.0})
    assert from_assessment(assessment(), "").findings == {}


def test_nothing_known_is_blind() -> None:
    assert GUIDANCE_NONE.findings == {}
    batch = tensors([GUIDANCE_NONE, from_text("severe low-dose noise", "ct")])
    assert batch.tokens.shape == (2, LONGEST)
    assert not batch.tokens[0].any()
    assert batch.severities[0].sum() == 0
    assert batch.modality.tolist() == [len(vocab.MODALITIES), 0]


def test_words_have_ids_and_strangers_share_one() -> None:
    ids = tokenize("severe qwertz noise")
    assert ids.shape == (LONGEST,)
    assert ids[1] == UNKNOWN
    assert set(ids[3:]) == {PAD}
    assert ids.max() < VOCAB_SIZE
    assert len(tokenize("noise " * 500)) == LONGEST


def test_tasks_are_kinds_of_their_modalities() -> None:
    for kind, modalities in TREATED.items():
        assert set(modalities) <= set(vocab.KIND[kind].modalities)
        assert all(kind in tasks_for(m) and treats(kind, m) for m in modalities)
    assert not treats("ring", "ct")
    assert not treats("noise", None)


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(MedQError, match="not a kind"):
        from_findings({"rust": 1.0}, "ct")
