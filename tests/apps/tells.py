"""A WSGI application that tells what it was asked, and answers in all the ways there are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    headers = [("Content-Type", "application/octet-stream")]
    if path == "/header":
        headers.append(("X-Own", bytes.fromhex(query).decode()))
    start_response("200 OK", headers)
    match path:
        case "/environ":
            return [json.dumps({key: value for key, value in environ.items() if isinstance(value, str)}).encode()]
        case "/echo":
            return [environ["wsgi.input"].read()]
        case "/file":
            return environ["wsgi.file_wrapper"](open(query, "rb"))  # type: ignore[no-any-return]
        case "/fails":
            return failing_parts()
    return [b"hello"]


def failing_parts() -> Iterator[bytes]:
    yield b"the first part"
    raise RuntimeError("there is no second part")
