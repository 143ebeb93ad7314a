"""Pages that the server answers itself, in front of the application: is it alive, is it ready, what has it counted.

They take no view and so no free thread: whoever polls answers them, also when all views are busy.
"""

from __future__ import annotations

from collections.abc import Callable

from ..message import RequestHead, ResponseMessage, Suspended
from ..typing import Gateway, Route
from .leadership import NEVER_SLOW_S
from .metrics import CONTENT_TYPE, Metrics, render
from .slots import Slot, SlotTable, State

Page = Callable[[], ResponseMessage]


class OwnPage:
    """A page as the engine sees it: a route that is always quick, whatever kept a thread from answering it once."""

    __slots__ = ("answer",)
    may_await = False

    def __init__(self, answer: Page) -> None:
        self.answer = answer

    @property
    def wall_s(self) -> float:
        return NEVER_SLOW_S

    @wall_s.setter
    def wall_s(self, average_s: float) -> None:
        pass


class OwnPages:
    """A gateway that answers some paths itself and leaves the others to another."""

    def __init__(self, gateway: Gateway, pages: dict[bytes, Page]) -> None:
        self._gateway = gateway
        self._match = gateway.match
        self._handle = gateway.handle
        self._pages = {path: OwnPage(answer) for path, answer in pages.items()}

    def match(self, head: RequestHead) -> Route:
        page = self._pages.get(head.target.partition(b"?")[0])
        if page is not None and head.method in ("GET", "HEAD"):
            head.route = page
            return page
        return self._match(head)

    def refuses(self, head: RequestHead) -> bool:
        return self._gateway.refuses(head)

    def handle(self, head: RequestHead) -> ResponseMessage | Suspended:
        route = head.route
        return route.answer() if type(route) is OwnPage else self._handle(head)


def page(status: str, content: bytes, content_type: bytes = b"text/plain; charset=utf-8") -> ResponseMessage:
    """Return an answer that nobody may keep."""
    return ResponseMessage(status, b"Content-Type: %b\r\nCache-Control: no-store\r\n" % content_type, content)


def alive() -> ResponseMessage:
    return page("200 OK", b"ok\n")


def readiness(slot: Slot, slots: SlotTable) -> Page:
    """Return the page that says whether a worker is to be sent requests."""

    def answer() -> ResponseMessage:
        if slots.is_leaving:
            return page("503 Service Unavailable", b"not ready: the server stops\n")
        if slot.state == State.READY:
            return page("200 OK", b"ready\n")
        return page("503 Service Unavailable", b"not ready: the worker drains\n")

    return answer


def counts(metrics: Metrics, slots: SlotTable) -> Page:
    """Return the page that Prometheus reads."""
    return lambda: page("200 OK", render(metrics, slots), CONTENT_TYPE)
