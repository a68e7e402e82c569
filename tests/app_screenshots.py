"""The README's pictures of the reading room and of a report: python -m tests.app_screenshots [--out docs] [--report]

Not a test: run it after the page or the weights changed, and look at what it made.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path

from selenium.webdriver.common.by import By

from medq_vlm import cli
from medq_vlm.io.examples import CT_HEAD, example
from tests.app_browser import Driver, browser, choose, narrowed, tab, until
from tests.app_server import running

SHOWN = ("Head CT", "CT volume (phantom)", "Head MR, motion (phantom)", "CT, metal (phantom)")
SIZE = (1280, 800)


def main() -> None:
    """Open the examples, take the last one, light and dark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--report", action="store_true", help="only the report")
    args = parser.parse_args()
    out: Path = args.out
    report(out / "report.png")
    if args.report:
        return
    with tempfile.TemporaryDirectory() as name, running(Path(name)) as server, browser(Path(name)) as driver:
        driver.get(server.address)
        until(driver, "document.querySelector('[data-viewer=main][data-ready]')")
        frame = driver.execute_script("return [outerWidth - innerWidth, outerHeight - innerHeight]")
        driver.set_window_size(SIZE[0] + frame[0], SIZE[1] + frame[1])
        for number, example in enumerate(SHOWN, start=1):
            choose(driver, "#mq-example", example)
            until(driver, f"document.querySelectorAll('#mq-series label').length === {number}")
            until(driver, "!document.querySelector('#mq-status progress')")
        themed(driver, dark=False)
        driver.save_screenshot(str(out / "chat_light.png"))  # a box
        tab(driver, "Chat")
        for question in ("Where is the problem?", "Compare with the previous"):
            answered(driver, question)
        driver.save_screenshot(str(out / "chat_answer.png"))
        tab(driver, "Assessment")
        choose_series(driver, "Head MR, motion")
        driver.find_element(By.CSS_SELECTOR, "[data-viewer=main] [data-toggle=heat]").click()
        themed(driver, dark=True)
        driver.save_screenshot(str(out / "chat_dark.png"))  # a heat map
        for place in ("Compare", "Worklist"):
            tab(driver, place)
            settled(driver)
            driver.save_screenshot(str(out / f"chat_{place.lower()}.png"))


def report(target: Path) -> None:
    """A report on the bundled head CT with simulated motion."""
    with tempfile.TemporaryDirectory() as name, browser(Path(name)) as driver:
        image, page = "head_ct_motion.nii.gz", "report.html"
        with contextlib.chdir(name):  # the report shows the path as it was given
            cli.main(["degrade", str(example(CT_HEAD)), "--kind", "ct_motion", "--severity", "3", "--seed", "1",
                      "-o", image])  # fmt: skip
            cli.main(["report", image, "--modality", "ct", "--anatomy", "head", "-o", page])
        narrowed(driver, 1280, 1150)
        driver.get(Path(name, page).as_uri())
        driver.execute_script("document.documentElement.style.overflow = 'hidden'")  # no scroll bar
        driver.save_screenshot(str(target))


def themed(driver: Driver, dark: bool) -> None:
    if until(driver, "String(document.body.classList.contains('dark'))") != str(dark).lower():
        driver.find_element(By.CSS_SELECTOR, "[data-theme]").click()
    settled(driver)


def answered(driver: Driver, question: str) -> None:
    bots = "[...document.querySelectorAll('#mq-chat .bot.message')]"
    count = int(driver.execute_script(f"return {bots}.length"))
    next(one for one in driver.find_elements(By.CSS_SELECTOR, "#mq-quick button") if one.text == question).click()
    until(driver, f"{bots}.length === {count + 1} && {bots}[{count}].innerText.trim().length > 20")
    settled(driver)


def choose_series(driver: Driver, name: str) -> None:
    labels = driver.find_elements(By.CSS_SELECTOR, "#mq-series label")
    next(one for one in labels if one.text.startswith(name)).click()
    until(driver, f"document.querySelector('[data-viewer=main] .mq-corner.tl').innerText.startsWith({name!r})")


def settled(driver: Driver) -> None:
    """Wait until every picture that is shown has come."""
    until(driver, "[...document.images].every((one) => !one.offsetParent || one.complete)")
    driver.execute_async_script("setTimeout(arguments[0], 2500)")


if __name__ == "__main__":
    main()
