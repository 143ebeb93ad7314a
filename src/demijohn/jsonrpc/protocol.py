"""JSON-RPC 2.0 messages without I/O: bytes to calls, results and errors to response objects.

The specification decides (https://www.jsonrpc.org/specification); section numbers below are its own. Nothing here
knows a socket, a framework or a method: `read_content` gives the members of what was sent, `read_call` makes a
`Call` of one of them, and `response`, `error_response` build what is answered.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

import msgspec

VERSION: Final = "2.0"

# On a WebSocket. Names that begin with "rpc." are kept for extensions (section 4.3), so no method has them.
CANCEL: Final = "rpc.cancel"
PROGRESS: Final = "rpc.progress"
FOLLOW: Final = "rpc.follow"

# -- errors (section 5.1) -----------------------------------------------------------------------


class JSONRPCError(Exception):
    """An error that a client is told: raise it, or a subclass, inside a method.

    code: an integer; -32768 to -32000 belong to the specification.
    message: one short sentence.
    data: anything that JSON can say, or None.
    status_code: the HTTP status when the call was not part of a batch.

    Each may also be a class attribute of a subclass.
    """

    code: int = 0
    message: str | None = None
    data: Any = None
    status_code: int = 400

    def __init__(
        self, message: str | None = None, code: int | None = None, data: Any = None, status_code: int | None = None
    ) -> None:
        super().__init__(message)
        if message is not None:
            self.message = message
        if code is not None:
            self.code = code
        if data is not None:
            self.data = data
        if status_code is not None:
            self.status_code = status_code

    @property
    def jsonrpc_format(self) -> dict[str, Any]:
        """The error object, with the class's name besides what the specification asks for."""
        return {"name": type(self).__name__, "code": self.code, "message": self.message, "data": self.data}


class ParseError(JSONRPCError):
    """What was sent is not JSON."""

    code = -32700
    message = "Parse error"


class InvalidRequestError(JSONRPCError):
    """What was sent is JSON, but not a Request object."""

    code = -32600
    message = "Invalid Request"


class MethodNotFoundError(JSONRPCError):
    """No method of that name is registered."""

    code = -32601
    message = "Method not found"


class InvalidParamsError(JSONRPCError):
    """The parameters do not fit the method."""

    code = -32602
    message = "Invalid params"


class InternalError(JSONRPCError):
    """The method ran, and what it returned cannot be answered."""

    code = -32603
    message = "Internal error"


class ServerError(JSONRPCError):
    """The method raised an exception that is no JSONRPCError; `original_exception` is that one."""

    code = -32000
    message = "Server error"
    status_code = 500

    def __init__(
        self,
        message: str | None = None,
        code: int | None = None,
        data: Any = None,
        status_code: int | None = None,
        original_exception: BaseException | None = None,
    ) -> None:
        super().__init__(message, code, data, status_code)
        self.original_exception = original_exception


class CallTimedOut(JSONRPCError):
    """The method was not done within its `timeout_s`."""

    code = -32001
    message = "Timeout"
    status_code = 504


class RequestCancelled(JSONRPCError):
    """The caller has cancelled the call, on a WebSocket. The code is the one that LSP gave it, and others use."""

    code = -32800
    message = "Request cancelled"


# -- requests (section 4) -----------------------------------------------------------------------


class Absent:
    """The id of a notification: not even null was sent."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()

Id = str | int | float | None


class Call:
    """A Request object.

    params: what was sent, `[]` when nothing was; whether it fits is the method's to say.
    id: the caller's, or ABSENT for a notification (section 4.1), which is never answered.
    """

    __slots__ = ("id", "method", "params")

    def __init__(self, method: str, params: Any, id: Id | Absent) -> None:
        self.method = method
        self.params = params
        self.id = id

    def __repr__(self) -> str:
        return f"<Call {self.method} id={self.id!r}>"


def read_content(content: bytes, batch_limit: int | None = None) -> Any:
    """Return the member or the list of members (a batch, section 6) that `content` holds, not yet checked.

    Raises ParseError for what is not JSON in UTF-8 (RFC 8259), cannot be held (a number out of range) or is nested
    too deeply; InvalidRequestError for an empty batch, one of more than `batch_limit` members, and for a Request
    that names a member twice.
    """
    try:
        value = _decode(content)
    except RecursionError:
        _refuse(ParseError, "Invalid JSON: nested too deeply")
    except UnicodeDecodeError:
        _refuse(ParseError, "Invalid JSON: not UTF-8")
    except ValueError as error:
        _refuse(ParseError, f"Invalid JSON: {_reason(content, error)}")
    if type(value) is list:
        if not value:
            _refuse(InvalidRequestError, "Empty array")
        if batch_limit is not None and len(value) > batch_limit:
            _refuse(InvalidRequestError, f"A batch of {len(value)} calls: this server takes at most {batch_limit}")
    if _may_repeat_members(content, value) and _repeats_members(content):
        _refuse(InvalidRequestError, "A Request object names a member twice")
    return value


def read_call(member: Any) -> Call:
    """Return the call that one member is.

    Raises InvalidRequestError when it is none; `maybe_id` then says which id to answer with.
    """
    if type(member) is not dict:
        _refuse(InvalidRequestError, f"Not a Request object: {_shown(member)}")
    if member.get("jsonrpc") != VERSION:
        _refuse(InvalidRequestError, 'The member "jsonrpc" must be exactly "2.0"')
    method = member.get("method")
    if type(method) is not str:
        _refuse(InvalidRequestError, 'The member "method" must be a string')
    id = member.get("id", ABSENT)
    if type(id) not in _TYPES_OF_ID and id is not ABSENT:
        _refuse(InvalidRequestError, 'The member "id" must be a string, a number or null')
    return Call(method, member.get("params", _NO_PARAMS), id)


def maybe_id(member: Any) -> Id:
    """Return the id of a member that is no Request object, or None when there is none to be found (section 5)."""
    id = member.get("id") if type(member) is dict else None
    return id if type(id) in _TYPES_OF_ID else None


_decode = msgspec.json.Decoder().decode
_NO_PARAMS: Final[list[Any]] = []


# By type, because True is an int to isinstance and no number to JSON.
_TYPES_OF_ID: Final = frozenset({str, int, float, type(None)})


def _refuse(error: type[JSONRPCError], message: str) -> NoReturn:
    raise error(data={"message": message})


def _reason(content: bytes, error: ValueError) -> str:
    if not content.strip():
        return "there is no content"
    text = str(error).partition(" - at `")[0]
    if text == "Input data was truncated":
        return "it ends too early, or a string holds half of a surrogate pair"
    return text.removeprefix("JSON is malformed: ")


def _shown(value: Any) -> str:
    if type(value) is list:
        return "an array"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 100 else text[:99] + "…"


def _may_repeat_members(content: bytes, value: Any) -> bool:
    """Whether a Request object could name a member twice; a cheap look that may say yes wrongly.

    value: what `content` holds.
    """
    if type(value) is dict:
        # Each member takes a colon: where there are no more colons than members in what was read, none was lost.
        # bench/jsonrpc_calls.py: 0.4 us less.
        params = value.get("params")
        if content.count(b":") == len(value) + (len(params) if type(params) is dict else 0):
            return False
    count = len(value) if type(value) is list else 1
    # An ASCII letter written as \u006d hides a name from the count.
    return (
        content.count(b'"method"') > count
        or content.count(b'"params"') > count
        or content.count(b'"id"') > count
        or content.count(b'"jsonrpc"') > count
        or b"\\u00" in content
    )


def _repeats_members(content: bytes) -> bool:
    """Whether a Request object names a member twice.

    RFC 8259 section 4 leaves the meaning open, so a gateway that filters by method and we who run it might read two
    different calls. Inside params the last one counts, as nearly everywhere.
    """
    try:
        outline = json.loads(content, object_pairs_hook=_twice, parse_int=len, parse_float=len)
    except RecursionError:
        _refuse(ParseError, "Invalid JSON: nested too deeply")
    return outline is _TWICE or (type(outline) is list and _TWICE in outline)


_TWICE: Final = object()


def _twice(pairs: list[tuple[str, Any]]) -> object:
    return _TWICE if len({name for name, _ in pairs}) < len(pairs) else None


# -- responses (section 5) ----------------------------------------------------------------------


def response(id: Id, result: Any) -> dict[str, Any]:
    """Return the Response object of a call that succeeded."""
    return {"id": id, "jsonrpc": VERSION, "result": result}


def error_response(id: Id, error: dict[str, Any]) -> dict[str, Any]:
    """Return the Response object of a call that failed; `error` is an error object."""
    return {"id": id, "jsonrpc": VERSION, "error": error}
