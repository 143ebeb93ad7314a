"""What the page at /api/browse has beside the form, in a real browser: results, batches, history, headers, copies."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.jsonrpc.browser import PATIENCE_S, Page

AXE = "axe-core@4.10.3"


def shown_as(page: Page) -> list[str]:
    return page.texts("#response .segments button")


# -- results ----------------------------------------------------------------------------------------


def test_a_data_frame_is_a_table_that_can_be_sorted(page: Page) -> None:
    page.open("Data.sales")
    page.press("call")
    assert page.answer() == "Result"
    assert shown_as(page) == ["Table", "Tree", "Chart", "JSON"]
    assert page.texts("#response th") == ["month", "red", "white"]
    assert page.texts("#response tbody tr:first-child td") == ["January", "42", "30"]
    red = page.all("#response th button")[1]
    red.click()
    assert page.texts("#response td:nth-child(2)")[:3] == ["38", "42", "47"]
    red.click()
    assert page.one("#response th:nth-child(2)").get_attribute("aria-sort") == "descending"
    assert page.texts("#response td:nth-child(2)")[:3] == ["80", "76", "71"]


def test_columns_of_numbers_are_a_chart(page: Page) -> None:
    page.open("Data.sales")
    page.press("call")
    page.answer()
    page.view("Chart")
    assert page.one("#response svg").get_attribute("aria-label") == "Chart of red, white: 10 values from 30 to 91"
    heights = [float(bar.get_attribute("height")) for bar in page.all("#response .c0 rect")]
    sold = [42, 38, 51, 47, 60, 58, 71, 66, 80, 76]
    assert heights == pytest.approx([heights[0] * litres / 42 for litres in sold])


def test_a_picture_is_shown(page: Page) -> None:
    page.open("Data.sky")
    page.press("call")
    assert page.answer() == "Result"
    page.wait(lambda _: page.one("#response img").get_property("naturalWidth") == 320)
    assert page.one("#response img").get_property("naturalHeight") == 180


def test_a_tree_opens_and_closes(page: Page) -> None:
    page.open("Shop.restock")
    page.write_request(
        '{"jsonrpc":"2.0","method":"Shop.restock","params":[{"name":"x","price":1,"tags":["a","b"]}],"id":1}'
    )
    page.press("call")
    page.answer()
    assert page.texts("#response .leaf") == ['name: "x"', "price: 1.0", '0: "a"', '1: "b"']
    page.all("#response summary")[1].click()
    page.wait(lambda _: len([leaf for leaf in page.all("#response .leaf") if leaf.is_displayed()]) == 2)


def test_a_text_of_megabytes_is_a_result_whose_beginning_is_shown(page: Page) -> None:
    page.open("Data.long")
    page.press("call")
    assert page.answer() == "Result"
    written = page.one("#result").get_property("textContent")
    assert written == ('"' + r"a \"word\"\n, " * 40_000)[:500_000]
    assert page.texts("#response .empty") == ["12727402 characters, the first 500000 are shown"]


def test_long_values_of_a_table_and_a_tree_are_cut(page: Page) -> None:
    page.open("collect")
    page.write_request(
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "collect", "params": {"a": "x" * 3000, "b": "\n" * 3}})
    )
    page.press("call")
    assert page.answer() == "Result"
    page.view("Tree")
    assert f'a: "{"x" * 1999}… (3002 characters)' in page.texts("#response .leaf")
    page.view("JSON")
    assert page.result() == [[], {"a": "x" * 3000, "b": "\n" * 3}]


# -- forms --------------------------------------------------------------------------------------------


def test_the_content_of_a_file_becomes_the_value(page: Page, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("one\ntwo\nthree €\n", encoding="utf-8")
    page.open("Data.lines")
    page.one('#form input[type="file"]').send_keys(str(lines))
    page.wait(lambda _: page.request["params"] == {"content": lines.read_text("utf-8")})
    page.press("call")
    assert page.result() == 3


def test_a_picture_is_sent_from_a_file(page: Page) -> None:
    icon = Path(__file__).parents[2] / "docs" / "images" / "page-phone.png"
    page.open("Data.size")
    page.one('#form input[type="file"]').send_keys(str(icon))
    page.wait(lambda _: page.request["params"]["picture"].startswith("data:image/png;base64,"))
    page.press("call")
    width, height = page.result()
    assert width < height


def test_classes_that_hold_themselves_and_tuples_have_fields(page: Page) -> None:
    page.open("Box.open")
    page.send_optional("boxes")
    page.one('[aria-label="boxes"] .either > select').send_keys("array")
    page.one('[aria-label="boxes"] .group > button').click()
    assert page.request["params"]["box"] == {"boxes": [{}]}
    page.send_optional("corner")
    page.fill("1.", "7")
    assert page.request["params"]["corner"] == [7, "left"]
    page.press("call")
    assert page.result() == [{"cat": None, "boxes": [{"cat": None, "boxes": None}]}, [7, "left"]]


def test_members_of_any_name_can_be_added(page: Page) -> None:
    page.open("Shop.find")
    page.send_optional("labels")
    page.one('[aria-label="labels"] .either > select').send_keys("object")
    page.one('[aria-label="labels"] .group > button').click()
    page.one('[aria-label="labels"] [aria-label="Name"]').send_keys("red")
    assert page.request["params"]["labels"] == {"red": 0}


def test_an_example_fills_the_form(page: Page) -> None:
    page.open("Data.sales")
    page.one(".examples button").click()
    assert page.request["params"] == {"months": 3}
    assert page.field("months").get_property("value") == "3"


# -- calls ----------------------------------------------------------------------------------------------


def test_calls_are_collected_and_sent_as_one_batch(page: Page) -> None:
    page.open("Math.add")
    page.press("add-to-batch")
    page.one('nav a[href="#Math.divide"]').click()
    page.wait(lambda _: page.one("h1").text == "Math.divide")
    page.press("add-to-batch")
    assert page.one("#batch h2").text.startswith("Batch of 2")
    page.press("call-batch")
    assert page.answer() == "Batch"
    assert page.texts(".answers .pill") == ["Result", "Error 1001"]
    page.view("JSON")
    assert [member["id"] for member in json.loads(page.one("#result").text)] == [1, 2]
    page.one('#batch [aria-label="Remove call 1"]').click()
    assert page.one("#batch h2").text.startswith("Batch of 1")


def test_a_call_is_repeated_and_its_latencies_are_told(page: Page) -> None:
    page.open("Math.add")
    page.one("#times").clear()
    page.one("#times").send_keys("7")
    page.press("repeat")
    assert page.answer() == "7 calls"
    assert page.texts("#figures dt") == ["fastest", "median", "95 %", "slowest", "per second"]
    fastest, median, _, slowest = (float(text.removesuffix(" ms")) for text in page.texts("#figures dd")[:4])
    assert 0 < fastest <= median <= slowest
    assert len(page.all("#response circle")) == 7


def test_headers_and_a_token_go_with_each_call_and_into_copies(page: Page) -> None:
    page.open("App.headers")
    page.press("headers")
    page.one("#auth-scheme").send_keys("Bearer")
    page.one("#auth-token").send_keys("s3cret")
    page.press("add-header")
    page.one('[aria-label="Name of the header"]').send_keys("X-Tenant")
    page.one('[aria-label="Value of the header"]').send_keys("cellar")
    page.one("dialog .primary").click()
    assert page.one("#headers").text == "Headers · 2"
    page.press("call")
    assert page.result() == {"Authorization": "Bearer s3cret", "X-Tenant": "cellar"}
    assert "-H 'Authorization: Bearer s3cret'" in page.copied("curl")


def test_the_history_brings_a_call_back(page: Page) -> None:
    page.open("Math.add")
    page.fill("a", "40")
    page.press("call")
    page.answer()
    page.open("App.index")
    page.one("#history summary").click()
    assert page.texts("#history .pill") == ["Result"]
    page.one("#history li button").click()
    page.wait(lambda _: page.one("h1").text == "Math.add")
    assert page.field("a").get_property("value") == "40"


def test_a_link_fills_the_form_and_calls_nothing(page: Page) -> None:
    page.open("Math.add")
    page.fill("a", "12345678901234567890")
    link = page.copied("link")
    page.driver.get("about:blank")
    page.driver.get(link)
    page.wait(lambda _: page.one("body").get_attribute("data-ready"))
    assert page.request["params"] == {"a": 12345678901234567890}
    assert page.field("a").get_property("value") == "12345678901234567890"
    assert page.one("#response").text == "Response\nNothing called yet."


# -- copies ---------------------------------------------------------------------------------------------


def printed(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout


KEY = 'it\'s "5" €\n'
AWKWARD = '{"jsonrpc":"2.0","method":"Shop.find","params":{"key":"it\'s \\"5\\" €\\n","labels":null},"id":1}'
BATCH = '[{"jsonrpc":"2.0","method":"Math.add","params":[1],"id":1},{"jsonrpc":"2.0","method":"App.index"}]'


def test_the_python_program_does_what_the_page_does(page: Page) -> None:
    page.open("Shop.find")
    page.write_request(AWKWARD)
    assert printed([sys.executable, "-c", page.copied("python")]) == f"{[KEY, None, None]}\n"
    page.wait(lambda _: page.one("#python").text == "Python")
    page.write_request(BATCH)
    assert printed([sys.executable, "-c", page.copied("python")]) == "3\n"


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js: apt-get install nodejs")
def test_the_javascript_program_does_what_the_page_does(page: Page) -> None:
    node = ["node", "--input-type=module", "-e"]
    page.open("Shop.find")
    page.write_request(AWKWARD)
    assert 'result: [ `it\'s "5" €\\n`, null, null ]' in printed([*node, page.copied("javascript")])
    page.open("Math.add")
    page.fill("a", "12345678901234567890")
    assert "12345678901234567890" in page.copied("javascript")


# -- accessibility ----------------------------------------------------------------------------------------


def violations(page: Page, axe: str) -> list[Any]:
    page.driver.execute_script(axe)
    found = page.driver.execute_async_script("axe.run().then(arguments[0])")
    assert len(found["passes"]) > 10
    return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_to_object_to(page: Page, npm_package: Callable[[str], Path], scheme: str) -> None:
    axe = (npm_package(AXE) / "axe.min.js").read_text("utf-8")
    page.prefer(scheme)
    page.open("Shop.order")
    page.one('[aria-label="items"] .group > button').click()
    for box in page.all('#form input[type="checkbox"]'):
        box.click()
    page.press("add-to-batch")
    page.press("call")
    page.answer()
    page.one("#history summary").click()
    assert violations(page, axe) == []
    page.press("call-batch")
    page.answer()
    assert violations(page, axe) == []
    for method in ("Data.sales", "Math.divide", "Data.sky", "Box.open", "Shop.find"):
        page.open(method)
        page.press("call")
        page.answer()
        for view in shown_as(page) or ["JSON"]:
            page.view(view)
            assert violations(page, axe) == [], (method, view)
    page.press("headers")
    page.press("add-header")
    assert violations(page, axe) == []
    with page.on_a_phone():
        page.open("Data.sales")
        page.press("call")
        page.answer()
        assert violations(page, axe) == []
        page.press("menu")
        assert violations(page, axe) == []
