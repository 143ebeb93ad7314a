"""Methods as tools of language models: both eras of the protocol, message by message, and whom a server answers."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

import pytest

jsonschema = pytest.importorskip("jsonschema", reason="pip install -r requirements-dev.lock")

from demijohn import Flask  # noqa: E402
from demijohn.jsonrpc import JSONRPC, Tool  # noqa: E402
from demijohn.jsonrpc.mcp import published  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
import lab  # noqa: E402

sys.path.pop(0)

META = "io.modelcontextprotocol/"
VERSION = "2026-07-28"
TOOLS = ["Math_add", "Shop_restock", "fail", "crash", "draw", "anything", "Inner_tell"]


def post(message: Any, app: Flask = lab.app, **headers: str | None) -> Any:
    fields = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
    return app.test_client().post("/mcp", json=message, headers=fields)


def request_of(method: str, /, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def stateless(method: str, /, **params: Any) -> Any:
    """Send a request of the current revision, with all that it has to say of itself."""
    meta = {f"{META}protocolVersion": VERSION, f"{META}clientCapabilities": {}}
    name = {"Mcp_Name": params["name"]} if method == "tools/call" else {}
    message = request_of(method, _meta=meta, **params)
    return post(message, MCP_Protocol_Version=VERSION, Mcp_Method=method, **name)


def called(name: str, **arguments: Any) -> Any:
    """Call a tool in both eras; return its result, which must be the same."""
    now = stateless("tools/call", name=name, arguments=arguments).json["result"]
    before = post(request_of("tools/call", name=name, arguments=arguments)).json["result"]
    assert now == before | {"resultType": "complete", "_meta": now["_meta"]}
    return before


# -- the stateless revision -------------------------------------------------------------------------


def test_a_client_discovers_what_the_server_can() -> None:
    response = stateless("server/discover")
    assert response.status_code == 200
    assert response.json == {
        "jsonrpc": "2.0",
        "id": 1,
        "result": {
            "resultType": "complete",
            "_meta": {f"{META}serverInfo": {"name": "lab JSON-RPC", "version": "1.2"}},
            "ttlMs": 60000,
            "cacheScope": "private",
            "supportedVersions": [VERSION],
            "capabilities": {"tools": {}},
        },
    }


@pytest.mark.parametrize("left_out", ["protocolVersion", "clientCapabilities"])
def test_a_request_that_does_not_say_what_it_is_is_refused(left_out: str) -> None:
    meta = {f"{META}protocolVersion": VERSION, f"{META}clientCapabilities": {}}
    del meta[META + left_out]
    response = post(request_of("tools/list", _meta=meta), MCP_Protocol_Version=VERSION, Mcp_Method="tools/list")
    assert response.status_code == 400
    assert response.json["error"]["code"] == -32602
    assert META + left_out in response.json["error"]["message"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("MCP-Protocol-Version", None),
        ("MCP-Protocol-Version", "2025-11-25"),
        ("Mcp-Method", None),
        ("Mcp-Method", "tools/list"),
        ("Mcp-Name", None),
        ("Mcp-Name", "fail"),
        ("Mcp-Name", "=?base64?%%?="),
        ("Mcp-Name", "=?base64?/w==?="),
    ],
)
def test_header_fields_that_do_not_say_what_the_content_does_are_refused(field: str, value: str | None) -> None:
    meta = {f"{META}protocolVersion": VERSION, f"{META}clientCapabilities": {}}
    message = request_of("tools/call", name="Math_add", arguments={"a": 1}, _meta=meta)
    headers = {"MCP-Protocol-Version": VERSION, "Mcp-Method": "tools/call", "Mcp-Name": "Math_add"} | {field: value}
    response = post(message, **{name.replace("-", "_"): text for name, text in headers.items()})
    assert response.status_code == 400
    assert response.json["error"]["code"] == -32020
    assert field in response.json["error"]["message"]


def test_a_name_may_stand_in_base64_in_its_header_field() -> None:
    meta = {f"{META}protocolVersion": VERSION, f"{META}clientCapabilities": {}}
    message = request_of("tools/call", name="nö", _meta=meta)
    encoded = f"=?base64?{base64.b64encode('nö'.encode()).decode()}?="
    response = post(message, MCP_Protocol_Version=VERSION, Mcp_Method="tools/call", Mcp_Name=encoded)
    assert response.json["error"]["message"] == "Invalid params: Unknown tool: nö"


def test_a_revision_that_is_not_spoken_is_refused_with_those_that_are() -> None:
    meta = {f"{META}protocolVersion": "2099-01-01", f"{META}clientCapabilities": {}}
    response = post(request_of("tools/list", _meta=meta), MCP_Protocol_Version="2099-01-01", Mcp_Method="tools/list")
    assert response.status_code == 400
    assert response.json["error"]["code"] == -32022
    assert response.json["error"]["data"]["requested"] == "2099-01-01"
    assert VERSION in response.json["error"]["data"]["supported"]


@pytest.mark.parametrize("method", ["initialize", "ping", "resources/list", "nonsense"])
def test_a_method_that_the_revision_does_not_have_is_not_found(method: str) -> None:
    response = stateless(method)
    assert response.status_code == 404
    assert response.json["error"]["code"] == -32601


# -- the handshake ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "agreed"),
    [("2025-11-25", "2025-11-25"), ("2025-03-26", "2025-03-26"), ("1999-01-01", "2025-11-25"), (None, "2025-11-25")],
)
def test_a_handshake_agrees_on_a_revision(asked: str | None, agreed: str) -> None:
    response = post(request_of("initialize", protocolVersion=asked, capabilities={}, clientInfo={"name": "x"}))
    assert response.json["result"] == {
        "protocolVersion": agreed,
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "lab JSON-RPC", "version": "1.2"},
    }
    assert "Mcp-Session-Id" not in response.headers


def test_notifications_are_taken_and_not_answered() -> None:
    response = post({"jsonrpc": "2.0", "method": "notifications/initialized"}, MCP_Protocol_Version="2025-11-25")
    assert (response.status_code, response.data) == (202, b"")


def test_a_ping_is_answered() -> None:
    assert post(request_of("ping"), MCP_Protocol_Version="2025-06-18").json["result"] == {}


@pytest.mark.parametrize("version", ["1900-01-01", "not-a-version"])
def test_an_unknown_revision_in_the_header_is_refused(version: str) -> None:
    response = post(request_of("ping"), MCP_Protocol_Version=version)
    assert response.status_code == 400
    assert response.json["error"]["code"] == -32022


def test_a_method_that_is_not_there_is_not_found() -> None:
    response = post(request_of("prompts/list"))
    assert (response.status_code, response.json["error"]["code"]) == (404, -32601)


# -- tools ------------------------------------------------------------------------------------------


def test_the_methods_that_were_chosen_are_the_tools_those_of_blueprints_too() -> None:
    tools = stateless("tools/list").json["result"]["tools"]
    assert [tool["name"] for tool in tools] == TOOLS
    assert tools == post(request_of("tools/list")).json["result"]["tools"]


def test_a_tool_tells_what_the_docstring_the_hints_and_the_option_tell() -> None:
    add, restock, *_ = stateless("tools/list").json["result"]["tools"]
    assert add == {
        "name": "Math_add",
        "title": "Add",
        "description": "Add two integers.\n\nHowever large they are.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "a": {"type": "integer", "description": "the first"},
                "b": {"type": "integer", "default": 2},
            },
            "required": ["a"],
            "additionalProperties": False,
        },
        "outputSchema": {"type": "object", "properties": {"result": {"type": "integer"}}, "required": ["result"]},
        "annotations": {"readOnlyHint": True, "openWorldHint": False},
    }
    # A class that holds itself: all that is referred to stands in the schema.
    assert restock["inputSchema"]["properties"] == {"part": {"$ref": "#/$defs/Part"}}
    assert restock["inputSchema"]["$defs"]["Part"]["properties"]["parts"]["anyOf"][0]["items"] == {
        "$ref": "#/$defs/Part"
    }


def test_results_fit_the_schemas_that_tools_tell() -> None:
    schemas = {tool["name"]: tool for tool in stateless("tools/list").json["result"]["tools"]}
    for name, arguments in [
        ("Math_add", {"a": 1}),
        ("Shop_restock", {"part": {"name": "x", "parts": []}}),
        ("draw", {}),
    ]:
        jsonschema.Draft202012Validator.check_schema(schemas[name]["inputSchema"])
        jsonschema.Draft202012Validator(schemas[name]["inputSchema"]).validate(arguments)
        result = called(name, **arguments)
        jsonschema.Draft202012Validator(schemas[name]["outputSchema"]).validate(result["structuredContent"])


def test_a_result_is_told_as_text_and_as_data() -> None:
    assert called("Math_add", a=1) == {
        "content": [{"type": "text", "text": "3"}],
        "structuredContent": {"result": 3},
        "isError": False,
    }
    part = {"name": "x", "price": 1.0, "parts": None}
    assert called("Shop_restock", part={"name": "x"})["structuredContent"] == part
    assert called("Inner_tell")["content"] == [{"type": "text", "text": "from the inside"}]
    assert called("anything", x=[1])["structuredContent"] == {"result": [{"x": [1]}, None]}


def test_a_picture_is_told_as_a_picture() -> None:
    assert called("draw")["content"] == [{"type": "image", "mimeType": "image/png", "data": "iVBORw0KGgo="}]


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("Math_add", {"a": "x"}, 'Invalid params: params.a: expected an integer, got "x"'),
        ("fail", {}, 'The cellar is full: {"limit":3}'),
        ("crash", {}, "Server error: The method failed"),
    ],
)
def test_an_error_of_a_method_is_told_to_the_model(name: str, arguments: Any, text: str) -> None:
    assert called(name, **arguments) == {"content": [{"type": "text", "text": text}], "isError": True}


@pytest.mark.parametrize("name", ["hidden", "Math.add", "nope", None, 3])
def test_a_tool_that_was_not_chosen_is_not_there(name: Any) -> None:
    response = post(request_of("tools/call", name=name, arguments={}))
    assert (response.status_code, response.json["error"]["code"]) == (400, -32602)


def test_arguments_are_an_object_or_absent() -> None:
    assert post(request_of("tools/call", name="Math_add", arguments=[1])).json["error"]["code"] == -32602
    assert post(request_of("tools/call", name="Inner_tell")).json["result"]["isError"] is False


def test_the_request_is_current_in_a_tool() -> None:
    response = post(request_of("tools/call", name="anything"), X_Given="yes")
    assert response.json["result"]["structuredContent"] == {"result": [{}, "yes"]}


def test_two_tools_of_one_name_are_refused() -> None:
    jsonrpc = JSONRPC()
    jsonrpc.method("a.b", mcp=True)(lambda: 1)
    jsonrpc.method("a_b", mcp=True)(lambda: 1)
    with pytest.raises(
        ValueError, match=r"'a\.b' and 'a_b' would both be the tool 'a_b': give one of them another name"
    ):
        published([jsonrpc.get_jsonrpc_site()])


def test_without_the_path_there_are_no_tools() -> None:
    app = Flask("plain")
    JSONRPC(app, "/api").method("a", mcp=Tool())(lambda: 1)
    assert post(request_of("tools/list"), app).status_code == 404


# -- HTTP -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["get", "delete", "put"])
def test_there_are_neither_streams_nor_sessions(method: str) -> None:
    response = getattr(lab.app.test_client(), method)("/mcp")
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]


NO_MESSAGES = [
    (b"{", -32700),
    (b"[]", -32600),
    (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
    (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
    (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
]


@pytest.mark.parametrize(("content", "code"), NO_MESSAGES)
def test_what_is_no_message_is_refused(content: bytes, code: int) -> None:
    response = lab.app.test_client().post("/mcp", data=content, content_type="application/json")
    assert (response.status_code, response.json["error"]["code"]) == (400, code)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_what_a_form_on_a_page_could_send_is_refused(content_type: str | None) -> None:
    response = lab.app.test_client().post("/mcp", data=b"{}", content_type=content_type)
    assert response.status_code == 415


ORIGINS = [
    (None, "127.0.0.1:8000", True),
    (None, "lab.example", True),
    ("http://localhost:6274", "127.0.0.1:8000", True),
    ("http://[::1]:1", "localhost", True),
    ("https://lab.example", "lab.example", True),
    ("https://friend.example", "lab.example", True),
    ("https://evil.example", "127.0.0.1:8000", False),
    ("http://evil.example:8000", "evil.example:8000", False),
    ("http://localhost:6274", "lab.example", False),
    ("https://lab.example", "127.0.0.1:8000", False),
    ("null", "127.0.0.1:8000", False),
    ("https://friend.example.evil.example", "lab.example", False),
    ("http://[::1", "127.0.0.1:8000", False),
    ("http://[evil]", "lab.example", False),
]


@pytest.mark.parametrize(("origin", "host", "answered"), ORIGINS)
def test_a_page_may_call_when_it_is_of_this_server_or_is_named(
    origin: str | None, host: str, answered: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = Flask("lab")
    app.config.update(SERVER_NAME="lab.example", JSONRPC_MCP_ORIGINS=["https://friend.example"])
    JSONRPC(app, "/api", mcp="/mcp")
    environ = {"HTTP_HOST": host}
    headers = {} if origin is None else {"Origin": origin}
    response = app.test_client().post("/mcp", json=request_of("ping"), headers=headers, environ_overrides=environ)
    assert response.status_code == (200 if answered else 403)
    assert answered == ("name it in JSONRPC_MCP_ORIGINS" not in caplog.text)


def test_trusted_hosts_decide_whom_a_server_answers_for() -> None:
    app = Flask("lab")
    app.config["TRUSTED_HOSTS"] = ["lab.example"]
    JSONRPC(app, "/api", mcp="/mcp")

    def status(origin: str, host: str) -> int:
        environ = {"HTTP_HOST": host}
        client = app.test_client()
        return client.post(
            "/mcp", json=request_of("ping"), headers={"Origin": origin}, environ_overrides=environ
        ).status_code

    assert status("https://lab.example", "lab.example") == 200
    assert status("https://evil.example", "evil.example") == 400
