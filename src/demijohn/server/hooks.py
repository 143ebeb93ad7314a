"""The hooks: functions in a configuration file that the server calls when something happens, as gunicorn calls them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .kinds import Described, Kind, setting

# ruff: noqa: RUF009 (the calls describe fields, and give none of them a shared default)

Hook = Callable[..., object] | None


def _hook(name: str, doc: str, *parameters: str, optional: int = 0) -> Any:
    """Describe a hook that takes `parameters`; the last `optional` of them need not be in its signature."""
    fewest = len(parameters) - optional

    def parse(value: Any) -> Callable[..., object]:
        if not callable(value):
            raise ValueError(f"must be a function of ({', '.join(parameters)})")
        for count in range(len(parameters), fewest - 1, -1):
            if _takes(value, count):
                return value if count == len(parameters) else _shortened(value, count)
        raise ValueError(f"must take {len(parameters)} parameters: {', '.join(parameters)}")

    return setting(None, "", Kind(f"({', '.join(parameters)})", parse), doc, gunicorn=name)


def _shortened(function: Callable[..., object], count: int) -> Callable[..., object]:
    return lambda *given: function(*given[:count])


def _takes(function: Callable[..., object], count: int) -> bool:
    import inspect  # a megabyte, which a server without hooks need not have

    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    return True


@dataclass(init=False, repr=False, eq=False, slots=True)
class HookSettings(Described):
    """The hooks of a server; None where there is none. Which process calls them is part of what they are."""

    on_starting: Hook = _hook("on_starting", "Called by the arbiter before anything else.", "server")
    on_reload: Hook = _hook("on_reload", "Called by the arbiter on SIGHUP, before new workers are started.", "server")
    when_ready: Hook = _hook("when_ready", "Called by the arbiter when it listens, before the first worker.", "server")
    pre_fork: Hook = _hook("pre_fork", "Called by the arbiter before it forks a worker.", "server", "worker")
    post_fork: Hook = _hook("post_fork", "Called by a worker before it loads the application.", "server", "worker")
    post_worker_init: Hook = _hook(
        "post_worker_init", "Called by a worker that has loaded the application, before it serves.", "worker"
    )
    worker_int: Hook = _hook("worker_int", "Called by a worker that gets SIGINT or SIGQUIT.", "worker")
    worker_abort: Hook = _hook(
        "worker_abort", "Called by a worker that gets SIGABRT, as after --timeout, if its interpreter runs.", "worker"
    )
    pre_exec: Hook = _hook("pre_exec", "Called by the process that is to be a new arbiter, after SIGUSR2.", "server")
    pre_request: Hook = _hook(
        "pre_request", "Called by a worker before a request is given to the application.", "worker", "req"
    )
    post_request: Hook = _hook(
        "post_request",
        "Called by a worker when an answer has been sent or given up. The last two may be left out.",
        *("worker", "req", "environ", "resp"),
        optional=2,
    )
    child_exit: Hook = _hook("child_exit", "Called by the arbiter when a worker has ended.", "server", "worker")
    worker_exit: Hook = _hook("worker_exit", "Called by a worker that ends in order, last of all.", "server", "worker")
    nworkers_changed: Hook = _hook(
        "nworkers_changed",
        "Called by the arbiter when there are to be more or fewer workers; old_value is None at the start.",
        *("server", "new_value", "old_value"),
    )
    ssl_context: Hook = _hook(
        "ssl_context",
        "Called by the arbiter, and by workers when a file of TLS has changed: returns the context to use; the "
        "second parameter makes the one there would be.",
        *("config", "default_ssl_context_factory"),
    )
    on_exit: Hook = _hook("on_exit", "Called by the arbiter before it ends.", "server")
