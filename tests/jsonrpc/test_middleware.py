"""What runs around calls: middlewares of a URL, and `auth` of a method."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from demijohn import Flask, abort, request
from demijohn.jsonrpc import JSONRPC, JSONRPCBlueprint, JSONRPCError, quirks
from demijohn.jsonrpc.protocol import Call


@pytest.fixture
def app() -> Flask:
    return Flask("guarded")


@pytest.fixture
def jsonrpc(app: Flask) -> JSONRPC:
    return JSONRPC(app, "/api")


def post(app: Flask, method: str, params: Any = (), path: str = "/api", **fields: str) -> Any:
    content = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return app.test_client().post(path, json=content, headers=fields)


def test_a_middleware_runs_before_and_after_each_call_the_first_outermost(app: Flask, jsonrpc: JSONRPC) -> None:
    seen: list[Any] = []

    @jsonrpc.middleware
    def outer(call: Call) -> Iterator[None]:
        seen.append(("before", call.method, call.params, call.id))
        yield
        seen.append("after")

    @jsonrpc.middleware
    def inner(call: Call) -> Iterator[None]:
        seen.append("inner")
        yield

    @jsonrpc.method("run")
    def run(n: int) -> int:
        seen.append("run")
        return n

    assert post(app, "run", [3]).json["result"] == 3
    assert seen == [("before", "run", [3], 1), "inner", "run", "after"]


def test_a_middleware_may_refuse_a_call_before_its_params_are_looked_at(app: Flask, jsonrpc: JSONRPC) -> None:
    @jsonrpc.middleware
    def limit(call: Call) -> Iterator[None]:
        if call.method == "limited":
            raise JSONRPCError("Too many calls", code=-32029, status_code=429)
        yield

    @jsonrpc.method("limited")
    def limited() -> None:
        pytest.fail("it was called")

    answer = post(app, "limited", ["one too many"])
    assert (answer.status_code, answer.json["error"]["code"]) == (429, -32029)


def test_a_middleware_sees_what_the_method_raises_and_may_raise_another(app: Flask, jsonrpc: JSONRPC) -> None:
    @jsonrpc.middleware
    def translate(call: Call) -> Iterator[None]:
        try:
            yield
        except KeyError as error:
            raise JSONRPCError("not found", code=4, data=error.args[0]) from error

    @jsonrpc.method("look_up")
    def look_up() -> int:
        return {}["bottle"]  # type: ignore[no-any-return]

    assert post(app, "look_up").json["error"]["data"] == "bottle"


@pytest.mark.parametrize("is_async", [False, True])
def test_a_method_is_called_only_when_its_auth_says_so(app: Flask, jsonrpc: JSONRPC, is_async: bool) -> None:
    def knows_the_key(call: Call) -> bool:
        return request.headers.get("X-Key") == "sesame"

    def secret() -> str:
        return "treasure"

    async def secret_async() -> str:
        return "treasure"

    jsonrpc.register(secret_async if is_async else secret, "secret", auth=knows_the_key)
    jsonrpc.register(lambda: "open", "open")

    assert post(app, "secret", **{"X-Key": "sesame"}).json["result"] == "treasure"
    refused = post(app, "secret")
    assert (refused.status_code, refused.json["error"]["message"]) == (403, "Forbidden")
    assert post(app, "open").json["result"] == "open"


def test_an_auth_that_hands_on_what_another_has_to_wait_for_lets_nobody_in_unasked(
    app: Flask, jsonrpc: JSONRPC
) -> None:
    async def knows_the_key(call: Call) -> bool:
        return request.headers.get("X-Key") == "sesame"

    jsonrpc.register(lambda: "treasure", "secret", auth=lambda call: knows_the_key(call))
    assert post(app, "secret", **{"X-Key": "sesame"}).json["result"] == "treasure"
    assert post(app, "secret").status_code == 403


def test_with_quirks_too_nothing_is_called_without_its_auth(app: Flask) -> None:
    jsonrpc = quirks.JSONRPC(app, "/api")

    @jsonrpc.method("secret", auth=lambda call: False)
    def secret() -> str:
        return "treasure"

    assert post(app, "secret").status_code == 403


def test_auth_may_answer_otherwise(app: Flask, jsonrpc: JSONRPC) -> None:
    jsonrpc.register(lambda: "treasure", "secret", auth=lambda call: abort(401))
    assert post(app, "secret").status_code == 401


def test_a_blueprint_has_middlewares_of_its_own(app: Flask, jsonrpc: JSONRPC) -> None:
    blueprint = JSONRPCBlueprint("cellar", __name__)
    seen = []

    @blueprint.middleware
    def see(call: Call) -> Iterator[None]:
        seen.append(call.method)
        yield

    blueprint.register(lambda: 1, "one")
    jsonrpc.register(lambda: 2, "two")
    jsonrpc.register_blueprint(app, blueprint, url_prefix="/cellar")
    post(app, "two")
    post(app, "one", path="/api/cellar")
    assert seen == ["one"]


# -- limits of time ---------------------------------------------------------------------------------


def test_a_call_that_takes_too_long_is_ended(app: Flask, jsonrpc: JSONRPC) -> None:
    ended = []

    @jsonrpc.method("wait", timeout_s=0.01)
    async def wait(how: str) -> str:
        if how == "short":
            return "done"
        if how == "error":
            raise TimeoutError("the cellar's own")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)
        return "never"

    assert post(app, "wait", ["short"]).json["result"] == "done"
    late = post(app, "wait", ["long"])
    assert (late.status_code, late.json["error"]["code"], ended) == (504, -32001, [True])
    assert late.json["error"]["data"] == {"message": "The call took longer than 0.01 s"}
    assert post(app, "wait", ["error"]).json["error"]["code"] == -32000


def test_only_what_can_be_ended_has_a_timeout(jsonrpc: JSONRPC) -> None:
    with pytest.raises(ValueError, match="only an `async def` method can be ended"):
        jsonrpc.register(lambda: 1, "plain", timeout_s=1)


@pytest.mark.parametrize("option", ["heavy", "job", "timeout_s", "mcp"])
def test_with_quirks_an_option_that_is_not_there_is_refused(app: Flask, option: str) -> None:
    async def wait() -> int:
        return 1

    with pytest.raises(ValueError, match=f"asks for {option}, which Flask-JSONRPC with its quirks has not"):
        quirks.JSONRPC(app, "/api").register(wait, "wait", **{option: 1})
