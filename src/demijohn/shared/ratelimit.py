"""How often somebody may do something, counted in a store: `@limit("10/minute")`."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from werkzeug.exceptions import TooManyRequests

from ..globals import request
from .stores import Store, StoreUnavailable, open_store

log = logging.getLogger("demijohn.server.state")

F = TypeVar("F", bound=Callable[..., Any])

_PERIODS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_RATE = re.compile(r"(\d+)\s*(?:/|per)\s*(\d+)?\s*(second|minute|hour|day)s?")


def client_address() -> str:
    """Return the address of the client: behind a proxy that is trusted, the one it tells."""
    return request.remote_addr or "unknown"


class RateLimit:
    """Limits by rate, in windows that begin with the clock; all processes that share the store count together.

    on_unavailable: what a store that cannot be reached means: `"allow"`, with a line in the log, or `"refuse"`, which
    answers 503.
    """

    def __init__(self, store: Store | str, prefix: str = "rate:", on_unavailable: str = "allow") -> None:
        if on_unavailable not in ("allow", "refuse"):
            raise ValueError(f"on_unavailable is 'allow' or 'refuse', not {on_unavailable!r}.")
        self.store: Store = open_store(store) if isinstance(store, str) else store
        self._prefix = prefix
        self._refuses = on_unavailable == "refuse"

    def __call__(self, rate: str, key: Callable[[], str] = client_address) -> Callable[[F], F]:
        """Limit a view to `rate` for each `key()`, such as `"10/minute"` or `"100 per 15 minutes"`.

        More is answered 429 with Retry-After (RFC 6585 §4). Raises ValueError for a rate that is none.
        """
        most, period_s = parse_rate(rate)

        def limit(view: F) -> F:
            name = f"{view.__module__}.{view.__qualname__}"

            def check() -> None:
                self.hit(f"{name}:{key()}", most, period_s)

            if iscoroutinefunction(view):

                @wraps(view)
                async def limited_async(*args: Any, **kwargs: Any) -> Any:
                    check()
                    return await view(*args, **kwargs)

                return limited_async  # type: ignore[return-value]

            @wraps(view)
            def limited(*args: Any, **kwargs: Any) -> Any:
                check()
                return view(*args, **kwargs)

            return limited  # type: ignore[return-value]

        return limit

    def hit(self, key: str, most: int, period_s: int) -> None:
        """Count one more for `key`. Raises TooManyRequests when that is more than `most` in this period."""
        now = time.time()
        window = int(now // period_s)
        try:
            count = self.store.increment(f"{self._prefix}{key}:{period_s}:{window}", period_s)
        except StoreUnavailable as error:
            if self._refuses:
                raise
            log.warning("A request was let pass without being counted: %s", error)
            return
        if count > most:
            wait_s = int((window + 1) * period_s - now) + 1
            raise TooManyRequests(
                f"No more than {most} requests in {period_s} seconds are allowed. Try again in {wait_s} seconds.",
                retry_after=wait_s,
            )


def parse_rate(rate: str) -> tuple[int, int]:
    """Turn `"10/minute"` into (10, 60)."""
    match = _RATE.fullmatch(rate.strip().lower())
    if match is None or int(match[1]) < 1 or match[2] == "0":
        raise ValueError(f"{rate!r} is no rate. Write it as '10/minute', '100 per hour' or '20/15 seconds'.")
    return int(match[1]), int(match[2] or 1) * _PERIODS_S[match[3]]
