"""JSON-RPC methods that are `async def` under `demijohn serve`: awaited on the event loop, and answered as ever."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from demijohn.jsonrpc import Client, RemoteError

APPS = Path(__file__).parents[1] / "apps"


@pytest.fixture
def server(serve: Callable[..., Any]) -> Any:
    server = serve("awaiting_rpc:app", "--threads", "2", "--graceful-timeout", "20")
    server.wait_until_ready()
    return server


def post(server: Any, content: Any, path: str = "/api") -> tuple[int, Any, dict[str, str]]:
    """Return the status, the JSON that was answered or None, and the header fields."""
    connection = HTTPConnection("localhost")
    connection.sock = server.connect()
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    return response.status, json.loads(answer) if answer else None, dict(response.getheaders())


def call(method: str, id: Any = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params} | ({} if id is None else {"id": id})


FAILED = {
    "jsonrpc": "2.0",
    "error": {
        "name": "ServerError",
        "code": -32000,
        "message": "Server error",
        "data": {"message": "The method failed"},
    },
}


def test_fifty_waiting_calls_hold_no_thread(server: Any, gate: Any, in_background: Any) -> None:
    waiting = [in_background(post, server, call("wait", n, path=str(gate.path), n=n)) for n in range(50)]
    for _ in waiting:
        gate.wait_for_view()

    assert server.get("/").text == "Hello, World!"
    assert len(json.loads(server.get("/threads").text)) <= 5
    gate.open()
    assert [each.result()[1]["result"] for each in waiting] == list(range(50))


def test_awaited_methods_run_on_the_loop_and_plain_ones_never(server: Any) -> None:
    answers = post(server, [call("where"), call("plain", 2), call("where", 3)])[1]
    first, plain, last = (answer["result"] for answer in answers)
    assert first == last == {"thread": "demijohn-async", "path": "/api"}
    assert plain["thread"] != "demijohn-async"
    assert plain["path"] == "/api"


@pytest.mark.parametrize(("how", "logged"), [("exit", "SystemExit: 3"), ("cancelled", "CancelledError")])
def test_a_method_ends_no_more_than_its_call(server: Any, how: str, logged: str) -> None:
    assert post(server, call("fail", how=how))[:2] == (500, FAILED | {"id": 1})
    server.wait_for("Exception in the JSON-RPC method 'fail'")
    server.wait_for(logged)
    answers = post(server, [call("where"), call("fail", 2, how=how), call("where", 3), call("fail", None, how=how)])[1]
    assert ["result" in answer for answer in answers] == [True, False, True]
    assert answers[1] == FAILED | {"id": 2}


def results(server: Any, calls: list[Any]) -> list[Any]:
    return [answer["result"] for answer in post(server, calls, "/crowd")[1]]


def test_calls_of_a_batch_that_follow_each_other_wait_together(server: Any) -> None:
    # Each sees what the middleware set for it, whoever was there meanwhile.
    assert results(server, [call("meet", "a"), call("meet", "b"), call("meet", "c")]) == ["a", "b", "c"]


def test_as_many_calls_of_a_batch_wait_together_as_the_setting_says(server: Any) -> None:
    assert max(results(server, [call("most", n) for n in range(35)])) == 10


def test_a_plain_call_of_a_batch_begins_when_those_before_it_have_ended(server: Any) -> None:
    calls = [call("do", 1, n=1), call("do", 2, n=2), call("what_is_done", 3), call("do", 4, n=3), call("nope", 5)]
    answers = post(server, calls, "/crowd")[1]
    assert [answer["id"] for answer in answers] == [1, 2, 3, 4, 5]
    assert sorted(answers[2]["result"]) == [1, 2]
    assert answers[4]["error"]["code"] == -32601


CONTENTS = {
    "result": call("created"),
    "decorated": call("decorated", n=3),
    "made a plain function": call("made_plain", n=3),
    "decorated, in a batch": [call("decorated", 1, n=1), call("made_plain", 2, n=2), call("decorated", 3, n="x")],
    "error": call("fail", how="error"),
    "abort": call("fail", how="abort"),
    "exception": call("fail", how="exception"),
    "wrong result": call("fail", how="result"),
    "wrong params": call("fail", how=1),
    "no such method": call("nope"),
    "refused by its auth": call("secret"),
    "notification": call("created", None),
    "failing notification": call("fail", None, how="exception"),
    "notification that is refused": call("answered", None),
    "method that is no string": {"jsonrpc": "2.0", "id": 1, "method": []},
    "wrong version": {"jsonrpc": "1.0", "id": 1, "method": "created"},
    "no object": 1,
    "no JSON": b"{",
    "empty batch": [],
    "batch": [call("created"), 1, call("fail", 2, how="error"), call("fail", None, how="abort"), call("plain", 3)],
    "batch of notifications": [call("created", None), call("fail", None, how="error")],
    "unknown method of the specification": call("rpc.nothing"),
}


def test_on_the_loop_calls_are_answered_as_without_one(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(APPS)
    client = importlib.import_module("awaiting_rpc").app.test_client()
    for name, content in CONTENTS.items():
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        without = client.post("/api", data=body, content_type="application/json")
        status, answer, headers = post(server, content)
        assert (status, essence(answer)) == (without.status_code, essence(without.get_json(silent=True))), name
        assert headers.get("X-Made") == without.headers.get("X-Made"), name
    assert post(server, CONTENTS["decorated"])[1] == {"id": 1, "jsonrpc": "2.0", "result": 3}
    assert post(server, CONTENTS["made a plain function"])[1]["result"] == 3


def essence(answer: Any) -> Any:
    """An answer without the name of the thread in it."""
    return json.loads(re.sub(r'"thread": "[^"]*"', '"thread": ""', json.dumps(answer)))


def test_each_of_the_calls_that_wait_together_has_a_span_of_its_own(serve: Callable[..., Any]) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="pip install -r requirements-dev.lock")
    server = serve("traced_rpc:app", "--threads", "2")
    server.wait_until_ready()
    _, answers, headers = post(server, [call("meet", f"call {name}", name=name) for name in "abc"])
    assert [answer["result"] for answer in answers] == ["a", "b", "c"]
    assert json.loads(server.get("/spans").text) == [["a", "call a"], ["b", "call b"], ["c", "call c"]]
    assert re.fullmatch(r'batch;desc="3 calls";dur=[\d.]+, meet;desc="3 calls";dur=[\d.]+', headers["Server-Timing"]), (
        headers
    )


def test_a_call_that_its_caller_has_cancelled_is_traced_as_that(serve: Callable[..., Any], gate: Any) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="pip install -r requirements-dev.lock")
    server = serve("traced_rpc:app", "--threads", "2", "--workers", "1")
    server.wait_until_ready()
    with Client("ws://{}:{}/api".format(*server.address)) as client:
        running = client.start("wait", [str(gate.path)])
        gate.wait_for_view()
        running.cancel()
        with pytest.raises(RemoteError) as cancelled:
            running.result(30.0)
        assert cancelled.value.code == -32800
    assert json.loads(server.get("/codes").text) == ["-32800"]
