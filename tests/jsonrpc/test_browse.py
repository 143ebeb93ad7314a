"""The page at /api/browse in a real browser (Chromium), against a real server: methods, forms and calls."""

from __future__ import annotations

import json
import re
import subprocess

from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from tests.jsonrpc.browser import PATIENCE_S, Page


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
    page.open("Shop.find")
    page.write_request('{"jsonrpc":"2.0","method":"Shop.find","params":{"key":"it\'s \\"5\\" €"},"id":1}')
    command = page.copied("curl")
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

    page.open()
    page.prefer("light")
    light = ground()
    page.prefer("dark")
    dark = ground()
    assert light != dark
    page.press("theme")
    assert (page.one("#theme").text, ground()) == ("☀ Light", light)
    page.open()
    assert ground() == light
    page.press("theme")
    page.prefer("light")
    assert ground() == dark
    page.press("theme")


def test_on_a_phone_short_texts_of_a_table_stand_in_one_line(page: Page) -> None:
    with page.on_a_phone():
        page.open("Data.wide").press("call")
        page.answer()
        lines = page.driver.execute_script(
            "return [...document.querySelectorAll('tbody tr:first-child td')].map((cell) => {"
            "  const range = document.createRange(); range.selectNodeContents(cell);"
            "  return range.getClientRects().length;"
            "})"
        )
        assert lines[:7] == [1] * 7
        assert 1 < lines[7] < 10


def test_on_a_phone_nothing_is_wider_than_the_screen(page: Page) -> None:
    with page.on_a_phone():
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
        for method in ("Shop.order", "Shop.find", "Math.add", "Data.sales"):
            page.open(method)
            page.press("call")
            page.answer()
            assert page.driver.execute_script("return document.querySelector('main').scrollWidth") <= 360
            assert page.driver.execute_script("return document.documentElement.scrollWidth") <= 360


def test_every_control_has_a_name(page: Page) -> None:
    for method in ("Shop.order", "Shop.find", "Shop.restock"):
        page.open(method)
        for box in page.all('#form input[type="checkbox"]'):
            if not box.is_selected():
                box.click()
        for control in page.all("button, input, textarea, select, a"):
            if control.is_displayed():
                assert control.accessible_name.strip(), control.get_attribute("outerHTML")
