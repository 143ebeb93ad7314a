"""Methods that end in a way that would end more than their call: `sys.exit()`, `asyncio.CancelledError`.

A call is answered whatever happens in its method (section 5), and so are the others of its batch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ..reporting import current
from .protocol import RequestCancelled


class MethodEnded(Exception):
    """A method that is `async def` has ended itself by `error`, which would end more than its call."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(repr(error))
        self.error = error


def ends_itself_alone(error: BaseException) -> bool:
    """Whether what a method raised, which is no Exception, is its call's own affair; Ctrl-C is not."""
    asyncio = sys.modules.get("asyncio")  # where it was not imported, nothing of it was raised
    return isinstance(error, SystemExit) or (asyncio is not None and isinstance(error, asyncio.CancelledError))


async def alone(function: Callable[..., Any], arguments: Any, named: Any) -> Any:
    """Return what an `async def` function returns.

    Raises what it raises; MethodEnded for what would end the task, unless somebody has cancelled that.
    """
    try:
        return await function(*arguments, **named)
    except Exception:
        raise
    except BaseException as error:
        if _is_cancelled() or not ends_itself_alone(error):
            raise
        raise MethodEnded(error) from error


def _is_cancelled() -> bool:
    """Whether somebody has cancelled the current task: its client has gone, it is over a limit, the server stops."""
    import asyncio  # for its cost

    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def as_answered(error: BaseException) -> BaseException:
    """Return what a caller is told for what a call has raised: where it has cancelled the call, that."""
    follower = current.get()
    if follower is not None and follower.is_cancelled():
        from ..heavy.errors import CallCancelled  # for its cost

        if isinstance(error, CallCancelled):
            return RequestCancelled()
    return error
