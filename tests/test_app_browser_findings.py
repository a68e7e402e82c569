"""Findings on the image, long series, answers with pictures, and a page that is loaded again, in a real Chromium."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from medq_vlm.io.examples import CT_HEAD, example
from medq_vlm.io.write import write
from medq_vlm.phantoms import phantom_volume
from tests.app_browser import Driver, browser, choose, drop, needs_chromium, pick, press, stage, tab, until
from tests.app_server import running

pytestmark = needs_chromium
LONG = 300  # slices


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """The page with a head CT dropped on it and assessed."""
    with running(tmp_path_factory.mktemp("app")) as server, browser(tmp_path_factory.mktemp("downloads")) as driver:
        driver.get(server.address)
        until(driver, "document.querySelector('[data-viewer=main][data-ready]')")
        drop(driver, example(CT_HEAD))
        until(driver, "document.querySelector('#mq-panel-box .mq-panel .mq-score')")
        yield driver


def test_a_finding_is_shown_by_its_box_and_its_heat_map(opened: Driver) -> None:
    count = len(opened.find_elements(By.CSS_SELECTOR, "#mq-series label"))
    choose(opened, "#mq-example", "CT, metal (phantom)")
    until(opened, f"document.querySelectorAll('#mq-series label').length === {count + 1}")
    until(opened, "!document.querySelector('#mq-status progress')")
    box = "document.querySelector('[data-viewer=main] .mq-boxes rect')"
    heat = "document.querySelector('[data-viewer=main] .mq-heat')"
    until(opened, box)
    place = opened.execute_script(
        f"const a = {box}.getBoundingClientRect(),"
        "b = document.querySelector('[data-viewer=main] .mq-slice').getBoundingClientRect();"
        "return [a.width / b.width, a.height / b.height, b.left <= a.left && a.right <= b.right]"
    )
    assert 0.02 < place[0] < 0.9 and 0.02 < place[1] < 0.9 and place[2]
    stage(opened).send_keys("b")
    until(opened, f"!{box}")
    opened.find_element(By.CSS_SELECTOR, ".mq-head[data-finding='0']").click()  # brings the box back
    until(opened, box)
    opened.find_element(By.CSS_SELECTOR, "[data-viewer=main] [data-toggle=heat]").click()
    until(opened, f"{heat}.src.includes('kind=') && {heat}.complete && {heat}.naturalWidth === 448")
    stage(opened).send_keys("h")
    until(opened, f"!{heat}.hasAttribute('src')")


def test_each_series_keeps_its_window_in_every_viewer(opened: Driver) -> None:
    if len(opened.find_elements(By.CSS_SELECTOR, "#mq-series label")) == 1:
        choose(opened, "#mq-example", "CT, metal (phantom)")
        until(opened, "document.querySelectorAll('#mq-series label').length === 2")
        until(opened, "!document.querySelector('#mq-status progress')")
    shown = "document.querySelector('[data-viewer={}] .mq-slice').src"
    fresh = opened.execute_script(f"return {shown.format('main')}")
    field = opened.find_element(By.CSS_SELECTOR, "[data-viewer=main] [data-width]")
    field.send_keys(Keys.CONTROL, "a", Keys.NULL, "321", Keys.ENTER)
    until(opened, f"{shown.format('main')}.includes('w=321')")
    pick(opened, 0)
    until(opened, f"!{shown.format('main')}.includes('w=321')")
    pick(opened, -1)
    until(opened, f"{shown.format('main')}.includes('w=321')")
    tab(opened, "Compare")
    until(opened, f"{shown.format('b')}.includes('w=321')")
    opened.find_element(By.CSS_SELECTOR, "[data-viewer=b] .mq-stage").send_keys("1")
    until(opened, f"{shown.format('b')} === {fresh!r}")
    tab(opened, "Read")
    until(opened, f"{shown.format('main')} === {fresh!r}")


def test_a_long_series_is_seen_at_once_stopped_and_gone_on_with(opened: Driver, tmp_path: Path) -> None:
    path = tmp_path / "long.nii.gz"
    write(phantom_volume("ct", seed=4, slices=LONG, size=64), path)
    drop(opened, path)
    status = "document.querySelector('#mq-status').innerText"
    until(opened, f"/Assessing long.nii.gz: [0-9]+ of {LONG}/.test({status})")
    assert opened.execute_script("return document.querySelector('#mq-status progress').value") < 100
    opened.find_elements(By.CSS_SELECTOR, "#mq-series label")[-1].click()
    stage(opened).send_keys(Keys.END)
    until(opened, f"document.querySelector('[data-viewer=main]').dataset.shown.endsWith(':{LONG - 1}')")
    press(opened, "mq-stop")
    until(opened, f"{status}.startsWith('Stopped')")
    press(opened, "mq-go")
    until(opened, f"/Assessing long.nii.gz: [0-9]+ of {LONG}/.test({status})")
    press(opened, "mq-stop")
    until(opened, f"{status}.startsWith('Stopped')")
    assert "stopped" in opened.find_elements(By.CSS_SELECTOR, "#mq-series label")[-1].text


def test_a_file_that_failed_has_its_row(opened: Driver, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no image")
    drop(opened, path)
    until(opened, "document.querySelector('#mq-status').innerText.includes('notes.txt: ')")
    tab(opened, "Worklist")
    text = "document.querySelector('#mq-table').innerText"
    until(opened, f"{text}.includes('notes.txt') && {text}.includes('failed: ')")
    choose(opened, "#mq-filter", "failed")
    until(opened, f"!{text}.includes('long.nii.gz') && {text}.includes('notes.txt')")
    choose(opened, "#mq-filter", "all")
    until(opened, f"{text}.includes('long.nii.gz')")
    tab(opened, "Read")


def test_quick_replies_bring_a_picture_and_leave_what_is_typed(opened: Driver) -> None:
    for label in opened.find_elements(By.CSS_SELECTOR, "#mq-series label"):
        if label.text.startswith("CT, metal"):
            label.click()
    tab(opened, "Chat")
    box = "document.querySelector('#mq-question textarea, #mq-question input')"
    until(opened, f"{box}.offsetParent")
    quick = {one.text: one for one in opened.find_elements(By.CSS_SELECTOR, "#mq-quick button")}
    quick["Is it good enough for \u2026?"].click()
    until(opened, f"document.activeElement === {box} && {box}.value.startsWith('Is it good')")
    opened.switch_to.active_element.send_keys("planning?")
    assert opened.execute_script(f"return {box}.value") == "Is it good enough for planning?"
    quick["Where is the problem?"].click()
    picture = "document.querySelector('#mq-chat .bot img.mq-answer')"
    until(opened, f"{picture} && {picture}.complete && {picture}.naturalWidth > 100")
    assert opened.execute_script(f"return {box}.value") == "Is it good enough for planning?"
    quick["Compare with the previous"].click()
    bots = "[...document.querySelectorAll('#mq-chat .bot.message')]"
    until(opened, f"{bots}.length === 2 && {bots}[1].innerText.includes('A is CT, metal')")
    until(opened, "document.querySelector('#mq-chat').scrollWidth <= document.querySelector('#mq-chat').clientWidth")
    tab(opened, "Assessment")


def test_a_page_that_is_loaded_again_keeps_its_studies(opened: Driver) -> None:
    names = "[...document.querySelectorAll('#mq-series label')].map((one) => one.innerText.split('\\n')[0])"
    before, shown = opened.execute_script(f"return [{names}, medq.viewers.main.study.name]")
    opened.execute_script("document.querySelector('[data-comment]').value = 'kept'")
    opened.execute_script(
        "document.querySelector('[data-comment]').dispatchEvent(new Event('change', {bubbles: true}))"
    )
    until(opened, "document.querySelector('[data-saved]').textContent === 'Saved'")
    opened.refresh()
    with contextlib.suppress(NoAlertPresentException):  # there is a review that no report holds
        opened.switch_to.alert.accept()
    until(opened, f"window.medq && {names}.length === {len(before)}")
    assert opened.execute_script(f"return {names}") == before
    until(opened, f"medq.viewers.main.study && medq.viewers.main.study.name === {shown!r}")
    assert until(opened, "document.querySelector('[data-comment]').value") == "kept"
    for stop in opened.find_elements(By.ID, "mq-stop"):  # not on the page while nothing runs
        if stop.is_displayed():
            stop.click()
