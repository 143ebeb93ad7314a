"""Settings: how many processes and threads there are, how long they live, and what coroutines run on."""

from __future__ import annotations

from dataclasses import dataclass

from .kinds import BYTES, SWITCH, YES_NO, choice, seconds, setting, text, whole
from .settings_connections import ConnectionSettings


@dataclass(init=False, repr=False, eq=False, slots=True)
class WorkerSettings(ConnectionSettings):
    """How many processes and threads there are, how long they live, and what coroutines run on."""

    # -- processes and threads
    workers: int = setting(
        1,
        "-w/--workers",
        whole(1),
        "Number of worker processes. One for each core is right for most applications; in a container that is the "
        "default, by its limits of CPU and memory.",
        gunicorn="workers",
        variables=(("WEB_CONCURRENCY", "{}"),),
    )
    threads: int = setting(
        16,
        "--threads",
        whole(1),
        "Threads of a worker: how many views can wait at the same time. An idle one costs next to nothing; raise it "
        "when views wait for databases or other services, and keep pools of database connections as large.",
        gunicorn="threads",
    )
    preload: bool = setting(
        False,
        "--preload",
        SWITCH,
        "Load the application once, in a process that workers are forked from, so that they share its memory. SIGHUP "
        "loads new code into another such process.",
        gunicorn="preload_app",
    )
    reload: bool = setting(
        False,
        "--reload",
        SWITCH,
        "Reload, as SIGHUP does, whenever a file of the program changes. For development.",
        gunicorn="reload",
    )
    reload_extra_files: tuple[str, ...] = setting(
        (),
        "--reload-extra-file",
        text("FILE"),
        "One more file, or a pattern of several, that --reload looks after; may be given several times.",
        gunicorn="reload_extra_files",
    )
    switch_interval_s: float = setting(
        0.005,
        "--switch-interval",
        seconds(0.00001),
        "How long a thread that computes may keep the interpreter while others wait for it. Lower it when "
        "CPU-bound views delay quick ones; the price is throughput.",
        unit="s",
    )

    # -- the life of workers
    boot_timeout_s: float = setting(
        300.0,
        "--boot-timeout",
        seconds(),
        "How long a worker may take to load the application. One that takes longer is ended, and counts as one that "
        "could not boot. 0 turns it off.",
        unit="s",
    )
    max_requests: int = setting(
        0,
        "--max-requests",
        whole(0),
        "A worker that has answered so many requests is replaced, against memory that grows; 0: never. Its successor "
        "is ready before it leaves, and only one is replaced at a time.",
        gunicorn="max_requests",
    )
    max_requests_jitter: int = setting(
        0,
        "--max-requests-jitter",
        whole(0),
        "Up to so many requests more, by chance for each worker, so that they do not have to be replaced one right "
        "after the other.",
        gunicorn="max_requests_jitter",
    )
    max_memory: int | None = setting(
        None,
        "--max-memory",
        BYTES,
        "A worker that holds more memory is replaced, as with --max-requests: its requests are finished, and nothing "
        "is lost. Looked at every second; what is shared with other workers counts, too.",
        unit="bytes",
    )
    max_memory_hard: int | None = setting(
        None,
        "--max-memory-hard",
        BYTES,
        "A worker that holds more memory is ended at once, with the requests inside it, and replaced. For what fills "
        "the memory of the machine before a request is done.",
        unit="bytes",
    )

    # -- ASGI and WebSockets
    interface: str = setting(
        "auto",
        "--interface",
        choice("INTERFACE", "auto", "wsgi", "asgi"),
        "How the application is called: wsgi, asgi, or auto for what it looks like.",
    )
    asgi_lifespan: str = setting(
        "auto",
        "--asgi-lifespan",
        choice("MODE", "auto", "on", "off"),
        "Whether an ASGI application is told of start and stop (lifespan): auto asks it once, on refuses to serve one "
        "that does not answer, off does not ask.",
        gunicorn="asgi_lifespan",
    )
    asgi_loop: str = setting(
        "auto",
        "--asgi-loop",
        choice("LOOP", "auto", "asyncio", "uvloop"),
        "The event loop of coroutines: asyncio's, uvloop's when that is installed, or auto for asyncio's.",
        gunicorn="asgi_loop",
    )
    root_path: str | None = setting(
        None,
        "--root-path",
        text("PATH"),
        "Where a proxy has mounted an ASGI application, when it cuts that off: the root_path of its scopes.",
        gunicorn="root_path",
    )
    websocket_max_bytes: int = setting(
        16 * 1024 * 1024,
        "--websocket-max-message-size",
        BYTES,
        "Largest message of a WebSocket, decompressed; for a larger one the connection is closed with 1009.",
        unit="bytes",
        gunicorn="websocket_max_message_size",
    )
    websocket_ping_interval_s: float = setting(
        20.0,
        "--websocket-ping-interval",
        seconds(),
        "How often the peer of a WebSocket is asked whether it is there; one that has not answered by the next time is "
        "given up. 0 turns it off.",
        unit="s",
    )
    websocket_deflate: bool = setting(
        True,
        "--websocket-deflate",
        YES_NO,
        "Whether messages of WebSockets are compressed when the peer can do it (permessage-deflate).",
    )
