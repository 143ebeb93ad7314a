"""The WSGI environ of a request (PEP 3333), made once and kept with it."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes

from . import __version__
from .message import Fields, Offer, Origin, RequestHead, origin_of

SERVER_SOFTWARE = f"demijohn/{__version__}"

_BLOCK_BYTES = 65536


class FileWrapper:
    """What `wsgi.file_wrapper` makes of a file: an iterable of blocks, which the server may send in its own way.

    PEP 3333, "Optional Platform-Specific File Handling".
    """

    def __init__(self, filelike: BinaryIO, blksize: int = _BLOCK_BYTES) -> None:
        self.filelike = filelike
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def seekable(self) -> bool:
        """Whether it can be read from anywhere, as ranges are."""
        return hasattr(self.filelike, "seekable") and self.filelike.seekable()

    def seek(self, offset: int) -> int:
        return self.filelike.seek(offset)

    def tell(self) -> int:
        return self.filelike.tell()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        block = self.filelike.read(self.blksize)
        if not block:
            raise StopIteration
        return block


class _LentAtFirstUse:
    """A connection's socket, which is the application's once it uses it (see `Origin.lend_socket`).

    Not before: a view that turns the WebSocket down answers as ever.
    """

    def __init__(self, lend: Callable[[], Any]) -> None:
        self._lend = lend

    def __getattr__(self, name: str) -> Any:
        if name == "_lent":
            self._lent = self._lend()
            return self._lent
        return getattr(self._lent, name)

    def __enter__(self) -> Any:
        return self._lent.__enter__()

    def __exit__(self, *error: object) -> None:
        self._lent.__exit__(*error)


def environ_of(head: RequestHead) -> dict[str, Any]:
    """Return the environ of `head`; the same dictionary every time.

    Fields whose names hold `_` have been settled by the server. In absolute-form the authority of the target stands in
    for the Host field (RFC 9112 §3.2.2).
    """
    if head.environ is None:
        head.environ = _make(head)
    return head.environ


class _Start:
    """What the environs of one connection's requests with these fields have in common, to be copied.

    A connection gives requests that repeat their fields the same list (see `http1.Connection`).
    bench/wsgi.py: an environ then takes 1.3 us; without, 2.4 with 2 field lines and 4.0 with 15.
    """

    __slots__ = ("environ", "fields")

    def __init__(self, origin: Origin, fields: Fields) -> None:
        server_name, server_port = _server(origin.server, origin.scheme)
        environ: dict[str, Any] = {
            "SCRIPT_NAME": "",
            "SERVER_NAME": server_name,
            "SERVER_PORT": server_port,
            "SERVER_SOFTWARE": SERVER_SOFTWARE,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": origin.scheme,
            "wsgi.input_terminated": True,
            "wsgi.multithread": origin.multithread,
            "wsgi.multiprocess": origin.multiprocess,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": FileWrapper,
        }
        if origin.client is None:
            environ["REMOTE_ADDR"] = ""
        else:
            environ["REMOTE_ADDR"] = origin.client[0]
            if origin.client[1]:  # proxies seldom tell it
                environ["REMOTE_PORT"] = str(origin.client[1])
        _add_fields(environ, fields)
        if origin.host is not None:
            environ["HTTP_HOST"] = origin.host.decode("latin-1")
        if origin.tls is not None:
            environ.update(origin.tls())
        if origin.send_hints is not None:
            environ["wsgi.early_hints"] = origin.send_hints
        self.environ = environ
        self.fields = fields


def _make(head: RequestHead) -> dict[str, Any]:
    origin = head.origin if head.origin.told is None else origin_of(head)
    start: _Start | None = origin.environ_start
    if start is None or start.fields is not head.fields:
        start = origin.environ_start = _Start(origin, head.fields)
    environ = start.environ.copy()
    authority, path, query = split_target(head.target)
    special = head.special
    if special is not None and special.script_name:
        environ["SCRIPT_NAME"] = special.script_name.decode("latin-1")
        path = path[len(special.script_name) :]
    environ["REQUEST_METHOD"] = head.method
    environ["PATH_INFO"] = (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1")
    environ["QUERY_STRING"] = query.decode("latin-1")
    environ["REQUEST_URI"] = environ["RAW_URI"] = head.target.decode("latin-1")
    if head.version == (1, 1):
        environ["SERVER_PROTOCOL"] = "HTTP/1.1"
    else:
        environ["SERVER_PROTOCOL"] = f"HTTP/{head.version[0]}.{head.version[1]}"
        environ["wsgi.early_hints"] = _ignore  # RFC 9110 §15.2: HTTP/1.0 knows no interim answers
    environ["wsgi.input"] = head.spool if head.content is None else io.BytesIO(head.content)
    environ["wsgi.errors"] = sys.stderr
    if authority is not None and origin.host is None:
        environ["HTTP_HOST"] = authority.decode("latin-1")
    if "HTTP_TRANSFER_ENCODING" in environ:
        # The coding is off and the length is known (RFC 9112 §7.1.3); frameworks that read no more than
        # CONTENT_LENGTH says would otherwise see no content.
        environ["CONTENT_LENGTH"] = str(_content_length(head))
    if special is not None and special.upgrades and origin.lend_socket is not None:
        environ["werkzeug.socket"] = _LentAtFirstUse(origin.lend_socket)
        environ["demijohn.websocket"] = Offer()
    return environ


def _ignore(headers: Iterable[tuple[str, str]]) -> None:
    """Send no early hints."""


# RFC 9112 §3.2.2: scheme "://" authority, then path and query, either of which may be missing.
_ABSOLUTE_FORM = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?]*)([^?]*)\??(.*)", re.DOTALL)


def split_target(target: bytes) -> tuple[bytes | None, bytes, bytes]:
    """Return authority (None unless in absolute-form), path and query of a request target (RFC 9112 §3.2)."""
    if target[:1] != b"/" and (absolute := _ABSOLUTE_FORM.fullmatch(target)):
        authority, path, query = absolute.groups()
        return authority, path or b"/", query
    path, _, query = target.partition(b"?")
    return None, path, query


def _server(server: tuple[str, int | None], scheme: str) -> tuple[str, str]:
    """SERVER_NAME and SERVER_PORT, which must not be empty: a Unix socket has neither."""
    name, port = server
    if port is None:
        return "localhost", "443" if scheme == "https" else "80"
    return name, str(port)


def _content_length(head: RequestHead) -> int:
    if head.content is not None:
        return len(head.content)
    assert head.spool is not None
    length = head.spool.seek(0, io.SEEK_END)
    head.spool.seek(0)
    return length


class _Keys(dict[bytes, str]):
    """The environ key of each field name; kept for the names met first."""

    def __missing__(self, name: bytes) -> str:
        key = name.decode("latin-1").upper().replace("-", "_")
        if name not in (b"content-type", b"content-length"):
            key = "HTTP_" + key
        if len(self) < 1000:  # peers choose the names
            self[name] = key
        return key


_keys = _Keys()


def _add_fields(environ: dict[str, Any], fields: list[tuple[bytes, bytes]]) -> None:
    for name, value in fields:
        key = _keys[name]
        text = value.decode("latin-1")
        if key in environ:
            # RFC 9110 §5.3, and RFC 6265 §5.4 for cookies.
            text = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
        environ[key] = text
