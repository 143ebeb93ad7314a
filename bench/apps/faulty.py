"""A plain WSGI application that does what it should not: hangs, ends its process, holds the interpreter."""

from __future__ import annotations

import ctypes
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

PIECE = bytes(range(256)) * 1024  # 256 KiB


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    write = start_response("200 OK", [("Content-Type", "application/octet-stream")])
    match path:
        case "/sleep":
            time.sleep(float(query))
        case "/exit":
            os._exit(int(query or 0))
        case "/hold":
            ctypes.PyDLL(None).sleep(int(query))  # in C, without letting go of the interpreter
        case "/digest":
            return [digest_of(environ["wsgi.input"])]
        case "/stream":
            return pieces(int(query))
        case "/written":
            for piece in pieces(int(query)):
                write(piece)
            return []
        case "/file":
            return environ["wsgi.file_wrapper"](open(query, "rb"))  # type: ignore[no-any-return]
    return [b"hello"]


def pieces(size: int) -> Iterator[bytes]:
    for _ in range(size // len(PIECE)):
        yield PIECE


def digest_of(stream: Any) -> bytes:
    digest = hashlib.sha256()
    while piece := stream.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest().encode()
