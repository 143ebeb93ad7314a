"""JSON-RPC over a WebSocket from pages in a real browser: of the server itself, and of another one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from tests.jsonrpc.conftest import serving

APPS = Path(__file__).parents[1] / "apps"

TALK = """
const [url, messages, done] = [arguments[0], arguments[1], arguments[arguments.length - 1]];
const socket = new WebSocket(url), said = [];
socket.onopen = () => messages.forEach((message) => socket.send(JSON.stringify(message)));
socket.onmessage = (event) => {
  const message = JSON.parse(event.data);
  said.push(message);
  if (message.id === messages[messages.length - 1].id) socket.close();
};
socket.onclose = (event) => done([said, event.wasClean]);
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[list[str]]:
    with serving("conversing:app", APPS) as one, serving("conversing:app", APPS) as other:
        yield [one, other]


def talk(driver: webdriver.Chrome, page: str, server: str, *messages: Any) -> tuple[list[Any], bool]:
    """Return what a page is told by a server, and whether the connection was closed as it should be."""
    driver.get(page)
    said, was_clean = driver.execute_async_script(TALK, f"{server.replace('http', 'ws', 1)}/api", messages)
    return said, was_clean


def counts(call_id: int) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": call_id, "method": "counts", "params": {"n": 2000}}


def test_a_page_of_the_server_calls_and_is_told_of_progress(chromium: webdriver.Chrome, servers: list[str]) -> None:
    said, was_clean = talk(chromium, servers[0], servers[0], counts(1))
    assert said[0]["params"] == {"id": 1, "done": 0, "total": 2000, "message": "counting"}
    assert said[-1] == {"jsonrpc": "2.0", "id": 1, "result": 2000}
    assert was_clean


def test_a_page_of_another_server_may_not(chromium: webdriver.Chrome, servers: list[str]) -> None:
    assert talk(chromium, servers[1], servers[0], counts(1)) == ([], False)
    chromium.get_log("browser")  # where it says so; nobody else is to find it there
