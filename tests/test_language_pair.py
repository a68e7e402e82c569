"""Two images: whether they may be compared, how sure the order is, and no reason made of nothing."""

from __future__ import annotations

from dataclasses import replace

from medq_vlm.language import pair
from medq_vlm.language.line import from_assessment
from medq_vlm.schema import Assessment, Recognised
from tests.assessments import NOISE, assessed


def scored(score: float, half: float = 0.3, **changes: object) -> Assessment:
    """A chest CT without findings."""
    return assessed(score, score_interval=(score - half, score + half), **changes)


def test_only_what_is_surely_different_is_not_comparable() -> None:
    first = scored(3.0)
    mr = replace(first, modality=Recognised("mr", "header", 1.0))
    assert "A is CT, B MR" in pair.not_comparable(first, mr, ("A", "B"))
    assert pair.not_comparable(first, first) == ""
    assert pair.not_comparable(first, replace(mr, modality=Recognised("mr", "image", 0.5))) == ""
    heart = replace(first, anatomy=Recognised("heart", "user", 1.0))
    assert "the first is chest, the second heart" in pair.not_comparable(first, heart)


def test_an_order_inside_the_intervals_is_called_likely() -> None:
    assert "likely, not certain" in pair.certainty(scored(3.0), scored(2.6))
    assert pair.certainty(scored(3.5), scored(1.5)) == ""  # intervals apart
    assert pair.certainty(scored(3.0), scored(2.95)) == ""  # said to be equal: there is no order


def test_two_images_without_findings_are_not_explained_by_them() -> None:
    first, second = (from_assessment(scored(score)) for score in (3.4, 2.9))
    assert pair.without_findings(first, second).startswith("Image A is better by 0.5")
    assert "similar quality" in pair.without_findings(first, first)
    assert pair.without_findings(first, from_assessment(assessed(1.7, findings=(NOISE,)))) == ""


def test_the_better_score_stands_first() -> None:
    said = "Image B is better by 0.4 points (2.6 against 3.0), because of noise."
    assert pair.better_first(said) == "Image B is better by 0.4 points (3.0 against 2.6), because of noise."
    assert pair.better_first("Image A is better by 1.0 (3.0 against 2.0).").endswith("(3.0 against 2.0).")
