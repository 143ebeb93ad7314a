"""The same answers by a demijohn, a WSGI and an ASGI application; what `--compress` makes of them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

from demijohn import Flask, Response, request

TEXT = "The same line again and again.\n" * 200
PARTS = ("first part\n", "second part\n")

app = Flask(__name__)
app.config["STATIC_PRECOMPRESSED"] = True


@app.get("/text")
def text() -> str:
    return TEXT


@app.get("/async")
async def asynchronous() -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"lines": [TEXT] * 100}


@app.get("/large")
def large() -> str:
    return TEXT * 100


@app.get("/as")
def as_told() -> Response:
    """Answer with the fields of the query, and a status if it has one."""
    fields = request.args.to_dict()
    status = int(fields.pop("status", 200))
    content = "short" if fields.pop("short", None) else TEXT
    return Response(content, status, headers={"Content-Type": "text/plain", **fields})


@app.get("/tagged")
def tagged() -> Response:
    response = Response(TEXT, mimetype="text/plain")
    response.set_etag("one")
    response.vary.add("Cookie")
    return response.make_conditional(request, accept_ranges=True, complete_length=len(TEXT))


@app.get("/parts")
def parts() -> Response:
    return Response(gated(request.args["gate"]), mimetype="text/plain")


@app.get("/cut")
def cut_short() -> Response:
    return Response(iter([TEXT]), mimetype="text/plain", headers={"Content-Length": str(len(TEXT) + 1)})


def gated(gate: str) -> Iterator[str]:
    """Give the second part when the test has opened the gate."""
    yield PARTS[0]
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(gate)
        waiting.recv(1)
    yield PARTS[1]


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes] | list[bytes]:
    content = TEXT.encode()
    if environ["PATH_INFO"] == "/parts":
        start_response("200 OK", [("Content-Type", "text/plain")])
        gate = environ["QUERY_STRING"].partition("=")[2]
        return (part.encode() for part in gated(gate))
    extra = [("Content-Length", str(len(content) + 1))] if environ["PATH_INFO"] == "/cut" else []
    start_response("200 OK", [("Content-Type", "text/plain"), *extra])
    return iter([content]) if extra else [content]


async def asgi(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    headers = [(b"content-type", b"text/plain")]
    if scope["path"] == "/cut":
        headers.append((b"content-length", b"%d" % (len(TEXT) + 1)))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] == "/parts":
        gate = scope["query_string"].partition(b"=")[2].decode()
        await send({"type": "http.response.body", "body": PARTS[0].encode(), "more_body": True})
        reader, writer = await asyncio.open_unix_connection(gate)
        await reader.read(1)
        writer.close()
        await send({"type": "http.response.body", "body": PARTS[1].encode()})
    elif scope["path"] == "/cut":
        await send({"type": "http.response.body", "body": TEXT.encode(), "more_body": True})
        await send({"type": "http.response.body"})
    else:
        await send({"type": "http.response.body", "body": TEXT.encode()})
