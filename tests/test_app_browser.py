"""What a clinician does, in a real Chromium: drop an image, look, review, file the report."""

from __future__ import annotations

import contextlib
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from medq_vlm.io import load
from medq_vlm.io.examples import CT_HEAD, example
from medq_vlm.io.write import write
from medq_vlm.phantoms import phantom, phantom_volume
from tests.app_browser import (
    Driver,
    browser,
    choose,
    corner,
    downloaded,
    drop,
    needs_chromium,
    press,
    stage,
    tab,
    until,
)  # fmt: skip
from tests.app_server import Server, running

pytestmark = needs_chromium
SLICES = 6


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("app")) as made:
        yield made


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def driver(downloads: Path) -> Iterator[Driver]:
    with browser(downloads) as made:
        yield made


@pytest.fixture(scope="module")
def opened(driver: Driver, server: Server) -> Driver:
    """The page with a head CT dropped on it and assessed."""
    driver.get(server.address)
    until(driver, "document.querySelector('[data-viewer=main][data-ready]')")
    drop(driver, example(CT_HEAD))
    until(driver, "document.querySelector('#mq-panel-box .mq-panel .mq-score')")
    return driver


def test_from_drop_to_score(opened: Driver) -> None:
    score = float(opened.find_element(By.CSS_SELECTOR, ".mq-score b").text)
    assert 0 <= score <= 4
    assert "Not a medical device" in opened.find_element(By.TAG_NAME, "body").text
    width = until(opened, "document.querySelector('[data-viewer=main] .mq-slice').naturalWidth")
    assert width == 512
    assert " of 1" not in corner(opened, "tl")  # one image needs no number


def test_the_browser_met_no_error_and_no_other_machine(opened: Driver, server: Server) -> None:
    bad = [one["message"] for one in opened.get_log("browser") if one["level"] == "SEVERE"]
    assert bad == []
    asked = opened.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert asked and all(one.startswith((server.address, "data:", "blob:")) for one in asked)
    assert opened.execute_script("return JSON.stringify(localStorage)").find("J2K") == -1


def test_the_window_follows_preset_hand_and_key(opened: Driver) -> None:
    before = opened.execute_script("return document.querySelector('[data-viewer=main] .mq-slice').src")
    field = opened.find_element(By.CSS_SELECTOR, "[data-viewer=main] [data-width]")
    field.send_keys(Keys.CONTROL, "a", Keys.NULL, "700", Keys.ENTER)
    until(opened, "document.querySelector('[data-viewer=main] .mq-slice').src.includes('w=700')")
    assert "W 700" in corner(opened, "bl")
    stage(opened).send_keys("1")  # the first preset
    until(opened, f"document.querySelector('[data-viewer=main] .mq-slice').src === {before!r}")


def test_the_value_under_the_cursor_is_shown_with_its_unit(opened: Driver) -> None:
    webdriver.ActionChains(opened).move_to_element(stage(opened)).move_by_offset(3, 3).perform()
    until(opened, "document.querySelector('[data-viewer=main] .mq-corner.br').textContent.includes('HU')")


def test_zoom_by_key_and_back(opened: Driver) -> None:
    width = "document.querySelector('[data-viewer=main] .mq-wrap').clientWidth"
    before = opened.execute_script(f"return {width}")
    stage(opened).send_keys("+")
    assert opened.execute_script(f"return {width}") > before
    stage(opened).send_keys("0")
    assert opened.execute_script(f"return {width}") == before


def test_a_review_is_saved_and_filed_with_the_report(opened: Driver, downloads: Path) -> None:
    missed = opened.find_element(By.CSS_SELECTOR, "[data-missed]")
    opened.execute_script(
        "arguments[0].value = [...arguments[0].options].find((one) => one.value).value;"
        "arguments[0].dispatchEvent(new Event('change', {bubbles: true}))", missed)  # fmt: skip
    until(opened, "document.querySelector('[data-saved]').textContent === 'Saved'")
    unsure = opened.find_element(By.CSS_SELECTOR, ".mq-finding.added [data-review=unsure]")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", unsure)
    unsure.send_keys(Keys.ENTER)  # by keyboard
    until(opened, "document.querySelector('.mq-finding.added [data-review=unsure]').ariaPressed === 'true'")
    until(opened, "document.querySelector('[data-saved]').textContent === 'Saved'")
    link = opened.find_element(By.CSS_SELECTOR, "[data-export=zip]")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", link)
    link.click()
    names = {Path(name).suffix for name in zipfile.ZipFile(downloaded(downloads, "medq-*.zip")).namelist()}
    assert names == {".pdf", ".html", ".json", ".csv"}


def test_a_volume_scrolls_and_finds_its_worst_slice(opened: Driver, tmp_path: Path) -> None:
    path = tmp_path / "volume.nii.gz"
    write(phantom_volume("ct", seed=1, slices=SLICES, size=96), path)
    drop(opened, path)
    until(opened, "document.querySelectorAll('#mq-series label').length === 2")
    opened.execute_script("document.querySelectorAll('#mq-series label')[1].querySelector('input').click()")
    until(opened, f"document.querySelectorAll('[data-viewer=main] .mq-strip [data-slice][class]').length >= {SLICES}")
    here = "document.querySelector('[data-viewer=main]').dataset.shown.split(':').pop()"
    stage(opened).send_keys(Keys.HOME)
    until(opened, f"{here} === '0'")
    stage(opened).send_keys(Keys.ARROW_DOWN)
    until(opened, f"{here} === '1'")
    opened.execute_script(
        "arguments[0].dispatchEvent(new WheelEvent('wheel', {deltaY: 100, bubbles: true, cancelable: true}))",
        stage(opened),
    )
    until(opened, f"{here} === '2'")
    worst = opened.execute_script("return document.querySelector('[data-viewer=main] .mq-strip .worst').dataset.slice")
    opened.find_element(By.CSS_SELECTOR, "[data-viewer=main] [data-worst]").click()
    until(opened, f"{here} === '{worst}'")


def test_the_value_under_a_resting_cursor_is_that_of_the_slice_shown(opened: Driver, tmp_path: Path) -> None:
    path = tmp_path / "volume.nii.gz"
    write(phantom_volume("ct", seed=1, slices=SLICES, size=96), path)  # as it is open
    (volume,) = load(path)
    webdriver.ActionChains(opened).move_to_element(stage(opened)).move_by_offset(9, 9).perform()
    for key, index in ((Keys.HOME, 0), (Keys.END, SLICES - 1)):
        stage(opened).send_keys(key)
        until(opened, f"document.querySelector('[data-viewer=main]').dataset.shown.endsWith(':{index}')")
        until(opened, "document.querySelector('[data-viewer=main] .mq-corner.br').textContent.includes('HU')")
        x, y, value = map(float, re.findall(r"-?[\d.]+", corner(opened, "br")))
        assert value == pytest.approx(float(volume.pixels[index, int(y), int(x)]), abs=0.51)


def test_the_image_keeps_its_height_where_no_panel_stands_beside_it(opened: Driver) -> None:
    height = "document.querySelector('[data-viewer=main] .mq-stage').clientHeight"
    before = opened.execute_script(f"return {height}")
    tab(opened, "Chat")
    until(opened, "document.querySelector('#mq-chat').clientWidth > 0")
    time.sleep(0.5)  # heights follow a moment after
    assert opened.execute_script(f"return {height}") > 0.8 * before
    tab(opened, "Read")


def test_it_compares_with_synchronised_scroll(opened: Driver, tmp_path: Path) -> None:
    path = tmp_path / "longer.nii.gz"
    write(phantom_volume("ct", seed=2, slices=2 * SLICES - 1, size=64), path)
    drop(opened, path)
    until(opened, "document.querySelectorAll('#mq-series label').length === 3")
    until(opened, "!document.querySelector('#mq-status progress')")
    tab(opened, "Compare")
    until(opened, "document.querySelectorAll('#mq-difference table tr').length > 5")
    shown = "document.querySelector('[data-viewer={}]').dataset.shown"
    until(opened, f"({shown.format('a')} || '').includes(':') && ({shown.format('b')} || '').includes(':')")
    opened.find_element(By.CSS_SELECTOR, "[data-viewer=a] .mq-stage").send_keys(Keys.HOME, Keys.ARROW_DOWN)
    until(opened, f"{shown.format('a')}.endsWith(':1')")
    until(opened, f"{shown.format('b')}.endsWith(':2')")  # the same share of a series twice as long
    tab(opened, "Read")


def test_the_worklist_takes_files_filters_and_opens_a_row(opened: Driver, downloads: Path, tmp_path: Path) -> None:
    tab(opened, "Worklist")
    text = "document.querySelector('#mq-table').innerText"
    until(opened, f"{text}.includes('volume.nii.gz')")
    paths = []
    for seed in (3, 4):
        paths.append(tmp_path / f"batch{seed}.png")
        write(phantom("xray", seed=seed, size=96), paths[-1])
    opened.find_element(By.CSS_SELECTOR, "#mq-batch input[type=file]").send_keys("\n".join(map(str, paths)))
    until(opened, f"{text}.includes('batch4.png') && !{text}.includes('waiting') && !{text}.includes('assessing')")
    link = opened.find_element(By.CSS_SELECTOR, "[data-worklist=csv]")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].click()", link)
    assert downloaded(downloads, "medq-worklist.csv").read_text().count("\n") == 1 + 5
    choose(opened, "#mq-filter", "waiting")
    until(opened, f"!{text}.includes('batch4.png')")
    choose(opened, "#mq-filter", "all")
    until(opened, f"{text}.includes('batch4.png')")
    cells = "[...document.querySelectorAll('#mq-table [role=gridcell]')]"
    until(opened, f"{cells}.find((one) => one.innerText.trim() === 'batch4.png')").click()
    until(opened, "document.querySelector('[data-viewer=main] .mq-corner.tl').innerText.includes('batch4.png')")
    until(opened, "document.querySelector('#mq-upload').offsetParent")  # the reading tab is back


def test_another_description_says_what_changed(opened: Driver) -> None:
    tab(opened, "Acquisition")
    box = until(opened, "document.querySelector('#mq-description textarea')")
    box.clear()
    box.send_keys("Chest X-ray, 60 kVp, portable")
    until(opened, "document.querySelector('#mq-again')").click()
    until(opened, "document.querySelector('#mq-changed .mq-lead')")
    assert "portable" in opened.find_element(By.CSS_SELECTOR, "#mq-fields").text
    tab(opened, "Assessment")


def test_a_question_is_answered_again_and_forgotten(opened: Driver, server: Server) -> None:
    tab(opened, "Chat")
    bots = "[...document.querySelectorAll('#mq-chat .bot.message')]"
    question = until(opened, "document.querySelector('#mq-question textarea, #mq-question input')")
    question.send_keys("Why is it poor?", Keys.ENTER)
    until(opened, f"{bots}.length === 1 && {bots}[0].innerText.trim().length > 3")
    until(opened, "document.querySelector('#mq-question textarea, #mq-question input').value === ''")
    opened.find_element(By.CSS_SELECTOR, "#mq-hush").click()  # harmless when the answer is finished
    opened.find_element(By.CSS_SELECTOR, "#mq-retry").click()
    until(opened, f"{bots}.length === 0 || {bots}[0].innerText.trim() === '\u2026'")
    until(opened, f"{bots}.length === 1 && {bots}[0].innerText.trim().length > 3")
    opened.find_element(By.CSS_SELECTOR, "#mq-chat [aria-label*=lear]").click()
    until(opened, f"{bots}.length === 0")
    tab(opened, "Assessment")


def test_the_worklist_is_sorted_and_a_row_opened_by_key(opened: Driver) -> None:
    tab(opened, "Worklist")
    column = "[...document.querySelectorAll('#mq-table [data-col=\"{}\"]')].map((one) => one.innerText.trim())"
    scores, names = column.format(4), column.format(1)
    until(opened, f"{scores}.length >= 5")
    header = opened.find_element(By.CSS_SELECTOR, "#mq-table th[data-heading='4']")
    webdriver.ActionChains(opened).move_to_element(header).perform()  # its menu shows under the pointer
    until(opened, "document.querySelector(\"#mq-table th[data-heading='4'] .cell-menu-button\")").click()
    entries = "[...document.querySelectorAll('[role=menuitem]')]"
    until(opened, f"{entries}.find((one) => /descending/i.test(one.innerText))").click()
    until(opened, f"{scores}.every((one, n, all) => !n || Number(all[n - 1]) >= Number(one))")
    name = opened.execute_script(f"return {names}[1]")
    opened.execute_script("document.querySelector('#mq-table [role=gridcell][tabindex=\"0\"]').focus()")
    for key in (Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ENTER):
        webdriver.ActionChains(opened).send_keys(key).perform()
    until(opened, "document.querySelector('#mq-upload').offsetParent")  # the reading tab is back
    shown = "document.querySelector('[data-viewer=main] .mq-corner.tl').innerText"
    until(opened, f"{shown}.includes({name!r})")


def test_a_folder_dropped_on_the_image_is_opened_with_all_it_holds(opened: Driver, tmp_path: Path) -> None:
    (tmp_path / "study" / "deep").mkdir(parents=True)
    count = len(opened.find_elements(By.CSS_SELECTOR, "#mq-series label"))
    write(phantom("xray", seed=5, size=96), tmp_path / "study" / "first.png")
    write(phantom("fundus", seed=6, size=96), tmp_path / "study" / "deep" / "second.png")
    box = stage(opened).rect
    for step in ("dragEnter", "dragOver", "drop"):
        opened.execute_cdp_cmd("Input.dispatchDragEvent", {
            "type": step, "x": box["x"] + 50, "y": box["y"] + 50,
            "data": {"items": [], "files": [str(tmp_path / "study")], "dragOperationsMask": 1},
        })  # fmt: skip
    until(opened, f"document.querySelectorAll('#mq-series label').length === {count + 2}")
    until(opened, "!document.querySelector('#mq-status progress')")


def test_every_control_is_reached_by_the_tab_key(opened: Driver) -> None:
    opened.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    wanted = {"mq-tools", "mq-stage", "mq-head", "mq-chips", "mq-review", "mq-downloads", "mq-example", "mq-series",
              "mq-upload"}  # fmt: skip
    if not opened.find_elements(By.CSS_SELECTOR, "#mq-panel-box .mq-finding"):
        wanted -= {"mq-head", "mq-chips"}
    met: set[str] = set()
    for _ in range(120):
        webdriver.ActionChains(opened).send_keys(Keys.TAB).perform()
        found = opened.execute_script(
            "let out = []; for (let e = document.activeElement; e; e = e.parentElement)"
            "out.push(e.id, ...e.classList); return out"
        )
        met |= wanted & set(found)
        if met == wanted:
            break
    assert met == wanted


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1920, 1080)])
def test_it_fits_the_screens_of_a_reading_room(opened: Driver, width: int, height: int) -> None:
    frame = opened.execute_script("return [outerWidth - innerWidth, outerHeight - innerHeight]")
    opened.set_window_size(width + frame[0], height + frame[1])
    until(opened, f"innerWidth === {width}")
    until(opened, "document.documentElement.scrollWidth <= innerWidth")
    bottom = "document.querySelector('[data-viewer=main] .mq-strip').getBoundingClientRect().bottom"
    until(opened, f"{bottom} <= innerHeight")
    assert opened.execute_script("return document.querySelector('[data-viewer=main] .mq-stage').clientHeight") > 350


def test_light_and_dark_are_both_readable(opened: Driver) -> None:
    colours = []
    for _ in range(2):
        dark = opened.execute_script("return document.body.classList.contains('dark')")
        opened.find_element(By.CSS_SELECTOR, "[data-theme]").click()
        until(opened, f"document.body.classList.contains('dark') !== {str(dark).lower()}")
        ink, paper = opened.execute_script(
            "return [getComputedStyle(document.querySelector('.mq-panel')).color,"
            "getComputedStyle(document.body).backgroundColor]"
        )
        colours.append((luminance(ink), luminance(paper)))
    assert all((max(pair) + 0.05) / (min(pair) + 0.05) > 7 for pair in colours)
    assert (colours[0][0] > colours[0][1]) != (colours[1][0] > colours[1][1])


def luminance(colour: str) -> float:
    """Relative luminance of "rgb(r, g, b)" by WCAG 2."""
    parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_another_browser_sees_none_of_it(opened: Driver, server: Server) -> None:
    picture = opened.execute_script("return document.querySelector('[data-viewer=main] .mq-slice').src")
    opened.delete_all_cookies()
    assert (
        opened.execute_async_script(
            "const done = arguments[1]; fetch(arguments[0]).then((a) => done(a.status))", picture
        )
        == 404
    )


def test_light_or_dark_outlives_the_page_and_nothing_is_removed_unasked(opened: Driver, server: Server) -> None:
    visit(opened, server.address)
    drop(opened, example(CT_HEAD))
    until(opened, "document.querySelector('#mq-panel-box .mq-panel .mq-score')")
    dark = "document.body.classList.contains('dark')"
    before = opened.execute_script(f"return {dark}")
    opened.find_element(By.CSS_SELECTOR, "[data-theme]").click()
    visit(opened, server.address)
    until(opened, "document.querySelectorAll('#mq-series label').length > 0")
    assert opened.execute_script(f"return {dark}") is not before
    press(opened, "mq-forget")
    opened.switch_to.alert.dismiss()
    assert opened.execute_script("return document.querySelectorAll('#mq-series label').length") > 0
    press(opened, "mq-forget")
    opened.switch_to.alert.accept()
    until(opened, "document.querySelectorAll('#mq-series label').length === 0")


def visit(driver: Driver, address: str) -> None:
    """Open the page, also from one with a review that is not filed yet, which asks first."""
    driver.get(address)
    with contextlib.suppress(NoAlertPresentException):
        driver.switch_to.alert.accept()
    until(driver, "document.querySelector('[data-viewer=main][data-ready]')")
