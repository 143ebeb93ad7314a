"""The stages of `Flask` in fewer steps, for requests that come from demijohn's own server.

What `Flask.wsgi_app` does through a dozen methods and a WSGI environ is done here in one: the route is looked up in
a compiled table, hooks and signals are looked for before they are run, and a str or dict from a view becomes bytes
without a `Response` in between when nothing will look at it. It holds only while none of the stages is replaced; that
is checked at each request, and when one is, `match` says so and the request takes the WSGI way.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from inspect import CO_COROUTINE, iscoroutinefunction
from operator import attrgetter, is_
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.http import HTTP_STATUS_CODES

from .ctx import RequestContext, opens_late
from .environ import environ_of
from .globals import _cv_app, _cv_request
from .json.provider import DefaultJSONProvider
from .message import ResponseMessage, Steps, Suspended, encode_field_lines, response_message, rounds
from .routing import Route, UrlMap
from .scaffold import chain, chain_back
from .signals import (
    appcontext_popped,
    appcontext_pushed,
    appcontext_tearing_down,
    request_finished,
    request_started,
    request_tearing_down,
)
from .staticfiles import StaticFiles
from .wrappers import Request, Response, _content_types, content_type_of

if TYPE_CHECKING:
    from .app import Flask
    from .message import RequestHead
    from .views import Inside

T = TypeVar("T")

_pushed_app = _cv_app.pushed

# The methods whose work is done here without calling them. Others are called, so may be replaced freely.
_STAGES_IN_ORDER = (
    "__call__",
    "wsgi_app",
    "request_context",
    "app_context",
    "create_url_adapter",
    "full_dispatch_request",
    "preprocess_request",
    "dispatch_request",
    "finalize_request",
    "make_response",
    "process_response",
    "do_teardown_request",
    "do_teardown_appcontext",
    "ensure_sync",
    "async_to_sync",
)
STAGES = frozenset(_STAGES_IN_ORDER)
# To be compared by identity, `all(map(is_, ...))`: tracing agents replace methods by wrappers that equal what they
# wrap (wrapt's ObjectProxy). bench/request_path.py: 0.6 us for all; a type keeps no version that one could ask for.
stages_of = attrgetter(*_STAGES_IN_ORDER)
# The same for how errors are handled, which is done here only when it has to be awaited.
HANDLING = frozenset({"handle_user_exception", "handle_http_exception"})
handling_of = attrgetter(*sorted(HANDLING))
# And for a Response: how it is made, and what it does on its way to the wire.
_sending_of = attrgetter("__call__", "get_wsgi_response", "get_wsgi_headers", "get_app_iter")
_streaming_of = attrgetter("__call__", "get_wsgi_response", "get_wsgi_headers", "get_app_iter", "iter_encoded")
_making_and_sending_of = attrgetter(
    "__init__",
    "default_mimetype",
    "default_status",
    "__call__",
    "get_wsgi_response",
    "get_wsgi_headers",
    "get_app_iter",
)
# Fields that Werkzeug makes absolute with the help of the request.
_RESOLVED = ("location", "content-location")
# Status lines as Response has them, of all statuses that go with content.
_STATUS_OF_CONTENT = {
    code: Response(status=code).status for code in HTTP_STATUS_CODES if code >= 200 and code not in (204, 304)
}
_STOCK_JSON_RESPONSE = DefaultJSONProvider.response
_STOCK_SENDING = _sending_of(Response)
_STOCK_STREAMING = _streaming_of(Response)
_STOCK_MAKING_AND_SENDING = _making_and_sending_of(Response)


_StepsTo = Generator[Coroutine[Any, Any, Any] | None, Any, T]


def _outcome_of(function: Callable[..., Any], *args: Any, **kwargs: Any) -> _StepsTo[Any]:
    """Call a function of the user's, which may be `async def`, or a view that has such inside."""
    if iscoroutinefunction(function):
        return (yield function(*args, **kwargs))
    inside = _inside(function)
    if inside is not None:
        return (yield from inside.in_steps(**kwargs))
    yield None
    if iscoroutinefunction(function):
        return (yield function(*args, **kwargs))
    return function(*args, **kwargs)


def _inside(function: Any) -> Inside | None:
    """Return what is inside a view that is not `async def` itself; None for any other function."""
    inside: Inside | None = getattr(function, "_inside", None)
    return inside if inside is not None and inside.view is function else None


def _is_plain(function: Any) -> bool:
    """Whether `Flask.ensure_sync` gives back a function as it is; False on doubt.

    bench/request_path.py: 0.1 us; to ask `iscoroutinefunction` takes 0.3.
    """
    return type(function) is FunctionType and not function.__code__.co_flags & CO_COROUTINE and not function.__dict__


def _may_await(function: Any) -> bool:
    inside = _inside(function)
    return iscoroutinefunction(function) or (inside is not None and inside.may_await())


class Around:
    """The hooks of one route as they are during a round (message.Rounds): decided once for all its requests.

    bench/instructions.py: hello with three hooks of each kind in 84,000 instructions, 115,500 when each request looks
    for them.

    before, after, teardown: what to call, in this order; none is `async def`.
    preprocesses: whether there are preprocessors of URL values.
    """

    __slots__ = ("after", "before", "preprocesses", "round", "teardown")

    def __init__(self, app: Flask, route: Route) -> None:
        self.round = rounds.current
        self.before = _last_first(app, app.before_request_funcs, route)[::-1]
        self.after = _last_first(app, app.after_request_funcs, route)
        self.teardown = _last_first(app, app.teardown_request_funcs, route)
        self.preprocesses = bool(app.url_value_preprocessors) and route.is_concerned_by(app.url_value_preprocessors)


class _Nothing:
    """What is around a view in an application without hooks."""

    after = before = teardown = ()
    preprocesses = False


_Hooks = Around | type[_Nothing]


def _last_first(app: Flask, registry: dict[str | None, list[Any]], route: Route) -> list[Any]:
    """Return what a registry has for a route: its blueprint's before the application's, the last registered first."""
    if not registry:
        return []
    return [
        function if _is_plain(function) else app.ensure_sync(function)
        for name in (*route.blueprints, None)
        for function in reversed(registry.get(name, ()))
    ]


class FastPath:
    """One application's. `match`, `refuses` and `handle` are typing.NativeApplication's."""

    def __init__(self, app: Flask, stock_stages: tuple[Any, ...], stock_handling: tuple[Any, ...]) -> None:
        self.app = app
        self._stock_stages = stock_stages
        self._stock_handling = stock_handling
        self._text_lines: dict[str | None, bytes] = {}
        self._encoded_lines: dict[tuple[str, str], bytes] = {}
        # The rounds (message.Rounds) for which it is known that all stages are stock, and how responses are sent.
        # bench/request_path.py: 1.4 us less for all requests of a round but the first.
        self._stock_in: object | None = None
        self._sends_stock_in: object | None = None
        self._opens_late = False

    def match(self, head: RequestHead) -> Route | None:
        """Find the route of a request; None when it has to take the WSGI way."""
        app = self.app
        if app._stage_replaced or head.special is not None:
            return None
        current = rounds.current
        if current is None or current is not self._stock_in:
            if (
                not all(map(is_, stages_of(type(app)), self._stock_stages))
                or app.subdomain_matching
                or app.config["TRUSTED_HOSTS"] is not None
                or app.request_class.__init__ is not Request.__init__
            ):
                return None
            self._opens_late = opens_late(app.session_interface)
            self._stock_in = current
        url_map = app.url_map
        if not isinstance(url_map, UrlMap):
            return None  # rules could be added to it unnoticed
        router = url_map.router or url_map.compiled()
        routes = router.fixed.get(head.method)
        route = None if routes is None else routes.get(head.target)
        if route is not None:
            head.arguments = {}
        else:
            found = router.match(head.method, head.target)
            if found is None:
                return None
            route, head.arguments = found
        head.route = route
        return route

    def refuses(self, head: RequestHead) -> bool:
        """Whether the answer is 404 or 405 whatever the content, as far as the stock stages decide it."""
        app = self.app
        if self.match(head) is not None or app._stage_replaced:
            return False
        if not all(map(is_, stages_of(type(app)), self._stock_stages)):
            return False
        try:
            adapter = app.create_url_adapter(app.request_class(environ_of(head)))
            if adapter is not None:
                adapter.match()
        except (NotFound, MethodNotAllowed):
            return True
        except HTTPException:  # a redirect, or a host that is not trusted: the application says what it means
            return False
        return False

    def handle(self, head: RequestHead) -> ResponseMessage | Suspended:
        """Answer a request that `match` found a route for, as `Flask.wsgi_app` would."""
        route: Route = head.route
        if route.may_await and head.origin.run_coroutine is not None:
            return self._suspended(route, head)
        app = self.app
        files: StaticFiles | None = route.static_files
        if files is not None and self._is_unobserved(route, head):
            message = files.answer(app, head)
            if message is not None:
                return message
        around = self._around(route)
        ctx = RequestContext.of_native(app, head)
        error: BaseException | None = None
        if (
            appcontext_pushed.receivers
            or _pushed_app.get(None) is not None
            or _cv_request.get(None) is not None
            or not self._opens_late
        ):
            ctx.push()
        else:
            ctx.push_quietly()
        try:
            try:
                return self._answer(ctx, route, head, around)
            except Exception as e:
                error = e
                return self._message(app.handle_exception(e), head)
            except BaseException as e:
                error = e
                raise
        finally:
            if error is not None and app.should_ignore_error(error):
                error = None
            if self._tears_down(ctx):
                ctx.pop(error)
            elif around.teardown:
                self._tear_down(ctx, around, error)
            else:
                ctx.pop_quietly()

    def _around(self, route: Route) -> _Hooks:
        """Return the hooks of a route, looked up once in a round."""
        app = self.app
        if not (
            app.after_request_funcs
            or app.before_request_funcs
            or app.teardown_request_funcs
            or app.url_value_preprocessors
        ):
            return _Nothing
        around: Around | None = route.around
        if around is None or around.round is None or around.round is not rounds.current:
            around = route.around = Around(app, route)
        return around

    def _is_unobserved(self, route: Route, head: RequestHead) -> bool:
        """Whether nobody could tell that a request whose view is left out had a context.

        bench/static_files.py: 2.3 us less than with one.
        """
        app = self.app
        for functions in (
            app.before_request_funcs,
            app.url_value_preprocessors,
            app.after_request_funcs,
            app.teardown_request_funcs,
        ):
            if functions and route.is_concerned_by(functions):
                return False
        return not (
            app.teardown_appcontext_funcs
            or appcontext_pushed.receivers
            or request_started.receivers
            or request_finished.receivers
            or request_tearing_down.receivers
            or appcontext_tearing_down.receivers
            or appcontext_popped.receivers
            or not opens_late(app.session_interface)
            or (app.config["SECRET_KEY"] and head.field(b"cookie") is not None)
            or app.view_functions[route.endpoint] is not route.view
            or not self._sends_stock_responses()
        )

    def _tear_down(self, ctx: RequestContext, around: _Hooks, error: BaseException | None) -> None:
        """Do what `RequestContext.pop` does for the last pop, when but teardown functions of requests are concerned.

        bench/request_path.py: three of them take 1.1 us, where `pop` takes 3.7 with what it does for the application.
        """
        try:
            for function in around.teardown:
                function(error)
        finally:
            if self._tears_down(ctx):  # by what they did
                ctx.pop_torn_down(error)
            else:
                ctx.pop_quietly()

    def _answer(self, ctx: RequestContext, route: Route, head: RequestHead, around: _Hooks) -> ResponseMessage:
        """Do what `Flask.full_dispatch_request` does."""
        app = self.app
        if not app._got_first_request:
            app._got_first_request = True
        try:
            rv: Any = None
            if request_started.receivers:
                request_started.send(app, _async_wrapper=app.ensure_sync)
            if around.before or around.preprocesses:
                rv = self._preprocess(ctx, route, around)
            if rv is None:
                view = app.view_functions[route.endpoint]
                if view is not route.view:
                    self._set_view(route, view)
                arguments = head.arguments
                if not arguments:
                    rv = route.call()  # type: ignore[misc]
                else:
                    files: StaticFiles | None = route.static_files
                    if files is not None and self._sends_stock_responses() and self._is_final(ctx, around):
                        message = files.answer(app, head)
                        if message is not None:
                            return message
                    rv = route.call(**arguments)  # type: ignore[misc]
        except Exception as e:
            rv = app.handle_user_exception(e)
        if self._is_final(ctx, around):
            message = self._plain_message(rv, head)
            if message is not None:
                if route.static_files is not None:
                    route.static_files.learn(app, head, message)
                return message
        return self._message(self._finalize(ctx, around, rv), head)

    def _preprocess(self, ctx: RequestContext, route: Route, around: _Hooks) -> Any:
        """Do what `Flask.preprocess_request` does."""
        if around.preprocesses:
            for preprocessor in chain(self.app.url_value_preprocessors, (None, *reversed(route.blueprints))):
                preprocessor(route.endpoint, ctx.request.view_args)
        rv = None
        for hook in around.before:
            rv = hook()
            if rv is not None:
                break
        request = ctx._request
        if request is not None:
            ctx._head.arguments = request.view_args  # type: ignore[union-attr]  # which hooks may set
        return rv

    def _finalize(self, ctx: RequestContext, around: _Hooks, rv: Any) -> Response:
        """Do what `Flask.finalize_request` does."""
        app = self.app
        if type(rv) is ResponseMessage and isinstance(rv.content, bytes):  # see views.Inside
            rv = Response.of_content(rv.content, rv.field_lines.decode().strip().partition(": ")[2])
        response = self._response_of_text(rv) if type(rv) is str else app.make_response(rv)
        for this_once in ctx._after_request_functions or ():
            response = app.ensure_sync(this_once)(response)
        for hook in around.after:
            response = hook(response)
        if ctx._opened_session is not None or app.config["SECRET_KEY"]:
            ctx.save_session(response)
        if request_finished.receivers:
            request_finished.send(app, _async_wrapper=app.ensure_sync, response=response)
        return response

    def _response_of_text(self, text: str) -> Response:
        """Do what `Flask.make_response` does for a str.

        bench/request_path.py: 1.2 us, where the constructor of Response alone takes 5.5.
        """
        if not self._sends_stock_responses():
            return self.app.make_response(text)
        mimetype = Response.default_mimetype
        return Response.of_content(text.encode(), _content_types.get(mimetype) or content_type_of(mimetype))

    def _set_view(self, route: Route, view: Any) -> None:
        inside = _inside(view)
        to_wire = None if inside is None else inside.to_wire
        route.view, route.call = view, to_wire or self.app.ensure_sync(view)
        route.is_coroutine = iscoroutinefunction(view)
        route.static_files = StaticFiles.of_view(view, self.app)

    def _is_final(self, ctx: RequestContext, around: _Hooks) -> bool:
        """Whether nobody looks at a response between the view and the wire."""
        app = self.app
        return (
            ctx._after_request_functions is None
            and ctx._opened_session is None
            and not around.after
            and not request_finished.receivers
            and (not app.config["SECRET_KEY"] or not ctx.may_be_permanent())
        )

    def _sends_stock_responses(self) -> bool:
        """Whether all that Response does on its way to the wire is known, and it is what views give."""
        current = rounds.current
        if current is None or current is not self._sends_stock_in:
            if self.app.response_class is not Response or not all(
                map(is_, _making_and_sending_of(Response), _STOCK_MAKING_AND_SENDING)
            ):
                return False
            self._sends_stock_in = current
        return True

    def _tears_down(self, ctx: RequestContext) -> bool:
        """Whether anybody but teardown functions of requests has to do with the end of a request."""
        app = self.app
        if app.teardown_appcontext_funcs or _cv_request.get(None) is not ctx:
            return True
        if request_tearing_down.receivers or appcontext_tearing_down.receivers or appcontext_popped.receivers:
            return True
        return _pushed_app.get(None) is not ctx._cv_tokens[-1][1]

    # -- requests with something `async def` ----------------------------------------------------------
    #
    # The same stages once more, as generators (message.Steps): what is `async def` is yielded, and None is yielded
    # before what may block, since what follows a coroutine is in the event loop's thread.

    def _suspended(self, route: Route, head: RequestHead) -> Suspended:
        """Do what `handle` does."""
        pushes_quietly = not appcontext_pushed.receivers and self._opens_late
        if (
            route.is_coroutine
            and pushes_quietly
            and self.app.view_functions[route.endpoint] is route.view
            and not self._precedes(route)
        ):
            suspended = Suspended()
            suspended.coroutine = self._awaited(route, head, suspended)
            return suspended
        return Suspended(self._steps(head, pushes_quietly))

    async def _awaited(self, route: Route, head: RequestHead, suspended: Suspended) -> ResponseMessage | Steps:
        """Answer with what a view returns that nothing precedes; or return the steps that are to follow.

        bench/request_path.py: half of what all in steps takes.
        """
        app = self.app
        if not app._got_first_request:
            app._got_first_request = True
        ctx = RequestContext.of_native(app, head)
        ctx.push_quietly()
        try:
            arguments = head.arguments
            rv = await (route.view(**arguments) if arguments else route.view())  # type: ignore[misc]
        except BaseException as e:
            return self._to_the_end(ctx, head, self._handled_in_steps(ctx, head, e))
        message: ResponseMessage | None = None
        around = self._around(route)
        if not around.teardown and self._is_final(ctx, around) and not self._tears_down(ctx):
            try:
                message = self._plain_message(rv, head)
            except Exception:
                message = None  # what follows comes to it again, and handles it
        if message is not None:
            ctx.pop_quietly()
            if suspended.answered is not None:
                suspended.answered(message)
            return message
        return self._to_the_end(ctx, head, self._message_in_steps(ctx, head, rv))

    def _steps(self, head: RequestHead, pushes_quietly: bool) -> Steps:
        """Do what `handle` does."""
        ctx = RequestContext.of_native(self.app, head)
        if pushes_quietly:
            ctx.push_quietly()  # no context is current in one of its own
        else:
            yield None
            ctx.push()
        return (yield from self._to_the_end(ctx, head, self._answer_in_steps(ctx, head)))

    def _to_the_end(self, ctx: RequestContext, head: RequestHead, steps: Steps) -> Steps:
        """Answer, whatever happens, and tear down."""
        app = self.app
        error: BaseException | None = None
        try:
            try:
                return (yield from steps)
            except Exception as e:
                error = e
                yield None
                return self._message(app.handle_exception(e), head)
            except BaseException as e:
                error = e
                raise
        finally:
            if error is not None or self._is_torn_down(ctx, head.route):
                if not isinstance(error, GeneratorExit):  # given up, by a thread that may block
                    yield None
                if error is not None and app.should_ignore_error(error):
                    error = None
                ctx.pop(error)
            else:
                ctx.pop_quietly()

    def _is_torn_down(self, ctx: RequestContext, route: Route) -> bool:
        functions = self.app.teardown_request_funcs
        return bool(functions and route.is_concerned_by(functions)) or self._tears_down(ctx)

    def _answer_in_steps(self, ctx: RequestContext, head: RequestHead) -> Steps:
        """Do what `_answer` does, and find out whether the route has need of it."""
        app = self.app
        route: Route = head.route
        app._got_first_request = True
        route.may_await = self._awaits(route)
        try:
            if request_started.receivers:
                yield None
                request_started.send(app, _async_wrapper=app.ensure_sync)
            rv = yield from self._preprocess_in_steps(ctx)
            if rv is None:
                view = app.view_functions[route.endpoint]
                if view is not route.view:
                    self._set_view(route, view)
                rv = yield from _outcome_of(view, **head.arguments or {})
        except Exception as e:
            yield None
            rv = yield from self._handle_in_steps(e)
        return (yield from self._message_in_steps(ctx, head, rv))

    def _handled_in_steps(self, ctx: RequestContext, head: RequestHead, error: BaseException) -> Steps:
        """Answer for a view that has raised."""
        try:
            raise error
        except Exception as e:
            yield None
            rv = yield from self._handle_in_steps(e)
        return (yield from self._message_in_steps(ctx, head, rv))

    def _message_in_steps(self, ctx: RequestContext, head: RequestHead, rv: Any) -> Steps:
        """Turn what the view returned into the answer."""
        if self._is_final(ctx, self._around(head.route)):
            message = self._plain_message(rv, head)
            if message is not None:
                return message
        yield None
        return self._message((yield from self._finalize_in_steps(ctx, rv)), head)

    def _precedes(self, route: Route) -> bool:
        """Whether anything is to be called before the view."""
        app = self.app
        return bool(
            request_started.receivers
            or (app.before_request_funcs and route.is_concerned_by(app.before_request_funcs))
            or (app.url_value_preprocessors and route.is_concerned_by(app.url_value_preprocessors))
        )

    def _awaits(self, route: Route) -> bool:
        """Whether the view or a hook is `async def`. One that becomes so later is run while its thread waits."""
        app = self.app
        names = (*route.blueprints, None)
        hooks = (*chain(app.before_request_funcs, names), *chain(app.after_request_funcs, names))
        return any(map(_may_await, (app.view_functions.get(route.endpoint), *hooks)))

    def _preprocess_in_steps(self, ctx: RequestContext) -> _StepsTo[Any]:
        """Do what `Flask.preprocess_request` does."""
        app = self.app
        request = ctx.request
        names = (None, *reversed(request.blueprints))
        for preprocessor in chain(app.url_value_preprocessors, names):
            yield None
            preprocessor(request.endpoint, request.view_args)
        for hook in chain(app.before_request_funcs, names):
            rv = yield from _outcome_of(hook)
            if rv is not None:
                return rv
        return None

    def _handle_in_steps(self, e: Exception) -> _StepsTo[Any]:
        """Do what `Flask.handle_user_exception` does."""
        app = self.app
        handler = None
        if all(map(is_, handling_of(type(app)), self._stock_handling)) and HANDLING.isdisjoint(vars(app)):
            handler = app._handler_of(e)
        if iscoroutinefunction(handler):
            return (yield handler(e))
        return app.handle_user_exception(e)

    def _finalize_in_steps(self, ctx: RequestContext, rv: Any) -> _StepsTo[Response]:
        """Do what `Flask.finalize_request` does."""
        app = self.app
        response = app.make_response(rv)
        for this_once in ctx._after_request_functions or ():
            response = yield from _outcome_of(this_once, response)
        for hook in chain_back(app.after_request_funcs, (*ctx.request.blueprints, None)):
            response = yield from _outcome_of(hook, response)
        yield None
        ctx.save_session(response)
        if request_finished.receivers:
            request_finished.send(app, _async_wrapper=app.ensure_sync, response=response)
        return response

    # -- what goes on the wire ------------------------------------------------------------------------

    def _plain_message(self, rv: Any, head: RequestHead) -> ResponseMessage | None:
        """Turn what most views return into what goes on the wire; None when it takes more stages to do so."""
        app = self.app
        current = rounds.current
        if (current is None or current is not self._sends_stock_in) and not self._sends_stock_responses():
            return None
        kind = type(rv)
        if kind is Response:
            return self._message_of_content(rv) or self._message(rv, head)
        status = "200 OK"
        if kind is tuple and len(rv) == 2 and type(rv[1]) is int and rv[1] in _STATUS_OF_CONTENT:
            rv, status = rv[0], _STATUS_OF_CONTENT[rv[1]]
            kind = type(rv)
        if kind is str:
            mimetype = Response.default_mimetype
            return ResponseMessage(status, self._text_lines.get(mimetype) or self._lines(mimetype), rv.encode())
        if kind is dict or kind is list:
            provider = app.json
            if (
                type(provider) is DefaultJSONProvider
                and DefaultJSONProvider.response is _STOCK_JSON_RESPONSE
                and "response" not in provider.__dict__
            ):
                mimetype = provider.mimetype
                lines = self._text_lines.get(mimetype) or self._lines(mimetype)
                return ResponseMessage(status, lines, provider.dumps_bytes(rv))
        return rv if kind is ResponseMessage else None  # see views.Inside

    def _lines(self, mimetype: str | None) -> bytes:
        """The field lines of a 200 response with content of a media type, as Response would give."""
        content_type = Response(b"", mimetype=mimetype).headers["Content-Type"]
        lines = self._text_lines[mimetype] = encode_field_lines([f"Content-Type: {content_type}\r\n"])
        return lines

    def _lines_of(self, name: str, value: str) -> bytes:
        """The field line of one header field, encoded once for those that come again."""
        lines = self._encoded_lines.get((name, value))
        if lines is None:
            lines = encode_field_lines([f"{name}: {value}\r\n"])
            if len(self._encoded_lines) < 100:  # views choose the values
                self._encoded_lines[name, value] = lines
        return lines

    def _message_of_content(self, response: Response) -> ResponseMessage | None:
        """Turn a response of the stock class into what goes on the wire; None when it is not as `of_content` makes it.

        bench/jsonrpc_calls.py: 3 us less than to encode and check the fields anew.
        """
        body = response.response
        fields = response.headers._list
        if (
            response._status_code == 200
            and response._status == "200 OK"
            and len(fields) == 2
            and fields[0][0] == "Content-Type"
            and type(body) is list
            and len(body) == 1
            and type(body[0]) is bytes
            and fields[1] == ("Content-Length", str(len(body[0])))
            and not response._on_close
        ):
            lines = self._encoded_lines.get(fields[0]) or self._lines_of(*fields[0])
            return ResponseMessage("200 OK", lines, body[0])
        return None

    def _is_plain_stream(self, response: Response, head: RequestHead) -> bool:
        """Whether calling a response would give its parts and fields as they are."""
        return (
            not isinstance(response.response, list | tuple)  # their length would be declared
            and not response.direct_passthrough
            and head.method != "HEAD"
            and response.status_code >= 200
            and response.status_code not in (204, 304)
            and all(map(is_, _streaming_of(type(response)), _STOCK_STREAMING))
            and not any(name.lower() in _RESOLVED for name, _ in response.headers._list)
        )

    def _message(self, response: Response, head: RequestHead) -> ResponseMessage:
        """Turn a response into what goes on the wire, as calling it with an environ would."""
        is_stock = type(response) is Response and self._sends_stock_responses()
        sends_stock = is_stock or all(map(is_, _sending_of(type(response)), _STOCK_SENDING))
        if is_stock:
            message = self._message_of_content(response)
            if message is not None:
                return message
        body = response.response
        status_code = response.status_code
        headers = response.headers
        if (
            sends_stock
            and type(body) is list
            and len(body) == 1
            and type(body[0]) is bytes
            and not response._on_close
            and status_code >= 200
            and status_code not in (204, 304)
        ):
            fields = headers._list
            for name, _ in fields:
                if name.lower() in _RESOLVED:
                    break
            else:
                return response_message(response.status, fields, body[0])
        if self._is_plain_stream(response, head):
            # bench/request_path.py: 64 parts and their head in 10 us, by calling the response in 18.
            return response_message(response.status, headers._list, response.iter_encoded(), response.close)
        start: list[Any] = []
        content = response(environ_of(head), lambda *given: start.extend(given))  # type: ignore[arg-type]
        status, header_list, *_ = start
        return response_message(status, header_list, content, getattr(content, "close", None))
