"""Time the steps of a request inside the application, without a server: `python -m bench.request_path`.

Each line is the best of several batches, in microseconds: the figures beside the tricks in `fastpath.py`,
`wrappers.py` and `routing.py` come from here.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from inspect import iscoroutinefunction
from operator import is_
from typing import Any

from werkzeug.local import LocalProxy as WerkzeugProxy
from werkzeug.wrappers import Request as WerkzeugRequest

from demijohn import Flask, Request, Response, current_app, request
from demijohn.ctx import AppContext, RequestContext
from demijohn.environ import environ_of
from demijohn.fastpath import Around, _is_plain, stages_of
from demijohn.globals import _cv_app, _cv_request
from demijohn.message import Origin, RequestHead, Suspended, response_message, rounds
from demijohn.routing import _walk

CALLS = 20_000
BATCHES = 15


def time_us(step: Callable[[], object]) -> float:
    step()
    return min(timeit.repeat(step, number=CALLS, repeat=BATCHES)) / CALLS * 1e6


async def awaits_nothing() -> str:
    return "Hello, World!"


def make_app() -> Flask:
    app = Flask("bench")
    app.add_url_rule("/", "hello", lambda: "Hello, World!")
    app.add_url_rule("/user/<int:id>/<name>", "user", lambda id, name: {"id": id, "q": request.args.get("q")})
    app.add_url_rule("/async", "async", awaits_nothing)
    app.add_url_rule("/json", "json", lambda: {"id": 1, "name": "x"})
    return app


def make_app_with_hooks() -> Flask:
    app = Flask("bench")
    for _ in range(3):
        app.before_request(lambda: None)
        app.after_request(lambda response: response)
        app.teardown_request(lambda error: None)
    app.add_url_rule("/", "hello", lambda: "Hello, World!")
    return app


def head(target: bytes) -> RequestHead:
    return RequestHead("GET", target, (1, 1), [(b"host", b"localhost")], Origin())


def main() -> None:
    app = make_app()
    match, handle = app.native_match, app.native_handle
    matched = {target: head(target) for target in (b"/", b"/json", b"/user/3/bob?q=1")}
    for matched_head in matched.values():
        match(matched_head)
    hello = matched[b"/"]
    tree = app.url_map.compiled()._trees["GET"]  # type: ignore[attr-defined]
    ctx = RequestContext.of_native(app, hello)
    hooked = make_app_with_hooks()
    hooked_hello = head(b"/")
    hooked.native_match(hooked_hello)
    hook = hooked.before_request_funcs[None][0]
    hooked_ctx = RequestContext.of_native(hooked, hooked_hello)
    hooked_path, hooked_route = hooked._fast_path, hooked_hello.route
    hooked_route.around = Around(hooked, hooked_route)
    environ = environ_of(head(b"/?q=1"))
    cookie = RequestHead("GET", b"/", (1, 1), [(b"host", b"localhost"), (b"cookie", b"a=1; b=2")], Origin())
    match(cookie)
    awaiting = head(b"/async")
    awaiting.origin.run_coroutine = lambda coroutine: None
    match(awaiting)
    werkzeug_proxy = WerkzeugProxy(_cv_request, "request")

    def again_in_a_round() -> None:
        rounds.current = hello
        match(hello)
        handle(hello)
        rounds.current = None

    def push_and_pop() -> None:
        ctx.push_quietly()
        ctx.pop_quietly()

    def push_and_pop_both() -> None:
        app_ctx = AppContext(app)
        app_ctx._cv_tokens.append(_cv_app.set(app_ctx))
        ctx.push_quietly()
        ctx.pop_quietly()
        _cv_app.reset(app_ctx._cv_tokens.pop())

    def tear_down() -> None:
        hooked_ctx.push_quietly()
        hooked_path._tear_down(hooked_ctx, hooked_route.around, None)

    def tear_down_by_pop() -> None:
        hooked_ctx.push_quietly()
        hooked_ctx.pop(None)

    def answer_awaited(suspended: Any) -> object:
        answer = suspended if suspended.coroutine is not None else suspended.advance(may_block=True)
        while answer is suspended:
            try:
                suspended.context.run(suspended.coroutine.send, None)
            except StopIteration as end:
                answer = suspended.advance(may_block=True, value=end.value)
        return answer

    def cookies_by_environ() -> object:
        cookie.environ = None
        request = Request.of_head(cookie)
        return request.environ, request.cookies

    def start_response(status: str, fields: list[tuple[str, str]], *_: object) -> Any:
        response_message(status, fields, b"")

    def stream(is_plain: bool) -> None:
        response = Response(iter([b"x"] * 64))
        if is_plain:
            message = app._fast_path._message(response, hello)
            parts, close = message.content, message.close
        else:
            hello.environ = None
            given: Any = response(environ_of(hello), start_response)
            parts, close = given, given.close
        for _ in parts:
            pass
        assert close is not None
        close()

    five = RequestHead("GET", b"/", (1, 1), [(b"host", b"localhost")] * 5, Origin())
    match(five)
    of_five = Request.of_head(five)

    steps: dict[str, Callable[[], object]] = {
        "look whether a stage was replaced": lambda: all(map(is_, stages_of(Flask), app._fast_path._stock_stages)),
        "match /": lambda: match(hello),
        "match /user/3/bob": lambda: match(matched[b"/user/3/bob?q=1"]),
        "walk to it": lambda: _walk(tree, ["", "user", "3", "bob"], 0, []),
        "make a native request": lambda: Request.of_head(hello),
        "make its context and itself": lambda: RequestContext.of_native(app, hello),
        "push and pop it": push_and_pop,
        "push and pop it, and an application context": push_and_pop_both,
        "handle /": lambda: handle(hello),
        "match and handle /": lambda: (match(hello), handle(hello)),
        "match and handle / again in a round": again_in_a_round,
        "handle /json": lambda: handle(matched[b"/json"]),
        "handle /user/3/bob?q=1": lambda: handle(matched[b"/user/3/bob?q=1"]),
        "handle / with 3 hooks of each kind": lambda: hooked.native_handle(hooked_hello),
        "handle /async": lambda: answer_awaited(handle(awaiting)),
        "handle /async, all in steps": lambda: answer_awaited(Suspended(app._fast_path._steps(awaiting, True))),
        "whether a hook is plain": lambda: _is_plain(hook),
        "9 hooks of a route": lambda: Around(hooked, hooked_route),
        "whether it is a coroutine function": lambda: iscoroutinefunction(hook),
        "push, pop with 3 teardown functions": tear_down,
        "push, pop with them by RequestContext.pop": tear_down_by_pop,
        "Response of text": lambda: hooked_path._response_of_text("Hello, World!"),
        "Response of content of a media type": lambda: Response._of_mimetype(b"x", "application/json"),
        "Response of text by its constructor": lambda: Response("Hello, World!"),
        "stream of 64 parts": lambda: stream(True),
        "stream of 64 parts, by calling the response": lambda: stream(False),
        "whether a cookie was sent": lambda: of_five.sends_cookie("session"),
        "whether, by a generator": lambda: any(
            field == b"cookie" and b"session" in value for field, value in five.fields
        ),
        "cookies": lambda: Request.of_head(cookie).cookies,
        "cookies, the environ made first": cookies_by_environ,
        "Response by its constructor": lambda: Response(b"x", content_type="application/json"),
        "Response.of_content": lambda: Response.of_content(b"x", "application/json"),
        "args of one parameter": lambda: Request(environ).args,
        "args of one parameter, Werkzeug's way": lambda: WerkzeugRequest.args.__get__(Request(environ), None),
        "request.method": lambda: request.method,
        "request.method, Werkzeug's way": lambda: werkzeug_proxy.method,
        "request. the application": lambda: _cv_app.app(),
        "request. the application, by current_app": lambda: current_app.json,
        "environ": lambda: environ_of(head(b"/user/3/bob?q=1")),
    }
    current = RequestContext.of_native(app, hello)
    for name, step in steps.items():
        if name.startswith("request."):
            with current:
                print(f"{time_us(step):8.2f} us  {name}")
        else:
            print(f"{time_us(step):8.2f} us  {name}")


if __name__ == "__main__":
    main()
