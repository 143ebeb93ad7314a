"""Testing methods without a server: the client of JSON-RPC, and the application's test client for its transport."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .client import Client
from .transport import Reply

if TYPE_CHECKING:
    from werkzeug.test import Client as TestClient

    from ..app import Flask


class AppTransport:
    """Brings requests to an application in this process: a `transport.Transport`."""

    def __init__(self, client: TestClient, path: str) -> None:
        self._client = client
        self._path = path

    def send(self, content: bytes, headers: dict[str, str], timeout_s: float) -> Reply:
        """Return the application's answer, however long it takes: it runs in this thread."""
        response = self._client.post(self._path, data=content, headers=headers)
        fields = {name.lower(): value for name, value in response.headers}
        return Reply(response.status_code, fields, response.get_data())

    def close(self) -> None:
        """There is nothing open."""


def rpc_client(app: Flask, path: str = "/api", **options: Any) -> Client:
    """Return a client of the methods at `path` of an application, which needs no server.

    options: those of `Client`, such as `headers` and `errors`.

    .. versionadded:: 0.1
    """
    return Client(path, transport=AppTransport(app.test_client(), path), **options)
