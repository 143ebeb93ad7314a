"""JSON-RPC 2.0 as a stranger would try it: each content by POST and over a WebSocket of one server, with its answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

PATIENCE_S = 30.0
APP = """
from demijohn import Flask
from demijohn.jsonrpc import JSONRPC

app = Flask("judged")
jsonrpc = JSONRPC(app, "/api", websocket=True)


@jsonrpc.method()
def subtract(minuend: int, subtrahend: int) -> int:
    return minuend - subtrahend


@jsonrpc.method()
def echo(value):
    return value


@jsonrpc.method()
async def aecho(value):
    return value


@jsonrpc.method()
def get_data():
    return ["hello", 5]


@jsonrpc.method()
def kw(a, *, b=2, **c):
    return [a, b, c]


@jsonrpc.method("nan")
def nan():
    return [float("nan"), float("inf")]


@jsonrpc.method()
def lone():
    return "\\ud800"


@jsonrpc.method()
def err():
    raise ValueError("secret")


@jsonrpc.method("RPC.x")
def upper():
    return "upper"


@jsonrpc.method("rpc")
def rpc():
    return "rpc"


@jsonrpc.method("é☃")
def unicode():
    return "unicode"
"""
SILENT = object()
PARSE, REQUEST, METHOD, PARAMS = -32700, -32600, -32601, -32602


def request(method: str, params: str = "", id: str = "1", version: str = '"2.0"') -> str:
    """Return a Request object whose members are JSON texts; those that are empty are left out."""
    members = {"jsonrpc": version, "method": method, "params": params, "id": id}
    return "{" + ",".join(f'"{name}":{text}' for name, text in members.items() if text) + "}"


def result(value: Any, id: Any = 1) -> dict[str, Any]:
    return {"id": id, "jsonrpc": "2.0", "result": value}


def error(code: int, id: Any = None) -> tuple[int, Any]:
    return code, id


DATA = request('"get_data"')
IDS = {
    "1": 1, "0": 0, "-1": -1, "1.5": 1.5, '"x"': "x", '""': "", "null": None, "1e3": 1000.0, "1.0": 1.0,
    "9007199254740993": 2**53 + 1, "18446744073709551616": 2**64, "1" + "0" * 40: 10**40, '"\\u0000"': "\0",
    '"\\ud83d\\ude00"': "😀", "-0": 0, "0.1e-5": 1e-6,
}  # fmt: skip
NO_IDS = ["true", "false", "[]", "[1]", "{}", '{"a":1}']
NO_VERSIONS = ['"1.0"', "2.0", "2", "null", '""', '"2.00"', '" 2.0"', '["2.0"]', "true", ""]
NO_METHODS = ["1", "null", "[]", "{}", "true", ""]
METHODS = {'"é☃"': "unicode", '"\\u00e9\\u2603"': "unicode", '"rpc"': "rpc", '"RPC.x"': "upper"}
UNKNOWN = ['"Echo"', '" echo"', '"echo "', '"rpc."', '"rpc.x"', '"rpc.follow"', '"rpc.progress"', '"__init__"']
SUBTRACTED: dict[str, int | None] = {
    "[42,23]": 19, "[23,42]": -19, '{"subtrahend":23,"minuend":42}': 19, "[1" + "0" * 30 + ",2]": 10**30 - 2,
    "[42]": None, "[1,2,3]": None, '{"minuend":1}': None, '{"minuend":1,"subtrahend":2,"x":3}': None,
    '{"Minuend":1,"subtrahend":2}': None, '["1",2]': None, "[1.5,2]": None, "[true,2]": None, "[null,2]": None,
    "[]": None, "{}": None, "[[1],2]": None, '{"0":1,"1":2}': None, "null": None, "1": None, '"a"': None, "true": None,
}  # fmt: skip
VALUES = [
    "null", "true", "0", "-0.5", "1e308", '"\\u0000"', '"\\ud83d\\ude00"', "[[]]", '{"":{}}', "12345678901234567890123",
    "1.7976931348623157e308", "0.1", '"é"', "9007199254740993", "-9223372036854775809", "18446744073709551616",
    "1e-320", "[" * 150 + "]" * 150,
]  # fmt: skip
NO_JSON = [
    "1e400", "-1e400", "NaN", "Infinity", "-Infinity", "01", "1.", ".5", "+1", "0x1", "'a'", '"\t"', '"\\x"',
    '"\\ud800"', '"\\udc00\\ud800"', "[1,]", '{"a":1,}', "{a:1}", "tru", "1e", '"a', "/*x*/1", "nul", "[", "{",
    "undefined", "1_000", "[" * 10_000 + "]" * 10_000,
]  # fmt: skip
NOTHING_READ = ["", "   ", "\n", "{", "[", "}", "]", '{"a"', "[1,2", "{} {}", "[] []", "{}x", "nope", "\0", DATA + "\0"]
NOTHING_READ += ['{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', "[" * 100_000, '{"a":' * 100_000]
NOTIFICATIONS = {
    '"echo"': "[1]", '"nope"': "[]", '"subtract"': '["x"]', '"get_data"': "1", '"err"': "[]", '"lone"': "[]",
    '"nan"': "[]", '"rpc.x"': "[]", '"rpc.discover"': "[]", '"rpc.describe"': "[1]", '"aecho"': "[1]",
}  # fmt: skip
TWICE = [
    '{"jsonrpc":"2.0","jsonrpc":"2.0","method":"get_data","id":1}',
    '{"jsonrpc":"2.0","method":"a","method":"get_data","id":1}',
    '{"jsonrpc":"2.0","method":"get_data","id":1,"id":2}',
    '{"jsonrpc":"2.0","method":"get_data","params":[],"params":[],"id":1}',
    '{"jsonrpc":"2.0","method":"get_data","id":1,"\\u0069d":2}',
    '[{"jsonrpc":"2.0","method":"get_data","id":1,"id":2}]',
]
ENCODINGS = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-8-sig", "latin-1"]

CASES: list[tuple[str | bytes, Any]] = [
    *((request('"echo"', "[1]", id), result(1, expected)) for id, expected in IDS.items()),
    *((request('"echo"', "[1]", id), error(REQUEST)) for id in NO_IDS),
    *((request('"echo"', "[1]", version=version), error(REQUEST, 1)) for version in NO_VERSIONS),
    *((request(method), error(REQUEST, 1)) for method in NO_METHODS),
    (request("", id=""), error(REQUEST)),
    (request("1", id=""), error(REQUEST)),
    *((request(method), result(expected)) for method, expected in METHODS.items()),
    *((request(method, "[1]"), error(METHOD, 1)) for method in UNKNOWN),
    *(
        (request('"subtract"', params), error(PARAMS, 1) if expected is None else result(expected))
        for params, expected in SUBTRACTED.items()
    ),
    *((request('"get_data"', params), result(["hello", 5])) for params in ("", "[]", "{}")),
    (request('"get_data"', "[1]"), error(PARAMS, 1)),
    (request('"kw"', '{"a":1,"self":2,"method":3}'), result([1, 2, {"self": 2, "method": 3}])),
    (request('"kw"', "[1,2]"), error(PARAMS, 1)),
    *(
        (request(method, f"[{value}]"), result(json.loads(value)))
        for value in VALUES
        for method in ('"echo"', '"aecho"')
    ),
    *((request('"echo"', f"[{value}]"), error(PARSE)) for value in NO_JSON),
    *((text, error(PARSE)) for text in NOTHING_READ),
    *((text, error(REQUEST)) for text in ("1", '"x"', "null", "true", "1.5", "{}", "[]", *TWICE)),
    *((request(method, params, id=""), SILENT) for method, params in NOTIFICATIONS.items()),
    (request('"err"'), error(-32000, 1)),
    (request('"nan"'), result([None, None])),
    (request('"lone"'), error(-32603, 1)),
    ("[" + DATA + "," + request('"lone"', id="2") + "]", [result(["hello", 5]), error(-32603, 2)]),
    (f" \r\n\t{DATA}\n ", result(["hello", 5])),
    ("[1,2,3]", [error(REQUEST)] * 3),
    ("[[],null,{}]", [error(REQUEST)] * 3),
    (f"[{DATA},{DATA}]", [result(["hello", 5])] * 2),
    ("[" + request('"nope"', id="") + "," + request('"echo"', "[1]", id="") + "]", SILENT),
    ("[" + ",".join([DATA, request('"echo"', "[1]", id=""), "1", request('"nope"', id='"5"')]) + "]",
     [result(["hello", 5]), error(REQUEST), error(METHOD, "5")]),
    (f'[{DATA},{{"jsonrpc": "2.0", "method"]', error(PARSE)),
    ("[" + ",".join([DATA] * 1001) + "]", error(REQUEST)),
    (request('"echo"', '{"value":1,"value":2}'), result(2)),
    ('{"jsonrpc":"2.0","result":1,"id":1}', error(REQUEST, 1)),
    ('{"jsonrpc":"2.0","method":"get_data","id":1,"result":1,"x":1}', result(["hello", 5])),
    *((request('"echo"', '["é"]').encode(encoding), error(PARSE)) for encoding in ENCODINGS),
    (request('"echo"', '["é"]').encode(), result("é")),
    (b'{"jsonrpc":"2.0","method":"echo","params":["\xc0\xaf"],"id":1}', error(PARSE)),
    (b'{"jsonrpc":"2.0","method":"echo","params":["\xed\xa0\x80"],"id":1}', error(PARSE)),
]  # fmt: skip


def outline(answer: Any) -> Any:
    """Return an answer with each error as its code and its id, once it was seen to be a Response object."""
    if isinstance(answer, list):
        return [outline(each) for each in answer]
    assert answer.keys() == {"id", "jsonrpc", "error" if "error" in answer else "result"}, answer
    if "error" not in answer:
        return answer
    assert answer["jsonrpc"] == "2.0"
    assert isinstance(answer["error"]["message"], str)
    assert "secret" not in json.dumps(answer)
    return error(answer["error"]["code"], answer["id"])


@pytest.fixture
def server(serve: Callable[..., Any], tmp_path: Path) -> Any:
    (tmp_path / "judged.py").write_text(APP, encoding="utf-8")
    server = serve("judged:app", "--workers", "1", cwd=tmp_path)
    server.wait_until_ready()
    return server


def test_each_content_is_answered_as_the_specification_says_on_both_transports(server: Any) -> None:
    connection = HTTPConnection("testserver")
    connection.sock = server.connect()
    fence = request('"echo"', '["fence"]', '"fence"')
    with connect("ws://testserver/api", sock=server.connect(), max_size=None) as peer:
        for content, expected in CASES:
            shown = content[:200]
            body = content.encode() if isinstance(content, str) else content
            connection.request("POST", "/api", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            if expected is SILENT:
                assert (response.status, answer) == (204, b""), shown
            else:
                assert response.headers["Content-Type"] == "application/json", shown
                assert outline(json.loads(answer)) == expected, shown
            peer.send(content)
            if expected is not SILENT:
                assert json.loads(peer.recv(PATIENCE_S)) == json.loads(answer), shown
            peer.send(fence)
            assert json.loads(peer.recv(PATIENCE_S)) == result("fence", "fence"), shown
    connection.close()
