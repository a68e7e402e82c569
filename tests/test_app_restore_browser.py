"""Restoring in a real Chromium: the tab, the slider by keyboard, the change, a description that leads, the download."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from medq_vlm import checkpoint, restoring
from medq_vlm.io.examples import CT_SMALL, example
from medq_vlm.restore import weights
from tests.app_browser import browser, downloaded, drop, narrowed, needs_chromium, tab, until
from tests.app_server import Server, running
from tests.small_models import untrained_restorer

pytestmark = needs_chromium


# the picture's width over its height, once it is drawn in a window so wide
SHAPE = (
    "((box) => innerWidth === {} && box && Math.round(100 * box.width / box.height) / 100)"
    "(document.querySelector('.mq-before')?.getBoundingClientRect())"
)


def preset(folder: Path) -> Path:
    """The shipped preset with a small untrained restorer, which changes what it sees a little."""
    folder.mkdir()
    for path in checkpoint.preset_folder("nano").iterdir():
        if path.name not in (weights.META_FILE, weights.WEIGHTS_FILE):
            (folder / path.name).symlink_to(path)
    untrained_restorer(folder)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("app")
    with running(folder, "--preset", str(preset(folder / "nano"))) as made:
        yield made


def test_an_image_is_restored_compared_led_by_words_and_taken_away(server: Server, tmp_path: Path) -> None:
    with browser(tmp_path) as driver:
        driver.get(server.address)
        until(driver, "document.querySelector('[data-viewer=main][data-ready]')")
        drop(driver, example(CT_SMALL))
        until(driver, "document.querySelector('#mq-panel-box .mq-panel .mq-score')")
        for width, least in ((390, 330), (768, 200)):
            narrowed(driver, width)
            assert until(driver, "document.getElementById('mq-upload').clientWidth") > least
            until(driver, "document.getElementById('mq-panel-box').style.maxHeight === 'none'")  # the page scrolls
        narrowed(driver, 1400)
        until(driver, "document.getElementById('mq-panel-box').style.maxHeight !== 'none'")
        tab(driver, "Restore")
        until(driver, "document.querySelector('#mq-lead-text textarea').value.length > 10")
        assert "not for diagnosis" in driver.find_element(By.CSS_SELECTOR, ".mq-derived").text
        box = driver.find_element(By.CSS_SELECTOR, "#mq-lead-text textarea")
        box.clear()
        box.send_keys("Severe low-dose noise.")
        driver.find_element(By.CSS_SELECTOR, "#mq-restore-again").click()
        loaded = "document.querySelector('.mq-{}') && document.querySelector('.mq-{}').naturalWidth"
        assert until(driver, loaded.format("before", "before")) == until(driver, loaded.format("after", "after")) == 128
        assert "your description" in driver.find_element(By.CSS_SELECTOR, "#mq-restore-facts").text
        share = "getComputedStyle(document.querySelector('.mq-pair')).getPropertyValue('--share').trim()"
        assert until(driver, share) == "50%"
        driver.find_element(By.CSS_SELECTOR, "[data-share]").send_keys(Keys.ARROW_RIGHT)  # by keyboard
        until(driver, f"{share} === '50.5%'")
        for width in (390, 768, 1400):
            narrowed(driver, width)
            assert until(driver, SHAPE.format(width)) == 1.0  # a patient is never stretched
        driver.find_element(By.CSS_SELECTOR, "[data-mode=residual]").click()
        assert until(driver, loaded.format("change", "change")) > 128  # with its scale
        driver.find_element(By.CSS_SELECTOR, "[data-mode=slider]").click()
        driver.save_screenshot(str(tmp_path / "restore.png"))
        driver.find_element(By.CSS_SELECTOR, "[data-export=restored]").click()
        archive = zipfile.ZipFile(downloaded(tmp_path, "medq-*-restored.zip"))
        result = json.loads(archive.read(next(name for name in archive.namelist() if name.endswith(".json"))))
        restoring.validate(result)
        assert result["description"]["from"] == "user" and result["treated"] == ["low_dose_noise"]
        box.clear()
        box.send_keys("Make it nice.")
        driver.find_element(By.CSS_SELECTOR, "#mq-restore-again").click()
        until(driver, "document.querySelector('.mq-before') && !document.querySelector('.mq-after')")
        assert until(driver, loaded.format("before", "before")) == 128  # the picture stays
        assert "in CT images it treats" in driver.find_element(By.CSS_SELECTOR, "#mq-restored-box").text
        bad = [one["message"] for one in driver.get_log("browser") if one["level"] == "SEVERE"]
        assert bad == []
    left = [path for path in server.folder.rglob("*") if path.is_file() and path.suffix in (".dcm", ".png", ".tif")]
    assert left == []  # memory only
