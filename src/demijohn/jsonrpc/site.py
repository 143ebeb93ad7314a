"""The methods and error handlers of one URL, and how calls to them are answered."""

from __future__ import annotations

import logging
import os
import sys
import traceback
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from inspect import isawaitable
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from werkzeug.datastructures import Headers
from werkzeug.exceptions import Forbidden, HTTPException

from ..globals import _cv_app, _cv_request, current_app, request
from ..json.provider import DefaultJSONProvider
from ..signals import got_request_exception
from ..typing import HeadersValue
from . import describe, encoding, openrpc, protocol, timing
from .ending import MethodEnded, alone, ends_itself_alone
from .protocol import (
    ABSENT,
    Call,
    Id,
    InternalError,
    InvalidRequestError,
    JSONRPCError,
    MethodNotFoundError,
    ParseError,
    ServerError,
)
from .registry import Method, Registry, WrongResult
from .together import Steps, together

if TYPE_CHECKING:
    from ..app import Flask
    from .telemetry import ServerTracing

ErrorHandler = Callable[[Any], Any]
Middleware = Callable[[Call], Iterator[None]]

# What a site answers: the Response object or objects, None for silence; the HTTP status; header fields.
Answer = tuple[dict[str, Any] | list[Any] | None, int, HeadersValue]

NO_HEADERS: dict[str, str] = {}
CONTENT_TYPE = "application/json"
INTERNAL_ERROR_STATUS = 500
# Werkzeug calls what ends in +json JSON too; these two are of JSON-RPC over HTTP, drafts that clients still follow.
_MEDIA_TYPES = ("application/json", "application/json-rpc", "application/jsonrequest")

# Flask-JSONRPC's names for the same.
JSONRPC_VERSION_DEFAULT = protocol.VERSION
JSONRPC_DEFAULT_HTTP_HEADERS = NO_HEADERS
JSONRPC_DEFAULT_HTTP_STATUS_CODE = 200


class JSONRPCSite:
    """The methods and error handlers of one URL.

    batch_limit: how many calls a batch may hold; `JSONRPC_BATCH_LIMIT` of the application's config.
    batch_concurrency: how many `async def` calls of a batch wait at a time; `JSONRPC_BATCH_CONCURRENCY` there.
    """

    batch_limit: int | None = 1000
    batch_concurrency = 10
    read_content = staticmethod(protocol.read_content)
    read_call = staticmethod(protocol.read_call)

    def __init__(self, version: str, path: str | None = None, base_url: str | None = None) -> None:
        self.version = version
        self.path = path
        self.base_url = base_url
        self.name = "Flask-JSONRPC"
        self.uuid = uuid4()
        self.methods = Registry()
        self.error_handlers: dict[type[Exception], ErrorHandler] = {}
        self.middlewares: list[Middleware] = []
        self.logger = logging.getLogger("flask_jsonrpc")
        self._apps: list[weakref.ref[Flask]] = []  # weak: tests make many applications
        self._starts_jobs = False
        self._has_websocket = False
        self.describe = describe.annotate(self._describe_function(), describe.ServiceDescribe)
        self.register_reserved(describe.DESCRIBE_METHOD_NAME, self.describe)

    def _describe_function(self) -> Callable[[], dict[str, Any]]:
        def rpc_describe() -> dict[str, Any]:
            return describe.Descriptor(self).service()

        return rpc_describe

    def discover(self) -> dict[str, Any]:
        """Return the OpenRPC document of the methods: what `rpc.discover` answers where no method has that name."""
        url = self.base_url or f"{request.root_url.rstrip('/')}{self.path or '/'}"
        return openrpc.document(self.methods, openrpc.title_of(_current_application()), self.version, url)

    def serve_in(self, app: Flask) -> None:
        """Note that an application answers the calls, and take what its config says of them."""
        self._apps.append(weakref.ref(app))
        self.batch_limit = app.config.get("JSONRPC_BATCH_LIMIT", self.batch_limit)
        self.batch_concurrency = max(1, app.config.get("JSONRPC_BATCH_CONCURRENCY", self.batch_concurrency))
        if app.config.get("JSONRPC_SERVER_TIMING"):
            self._watch(timing.ServerTiming)
        if app.config.get("JSONRPC_OPENTELEMETRY"):
            from .telemetry import ServerTracing  # imports OpenTelemetry

            self._watch(ServerTracing)
        if self._starts_jobs:
            self.starts_jobs()

    def _watch(self, kind: type[timing.ServerTiming | ServerTracing]) -> None:
        """Put a middleware of ours around all others, once."""
        if not any(isinstance(middleware, kind) for middleware in self.middlewares):
            self.middlewares.insert(0, kind(self.methods))

    def starts_jobs(self) -> None:
        """Have the applications answer for jobs, as a method starts them."""
        from ..heavy.jobs import jobs_of  # for its cost

        self._starts_jobs = True
        for app in filter(None, (known() for known in self._apps)):
            jobs_of(app)
        self._offer_following()

    def speaks_websocket(self) -> None:
        """Note that calls come over WebSockets too."""
        self._has_websocket = True
        self._offer_following()

    def _offer_following(self) -> None:
        """Let callers on a WebSocket follow the jobs that they start there."""
        if self._starts_jobs and self._has_websocket:
            from ..heavy.jobs import follow  # for its cost

            self.register_reserved(protocol.FOLLOW, follow)

    # -- registration ---------------------------------------------------------------------------

    @property
    def view_funcs(self) -> OrderedDict[str, Callable[..., Any]]:
        """The registered functions by name of the method, `rpc.describe` among them."""
        return OrderedDict((method.name, method.function) for method in self.methods.all())

    def set_path(self, path: str) -> None:
        self.path = path

    def set_base_url(self, base_url: str | None) -> None:
        self.base_url = base_url

    def register(self, name: str, view_func: Callable[..., Any], **options: Any) -> Method:
        """Make a function the method `name`; see `Registrar.register_view_function` for the options."""
        options = {"validate": True, "notification": True} | options
        method = Method(name, view_func, options["validate"], options["notification"])
        method.tool = options.get("mcp")
        method.auth = options.get("auth")
        self.methods.add(method)
        return method

    def register_reserved(self, name: str, view_func: Callable[..., Any]) -> None:
        """Make a function a method whose name begins with "rpc.", which others must not (section 4.3)."""
        self.methods.add(Method(name, view_func, validate=False), reserved=True)

    def register_error_handler(self, exception: type[Exception], fn: ErrorHandler) -> None:
        self.error_handlers[exception] = fn

    # -- answering ------------------------------------------------------------------------------

    @property
    def is_json(self) -> bool:
        """Whether the current request says that its content is JSON."""
        return _is_json(request.content_type)

    def dispatch_request(self) -> Answer:
        """Answer the current HTTP request.

        Raises ParseError or InvalidRequestError for content that holds no calls.
        """
        content = self._sent()
        if type(content) is list:
            return self.batch_dispatch(content)
        return self.handle_dispatch_except(content)

    def _sent(self) -> Any:
        """Return the member or the members that the current HTTP request holds."""
        current = _cv_request.get().request
        if current.content_type != CONTENT_TYPE and not _is_json(current.content_type):
            message = f"Invalid mime type for JSON: {current.mimetype}, use header Content-Type: application/json"
            raise ParseError(data={"message": message})
        try:
            return self.read_content(current.get_data(), self.batch_limit)
        except ParseError:
            if (coding := current.headers.get("Content-Encoding", "identity")).lower() == "identity":
                raise
            message = f"The content is encoded ({coding}), which is not read: send it without Content-Encoding"
            raise ParseError(data={"message": message}, status_code=415) from None  # RFC 9110 section 15.5.16

    def batch_dispatch(self, members: list[Any]) -> Answer:
        """Answer a batch in its order; 204 when it held notifications only (section 6)."""
        return _together(map(self.handle_dispatch_except, members))

    def handle_dispatch_except(self, member: Any) -> Answer:
        """Answer one member, whatever happens in it."""
        try:
            call = self.read_call(member)
        except JSONRPCError as error:
            return self.error_answer(protocol.maybe_id(member), error)
        try:
            return self.dispatch(call)
        except Exception as error:
            return self.handle_exception(call, error)
        except BaseException as error:
            if not ends_itself_alone(error):
                raise
            return self.handle_exception(call, error)

    def dispatch(self, call: Call) -> Answer:
        """Run the method that is called; what goes wrong is raised."""
        method = self.methods.get(call.method)
        if method is None and call.method == openrpc.DISCOVER_METHOD_NAME:
            method = Method(call.method, self.discover, validate=False)
        if method is None:
            with self._around(call):
                raise MethodNotFoundError(data={"message": f"Method not found: {call.method}"})
        if call.id is ABSENT and not method.notification:
            raise NotificationRefused(call.method)
        if self.middlewares or method.auth is not None:
            with self._around(call, method):
                return self._run(call, method)
        return self._run(call, method)

    def _run(self, call: Call, method: Method) -> Answer:
        arguments, named = method.bind(call.params)
        if method.is_async:
            result = _waited_for(current_app.ensure_sync(method.function)(*arguments, **named))
        else:
            result = method.function(*arguments, **named)
        if type(result) is tuple or call.id is ABSENT:
            return self._answer(call, method, result)
        # As `_answer` does. bench/jsonrpc_calls.py: 0.4 us less a call.
        return {"id": call.id, "jsonrpc": protocol.VERSION, "result": method.check(result)}, 200, NO_HEADERS

    @contextmanager
    def _around(self, call: Call, method: Method | None = None) -> Iterator[None]:
        """What runs before and after a call: the middlewares, the first outermost, and in them the method's `auth`."""
        with ExitStack() as stack:
            for middleware in self.middlewares:
                stack.enter_context(contextmanager(middleware)(call))
            if method is not None and method.auth is not None and not _is_let_in(method.auth, call):
                raise Forbidden
            yield

    def _answer(self, call: Call, method: Method, result: Any) -> Answer:
        """Answer with what the method returned."""
        status: int
        headers: HeadersValue
        status, headers = 200, NO_HEADERS
        if type(result) is tuple:
            result, status, headers = self.unpack_tuple_returns(result, method)
        else:
            result = method.check(result)
        if call.id is ABSENT:
            return None, 204, headers
        return protocol.response(call.id, result), status, headers  # type: ignore[arg-type]

    # -- answering on an event loop ---------------------------------------------------------------
    #
    # The same once more, as generators (message.Steps): methods that are `async def` are yielded, and None is yielded
    # before what may block.

    def awaits(self) -> bool:
        """Whether calls of this site may wait on an event loop: it has a method that is `async def`, and no subclass
        answers calls in a way of its own."""
        is_stock = all(getattr(type(self), name) is getattr(JSONRPCSite, name) for name in _STAGES)
        return is_stock and any(method.is_async for method in self.methods.all())

    def in_steps(self) -> Steps[Answer]:
        """Do what `dispatch_request` does; calls of a batch that follow each other and wait do so together."""
        content = self._sent()
        if type(content) is not list:
            return (yield from self._member_in_steps(content))
        answers: list[Answer] = []
        for is_awaited, members in groupby(content, lambda member: self._awaited(member) is not None):
            if is_awaited:
                while some := list(islice(members, self.batch_concurrency)):
                    answers += yield from together(map(self._member_in_steps, some))
            else:
                yield None
                answers += map(self.handle_dispatch_except, members)
        return _together(answers)

    def _awaited(self, member: Any) -> Method | None:
        """Return the method that a member calls when it is `async def`."""
        name = member.get("method") if type(member) is dict else None
        method = self.methods.get(name) if type(name) is str else None
        return method if method is not None and method.is_async else None

    def _member_in_steps(self, member: Any) -> Steps[Answer]:
        """Do what `handle_dispatch_except` does."""
        method = self._awaited(member)
        if method is None:
            yield None
            return self.handle_dispatch_except(member)
        try:
            call = self.read_call(member)
        except JSONRPCError as error:
            return self.error_answer(protocol.maybe_id(member), error)
        try:
            if call.id is ABSENT and not method.notification:
                raise NotificationRefused(call.method)
            if not self.middlewares and method.auth is None and not method.is_wrapped:
                arguments, named = method.bind(call.params)
                return self._answer(call, method, (yield alone(method.function, arguments, named)))
            yield None
            with self._around(call, method):
                arguments, named = method.bind(call.params)
                function = method.function
                if method.is_wrapped:
                    function, arguments, named = _outcome_of, (function(*arguments, **named),), {}
                result = yield alone(function, arguments, named)
                yield None
                return self._answer(call, method, result)
        except (Exception, SystemExit) as error:
            yield None
            return self.handle_exception(call, error.error if isinstance(error, MethodEnded) else error)

    # -- results and errors -----------------------------------------------------------------------

    def unpack_tuple_returns(self, returned: tuple[Any, ...], method: Method) -> tuple[Any, int, Any]:
        """Take a tuple that a method returned apart, as a view's: (result, status), (result, headers) or all three.

        Any other tuple is a result. The return hint may be of the tuple or of the result in it.
        """
        result, status, headers = _unpacked(returned)
        try:
            method.check(returned)
        except WrongResult:
            if result is returned:
                raise
            result = method.check(result)
        return result, status, headers

    def handle_exception(self, call: Call, error: BaseException) -> Answer:
        """Answer a call that raised; a notification stays unanswered (section 4.1)."""
        headers: HeadersValue = NO_HEADERS
        if isinstance(error, JSONRPCError):
            answer = error
        elif handler := self._error_handler(error):
            answer, headers = self._handled(handler, error)
        elif isinstance(error, HTTPException):
            answer, headers = _of_http(error), _fields_of(error)
        else:
            answer = self.unexpected(call, error)
        if call.id is ABSENT and not isinstance(error, NotificationRefused):
            return None, 204, headers
        return self.error_answer(None if call.id is ABSENT else call.id, answer, headers)  # type: ignore[arg-type]

    def error_answer(self, id: Id, error: JSONRPCError, headers: HeadersValue = NO_HEADERS) -> Answer:
        """Return the answer for an error; in debug mode it has the traceback in it, unless that is ours alone."""
        member = error.jsonrpc_format
        if member["message"] is None:
            member["message"] = ""  # section 5.1: it is a string
        cause = getattr(error, "original_exception", None) or error
        if current_app.debug and not _is_raised_here(cause):
            member["stack"] = "".join(traceback.format_exception(cause))
            member["executable"] = sys.executable
        return protocol.error_response(id, member), error.status_code, headers

    def _error_handler(self, error: BaseException) -> ErrorHandler | None:
        for cls in type(error).__mro__:
            if cls in self.error_handlers:
                return self.error_handlers[cls]
        # One for ServerError takes what no other takes, and finds it in `original_exception`.
        return None if isinstance(error, HTTPException | WrongResult) else self.error_handlers.get(ServerError)

    def _handled(self, handler: ErrorHandler, error: BaseException) -> tuple[JSONRPCError, HeadersValue]:
        """Let a handler of the user's make the `data` of the error, and its status and headers if it likes."""
        answer = ServerError(original_exception=error)
        given: Any = answer if handler is self.error_handlers.get(ServerError) else error
        try:
            data, status, headers = _unpacked(current_app.ensure_sync(handler)(given), answer.status_code)
        except Exception as failure:
            current_app.logger.error("Exception in the JSON-RPC error handler %r", handler, exc_info=failure)
            return answer, NO_HEADERS
        answer.data, answer.status_code = data, status
        return answer, headers

    def unexpected(self, call: Call, error: BaseException) -> JSONRPCError:
        """Log an exception that nobody expected; the client learns what it was in debug mode only."""
        if isinstance(error, WrongResult):
            current_app.logger.error("JSON-RPC: %s", error)
            message = str(error) if current_app.debug else "The result is not of the type that the method promises"
            return InternalError(data={"message": message}, status_code=INTERNAL_ERROR_STATUS)
        current_app.logger.error("Exception in the JSON-RPC method %r", call.method, exc_info=error)
        if got_request_exception.receivers:
            got_request_exception.send(_current_application(), _async_wrapper=current_app.ensure_sync, exception=error)
        message = str(error) if current_app.debug else "The method failed"
        return ServerError(data={"message": message}, original_exception=error)

    # -- to bytes -------------------------------------------------------------------------------

    def content_of(self, response: dict[str, Any] | list[Any]) -> tuple[bytes, bool]:
        """Return Response objects as JSON, and whether all could be: a result that cannot be fails alone."""
        try:
            return _encode(response), True
        except Exception as error:  # whatever an object of the user's does when it is looked at
            if isinstance(response, list):
                parts, complete = zip(*map(self.content_of, response), strict=True)
                return b"[" + b",".join(part.strip() for part in parts) + b"]\n", all(complete)
            current_app.logger.error(
                "JSON-RPC: the result of the call %r is not JSON: %s",
                response["id"],
                error,
                exc_info=None if isinstance(error, encoding.Unserializable) else error,
            )
            message = str(error) if current_app.debug else "The result cannot be written as JSON"
            failed, _, _ = self.error_answer(
                response["id"], InternalError(data={"message": message}, status_code=INTERNAL_ERROR_STATUS)
            )
            return _encode(failed), False


_STAGES = ("dispatch_request", "batch_dispatch", "handle_dispatch_except", "dispatch", "read_call", "read_content")


def _together(answers: Iterable[Answer]) -> Answer:
    """Return the answer to a batch of those to its members; 204 when all are silent."""
    responses = []
    headers = Headers()
    for response, _, more_headers in answers:
        if more_headers:
            headers.update(more_headers)
        if response is not None:
            responses.append(response)
    return (responses, 200, headers) if responses else (None, 204, headers)


def _is_json(content_type: str | None) -> bool:
    if content_type == CONTENT_TYPE:
        return True
    media_type = (content_type or "").partition(";")[0].strip().lower()
    return media_type in _MEDIA_TYPES or (media_type.startswith("application/") and media_type.endswith("+json"))


async def _outcome_of(value: Any) -> Any:
    """Return what an awaitable comes to; any other value as it is."""
    return await value if isawaitable(value) else value


def _is_let_in(auth: Callable[[Call], Any], call: Call) -> Any:
    """Ask the `auth` of a method; one that is plain may hand on what an `async def` one returns, which is no answer."""
    return _waited_for(current_app.ensure_sync(auth)(call))


def _waited_for(value: Any) -> Any:
    """Do the same where there is no event loop."""
    return current_app.ensure_sync(_outcome_of)(value) if isawaitable(value) else value


class NotificationRefused(InvalidRequestError):
    """A notification to a method that was declared with `notification=False`: the one that is answered."""

    def __init__(self, name: str) -> None:
        message = f"The method {name!r} doesn't allow Notification Request object (without an 'id' member)"
        super().__init__(data={"message": message})

    @property
    def jsonrpc_format(self) -> dict[str, Any]:
        return super().jsonrpc_format | {"name": InvalidRequestError.__name__}


def _unpacked(returned: Any, status: int = 200) -> tuple[Any, int, Any]:
    """Return (value, status, headers) of what a method or a handler returned."""
    if type(returned) is tuple:
        match returned:
            case (value, int(code), headers) if _is_status(code) and (_is_headers(headers) or _is_pairs(headers)):
                return value, code, headers
            case (value, int(code)) if _is_status(code):
                return value, code, NO_HEADERS
            case (value, headers) if _is_headers(headers):
                return value, status, headers
    return returned, status, NO_HEADERS


def _is_status(code: int) -> bool:
    return 100 <= code <= 599 and type(code) is not bool


def _is_headers(value: Any) -> bool:
    return isinstance(value, Headers) or (isinstance(value, Mapping) and all(isinstance(name, str) for name in value))


def _is_pairs(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, tuple) and len(item) == 2 for item in value)


def _of_http(error: HTTPException) -> JSONRPCError:
    """Return what `abort(403)` in a method means: the same status, also when the call is one of a batch."""
    response = error.get_response() if error.code is None else None
    status = response.status_code if response is not None else error.code or 500
    answer = ServerError(data={"status": status, "message": error.description}, original_exception=error)
    answer.message, answer.status_code = error.name, status
    return answer


def _fields_of(error: HTTPException) -> HeadersValue:
    """Return the header fields that come with an HTTP error, such as Retry-After, without those of its content."""
    fields = error.get_headers() if error.response is None else list(error.response.headers)
    return [(name, value) for name, value in fields if not name.lower().startswith("content-")]


def _is_raised_here(error: BaseException) -> bool:
    """Whether no code but ours has to do with an error: it was made and not raised, or raised in this package."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return not frames or frames[-1].f_code.co_filename.startswith(_HERE)


_HERE = os.path.dirname(__file__) + os.sep


def _encode(response: Any) -> bytes:
    provider = (_cv_app.app() or _current_application()).json
    # A provider of the user's own knows types that we do not, or writes the others differently.
    if type(provider) is DefaultJSONProvider and provider.default is DefaultJSONProvider.default:
        # A batch in one go or not at all: each of its results may hold an iterator.
        return encoding.encode_simple(response) if isinstance(response, list) else encoding.encode(response)
    try:
        text: str = provider.dumps(response)
        return text.encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise encoding.Unserializable(str(error)) from error


def _current_application() -> Any:
    return _cv_app.app() or current_app._get_current_object()  # type: ignore[attr-defined]  # which says what is missing
