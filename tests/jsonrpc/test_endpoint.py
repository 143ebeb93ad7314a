"""`JSONRPC(app)` as applications use it: over HTTP, with error handlers, blueprints, views and settings."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from werkzeug.datastructures import Headers

from demijohn import Flask, abort, got_request_exception, jsonify, request
from demijohn.json.provider import DefaultJSONProvider
from demijohn.jsonrpc import JSONRPC, JSONRPCBlueprint, JSONRPCError, JSONRPCSite, JSONRPCView, ServerError, browse


@pytest.fixture
def app() -> Iterator[Flask]:
    app = Flask("shop")
    yield app
    app.logger.disabled = False  # loggers outlive their application


@pytest.fixture
def jsonrpc(app: Flask) -> JSONRPC:
    return JSONRPC(app, "/api")


def call(app: Flask, method: str, params: Any = (), path: str = "/api", **members: Any) -> Any:
    """Return the response to a call."""
    content = {"jsonrpc": "2.0", "method": method, "params": params, "id": 1} | members
    return app.test_client().post(path, json=content)


def test_a_call_is_answered_with_json_and_a_newline(app: Flask, jsonrpc: JSONRPC) -> None:
    @jsonrpc.method("App.index")
    def index() -> str:
        return "Welcome to JSON-RPC"

    response = call(app, "App.index", {})
    assert response.data == b'{"id":1,"jsonrpc":"2.0","result":"Welcome to JSON-RPC"}\n'
    assert (response.status_code, response.content_type) == (200, "application/json")
    assert response.content_length == len(response.data)


def test_a_method_is_called_as_its_function_unless_it_is_given_a_name(app: Flask, jsonrpc: JSONRPC) -> None:
    @jsonrpc.method()
    def first() -> int:
        return 1

    jsonrpc.register(lambda: 2, "second")
    assert (call(app, "first").json["result"], call(app, "second").json["result"]) == (1, 2)


def test_the_function_itself_stays_a_plain_function(jsonrpc: JSONRPC) -> None:
    @jsonrpc.method("add")
    def add(a: int, b: int = 2) -> int:
        return a + b

    assert add(1) == 3
    assert add.jsonrpc_method_name == "add"  # type: ignore[attr-defined]
    assert add.jsonrpc_method_params == {"a": int, "b": int}  # type: ignore[attr-defined]
    assert add.jsonrpc_method_return is int  # type: ignore[attr-defined]
    assert add.jsonrpc_method_default_params == {"b": 2}  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", ["get", "head", "put", "delete", "patch"])
def test_only_post_calls(app: Flask, jsonrpc: JSONRPC, method: str) -> None:
    response = getattr(app.test_client(), method)("/api")
    assert response.status_code == 405
    assert sorted(response.headers["Allow"].split(", ")) == ["OPTIONS", "POST"]


def test_options_tells_the_methods(app: Flask, jsonrpc: JSONRPC) -> None:
    response = app.test_client().options("/api")
    assert (response.status_code, sorted(response.headers["Allow"].split(", "))) == (200, ["OPTIONS", "POST"])


def test_a_notification_is_answered_with_no_content(app: Flask, jsonrpc: JSONRPC) -> None:
    jsonrpc.register(lambda: 1, "one")
    response = app.test_client().post("/api", json={"jsonrpc": "2.0", "method": "one"})
    assert (response.status_code, response.data) == (204, b"")


def test_content_over_the_limit_is_refused(app: Flask, jsonrpc: JSONRPC) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 100
    assert call(app, "x", ["y" * 200]).status_code == 413


def test_the_batch_limit_is_a_setting() -> None:
    app = Flask("shop")
    app.config["JSONRPC_BATCH_LIMIT"] = 2
    JSONRPC(app, "/api")
    response = app.test_client().post("/api", json=[1, 2, 3])
    assert response.status_code == 400
    assert response.json["error"]["code"] == -32600
    assert app.test_client().post("/api", json=[1, 2]).status_code == 200


def test_a_method_sees_the_request(app: Flask, jsonrpc: JSONRPC) -> None:
    @jsonrpc.method("agent")
    def agent() -> str:
        return request.headers["X-Agent"]

    content = {"jsonrpc": "2.0", "method": "agent", "id": 1}
    assert app.test_client().post("/api", json=content, headers={"X-Agent": "me"}).json["result"] == "me"


def test_async_methods_are_awaited(app: Flask, jsonrpc: JSONRPC) -> None:
    @jsonrpc.method("later")
    async def later(n: int) -> int:
        return n + 1

    assert call(app, "later", [1]).json["result"] == 2


@pytest.mark.parametrize(
    ("returned", "status", "header", "result"),
    [
        (("x", 201), 201, None, "x"),
        (("x", {"X-A": "b"}), 200, "b", "x"),
        (("x", Headers({"X-A": "b"})), 200, "b", "x"),
        (("x", 202, {"X-A": "b"}), 202, "b", "x"),
        (("x", 202, [("X-A", "b")]), 202, "b", "x"),
        ((1, "a"), 200, None, [1, "a"]),
        ((1, 2), 200, None, [1, 2]),
        ((1, 2, 3), 200, None, [1, 2, 3]),
        ((1, 200, 3, 4), 200, None, [1, 200, 3, 4]),
        (("x", True), 200, None, ["x", True]),
        ((), 200, None, []),
    ],
    ids=repr,
)
def test_a_tuple_may_set_status_and_headers(
    app: Flask, jsonrpc: JSONRPC, returned: Any, status: int, header: str | None, result: Any
) -> None:
    jsonrpc.register(lambda: returned, "m")
    response = call(app, "m")
    assert (response.status_code, response.headers.get("X-A"), response.json["result"]) == (status, header, result)


def test_the_return_hint_may_be_of_the_tuple_or_of_the_result_in_it(app: Flask, jsonrpc: JSONRPC) -> None:
    @jsonrpc.method("whole")
    def whole() -> tuple[str, int]:
        return "x", 201

    @jsonrpc.method("part")
    def part() -> str:
        return "x", 201  # type: ignore[return-value]

    @jsonrpc.method("wrong")
    def wrong() -> int:
        return "x", 201  # type: ignore[return-value]

    assert [call(app, name).status_code for name in ("whole", "part", "wrong")] == [201, 201, 500]


def test_a_batch_merges_the_headers_of_its_calls(app: Flask, jsonrpc: JSONRPC) -> None:
    jsonrpc.register(lambda: ("x", 201, {"X-A": "1"}), "a")
    jsonrpc.register(lambda: ("x", {"X-B": "2"}), "b")
    batch = [{"jsonrpc": "2.0", "method": name, "id": name} for name in "ab"]
    response = app.test_client().post("/api", json=batch)
    assert (response.status_code, response.headers["X-A"], response.headers["X-B"]) == (200, "1", "2")


# -- errors -----------------------------------------------------------------------------------------


def test_an_error_that_is_raised_is_answered_as_it_is(app: Flask, jsonrpc: JSONRPC) -> None:
    class OutOfStock(JSONRPCError):
        code = 1001
        message = "Out of stock"
        status_code = 409

    @jsonrpc.method("order")
    def order() -> None:
        raise OutOfStock(data={"left": 0})

    response = call(app, "order")
    assert response.status_code == 409
    assert response.json == {
        "id": 1,
        "jsonrpc": "2.0",
        "error": {"name": "OutOfStock", "code": 1001, "message": "Out of stock", "data": {"left": 0}},
    }


def test_an_exception_tells_the_client_nothing_and_the_log_everything(
    app: Flask, jsonrpc: JSONRPC, caplog: pytest.LogCaptureFixture
) -> None:
    @jsonrpc.method("fail")
    def fail() -> None:
        raise RuntimeError("the cellar is flooded")

    response = call(app, "fail")
    assert response.status_code == 500
    assert response.json["error"] == {
        "name": "ServerError",
        "code": -32000,
        "message": "Server error",
        "data": {"message": "The method failed"},
    }
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "Exception in the JSON-RPC method 'fail'")
    assert "the cellar is flooded" in caplog.text


def test_in_debug_mode_the_client_is_told_what_happened_and_where(app: Flask, jsonrpc: JSONRPC) -> None:
    app.debug = True
    app.logger.disabled = True
    jsonrpc.register(lambda: 1 / 0, "fail")
    error = call(app, "fail").json["error"]
    assert error["data"] == {"message": "division by zero"}
    assert "ZeroDivisionError: division by zero" in error["stack"]
    assert "executable" in error


@pytest.mark.parametrize("method", ["nope", "add", "wrong"])
def test_in_debug_mode_an_error_that_no_code_of_the_application_raised_has_no_traceback(
    app: Flask, jsonrpc: JSONRPC, method: str
) -> None:
    @jsonrpc.middleware
    def pass_by(request: Any) -> Iterator[None]:
        yield

    def wrong() -> int:
        return "no number"  # type: ignore[return-value]

    app.debug = True
    app.logger.disabled = True
    jsonrpc.register(lambda a, b: a + b, "add")
    jsonrpc.register(wrong)
    assert set(call(app, method).json["error"]) == {"name", "code", "message", "data"}


def test_a_type_error_inside_a_method_is_no_fault_of_the_params(app: Flask, jsonrpc: JSONRPC) -> None:
    app.logger.disabled = True
    jsonrpc.register(lambda: "a" + 1, "fail")  # type: ignore[operator]
    assert call(app, "fail").json["error"]["code"] == -32000


def test_an_exception_in_a_notification_is_logged_and_not_answered(
    app: Flask, jsonrpc: JSONRPC, caplog: pytest.LogCaptureFixture
) -> None:
    jsonrpc.register(lambda: 1 / 0, "fail")
    response = app.test_client().post("/api", json={"jsonrpc": "2.0", "method": "fail"})
    assert (response.status_code, response.data) == (204, b"")
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("ending", [SystemExit(3), asyncio.CancelledError()])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_method_ends_no_more_than_its_call(
    app: Flask, jsonrpc: JSONRPC, caplog: pytest.LogCaptureFixture, ending: BaseException, is_async: bool
) -> None:
    def plain() -> None:
        raise ending

    async def awaited() -> None:
        raise ending

    jsonrpc.register(awaited if is_async else plain, "end")
    jsonrpc.register(lambda: 1, "one")
    heard: list[BaseException] = []
    jsonrpc.register_error_handler(ServerError, lambda error: heard.append(error.original_exception))
    calls: list[dict[str, Any]] = [{"jsonrpc": "2.0", "id": n, "method": "one"} for n in range(3)]
    calls[1]["method"] = "end"
    first, failed, last = app.test_client().post("/api", json=[*calls, {"jsonrpc": "2.0", "method": "end"}]).json
    assert (first["result"], failed["error"]["code"], last["result"]) == (1, -32000, 1)
    assert heard == [ending, ending]


def test_ctrl_c_in_a_method_is_meant_for_the_server(app: Flask, jsonrpc: JSONRPC) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    jsonrpc.register(interrupted, "interrupted")
    with pytest.raises(KeyboardInterrupt):
        call(app, "interrupted")


def test_exceptions_reach_those_who_listen_for_them(app: Flask, jsonrpc: JSONRPC) -> None:
    app.logger.disabled = True
    heard: list[BaseException] = []

    def listen(sender: Any, exception: BaseException, **extra: Any) -> None:
        heard.append(exception)

    jsonrpc.register(lambda: 1 / 0, "fail")
    with got_request_exception.connected_to(listen, app):
        call(app, "fail")
    assert [type(error) for error in heard] == [ZeroDivisionError]


def test_abort_keeps_its_status(app: Flask, jsonrpc: JSONRPC) -> None:
    jsonrpc.register(lambda: abort(403, "members only"), "secret")
    response = call(app, "secret")
    assert response.status_code == 403
    assert response.json["error"] == {
        "name": "ServerError",
        "code": -32000,
        "message": "Forbidden",
        "data": {"status": 403, "message": "members only"},
    }


def test_abort_with_a_response_keeps_its_status(app: Flask, jsonrpc: JSONRPC) -> None:
    def teapot() -> None:
        response = jsonify(tea=True)
        response.status_code = 418
        abort(response)

    jsonrpc.register(teapot, "tea")
    assert call(app, "tea").status_code == 418


def test_a_result_of_the_wrong_type_is_an_internal_error(
    app: Flask, jsonrpc: JSONRPC, caplog: pytest.LogCaptureFixture
) -> None:
    @jsonrpc.method("wrong")
    def wrong() -> int:
        return "x"  # type: ignore[return-value]

    response = call(app, "wrong")
    assert (response.status_code, response.json["error"]["code"]) == (500, -32603)
    assert "the method 'wrong' returned 'x', which is no int, its return hint" in caplog.text


def test_a_result_that_json_cannot_say_is_an_internal_error(
    app: Flask, jsonrpc: JSONRPC, caplog: pytest.LogCaptureFixture
) -> None:
    jsonrpc.register(lambda: object(), "no")
    response = call(app, "no")
    assert (response.status_code, response.json["error"]["code"]) == (500, -32603)
    assert "the result of the call 1 is not JSON: object has no form in JSON" in caplog.text


@pytest.mark.parametrize(
    ("returned", "status", "data"),
    [("out", 500, "out"), (({"a": 1}, 409), 409, {"a": 1}), (("out", 410, {"X-A": "b"}), 410, "out")],
)
def test_an_error_handler_gives_the_data_and_may_give_the_status(
    app: Flask, jsonrpc: JSONRPC, returned: Any, status: int, data: Any
) -> None:
    @jsonrpc.errorhandler(LookupError)
    def handle(error: LookupError) -> Any:
        return returned

    jsonrpc.register(lambda: {}["x"], "find")  # a KeyError, which is a LookupError
    response = call(app, "find")
    assert response.status_code == status
    assert response.json["error"] == {"name": "ServerError", "code": -32000, "message": "Server error", "data": data}


def test_a_handler_of_server_errors_takes_what_no_other_does(app: Flask, jsonrpc: JSONRPC) -> None:
    jsonrpc.register_error_handler(ServerError, lambda error: str(error.original_exception))
    jsonrpc.register(lambda: 1 / 0, "fail")
    assert call(app, "fail").json["error"]["data"] == "division by zero"


def test_a_handler_that_fails_is_logged_and_the_client_still_answered(
    app: Flask, jsonrpc: JSONRPC, caplog: pytest.LogCaptureFixture
) -> None:
    jsonrpc.register_error_handler(ZeroDivisionError, lambda error: error.nope)
    jsonrpc.register(lambda: 1 / 0, "fail")
    assert call(app, "fail").json["error"]["code"] == -32000
    assert "Exception in the JSON-RPC error handler" in caplog.text


# -- registration --------------------------------------------------------------------------------------


class Service:
    def method(self) -> None: ...


@pytest.mark.parametrize("thing", [Service().method, Service, print, "text", None], ids=repr)
def test_only_functions_can_be_registered(jsonrpc: JSONRPC, thing: Any) -> None:
    with pytest.raises(ValueError, match="the view function must be either a function or a staticmethod"):
        jsonrpc.register(thing, "x")


def test_methods_may_be_registered_before_the_application_is_known() -> None:
    jsonrpc = JSONRPC(path="/rpc")
    jsonrpc.register(lambda: 1, "one")
    app = Flask("later")
    jsonrpc.init_app(app)
    assert call(app, "one", path="/rpc").json["result"] == 1


def test_the_path_has_the_root_of_the_application_in_front() -> None:
    app = Flask("rooted")
    app.config.update(APPLICATION_ROOT="/root", SERVER_NAME="example.org")
    jsonrpc = JSONRPC(app, "/api")
    assert (jsonrpc.path, jsonrpc.base_url) == ("/root/api", "http://example.org/root/api")


def test_a_blueprint_has_methods_and_a_url_of_its_own(app: Flask, jsonrpc: JSONRPC) -> None:
    blueprint = JSONRPCBlueprint("admin", __name__)
    jsonrpc.register_blueprint(app, blueprint, url_prefix="/admin")
    blueprint.register(lambda: True, "well")
    assert call(app, "well", path="/api/admin").json["result"] is True
    assert call(app, "well").json["error"]["code"] == -32601
    assert jsonrpc.jsonrpc_apps == {blueprint}


def test_a_view_of_ones_own_stands_before_every_call() -> None:
    class Guarded(JSONRPCView):
        def dispatch_request(self, **kwargs: Any) -> Any:
            if request.headers.get("X-Key") != "open":
                abort(401)
            return super().dispatch_request(**kwargs)

    app = Flask("guarded")
    jsonrpc = JSONRPC(app, "/api", jsonrpc_site_api=Guarded)
    jsonrpc.register(lambda: 1, "one")
    assert call(app, "one").status_code == 401
    content = {"jsonrpc": "2.0", "method": "one", "id": 1}
    assert app.test_client().post("/api", json=content, headers={"X-Key": "open"}).json["result"] == 1


def test_a_site_of_ones_own_answers() -> None:
    class Upper(JSONRPCSite):
        def dispatch(self, call: Any) -> Any:
            response, status, headers = super().dispatch(call)
            assert isinstance(response, dict)
            return response | {"result": response["result"].upper()}, status, headers

    app = Flask("upper")
    jsonrpc = JSONRPC(app, "/api", jsonrpc_site=Upper)
    jsonrpc.register(lambda: "hello", "hello")
    assert call(app, "hello").json["result"] == "HELLO"


def test_a_json_provider_of_ones_own_writes_the_answers(app: Flask, jsonrpc: JSONRPC) -> None:
    class Provider(DefaultJSONProvider):
        @staticmethod
        def default(o: Any) -> Any:
            return "when?" if isinstance(o, datetime) else DefaultJSONProvider.default(o)

    jsonrpc.register(lambda: datetime(2026, 1, 31), "when")
    assert call(app, "when").json["result"] == "2026-01-31T00:00:00"
    app.json = Provider(app)
    assert call(app, "when").json["result"] == "when?"


def test_a_structured_parameter_and_result_go_both_ways(app: Flask, jsonrpc: JSONRPC) -> None:
    @dataclass
    class Item:
        name: str
        when: datetime | None = None

    @jsonrpc.method("same")
    def same(items: list[Item]) -> list[Item]:
        assert all(isinstance(item, Item) for item in items)
        return items

    sent = [{"name": "a", "when": "2026-01-31T12:00:00+00:00"}, {"name": "b", "when": None}]
    assert call(app, "same", {"items": sent}).json["result"] == sent
    error = call(app, "same", {"items": [{"name": 3}]}).json["error"]
    assert (error["code"], error["data"]["message"]) == (-32602, "params.items[0].name: expected a string, got 3")


# -- the page, as far as it takes no browser --------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "debug", "status"), [(True, False, 200), (None, True, 200), (None, False, 404), (False, True, 404)]
)
def test_the_page_is_there_when_asked_for_and_in_debug_mode(wanted: bool | None, debug: bool, status: int) -> None:
    app = Flask("shop")
    app.debug = debug
    JSONRPC(app, "/api", enable_web_browsable_api=wanted)
    assert app.test_client().get("/api/browse").status_code == status


def test_the_page_needs_nothing_from_elsewhere_and_may_load_nothing(app: Flask) -> None:
    JSONRPC(app, "/api", enable_web_browsable_api=True)
    client = app.test_client()
    page = client.get("/api/browse")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    static = Path(browse.__file__).parent / "static"
    files = [client.get(f"/api/browse/static/{file.name}") for file in static.iterdir()]
    assert len(files) > 3
    for response in (page, *files):
        assert response.status_code == 200
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert b"https://" not in response.data
        assert b"<script>" not in response.data
        response.close()
    assert sum(len(response.data) for response in (page, *files)) < 80_000
    assert client.get("/api/browse/static/../browse.py").status_code == 404


def test_the_page_knows_methods_that_were_registered_after_it(app: Flask) -> None:
    jsonrpc = JSONRPC(app, "/api", enable_web_browsable_api=True)
    jsonrpc.register(lambda: 1, "one")
    (document,) = app.test_client().get("/api/browse/openrpc.json").json
    assert [method["name"] for method in document["methods"]] == ["one"]
    assert document["servers"] == [{"name": "here", "url": "/api"}]


def test_a_blueprint_can_only_be_shown_where_there_is_a_page(app: Flask, jsonrpc: JSONRPC) -> None:
    with pytest.raises(RuntimeError, match="init the Browse app"):
        jsonrpc.register_browse(JSONRPCBlueprint("admin", __name__))


def test_an_application_with_the_page_runs_no_hooks_for_it(app: Flask) -> None:
    JSONRPC(app, "/api", enable_web_browsable_api=True)
    assert not app.before_request_funcs
    assert not app.after_request_funcs


# -- demijohn's own server ------------------------------------------------------------------------------


def test_over_the_server_a_call_is_answered_as_through_the_test_client(app: Flask, jsonrpc: JSONRPC) -> None:
    from demijohn.message import Origin, RequestHead

    handler: Callable[..., Any] = lambda a, b=2: [a, b]  # noqa: E731
    jsonrpc.register(handler, "m")
    for content in (
        {"jsonrpc": "2.0", "method": "m", "params": [1], "id": 1},
        {"jsonrpc": "2.0", "method": "m", "params": []},
        [{"jsonrpc": "2.0", "method": "m", "params": {"a": 1}, "id": 1}, 1],
        {"jsonrpc": "2.0", "method": "n", "id": 1},
    ):
        body = json.dumps(content).encode()
        head = RequestHead("POST", b"/api", (1, 1), [(b"content-type", b"application/json")], Origin(), body)
        assert app.native_match(head) is not None
        message = app.native_handle(head)
        response = app.test_client().post("/api", json=content)
        native = message.content if isinstance(message.content, bytes) else b"".join(message.content)
        assert (message.status, native) == (response.status, response.data)


def test_encoded_content_is_refused_by_its_name(app: Flask, jsonrpc: JSONRPC) -> None:
    content = gzip.compress(b'{"jsonrpc":"2.0","id":1,"method":"x"}')
    fields = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    answer = app.test_client().post("/api", data=content, headers=fields)
    assert (answer.status_code, answer.json["error"]["code"]) == (415, -32700)
    assert "The content is encoded (gzip), which is not read" in answer.json["error"]["data"]["message"]


def test_classes_of_a_function_are_described_when_it_has_ended() -> None:
    app = Flask("factory")

    def create() -> None:
        jsonrpc = JSONRPC(app, "/api", enable_web_browsable_api=True)

        @dataclass
        class Inner:
            a: int

        @dataclass
        class Outer:
            inner: Inner
            more: list[Outer]
            when: date | str = "soon"

        @jsonrpc.method("one")
        def one(x: Inner) -> list[Outer]: ...

    create()
    properties = call(app, "rpc.discover").json["result"]["components"]["schemas"]["Outer"]["properties"]
    assert properties["inner"] == {"$ref": "#/components/schemas/Inner"}
    assert (
        call(app, "rpc.describe").json["result"]["methods"]["one"]["params"][0]["properties"]["a"]["type"] == "Number"
    )
    assert app.test_client().get("/api/browse/openrpc.json").status_code == 200


def test_methods_that_take_data_frames_are_described() -> None:
    pandas, polars = (pytest.importorskip(name, reason="requirements-dev.lock has it") for name in ("pandas", "polars"))
    app = Flask("frames")
    jsonrpc = JSONRPC(app, "/api")
    for name, hint in {"a": pandas.DataFrame, "b": pandas.Series, "c": polars.DataFrame, "d": polars.LazyFrame}.items():

        def function(x: Any) -> None: ...

        function.__annotations__ = {"x": hint}
        jsonrpc.register(function, name)
    methods = call(app, "rpc.describe").json["result"]["methods"]
    assert [methods[name]["params"][0]["type"] for name in "abcd"] == ["Object"] * 4
