"""What must hold for every input: whatever is sent is answered or refused in words, and never breaks what reads it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

WHY = "the real package is needed: pip install -r requirements-dev.lock"
np = pytest.importorskip("numpy", reason=WHY)
pd = pytest.importorskip("pandas", reason=WHY)
pl = pytest.importorskip("polars", reason=WHY)

from demijohn.jsonrpc import InvalidParamsError, InvalidRequestError, JSONRPCError  # noqa: E402
from demijohn.jsonrpc.client import CallError, Calls  # noqa: E402
from demijohn.jsonrpc.docstrings import read  # noqa: E402
from demijohn.jsonrpc.encoding import Unserializable, encode  # noqa: E402
from demijohn.jsonrpc.mcp import Server, published  # noqa: E402
from demijohn.jsonrpc.protocol import read_content  # noqa: E402
from demijohn.jsonrpc.registry import Method  # noqa: E402
from demijohn.jsonrpc.transport import Reading, Reply  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
import lab  # noqa: E402

sys.path.pop(0)

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
TABLES = st.lists(st.dictionaries(st.sampled_from("ab"), SCALARS, max_size=2), max_size=4)


def taking(hint: Any) -> Method:
    def function(x: Any) -> Any:
        return x

    function.__annotations__ = {"x": hint}
    return Method("m", function)


def attempt(kind: type[Exception], function: Callable[..., Any], *arguments: Any) -> tuple[Any, Any]:
    """Return what the function returns, and None; or None and the exception of that kind that it raises."""
    try:
        return function(*arguments), None
    except kind as error:
        return None, error


METHODS = [
    taking(hint) for hint in (np.ndarray, np.ndarray[tuple[int, int], np.dtype[np.int8]], np.float32, pd.DataFrame)
]
METHODS += [taking(hint) for hint in (pd.Series, pl.DataFrame, pl.Series, np.ndarray[Any, np.dtype[np.datetime64]])]


@given(JSON | TABLES | st.lists(SCALARS, max_size=4), st.sampled_from(METHODS))
def test_what_is_sent_for_arrays_and_frames_is_taken_or_refused_in_words(value: Any, method: Method) -> None:
    bound, refusal = attempt(InvalidParamsError, method.bind, [value])
    if refusal:
        assert refusal.data["message"].startswith("params")
        return
    ((made,), _) = bound
    _, refusal = attempt(Unserializable, encode, made)
    assert refusal is None or "index has a value twice" in str(refusal)


@given(st.dictionaries(st.sampled_from("abc"), st.lists(SCALARS, min_size=3, max_size=3), min_size=1))
def test_a_frame_says_the_same_in_each_of_its_forms(columns: dict[str, list[Any]]) -> None:
    records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    split = {"columns": list(columns), "data": [list(row.values()) for row in records]}
    frame = taking(pd.DataFrame)
    made = [frame.bind([form])[0][0] for form in (records, columns, split)]
    assert encode(made[0]) == encode(made[1]) == encode(made[2])


MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | SCALARS,
        "id": st.integers() | JSON,
        "method": st.sampled_from(["tools/call", "tools/list", "initialize", "server/discover", "ping"]) | SCALARS,
        "params": st.fixed_dictionaries(
            {},
            optional={
                "name": st.sampled_from(["Math_add", "draw"]) | JSON,
                "arguments": JSON,
                "_meta": JSON | st.just({"io.modelcontextprotocol/protocolVersion": "2026-07-28"}),
                "protocolVersion": JSON,
            },
        )
        | JSON,
    },
)
FIELDS = st.dictionaries(
    st.sampled_from(["MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"]),
    st.sampled_from(["2026-07-28", "tools/call", "Math_add"]) | st.text(max_size=5),
)
TOOLS = published([lab.jsonrpc.get_jsonrpc_site()])


@given(MESSAGES | JSON, FIELDS)
def test_any_message_to_tools_is_answered_or_refused(message: Any, fields: dict[str, str]) -> None:
    server = Server(TOOLS, "lab", "1", lambda tool, arguments: {"content": [], "isError": False})
    result, refusal = attempt(JSONRPCError, server.answer, message, fields)
    if refusal:
        assert refusal.code in (-32600, -32601, -32602, -32020, -32022)
    else:
        assert result is None or msgspec.json.encode(result)


@given(
    st.binary() | st.binary().map(lambda end: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + end), st.integers(1, 9)
)
def test_any_bytes_of_a_server_are_an_answer_or_none(received: bytes, size: int) -> None:
    reading = Reading()
    try:
        for start in range(0, len(received) + size, size):
            if reading.receive(received[start : start + size]):
                break
    except ConnectionError:
        return
    assert 200 <= reading.reply().status <= 999


@given(
    JSON
    | MESSAGES
    | st.fixed_dictionaries({"jsonrpc": st.just("2.0"), "id": st.just(1)}, optional={"result": JSON, "error": JSON})
)
def test_any_content_of_an_answer_is_a_result_or_an_error(content: Any) -> None:
    calls = Calls("http://x/", None, None)
    try:
        result = calls.result(calls.content_of(Reply(200, {}, msgspec.json.encode(content))), 1, 200)
    except CallError:
        return
    assert result == content["result"]


NAMES = st.sampled_from(["jsonrpc", "method", "params", "id"])
MEMBERS = st.lists(
    st.tuples(NAMES, st.sampled_from(['"a"', '":"', '{"id":1}', '{"x":{"id":[":"]}}', '{"x":1,"x":2}', "[]", "null"])),
    min_size=1,
    max_size=5,
)


@given(MEMBERS, st.sampled_from([":", " : "]), st.booleans())
def test_a_member_named_twice_is_refused_and_nothing_else(
    members: list[tuple[str, str]], colon: str, in_disguise: bool
) -> None:
    spelled = {"id": r"\u0069d"} if in_disguise else {}
    text = ",".join(f'"{spelled.get(name, name)}"{colon}{value}' for name, value in members)

    _, refusal = attempt(InvalidRequestError, read_content, f"{{{text}}}".encode())

    assert (refusal is not None) == (len({name for name, _ in members}) < len(members))


@given(st.text() | st.text("A:a \n-`>()[].'1,", max_size=60))
def test_any_text_is_read_as_a_docstring(text: str) -> None:
    told = read(text)
    assert "\n" not in told.summary
