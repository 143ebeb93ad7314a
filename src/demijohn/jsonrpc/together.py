"""The steps (message.Steps) of several calls at a time: what they wait for is waited for together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator, Iterable
from contextvars import copy_context
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Steps = Generator[Coroutine[Any, Any, Any] | None, Any, T]


class _Branch(Generic[T]):
    """One of several, in a copy of the context in which all began: what one sets there, others do not see.

    coroutine: what it waits for; None when it waits for a thread that may block, or is done.
    """

    __slots__ = ("_context", "_error", "_steps", "_value", "answer", "coroutine", "is_done")

    answer: T

    def __init__(self, steps: Steps[T]) -> None:
        self._steps = steps
        self._context = copy_context()
        self._value: Any = None
        self._error: BaseException | None = None
        self.coroutine: Coroutine[Any, Any, Any] | None = None
        self.is_done = False

    def advance(self) -> None:
        """Go on, with what became of the coroutine, to what has to be waited for next or to the answer."""
        value, error = self._value, self._error
        self._value = self._error = self.coroutine = None
        try:
            if error is None:
                self.coroutine = self._context.run(self._steps.send, value)
            else:
                self.coroutine = self._context.run(self._steps.throw, error)
        except StopIteration as end:
            self.answer = end.value
            self.is_done = True

    async def _wait(self) -> None:
        assert self.coroutine is not None
        try:
            self._value = await self.coroutine
        except Exception as error:
            self._error = error
        except asyncio.CancelledError as error:
            self._error = error
            raise

    def start(self, group: asyncio.TaskGroup) -> None:
        """Begin to wait for the coroutine."""
        group.create_task(self._wait(), context=self._context)

    def close(self) -> None:
        """Let it end without an answer, if it has none yet."""
        if self.coroutine is not None:
            self.coroutine.close()
        self._context.run(self._steps.close)


def together(several: Iterable[Steps[T]]) -> Steps[list[T]]:
    """Return the answers of several steps, in their order; each begins in its turn, and then they wait together."""
    branches = [_Branch(steps) for steps in several]
    try:
        for branch in branches:
            branch.advance()
        while going := [branch for branch in branches if not branch.is_done]:
            # First those that want a thread: when nothing is left but to wait, no thread is held.
            ready = [branch for branch in going if branch.coroutine is None]
            yield None if ready else _all(going)
            for branch in ready or going:
                branch.advance()
        return [branch.answer for branch in branches]
    finally:
        for branch in branches:
            branch.close()


async def _all(branches: list[_Branch[T]]) -> None:
    async with asyncio.TaskGroup() as group:
        for branch in branches:
            branch.start(group)
