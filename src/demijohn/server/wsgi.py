"""The gateway to a WSGI application (PEP 3333)."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from ..environ import FileWrapper, environ_of
from ..message import RequestHead, ResponseMessage, response_message
from .http1 import plain_answer

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed.wsgi import WSGIApplication

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

log = logging.getLogger("demijohn.server")

_MOST_ROUTES = 1024


def internal_error(head: RequestHead) -> ResponseMessage:
    """Log the exception being handled and return the answer for it."""
    log.exception("The application failed on %s %s", head.method, head.target.decode("latin-1"))
    return plain_answer(500, "The server met an error and could not answer the request.")


class Route:
    """What is known of one path: how long its answers take, in seconds."""

    __slots__ = ("wall_s",)

    def __init__(self, wall_s: float) -> None:
        self.wall_s = wall_s


class WSGIGateway:
    """Calls a WSGI application."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        self._routes: dict[bytes, Route] = {}
        self._newest = Route(0.0)

    def match(self, head: RequestHead) -> Route:
        """Return the route of the path. A new path is expected to take as long as the last new one has."""
        path = head.target.partition(b"?")[0]
        route = self._routes.get(path)
        if route is None:
            if len(self._routes) >= _MOST_ROUTES:
                self._routes.clear()  # peers choose the paths
            route = self._newest = self._routes[path] = Route(self._newest.wall_s)
        return route

    def refuses(self, head: RequestHead) -> bool:
        return False  # only the application knows, by answering

    def handle(self, head: RequestHead) -> ResponseMessage:
        """Call the application. Raises nothing: what the application raises is logged and answered 500."""
        # Of its own: an agent that sets a variable before the application may put it back after the last part only.
        context = copy_context()
        try:
            message = context.run(_answer, self._application, environ_of(head))
        except BaseException as error:  # SystemExit too: a view's exit code is no verdict on the server
            if head.upgrades and isinstance(error, ConnectionError):
                # How Engine.IO says that it is done with `werkzeug.socket`; nothing of this answer is sent then.
                log.debug("The connection that %s asked for has ended", head)
                return plain_answer(500, "The connection was taken over, and lost.")
            return internal_error(head)
        message.context = context
        return message


def _answer(application: WSGIApplication, environ: dict[str, Any]) -> ResponseMessage:
    return _Call(application, environ).answer()


class _Call:
    """One call of the application."""

    __slots__ = ("_headers", "_iterable", "_sent", "_status", "_written")

    def __init__(self, application: WSGIApplication, environ: dict[str, Any]) -> None:
        self._status: str | None = None
        self._headers: list[tuple[str, str]] = []
        self._written: list[bytes] = []
        self._sent = False
        self._iterable = application(environ, self._start_response)

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        if exc_info is not None and exc_info[1] is not None:
            try:
                if self._sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # PEP 3333: no circle through the traceback
        elif self._status is not None:
            raise AssertionError("start_response was called again without exc_info; PEP 3333 allows it for errors only")
        self._status = status
        self._headers = list(headers)
        # PEP 3333 lets a server buffer what is written; it goes out before the iterable.
        return self._written.append

    def answer(self) -> ResponseMessage:
        iterable = self._iterable
        close: Callable[[], object] | None = getattr(iterable, "close", None)
        try:
            content = self._content(iterable)
            self._sent = True
            if self._status is None:
                raise AssertionError("the application returned without calling start_response")
            return response_message(self._status, self._headers, content, close)
        except BaseException:
            if close is not None:
                close()
            raise

    def _content(self, iterable: Iterable[bytes]) -> bytes | Iterable[bytes]:
        written = self._written
        if isinstance(iterable, FileWrapper) and not written:
            return iterable
        if isinstance(iterable, list | tuple):
            return b"".join([*written, *iterable])
        # The status may be set as late as with the first part that is not empty.
        parts = iter(iterable)
        first = next(filter(None, parts), b"")
        if not isinstance(first, bytes):
            raise TypeError(f"the application's iterable gave {type(first).__name__}; WSGI content is bytes")
        if not first:
            return b"".join(written)
        return itertools.chain(written, (first,), parts)
