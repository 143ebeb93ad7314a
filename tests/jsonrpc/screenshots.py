"""Takes the pictures of the page that the documentation shows: `python -m tests.jsonrpc.screenshots`."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from tests.jsonrpc.browser import Page, chromium
from tests.jsonrpc.conftest import serving

IMAGES = Path(__file__).parents[2] / "docs" / "images"


@contextmanager
def screen(driver: webdriver.Chrome, width: int, height: int, **more: Any) -> Iterator[None]:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False, **more}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    yield
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def take(page: Page, name: str) -> None:
    """Write a picture of what the screen shows, with the top of the page at its top and nothing in focus."""
    page.driver.execute_script("document.activeElement.blur(); document.querySelector('main').scrollTo(0, 0)")
    data = page.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    (IMAGES / f"{name}.png").write_bytes(base64.b64decode(data))


def call(page: Page, view: str) -> None:
    page.press("call")
    page.answer()
    page.view(view)


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as profile,
        serving("gallery:with_gallery()", Path(__file__).parent) as address,
        chromium(Path(profile)) as driver,
    ):
        page = Page(driver, address)
        with screen(driver, 1240, 1200):
            page.prefer("light")
            page.open("Data.sales")
            page.send_optional("months")
            call(page, "Chart")
            take(page, "page-light")
        with screen(driver, 1240, 1260):
            page.prefer("dark")
            page.open("Shop.order")
            page.all("#form .group > button")[0].click()
            page.fill("name", "Merlot")
            page.fill("price", "12.5")
            page.send_optional("size")
            call(page, "Tree")
            take(page, "page-dark")
        with screen(driver, 390, 1420, mobile=True):
            page.prefer("light")
            page.open("Data.sales")
            call(page, "Chart")
            take(page, "page-phone")


if __name__ == "__main__":
    main()
