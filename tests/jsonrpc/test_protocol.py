"""JSON-RPC 2.0 by tables of bytes: what goes in, and what comes out of an application with the methods of section 7."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demijohn import Flask
from demijohn.jsonrpc import JSONRPC, InvalidRequestError, JSONRPCError, JSONRPCSite, ParseError, ServerError
from demijohn.jsonrpc.protocol import ABSENT, maybe_id, read_call, read_content

app = Flask("protocol")
app.logger.disabled = True
jsonrpc = JSONRPC(app, "/api")
calls: list[str] = []


@jsonrpc.method("subtract")
def subtract(minuend: int, subtrahend: int) -> int:
    return minuend - subtrahend


@jsonrpc.method("sum")
def total(*numbers: int) -> int:
    return sum(numbers)


@jsonrpc.method("get_data")
def get_data() -> list[Any]:
    return ["hello", 5]


@jsonrpc.method("echo")
def echo(value: Any = None) -> Any:
    return value


@jsonrpc.method("update")
@jsonrpc.method("notify_hello")
@jsonrpc.method("notify_sum")
def update(*values: Any) -> None:
    calls.append("update")


@jsonrpc.method("fail")
def fail() -> None:
    calls.append("fail")
    raise RuntimeError("the cellar is flooded")


@jsonrpc.method("unsayable")
def unsayable() -> Any:
    return object()


@jsonrpc.method("endless")
def endless() -> list[float]:
    return [math.nan, math.inf, -math.inf]


@jsonrpc.method("fail_endlessly")
def fail_endlessly() -> None:
    raise JSONRPCError("endless", code=5, data=[math.nan, math.inf])


@jsonrpc.method("fail_silently")
def fail_silently() -> None:
    raise JSONRPCError


@jsonrpc.method("huge")
def huge() -> int:
    return 10**400


@jsonrpc.method("answered_always", notification=False)
def answered_always() -> str:
    return "yes"


def post(content: bytes, content_type: str = "application/json") -> tuple[int, Any]:
    """Return the HTTP status and what was answered, None for an empty content."""
    response = app.test_client().post("/api", data=content, content_type=content_type)
    return response.status_code, json.loads(response.data, parse_constant=pytest.fail) if response.data else None


def essence(answer: Any) -> Any:
    """An answer with no more of its errors than the code."""
    if isinstance(answer, list):
        return [essence(member) for member in answer]
    if answer and "error" in answer:
        assert set(answer) == {"id", "jsonrpc", "error"}
        return answer | {"error": answer["error"]["code"]}
    return answer


def result(id: Any, value: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "result": value, "id": id}


def error(id: Any, code: int) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "error": code, "id": id}


# Section 7 of the specification, as printed there: request, HTTP status, answer.
EXAMPLES: dict[str, tuple[str, int, Any]] = {
    "positional parameters": (
        '{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}',
        200,
        result(1, 19),
    ),
    "positional parameters, the other way round": (
        '{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}',
        200,
        result(2, -19),
    ),
    "named parameters": (
        '{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}',
        200,
        result(3, 19),
    ),
    "named parameters in another order": (
        '{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}',
        200,
        result(4, 19),
    ),
    "notification": ('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', 204, None),
    "notification of a method that is not there": ('{"jsonrpc": "2.0", "method": "foobar"}', 204, None),
    "method that is not there": ('{"jsonrpc": "2.0", "method": "foobar", "id": "1"}', 400, error("1", -32601)),
    "invalid JSON": ('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', 400, error(None, -32700)),
    "invalid Request object": ('{"jsonrpc": "2.0", "method": 1, "params": "bar"}', 400, error(None, -32600)),
    "batch of invalid JSON": (
        '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method"]',
        400,
        error(None, -32700),
    ),
    "empty array": ("[]", 400, error(None, -32600)),
    "invalid batch, but not empty": ("[1]", 200, [error(None, -32600)]),
    "invalid batch": ("[1,2,3]", 200, [error(None, -32600)] * 3),
    "batch": (
        """[
        {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
        {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
        {"foo": "boo"},
        {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
        {"jsonrpc": "2.0", "method": "get_data", "id": "9"}
        ]""",
        200,
        [
            result("1", 7),
            result("2", 19),
            error(None, -32600),
            error("5", -32601),
            result("9", ["hello", 5]),
        ],
    ),
    "batch of notifications": (
        """[
        {"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}
        ]""",
        204,
        None,
    ),
}


@pytest.mark.parametrize(("request_", "status", "answer"), EXAMPLES.values(), ids=EXAMPLES)
def test_the_examples_of_the_specification_hold(request_: str, status: int, answer: Any) -> None:
    http_status, answered = post(request_.encode())
    assert (http_status, essence(answered)) == (status, answer)


def echoing(**members: str) -> str:
    """A call of echo, with members replaced by JSON text or left out."""
    all_members = {"jsonrpc": '"2.0"', "method": '"echo"', "params": "[1]", "id": "7"} | members
    return "{" + ",".join(f'"{name}":{text}' for name, text in all_members.items() if text) + "}"


IMPLIED: dict[str, tuple[str | bytes, int, Any]] = {
    # Section 4: the members of a Request object.
    "no version": (echoing(jsonrpc=""), 400, error(7, -32600)),
    "version 1.0": (echoing(jsonrpc='"1.0"'), 400, error(7, -32600)),
    "version as a number": (echoing(jsonrpc="2.0"), 400, error(7, -32600)),
    "no version and no id": (echoing(jsonrpc="", id=""), 400, error(None, -32600)),
    "no method": (echoing(method=""), 400, error(7, -32600)),
    "method null": (echoing(method="null"), 400, error(7, -32600)),
    "empty method": (echoing(method='""'), 400, error(7, -32601)),
    "reserved method": (echoing(method='"rpc.nothing"'), 400, error(7, -32601)),
    "names are case-sensitive": (echoing(method='"Echo"'), 400, error(7, -32601)),
    "id string": (echoing(id='"x"'), 200, result("x", 1)),
    "empty id": (echoing(id='""'), 200, result("", 1)),
    "id zero": (echoing(id="0"), 200, result(0, 1)),
    "id negative": (echoing(id="-5"), 200, result(-5, 1)),
    "id fraction": (echoing(id="1.5"), 200, result(1.5, 1)),
    "id null is no notification": (echoing(id="null"), 200, result(None, 1)),
    "id of 30 digits": (echoing(id="9" * 30), 200, result(int("9" * 30), 1)),
    "id true": (echoing(id="true"), 400, error(None, -32600)),
    "id array": (echoing(id="[1]"), 400, error(None, -32600)),
    "id object": (echoing(id="{}"), 400, error(None, -32600)),
    "unknown member": (echoing(extra="1"), 200, result(7, 1)),
    "request is null": ("null", 400, error(None, -32600)),
    "request is a string": ('"echo"', 400, error(None, -32600)),
    "request is true": ("true", 400, error(None, -32600)),
    # Section 4.2: params.
    "no params": (echoing(params=""), 200, result(7, None)),
    "empty params by position": (echoing(params="[]"), 200, result(7, None)),
    "empty params by name": (echoing(params="{}"), 200, result(7, None)),
    "params null": (echoing(params="null"), 400, error(7, -32602)),
    "params number": (echoing(params="1"), 400, error(7, -32602)),
    "params string": (echoing(params='"x"'), 400, error(7, -32602)),
    "params true": (echoing(params="true"), 400, error(7, -32602)),
    "too many params": (echoing(params="[1,2]"), 400, error(7, -32602)),
    "params with a wrong name": (echoing(params='{"volue":1}'), 400, error(7, -32602)),
    "names of params are case-sensitive": (echoing(params='{"Value":1}'), 400, error(7, -32602)),
    "nested array": ("[[]]", 200, [error(None, -32600)]),
    # Section 4.1: silence to notifications, whatever becomes of them.
    "notification with params that do not fit": (echoing(params="[1,2]", id=""), 204, None),
    "notification with scalar params": (echoing(params="1", id=""), 204, None),
    "notification that fails": (echoing(method='"fail"', params="", id=""), 204, None),
    "notification whose result cannot be said": (echoing(method='"unsayable"', params="", id=""), 204, None),
    "notification to a method that refuses them": (
        echoing(method='"answered_always"', params="", id=""),
        400,
        error(None, -32600),
    ),
    # Section 5: the Response object.
    "method that fails": (echoing(method='"fail"', params=""), 500, error(7, -32000)),
    "result that cannot be said": (echoing(method='"unsayable"', params=""), 500, error(7, -32603)),
    "no NaN and no infinity in a result": (echoing(method='"endless"', params=""), 200, result(7, [None, None, None])),
    "no NaN in an error": (echoing(method='"fail_endlessly"', params=""), 400, error(7, 5)),
    "an integer of 400 digits in a result": (echoing(method='"huge"', params=""), 200, result(7, 10**400)),
    "result null is there": (echoing(method='"update"', params="[]"), 200, result(7, None)),
    # Section 6: batches.
    "one result that cannot be said fails alone": (
        f"[{echoing(id='1')},{echoing(method=chr(34) + 'unsayable' + chr(34), params='', id='2')},{echoing(id='3')}]",
        200,
        [result(1, 1), error(2, -32603), result(3, 1)],
    ),
    "failing notifications in a batch": (
        f"[{echoing(method=chr(34) + 'fail' + chr(34), params='', id='')},{echoing(id='3')}]",
        200,
        [result(3, 1)],
    ),
    "equal ids in a batch": (f"[{echoing()},{echoing()}]", 200, [result(7, 1)] * 2),
    "batch in a batch": (f"[[{echoing()}]]", 200, [error(None, -32600)]),
    # RFC 8259: what JSON is.
    "no content": ("", 400, error(None, -32700)),
    "white space": (" \n", 400, error(None, -32700)),
    "white space around": (f" \r\n\t{echoing()} \n", 200, result(7, 1)),
    "trailing comma": ('{"jsonrpc":"2.0",}', 400, error(None, -32700)),
    "two values": (echoing() * 2, 400, error(None, -32700)),
    "single quotes": ("{'jsonrpc':'2.0'}", 400, error(None, -32700)),
    "comment": (f"/* */{echoing()}", 400, error(None, -32700)),
    "NaN": (echoing(params="[NaN]"), 400, error(None, -32700)),
    "Infinity": (echoing(params="[-Infinity]"), 400, error(None, -32700)),
    "number out of range": (echoing(params="[1e999]"), 400, error(None, -32700)),
    "leading zero": (echoing(params="[01]"), 400, error(None, -32700)),
    "integer of 30 digits": (echoing(params=f"[{'9' * 30}]"), 200, result(7, int("9" * 30))),
    "integer of 5000 digits": (echoing(params=f"[{'9' * 5000}]"), 400, error(None, -32700)),
    "lone surrogate": (echoing(params=r'["\ud800"]'), 400, error(None, -32700)),
    "surrogate pair": (echoing(params=r'["\ud83c\udf77"]'), 200, result(7, "🍷")),
    "escaped NUL": (echoing(params=r'["\u0000"]'), 200, result(7, "\0")),
    "raw control character": (echoing(params='["\x01"]'), 400, error(None, -32700)),
    "not UTF-8": (echoing(params='["ä"]').encode("latin-1"), 400, error(None, -32700)),
    "UTF-16": (echoing().encode("utf-16"), 400, error(None, -32700)),
    "byte order mark": (b"\xef\xbb\xbf" + echoing().encode(), 400, error(None, -32700)),
    "60000 arrays in each other": (echoing(params="[" * 60_000 + "]" * 60_000), 400, error(None, -32700)),
    "60000 arrays that never end": ("[" * 60_000, 400, error(None, -32700)),
    "300 arrays in each other": (
        echoing(params="[" * 300 + "]" * 300),
        200,
        result(7, json.loads("[" * 299 + "]" * 299)),
    ),
    # RFC 8259 section 4 leaves repeated names open; where they decide what runs, they are refused.
    "method named twice": (echoing(method='"echo","method":"fail"'), 400, error(None, -32600)),
    "method named twice, once in disguise": (echoing(method='"echo","\\u006dethod":"fail"'), 400, error(None, -32600)),
    "id named twice": (echoing(id='7,"id":8'), 400, error(None, -32600)),
    "version named twice": (echoing(jsonrpc='"2.0","jsonrpc":"1.0"'), 400, error(None, -32600)),
    "a parameter called id": (echoing(params='[{"id":1,"jsonrpc":2}]'), 200, result(7, {"id": 1, "jsonrpc": 2})),
    "params named twice": (echoing(params='[1],"params":[2]'), 400, error(None, -32600)),
    "method named twice in a batch": (
        f"[{echoing()},{echoing(method=chr(34) + 'echo' + chr(34) + ',' + chr(34) + 'method' + chr(34) + ':1')}]",
        400,
        error(None, -32600),
    ),
    "a parameter called method": (
        echoing(params='[{"method":1,"params":2}]'),
        200,
        result(7, {"method": 1, "params": 2}),
    ),
    "a parameter named twice counts the last time": (echoing(params='{"value":1,"value":2}'), 200, result(7, 2)),
}


@pytest.mark.parametrize(("request_", "status", "answer"), IMPLIED.values(), ids=IMPLIED)
def test_what_the_specification_implies_holds(request_: str | bytes, status: int, answer: Any) -> None:
    http_status, answered = post(request_ if isinstance(request_, bytes) else request_.encode())
    assert (http_status, essence(answered)) == (status, answer)


def test_notifications_are_run() -> None:
    calls.clear()
    post(b'[{"jsonrpc":"2.0","method":"update"},{"jsonrpc":"2.0","method":"fail"},{"jsonrpc":"2.0","method":"update"}]')
    assert calls == ["update", "fail", "update"]


def test_a_batch_is_refused_as_a_whole_when_its_json_is_broken() -> None:
    calls.clear()
    status, _ = post(b'[{"jsonrpc":"2.0","method":"update","id":1},')
    assert (status, calls) == (400, [])


@pytest.mark.parametrize(
    ("content_type", "accepted"),
    {
        "application/json": True,
        "application/json; charset=utf-8": True,
        "APPLICATION/JSON": True,
        "application/json-rpc": True,
        "application/jsonrequest": True,
        "application/vnd.api+json": True,
        "text/plain": False,
        "text/json": False,
        "application/x-www-form-urlencoded": False,
        "multipart/form-data": False,
        "": False,
    }.items(),
)
def test_content_must_say_that_it_is_json(content_type: str, accepted: bool) -> None:
    status, answer = post(echoing().encode(), content_type)
    assert (status, essence(answer)) == ((200, result(7, 1)) if accepted else (400, error(None, -32700)))


def test_errors_say_what_was_wrong_in_one_sentence() -> None:
    def told(request: str) -> str:
        return str(post(request.encode())[1]["error"]["data"]["message"])

    assert told("[1,]") == "Invalid JSON: trailing comma in array (byte 3)"
    assert told("") == "Invalid JSON: there is no content"
    assert told(echoing(method="3")) == 'The member "method" must be a string'
    assert told(echoing(method='"nope"')) == "Method not found: nope"
    assert told(echoing(params="[" * 60_000)) == "Invalid JSON: nested too deeply"
    assert told(echoing(params="3")) == "Parameter structures are by-position (list) or by-name (dict): 3"


def test_a_long_member_that_is_no_request_is_cut() -> None:
    _, answer = post(json.dumps(["x" * 10_000]).encode())
    assert len(answer[0]["error"]["data"]["message"]) < 200


def test_a_batch_over_the_limit_is_refused_and_none_of_it_run() -> None:
    calls.clear()
    batch = b"[" + b",".join([b'{"jsonrpc":"2.0","method":"update","id":1}'] * 1001) + b"]"
    status, answer = post(batch)
    assert (status, essence(answer), calls) == (400, error(None, -32600), [])
    assert answer["error"]["data"]["message"] == "A batch of 1001 calls: this server takes at most 1000"
    assert post(batch.replace(b'{"jsonrpc":"2.0","method":"update","id":1},', b"", 1))[0] == 200
    assert len(calls) == 1000


# -- the parts without an application --------------------------------------------------------------


def test_a_call_knows_whether_it_wants_an_answer() -> None:
    call = read_call({"jsonrpc": "2.0", "method": "m", "id": None})
    assert (call.method, call.params, call.id) == ("m", [], None)
    assert read_call({"jsonrpc": "2.0", "method": "m", "params": {"a": 1}}).id is ABSENT


@pytest.mark.parametrize(
    ("member", "id"), [({"id": 3}, 3), ({"id": "x"}, "x"), ({"id": []}, None), ({}, None), (3, None)]
)
def test_the_id_of_an_invalid_request_is_found_where_it_can_be(member: Any, id: Any) -> None:
    with pytest.raises(InvalidRequestError):
        read_call(member)
    assert maybe_id(member) == id


def test_parse_errors_are_no_invalid_requests() -> None:
    with pytest.raises(ParseError):
        read_content(b"{")
    with pytest.raises(InvalidRequestError):
        read_content(b"[]")


def test_an_error_may_say_zero_and_nothing() -> None:
    error = JSONRPCError("stop", code=0, data=[], status_code=418)
    assert error.jsonrpc_format == {"name": "JSONRPCError", "code": 0, "message": "stop", "data": []}
    assert error.status_code == 418


def test_an_error_without_a_message_has_an_empty_one() -> None:
    _, answer = post(echoing(method='"fail_silently"', params="").encode())
    assert answer["error"]["message"] == ""


def test_an_error_may_be_a_class_with_its_own_words() -> None:
    class OutOfStock(JSONRPCError):
        code = 1001
        message = "Out of stock"
        status_code = 409

    assert OutOfStock(data={"left": 0}).jsonrpc_format == {
        "name": "OutOfStock",
        "code": 1001,
        "message": "Out of stock",
        "data": {"left": 0},
    }
    assert (OutOfStock().status_code, ServerError().status_code) == (409, 500)


# -- properties -------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
nearly_requests = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.sampled_from(["2.0", "1.0", 2.0]) | json_values,
        "method": st.sampled_from(["echo", "subtract", "sum", "fail", "update", "unsayable", "rpc.x"]) | json_values,
        "params": json_values,
        "id": json_values,
    },
)


def site_answers(content: bytes) -> Any:
    status, answer = post(content)
    if answer is None:
        assert status == 204
    for member in answer if isinstance(answer, list) else [answer] if answer else []:
        assert set(member) in ({"id", "jsonrpc", "result"}, {"id", "jsonrpc", "error"})
        assert member["jsonrpc"] == "2.0"
        if "error" in member:
            assert type(member["error"]["code"]) is int
            assert type(member["error"]["message"]) is str
    return answer


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_get_an_answer_or_silence(content: bytes) -> None:
    site_answers(content)


@given(nearly_requests | st.lists(nearly_requests | json_values, max_size=5))
@settings(max_examples=200)
def test_any_json_gets_an_answer_or_silence(value: Any) -> None:
    site_answers(json.dumps(value).encode())


@given(json_values)
def test_what_is_sent_comes_back(value: Any) -> None:
    content = json.dumps({"jsonrpc": "2.0", "method": "echo", "params": [value], "id": 1}).encode()
    assert site_answers(content) == result(1, value)


@given(st.lists(st.booleans(), min_size=1, max_size=20))
def test_a_batch_answers_its_calls_in_order_and_only_those(wants_answer: list[bool]) -> None:
    batch: list[dict[str, Any]] = [
        {"jsonrpc": "2.0", "method": "echo", "params": [i], **({"id": i} if wanted else {})}
        for i, wanted in enumerate(wants_answer)
    ]
    answers = site_answers(json.dumps(batch).encode()) or []
    assert answers == [result(i, i) for i, wanted in enumerate(wants_answer) if wanted]


def test_a_site_can_be_made_without_an_application() -> None:
    site = JSONRPCSite(version="1.0.0")
    function: Callable[[], str] = lambda: "x"  # noqa: E731
    site.register("x", function)
    assert dict(site.view_funcs) == {"rpc.describe": site.describe, "x": function}


# -- docs/jsonrpc-conformance.md -------------------------------------------------------------------


def test_the_checklist_of_the_specification_names_tests_and_cases_that_exist() -> None:
    here = Path(__file__).parent
    page = (here.parents[1] / "docs" / "jsonrpc-conformance.md").read_text()
    named = re.findall(r"`(?:((?:\.\./server/)?test_\w+\.py)::)?(test_\w+)?(?:\[([^\]]+)\])?`", page)
    missing = [
        name
        for file, name, _ in named
        if name and f"def {name}(" not in (here / (file or "test_protocol.py")).read_text()
    ]
    assert not missing
    assert not {case for _, _, case in named if case} - {*EXAMPLES, *IMPLIED}
    assert len(named) > 80
