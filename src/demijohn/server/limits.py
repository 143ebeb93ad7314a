"""How long requests may take: for all, for some paths, for some views."""

from __future__ import annotations

import math

from ..message import RequestHead
from ..typing import Route
from .settings import Settings

OVER_LIMIT = "The server could not answer the request in time."


class TimeLimits:
    """What is allowed to each request, in seconds.

    A view's own limit (`demijohn.time_limit`) counts most, then that of the longest path that its own begins with,
    then the one for all.

    queue_s: how long a request may wait for a thread.
    shortest_s: of the limits known so far; those of views become known when somebody asks for them.
    """

    def __init__(self, settings: Settings) -> None:
        self._set_for_all_by = "--timeout" if settings.request_timeout_s is None else "--request-timeout"
        for_all_s = settings.timeout_s if settings.request_timeout_s is None else settings.request_timeout_s
        self._for_all_s = for_all_s or math.inf
        self._by_path = sorted(
            ((path.encode(), seconds or math.inf) for path, seconds in settings.request_timeouts),
            key=lambda limit: len(limit[0]),
            reverse=True,
        )
        self.queue_s = for_all_s if settings.queue_timeout_s is None else settings.queue_timeout_s
        self.queue_s = self.queue_s or math.inf
        self.shortest_s = min(self._for_all_s, *(limit_s for _, limit_s in self._by_path), math.inf)

    def limit_s(self, head: RequestHead, route: Route | None) -> float:
        """Return how long a view may take to answer; infinity when it may take as long as it likes."""
        own_s: float | None = getattr(route, "limit_s", None)
        if own_s is not None:
            own_s = own_s or math.inf
            self.shortest_s = min(self.shortest_s, own_s)
            return own_s
        return next((limit_s for path, limit_s in self._by_path if head.target.startswith(path)), self._for_all_s)

    def set_by(self, head: RequestHead, route: Route | None) -> str:
        """Return what a limit was set by, for whoever wants another one."""
        if getattr(route, "limit_s", None) is not None:
            return "the view's own time_limit"
        if any(head.target.startswith(path) for path, _ in self._by_path):
            return "--request-timeout-for"
        if self._set_for_all_by == "--timeout":
            return "that of --timeout; --request-timeout and --request-timeout-for set others"
        return "--request-timeout"
