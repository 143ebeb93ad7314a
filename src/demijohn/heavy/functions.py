"""Functions that run elsewhere than in the thread that answers: `@heavy`."""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar
from functools import wraps
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from ..reporting import current
from .engines import engine
from .errors import HeavyError

log = logging.getLogger("demijohn.server.heavy")

P = ParamSpec("P")
R = TypeVar("R")

# Whether this is where heavy functions run: what they call runs right here too.
_inside: ContextVar[bool] = ContextVar("demijohn.heavy", default=False)


class Heavy(Protocol[P, R]):
    """What `heavy` makes of a function: it is called as before, and runs on the executor.

    function: what was decorated. deadline_s: how long a call may take, in seconds; None for as long as it likes.
    executor: its own, as a URL; None for the application's.
    """

    function: Callable[P, R]
    deadline_s: float | None
    executor: str | None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function on the executor and return its result.

        Raises what the function raises; QueueFull, DeadlineExceeded, ProcessDied, EngineUnavailable when it did not
        come to its end; TypeError for arguments that cannot be sent to it.
        """

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Start the function on the executor and return the future of its result.

        An `async def` view awaits it with `asyncio.wrap_future`.
        """


def _make(function: Callable[P, R], deadline_s: float | None, executor: str | None) -> Heavy[P, R]:
    if inspect.iscoroutinefunction(function):
        raise TypeError(
            f"{function.__qualname__}() is 'async def': it waits, so it needs no other process. A heavy function"
            " computes; make it 'def'."
        )

    # A function, not an object: what takes functions (routes, JSON-RPC, other decorators) takes it too.
    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if _inside.get():
            return function(*args, **kwargs)
        try:
            return submit(*args, **kwargs).result()
        except HeavyError as error:
            log.warning("%s", error)
            raise

    def submit(*args: P.args, **kwargs: P.kwargs) -> Future[R]:
        follower = current.get()
        is_cancelled = None if follower is None else follower.is_cancelled
        return engine(executor).submit(
            Run(call), args, kwargs, deadline_s=deadline_s, is_cancelled=is_cancelled, follower=follower
        )

    made: Any = call
    made.function, made.deadline_s, made.executor, made.submit = function, deadline_s, executor, submit
    return cast(Heavy[P, R], made)


class Run(Generic[P, R]):
    """What is sent to the executor: a function, so called that heavy functions it calls run in the same place.

    It is sent by name: the other process imports the module, and loads there what the module loads.
    """

    def __init__(self, function: Callable[P, R]) -> None:
        self.function = function
        self.__qualname__ = self.__name__ = function.__qualname__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        token = _inside.set(True)
        try:
            return self.function(*args, **kwargs)
        finally:
            _inside.reset(token)

    def __reduce__(self) -> tuple[Any, ...]:
        module, name = self.function.__module__, self.__qualname__
        try:
            _run_by_name(module, name)
        except (ImportError, AttributeError):
            raise TypeError(f"it is not found as {name!r} in the module {module!r}") from None
        return _run_by_name, (module, name)


def _run_by_name(module: str, qualname: str) -> Run[Any, Any]:
    found: Any = importlib.import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    return Run(found)


@overload
def heavy(function: Callable[P, R], /) -> Heavy[P, R]: ...
@overload
def heavy(
    *, deadline_s: float | None = None, executor: str | None = None
) -> Callable[[Callable[P, R]], Heavy[P, R]]: ...
def heavy(
    function: Callable[..., Any] | None = None, *, deadline_s: float | None = None, executor: str | None = None
) -> Any:
    """Have a function run on the executor: processes of this server, or a Dask cluster (`demijohn serve --executor`).

    Its arguments and its result are pickled; it must be at the top of a module, which the other process imports.

    deadline_s: how long a call may take, in seconds. executor: its own, such as `"threads:4"`.

        @heavy(deadline_s=30)
        def predict(x: float) -> float:
            return model().predict(x)

        @app.route("/predict/<float:x>")
        def view(x: float) -> dict[str, float]:
            return {"y": predict(x)}
    """
    if function is not None:
        return _make(function, deadline_s, executor)
    return lambda decorated: _make(decorated, deadline_s, executor)
