"""The gateway to a WSGI application (PEP 3333)."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from ..environ import FileWrapper, environ_of
from ..message import RequestHead, ResponseMessage, Switching, response_message
from .framing import plain_answer

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed.wsgi import WSGIApplication

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

log = logging.getLogger("demijohn.server")

_MOST_ROUTES = 1024
_WRITTEN_IN_MEMORY_BYTES = 1 << 20
# What gives parts that are all there, without a step of the application's.
_ITERATORS_OF_DATA = (type(iter([b""])), type(iter((b"",))))


def internal_error(head: RequestHead) -> ResponseMessage:
    """Log the exception being handled and return the answer for it."""
    log.exception("The application failed on %s %s", head.method, head.target.decode("latin-1"))
    return plain_answer(500, "The server met an error and could not answer the request.")


class Route:
    """What is known of one path: how long its answers take, in seconds."""

    __slots__ = ("wall_s",)
    may_await = False

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
            if head.special is not None and head.special.upgrades and isinstance(error, ConnectionError):
                # How Engine.IO says that it is done with `werkzeug.socket`; nothing of this answer is sent then.
                log.debug("The connection that %s asked for has ended", head)
                return plain_answer(500, "The connection was taken over, and lost.")
            return internal_error(head)
        if head.special is not None and head.special.upgrades and message.status.startswith("101"):
            message = _switching(head, message)
        message.context = context
        return message


def _answer(application: WSGIApplication, environ: dict[str, Any]) -> ResponseMessage:
    call = _Call()
    try:
        iterable = application(environ, call.start_response)
    except BaseException:
        call.drop()
        raise
    return call.answer(iterable)


def _switching(head: RequestHead, message: ResponseMessage) -> ResponseMessage:
    """Return the answer with the conversation that the application has left for it, if it has."""
    offer = environ_of(head).get("demijohn.websocket")
    if offer is None or offer.conversation is None:
        return message
    return Switching(message, offer.conversation)


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

    __slots__ = ("_headers", "_sent", "_status", "_written")

    def __init__(self) -> None:
        self._status: str | None = None
        self._headers: list[tuple[str, str]] = []
        self._written: _Written | None = None
        self._sent = False

    def start_response(
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
        return self._write

    def _write(self, data: bytes) -> None:
        if self._written is None:
            self._written = _Written()
        self._written.append(data)

    def drop(self) -> None:
        """Give up what was written."""
        if self._written is not None:
            self._written.drop()

    def answer(self, iterable: Iterable[bytes]) -> ResponseMessage:
        if type(iterable) is list and len(iterable) == 1 and type(iterable[0]) is bytes and self._written is None:
            return self._message(iterable[0], None)  # bench/wsgi.py: "list"
        close: Callable[[], object] | None = getattr(iterable, "close", None)
        try:
            content = self._content(iterable)
            if isinstance(content, FileWrapper) and content is not iterable:
                close = _both(content.filelike.close, close)
            message = self._message(content, close)
            if isinstance(content, _Parts) and message.content_length == len(content.first) and not self._written:
                # All there is to say is there, and goes out in one piece; only then is the iterable asked for its end.
                message.content = content.first
                message.close = content.end if close is None else _both(content.end, close)
            return message
        except BaseException:
            self.drop()
            if close is not None:
                close()
            raise

    def _message(self, content: bytes | Iterable[bytes], close: Callable[[], object] | None) -> ResponseMessage:
        self._sent = True
        if self._status is None:
            raise AssertionError("the application returned without calling start_response")
        return response_message(self._status, self._headers, content, close)

    def _content(self, iterable: Iterable[bytes]) -> bytes | Iterable[bytes]:
        if isinstance(iterable, FileWrapper) and not self._written:
            return iterable
        if isinstance(iterable, list | tuple) and not (self._written and self._written.is_in_file):
            return b"".join([self._written.take(), *iterable] if self._written else iterable)  # type: ignore[list-item]
        parts = iter(iterable)
        if type(parts) in _ITERATORS_OF_DATA and not self._written:
            # As Django's responses are: so the answer has a Content-Length, and goes out in one piece.
            return b"".join(parts)
        # The status may be set as late as with the first part that is not empty.
        first = next(filter(None, parts), b"")
        if not isinstance(first, bytes):
            raise TypeError(f"the application's iterable gave {type(first).__name__}; WSGI content is bytes")
        if not first:
            return self._written.take() if self._written else b""
        return _Parts(self, first, parts)

    def take_written(self) -> Iterator[bytes]:
        """Yield what has been written, if anything has."""
        if self._written:
            content = self._written.take()
            yield from [content] if isinstance(content, bytes) else _closing(content)


class _Parts:
    """What an iterable gives, each part after what was written before it came. Its first part is known."""

    __slots__ = ("_call", "_parts", "first")

    def __init__(self, call: _Call, first: bytes, parts: Iterator[bytes]) -> None:
        self.first = first
        self._parts = parts
        self._call = call

    def __iter__(self) -> Iterator[bytes]:
        part: bytes | None = self.first
        try:
            while part is not None:
                yield from self._call.take_written()
                yield part
                part = next(self._parts, None)
            yield from self._call.take_written()
        finally:
            self._call.drop()

    def end(self) -> None:
        """Let the iterable come to its end. What it still gives is over its Content-Length, and dropped."""
        try:
            if next(filter(None, self._parts), None) is not None:
                log.error("The application's content is longer than its Content-Length and was cut")
        finally:
            self._call.drop()


def _closing(content: FileWrapper) -> Iterator[bytes]:
    with contextlib.closing(content.filelike):
        yield from content


def _both(first: Callable[[], object], second: Callable[[], object] | None) -> Callable[[], object]:
    def close() -> None:
        try:
            first()
        finally:
            if second is not None:
                second()

    return close
