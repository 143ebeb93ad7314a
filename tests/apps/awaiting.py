"""An application whose views are `async def`."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

import anyio

from demijohn import Flask, Response, abort, current_app, g, request, session, stream_with_context
from demijohn.views import MethodView

app = Flask(__name__)
app.secret_key = "for tests"

events: asyncio.Queue[str] = asyncio.Queue()
tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


class Teapot(Exception):
    pass


@asynccontextmanager
async def at_gate(path: str) -> AsyncIterator[None]:
    """Wait, without holding a thread, until the test opens the gate."""
    reader, writer = await asyncio.open_unix_connection(path)
    await reader.read()
    yield
    writer.close()


def where() -> dict[str, Any]:
    return {"loop": id(asyncio.get_running_loop()), "thread": threading.current_thread().name}


@app.before_request
def set_tenant() -> None:
    if "tenant" in request.args:
        tenant.set(request.args["tenant"])
        g.hook_thread = threading.current_thread().name


@app.route("/")
def hello() -> str:
    return "Hello, World!"


@app.route("/threads")
def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


@app.route("/thread")
def thread() -> str:
    return threading.current_thread().name


@app.route("/gate")
async def gate() -> str:
    async with at_gate(request.args["path"]):
        return f"let through {request.args.get('n')}"


@app.route("/block")
async def block() -> str:
    """Block the event loop, by mistake as it were."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(request.args["path"])
        sock.recv(1)
    return "blocked"


@app.route("/wait")
def wait() -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(request.args["path"])
        sock.recv(1)
    return "let through"


@app.route("/where")
async def where_it_runs() -> dict[str, Any]:
    return where()


@app.route("/take")
async def take() -> str:
    return await events.get()


@app.route("/put/<event>")
async def put(event: str) -> str:
    await events.put(event)
    return "put"


@app.route("/contexts/<int:number>")
async def contexts(number: int) -> dict[str, Any]:
    g.number = session["number"] = number
    before = tenant.get()
    if "path" in request.args:
        async with at_gate(request.args["path"]):
            pass
    tenant.set(f"{before}, left")
    return {
        "number": request.view_args and request.view_args["number"],
        "g": g.number,
        "session": session["number"],
        "tenant": before,
        "app": current_app.name,
        "hook thread": g.hook_thread,
    }


@app.route("/fail/<kind>")
async def fail(kind: str) -> str:
    await asyncio.sleep(0)
    match kind:
        case "teapot":
            raise Teapot("short and stout")
        case "abort":
            abort(403)
        case "exit":
            raise SystemExit(3)
        case "cancelled":
            raise asyncio.CancelledError
        case "plain call":
            return str(current_app.ensure_sync(where_it_runs)())
    raise ZeroDivisionError("nobody handles this")


@app.errorhandler(Teapot)
async def handle_teapot(error: Teapot) -> tuple[dict[str, Any], int]:
    await asyncio.sleep(0)
    return {"error": str(error), "path": request.path, **where()}, 418


@app.route("/stream")
async def stream() -> Iterator[str]:
    await asyncio.sleep(0)
    return stream_with_context(f"{n} of {request.path}\n" for n in range(3))


@app.route("/large")
async def large() -> str:
    await asyncio.sleep(0)
    return "x" * 8_000_000


def decorated(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def checked(**arguments: Any) -> Any:
        return {"checked": True, **current_app.ensure_sync(view)(**arguments)}

    return checked


app.add_url_rule("/decorated", "decorated", decorated(where_it_runs))


class AsMethods(MethodView):
    async def get(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        return where()


app.add_url_rule("/methods", view_func=AsMethods.as_view("methods"))


async def let_through() -> str:
    async with at_gate(request.args["path"]):
        return f"let through {request.args['n']}"


class AtGate(MethodView):
    def __init__(self) -> None:
        self.made_for = request.args["n"]

    async def get(self, door: str) -> str:
        text = await let_through()
        assert self.made_for == request.args["n"]
        return f"{text} by the {door} door"


class DispatchingAtGate(AtGate):
    async def dispatch_request(self, **arguments: str) -> str:  # type: ignore[override]
        return await self.get(**arguments)


class SharedAtGate(AtGate):
    init_every_request = False

    def __init__(self) -> None:
        pass

    async def get(self, door: str) -> str:
        return f"{await let_through()} by the {door} door"


app.add_url_rule("/gate/class/<door>", view_func=AtGate.as_view("class"))
app.add_url_rule("/gate/dispatching/<door>", view_func=DispatchingAtGate.as_view("dispatching"))
app.add_url_rule("/gate/shared/<door>", view_func=SharedAtGate.as_view("shared"))


class Closed(Exception):
    pass


@app.route("/gate/handled/<door>")
async def raise_at_gate(door: str) -> str:
    raise Closed(door)


@app.errorhandler(Closed)
async def open_gate(error: Closed) -> str:
    return f"{await let_through()} by the {error} door"


@app.teardown_request
async def note_the_end(error: BaseException | None) -> None:
    if "note" in request.args:
        await events.put(f"{request.args['note']} {tenant.get()} {error!r}")


# -- hooks in order ------------------------------------------------------------------------------

hooked = Flask("hooked")


@hooked.before_request
async def first() -> None:
    g.steps = ["first"]
    await asyncio.sleep(0)


@hooked.before_request
def second() -> str | None:
    g.steps.append("second")
    return "early" if "early" in request.args else None


@hooked.route("/")
async def in_between() -> str:
    await asyncio.sleep(0)
    g.steps.append("view")
    return "late"


@hooked.route("/plain")
def plain() -> str:
    g.steps.append("view")
    return "plain"


@hooked.after_request
def last(response: Response) -> Response:
    g.steps.append("last")
    response.headers["X-Steps"] = " ".join(g.steps)
    return response


@hooked.after_request
async def before_last(response: Response) -> Response:
    await asyncio.sleep(0)
    g.steps.append(f"before last on {threading.current_thread().name}")
    return response


# -- no hooks at all -----------------------------------------------------------------------------

bare = Flask("bare")
for view in (threads, thread, gate, block):
    bare.add_url_rule(f"/{view.__name__}", view_func=view)
bare.add_url_rule("/", view_func=hello)
bare.add_url_rule("/where", view_func=where_it_runs)


# -- an application that tells who polls ------------------------------------------------------------

polled = Flask("polled")
for view in (thread, gate, block, wait, large):
    polled.add_url_rule(f"/{view.__name__}", view_func=view)


def pollers() -> list[str]:
    """Name the threads that lead: those in a step of the engine."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return [
        names[ident]
        for ident, frame in sys._current_frames().items()
        if any(each.f_code.co_name == "step" for each, _ in traceback.walk_stack(frame))
    ]


@polled.route("/pollers")
async def awaited_pollers() -> list[str]:
    return pollers()


@polled.route("/plain/pollers")
def plain_pollers() -> list[str]:
    return pollers()


@polled.route("/sleep/<float:seconds>")
async def sleep(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slept"


@polled.route("/later")
async def block_later() -> str:
    """Block the event loop, after something else."""
    await asyncio.sleep(0.001)
    print("about to block", file=sys.stderr, flush=True)
    with open(request.args["path"]) as fifo:
        return fifo.read()


@polled.route("/burn")
async def burn() -> str:
    """Hold the loop up for a little while, each time."""
    time.sleep(0.02)
    return "burnt"


async def in_current_task() -> str:
    """Know the task before anything was awaited, and be the same one afterwards."""
    task = asyncio.current_task()
    assert task is not None
    assert task in asyncio.all_tasks()
    assert task.cancelling() == 0
    tenant.set("mine")
    await asyncio.sleep(0)
    assert asyncio.current_task() is task
    return tenant.get()


async def in_time() -> str:
    try:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()
    except TimeoutError:
        return "timed out"
    return "went on"


async def in_a_group() -> str:
    async def at_desk(name: str) -> str:
        assert request.path == "/task/group"
        tenant.set(name)
        await asyncio.sleep(0)
        return tenant.get()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(at_desk(name)) for name in ("one", "two")]
    return " ".join([tenant.get(), *(task.result() for task in tasks)])


async def in_a_scope() -> str:
    with anyio.move_on_after(0.01) as scope:
        await anyio.sleep_forever()
    return f"cancelled: {scope.cancelled_caught}"


async def cancelled() -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        task.uncancel()
        return "cancelled"
    return "went on"


async def told_of_its_end() -> str:
    """Have the end of the task told to whoever asks next."""
    task = asyncio.current_task()
    assert task is not None
    task.add_done_callback(lambda task: events.put_nowait(task.get_name()))
    return task.get_name()


async def next_event() -> str:
    return await events.get()


TASK_VIEWS = {
    "current": in_current_task,
    "timeout": in_time,
    "group": in_a_group,
    "scope": in_a_scope,
    "cancelled": cancelled,
    "told": told_of_its_end,
    "event": next_event,
}
for kind, task_view in TASK_VIEWS.items():
    polled.add_url_rule(f"/task/{kind}", kind, task_view)


@polled.route("/parts")
async def parts() -> Response:
    closed_in: list[str] = []

    def generate() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
        finally:
            closed_in.append(threading.current_thread().name)
            with open(request.args["note"], "w") as note:
                note.write(closed_in[0])

    return Response(stream_with_context(generate()))


# -- an application that replaces a stage ----------------------------------------------------------


class Changed(Flask):
    def dispatch_request(self) -> Any:
        return super().dispatch_request()


changed = Changed("changed")
changed.add_url_rule("/where", view_func=where_it_runs)
