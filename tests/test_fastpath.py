"""The short way through the application and the long one give the same answers.

The long way is `app(environ, start_response)`, the short one `app.native_match` and `app.native_handle`, which the
server takes.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import wraps
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import Map

from demijohn import (
    Blueprint,
    Flask,
    Response,
    abort,
    after_this_request,
    current_app,
    g,
    has_app_context,
    has_request_context,
    jsonify,
    redirect,
    request,
    session,
)
from demijohn.environ import environ_of
from demijohn.globals import _cv_app, app_ctx
from demijohn.jsonrpc import JSONRPC
from demijohn.message import Origin, RequestHead, ResponseMessage, Suspended, Watched, rounds
from demijohn.server.eventloop import EventLoop
from demijohn.signals import request_finished
from demijohn.views import MethodView, View

T = TypeVar("T")
Answer = tuple[str, list[tuple[str, str]], bytes]


def head(target: str = "/", method: str = "GET", content: bytes = b"", **fields: str) -> RequestHead:
    lines = [(b"host", b"localhost")]
    if content:
        lines.append((b"content-length", str(len(content)).encode()))
    lines += [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return RequestHead(method, target.encode(), (1, 1), lines, Origin(), content)


def short_way(app: Flask, head: RequestHead, loop: EventLoop | None = None) -> Answer | None:
    """Answer natively; None when the application says that the request has to take the long way.

    loop: the server's event loop, where there is one.
    """
    if loop is not None:
        head.origin.run_coroutine = loop.run
    if app.native_match(head) is None:
        return None
    answer = app.native_handle(head)
    while isinstance(answer, Suspended):
        assert loop is not None
        answer = go_on(answer, loop)
    return read(answer)


def go_on(suspended: Suspended, loop: EventLoop) -> ResponseMessage | Suspended:
    """Go on with a request as the server does: in the loop's thread, and in this one with what may block."""
    went_on = threading.Event()
    outcome: list[Any] = []

    def done(value: Any, error: BaseException | None) -> None:
        try:
            outcome.append(suspended.advance(may_block=False, value=value, error=error))
        except BaseException as raised:
            outcome.append(raised)
        went_on.set()

    if suspended.coroutine is None:
        return suspended.advance(may_block=True)
    loop.start(suspended.coroutine, suspended.context, done)
    assert went_on.wait(30)
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    answer: ResponseMessage | Suspended = outcome[0]
    if isinstance(answer, Suspended) and answer.coroutine is None:
        answer = answer.advance(may_block=True)
    return answer


@pytest.fixture(scope="module")
def loop() -> Iterator[EventLoop]:
    loop = EventLoop()
    yield loop
    assert loop.stop(30)


def read(message: ResponseMessage) -> Answer:
    content = message.content if isinstance(message.content, bytes) else b"".join(message.content)
    if message.close is not None:
        message.close()
    lines = message.field_lines.decode("latin-1").split("\r\n")[:-1]
    fields = [tuple(line.split(": ", 1)) for line in lines]
    # Framing is the server's: bytes get their length, parts the one that was declared.
    length = len(content) if isinstance(message.content, bytes) else None
    if message.content_length is not None:
        length = message.content_length
    if length is not None and message.status[:3] not in ("204", "304"):
        fields.append(("Content-Length", str(length)))
    return message.status, sorted(fields), content  # type: ignore[type-var, return-value]


def long_way(app: Flask, head: RequestHead) -> Answer:
    started: list[Any] = []
    parts = app(environ_of(head), lambda *given: started.extend(given))  # type: ignore[arg-type]
    content = b"".join(parts)
    getattr(parts, "close", lambda: None)()
    return started[0], sorted(started[1]), content


class Teapot(Exception):
    pass


def test_a_stream_is_closed_inside_out() -> None:
    app = Flask("streams")
    closed = []

    class Parts:
        def __iter__(self) -> Iterator[str]:
            return iter("ab")

        def close(self) -> None:
            closed.append("parts")

    @app.get("/")
    def view() -> Response:
        response = Response(Parts())
        response.call_on_close(lambda: closed.append("response"))
        return response

    assert short_way(app, head()) == long_way(app, head())
    assert closed == ["parts", "response"] * 2


def _generated() -> Iterator[str]:
    yield "a"
    yield "b"


def _shouted(response: Response) -> Iterator[bytes]:
    return (part.upper() for part in Response.iter_encoded(response))


def _closing(parts: Iterator[str]) -> Response:
    response = Response(parts)
    mark = request.environ.setdefault("test.closed", [])
    response.call_on_close(lambda: mark.append("closed"))
    return response


def _raise(error: Exception) -> Any:
    raise error


# What a view may return or do: name -> function that does it.
DEEDS: dict[str, Callable[[], Any]] = {
    "text": lambda: "text ä",
    "empty": lambda: "",
    "bytes": lambda: b"\x00\xff",
    "dict": lambda: {"b": 1, "a": [1.5, None, "ä"]},
    "list": lambda: [1, {"x": "y"}],
    "status": lambda: ("made", 201),
    "headers": lambda: ("x", {"X-A": "1", "Content-Type": "text/plain"}),
    "both": lambda: ({"x": 1}, 418, [("X-A", "1"), ("X-A", "2")]),
    "reason": lambda: ("x", "299 Fine"),
    "response": lambda: Response("r", status=202, headers={"X-R": "r"}),
    "no content": lambda: ("", 204),
    "not modified": lambda: ("", 304, {"ETag": '"x"'}),
    "generator": lambda: _generated(),
    "iterator of bytes": lambda: iter([b"1", b"2"]),
    "stream": lambda: Response(_generated(), 206, {"X-S": "s"}, mimetype="text/csv"),
    "stream of declared length": lambda: Response(_generated(), headers={"Content-Length": "2"}),
    "stream to elsewhere": lambda: Response(_generated(), 302, {"Location": "/ä"}),
    "stream without content": lambda: Response(_generated(), 204),
    "stream that is closed": lambda: _closing(_generated()),
    "stream with an encoding of its own": lambda: type("R", (Response,), {"iter_encoded": _shouted})(_generated()),
    "stream as it is": lambda: Response(iter([b"1", b"2"]), direct_passthrough=True),
    "several parts": lambda: Response(["a", b"b"]),
    "jsonify": lambda: jsonify(a=1),
    "redirect": lambda: redirect("/elsewhere?ä"),
    "wsgi": lambda: lambda environ, start_response: (start_response("299 W", [("X-W", "w")]), [b"w"])[1],
    "none": lambda: None,
    "four": lambda: (1, 2, 3, 4),
    "set": lambda: {1},
    "abort": lambda: abort(403),
    "abort with response": lambda: abort(Response("gone", 410)),
    "teapot": lambda: _raise(Teapot("t")),
    "bug": lambda: 1 / 0,
    "session write": lambda: session.update(n=session.get("n", 0) + 1) or "s",
    "session read": lambda: str(session.get("n")),
    "permanent session": lambda: setattr(session, "permanent", True) or session.update(p=1) or "p",
    "after this": lambda: after_this_request(lambda r: _marked(r, "once")) and "a",
    "cookie": lambda: _with_cookie(),
    "args": lambda: dict(request.args),
    "data": lambda: request.get_data(),
    "json": lambda: {"got": request.get_json()},
    "form": lambda: dict(request.form),
    "request": lambda: {
        "method": request.method,
        "path": request.path,
        "url": request.url,
        "host": request.host,
        "agent": request.headers.get("User-Agent"),
        "endpoint": request.endpoint,
        "blueprints": request.blueprints,
        "cookies": dict(request.cookies),
        "length": request.content_length,
        "type": request.content_type,
        "addr": request.remote_addr,
        "query": request.query_string.decode(),
        "full": request.full_path,
        "script": request.root_path,
        "scheme": request.scheme,
    },
    "g": lambda: str(g.get("seen")),
}


def _with_cookie() -> Response:
    response = Response("c")
    response.set_cookie("c", "v", httponly=True)
    return response


def _marked(response: Response, mark: str) -> Response:
    response.headers.add("X-Mark", mark)
    return response


HOOKS = ["before", "before answers", "before raises", "after", "after raises", "teardown", "handler", "handler of 500",
         "handler of 403", "handler of HTTPException", "url value preprocessor"]  # fmt: skip
OVERRIDES = ["dispatch_request", "make_response", "process_response", "ensure_sync", "wsgi_app on the instance",
             "handle_user_exception on the instance", "response class", "request class", "json provider"]  # fmt: skip


def build(deed: str, hooks: list[str], on_blueprint: bool, overrides: list[str], secret: bool) -> Flask:
    """Make an application with one view, hooks on it or on its blueprint, and stages replaced."""

    class Changed(Flask):
        pass

    if "dispatch_request" in overrides:
        Changed.dispatch_request = lambda self: Flask.dispatch_request(self)  # type: ignore[method-assign]
    if "make_response" in overrides:
        Changed.make_response = lambda self, rv: _marked(Flask.make_response(self, rv), "made")  # type: ignore[method-assign]
    if "process_response" in overrides:
        Changed.process_response = lambda self, r: _marked(Flask.process_response(self, r), "processed")  # type: ignore[method-assign]
    if "ensure_sync" in overrides:
        Changed.ensure_sync = lambda self, f: f  # type: ignore[method-assign]
    app = Changed("quiet")
    app.logger.disabled = True
    if secret:
        app.secret_key = "for tests"
    if "response class" in overrides:
        app.response_class = type("R", (Response,), {"default_mimetype": "text/x-own"})
    if "request class" in overrides:
        app.request_class = type("Q", (app.request_class,), {"extra": 1})
    if "json provider" in overrides:
        app.json.sort_keys = False  # type: ignore[attr-defined]
    owner: Flask | Blueprint = Blueprint("bp", "app", url_prefix="/bp") if on_blueprint else app
    for hook in hooks:
        add_hook(owner, hook)
    owner.add_url_rule("/", "view", DEEDS[deed], methods=["GET", "POST"])
    owner.add_url_rule("/v/<int:x>", "v", lambda x: {"x": x, "view_args": request.view_args})
    if isinstance(owner, Blueprint):
        app.register_blueprint(owner)
    if "wsgi_app on the instance" in overrides:
        inner = app.wsgi_app
        app.wsgi_app = lambda environ, start: inner({**environ, "HTTP_USER_AGENT": "changed"}, start)  # type: ignore[method-assign]
    if "handle_user_exception on the instance" in overrides:
        handle = app.handle_user_exception
        app.handle_user_exception = lambda e: "handled" if isinstance(e, Teapot) else handle(e)  # type: ignore[method-assign]
    return app


def add_hook(owner: Flask | Blueprint, hook: str) -> None:
    match hook:
        case "before":
            owner.before_request(lambda: setattr(g, "seen", 1))
        case "before answers":
            owner.before_request(lambda: ("answered before", 203))
        case "before raises":
            owner.before_request(lambda: _raise(Teapot("before")))
        case "after":
            owner.after_request(lambda response: _marked(response, "after"))
        case "after raises":
            owner.after_request(lambda response: _raise(Teapot("after")))
        case "teardown":
            owner.teardown_request(lambda error: None)
        case "handler":
            owner.register_error_handler(Teapot, lambda error: (f"teapot {error}", 418))
        case "handler of 500":
            owner.register_error_handler(500, lambda error: (f"500 {error.original_exception!r}", 500))
        case "handler of 403":
            owner.register_error_handler(403, lambda error: {"error": error.code})
        case "handler of HTTPException":
            owner.register_error_handler(HTTPException, lambda error: (f"http {error.code}", error.code))
        case "url value preprocessor":
            owner.url_value_preprocessor(lambda endpoint, values: values and values.update(x=7))


# What outsiders do to an application that has answered requests: name -> how.
LATE = ["view", "before", "after", "teardown", "app teardown", "handler", "handler of 404", "rule",
        "stage on the instance", "stage on the class", "response class", "json response",
        "session interface"]  # fmt: skip


def change_late(app: Flask, change: str) -> None:
    """Change registries and attributes directly, as set-up methods would refuse to."""
    match change:
        case "view":
            app.view_functions.update({endpoint: lambda **arguments: ("other", 202) for endpoint in app.view_functions})
        case "before":
            app.before_request_funcs.setdefault(None, []).insert(0, lambda: ("late before", 203))
        case "after":
            app.after_request_funcs.setdefault(None, []).append(lambda response: _marked(response, "late"))
        case "teardown":
            app.teardown_request_funcs.setdefault(None, []).append(lambda error: None)
        case "app teardown":
            app.teardown_appcontext_funcs.append(lambda error: None)
        case "handler":
            app.error_handler_spec[None][None][Exception] = lambda error: (f"late {type(error).__name__}", 500)
        case "handler of 404":
            app.error_handler_spec[None][404][NotFound] = lambda error: ("late 404", 404)
        case "rule":
            app.url_map.add(app.url_rule_class("/nope", endpoint="v", defaults={"x": 1}))
        case "stage on the instance":
            process = app.process_response
            app.process_response = lambda response: _marked(process(response), "stage")  # type: ignore[method-assign]
        case "stage on the class":
            cls = type(app)
            cls.preprocess_request = lambda self: ("class", 201)  # type: ignore[method-assign]
        case "response class":
            app.response_class = type("Late", (Response,), {"default_mimetype": "text/x-late"})
        case "json response":
            app.json.response = lambda *given: app.response_class("json", 299)  # type: ignore[method-assign]
        case "session interface":
            app.session_interface = type(
                "Own", (type(app.session_interface),), {"get_cookie_name": lambda s, a: "own"}
            )()


@settings(max_examples=300, deadline=None)
@given(
    deed=st.sampled_from(sorted(DEEDS)),
    hooks=st.lists(st.sampled_from(HOOKS), max_size=3, unique=True),
    on_blueprint=st.booleans(),
    overrides=st.lists(st.sampled_from(OVERRIDES), max_size=1),
    secret=st.booleans(),
    late=st.lists(st.sampled_from(LATE), max_size=2, unique=True),
    method=st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT"]),
    target=st.sampled_from(["/", "/?a=1&b=%C3%A4", "/v/3", "/v/x", "/nope"]),
)
def test_both_ways_give_the_same_answer(
    deed: str,
    hooks: list[str],
    on_blueprint: bool,
    overrides: list[str],
    secret: bool,
    late: list[str],
    method: str,
    target: str,
) -> None:
    at = "/bp" + target if on_blueprint else target
    content = random.Random(0).choice([b'{"a": 1}', b"x=1&y=2"]) if method in ("POST", "PUT") else b""
    kind = "application/json" if content.startswith(b"{") else "application/x-www-form-urlencoded"

    def make_head() -> RequestHead:
        return head(at, method, content, user_agent="tests", content_type=kind, cookie="a=b; session=forged")

    short, long = (build(deed, hooks, on_blueprint, overrides, secret) for _ in range(2))
    for change in (None, *late):
        if change is not None:
            change_late(short, change)
            change_late(long, change)
        ours, theirs = in_one_second(lambda: (short_way(short, make_head()), long_way(long, make_head())))
        if ours is not None:
            assert without_content(theirs, method) == without_content(ours, method)


def as_coroutine_function(function: Callable[..., Any]) -> Callable[..., Any]:
    async def coroutine_function(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return function(*args, **kwargs)

    return coroutine_function


def make_async(app: Flask, which: list[bool]) -> Flask:
    """Make `async def` of the views, hooks and handlers that `which` says, in turn."""
    registries: list[Any] = [app.view_functions]
    for funcs in (app.before_request_funcs, app.after_request_funcs, app.teardown_request_funcs):
        registries += funcs.values()
    registries += [handlers for codes in app.error_handler_spec.values() for handlers in codes.values()]
    turn = itertools.cycle(which)
    for registry in registries:
        for key in range(len(registry)) if isinstance(registry, list) else list(registry):
            if key != "static" and next(turn):
                registry[key] = as_coroutine_function(registry[key])
    return app


# asgiref runs coroutines for the long way, each time in a loop and a thread of its own.
@settings(max_examples=150, deadline=None)
@given(
    deed=st.sampled_from(sorted(DEEDS)),
    hooks=st.lists(st.sampled_from(HOOKS), max_size=3, unique=True),
    on_blueprint=st.booleans(),
    overrides=st.lists(st.sampled_from(OVERRIDES[-4:]), max_size=1),
    secret=st.booleans(),
    which=st.lists(st.booleans(), min_size=1, max_size=5),
    method=st.sampled_from(["GET", "POST", "HEAD"]),
)
def test_both_ways_give_the_same_answer_with_coroutine_functions(
    loop: EventLoop, deed: str, hooks: list[str], on_blueprint: bool, overrides: list[str], secret: bool,
    which: list[bool], method: str,
) -> None:  # fmt: skip
    at = "/bp/?a=1" if on_blueprint else "/?a=1"
    content = b'{"a": 1}' if method == "POST" else b""

    def make_head() -> RequestHead:
        return head(at, method, content, content_type="application/json", cookie="a=b; session=forged")

    short, long = (make_async(build(deed, hooks, on_blueprint, overrides, secret), which) for _ in range(2))
    for _ in range(2):
        ours, theirs = in_one_second(lambda: (short_way(short, make_head(), loop), long_way(long, make_head())))
        if ours is not None:
            assert without_content(theirs, method) == without_content(ours, method)


def test_a_view_that_becomes_a_coroutine_function_later_runs_on_the_loop_too(loop: EventLoop) -> None:
    app = hello()
    short_way(app, head(), loop)
    app.view_functions["hello"] = as_coroutine_function(lambda: threading.current_thread().name)
    assert short_way(app, head(), loop)[2] == b"demijohn-async"  # type: ignore[index]


def test_a_view_that_becomes_a_plain_function_later_runs_off_the_loop(loop: EventLoop) -> None:
    app = hello()
    app.view_functions["hello"] = as_coroutine_function(lambda: "x")
    short_way(app, head(), loop)
    app.view_functions["hello"] = lambda: threading.current_thread().name
    assert short_way(app, head(), loop)[2] == threading.current_thread().name.encode()  # type: ignore[index]


def test_plain_functions_run_off_the_loop_whatever_comes_before_them(loop: EventLoop) -> None:
    app = hello()
    threads: dict[str, str] = {}

    def note(name: str, value: Any = None) -> Any:
        threads[name] = threading.current_thread().name
        return value

    @as_coroutine_function
    def on_the_loop(*given: Any) -> Any:
        return note("async", *given)

    app.before_request_funcs[None] = [on_the_loop, lambda: note("before")]
    app.view_functions["hello"] = as_coroutine_function(lambda: _raise(Teapot()))
    app.error_handler_spec[None][None][Teapot] = lambda error: note("handler", "handled")
    app.after_request_funcs[None] = [lambda response: note("after", response), on_the_loop]
    app.teardown_request_funcs[None] = [lambda error: note("teardown")]
    app.teardown_appcontext_funcs.append(lambda error: note("teardown of the application's context"))
    for _ in range(2):
        assert short_way(app, head(), loop)[2] == b"handled"  # type: ignore[index]

    assert threads.pop("async") == "demijohn-async"
    assert len(threads) == 5
    assert "demijohn-async" not in threads.values()


class Awaiting(MethodView):
    async def get(self) -> str:
        return f"get by {request.method}"

    def post(self) -> str:
        return "post"


def with_view(cls: type[View], decorate: Callable[[Any], Any] = lambda view: view) -> Flask:
    app = hello()
    app.add_url_rule("/class", view_func=decorate(cls.as_view("class")))
    return app


def ask(app: Flask, loop: EventLoop, method: str = "GET") -> tuple[bytes, bytes]:
    """Return the content that both ways answer with."""
    short = short_way(app, head("/class", method), loop)
    assert short is not None
    return short[2], long_way(app, head("/class", method))[2]


@pytest.mark.parametrize("shared", [True, False])
def test_methods_of_a_view_answer_alike_both_ways(loop: EventLoop, shared: bool) -> None:
    app = with_view(type("Chosen", (Awaiting,), {"init_every_request": not shared}))
    for _ in range(2):
        assert ask(app, loop) == (b"get by GET",) * 2
        assert short_way(app, head("/class", "HEAD"), loop)[2] == b"get by HEAD"  # type: ignore[index]
        assert ask(app, loop, "POST") == (b"post",) * 2


def test_what_replaces_the_dispatching_of_a_view_is_called(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    def dispatch(self: View, **arguments: Any) -> str:
        return "replaced"

    app = with_view(Awaiting)
    assert ask(app, loop)[0] == b"get by GET"
    with monkeypatch.context() as patches:
        patches.setattr(MethodView, "dispatch_request", dispatch)
        assert ask(app, loop) == (b"replaced",) * 2
    with monkeypatch.context() as patches:
        patches.setattr(MethodView, "dispatch_request", Proxy(MethodView.dispatch_request, calls := []))
        assert ask(app, loop) == (b"get by GET",) * 2
        assert len(calls) == 2
    app.view_functions["class"].view_class = type("Other", (Awaiting,), {"dispatch_request": dispatch})  # type: ignore[attr-defined]
    assert ask(app, loop) == (b"replaced",) * 2


def test_decorators_of_a_view_are_called(loop: EventLoop) -> None:
    def decorate(view: Any) -> Any:
        @wraps(view)
        def decorated(**arguments: Any) -> str:
            return f"decorated {app.ensure_sync(view)(**arguments)}"

        return decorated

    app = with_view(Awaiting, decorate)
    assert ask(app, loop) == (b"decorated get by GET",) * 2
    app = with_view(type("Decorated", (Awaiting,), {"decorators": [decorate]}))
    assert ask(app, loop) == (b"decorated get by GET",) * 2


def test_a_decorator_around_json_rpc_is_called(loop: EventLoop) -> None:
    app = Flask("rpc")
    jsonrpc = JSONRPC(app, "/api")

    @jsonrpc.method("hello")
    async def say_hello() -> str:
        return "hello"

    endpoint = next(rule.endpoint for rule in app.url_map.iter_rules() if rule.rule == "/api")
    call = b'{"jsonrpc": "2.0", "method": "hello", "id": 1}'
    told = {"content_type": "application/json"}
    assert b'"hello"' in short_way(app, head("/api", "POST", call, **told), loop)[2]  # type: ignore[index]

    view = app.view_functions[endpoint]
    app.view_functions[endpoint] = wraps(view)(lambda **arguments: ("keep out", 401))
    for _ in range(2):
        assert short_way(app, head("/api", "POST", call, **told), loop)[2] == b"keep out"  # type: ignore[index]


CALLS = {
    "a call": b'{"jsonrpc": "2.0", "method": "add", "params": [1, 2], "id": 1}',
    "a call that uses the session": b'{"jsonrpc": "2.0", "method": "remember", "id": 1}',
    "a call that sets status and field": b'{"jsonrpc": "2.0", "method": "created", "id": 1}',
    "a call whose result is no JSON": b'{"jsonrpc": "2.0", "method": "broken", "id": 1}',
    "a call of nothing": b'{"jsonrpc": "2.0", "method": "nothing", "id": 1}',
    "a notification": b'{"jsonrpc": "2.0", "method": "add", "params": [1, 2]}',
    "a batch": b'[{"jsonrpc": "2.0", "method": "add", "params": [1, 2], "id": 1}, 1]',
    "no JSON": b"{",
}


@pytest.mark.parametrize("seen_by", ["nobody", "a hook", "a signal", "a response class", "a replaced method"])
@pytest.mark.parametrize("content", CALLS.values(), ids=CALLS)
def test_calls_are_answered_alike_on_both_ways(content: bytes, seen_by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Flask("rpc")
    app.secret_key = "key"
    jsonrpc = JSONRPC(app, "/api")
    jsonrpc.register(lambda a, b: a + b, "add")
    jsonrpc.register(lambda: session.setdefault("calls", 1), "remember")
    jsonrpc.register(lambda: ("made", 201, {"X-Made": "yes"}), "created")
    jsonrpc.register(lambda: object.__new__, "broken")
    marked: list[str] = []

    def mark(response: Response) -> Response:
        marked.append(response.content_type or "")
        response.headers["X-Seen"] = str(len(response.get_data()))
        return response

    def seen(sender: Flask, response: Response) -> None:
        mark(response)

    class Own(Response):
        def get_wsgi_headers(self, environ: Any) -> Any:
            return mark(self) and super().get_wsgi_headers(environ)

    if seen_by == "a hook":
        app.after_request(mark)
    elif seen_by == "a signal":
        request_finished.connect(seen, app)
    elif seen_by == "a response class":
        app.response_class = Own
    elif seen_by == "a replaced method":
        stock = Response.get_wsgi_headers
        monkeypatch.setattr(Response, "get_wsgi_headers", lambda self, environ: mark(self) and stock(self, environ))

    def request() -> RequestHead:
        return head("/api", "POST", content, content_type="application/json", cookie="session=x")

    ours = [without_cookie(short_way(app, request())) for _ in range(2)]
    times = len(marked)
    assert ours == [without_cookie(long_way(app, request()))] * 2
    assert times == 2 * (len(marked) - times)
    assert bool(marked) == (seen_by != "nobody")
    request_finished.disconnect(seen, app)


def without_cookie(answer: Answer | None) -> Any:
    """Leave out the cookie, in which the second is written that it was signed in."""
    assert answer is not None
    status, fields, content = answer
    return status, [(name, value) for name, value in fields if name != "Set-Cookie"], content


@pytest.mark.parametrize("where", ["class", "instance"])
def test_replaced_handling_of_errors_is_called_for_coroutine_functions_too(
    loop: EventLoop, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = hello()
    app.view_functions["hello"] = as_coroutine_function(lambda: abort(404))
    app.register_error_handler(404, as_coroutine_function(lambda error: f"handled {error.code}"))
    for _ in range(2):
        assert short_way(app, head(), loop)[2] == b"handled 404"  # type: ignore[index]
    if where == "class":
        monkeypatch.setattr(Flask, "handle_http_exception", lambda app, error: "replaced")
    else:
        app.handle_user_exception = lambda error: "replaced"  # type: ignore[method-assign]
    assert short_way(app, head(), loop)[2] == b"replaced"  # type: ignore[index]
    assert long_way(app, head())[2] == b"replaced"


def test_a_replaced_async_to_sync_is_called(loop: EventLoop) -> None:
    app = hello()
    app.view_functions["hello"] = as_coroutine_function(lambda: "x")
    assert short_way(app, head(), loop) is not None
    app.async_to_sync = lambda function: lambda **arguments: "replaced"  # type: ignore[method-assign]
    assert short_way(app, head(), loop) is None
    assert long_way(app, head())[2] == b"replaced"


def in_one_second(answer: Callable[[], T]) -> T:
    """Answer, again if need be, until it is done within one second: a signed cookie says when it was signed."""
    while True:
        second = int(time.time())
        answers = answer()
        if int(time.time()) == second:
            return answers


def without_content(answer: Answer, method: str) -> Answer:
    # The server leaves the content of an answer to HEAD out.
    return (*answer[:2], b"") if method == "HEAD" else answer


def hello() -> Flask:
    app = Flask("quiet")
    app.add_url_rule("/", "hello", lambda: "hello")
    return app


def test_a_plain_application_takes_the_short_way() -> None:
    assert short_way(hello(), head()) == (
        "200 OK",
        [("Content-Length", "5"), ("Content-Type", "text/html; charset=utf-8")],
        b"hello",
    )


@pytest.mark.parametrize(
    ("method", "target", "refused"),
    [
        ("POST", "/", True),  # 405
        ("GET", "/nowhere", True),
        ("GET", "/", False),
        ("GET", "/folder", False),  # redirected
    ],
)
def test_a_refusal_is_known_before_the_content_is_there(method: str, target: str, refused: bool) -> None:
    app = hello()
    app.add_url_rule("/folder/", "folder", lambda: "")

    assert app.native_refuses(head(target, method)) is refused


def test_nothing_is_refused_for_an_application_that_dispatches_itself() -> None:
    app = hello()
    app.dispatch_request = lambda: "everything"  # type: ignore[method-assign]

    assert not app.native_refuses(head("/nowhere"))


STAGES = ["wsgi_app", "full_dispatch_request", "preprocess_request", "dispatch_request", "finalize_request",
          "make_response", "process_response", "do_teardown_request", "do_teardown_appcontext", "request_context",
          "create_url_adapter", "app_context", "ensure_sync"]  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_replaced_on_the_class_after_the_first_request_is_called(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = hello()
    assert short_way(app, head()) is not None
    calls: list[str] = []
    stock = getattr(Flask, stage)

    def replaced(*args: Any, **kwargs: Any) -> Any:
        calls.append(stage)
        return stock(*args, **kwargs)

    monkeypatch.setattr(Flask, stage, replaced)
    assert app.native_match(head()) is None
    assert long_way(app, head())[2] == b"hello"
    assert calls


@pytest.mark.parametrize("owner", [Flask, Response])
def test_what_is_replaced_on_a_class_is_called_from_the_next_round_on(
    owner: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = hello()
    calls: list[str] = []

    def replaced(*args: Any, **kwargs: Any) -> Any:
        calls.append("replaced")
        return stock(*args, **kwargs)

    def round_of_two() -> list[Answer | None]:
        monkeypatch.setattr(rounds, "current", object())
        return [short_way(app, head()) or long_way(app, head()) for _ in range(2)]

    assert [answer[2] for answer in round_of_two() if answer] == [b"hello"] * 2
    name = "process_response" if owner is Flask else "get_wsgi_headers"
    stock = getattr(owner, name)
    monkeypatch.setattr(owner, name, replaced)
    assert [answer[2] for answer in round_of_two() if answer] == [b"hello"] * 2
    assert len(calls) == 2
    monkeypatch.setattr(owner, name, stock)
    assert [answer[2] for answer in round_of_two() if answer] == [b"hello"] * 2
    assert len(calls) == 2


class Proxy:
    """Wraps a function and passes for it, as what tracing agents put in its place (wrapt's ObjectProxy)."""

    def __init__(self, wrapped: Any, calls: list[Any], bound_to: Any = None) -> None:
        self.__wrapped__, self._calls, self._bound_to = wrapped, calls, bound_to

    @property
    def __class__(self) -> Any:
        return type(self.__wrapped__)

    def __eq__(self, other: object) -> bool:
        return bool(self.__wrapped__ == other)

    def __hash__(self) -> int:
        return hash(self.__wrapped__)

    def __get__(self, instance: Any, owner: Any) -> Proxy:
        return self if instance is None else Proxy(self.__wrapped__, self._calls, instance)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__wrapped__, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._calls.append(self.__wrapped__)
        bound = () if self._bound_to is None else (self._bound_to,)
        return self.__wrapped__(*bound, *args, **kwargs)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_wrapped_by_what_equals_it_is_called(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = hello()
    assert short_way(app, head()) is not None
    calls: list[Any] = []
    stock = getattr(Flask, stage)
    monkeypatch.setattr(Flask, stage, Proxy(stock, calls))
    assert stock == getattr(Flask, stage)
    assert app.native_match(head()) is None
    assert not app.native_refuses(head("/nowhere"))
    assert long_way(app, head())[2] == b"hello"
    assert calls == [stock] * len(calls) != []


@pytest.mark.parametrize("name", ["__init__", "get_wsgi_headers", "get_app_iter", "__call__"])
@pytest.mark.parametrize("rv", ["text", Response("response")])
def test_a_method_of_responses_wrapped_by_what_equals_it_is_called(
    name: str, rv: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = hello()
    app.view_functions["hello"] = lambda: rv
    short_way(app, head())
    calls: list[Any] = []
    monkeypatch.setattr(Response, name, Proxy(getattr(Response, name), calls))
    assert short_way(app, head()) is not None
    assert bool(calls) is (name != "__init__" or rv == "text")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_replaced_on_the_instance_after_the_first_request_is_called(stage: str) -> None:
    app = hello()
    assert short_way(app, head()) is not None
    calls: list[str] = []
    stock = getattr(app, stage)

    def replaced(*args: Any, **kwargs: Any) -> Any:
        calls.append(stage)
        return stock(*args, **kwargs)

    setattr(app, stage, replaced)
    assert app.native_match(head()) is None
    assert long_way(app, head())[2] == b"hello"
    assert calls


def test_registries_changed_after_the_first_request_take_effect() -> None:
    app = hello()
    assert short_way(app, head())[2] == b"hello"  # type: ignore[index]

    app.view_functions["hello"] = lambda: "other"
    assert short_way(app, head())[2] == b"other"  # type: ignore[index]

    app.before_request_funcs.setdefault(None, []).append(lambda: "before")
    assert short_way(app, head())[2] == b"before"  # type: ignore[index]

    app.after_request_funcs.setdefault(None, []).append(lambda response: _marked(response, "late"))
    assert ("X-Mark", "late") in short_way(app, head())[1]  # type: ignore[index]

    torn: list[Any] = []
    app.teardown_request_funcs.setdefault(None, []).append(torn.append)
    app.teardown_appcontext_funcs.append(torn.append)
    short_way(app, head())
    assert torn == [None, None]

    app.before_request_funcs[None][:] = [lambda: _raise(Teapot())]
    app.error_handler_spec[None][None][Teapot] = lambda error: ("teapot", 418)
    assert short_way(app, head())[0].startswith("418")  # type: ignore[index]

    app.url_map.add(app.url_rule_class("/late", endpoint="hello"))
    assert short_way(app, head("/late")) is not None


def test_a_view_gets_the_arguments_that_a_hook_sets() -> None:
    app = Flask(__name__)
    app.add_url_rule("/<int:number>", view_func=lambda number: str(number), endpoint="number")

    @app.before_request
    def replace() -> None:
        request.view_args = {"number": 7}

    assert short_way(app, head("/3")) == long_way(app, head("/3"))
    assert short_way(app, head("/3"))[2] == b"7"  # type: ignore[index]


@pytest.mark.parametrize("way", [short_way, long_way])
@pytest.mark.parametrize("fails", [False, True])
def test_teardown_functions_run_in_the_same_order_and_a_failing_one_leaves_nothing(way: Any, fails: bool) -> None:
    app = Flask(__name__)
    inner = Blueprint("inner", __name__)
    seen: list[str] = []
    app.register_blueprint(inner)
    app.teardown_request_funcs = {
        None: [lambda _: seen.append("first"), lambda _: seen.append("second")],
        "inner": [lambda _: seen.append("first inner"), lambda e: seen.append(f"{e!r}") or 1 / (not fails)],  # type: ignore[func-returns-value]
    }
    app.add_url_rule("/", "inner.hello", lambda: _raise(KeyError("x")) if request.args else "Hello")

    for target, error in (("/", "None"), ("/?raise", "KeyError('x')")):
        seen.clear()
        if fails:
            with pytest.raises(ZeroDivisionError):
                way(app, head(target))
            assert seen == [error]
        else:
            assert way(app, head(target))[0][:3] == ("500" if "raise" in target else "200")
            assert seen == [error, "first inner", "second", "first"]
        assert not has_request_context()
        assert not has_app_context()


def test_a_teardown_function_may_use_the_application_context() -> None:
    app = hello()
    torn_down: list[str] = []

    @app.before_request
    def give() -> None:
        g.given = "given"

    @app.teardown_request
    def push_another(error: BaseException | None) -> None:
        torn_down.append(g.given)
        with app.app_context():
            assert "given" not in g

    short_way(app, head())
    assert torn_down == ["given"]
    assert not has_app_context()


def test_an_application_context_left_pushed_by_a_teardown_function_is_an_error_and_gone() -> None:
    app = hello()
    app.teardown_request(lambda error: app.app_context().push())
    with pytest.raises(AssertionError, match="pushed during the request"):
        short_way(app, head())
    assert not has_request_context()
    assert not has_app_context()


@settings(deadline=None)
@given(st.lists(st.text(alphabet='ab=;"\\, \té', max_size=12), max_size=3))
def test_cookies_are_the_same_on_both_ways(cookies: list[str]) -> None:
    app = Flask(__name__)
    app.add_url_rule("/", "cookies", lambda: repr(request.cookies.to_dict(flat=False)))

    def sent() -> RequestHead:
        made = head()
        made.fields += [(b"cookie", cookie.encode()) for cookie in cookies]
        return made

    assert short_way(app, sent()) == long_way(app, sent())


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; a=b", "text/x", "", 'a/b; c="d;e"'])
def test_the_media_type_is_the_same_on_both_ways(content_type: str) -> None:
    app = Flask(__name__)
    app.add_url_rule("/", "type", lambda: repr((request.mimetype, request.mimetype_params, request.is_json)))
    sent = {"content_type": content_type} if content_type else {}
    assert short_way(app, head(**sent)) == long_way(app, head(**sent))


def test_parameters_of_one_request_s_media_type_are_not_the_next_one_s() -> None:
    app = Flask(__name__)
    app.add_url_rule("/", "type", lambda: str(request.mimetype_params.setdefault("n", request.args["n"])))  # type: ignore[attr-defined]
    answers = [short_way(app, head(f"/?n={n}", content_type="text/x; a=b")) for n in (1, 2)]
    assert [answer[2] for answer in answers if answer] == [b"1", b"2"]


def test_a_map_of_another_class_is_asked_itself() -> None:
    class OwnMap(Map):
        pass

    class OwnFlask(Flask):
        url_map_class = OwnMap

    app = OwnFlask("quiet")
    app.add_url_rule("/", "hello", lambda: "hello")

    assert short_way(app, head()) is None
    assert long_way(app, head())[2] == b"hello"


def test_a_later_map_takes_effect() -> None:
    app = hello()
    short_way(app, head())
    app.url_map = app.url_map_class([app.url_rule_class("/other", endpoint="hello")])

    assert short_way(app, head()) is None
    assert short_way(app, head("/other"))[2] == b"hello"  # type: ignore[index]


def test_a_later_response_class_takes_effect() -> None:
    app = hello()
    short_way(app, head())
    app.response_class = type("Plain", (Response,), {"default_mimetype": "text/plain"})

    assert ("Content-Type", "text/plain; charset=utf-8") in short_way(app, head())[1]  # type: ignore[index]


def test_a_later_default_mimetype_takes_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    app = hello()
    short_way(app, head())
    monkeypatch.setattr(Response, "default_mimetype", "text/plain")

    assert ("Content-Type", "text/plain; charset=utf-8") in short_way(app, head())[1]  # type: ignore[index]


@pytest.mark.parametrize("on_class", [True, False])
def test_a_later_json_response_takes_effect(on_class: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    app = hello()
    app.view_functions["hello"] = lambda: {"a": 1}
    short_way(app, head())
    owner = type(app.json) if on_class else app.json
    monkeypatch.setattr(owner, "response", lambda *args, **kwargs: Response("replaced"))

    assert short_way(app, head())[2] == b"replaced"  # type: ignore[index]


def test_a_permanent_session_is_refreshed_though_no_view_looks_at_it() -> None:
    app = hello()
    app.secret_key = "for tests"
    app.add_url_rule("/login", "login", DEEDS["permanent session"])
    answer = short_way(app, head("/login"))
    assert answer is not None
    cookie = Headers(answer[1])["Set-Cookie"].partition(";")[0]

    refreshed = short_way(app, head(cookie=cookie))

    assert refreshed is not None
    assert "Set-Cookie" in Headers(refreshed[1])


def test_contexts_are_gone_after_each_request() -> None:
    app = hello()
    app.add_url_rule("/boom", "boom", DEEDS["bug"])
    app.logger.disabled = True
    for target in ("/", "/boom"):
        short_way(app, head(target))
        assert not request
        assert not g


def test_a_request_has_one_application_context_whenever_it_is_asked_for() -> None:
    app = Flask("app")
    seen: list[Any] = []

    @app.route("/")
    def view() -> str:
        g.seen = "in the view"
        with ThreadPoolExecutor(1) as threads:
            seen.append(threads.submit(copy_context().run, lambda: (current_app.name, g.seen)).result())
        seen.append(_cv_app.get() is _cv_app.get(None) is app_ctx._get_current_object())  # type: ignore[attr-defined]
        with Flask("other").app_context():
            seen.append((current_app.name, "seen" in g))
        with app.app_context():
            seen.append("seen" in g)
        seen.append((current_app.name, g.seen))
        return "done"

    assert short_way(app, head()) is not None
    assert seen == [("app", "in the view"), True, ("other", False), False, ("app", "in the view")]
    with pytest.raises(LookupError):
        _cv_app.get()
    assert _cv_app.get("none") == "none"


def test_what_a_view_puts_into_g_is_there_at_teardown() -> None:
    app = hello()
    app.view_functions["hello"] = lambda: g.setdefault("kept", "yes")
    seen: list[tuple[str, str]] = []
    app.teardown_appcontext(lambda error: seen.append((current_app.name, g.kept)))
    app.teardown_request(lambda error: seen.append((current_app.name, g.kept)))

    for _ in range(2):
        short_way(app, head())

    assert seen == [("quiet", "yes")] * 4
    assert not g


def test_an_application_context_left_pushed_is_an_error_and_gone() -> None:
    app = hello()
    app.add_url_rule("/left", "left", lambda: [app.app_context().push() for _ in range(2)])
    at = head("/left")
    assert app.native_match(at) is not None

    with pytest.raises(AssertionError, match="pushed during the request and not popped"):
        app.native_handle(at)
    assert not current_app
    assert not request


def test_an_error_reaches_the_server_in_testing_mode() -> None:
    app = hello()
    app.testing = True
    app.add_url_rule("/boom", "boom", DEEDS["bug"])
    at = head("/boom")
    assert app.native_match(at) is not None

    with pytest.raises(ZeroDivisionError):
        app.native_handle(at)
    assert not request


def test_a_view_may_ask_for_the_environ() -> None:
    app = hello()
    app.add_url_rule("/e", "e", lambda: request.environ["werkzeug.request"] is request._get_current_object())
    app.view_functions["e"] = lambda: str(request.environ["werkzeug.request"] is request._get_current_object())  # type: ignore[attr-defined]
    at = head("/e")

    assert short_way(app, at)[2] == b"True"  # type: ignore[index]
    assert at.environ is not None
    assert at.environ["werkzeug.request"] is None


def test_threads_that_share_a_native_request_see_one_object() -> None:
    app = Flask(__name__)
    gate = threading.Barrier(4)

    def look() -> Any:
        gate.wait()
        return request._get_current_object()  # type: ignore[attr-defined]

    @app.get("/")
    def view() -> str:
        with ThreadPoolExecutor(4) as threads:
            seen = list(threads.map(lambda context: context.run(look), [copy_context() for _ in range(4)]))
        return str(len(set(map(id, [*seen, request._get_current_object()]))))  # type: ignore[attr-defined]

    answer = short_way(app, head())
    assert answer is not None
    assert answer[2] == b"1"


def test_what_a_request_lacks_is_named() -> None:
    app = Flask(__name__)

    @app.get("/")
    def view() -> str:
        with pytest.raises(AttributeError, match="'Request' object has no attribute 'nothing'"):
            request.nothing  # type: ignore[attr-defined]  # noqa: B018
        return f"{hasattr(request, 'nothing')} {isinstance(request, app.request_class)} {request.__class__.__name__}"

    answer = short_way(app, head())
    assert answer is not None
    assert answer[2] == b"False True Request"


def test_a_hook_put_into_the_registry_runs_from_the_next_round_on() -> None:
    app = Flask(__name__)
    app.add_url_rule("/", "view", lambda: "as it was")
    app.after_request(lambda response: response)
    try:
        rounds.current = object()
        before = short_way(app, head())

        def replace(response: Response) -> Response:
            response.data = b"replaced"
            return response

        app.after_request_funcs[None].append(replace)
        rounds.current = object()
        after = short_way(app, head())
    finally:
        rounds.current = None
    assert (before and before[2], after and after[2]) == (b"as it was", b"replaced")


@pytest.mark.parametrize("is_watched", [False, True])
def test_a_request_that_is_given_up_while_it_waits_is_torn_down(loop: EventLoop, is_watched: bool) -> None:
    app = Flask(__name__)
    ended: list[Any] = []

    @app.before_request
    def load() -> None:
        g.user = "ann"

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        ended.append((g.user, request.path))

    @app.get("/")
    async def view() -> str:
        return "never"

    asked = head()
    asked.origin.run_coroutine = loop.run
    assert app.native_match(asked) is not None
    suspended = app.native_handle(asked)
    assert isinstance(suspended, Suspended)
    if is_watched:
        suspended = Watched(suspended, lambda message: message)
    assert suspended.advance(may_block=True) is suspended
    assert suspended.coroutine is not None
    assert ended == []
    suspended.close()
    assert ended == [("ann", "/")]
    assert not has_request_context()
