"""JSON-RPC at a URL of an application: `JSONRPC(app, "/api")`.

A `JSONRPCSite` holds the methods and error handlers of one URL and answers calls; a `JSONRPCView` is its view;
`JSONRPC` and `JSONRPCBlueprint` are what users register methods with. The names are Flask-JSONRPC's.
"""

from __future__ import annotations

import inspect
import logging
import sys
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from ..app import Flask
from ..globals import _cv_app, _cv_request, current_app, request
from ..json.provider import DefaultJSONProvider
from ..signals import got_request_exception
from ..typing import HeadersValue, ResponseReturnValue
from ..views import MethodView
from ..wrappers import Response
from . import encoding, protocol
from .browse import JSONRPCBrowse, urn
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

F = TypeVar("F", bound=Callable[..., Any])
ErrorHandler = Callable[[Any], Any]

# What a site answers: the Response object or objects, None for silence; the HTTP status; header fields.
Answer = tuple[dict[str, Any] | list[Any] | None, int, HeadersValue]

NO_HEADERS: dict[str, str] = {}
CONTENT_TYPE = "application/json"
# Werkzeug calls what ends in +json JSON too; these two are of JSON-RPC over HTTP, drafts that clients still follow.
_MEDIA_TYPES = ("application/json", "application/json-rpc", "application/jsonrequest")


class JSONRPCSite:
    """The methods and error handlers of one URL.

    batch_limit: how many calls a batch may hold; `JSONRPC_BATCH_LIMIT` of the application's config.
    """

    batch_limit: int | None = 1000

    def __init__(self, version: str, path: str | None = None, base_url: str | None = None) -> None:
        self.version = version
        self.path = path
        self.base_url = base_url
        self.name = "Flask-JSONRPC"
        self.uuid = uuid4()
        self.methods = Registry()
        self.error_handlers: dict[type[Exception], ErrorHandler] = {}
        self.logger = logging.getLogger("flask_jsonrpc")

    # -- registration ---------------------------------------------------------------------------

    @property
    def view_funcs(self) -> OrderedDict[str, Callable[..., Any]]:
        """The registered functions by name of the method."""
        return OrderedDict((method.name, method.function) for method in self.methods)

    def set_path(self, path: str) -> None:
        self.path = path

    def set_base_url(self, base_url: str | None) -> None:
        self.base_url = base_url

    def register(self, name: str, view_func: Callable[..., Any], **options: Any) -> Method:
        """Make a function the method `name`; see `Registrar.register_view_function` for the options."""
        options = {"validate": True, "notification": True} | options
        method = Method(name, view_func, options["validate"], options["notification"])
        self.methods.add(method)
        return method

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
        current = _cv_request.get().request
        if not _is_json(current.content_type):
            message = f"Invalid mime type for JSON: {current.mimetype}, use header Content-Type: application/json"
            raise ParseError(data={"message": message})
        content = protocol.read_content(current.get_data(), self.batch_limit)
        if type(content) is list:
            return self.batch_dispatch(content)
        return self.handle_dispatch_except(content)

    def batch_dispatch(self, members: list[Any]) -> Answer:
        """Answer a batch in its order; 204 when it held notifications only (section 6)."""
        responses = []
        headers = Headers()
        for member in members:
            response, _, more_headers = self.handle_dispatch_except(member)
            if more_headers:
                headers.update(more_headers)
            if response is not None:
                responses.append(response)
        return (responses, 200, headers) if responses else (None, 204, headers)

    def handle_dispatch_except(self, member: Any) -> Answer:
        """Answer one member, whatever happens in it."""
        try:
            call = protocol.read_call(member)
        except InvalidRequestError as error:
            return self.error_answer(protocol.maybe_id(member), error)
        try:
            return self.dispatch(call)
        except Exception as error:
            return self.handle_exception(call, error)

    def dispatch(self, call: Call) -> Answer:
        """Run the method that is called; what goes wrong is raised."""
        method = self.methods.get(call.method)
        if method is None:
            raise MethodNotFoundError(data={"message": f"Method not found: {call.method}"})
        if call.id is ABSENT and not method.notification:
            raise _NotificationRefused(call.method)
        arguments, named = method.bind(call.params)
        function = current_app.ensure_sync(method.function) if method.is_async else method.function
        result = function(*arguments, **named)
        status, headers = 200, NO_HEADERS
        if type(result) is tuple:
            result, status, headers = self.unpack_tuple_returns(result, method)
        else:
            method.check(result)
        if call.id is ABSENT:
            return None, 204, headers
        return protocol.response(call.id, result), status, headers  # type: ignore[arg-type]

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
            method.check(result)
        return result, status, headers

    def handle_exception(self, call: Call, error: Exception) -> Answer:
        """Answer a call that raised; a notification stays unanswered (section 4.1)."""
        headers: HeadersValue = NO_HEADERS
        if isinstance(error, JSONRPCError):
            answer = error
        elif handler := self._error_handler(error):
            answer, headers = self._handled(handler, error)
        elif isinstance(error, HTTPException):
            answer = _of_http(error)
        else:
            answer = self._unexpected(call, error)
        if call.id is ABSENT and not isinstance(error, _NotificationRefused):
            return None, 204, headers
        return self.error_answer(None if call.id is ABSENT else call.id, answer, headers)  # type: ignore[arg-type]

    def error_answer(self, id: Id, error: JSONRPCError, headers: HeadersValue = NO_HEADERS) -> Answer:
        """Return the answer for an error; in debug mode it has the traceback in it."""
        member = error.jsonrpc_format
        if current_app.debug:
            cause = getattr(error, "original_exception", None) or error
            member["stack"] = "".join(traceback.format_exception(cause))
            member["executable"] = sys.executable
        return protocol.error_response(id, member), error.status_code, headers

    def _error_handler(self, error: Exception) -> ErrorHandler | None:
        for cls in type(error).__mro__:
            if cls in self.error_handlers:
                return self.error_handlers[cls]
        # One for ServerError takes what no other takes, and finds it in `original_exception`.
        return None if isinstance(error, HTTPException | WrongResult) else self.error_handlers.get(ServerError)

    def _handled(self, handler: ErrorHandler, error: Exception) -> tuple[JSONRPCError, HeadersValue]:
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

    def _unexpected(self, call: Call, error: Exception) -> JSONRPCError:
        """Log an exception that nobody expected; the client learns what it was in debug mode only."""
        if isinstance(error, WrongResult):
            current_app.logger.error("JSON-RPC: %s", error)
            message = str(error) if current_app.debug else "The result is not of the type that the method promises"
            return InternalError(data={"message": message})
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
        except encoding.Unserializable as error:
            if isinstance(response, list):
                parts = [self.content_of(member)[0].strip() for member in response]
                return b"[" + b",".join(parts) + b"]\n", False
            current_app.logger.error("JSON-RPC: the result of the call %r is not JSON: %s", response["id"], error)
            message = str(error) if current_app.debug else "The result cannot be written as JSON"
            failed, _, _ = self.error_answer(response["id"], InternalError(data={"message": message}))
            return _encode(failed), False


def _is_json(content_type: str | None) -> bool:
    if content_type == CONTENT_TYPE:
        return True
    media_type = (content_type or "").partition(";")[0].strip().lower()
    return media_type in _MEDIA_TYPES or (media_type.startswith("application/") and media_type.endswith("+json"))


class _NotificationRefused(InvalidRequestError):
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


def _encode(response: Any) -> bytes:
    provider = _cv_app.get().app.json
    # A provider of the user's own knows types that we do not, or writes the others differently.
    if type(provider) is DefaultJSONProvider and provider.default is DefaultJSONProvider.default:
        return encoding.encode(response)
    try:
        return provider.dumps(response).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise encoding.Unserializable(str(error)) from error


def _current_application() -> Any:
    return current_app._get_current_object()  # type: ignore[attr-defined]


class JSONRPCView(MethodView):
    """The view of a site. Subclass it, and override `dispatch_request`, to stand before every call."""

    def __init__(self, jsonrpc_site: JSONRPCSite) -> None:
        self.jsonrpc_site = jsonrpc_site

    def post(self) -> ResponseReturnValue:
        """Answer a call or a batch."""
        site = self.jsonrpc_site
        try:
            response, status, headers = site.dispatch_request()
        except JSONRPCError as error:
            response, status, headers = site.error_answer(None, error)
        if response is None or status == 204:
            return Response(status=204, headers=Headers(headers))
        content, complete = site.content_of(response)
        answer = Response.of_content(content, CONTENT_TYPE)
        if headers:
            answer.headers.update(headers)
        if status != 200 or not complete:
            answer.status_code = status if complete or isinstance(response, list) else InternalError.status_code
        return answer


class Registrar:
    """How methods and error handlers are registered, whatever the URL they are answered at."""

    jsonrpc_site: JSONRPCSite
    jsonrpc_site_api: type[JSONRPCView]

    @property
    def logger(self) -> logging.Logger:
        return self.jsonrpc_site.logger

    def get_jsonrpc_site(self) -> JSONRPCSite:
        return self.jsonrpc_site

    def get_jsonrpc_site_api(self) -> type[JSONRPCView]:
        return self.jsonrpc_site_api

    def method(self, name: str | None = None, annotation: Any = None, **options: Any) -> Callable[[F], F]:
        """Make the decorated function a method, called `name` or as the function is.

        The function itself is left as it is. For the options see `register_view_function`.
        """

        def decorator(function: F) -> F:
            self.register_view_function(function, name, annotation, **options)
            return function

        return decorator

    def register(self, view_func: Callable[..., Any], name: str | None = None, **options: Any) -> None:
        """Make a function a method; see `register_view_function`."""
        self.register_view_function(view_func, name, **options)

    def register_view_function(
        self, view_func: F, name: str | None = None, annotation: Any = None, **options: Any
    ) -> F:
        """Make a function the method `name`, by default the function's own name, and return it.

        annotation: what describes the method besides its signature and docstring.
        validate: whether type hints are held to; by default they are.
        notification: whether it may be called as a notification; where not, such a call is answered with an error.
        Other options are kept in the function's `jsonrpc_options` and mean nothing here.

        Raises ValueError for what is no function, TypeError for a type hint that no JSON value can become.
        """
        if not inspect.isfunction(view_func):
            # Flask-JSONRPC's tests look for the first sentence.
            raise ValueError(
                f"the view function must be either a function or a staticmethod, not {view_func!r}."
                " For a method of an object, register a function that calls it."
            )
        options = {"validate": True, "notification": True} | options
        method = self.get_jsonrpc_site().register(name or view_func.__name__, view_func, **options)
        _describe(view_func, method, annotation, options)
        return view_func

    def register_error_handler(self, exception: type[Exception], fn: ErrorHandler) -> None:
        """Have `fn` called with exceptions of that class, or a subclass, that methods raise.

        What it returns becomes the `data` of the error; (data, status) and (data, status, headers) set those too.
        """
        self.get_jsonrpc_site().register_error_handler(exception, fn)

    def errorhandler(self, exception: type[Exception]) -> Callable[[F], F]:
        """Register the decorated function; see `register_error_handler`."""

        def decorator(fn: F) -> F:
            self.register_error_handler(exception, fn)
            return fn

        return decorator


def _describe(function: Any, method: Method, annotation: Any, options: dict[str, Any]) -> None:
    """Leave on the function what Flask-JSONRPC leaves there."""
    hints = {name: method.hints.get(name, Any) for name in method.signature.parameters}
    parameters = method.signature.parameters.values()
    function.jsonrpc_method_name = method.name
    function.jsonrpc_method_params = hints
    function.jsonrpc_method_return = method.hints.get("return", type(None))
    function.jsonrpc_method_sig = hints | {"return": function.jsonrpc_method_return}
    function.jsonrpc_method_default_params = {p.name: p.default for p in parameters if p.default is not p.empty}
    function.jsonrpc_method_annotations = annotation
    function.jsonrpc_validate = method.validate
    function.jsonrpc_notification = method.notification
    function.jsonrpc_options = options


class JSONRPCBlueprint(Registrar):
    """Methods with a URL of their own, put into an application by `JSONRPC.register_blueprint`."""

    def __init__(
        self,
        name: str,
        import_name: str,
        version: str = "1.0.0",
        jsonrpc_site: type[JSONRPCSite] = JSONRPCSite,
        jsonrpc_site_api: type[JSONRPCView] = JSONRPCView,
    ) -> None:
        self.name = name
        self.import_name = import_name
        self.version = version
        self.jsonrpc_site = jsonrpc_site(version=version)
        self.jsonrpc_site_api = jsonrpc_site_api


class JSONRPC(Registrar):
    """JSON-RPC 2.0 at `path` of an application.

    enable_web_browsable_api: whether `path`/browse shows a page to try the methods; None means in debug mode.
    """

    def __init__(
        self,
        app: Flask | None = None,
        path: str = "/api",
        version: str = "1.0.0",
        jsonrpc_site: type[JSONRPCSite] = JSONRPCSite,
        jsonrpc_site_api: type[JSONRPCView] = JSONRPCView,
        enable_web_browsable_api: bool | None = None,
    ) -> None:
        self.path = path
        self.base_url: str | None = None
        self.version = version
        self.jsonrpc_site = jsonrpc_site(version=version)
        self.jsonrpc_site_api = jsonrpc_site_api
        self.jsonrpc_apps: set[Registrar] = set()
        self.jsonrpc_browse: JSONRPCBrowse | None = None
        self.enable_web_browsable_api = enable_web_browsable_api
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Put the URL, and the page if it is wanted, into an application."""
        url = urlsplit(self.path)
        server_name = app.config["SERVER_NAME"]
        self.path = app.config["APPLICATION_ROOT"].rstrip("/") + url.path
        if server_name:
            scheme = url.scheme or app.config["PREFERRED_URL_SCHEME"]
            self.base_url = f"{scheme}://{url.netloc or server_name}/{self.path.lstrip('/')}"
        self._add_site(app, self, self.path, self.base_url, urn("app", app.name, self.path))
        if self._shows_page(app, self.enable_web_browsable_api):
            self.init_browse_app(app)

    def register_blueprint(
        self,
        app: Flask,
        jsonrpc_app: JSONRPCBlueprint,
        url_prefix: str | None = None,
        enable_web_browsable_api: bool | None = None,
    ) -> None:
        """Put a blueprint's methods into an application, at `path` followed by `url_prefix`."""
        path = f"{self.path}/{url_prefix.lstrip('/')}" if url_prefix else self.path
        base_url = f"{self.base_url}/{url_prefix.lstrip('/')}" if self.base_url and url_prefix else self.base_url
        self._add_site(app, jsonrpc_app, path, base_url, urn("blueprint", app.name, jsonrpc_app.name, path))
        self.jsonrpc_apps.add(jsonrpc_app)
        if self._shows_page(app, enable_web_browsable_api):
            self.register_browse(jsonrpc_app)

    def init_browse_app(self, app: Flask, path: str | None = None, base_url: str | None = None) -> None:
        """Put the page to try methods into an application, at `path`/browse."""
        url_prefix = f"{(path or self.path).rstrip('/')}/browse"
        self.jsonrpc_browse = JSONRPCBrowse(app, url_prefix=url_prefix, base_url=base_url or self.base_url)
        self.jsonrpc_browse.register_jsonrpc_site(self.get_jsonrpc_site())

    def register_browse(self, jsonrpc_app: Registrar) -> None:
        """Show a blueprint's methods on the page too.

        Raises RuntimeError when there is no page.
        """
        if self.jsonrpc_browse is None:
            # Flask-JSONRPC's tests look for these words.
            raise RuntimeError(
                "you need to init the Browse app before register the Site, see JSONRPC.init_browse_app(...)"
            )
        self.jsonrpc_browse.register_jsonrpc_site(jsonrpc_app.get_jsonrpc_site())

    @staticmethod
    def _add_site(app: Flask, registrar: Registrar, path: str, base_url: str | None, endpoint: str) -> None:
        site = registrar.get_jsonrpc_site()
        site.set_path(path)
        site.set_base_url(base_url)
        site.batch_limit = app.config.get("JSONRPC_BATCH_LIMIT", site.batch_limit)
        view_class = registrar.get_jsonrpc_site_api()
        if view_class is JSONRPCView:
            # bench/jsonrpc_calls.py: 4.7 us less a call than an instance for each request, found by its method.
            app.add_url_rule(path, endpoint, JSONRPCView(site).post, methods=["POST"])
        else:
            app.add_url_rule(path, view_func=view_class.as_view(endpoint, jsonrpc_site=site), methods=["POST"])

    @staticmethod
    def _shows_page(app: Flask, wanted: bool | None) -> bool:
        return app.debug if wanted is None else wanted
