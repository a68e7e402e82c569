"""The HTML report: self-contained, escaped, complete, and drawing only what belongs on the shown slice."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from medq_vlm import vocab
from medq_vlm.report import content
from medq_vlm.report.html import to_html
from medq_vlm.report.picture import LONGEST_SIDE, make_picture
from medq_vlm.schema import MedQError
from tests.assessments import FIVE, METAL, MOTION, NOISE, assessed, display, refused, volume

VOID = {"meta", "br", "input", "image", "rect", "path", "line"}


class Page(HTMLParser):
    """Tags, attributes, visible text; fails on tags that do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs] or [(tag, "", "")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def images(**more: object) -> dict[str, object]:
    return {"display": display(), **more}


@pytest.mark.parametrize("result", [assessed(), assessed(1.0, FIVE), refused(), volume(), volume(2)])
def test_page_is_self_contained_and_well_formed(result) -> None:
    page = to_html(result, images(heat=np.full((120, 160), 0.5)))
    parsed = Page(page)
    for tag, name, value in parsed.attributes:
        assert tag not in ("script", "link", "iframe", "object", "embed")
        assert not name.startswith("on")
        if name in ("src", "href"):
            assert value.startswith("data:image/png;base64,")
    assert not re.search(r"https?://|url\(|@import", page)
    assert content.DISCLAIMER in parsed.text


def test_page_shows_score_words_findings_and_measures() -> None:
    text = Page(to_html(assessed(1.7, FIVE), images())).text
    for word in (
        "USABLE",
        "limited interpretation",
        "interval 1.4 to 2.1",
        "99MEDQ LDNOISE",
        "41.2 HU",
        "\u2264 25",
    ):
        assert word in text
    for finding in FIVE:
        assert content.capital(vocab.KIND[finding.kind].plain) in text
        assert content.capital(finding.remedy) in text
    assert "cd" * 32 in text and "medq-nano 0.1.0" in text and "LUNG" in text


def test_everything_from_outside_is_escaped() -> None:
    evil = "<script>alert(1)</script>\"'><img src=http://x>"
    result = assessed(
        1.0,
        FIVE,
        source={"path": evil, "sha256": "", "slices": 1},
        acquisition=evil,
        acquisition_fields={evil: evil},
        warnings=(evil,),
        description=evil,
        utility={"task": evil, "score": 0.5},
        model={"name": evil, "version": evil, "sha256": ""},
    )
    page = to_html(result, images())
    tags = {tag for tag, _, _ in Page(page).attributes}
    assert "script" not in tags and "img" not in tags
    assert "<script" not in page and "&lt;script&gt;" in page


def test_refused_image_gets_its_reason_and_no_score() -> None:
    text = Page(to_html(refused(), images())).text
    assert "NOT ASSESSABLE" in text and "photograph" in text
    assert "Findings" not in text and "of 4" not in text


def test_verdict_is_said_without_colour() -> None:
    for score, symbol in ((0.5, "\u2715 REJECT"), (2.0, "\u25b2 USABLE"), (3.5, "\u2713 GOOD")):
        assert symbol in Page(to_html(assessed(score), None)).text


def test_slice_strip_has_a_bar_for_each_slice() -> None:
    page = to_html(volume(300), images(slice_index=120))
    assert page.count("<title>slice ") == 300
    assert "Slice 121 of 300" in page
    assert "Score per slice" not in to_html(assessed(), images())


def test_boxes_are_drawn_only_on_their_slices() -> None:
    result = assessed(1.0, (NOISE, METAL, MOTION))
    on = make_picture(result, images(slice_index=5))
    assert [(mark.number, mark.box) for mark in on.marks] == [(1, (20, 30, 90, 70)), (2, (60, 60, 100, 100))]
    assert [mark.number for mark in make_picture(result, images(slice_index=21)).marks] == [3]
    assert make_picture(result, images(slice_index=15)).marks == ()


def test_box_is_cut_to_the_image() -> None:
    small = {"display": display(50, 50), "slice_index": 3}
    assert [mark.box for mark in make_picture(assessed(1.0, (NOISE, METAL)), small).marks] == [(20, 30, 50, 50)]


def test_embedded_image_is_the_display_and_large_ones_shrink() -> None:
    page = to_html(assessed(), images())
    data = re.search(r'href="data:image/png;base64,([^"]+)"', page)
    assert data
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1])))), display())
    large = make_picture(assessed(), {"display": display(1500, 3000)})
    assert large.display.size == (LONGEST_SIDE, LONGEST_SIDE // 2)
    assert (large.width, large.height) == (3000, 1500)


def test_heat_is_transparent_where_there_is_none() -> None:
    heat = np.zeros((120, 160))
    heat[10, 10] = np.nan
    heat[60:, 80:] = 1
    picture = make_picture(assessed(), images(heat=heat))
    assert picture.heat is not None
    alpha = np.asarray(picture.heat)[..., 3]
    assert alpha[:50, :70].max() == 0 and alpha[100, 150] > 150


@pytest.mark.parametrize(
    "wrong",
    [
        {"display": np.zeros((4, 4), np.float32)},
        {"display": np.zeros((4, 4, 4), np.uint8)},
        {"display": np.zeros((4, 4), np.uint8), "heat": np.zeros((5, 4))},
    ],
)
def test_wrong_images_are_refused(wrong) -> None:
    with pytest.raises(MedQError, match=r"display image|heat map"):
        to_html(assessed(), wrong)


def test_page_is_deterministic() -> None:
    assert to_html(assessed(1.0, FIVE), images()) == to_html(assessed(1.0, FIVE), images())
