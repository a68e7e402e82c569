"""A real Chromium for tests of the page, and what a person does with it."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

PATIENCE_S = 120.0  # for a busy machine; nothing waits longer than it must
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Debian's chromium and chromium-driver")

Driver = webdriver.Chrome


@contextlib.contextmanager
def browser(downloads: Path) -> Iterator[Driver]:
    """A headless Chromium that saves what it downloads in a folder."""
    options = Options()
    options.binary_location = CHROMIUM or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                     "--disable-background-networking", "--disable-component-update"):  # fmt: skip
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=Service(DRIVER))
    made.set_page_load_timeout(PATIENCE_S)
    made.set_window_size(1280, 943)
    try:
        yield made
    finally:
        made.quit()


def until(driver: Driver, condition: str) -> Any:
    """The value of a JavaScript condition once it is true."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found = driver.execute_script(f"return {condition}")
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"never true: {condition}")


def narrowed(driver: Driver, width: int, height: int = 900) -> None:
    """A window of this size inside; a real one is never as narrow as a phone."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    until(driver, f"window.innerWidth === {width}")


def press(driver: Driver, name: str) -> None:
    """Click the button of this id once it is on the page: the words beside it may come first."""
    until(driver, f"document.getElementById('{name}')")
    driver.find_element(By.ID, name).click()


def drop(driver: Driver, path: Path) -> None:
    driver.find_element(By.CSS_SELECTOR, "#mq-upload input[type=file]").send_keys(str(path))


def tab(driver: Driver, name: str) -> None:
    buttons = driver.find_elements(By.CSS_SELECTOR, "button[role=tab]")
    next(one for one in buttons if one.text.strip() == name).click()


def pick(driver: Driver, index: int) -> None:
    """Choose a series of the list by its place, however often the list is drawn again meanwhile."""
    one = f"[...document.querySelectorAll('#mq-series label input')].at({index})"
    until(driver, f"((one) => one && (one.checked || (one.click(), false)))({one})")


def choose(driver: Driver, place: str, option: str) -> None:
    """Take an entry of a Gradio dropdown."""
    driver.find_element(By.CSS_SELECTOR, f"{place} input").click()
    entries = "[...document.querySelectorAll('[role=option]')]"
    until(driver, f"{entries}.find((one) => one.innerText.trim().endsWith({option!r}))").click()


def downloaded(folder: Path, pattern: str) -> Path:
    """The file of that name once it is complete."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if (found := list(folder.glob(pattern))) and not list(folder.glob("*.crdownload")):
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"never downloaded: {pattern}")


def stage(driver: Driver) -> Any:
    return driver.find_element(By.CSS_SELECTOR, "[data-viewer=main] .mq-stage")


def corner(driver: Driver, place: str) -> str:
    return str(driver.find_element(By.CSS_SELECTOR, f"[data-viewer=main] .mq-corner.{place}").text)
