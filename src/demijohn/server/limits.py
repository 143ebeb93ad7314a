"""How long requests may take: for all, for some paths, for some views."""

from __future__ import annotations

import math

from ..message import RequestHead
from ..typing import Route
from .settings import Settings


class TimeLimits:
    """What is allowed to each request, in seconds.

    A view's own limit (`demijohn.time_limit`) counts most, then that of the longest path that its own begins with,
    then the one for all.

    shortest_s: of the limits known so far; those of views become known when somebody asks for them.
    """

    def __init__(self, settings: Settings) -> None:
        for_all_s = settings.timeout_s if settings.request_timeout_s is None else settings.request_timeout_s
        self._for_all_s = for_all_s or math.inf
        self._by_path = sorted(
            ((path.encode(), seconds or math.inf) for path, seconds in settings.request_timeouts),
            key=lambda limit: len(limit[0]),
            reverse=True,
        )
        self.shortest_s = min(self._for_all_s, *(limit_s for _, limit_s in self._by_path), math.inf)

    def limit_s(self, head: RequestHead, route: Route | None) -> float:
        """Return how long a view may take to answer; infinity when it may take as long as it likes."""
        own_s: float | None = getattr(route, "limit_s", None)
        if own_s is not None:
            own_s = own_s or math.inf
            self.shortest_s = min(self.shortest_s, own_s)
            return own_s
        for path, limit_s in self._by_path:
            if head.target.startswith(path):
                return limit_s
        return self._for_all_s
