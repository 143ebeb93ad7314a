"""JSON-RPC at a URL of an application: `JSONRPC(app, "/api")`.

A `JSONRPCSite` (`site.py`) holds the methods of one URL and answers calls; a `JSONRPCView` is its view; `JSONRPC` and
`JSONRPCBlueprint` are what users register methods with. The names are Flask-JSONRPC's.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, TypeVar
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers

from ..app import Flask
from ..message import ResponseMessage
from ..typing import ResponseReturnValue
from ..views import Inside, MethodView
from ..wrappers import Response
from .browse import JSONRPCBrowse, urn
from .conf import global_settings, settings
from .mcp import MCPView
from .protocol import CallTimedOut, JSONRPCError
from .registry import Method
from .site import CONTENT_TYPE, INTERNAL_ERROR_STATUS, ErrorHandler, JSONRPCSite, Middleware
from .together import Steps

_CONTENT_TYPE_LINE = f"Content-Type: {CONTENT_TYPE}\r\n".encode()

F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M", bound=Middleware)


class JSONRPCView(MethodView):
    """The view of a site. Subclass it, and override `dispatch_request`, to stand before every call."""

    def __init__(self, jsonrpc_site: JSONRPCSite) -> None:
        self.jsonrpc_site = jsonrpc_site

    def post(self) -> ResponseReturnValue:
        """Answer a call or a batch."""
        try:
            answer = self.jsonrpc_site.dispatch_request()
        except JSONRPCError as error:
            answer = self.jsonrpc_site.error_answer(None, error)
        return self._response(*answer)

    def to_wire(self) -> Response | ResponseMessage:
        """Do what `post` does, without a Response where nothing but its content matters.

        bench/jsonrpc_calls.py: 1.1 us less.
        """
        try:
            response, status, headers = self.jsonrpc_site.dispatch_request()
        except JSONRPCError as error:
            response, status, headers = self.jsonrpc_site.error_answer(None, error)
        if response is None or status != 200 or headers:
            return self._response(response, status, headers)
        content, complete = self.jsonrpc_site.content_of(response)
        if complete:
            return ResponseMessage("200 OK", _CONTENT_TYPE_LINE, content)
        return self._response_of(response, content, status, complete)

    def in_steps(self) -> Steps[Response]:
        """Do what `post` does where methods may wait on an event loop."""
        try:
            answer = yield from self.jsonrpc_site.in_steps()
        except JSONRPCError as error:
            answer = self.jsonrpc_site.error_answer(None, error)
        return self._response(*answer)

    def _response(self, response: Any, status: int, headers: Any) -> Response:
        if response is None or status == 204:
            return Response(status=204, headers=Headers(headers))
        content, complete = self.jsonrpc_site.content_of(response)
        answer = self._response_of(response, content, status, complete)
        if headers:
            answer.headers.update(headers)
        return answer

    def _response_of(self, response: Any, content: bytes, status: int, complete: bool) -> Response:
        answer = Response.of_content(content, CONTENT_TYPE)
        if status != 200 or not complete:
            answer.status_code = status if complete or isinstance(response, list) else INTERNAL_ERROR_STATUS
        return answer


class JSONRPCDecoratorMixin:
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
        heavy: whether calls run on the executor, see `demijohn.heavy`.
        job: whether a call starts a job there: its result is the job's record, with the URL to ask for it.
        auth: called with the `Call` before its params are looked at; what is false is answered as by `abort(403)`.
        timeout_s: after how many seconds a call of an `async def` method is ended, with the error -32001.
        Other options are kept in the function's `jsonrpc_options` and mean nothing here.

        Raises ValueError for what is no function, and for a timeout of one that is not `async def`; TypeError for a
        type hint that no JSON value can become.
        """
        check_function(view_func)
        options = method_options(options)
        site = self.get_jsonrpc_site()
        called: Callable[..., Any] = view_func
        if (timeout_s := options.pop("timeout_s", None)) is not None:
            called = _within(called, timeout_s)
        if options.pop("heavy", False):
            from ..heavy import heavy  # for its cost

            called = heavy(view_func)
        if options.pop("job", False):
            from ..heavy.jobs import job_method  # for its cost

            called = job_method(called)
            site.starts_jobs()
        method = site.register(name or view_func.__name__, called, **options)
        _describe(view_func, method, annotation, options)
        return view_func

    def middleware(self, middleware: M) -> M:
        """Let the decorated generator run around every call: up to its `yield` before, and from there on afterwards.

        It is called with the `Call` (`method`, `params`, `id`), before the params are looked at. What it raises before
        the `yield` is the answer, and the method is not called; what the method raises is raised at the `yield`.
        """
        self.get_jsonrpc_site().middlewares.append(middleware)
        return middleware

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


def check_function(view_func: Any) -> None:
    """Raise ValueError for what is no function."""
    if not inspect.isfunction(view_func):
        # Flask-JSONRPC's tests look for the first sentence.
        raise ValueError(
            f"the view function must be either a function or a staticmethod, not {view_func!r}."
            " For a method of an object, register a function that calls it."
        )


def _within(function: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    """Return the function with a limit to the time that each call may take."""
    import asyncio  # for its cost

    if not inspect.iscoroutinefunction(function):
        raise ValueError(
            f"timeout_s of {function.__qualname__!r}: only an `async def` method can be ended while it runs."
            " For plain ones `demijohn serve --request-timeout` answers in their place."
        )

    @wraps(function)
    async def limited(*arguments: Any, **named: Any) -> Any:
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await function(*arguments, **named)
        except TimeoutError:
            if not limit.expired():
                raise  # the function's own
            raise CallTimedOut(data={"message": f"The call took longer than {seconds:g} s"}) from None

    return limited


def method_options(given: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a method: those that were given, and the settings for the rest."""
    defaults = {
        "validate": settings.DEFAULT_JSONRPC_METHOD_VALIDATE,
        "notification": settings.DEFAULT_JSONRPC_METHOD_NOTIFICATION,
    }
    return defaults | given


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


class JSONRPCBlueprint(JSONRPCDecoratorMixin):
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


class JSONRPC(JSONRPCDecoratorMixin):
    """JSON-RPC 2.0 at `path` of an application.

    enable_web_browsable_api: whether `path`/browse shows a page to try the methods; None means in debug mode.
    mcp: the path at which methods that were registered with the option `mcp` are tools of language models.
    websocket: whether `path` is also that of a WebSocket, where `demijohn serve` runs the application.
    """

    browse_class = JSONRPCBrowse

    def __init__(
        self,
        app: Flask | None = None,
        path: str = "/api",
        version: str = "1.0.0",
        jsonrpc_site: type[JSONRPCSite] = JSONRPCSite,
        jsonrpc_site_api: type[JSONRPCView] = JSONRPCView,
        enable_web_browsable_api: bool | None = None,
        mcp: str | None = None,
        websocket: bool = False,
    ) -> None:
        self.path = path
        self.mcp_path = mcp
        self.websocket = websocket
        self.base_url: str | None = None
        self.version = version
        self.jsonrpc_site = jsonrpc_site(version=version)
        self.jsonrpc_site_api = jsonrpc_site_api
        self.jsonrpc_apps: set[JSONRPCDecoratorMixin] = set()
        self.jsonrpc_browse: JSONRPCBrowse | None = None
        self.enable_web_browsable_api = enable_web_browsable_api
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Put the URL, and the page if it is wanted, into an application; take `FLASK_JSONRPC_*` from its config."""
        for key, value in app.config.items():
            if global_settings.IS_ENV_KEY(key):
                setattr(settings, global_settings.ENV_TO_CONFIG(key), value)
        url = urlsplit(self.path)
        server_name = app.config["SERVER_NAME"]
        self.path = app.config["APPLICATION_ROOT"].rstrip("/") + url.path
        if server_name:
            scheme = url.scheme or app.config["PREFERRED_URL_SCHEME"]
            self.base_url = f"{scheme}://{url.netloc or server_name}/{self.path.lstrip('/')}"
        self._add_site(app, self, self.path, self.base_url, urn("app", app.name, self.path))
        if self._shows_page(app, self.enable_web_browsable_api):
            self.init_browse_app(app)
        if self.mcp_path is not None:
            view = MCPView(self._sites, self.version)
            app.add_url_rule(self.mcp_path, urn("mcp", app.name, self.mcp_path), view.post, methods=["POST"])

    def _sites(self) -> list[JSONRPCSite]:
        """The methods of this and of the blueprints, in the order of their paths."""
        sites = [self.get_jsonrpc_site(), *(each.get_jsonrpc_site() for each in self.jsonrpc_apps)]
        return sorted(sites, key=lambda site: site.path or "")

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
        self.jsonrpc_browse = self.browse_class(app, url_prefix=url_prefix, base_url=base_url or self.base_url)
        self.jsonrpc_browse.register_jsonrpc_site(self.get_jsonrpc_site())

    def register_browse(self, jsonrpc_app: JSONRPCDecoratorMixin) -> None:
        """Show a blueprint's methods on the page too.

        Raises RuntimeError when there is no page.
        """
        if self.jsonrpc_browse is None:
            # Flask-JSONRPC's tests look for these words.
            raise RuntimeError(
                "you need to init the Browse app before register the Site, see JSONRPC.init_browse_app(...)"
            )
        self.jsonrpc_browse.register_jsonrpc_site(jsonrpc_app.get_jsonrpc_site())

    def _add_site(
        self, app: Flask, registrar: JSONRPCDecoratorMixin, path: str, base_url: str | None, endpoint: str
    ) -> None:
        site = registrar.get_jsonrpc_site()
        site.set_path(path)
        site.set_base_url(base_url)
        site.serve_in(app)
        app.extensions.setdefault("demijohn.jsonrpc", []).append(site)
        view_class = registrar.get_jsonrpc_site_api()
        if view_class is JSONRPCView:
            # bench/jsonrpc_calls.py: 4.7 us less a call than an instance for each request, found by its method.
            view = JSONRPCView(site)
            post: Any = partial(view.post)  # which can say what a bound method cannot
            post._inside = Inside(post, view.in_steps, site.awaits, view.to_wire)
            app.add_url_rule(path, endpoint, post, methods=["POST"])
        else:
            app.add_url_rule(path, view_func=view_class.as_view(endpoint, jsonrpc_site=site), methods=["POST"])
        if self.websocket:
            from .conversation import WebSocketView  # for its cost

            websocket = WebSocketView(site, view_class, can_wait=view_class is JSONRPCView)
            websocket.add_to(app, path, f"{endpoint}:websocket")

    @staticmethod
    def _shows_page(app: Flask, wanted: bool | None) -> bool:
        return app.debug if wanted is None else wanted
