"""A request that waits for a coroutine, or for a thread to go on in."""

from __future__ import annotations

from typing import Any

from ..message import RequestHead, ResponseMessage, Suspended
from ..typing import Route
from .eventloop import was_cancelled
from .framing import plain_answer
from .limits import OVER_LIMIT
from .wsgi import internal_error


class Waiting:
    """A request whose answer has to wait.

    begun: when it came to its view, by `monotonic()`.
    answer: how to go on, or the answer there is already.
    is_late: whether it is over its limit, and its coroutine was cancelled.
    """

    __slots__ = ("answer", "begun", "head", "is_late", "route")

    def __init__(self, head: RequestHead, route: Route, begun: float, answer: Suspended) -> None:
        self.head = head
        self.route = route
        self.begun = begun
        self.answer: Suspended | ResponseMessage = answer
        self.is_late = False

    def advance(self, *, may_block: bool, value: Any = None, error: BaseException | None = None) -> None:
        """Go on to the answer, or to what has to be waited for next. As a gateway's `handle` it raises nothing."""
        suspended = self.answer
        if isinstance(suspended, Suspended):
            try:
                self.answer = suspended.advance(may_block=may_block, value=value, error=error)
            except BaseException as error:
                self.answer = late_answer() if self.is_late and was_cancelled(error) else internal_error(self.head)


def late_answer() -> ResponseMessage:
    """Return the answer to a request that is over its limit."""
    return plain_answer(504, OVER_LIMIT)
