"""The test client of JSON-RPC: the application's own, behind the names of the client."""

from __future__ import annotations

import pytest

from demijohn import Flask, abort, request
from demijohn.jsonrpc import JSONRPC, Client, RemoteError, TransportError, rpc_client


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    jsonrpc = JSONRPC(app, "/rpc")
    noted: list[str] = app.extensions.setdefault("noted", [])
    jsonrpc.method("add")(lambda a, b: a + b)
    jsonrpc.method("who")(lambda: request.headers["X-User"])
    jsonrpc.method("note")(lambda text: noted.append(text))
    jsonrpc.method("refuse")(lambda: abort(403))
    return app


@pytest.fixture
def rpc(app: Flask) -> Client:
    return rpc_client(app, "/rpc", headers={"X-User": "ann"})


def test_methods_are_called_without_a_server(app: Flask, rpc: Client) -> None:
    assert rpc.add(a=1, b=2) == 3
    assert rpc.call("add", [1, 2]) == 3
    assert rpc.who() == "ann"
    rpc.notify("note", ["silently"])
    assert app.extensions["noted"] == ["silently"]
    with rpc.batch() as batch:
        sums = [batch.add(number, 1) for number in range(3)]
    assert [each.result() for each in sums] == [1, 2, 3]


def test_errors_are_those_of_the_client(app: Flask, rpc: Client) -> None:
    with pytest.raises(RemoteError, match="Method not found") as raised:
        rpc.unknown()
    assert raised.value.code == -32601
    with pytest.raises(RemoteError, match="Forbidden"):
        rpc.refuse()
    with pytest.raises(TransportError, match="/elsewhere answered 404"):
        rpc_client(app, "/elsewhere").add(1, 2)
