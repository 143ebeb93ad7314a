"""Applications that note, when an answer is out, what a context variable is then, as tracing agents do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from demijohn import Flask, Response, request, request_finished, request_started

transaction: ContextVar[str] = ContextVar("transaction", default="none")


def make_app() -> Flask:
    app = Flask(__name__)
    ended: list[list[str]] = []
    app.config["ENDED"] = ended

    def begin(sender: Flask, **more: Any) -> None:
        if request.path != "/ended":
            transaction.set(request.path)

    def end_when_sent(sender: Flask, response: Response, **more: Any) -> None:
        path = request.path
        if path != "/ended":
            response.call_on_close(lambda: ended.append([path, transaction.get()]))

    request_started.connect(begin, app, weak=False)
    request_finished.connect(end_when_sent, app, weak=False)

    @app.get("/plain")
    def plain() -> str:
        return "plain"

    @app.get("/awaited")
    async def awaited() -> str:
        return "awaited"

    @app.get("/parts")
    def parts() -> Iterator[str]:
        for _ in range(100):
            yield f"{transaction.get():>1000000}"

    @app.get("/ended")
    def listed() -> list[list[str]]:
        return ended

    return app


app = make_app()


class Agent:
    """Middleware that puts its variable back when the last part is out, in the context that it set it in."""

    def __init__(self, application: Callable[..., Iterable[bytes]], ended: list[list[str]]) -> None:
        self._application = application
        self._ended = ended

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        token = transaction.set("agent")
        return self._until_out(environ["PATH_INFO"], token, self._application(environ, start_response))

    def _until_out(self, path: str, token: Any, parts: Iterable[bytes]) -> Iterator[bytes]:
        try:
            yield from parts
        finally:
            parts.close()  # type: ignore[attr-defined]  # as PEP 3333 has it of middleware
            transaction.reset(token)  # ValueError in another context
            self._ended.append([path, "put back"])


watched = make_app()
watched.wsgi_app = Agent(watched.wsgi_app, watched.config["ENDED"])  # type: ignore[method-assign]
