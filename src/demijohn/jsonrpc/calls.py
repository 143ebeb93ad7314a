"""Request objects and what is answered to them, as a client sees it: without I/O."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NoReturn

import msgspec

from .converting import Hint, convert
from .hints import readable
from .protocol import VERSION
from .transport import Reply

Params = Sequence[Any] | Mapping[str, Any]
Request = dict[str, Any]


class CallError(Exception):
    """A call has no result."""


class RemoteError(CallError):
    """The server answered with an error object (JSON-RPC 2.0 section 5.1)."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def __str__(self) -> str:
        detail = self.data.get("message") if isinstance(self.data, dict) else self.data
        return f"{self.message} ({self.code})" + (f": {detail}" if detail is not None else "")


class TransportError(CallError, ConnectionError):
    """There was no answer, or none that is JSON-RPC; `status` is its HTTP status, if there was one."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class CallTimeout(TransportError, TimeoutError):
    """There was no answer in time. The call may have been run."""


class Calls:
    """Request objects of one client, and what Response objects to them mean."""

    def __init__(
        self, url: str, headers: Mapping[str, str] | None, errors: Mapping[int, type[RemoteError]] | None
    ) -> None:
        self.url = url
        self.headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": "demijohn-client",
            **(headers or {}),
        }
        self.errors = dict(errors or {})
        self._ids = itertools.count(1)

    def request(self, method: str, params: Params | None) -> Request:
        request = {"jsonrpc": VERSION, "id": next(self._ids), "method": method}
        return request if params is None else request | {"params": params}

    def notification(self, method: str, params: Params | None) -> Request:
        request = {"jsonrpc": VERSION, "method": method}
        return request if params is None else request | {"params": params}

    def answered(self, outcome: Reply | OSError) -> Reply:
        """Return the answer there was, or raise that there was none."""
        if isinstance(outcome, Reply):
            return outcome
        if isinstance(outcome, TimeoutError):
            raise CallTimeout(f"{self.url} did not answer in time") from outcome
        raise TransportError(f"{self.url} did not answer: {outcome}") from outcome

    def accepted(self, reply: Reply) -> None:
        """Raise TransportError when the server refused what it would not have answered."""
        if reply.status >= 400:
            self.no_answer(f"answered {reply.status}", reply.status)

    def content_of(self, reply: Reply) -> Any:
        """Return the JSON of an answer; raise TransportError when there is none."""
        try:
            return msgspec.json.decode(reply.content)
        except (ValueError, RecursionError):
            shown = reply.content[:100].decode(errors="replace").strip()
            self.no_answer(f"answered {reply.status}" + (f" with {shown!r}" if shown else ""), reply.status)

    def result(self, response: Any, id: int, status: int) -> Any:
        """Return the result in the Response object to the request `id`; raise the error in it."""
        if not isinstance(response, dict) or response.get("jsonrpc") != VERSION:
            self.no_answer(f"answered {status} with something else than a JSON-RPC response", status)
        if "error" in response:
            self.raise_error(response["error"], status)
        if response.get("id") != id or "result" not in response:
            self.no_answer(f"answered another call than {id}", status)
        return response["result"]

    def responses(self, content: Any, ids: list[int], status: int) -> dict[int, Any]:
        """Return the Response objects of a batch by id; raise the error that stands for all of it."""
        if isinstance(content, dict) and "error" in content:
            self.raise_error(content["error"], status)
        if not isinstance(content, list):
            self.no_answer(f"answered {status} with something else than the responses of a batch", status)
        responses = [response for response in content if isinstance(response, dict)]
        by_id = {id: response for response in responses if isinstance(id := response.get("id"), Hashable)}
        return {id: by_id.get(id) for id in ids}

    def raise_error(self, error: Any, status: int) -> NoReturn:
        code = error.get("code") if isinstance(error, dict) else None
        if not isinstance(code, int):
            self.no_answer(f"answered {status} with an error that is none of JSON-RPC", status)
        raise self.errors.get(code, RemoteError)(code, str(error.get("message", "")), error.get("data"))

    def no_answer(self, what: str, status: int | None = None) -> NoReturn:
        raise TransportError(f"{self.url} {what}", status)


def converted(value: Any, returns: Hint) -> Any:
    """Return a result as the type that `returns` hints at."""
    if returns is Any:
        return value
    try:
        return convert(value, _compiled(returns))
    except msgspec.ValidationError as error:
        raise TransportError(f"the result is no {returns}: {error}") from None


@lru_cache(maxsize=1024)
def _compiled(returns: Hint) -> Hint:
    return readable(returns)


OMITTED: Any = type("Omitted", (), {"__repr__": lambda self: "OMITTED"})()  # a parameter that is left out


def given(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params that are not OMITTED: generated clients use it."""
    return {name: value for name, value in params.items() if value is not OMITTED}


def one_way(arguments: tuple[Any, ...], named: dict[str, Any]) -> Params | None:
    if arguments and named:
        raise TypeError("JSON-RPC passes parameters by position or by name, not both")
    return list(arguments) or named or None
