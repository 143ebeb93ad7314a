"""Time the steps of a request inside the application, without a server: `python -m bench.request_path`.

Each line is the best of several batches, in microseconds: the figures beside the tricks in `fastpath.py`,
`wrappers.py` and `routing.py` come from here.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from operator import is_

from werkzeug.local import LocalProxy as WerkzeugProxy
from werkzeug.wrappers import Request as WerkzeugRequest

from demijohn import Flask, Request, Response, request
from demijohn.ctx import AppContext, RequestContext
from demijohn.environ import environ_of
from demijohn.fastpath import stages_of
from demijohn.globals import _cv_app, _cv_request
from demijohn.message import Origin, RequestHead

CALLS = 20_000
BATCHES = 15


def time_us(step: Callable[[], object]) -> float:
    step()
    return min(timeit.repeat(step, number=CALLS, repeat=BATCHES)) / CALLS * 1e6


def make_app() -> Flask:
    app = Flask("bench")
    app.add_url_rule("/", "hello", lambda: "Hello, World!")
    app.add_url_rule("/user/<int:id>/<name>", "user", lambda id, name: {"id": id, "q": request.args.get("q")})
    app.add_url_rule("/json", "json", lambda: {"id": 1, "name": "x"})
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
    ctx = RequestContext.of_native(app, hello)
    environ = environ_of(head(b"/?q=1"))
    werkzeug_proxy = WerkzeugProxy(_cv_request, "request")

    def push_and_pop() -> None:
        ctx.push_quietly()
        ctx.pop_quietly()

    def push_and_pop_both() -> None:
        app_ctx = AppContext(app)
        app_ctx._cv_tokens.append(_cv_app.set(app_ctx))
        ctx.push_quietly()
        ctx.pop_quietly()
        _cv_app.reset(app_ctx._cv_tokens.pop())

    steps: dict[str, Callable[[], object]] = {
        "look whether a stage was replaced": lambda: all(map(is_, stages_of(Flask), app._fast_path._stock_stages)),
        "match /": lambda: match(hello),
        "match /user/3/bob": lambda: match(matched[b"/user/3/bob?q=1"]),
        "make a native request": lambda: Request.of_head(hello),
        "make its context and itself": lambda: RequestContext.of_native(app, hello),
        "push and pop it": push_and_pop,
        "push and pop it, and an application context": push_and_pop_both,
        "handle /": lambda: handle(hello),
        "handle /json": lambda: handle(matched[b"/json"]),
        "handle /user/3/bob?q=1": lambda: handle(matched[b"/user/3/bob?q=1"]),
        "Response by its constructor": lambda: Response(b"x", content_type="application/json"),
        "Response.of_content": lambda: Response.of_content(b"x", "application/json"),
        "args of one parameter": lambda: Request(environ).args,
        "args of one parameter, Werkzeug's way": lambda: WerkzeugRequest.args.__get__(Request(environ), None),
        "request.method": lambda: request.method,
        "request.method, Werkzeug's way": lambda: werkzeug_proxy.method,
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
