"""The README's pictures of the reading room: python -m tests.app_screenshots [--out docs]

Not a test: run it after the page or the weights changed, and look at what it made.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from selenium.webdriver.common.by import By

from tests.app_browser import Driver, browser, choose, tab, until
from tests.app_server import running

SHOWN = ("Head CT", "Head CT, motion", "CT volume (phantom)", "Head MR, motion (phantom)")
SIZE = (1280, 800)


def main() -> None:
    """Open the examples, take the last one, light and dark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as name, running(Path(name)) as server, browser(Path(name)) as driver:
        driver.get(server.address)
        until(driver, "document.querySelector('[data-viewer=main][data-ready]')")
        frame = driver.execute_script("return [outerWidth - innerWidth, outerHeight - innerHeight]")
        driver.set_window_size(SIZE[0] + frame[0], SIZE[1] + frame[1])
        for number, example in enumerate(SHOWN, start=1):
            choose(driver, "#mq-example", example)
            until(driver, f"document.querySelectorAll('#mq-series label').length === {number}")
            until(driver, "!document.querySelector('#mq-status progress')")
        for theme in ("light", "dark"):
            if until(driver, "String(document.body.classList.contains('dark'))") != str(theme == "dark").lower():
                driver.find_element(By.CSS_SELECTOR, "[data-theme]").click()
            settled(driver)
            driver.save_screenshot(str(out / f"chat_{theme}.png"))
        for place in ("Compare", "Worklist"):
            tab(driver, place)
            settled(driver)
            driver.save_screenshot(str(out / f"chat_{place.lower()}.png"))


def settled(driver: Driver) -> None:
    """Wait until every picture that is shown has come."""
    until(driver, "[...document.images].every((one) => !one.offsetParent || one.complete)")
    driver.execute_async_script("setTimeout(arguments[0], 1500)")


if __name__ == "__main__":
    main()
