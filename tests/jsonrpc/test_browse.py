"""The page at /api/browse in a real browser (Chromium), against a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium")

from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER), reason="needs a browser: apt-get install chromium chromium-driver"
)
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


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of `demijohn serve` with the application of gallery.py."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "DEMIJOHN_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "demijohn", "serve", "-b", "127.0.0.1:0", "gallery:with_gallery()"],
        cwd=Path(__file__).parent,
        env=environ | {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        printed = ""
        for line in process.stdout:
            printed += line
            if "Worker ready" in line:
                break
        address = re.search(r"Listening at: (http://[\d.]+:\d+)", printed)
        assert address, printed
        yield address[1]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
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


@pytest.fixture
def page(chromium: webdriver.Chrome, url: str) -> Iterator[Page]:
    chromium.get_log("browser")
    yield Page(chromium, url)
    # A failed call is told to the console too; anything else there is a fault of the page, or a breach of its policy.
    told = [
        entry
        for entry in chromium.get_log("browser")
        if "the server responded with a status of" not in entry["message"]
    ]
    assert told == []


def test_the_page_lists_the_methods_and_calls_one(page: Page) -> None:
    page.open()
    assert "App.index\nSay welcome." in page.texts("nav a")
    assert page.one("h1").text == "App.index"
    assert page.one(".signature").text == "() → string"
    page.press("call")
    assert page.result() == "Welcome to JSON-RPC"
    assert "HTTP 200" in page.one(".facts").text
    assert re.search(r"[\d.]+ ms", page.one("#latency").text)


def test_choosing_a_method_shows_it_and_makes_a_link_to_it(page: Page) -> None:
    page.open()
    page.one('nav a[href="#Math.add"]').click()
    page.wait(lambda _: page.one("h1").text == "Math.add")
    assert page.driver.current_url.endswith("#Math.add")
    assert page.one("nav a[aria-current]").text.startswith("Math.add")
    assert page.one(".signature").text == "(a: integer, b?: integer) → integer"


def test_the_form_writes_the_request_and_the_request_fills_the_form(page: Page) -> None:
    page.open("Math.add")
    page.fill("a", "40")
    assert page.request["params"] == {"a": 40}
    page.send_optional("b")
    assert page.request["params"] == {"a": 40, "b": 2}
    page.write_request('{"jsonrpc":"2.0","method":"Math.add","params":{"a":1,"b":5},"id":"x"}')
    assert [page.field(name).get_property("value") for name in "ab"] == ["1", "5"]
    page.press("call")
    assert page.result() == 6


def test_integers_keep_all_their_digits(page: Page) -> None:
    page.open("Math.add")
    page.fill("a", "123456789012345678901234567890")
    page.press("call")
    assert page.result() == 123456789012345678901234567892


def test_a_field_that_is_filled_in_wrongly_is_marked_and_not_taken_over(page: Page) -> None:
    page.open("Math.add")
    page.fill("a", "x")
    assert page.field("a").get_attribute("aria-invalid") == "true"
    assert page.one(".problem").text == "A field is not filled in rightly yet."
    page.fill("a", "7")
    assert page.one(".problem").text == ""
    assert page.request["params"] == {"a": 7}


def test_lists_of_objects_enums_dates_and_unions_have_fields(page: Page) -> None:
    page.open("Shop.order")
    page.one('[aria-label="items"] .group > button').click()
    page.fill("name", "demijohn")
    page.fill("price", "12.5")
    for name in ("size", "when", "priority"):
        page.send_optional(name)
    Select(page.field("size")).select_by_visible_text("large")
    Select(page.field("priority")).select_by_visible_text("3")
    Select(page.field("when")).select_by_visible_text("date")
    page.driver.execute_script(
        "const field = document.querySelector('[aria-label=when] input[type=date]');"
        "field.value = '2026-01-31'; field.dispatchEvent(new Event('input'))"
    )
    assert page.request["params"] == {
        "items": [{"name": "demijohn", "price": 12.5}],
        "size": "large",
        "when": "2026-01-31",
        "priority": 3,
    }
    page.press("call")
    assert page.result() == {
        "total": 12.5,
        "count": 1,
        "size": "large",
        "when": "2026-01-31",
        "priority": 3,
        "note": "",
        "paid": False,
    }
    page.one('[aria-label="Remove this item"]').click()
    assert page.request["params"]["items"] == []


def test_an_error_is_shown_with_its_code_and_its_sentence(page: Page) -> None:
    page.open("Math.divide")
    page.press("call")
    assert page.answer() == "Error 1001"
    assert page.one(".told").text == "Division by zero: b must not be 0"
    assert "HTTP 400" in page.one(".facts").text
    page.open("broken")
    page.press("call")
    assert page.answer() == "Error -32000"
    assert "flooded" not in page.one("#response").text


def test_text_that_is_no_json_can_be_sent_to_see_what_happens(page: Page) -> None:
    page.open("Math.add")
    page.write_request("{nope")
    assert page.one("#request").get_attribute("aria-invalid") == "true"
    page.press("call")
    assert page.answer() == "Error -32700"


def test_a_notification_is_sent_without_an_id_and_not_answered(page: Page) -> None:
    page.open("App.index")
    page.press("notify")
    assert page.answer() == "No answer, as asked"
    assert "HTTP 204" in page.one(".facts").text


def test_a_batch_can_be_written_and_called(page: Page) -> None:
    page.open("App.index")
    page.write_request('[{"jsonrpc":"2.0","method":"App.index","id":1},{"jsonrpc":"2.0","method":"nope","id":2}]')
    page.press("call")
    assert page.answer() == "Batch"
    page.view("JSON")
    assert [member["id"] for member in json.loads(page.one("#result").text)] == [1, 2]


def test_methods_can_be_searched_and_reached_with_the_keyboard_alone(page: Page) -> None:
    page.open()
    page.one("body").send_keys("/")
    assert page.driver.switch_to.active_element.get_attribute("id") == "search"
    page.driver.switch_to.active_element.send_keys("divide")
    assert page.texts("nav a") == ["Math.divide\nDivide a by b."]
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.wait(lambda _: page.one("h1").text == "Math.divide")
    page.fill("b", "2")
    page.field("b").send_keys(Keys.CONTROL, Keys.ENTER)
    assert page.result() == 0.0


def test_a_search_for_nothing_says_so(page: Page) -> None:
    page.open()
    page.one("#search").send_keys("zzz")
    assert page.one("#list").text == "No method of that name."


def test_what_was_typed_is_kept_while_the_page_is_open(page: Page) -> None:
    page.open("Math.add")
    page.fill("a", "33")
    page.one('nav a[href="#App.index"]').click()
    page.wait(lambda _: page.one("h1").text == "App.index")
    page.one('nav a[href="#Math.add"]').click()
    page.wait(lambda _: page.one("h1").text == "Math.add")
    assert page.field("a").get_property("value") == "33"


def test_the_curl_command_does_what_the_page_does(page: Page) -> None:
    page.driver.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    page.open("Shop.find")
    page.write_request('{"jsonrpc":"2.0","method":"Shop.find","params":{"key":"it\'s \\"5\\" €"},"id":1}')
    page.press("curl")
    page.wait(lambda _: page.one("#curl").text == "Copied")
    command = page.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert command.startswith(f"curl -X POST '{page.url}/api' -H 'Content-Type: application/json' -d '")
    done = subprocess.run(
        ["sh", "-c", f"{command} -sS"], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert json.loads(done.stdout)["result"] == ['it\'s "5" €', None, None]


def test_methods_of_a_blueprint_are_called_at_its_own_url(page: Page) -> None:
    page.open("Admin.status")
    assert page.one(".request .faint").text == "POST /api/admin"
    page.press("call")
    assert page.result() == {"well": True}


def test_the_theme_is_the_systems_until_one_is_chosen(page: Page) -> None:
    def ground() -> str:
        return str(page.one("body").value_of_css_property("background-color"))

    def prefer(scheme: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    page.open()
    prefer("light")
    light = ground()
    prefer("dark")
    dark = ground()
    assert light != dark
    page.press("theme")
    assert (page.one("#theme").text, ground()) == ("☀ Light", light)
    page.open()
    assert ground() == light
    page.press("theme")
    prefer("light")
    assert ground() == dark
    page.press("theme")


def test_on_a_phone_nothing_is_wider_than_the_screen(page: Page) -> None:
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.open("Shop.order")
        page.one('[aria-label="items"] .group > button').click()
        assert not page.one("nav").is_displayed()
        page.press("menu")
        assert page.one("nav").is_displayed()
        page.one('nav a[href="#Math.add"]').click()
        page.wait(lambda _: page.one("h1").text == "Math.add")
        assert not page.one("nav").is_displayed()
        page.one("#call").click()
        assert page.result() == 2
        for method in ("Shop.order", "Shop.find", "Math.add"):
            page.open(method)
            assert page.driver.execute_script("return document.querySelector('main').scrollWidth") <= 360
            assert page.driver.execute_script("return document.documentElement.scrollWidth") <= 360
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_every_control_has_a_name(page: Page) -> None:
    for method in ("Shop.order", "Shop.find", "Shop.restock"):
        page.open(method)
        for box in page.all('#form input[type="checkbox"]'):
            if not box.is_selected():
                box.click()
        for control in page.all("button, input, textarea, select, a"):
            if control.is_displayed():
                assert control.accessible_name.strip(), control.get_attribute("outerHTML")
