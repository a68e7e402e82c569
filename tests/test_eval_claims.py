"""What the judge of texts takes for a claim about this image."""

from __future__ import annotations

import pytest

from eval.claims import wrong_claims
from eval.description import hallucinated
from tests import assessments

CLEAN = assessments.assessed(3.2)
NOISY = assessments.assessed(1.7, (assessments.NOISE, assessments.METAL))


@pytest.mark.parametrize(
    "text",
    [
        "Globally, it has good sharpness, good contrast, low noise and good exposure.",
        "Globally, the image has fair sharpness and moderate noise. No artefact was found.",
        "No blur was found.",
    ],
)
def test_words_about_attributes_and_denials_claim_no_kind(text: str) -> None:
    assert wrong_claims(text, CLEAN) == []


def test_good_sharpness_is_no_verdict() -> None:
    assert wrong_claims("Globally, it has good sharpness and good contrast.", NOISY) == []
    assert wrong_claims("The image is good.", NOISY)


@pytest.mark.parametrize("text", ["It shows severe noise.", "The blur is moderate.", "Globally, it has severe blur."])
def test_a_kind_that_is_not_there_is_hallucinated(text: str) -> None:
    assert hallucinated(text, CLEAN) == (1, 1)


def test_another_degree_and_a_denied_finding_are_wrong() -> None:
    assert wrong_claims("The low-dose noise is mild.", NOISY)
    assert wrong_claims("There is no low-dose noise.", NOISY)
