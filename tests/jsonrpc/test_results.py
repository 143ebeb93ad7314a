"""Results that are rare: iterators, objects that fail when they are looked at."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import time, timedelta, timezone
from typing import Any

import pytest

from demijohn import Flask
from demijohn.jsonrpc import JSONRPC


class Unwilling:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no such thing")


def count() -> Iterator[int]:
    yield from range(3)


def break_down() -> Iterator[int]:
    yield 1
    raise KeyError("bottle")


def listed() -> list[int]:
    return (n for n in range(3))  # type: ignore[return-value]


def inside() -> dict[str, list[int]]:
    return {"a": (n for n in range(3))}  # type: ignore[dict-item]


@pytest.fixture
def app() -> Flask:
    app = Flask("results")
    jsonrpc = JSONRPC(app, "/api")
    for function in (count, break_down, listed, inside):
        jsonrpc.register(function)
    jsonrpc.register(lambda: Unwilling(), "unwilling")
    jsonrpc.register(lambda: object(), "thing")
    return app


def post(app: Flask, *methods: str) -> Any:
    calls = [{"jsonrpc": "2.0", "id": number, "method": method} for number, method in enumerate(methods)]
    return app.test_client().post("/api", json=calls if len(calls) > 1 else calls[0])


@pytest.mark.parametrize(
    ("method", "result"), [("count", [0, 1, 2]), ("listed", [0, 1, 2]), ("inside", {"a": [0, 1, 2]})]
)
def test_an_iterator_is_gone_through_once_and_answered_as_an_array(app: Flask, method: str, result: Any) -> None:
    assert post(app, method).json["result"] == result


def test_in_a_batch_too_whatever_stands_beside_it(app: Flask) -> None:
    answers = post(app, "count", "thing", "unwilling", "break_down", "listed").json
    assert [answer.get("result") for answer in answers] == [[0, 1, 2], None, None, None, [0, 1, 2]]
    assert [answer.get("error", {}).get("code") for answer in answers] == [None, -32603, -32603, -32603, None]


@pytest.mark.parametrize(
    ("method", "cause"), [("break_down", "KeyError: 'bottle'"), ("unwilling", "RuntimeError: no such thing")]
)
def test_what_a_result_raises_is_in_the_log_and_not_in_the_answer(
    app: Flask, caplog: pytest.LogCaptureFixture, method: str, cause: str
) -> None:
    answer = post(app, method)
    assert (answer.status_code, answer.content_type) == (500, "application/json")
    assert answer.json["error"]["data"] == {"message": "The result cannot be written as JSON"}
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert cause in logging.Formatter().format(record)


def test_a_time_with_an_offset_is_answered() -> None:
    app = Flask("times")
    JSONRPC(app, "/api").register(lambda: time(1, 2, tzinfo=timezone(timedelta(hours=2))), "when")
    assert post(app, "when").json["result"] == "01:02:00+02:00"
