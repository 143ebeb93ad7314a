"""The gateway to a WSGI application (PEP 3333)."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from ..environ import FileWrapper, environ_of
from ..message import RequestHead, ResponseMessage, response_message
from .http1 import plain_answer

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed.wsgi import WSGIApplication

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

log = logging.getLogger("demijohn.server")

_MOST_ROUTES = 1024
_WRITTEN_IN_MEMORY_BYTES = 1 << 20


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


class _Written:
    """What an application has passed to `write`, oldest first; more than a little of it is in a temporary file.

    PEP 3333 lets a server keep it: it goes out before what the iterable gives next.
    """

    __slots__ = ("_bytes", "_file", "_parts")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._bytes = 0
        self._file: BinaryIO | None = None

    def __bool__(self) -> bool:
        return self._bytes > 0

    @property
    def is_in_file(self) -> bool:
        return self._file is not None

    def append(self, data: bytes) -> None:
        if not isinstance(data, bytes):
            raise TypeError(f"write() was given {type(data).__name__}; WSGI content is bytes")
        self._parts.append(data)
        self._bytes += len(data)
        if self._file is not None or self._bytes > _WRITTEN_IN_MEMORY_BYTES:
            if self._file is None:
                self._file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 (closed with the answer)
            self._file.writelines(self._parts)
            self._parts = []

    def take(self) -> bytes | FileWrapper:
        """Return it, and begin anew."""
        file, parts = self._file, self._parts
        self._file, self._parts, self._bytes = None, [], 0
        if file is None:
            return b"".join(parts)
        file.seek(0)
        return FileWrapper(file)

    def drop(self) -> None:
        content = self.take()
        if isinstance(content, FileWrapper):
            content.filelike.close()


class _Call:
    """One call of the application."""

    __slots__ = ("_headers", "_iterable", "_sent", "_status", "_written")

    def __init__(self, application: WSGIApplication, environ: dict[str, Any]) -> None:
        self._status: str | None = None
        self._headers: list[tuple[str, str]] = []
        self._written = _Written()
        self._sent = False
        try:
            self._iterable = application(environ, self._start_response)
        except BaseException:
            self._written.drop()
            raise

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
        return self._written.append

    def answer(self) -> ResponseMessage:
        iterable = self._iterable
        close: Callable[[], object] | None = getattr(iterable, "close", None)
        try:
            content = self._content(iterable)
            self._sent = True
            if self._status is None:
                raise AssertionError("the application returned without calling start_response")
            if isinstance(content, FileWrapper) and content is not iterable:
                close = _both(content.filelike.close, close)
            return response_message(self._status, self._headers, content, close)
        except BaseException:
            self._written.drop()
            if close is not None:
                close()
            raise

    def _content(self, iterable: Iterable[bytes]) -> bytes | Iterable[bytes]:
        written = self._written
        if isinstance(iterable, FileWrapper) and not written:
            return iterable
        if isinstance(iterable, list | tuple) and not written.is_in_file:
            return b"".join([written.take(), *iterable] if written else iterable)  # type: ignore[list-item]
        # The status may be set as late as with the first part that is not empty.
        parts = iter(iterable)
        first = next(filter(None, parts), b"")
        if not isinstance(first, bytes):
            raise TypeError(f"the application's iterable gave {type(first).__name__}; WSGI content is bytes")
        if not first:
            return written.take()
        return self._in_order(first, parts)

    def _in_order(self, part: bytes | None, parts: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the parts, each after what was written before it came."""
        try:
            while True:
                if self._written:
                    content = self._written.take()
                    yield from [content] if isinstance(content, bytes) else _closing(content)
                if part is None:
                    return
                yield part
                part = next(parts, None)
        finally:
            self._written.drop()


def _closing(content: FileWrapper) -> Iterator[bytes]:
    with contextlib.closing(content.filelike):
        yield from content


def _both(first: Callable[[], object], second: Callable[[], object] | None) -> Callable[[], object]:
    def close() -> None:
        first()
        if second is not None:
            second()

    return close
