"""JSON-RPC methods that are called over a WebSocket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

from awaiting import at_gate
from plain import wait_at_gate

from demijohn import Flask, abort, g, request
from demijohn.heavy import CallCancelled, progress, report
from demijohn.jsonrpc import JSONRPC, JSONRPCBlueprint, JSONRPCError, JSONRPCView


def at_gate_slowly(path: str) -> int:
    """Come to a gate; then report until somebody has enough of it."""
    report(0, 2, "waiting")
    wait_at_gate(path)
    while True:
        report(1)


def needs_key(view: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a view that is answered only to those who have the key."""

    @wraps(view)
    def guarded_view(**arguments: Any) -> Any:
        return view(**arguments) if request.headers.get("X-Key") == "sesame" else abort(401)

    return guarded_view


class Keyed(JSONRPCView):
    """A view with a decorator, which counts what each of its instances answers."""

    decorators = [needs_key]  # noqa: RUF012
    answered = 0

    def dispatch_request(self, **arguments: Any) -> Any:
        self.answered += 1
        g.answered = self.answered
        return super().dispatch_request(**arguments)


def make(**options: Any) -> Flask:
    app = Flask(__name__)
    app.config.update(options)
    jsonrpc = JSONRPC(app, "/api", websocket=True)

    @app.route("/")
    def hello() -> str:
        return "Hello, World!"

    @app.route("/threads")
    def threads() -> list[str]:
        return [thread.name for thread in threading.enumerate()]

    @jsonrpc.method()
    def add(a: int, b: int) -> int:
        return a + b

    @jsonrpc.method()
    def repeat(text: str, times: int) -> str:
        return text * times

    @jsonrpc.method()
    def about() -> dict[str, Any]:
        return {
            "method": request.method,
            "url": request.url,
            "key": request.headers.get("X-Key"),
            "query": request.args.get("q"),
            "length": request.content_length == len(request.get_data()),
        }

    @jsonrpc.method()
    def fail(how: str) -> int:
        if how == "error":
            raise JSONRPCError("told", code=7, status_code=409)
        if how == "abort":
            abort(403)
        if how == "result":
            return "no number"  # type: ignore[return-value]
        raise RuntimeError("the cellar is flooded")

    @jsonrpc.method(notification=False)
    def answered() -> str:
        return "yes"

    @jsonrpc.method(auth=lambda call: request.headers.get("X-Key") == "sesame")
    def secret() -> str:
        return "treasure"

    @jsonrpc.method()
    def wait(path: str) -> str:
        wait_at_gate(path)
        return "waited"

    @jsonrpc.method()
    def waits_and_logs(path: str) -> str:
        wait_at_gate(path)
        app.logger.error("it came to its end")
        return "waited"

    @jsonrpc.method()
    def reports(path: str) -> int:
        try:
            return at_gate_slowly(path)
        except CallCancelled:
            app.logger.error("it has cleaned up")
            raise

    @jsonrpc.method()
    def counts(n: int) -> int:
        return sum(1 for _ in progress(range(n), message="counting"))

    @jsonrpc.method()
    async def awaits(path: str) -> str:
        async with at_gate(path):
            return "awaited"

    @jsonrpc.method(timeout_s=0.1)
    async def times_out() -> None:
        await asyncio.Event().wait()

    @jsonrpc.method()
    async def forever(path: str) -> None:
        async with at_gate(path):
            await asyncio.Event().wait()

    @jsonrpc.method()
    async def logs_its_end(path: str) -> None:
        try:
            async with at_gate(path):
                await asyncio.Event().wait()
        finally:
            app.logger.error("it has ended")

    @jsonrpc.method()
    def nothing() -> tuple[None, int]:
        return None, 204

    @jsonrpc.method()
    def port() -> str:
        return str(request.environ["REMOTE_PORT"])

    jsonrpc.register(heavy_work, heavy=True)
    jsonrpc.register(heavy_wait, heavy=True)
    jsonrpc.register(heavy_tidy, heavy=True)
    jsonrpc.register(heavy_work, "work", job=True)
    jsonrpc.register(heavy_wait, "wait_at_work", job=True)

    cellar = JSONRPCBlueprint("cellar", __name__)
    cellar.register(lambda_of_cellar, "count")
    jsonrpc.register_blueprint(app, cellar, "/cellar")
    keyed = JSONRPCBlueprint("keyed", __name__, jsonrpc_site_api=Keyed)
    keyed.register(answered_by_instance, "answered")
    jsonrpc.register_blueprint(app, keyed, "/keyed")
    return app


def lambda_of_cellar() -> int:
    return 12


def answered_by_instance() -> int:
    return int(g.answered)


def heavy_work(n: int) -> int:
    return sum(1 for _ in progress(range(n)))


def heavy_wait(path: str) -> int:
    return at_gate_slowly(path)


def heavy_tidy(path: str) -> int:
    try:
        return at_gate_slowly(path)
    except CallCancelled:
        wait_at_gate(path)  # so that a test learns of it
        raise


app = make()
strict = make(JSONRPC_BATCH_LIMIT=2, MAX_CONTENT_LENGTH=1000, JSONRPC_WEBSOCKET_ORIGINS=["https://shop.example"])
guarded = make()


@guarded.before_request
def ask_for_key() -> None:
    if request.headers.get("X-Key") != "sesame" or b"forbidden" in request.get_data():
        abort(401)
    if "X-Gate" in request.headers:
        wait_at_gate(request.headers["X-Gate"])


class Middleware:
    """What makes the server take the general way."""

    def __init__(self, application: Any) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        return self._application(dict(environ), start_response)


wrapped = make()
wrapped.wsgi_app = Middleware(wrapped.wsgi_app)  # type: ignore[method-assign]
