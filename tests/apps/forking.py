"""Views that do to their process what views should not."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading

from demijohn import Flask

app = Flask(__name__)


@app.get("/")
def hello() -> str:
    return "Hello, World!"


@app.get("/fork/<how>")
def fork(how: str) -> str:
    """Fork a process that comes out of the view, and answer with what became of it."""
    pid = os.fork()
    if pid:
        return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    if how == "exits":
        sys.exit(5)
    return "from the copy"


@app.get("/async-fork")
async def async_fork() -> str:
    return fork("returns")


@app.get("/terminate")
def terminate() -> str:
    """Start a process that waits for ever, end it as multiprocessing does, and answer with its exit code."""
    child = multiprocessing.get_context("fork").Process(target=threading.Event().wait)
    child.start()
    child.terminate()
    child.join()
    return str(child.exitcode)


@app.get("/daemon")
def daemon() -> str:
    """Leave a process behind, and answer with its number."""
    pid = os.fork()
    if not pid:
        os.setsid()
        signal.pause()
    return str(pid)


@app.get("/close-all")
def close_all() -> str:
    os.closerange(3, 1024)
    return "closed"


async def asgi(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
    """The same for ASGI."""
    if scope["type"] != "http":
        return
    if scope["method"] == "POST":  # takes the end of the peer for that of the content
        while (await receive()).get("more_body"):
            pass
    text = {"/": hello, "/fork/returns": lambda: fork("returns"), "/close-all": close_all}[scope["path"]]()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text.encode()})
