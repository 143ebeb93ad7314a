"""An ASGI application without a framework."""

from __future__ import annotations

import asyncio
import json
import os
from contextvars import ContextVar
from typing import Any

events: asyncio.Queue[str] = asyncio.Queue()
variable: ContextVar[str] = ContextVar("variable", default="unset")
variable.set("set on import")


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    elif scope["type"] == "websocket":
        await WEBSOCKETS[scope["path"]](scope, receive, send)
    else:
        await PAGES[scope["path"]](scope, receive, send)


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    assert (await receive())["type"] == "lifespan.startup"
    variable.set("set by the lifespan")
    scope["state"]["started"] = "yes"
    if os.environ.get("FAILS") == "startup":
        await send({"type": "lifespan.startup.failed", "message": "the database is not there"})
        return
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    print("shut down", flush=True)
    await send({"type": "lifespan.shutdown.complete"})


async def gated(path: str) -> None:
    """Wait until the test opens the gate."""
    reader, writer = await asyncio.open_unix_connection(path)
    await reader.read()
    writer.close()


def argument(scope: Any) -> str:
    return str(scope["query_string"].decode())


async def answer(send: Any, content: bytes, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, b"Hello, World!", 200, (b"content-type", b"text/plain"))


async def show(scope: Any, receive: Any, send: Any) -> None:
    """The scope, as JSON."""
    shown = {key: value for key, value in scope.items() if key not in ("extensions", "headers")}
    shown["headers"] = [[name.decode(), value.decode()] for name, value in scope["headers"]]
    shown["variable"] = variable.get()
    variable.set("set by a request")
    shown["task"] = asyncio.current_task() is not None
    await answer(send, json.dumps(shown, default=bytes.decode).encode())


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Send back each part of the content as it arrives."""
    await send({"type": "http.response.start", "status": 200})
    more = True
    while more:
        event = await receive()
        more = event.get("more_body", False)
        await send({"type": "http.response.body", "body": event["body"], "more_body": more})


async def count(scope: Any, receive: Any, send: Any) -> None:
    """How many bytes of content there are, in the end."""
    total, more = 0, True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            await events.put(f"disconnected after {total}")
            return
        total += len(event["body"])
        if argument(scope) == "tell":
            await events.put(str(total))
        more = event["more_body"]
    await answer(send, str(total).encode())


async def ignore(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, b"not interested")


async def wait(scope: Any, receive: Any, send: Any) -> None:
    await gated(argument(scope))
    await answer(send, b"let through")


async def afterwards(scope: Any, receive: Any, send: Any) -> None:
    """Go on after the answer."""
    await answer(send, b"answered")
    await gated(argument(scope))
    await events.put("done afterwards")


async def listen(scope: Any, receive: Any, send: Any) -> None:
    """Say when the peer goes, and what sending then does."""
    await receive()
    await events.put("listening")
    kind = (await receive())["type"]
    await events.put(kind)


async def flood(scope: Any, receive: Any, send: Any) -> None:
    """Send until the peer is gone; report how far it came before it had to wait."""
    await send({"type": "http.response.start", "status": 200})
    sent = 0
    try:
        while True:
            sending = asyncio.ensure_future(
                send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            )
            if not (await asyncio.wait([sending], timeout=0.2))[0]:
                await events.put("has to wait")
            await sending
            sent += 65536
    except OSError as error:
        await events.put(type(error).__name__)


async def take(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, (await events.get()).encode())


async def fail(scope: Any, receive: Any, send: Any) -> None:
    what = argument(scope)
    headers: Any = []
    if what == "raise":
        raise ZeroDivisionError("nobody handles this")
    if what == "exit":
        raise SystemExit(3)
    if what == "nothing":
        return
    if what == "status":
        await answer(send, b"", 99)
    if what == "split":
        headers = [(b"x-note", b"one\r\nset-cookie: stolen=1")]
    if what == "late":
        await answer(send, b"complete")
        await send({"type": "http.response.body", "body": b"more"})
    if what == "short":
        headers = [(b"content-length", b"10")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if what in ("twice", "split"):
        await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"begun", "more_body": what != "short"})
    if what == "midway":
        raise ZeroDivisionError("in the middle")


async def file(scope: Any, receive: Any, send: Any) -> None:
    assert "http.response.pathsend" in scope["extensions"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/x-python")]})
    await send({"type": "http.response.pathsend", "path": __file__})


PAGES = {
    "/": hello,
    "/scope/é": show,
    "/echo": echo,
    "/count": count,
    "/ignore": ignore,
    "/wait": wait,
    "/afterwards": afterwards,
    "/listen": listen,
    "/flood": flood,
    "/take": take,
    "/fail": fail,
    "/file": file,
}


async def ws_echo(scope: Any, receive: Any, send: Any) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept", "subprotocol": (scope["subprotocols"] or [None])[0]})
    while (event := await receive())["type"] == "websocket.receive":
        if "text" in event:
            await send({"type": "websocket.send", "text": event["text"]})
        else:
            await send({"type": "websocket.send", "bytes": event["bytes"]})
    await events.put(f"{event['type']} {event['code']} {event['reason']}".strip())


async def ws_refuse(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.close"})


async def ws_deny(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    assert "websocket.http.response" in scope["extensions"]
    headers = [(b"www-authenticate", b"Basic")]
    await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"who are ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"you?"})


async def ws_raise(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    if argument(scope) == "late":
        await send({"type": "websocket.accept", "headers": [(b"x-note", b"accepted")]})
    raise ZeroDivisionError("nobody handles this")


async def ws_return(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})


async def ws_close(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": 3000, "reason": "enough"})
    try:
        await send({"type": "websocket.send", "text": "more"})
    except (RuntimeError, OSError) as error:
        await events.put(str(error))


WEBSOCKETS = {
    "/ws": ws_echo,
    "/refuse": ws_refuse,
    "/deny": ws_deny,
    "/raise": ws_raise,
    "/return": ws_return,
    "/close": ws_close,
}


async def without_lifespan(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await show({**scope, "path": "/scope/é"}, receive, send)


class Instance:
    """An application that is an object."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await hello(scope, receive, send)


instance = Instance()
