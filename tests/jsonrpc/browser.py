"""A real browser (Chromium) with the page of JSON-RPC, and what a person does there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE_S = 30
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
]


@contextmanager
def chromium(profile: Path) -> Iterator[webdriver.Chrome]:
    """Run Chromium with an empty profile; the test is skipped where there is none."""
    binary, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (binary and chromedriver):
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    try:
        yield driver
    finally:
        driver.quit()


class Page:
    """The page, and what a person does on it."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self, method: str = "") -> Page:
        self.driver.get("about:blank")  # so that a new fragment loads the page anew
        self.driver.get(f"{self.url}/api/browse{f'#{method}' if method else ''}")
        self.wait(lambda _: self.driver.find_element(By.TAG_NAME, "body").get_attribute("data-ready"))
        return self

    def wait(self, condition: Any) -> Any:
        # The page may draw an element anew between finding and reading it: then the condition is asked again.
        again = [NoSuchElementException, StaleElementReferenceException]
        return WebDriverWait(self.driver, PATIENCE_S, ignored_exceptions=again).until(condition)

    def one(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        return [node.text for node in self.all(selector)]

    def field(self, name: str) -> Any:
        """The control of the parameter of that name."""
        return self.one(f'#form [aria-label="{name}"] :is(input:not([type="checkbox"]), textarea, select)')

    def fill(self, name: str, text: str) -> None:
        field = self.field(name)
        field.clear()
        field.send_keys(text)

    def send_optional(self, name: str) -> None:
        self.one(f'#form [aria-label="{name}"] input[type="checkbox"]').click()

    @property
    def request(self) -> Any:
        return json.loads(self.one("#request").get_property("value"))

    def write_request(self, text: str) -> None:
        self.one("#request").clear()
        self.one("#request").send_keys(text)

    def press(self, button: str) -> None:
        self.one(f"#{button}").click()

    def answer(self) -> str:
        """What the pill says, once there is an answer and another call can be made."""
        self.wait(lambda _: self.all("#response .pill") and self.one("#call").is_enabled())
        return str(self.one("#response .pill").text)

    def view(self, name: str) -> None:
        """Have the result shown in another way; nothing when there is but one."""
        for button in self.all("#response .segments button"):
            if button.text == name:
                button.click()

    def result(self) -> Any:
        assert self.answer() == "Result", self.one("#response").text
        self.view("JSON")
        return json.loads(self.one("#result").text)

    def copied(self, button: str) -> str:
        """Press one of "Copy as", and return what is in the clipboard then."""
        permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
        self.driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": permissions})
        self.press(button)
        self.wait(lambda _: self.one(f"#{button}").text == "Copied")
        return str(self.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])"))

    def prefer(self, scheme: str) -> None:
        """Have the system be light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    @contextmanager
    def on_a_phone(self) -> Iterator[None]:
        metrics = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        try:
            yield
        finally:
            self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
